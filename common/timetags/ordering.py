"""Tags into order of time, with bounded memory, while they are read.

Taggers with a buffer per channel, and merged streams, write a tag a little late. Some tags are held back until later ones have come;
what comes later than that cannot be a tagger's buffer: two recordings were joined, or a clock was set back, and no order of the
tags would be the true one. Comes from a reader's raw chunks; goes to whoever takes a recording.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from common.errors import StreamError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from common.timetags.reading import Piece, Reading

HELD_TAGS: Final = 1 << 16
"""Tags held back: a tag may be written so many places late. A buffer of the USB taggers holds fewer."""


class Ordering:
    """Puts tags in order and leaves out those written twice.

    Parameters
    ----------
    path : Path
        The recording, for messages.
    reading : Reading
        Counts what was put right.
    held_tags : int
        Tags held back.
    """

    def __init__(self, path: Path, reading: Reading, held_tags: int = HELD_TAGS) -> None:
        self._path, self._reading, self._held_tags = path, reading, held_tags
        self._t_ps = np.zeros(0, np.int64)
        self._channel = np.zeros(0, np.uint8)
        self._given_ps: int | None = None

    def push(self, t_ps: NDArray[np.int64], channel: NDArray[np.uint8]) -> Piece:
        """Take tags as they were written and return those that no tag can come before any more.

        Parameters
        ----------
        t_ps : int64[n]
            Times, picoseconds.
        channel : uint8[n]
            Channel of each tag.

        Returns
        -------
        tuple[int64[m], uint8[m]]
            Times in order, and channels.

        Raises
        ------
        StreamError
            If a tag is later than that.
        """
        if not t_ps.size:
            return t_ps, channel
        t_ps, channel = np.concatenate([self._t_ps, t_ps]), np.concatenate([self._channel, channel])
        latest = np.maximum.accumulate(t_ps)
        late = t_ps < latest
        if late.any():
            order = np.argsort(t_ps, kind="stable")
            before_all = self._given_ps is not None and int(t_ps[order[0]]) < self._given_ps
            if before_all or int((order - np.arange(order.size)).max()) > self._held_tags:
                place = int(order[0] if before_all else order[(order - np.arange(order.size)).argmax()])
                raise StreamError(
                    f"{self._path}: time runs backwards: a tag at {int(t_ps[place])} ps stands {int(latest[place] - t_ps[place])} ps and"
                    f" more than {self._held_tags} tags behind its place; were recordings joined, or the tagger's clock set back?"
                )
            self._reading.count_reordered += int(np.count_nonzero(late))
            t_ps, channel = t_ps[order], channel[order]
        t_ps, channel = self._once(t_ps, channel)
        ready = max(0, t_ps.size - self._held_tags)
        self._t_ps, self._channel = t_ps[ready:].copy(), channel[ready:].copy()
        if ready:
            self._given_ps = int(t_ps[ready - 1])
        return t_ps[:ready], channel[:ready]

    def finish(self) -> Piece:
        """Return the tags that are still held, in order.

        Returns
        -------
        tuple[int64[m], uint8[m]]
            Times and channels.
        """
        rest = self._t_ps, self._channel
        self._t_ps, self._channel = self._t_ps[:0], self._channel[:0]
        return rest

    def _once(self, t_ps: NDArray[np.int64], channel: NDArray[np.uint8]) -> Piece:
        """Leave out tags of the same time and channel."""
        if not bool((t_ps[1:] == t_ps[:-1]).any()):
            return t_ps, channel
        order = np.lexsort((channel, t_ps))
        t_ps, channel = t_ps[order], channel[order]
        again = np.concatenate([[False], (t_ps[1:] == t_ps[:-1]) & (channel[1:] == channel[:-1])])
        self._reading.count_duplicates += int(np.count_nonzero(again))
        return t_ps[~again], channel[~again]
