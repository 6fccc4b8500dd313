"""Time tags as a value: when which channel clicked, checked once when it is built.

Comes from a tag file, a foreign recording or the emulator; goes to Bob's clock recovery and detection, which rely on the order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from common.errors import StreamError

SYNC_CHANNEL: Final = "sync"
"""Name of the channel of the reference pulses."""


@dataclass(frozen=True, slots=True, eq=False)
class TimeTags:
    """Time tags of one recording or of a stretch of it.

    Attributes
    ----------
    t_ps : int64[n]
        Times, picoseconds on Bob's clock; non-decreasing, may be negative, ties allowed; read-only.
    channel : uint8[n]
        Channel of each tag; read-only. Tags of channels without a name are kept and ignored downstream.
    channels : dict[str, int]
        Channel number of each name: ``H V D A`` or ``H V R L``, and ``sync``.
    sync_divider : int
        A sync tag marks the centre of a slot whose index is a multiple of this; 0 where there is no sync channel.

    Raises
    ------
    StreamError
        If the arrays have wrong types or lengths, times decrease, or the channels contradict each other.
    """

    t_ps: NDArray[np.int64]
    channel: NDArray[np.uint8]
    channels: dict[str, int]
    sync_divider: int = 0

    def __post_init__(self) -> None:
        if self.t_ps.dtype != np.int64 or self.t_ps.ndim != 1:
            raise StreamError(f"time tags: times are {self.t_ps.dtype}{list(self.t_ps.shape)}, int64[n] in picoseconds is needed")
        if self.channel.dtype != np.uint8 or self.channel.shape != self.t_ps.shape:
            raise StreamError(f"time tags: channels are {self.channel.dtype}{list(self.channel.shape)}, uint8[{self.t_ps.size}] is needed")
        check_channels(self.channels, self.sync_divider)
        check_order(self.t_ps)
        self.t_ps.setflags(write=False)
        self.channel.setflags(write=False)

    @classmethod
    def from_unsorted(cls, t_ps: NDArray[np.int64], channel: NDArray[np.uint8], channels: dict[str, int], sync_divider: int = 0) -> Self:
        """Build time tags from tags in any order; ties keep the order they came in.

        Parameters
        ----------
        t_ps : int64[n]
            Times, picoseconds.
        channel : uint8[n]
            Channel of each tag.
        channels : dict[str, int]
            Channel number of each name.
        sync_divider : int
            See the class.

        Returns
        -------
        TimeTags
            In order of time.
        """
        order = np.argsort(t_ps, kind="stable")
        return cls(t_ps[order], channel[order], channels, sync_divider)

    def times_of(self, name: str) -> NDArray[np.int64]:
        """Return the times of one channel, int64[m] in picoseconds; empty where the channel has no name here."""
        number = self.channels.get(name)
        if number is None:
            return np.zeros(0, np.int64)
        return np.asarray(self.t_ps[self.channel == number])

    def __len__(self) -> int:
        return int(self.t_ps.size)


def check_order(t_ps: NDArray[np.int64], before: int | None = None) -> None:
    """Refuse times that run backwards.

    Parameters
    ----------
    t_ps : int64[n]
        Times, picoseconds.
    before : int or None
        Last time of the stretch before this one.

    Raises
    ------
    StreamError
        If a time is smaller than the one before it; the message says where.
    """
    if not t_ps.size:
        return
    falls = t_ps[1:] < t_ps[:-1]
    if before is not None and int(t_ps[0]) < before:
        raise StreamError(f"time tags: tag at {int(t_ps[0])} ps follows one at {before} ps; sort the recording by time")
    if falls.any():
        place = int(np.argmax(falls))
        raise StreamError(
            f"time tags: tag {place + 1} at {int(t_ps[place + 1])} ps follows one at {int(t_ps[place])} ps; sort the recording by time"
        )


def check_channels(channels: Mapping[Any, Any], sync_divider: object) -> None:
    """Refuse a channel map that contradicts itself.

    Parameters
    ----------
    channels : mapping
        Channel number of each name, str to int if it is right.
    sync_divider : object
        Divider of the sync channel, an int, 0 where there is none.

    Raises
    ------
    StreamError
        If the map is empty, a number is out of range or used twice, or the divider does not fit the sync channel.
    """
    if not channels:
        raise StreamError("time tags: no channel has a name; give the channels, for example H=0,V=1,D=2,A=3,sync=4")
    for name, number in channels.items():
        if not isinstance(name, str) or not name or type(number) is not int or not 0 <= number <= 255:
            raise StreamError(f"time tags: channel {name!r} has number {number!r}; names are words and numbers 0 to 255")
    if len(set(channels.values())) != len(channels):
        raise StreamError("time tags: two names share a channel number")
    if type(sync_divider) is not int or sync_divider < 0:
        raise StreamError(f"time tags: sync_divider is {sync_divider!r}; choose a whole number, 0 where there is no sync channel")
    if SYNC_CHANNEL in channels and sync_divider == 0:
        raise StreamError("time tags: there is a sync channel, so sync_divider must be 1 or more")
