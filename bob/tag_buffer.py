"""Tags that a tracker still looks at: delays taken off, in order of time, in memory that is used again and again.

Tags come in as they arrived, from ``bob.tracking``; views of what is here are good until the next call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bob.kernels import order_aligned
from bob.pulse_clock import MOST_MOVES

if TYPE_CHECKING:
    from numpy.typing import NDArray

FIRST_TAGS = 1 << 12
"""Room at the beginning; it doubles."""


class TagBuffer:
    """Tags in order of time.

    Parameters
    ----------
    skew_ps : int64[256], picoseconds
        Delay of each channel, subtracted from its tags.
    """

    __slots__ = ("_channel", "_count", "_skew_ps", "_t_ps")

    def __init__(self, skew_ps: NDArray[np.int64]) -> None:
        self._skew_ps = skew_ps
        self._t_ps, self._channel = np.empty(FIRST_TAGS, np.int64), np.empty(FIRST_TAGS, np.uint8)
        self._count = 0

    @property
    def t_ps(self) -> NDArray[np.int64]:
        """Times less delays, int64[n] in picoseconds, non-decreasing."""
        return self._t_ps[: self._count]

    @property
    def channel(self) -> NDArray[np.uint8]:
        """Channel of each, uint8[n]."""
        return self._channel[: self._count]

    def append(self, t_ps: NDArray[np.int64], channel: NDArray[np.uint8]) -> None:
        """Add tags, and put them where they belong.

        Parameters
        ----------
        t_ps : int64[n], picoseconds
            Non-decreasing, delays not taken off.
        channel : uint8[n]
            Channel of each.
        """
        begin, end = self._count, self._count + t_ps.size
        if end > self._t_ps.size:
            before = self.t_ps, self.channel
            self._t_ps, self._channel = np.empty(2 * end, np.int64), np.empty(2 * end, np.uint8)
            self._t_ps[:begin], self._channel[:begin] = before
        self._count = end
        done = order_aligned(t_ps, channel, self._skew_ps, MOST_MOVES * t_ps.size, begin, self._t_ps, self._channel)
        if done < t_ps.size:
            self._t_ps[begin + done : end] = t_ps[done:] - self._skew_ps[channel[done:]]
            self._channel[begin + done : end] = channel[done:]
            order = np.argsort(self.t_ps, kind="stable")
            self._t_ps[:end], self._channel[:end] = self.t_ps[order], self.channel[order]

    def forget(self, count: int) -> None:
        """Let go of the first ``count`` tags."""
        left = self._count - count
        self._t_ps[:left] = self._t_ps[count : self._count]
        self._channel[:left] = self._channel[count : self._count]
        self._count = left
