"""Blocks and steps as plain dictionaries, ready for JSON: what a running node answers, and what every report is added up from.

Nothing here is secret: both ends said these numbers in public, or could have.
"""

from __future__ import annotations

import dataclasses
from math import isfinite
from typing import Any

from common.blocks import BasisCounts
from common.distillation.steps import StepReport
from common.distillation.values import BlockOutcome, MonitorReading


def block_report(outcome: BlockOutcome) -> dict[str, Any]:
    """Describe one block.

    Parameters
    ----------
    outcome : BlockOutcome
        How the block ended.

    Returns
    -------
    dict
        Number, length, reason and failed bound, leakage, transcript bytes under our tag; ``counts``, ``corrected``, ``segments`` and
        ``monitors`` where it was closed; ``ledger``, ``epsilon`` and bounds where a length was computed.
    """
    report: dict[str, Any] = {
        "number": outcome.number,
        "secret_bits": outcome.secret_bits,
        "reason": outcome.reason.label if outcome.reason else None,
        "bound": outcome.length.bound if outcome.length else failed_monitors(outcome),
        "leakage": outcome.leakage.items,
        "authenticated_bytes": outcome.authenticated_bytes,
        "ends_stream": outcome.ends_stream,
    }
    if outcome.block:
        counts = outcome.block.counts
        report |= {
            "counts": {
                "pulses": counts.pulses,
                "frames": counts.frames,
                "detections": counts.detections,
                "cross_clicks": counts.cross_clicks,
                "Z": _basis(counts.z),
                "X": _basis(counts.x),
                "table": counts.table,
                "key_by_intensity": counts.key_by_intensity,
            },
            "corrected": {"Z": outcome.block.corrected[0], "X": outcome.block.corrected[1]},
            "monitors": [monitor_report(reading) for reading in outcome.block.readings],
            "segments": {"count": outcome.block.count_segments, "failed": outcome.block.count_failed},
        }
    if outcome.length:
        report |= {
            "ledger": outcome.length.ledger,
            "epsilon": outcome.length.epsilon,
            "phase_error_bound": outcome.length.phase_error_bound,
            "multi_photon_bound": outcome.length.multi_photon_bound,
        }
    return report


def failed_monitors(outcome: BlockOutcome) -> str:
    """Say which of our monitors speak against the block of this ``outcome``; nothing where none does, or only the peer's."""
    readings = outcome.block.readings if outcome.block else ()
    return "; ".join(f"{reading.reason.label}: {reading.text}" for reading in readings if reading.reason is not None)


def monitor_report(reading: MonitorReading) -> dict[str, Any]:
    """Describe one ``reading`` of a monitor; a value or end that is not finite is None."""
    ends = {"value": reading.estimate.value, "low": reading.estimate.low, "high": reading.estimate.high}
    return {
        "name": reading.name,
        **{name: value if isfinite(value) else None for name, value in ends.items()},
        "certified": [reading.lowest, reading.highest],
        "verdict": reading.verdict.value,
        "reason": reading.reason.label if reading.reason else None,
    }


def step_report(step: StepReport) -> dict[str, Any]:
    """Describe one ``step``, by the names of its fields."""
    return dataclasses.asdict(step)


def _basis(counts: BasisCounts) -> dict[str, int]:
    return dataclasses.asdict(counts)
