"""What Cascade is measured to leak: bits charged over n h(QBER), by QBER and segment length.

The table beside this module is written by ``cascade_measurement`` from runs of our own two halves, segment tags included. Read by the
planner and where Bob's gate is weighed; nothing that is charged depends on it.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from math import log

FILE = "cascade_efficiency.json"
"""Name of the table."""

LONGEST_SEGMENT_BITS = 65_536
"""Segments of long blocks have about so many bits."""


@dataclass(frozen=True, slots=True)
class EfficiencyTable:
    """Measured efficiencies on a grid.

    Attributes
    ----------
    segment_bits : tuple[int, ...]
        Key bits in a segment, ascending.
    qbers : tuple[float, ...]
        QBERs, ascending; the search was prepared for each.
    efficiency : tuple[tuple[float, ...], ...]
        A row for each segment length, with a value for each QBER.
    """

    segment_bits: tuple[int, ...]
    qbers: tuple[float, ...]
    efficiency: tuple[tuple[float, ...], ...]

    def at(self, qber: float, segment_bits: float) -> float:
        """Interpolate linearly in the logarithms of both; beyond the grid its border counts.

        Parameters
        ----------
        qber : float
            Share of differing bits, which the search is prepared for.
        segment_bits : float
            Key bits in a segment.

        Returns
        -------
        float
            f.
        """
        row, down = _place(self.segment_bits, segment_bits)
        column, right = _place(self.qbers, qber)

        def along(values: Sequence[float]) -> float:
            return values[column] + right * (values[column + 1] - values[column])

        return along(self.efficiency[row]) + down * (along(self.efficiency[row + 1]) - along(self.efficiency[row]))


def _place(grid: Sequence[float], value: float) -> tuple[int, float]:
    """Index of the grid point below ``value``, and how far on the way to the next it lies in the logarithm, 0 to 1."""
    index = min(max(bisect_right(grid, value) - 1, 0), len(grid) - 2)
    share = (log(max(value, 1e-300)) - log(grid[index])) / (log(grid[index + 1]) - log(grid[index]))
    return index, min(1.0, max(0.0, share))


@cache
def shipped_table() -> EfficiencyTable:
    """Read the table that comes with the project; once a process."""
    found = json.loads(files(__package__).joinpath(FILE).read_text(encoding="utf-8"))
    return EfficiencyTable(tuple(found["segment_bits"]), tuple(found["qbers"]), tuple(tuple(row) for row in found["efficiency"]))


def cascade_efficiency(qber: float, count_key_bits: int | None = None, most_segment_bits: int = LONGEST_SEGMENT_BITS) -> float:
    """Expect the efficiency of Cascade.

    Parameters
    ----------
    qber : float
        Share of differing bits, 0 to 1/2.
    count_key_bits : int | None
        Bits of the block, which are cut into as few equal segments as hold them; None for an endless one.
    most_segment_bits : int
        Longest segment that the recipe allows.

    Returns
    -------
    float
        Bits said about the reference, segment tags included, over ``n h(qber)``. Answers, which some proofs charge, come on top.

    References
    ----------
    ``docs/explanation/cascade``, measured; status: planning.
    """
    most = min(most_segment_bits, LONGEST_SEGMENT_BITS)
    segment_bits = most if count_key_bits is None else count_key_bits / -(-max(1, count_key_bits) // most)
    return shipped_table().at(qber, segment_bits)
