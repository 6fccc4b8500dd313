"""Time tags on disk: HDF5 in the Photon-HDF5 layout, the field's own format.

Tags are written in chunks as they come and read whole or stretch by stretch, so that a day's recording needs no day's memory. A file
of somebody else's without our attribute is read where the caller names its channels. Comes from the emulator or a tagger,
goes to Bob. ``docs/reference/formats`` states every name.

References
----------
[Ingargiola2016] Photon-HDF5: groups ``photon_data``, ``timestamps_specs``, ``identity``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from common.errors import StreamError
from common.timetags.attribute import ROOT_ATTRIBUTE, VERSION, open_hdf5, parse_attribute
from common.timetags.tags import TimeTags, check_channels, check_order

TIMESTAMPS: Final = "photon_data/timestamps"
DETECTORS: Final = "photon_data/detectors"
UNIT: Final = "photon_data/timestamps_specs/timestamps_unit"
"""Paths inside a Photon-HDF5 file."""

PICOSECOND: Final = 1e-12
"""Unit of the times, seconds."""

CHUNK_TAGS: Final = 1 << 16
"""Tags in one compressed chunk: 512 KiB of times."""

STRETCH_TAGS: Final = 1 << 20
"""Tags read together by default."""


class TagWriter:
    """Appends time tags to a new file; a context manager.

    Parameters
    ----------
    path : Path
        File to write, replaced if it exists.
    channels : dict[str, int]
        Channel number of each name.
    sync_divider : int
        Divider of the sync channel, 0 where there is none.
    description : str
        One line that says what the recording is.

    Raises
    ------
    StreamError
        If the channel map contradicts itself.
    """

    def __init__(
        self, path: Path, channels: dict[str, int], sync_divider: int = 0, description: str = "time tags of a QKD receiver"
    ) -> None:
        check_channels(channels, sync_divider)
        self._file = h5py.File(path, "w")
        attribute = {"version": VERSION, "channels": channels, "sync_divider": sync_divider}
        self._file.attrs[ROOT_ATTRIBUTE] = json.dumps(attribute)
        self._file["description"] = description
        self._file["identity/format_name"] = "Photon-HDF5"
        self._file["identity/format_version"] = "0.5"
        options: dict[str, Any] = {
            "maxshape": (None,),
            "chunks": (CHUNK_TAGS,),
            "compression": "gzip",
            "compression_opts": 1,
            "shuffle": True,
        }
        self._times = self._file.create_dataset(TIMESTAMPS, (0,), np.int64, **options)
        self._channels = self._file.create_dataset(DETECTORS, (0,), np.uint8, **options)
        self._file[UNIT] = PICOSECOND
        self._first: int | None = None
        self._last: int | None = None

    def append(self, t_ps: NDArray[np.int64], channel: NDArray[np.uint8]) -> None:
        """Append tags that are not earlier than those before them.

        Parameters
        ----------
        t_ps : int64[n]
            Times, picoseconds.
        channel : uint8[n]
            Channel of each tag.

        Raises
        ------
        StreamError
            If types or lengths are wrong or a time runs backwards.
        """
        if t_ps.dtype != np.int64 or channel.dtype != np.uint8 or t_ps.ndim != 1 or t_ps.shape != channel.shape:
            raise StreamError(
                f"time tags: int64[n] and uint8[n] are needed, got {t_ps.dtype}{t_ps.shape} and {channel.dtype}{channel.shape}"
            )
        if not t_ps.size:
            return
        check_order(t_ps, self._last)
        count = self._times.shape[0]
        for dataset, values in ((self._times, t_ps), (self._channels, channel)):
            dataset.resize((count + values.size,))
            dataset[count:] = values
        self._first = int(t_ps[0]) if self._first is None else self._first
        self._last = int(t_ps[-1])

    def close(self) -> None:
        """Write the duration and close the file."""
        if self._file:
            span_ps = 0 if self._first is None or self._last is None else self._last - self._first
            self._file["acquisition_duration"] = span_ps * PICOSECOND
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def write_tags(path: Path, tags: TimeTags) -> None:
    """Write a recording that is in memory.

    Parameters
    ----------
    path : Path
        File to write, replaced if it exists.
    tags : TimeTags
        The recording.
    """
    with TagWriter(path, tags.channels, tags.sync_divider) as writer:
        writer.append(tags.t_ps, tags.channel)


class TagFile:
    """A tag file that is open for reading; a context manager.

    Parameters
    ----------
    path : Path
        The file.
    channels : dict[str, int] or None
        Channel number of each name; needed where the file does not state it, and overrides what it states.
    sync_divider : int or None
        Divider of the sync channel, likewise.

    Attributes
    ----------
    channels : dict[str, int]
        The channels in force.
    sync_divider : int
        The divider in force.
    count_tags : int
        Tags in the file.

    Raises
    ------
    StreamError
        If the file is missing, is not HDF5, lacks a dataset, has one of the wrong type, or states no channels and none are given.
    """

    def __init__(self, path: Path, channels: dict[str, int] | None = None, sync_divider: int | None = None) -> None:
        self.path = path
        self._file = open_hdf5(path, "tag file")
        try:
            self.channels, self.sync_divider = self._channel_map(channels, sync_divider)
            self._times, self._detectors = self._datasets()
        except StreamError:
            self._file.close()
            raise
        self.count_tags = int(self._times.shape[0])

    def stretches(self, count_tags: int = STRETCH_TAGS) -> Iterator[TimeTags]:
        """Read the recording stretch by stretch.

        Parameters
        ----------
        count_tags : int
            Tags in a stretch; the last may be shorter.

        Yields
        ------
        TimeTags
            Stretches in order of time.

        Raises
        ------
        StreamError
            If times run backwards or a chunk is damaged.
        """
        before: int | None = None
        for start in range(0, self.count_tags, count_tags):
            tags = self._read(start, start + count_tags)
            check_order(tags.t_ps, before)
            before = int(tags.t_ps[-1])
            yield tags

    def read(self) -> TimeTags:
        """Read the whole recording.

        Returns
        -------
        TimeTags
            All tags.
        """
        return self._read(0, self.count_tags)

    def _read(self, start: int, stop: int) -> TimeTags:
        try:
            t_ps, channel = self._times[start:stop], self._detectors[start:stop]
        except OSError:
            raise StreamError(f"{self.path}: tags {start} to {stop} cannot be read; the file is damaged") from None
        try:
            return TimeTags(t_ps, channel, self.channels, self.sync_divider)
        except StreamError as wrong:
            raise StreamError(f"{self.path}: {wrong}") from None

    def _channel_map(self, channels: dict[str, int] | None, sync_divider: int | None) -> tuple[dict[str, int], int]:
        attribute = parse_attribute(self._file, self.path)
        if attribute is None and channels is None:
            raise StreamError(
                f"{self.path}: the file does not say which channel is which (no root attribute {ROOT_ATTRIBUTE!r});"
                " give the channels, for example --channels H=0,V=1,D=2,A=3,sync=4"
            )
        stated = attribute or {}
        chosen = stated.get("channels") if channels is None else channels
        if not isinstance(chosen, dict):
            raise StreamError(f"{self.path}: the root attribute {ROOT_ATTRIBUTE!r} states no channels")
        fallback = 1 if "sync" in chosen else 0
        divider = stated.get("sync_divider", fallback) if sync_divider is None else sync_divider
        try:
            check_channels(chosen, divider)
        except StreamError as wrong:
            raise StreamError(f"{self.path}: {wrong}") from None
        return chosen, divider

    def _datasets(self) -> tuple[Any, Any]:
        times, detectors, unit = (self._file.get(name) for name in (TIMESTAMPS, DETECTORS, UNIT))
        if not isinstance(times, h5py.Dataset) or not isinstance(detectors, h5py.Dataset):
            raise StreamError(f"{self.path}: a Photon-HDF5 tag file has datasets /{TIMESTAMPS} and /{DETECTORS}")
        if times.dtype != np.int64 or times.ndim != 1:
            raise StreamError(f"{self.path}: /{TIMESTAMPS} is {times.dtype}{list(times.shape)}, int64[n] is needed")
        if detectors.dtype != np.uint8 or detectors.shape != times.shape:
            raise StreamError(f"{self.path}: /{DETECTORS} is {detectors.dtype}{list(detectors.shape)}, uint8[{times.shape[0]}] is needed")
        if not isinstance(unit, h5py.Dataset) or unit.shape not in {(), (1,)}:
            raise StreamError(f"{self.path}: /{UNIT} is missing; it states the unit of the times, {PICOSECOND} seconds here")
        seconds = float(np.asarray(unit).reshape(()))
        if abs(seconds - PICOSECOND) > 1e-6 * PICOSECOND:
            raise StreamError(f"{self.path}: times are in units of {seconds!r} s; convert them to picoseconds ({PICOSECOND})")
        return times, detectors

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def states_channels(path: Path) -> bool:
    """Whether the tag file at ``path`` says itself which channel is which."""
    with open_hdf5(path, "tag file") as file:
        return parse_attribute(file, path) is not None


def read_tags(path: Path, channels: dict[str, int] | None = None, sync_divider: int | None = None) -> TimeTags:
    """Read a tag file into memory.

    Parameters
    ----------
    path : Path
        The file.
    channels : dict[str, int] or None
        Channel number of each name, where the file does not state it or states it wrongly.
    sync_divider : int or None
        Divider of the sync channel, likewise.

    Returns
    -------
    TimeTags
        The recording.

    Raises
    ------
    StreamError
        If the file is not a tag file, contradicts itself, is out of order, or states no channels and none are given.
    """
    with TagFile(path, channels, sync_divider) as file:
        return file.read()
