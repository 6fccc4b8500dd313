"""How far a block has come: one report a step, a step being one announcement and what became of its bits.

A report is made once the step's test rounds are counted, and again once reconciliation has shown where its errors were: only the correcting
half learns that. Reports hold counts and nothing else; they are told to whoever watches (``tell``) and decide about nothing.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from common.bits import Bits
from common.distillation.disclosure import errors_by_basis
from common.distillation.values import KeyBits, ReconciledBatch, SiftedBatch
from common.protocols.protocol import Protocol


@dataclass(frozen=True, slots=True)
class StepReport:
    """Counts of one step.

    Attributes
    ----------
    block, step : int
        Which; steps count from 0 in every block.
    frames, detections, cross_clicks : int
        What was announced.
    key, tested, errors : tuple[int, int]
        Undisclosed bits of the key bases, disclosed bits, and errors among these; in Z, X.
    table : tuple[tuple[int, ...], ...]
        Disclosed bits, settings by outcomes.
    key_by_intensity : tuple[int, ...]
        Undisclosed bits by intensity; empty where there is one.
    compared, corrected : tuple[int, int]
        Undisclosed bits that were reconciled, and errors corrected among these; 0 where this end did not learn it, or not yet.
    first_slot : int
        Slot at which its first frame begins.
    """

    block: int
    step: int
    frames: int
    detections: int
    cross_clicks: int
    key: tuple[int, int]
    tested: tuple[int, int]
    errors: tuple[int, int]
    table: tuple[tuple[int, ...], ...] = ()
    key_by_intensity: tuple[int, ...] = ()
    compared: tuple[int, int] = (0, 0)
    corrected: tuple[int, int] = (0, 0)
    first_slot: int = 0


@dataclass(slots=True)
class _Open:
    report: StepReport
    left: int


class BlockSteps:
    """The steps of one block, as it fills.

    Parameters
    ----------
    block : int
        Its number.
    protocol : Protocol
        Names the settings.
    """

    def __init__(self, block: int, protocol: Protocol) -> None:
        self._block = block
        self._protocol = protocol
        self._count_steps = 0
        self._open: list[_Open] = []

    def sifted(self, batch: SiftedBatch) -> StepReport:
        """Report a step whose test rounds have been counted.

        Parameters
        ----------
        batch : SiftedBatch
            With its table.

        Returns
        -------
        StepReport
            Nothing corrected yet.
        """
        (tested_z, errors_z), (tested_x, errors_x) = errors_by_basis(batch.table, self._protocol)
        report = StepReport(
            block=self._block,
            step=self._count_steps,
            frames=batch.count_frames,
            detections=batch.count_detections,
            cross_clicks=batch.count_cross_clicks,
            key=batch.key.per_basis,
            tested=(tested_z, tested_x),
            errors=(errors_z, errors_x),
            table=batch.table,
            key_by_intensity=batch.key_by_intensity,
            first_slot=batch.first_slot,
        )
        self._count_steps += 1
        self._open.append(_Open(report, batch.key.bits.count))
        return report

    def reconciled(self, key: KeyBits, batch: ReconciledBatch) -> list[StepReport]:
        """Report the steps whose bits have been reconciled; bits come in the order of the steps.

        Parameters
        ----------
        key : KeyBits
            Bits of the batch before reconciliation.
        batch : ReconciledBatch
            What became of them.

        Returns
        -------
        list[StepReport]
            One for each step the batch touched; none at the end that does not learn where errors were.
        """
        reports: list[StepReport] = []
        chosen = _by_basis(key.bases, batch.right, batch.differed) if batch.right and batch.differed else None
        first = 0
        while first < key.bits.count:
            step = self._open[0]
            last = min(first + step.left, key.bits.count)
            if chosen is not None and last > first:
                step.report = _corrected(step.report, *(bits.ones_between(first, last) for bits in chosen))
                reports.append(step.report)
            step.left -= last - first
            first = last
            if not step.left:
                self._open.pop(0)
        return reports


def _by_basis(bases: Bits, right: Bits, differed: Bits) -> tuple[Bits, ...]:
    """Pick out the bits that were reconciled, and those of them that were wrong, in Z and in X."""
    return tuple(Bits(chosen.words & mask, bases.count) for chosen in (right, differed) for mask in (~bases.words, bases.words))


def _corrected(report: StepReport, right_z: int, right_x: int, wrong_z: int, wrong_x: int) -> StepReport:
    return dataclasses.replace(
        report,
        compared=(report.compared[0] + right_z, report.compared[1] + right_x),
        corrected=(report.corrected[0] + wrong_z, report.corrected[1] + wrong_x),
    )
