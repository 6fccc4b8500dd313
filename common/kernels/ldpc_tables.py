"""The numbers inside the LDPC decoder: levels, and the tables through which a check adds up what its neighbours doubt.

A message of magnitude ``x`` (nats) is right with odds ``e^x``. The *doubt* about it is ``-ln tanh(x/2)``: doubts of independent
messages add in a check, and the same function leads from their sum back to a magnitude. The decoder counts magnitudes in levels and
doubts in ``DOUBT_UNITS``. Levels are those of one of two scales, ``COARSE`` for speed and ``FINE`` for efficiency. Read by
``common.kernels.ldpc`` and by density evolution.

References
----------
[Gallager1962] the sum of doubts, there written f(β). Status: planning.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log, sqrt, tanh

import numpy as np
from numpy.typing import NDArray

DOUBT_UNITS = 8192
"""Units of doubt to one nat. A sum of doubts saturates at 65535, eight nats, where nothing is left of a message."""

LARGEST_DOUBT = 32767
"""Doubt about a message of magnitude 0, four nats: with one such neighbour a check still sees what the others doubt, with two nothing."""

COUNT_STEPS = 64
"""Entries of each table of the way back: what one register of bytes holds."""


@dataclass(frozen=True, slots=True, eq=False)
class Scale:
    """Levels, and the way from levels to doubts and back.

    Attributes
    ----------
    levels_per_nat : int
        Decoder levels per natural unit of log-likelihood ratio.
    message_limit : int
        Largest magnitude of a message, levels.
    step_shifts : tuple[int, ...]
        Tables of the way back from a sum of doubts to a magnitude: bits that are dropped to find the entry. The finest table that goes
        so far is taken.
    doubt_of_level : int16[message_limit + 1]
        Doubt about a magnitude, units.
    level_of_step : int16[tables, COUNT_STEPS]
        Magnitude by step of the sum of doubts, for each of ``step_shifts``, levels. Sums of 0 and 1 leave the largest.
    """

    levels_per_nat: int
    message_limit: int
    step_shifts: tuple[int, ...]
    doubt_of_level: NDArray[np.int16]
    level_of_step: NDArray[np.int16]

    @classmethod
    def of(cls, levels_per_nat: int, message_limit: int, step_shifts: tuple[int, ...]) -> Scale:
        """Compute the tables of a scale.

        Parameters
        ----------
        levels_per_nat, message_limit : int
            Levels.
        step_shifts : tuple[int, ...]
            Ascending; the last table reaches ``LARGEST_DOUBT``.

        Returns
        -------
        Scale
            Read-only tables.
        """
        halves = np.maximum(np.arange(message_limit + 1), 1e-6) / (2.0 * levels_per_nat)
        doubts = np.minimum(np.round(-np.log(np.tanh(halves)) * DOUBT_UNITS), LARGEST_DOUBT).astype(np.int16)

        def level(index: int, shift: int) -> int:
            low, high = max(index << shift, 1), (index + 1) << shift  # a step is taken at its geometric mean
            if high <= 2:
                return message_limit
            return min(message_limit, round(-levels_per_nat * log(tanh(sqrt(low * high) / DOUBT_UNITS / 2.0))))

        levels = np.array([[level(index, shift) for index in range(COUNT_STEPS)] for shift in step_shifts], np.int16)
        for table in (doubts, levels):
            table.setflags(write=False)
        return cls(levels_per_nat, message_limit, step_shifts, doubts, levels)


COARSE = Scale.of(levels_per_nat=6, message_limit=63, step_shifts=(1, 5, 9))
"""Levels for speed: the table of doubts is one register of bytes. Measured: 5 and 6 levels a nat need the fewest iterations; 4 is too
coarse, and with 8 the largest message (7.9 nats) is too weak for a check of sixty neighbours."""

FINE = Scale.of(levels_per_nat=12, message_limit=127, step_shifts=(0, 3, 6, 9))
"""Levels for efficiency: as many as a byte holds. Rounding to coarse levels costs most where messages are weak, near the threshold."""
