"""How far a block has come: one report a step, a step being one announcement and what became of its bits.

A report is made once the step's test rounds are counted, and again once reconciliation has shown where its errors were: only the correcting
half learns that. Reports hold counts and nothing else; they are told to whoever watches (``tell``) and decide about nothing.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from common.distillation.disclosure import errors_by_basis
from common.distillation.values import KeyBits, ReconciledBatch, SiftedBatch
from common.protocols.protocol import Protocol

_Flags: TypeAlias = NDArray[np.bool_]


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
    compared, corrected : tuple[int, int]
        Undisclosed bits that were reconciled, and errors corrected among these; 0 where this end did not learn it, or not yet.
    """

    block: int
    step: int
    frames: int
    detections: int
    cross_clicks: int
    key: tuple[int, int]
    tested: tuple[int, int]
    errors: tuple[int, int]
    compared: tuple[int, int] = (0, 0)
    corrected: tuple[int, int] = (0, 0)


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
        flags = [bits.to_flags().astype(np.bool_) for bits in (key.bases, batch.right, batch.differed) if bits is not None]
        first = 0
        while first < key.bits.count:
            step = self._open[0]
            last = min(first + step.left, key.bits.count)
            if len(flags) == 3 and last > first:
                step.report = _corrected(step.report, *(part[first:last] for part in flags))
                reports.append(step.report)
            step.left -= last - first
            first = last
            if not step.left:
                self._open.pop(0)
        return reports


def _corrected(report: StepReport, is_x: _Flags, known: _Flags, wrong: _Flags) -> StepReport:
    compared, corrected = (
        (int(np.count_nonzero(chosen & ~is_x)), int(np.count_nonzero(chosen & is_x))) for chosen in (known, known & wrong)
    )
    return dataclasses.replace(
        report,
        compared=(report.compared[0] + compared[0], report.compared[1] + compared[1]),
        corrected=(report.corrected[0] + corrected[0], report.corrected[1] + corrected[1]),
    )
