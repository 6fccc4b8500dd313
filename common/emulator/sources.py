"""Where the fibre process gets its stretches: from the emulated link, or from a recorded run that is played.

Both answer the same questions, so that ``process`` serves them alike. Files come from ``qkd simulate``, a laboratory, or
``qkd demo --arrivals``.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from common.emulator.actuators import Actuator, link_actuators
from common.emulator.link import LinkEmulator
from common.expander import KEY_BYTES
from common.timetags.emission_record import EmissionRecord

PLAYED_TAGS: Final = 1 << 16
"""Tags of a recorded run played at a time."""


@dataclass(frozen=True, slots=True, eq=False)
class PlayedStretch:
    """What both ends learn of one stretch.

    Attributes
    ----------
    t_ps : int64[n], picoseconds
        Bob's tags.
    channel : uint8[n]
        Their channels.
    emitted_through_slot : int
        How far Alice has sent.
    link_seconds : float
        Time of sending so far.
    """

    t_ps: NDArray[np.int64]
    channel: NDArray[np.uint8]
    emitted_through_slot: int
    link_seconds: float


class StretchSource(Protocol):
    """Something that can be played; ``record``, ``channels``, ``sync_divider``, ``actuators`` and ``link_seconds`` describe it."""

    record: EmissionRecord
    channels: dict[str, int]
    sync_divider: int
    actuators: dict[str, Actuator]
    link_seconds: float

    def next_stretch(self) -> PlayedStretch | None:
        """Return the next stretch, or None at the end."""
        ...


class EmulatedSource:
    """Stretches of an emulated link.

    Parameters
    ----------
    link : LinkEmulator
        The run.
    """

    def __init__(self, link: LinkEmulator) -> None:
        self._link = link
        self.record, self.channels, self.sync_divider = link.record, link.channels, link.sync_divider
        self.actuators = link_actuators(link)
        self.link_seconds = 0.0

    def next_stretch(self) -> PlayedStretch | None:
        """Emulate the next stretch."""
        stretch = self._link.next_stretch()
        if stretch is None:
            return None
        self.link_seconds = self._link.link_seconds
        return PlayedStretch(stretch.tags.t_ps, stretch.tags.channel, self._link.emitted_through_slot, self.link_seconds)


class RecordedSource:
    """Stretches of a recorded run. Alice's record is known whole from the beginning: all of it was sent long ago.

    Parameters
    ----------
    emission_path, tags_path : Path
        ``emission.h5`` and ``tags.h5``.

    Raises
    ------
    StreamError
        If a file is not what it should be.
    """

    def __init__(self, emission_path: Path, tags_path: Path) -> None:
        from common.timetags.emission_file import read_emission  # an emulated link does without HDF5
        from common.timetags.hdf5 import TagFile

        self.record = read_emission(emission_path)
        self._tags = TagFile(tags_path)
        self.channels, self.sync_divider = self._tags.channels, self._tags.sync_divider
        self.actuators: dict[str, Actuator] = {}
        self.link_seconds = 0.0
        self._stretches = self._tags.stretches(PLAYED_TAGS)
        self._first_ps: int | None = None

    def next_stretch(self) -> PlayedStretch | None:
        """Read the next stretch."""
        tags = next(self._stretches, None)
        if tags is None:
            return None
        if self._first_ps is None:
            self._first_ps = int(tags.t_ps[0])
        self.link_seconds = (int(tags.t_ps[-1]) - self._first_ps) * 1e-12
        return PlayedStretch(tags.t_ps, tags.channel, self.record.header.end_slot - 1, self.link_seconds)


def fresh_emission_key() -> bytes:
    """Return the key of a new emission record from the operating system: a run started again must not send the same states."""
    return os.urandom(KEY_BYTES)
