"""The numbers inside the LDPC decoder: levels, and the two tables through which a check adds up what its neighbours doubt.

A message of magnitude ``x`` (nats) is right with odds ``e^x``. The *doubt* about it is ``-ln tanh(x/2)``: doubts of independent
messages add in a check, and the same function leads from their sum back to a magnitude. The decoder counts magnitudes in
``LEVELS_PER_NAT`` and doubts in ``DOUBT_UNITS``. Read by ``common.kernels.ldpc`` and by density evolution.

References
----------
[Gallager1962] the sum of doubts, there written f(β). Status: planning.
"""

from __future__ import annotations

from math import log, sqrt, tanh

import numpy as np
from numpy.typing import NDArray

LEVELS_PER_NAT = 6
"""Decoder levels per natural unit of log-likelihood ratio. Measured: 5 and 6 need the fewest iterations; 4 is too coarse, and with 8 the
largest message (7.9 nats) is too weak for a check of sixty neighbours."""

MESSAGE_LIMIT = 63
"""Largest magnitude of a message, levels: the table of doubts then fills two vector registers."""

DOUBT_UNITS = 8192
"""Units of doubt to one nat. A sum of doubts saturates at 65535, eight nats, where nothing is left of a message."""

LARGEST_DOUBT = 32767
"""Doubt about a message of magnitude 0, four nats: with one such neighbour a check still sees what the others doubt, with two nothing."""

STEP_SHIFTS = (1, 5, 9)
"""Tables of the way back from a sum of doubts to a magnitude, 64 entries each: bits that are dropped to find the entry. The finest table
that goes so far is taken; a step is then a sixteenth to a quarter of the sum or, for the smallest sums, two units."""


def doubts(levels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the doubt about messages, nats.

    Parameters
    ----------
    levels : int64[k], 0 .. MESSAGE_LIMIT
        Magnitudes.

    Returns
    -------
    float64[k]
        ``-ln tanh(x/2)``, at most ``LARGEST_DOUBT / DOUBT_UNITS``.
    """
    halves = np.maximum(levels, 1e-6) / (2.0 * LEVELS_PER_NAT)
    return np.minimum(-np.log(np.tanh(halves)), LARGEST_DOUBT / DOUBT_UNITS)


def _magnitude(index: int, shift: int) -> int:
    """Level for sums of doubts of one step, at their geometric mean."""
    low, high = max(index << shift, 1), (index + 1) << shift
    return min(MESSAGE_LIMIT, round(-LEVELS_PER_NAT * log(tanh(sqrt(low * high) / DOUBT_UNITS / 2.0))))


DOUBT_OF_LEVEL = np.minimum(np.round(doubts(np.arange(MESSAGE_LIMIT + 1)) * DOUBT_UNITS), LARGEST_DOUBT).astype(np.int16)
"""int16[64]: doubt about a magnitude, units."""

LEVEL_OF_STEP = np.array(
    [[MESSAGE_LIMIT if shift + index == 1 else _magnitude(index, shift) for index in range(64)] for shift in STEP_SHIFTS], np.int16
)
"""int16[3, 64]: magnitude by step of the sum of doubts, for each of ``STEP_SHIFTS``, levels. Sums of 0 and 1 leave the largest."""
