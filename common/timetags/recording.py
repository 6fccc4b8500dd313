"""Any recording of time tags, opened by what it holds: one small interface in front of all formats.

A format is told by the file's first bytes, else by its ending, else by the user. Its tags come piece by piece, in order of time,
int64 picoseconds and uint8 channels, so that a file may be larger than memory; what was put right on the way stands in ``reading``.
Comes from a laboratory's tagger; goes to distillation, source characterisation and conversion. ``docs/reference/formats`` describes
every format.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Final

import numpy as np

from common.errors import ConfigurationError, StreamError
from common.timetags.hdf5 import TagFile, states_channels
from common.timetags.ordering import Ordering
from common.timetags.ptu import MAGIC as PTU_MAGIC
from common.timetags.ptu import read_ptu_chunks
from common.timetags.raw_records import read_events_chunks, read_qutag_chunks
from common.timetags.reading import Piece, Reading, ReadingOptions
from common.timetags.swabian import read_ttbin_chunks
from common.timetags.tables import read_npy_chunks, read_text_chunks
from common.timetags.tags import SYNC_CHANNEL, TimeTags, check_channels

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


FORMATS: Final = {
    "hdf5": "time tags in HDF5, Photon-HDF5 layout",
    "ptu": "PicoQuant PTU, T2 and T3",
    "qutag": "quTAG and quTAU binary",
    "s-fifteen": "S-Fifteen a0, a1, a2",
    "text": "text, a line a tag",
    "npy": "NumPy array",
    "ttbin": "Swabian Time Tagger",
}
"""Formats by name."""

FIRST_BYTES: Final = {b"\x89HDF\r\n\x1a\n": "hdf5", PTU_MAGIC: "ptu", b"\x93NUMPY": "npy", b"SITT": "ttbin"}
"""Formats that begin with bytes of their own."""

ENDINGS: Final = {
    ".qutag": "qutag",
    ".ts": "s-fifteen",
    ".a0": "s-fifteen",
    ".a1": "s-fifteen",
    ".a2": "s-fifteen",
    ".csv": "text",
    ".tsv": "text",
    ".txt": "text",
    ".ttbin": "ttbin",
}
"""Formats that only their ending tells."""

NATIVE_TAGS: Final = 1 << 18
"""Tags of an HDF5 file in one piece: four of its compressed chunks."""

UNIT_FORMATS: Final = ("qutag", "text", "npy")
"""Formats whose unit of time the user may state."""


class Recording:
    """A recording that is open for reading, once, piece by piece.

    Parameters
    ----------
    path : Path
        The file.
    options : ReadingOptions
        What the file may not say.

    Attributes
    ----------
    path : Path
        The file.
    reading : Reading
        What was found; complete when the last piece has been taken.

    Raises
    ------
    StreamError
        If the file is missing or empty, nobody can tell its format, or it names no channels and the caller needs them.
    ConfigurationError
        If the named format is unknown, or a unit is given where the format has its own.
    """

    def __init__(self, path: Path, options: ReadingOptions | None = None) -> None:
        self.path = path
        self._options = options or ReadingOptions()
        self.reading = Reading(_format_of(path, self._options))
        if self._options.unit_ps is not None and self.reading.format_name not in UNIT_FORMATS:
            raise ConfigurationError(f"{path}: {FORMATS[self.reading.format_name]} has a unit of its own: leave --unit out")
        if self._options.needs_names and self._options.channels is None and self.reading.format_name != "hdf5":
            raise StreamError(
                f"{path}: {FORMATS[self.reading.format_name]} does not say which channel is which;"
                " give the channels, for example --channels H=0,V=1,D=2,A=3,sync=4"
            )
        self._stated: tuple[dict[str, int], int] | None = None

    def pieces(self) -> Iterator[Piece]:
        """Take the tags piece by piece.

        Yields
        ------
        tuple[int64[n], uint8[n]]
            Times in picoseconds, never before those of an earlier piece, and channels. Ties are in order of channel.

        Raises
        ------
        StreamError
            If the content is not of the format, is damaged, or time runs backwards further than a tagger's buffer.
        """
        if self.reading.format_name == "hdf5":
            yield from self._native()
            return
        ordering = Ordering(self.path, self.reading)
        for raw in self._chunks():
            t_ps, channel = ordering.push(*raw)
            self.reading.take(t_ps, channel)
            if t_ps.size:
                yield t_ps, channel
        t_ps, channel = ordering.finish()
        self.reading.take(t_ps, channel)
        if t_ps.size:
            yield t_ps, channel

    def read(self) -> TimeTags:
        """Read the whole recording.

        Returns
        -------
        TimeTags
            All tags. Channels are named as the options or the file say; where neither does, by their number: ``"0"``, ``"1"``.

        Raises
        ------
        StreamError
            As ``pieces``; or if there is no tag, or a channel named in the options has none.
        """
        if self.reading.format_name == "hdf5":
            with self._native_file() as file:  # whole at once: pieces put together would take twice the memory
                tags = file.read()
            t_ps, channel = tags.t_ps, tags.channel
            self.reading.take(t_ps, channel)
        else:
            pieces = list(self.pieces()) or [(np.zeros(0, np.int64), np.zeros(0, np.uint8))]
            t_ps, channel = (np.concatenate(parts) for parts in zip(*pieces, strict=True))
        if not t_ps.size:
            raise StreamError(f"{self.path}: the recording holds no tags")
        names, divider = self.names()
        return TimeTags(t_ps, channel, names, divider)

    def names(self) -> tuple[dict[str, int], int]:
        """Say which channel is which, once all pieces have been taken.

        Returns
        -------
        tuple[dict[str, int], int]
            Channel number of each name, and the divider of the sync channel, 0 where there is none.

        Raises
        ------
        StreamError
            If a channel named in the options has no tag, or the map contradicts itself.
        """
        given, seen = self._options.channels, self.reading.channels_seen
        if given is not None:
            for name, number in given.items():
                if number not in seen:
                    there = ", ".join(map(str, seen))
                    raise StreamError(f"{self.path}: channel {number}, said to be {name}, has no tag; there are tags of channels {there}")
        names, divider = self._stated or ({str(number): number for number in seen}, 1)
        names = given or names
        divider = (divider or 1) if self._options.sync_divider is None else self._options.sync_divider
        divider = divider if SYNC_CHANNEL in names else 0
        check_channels(names, divider)
        return names, divider

    def _native_file(self) -> TagFile:
        """Open a file in HDF5: it states its channels, or they go by number."""
        channels = self._options.channels
        if channels is None and not self._options.needs_names and not states_channels(self.path):
            channels = {str(number): number for number in range(256)}
        file = TagFile(self.path, channels, self._options.sync_divider)
        self._stated = None if len(file.channels) == 256 else (file.channels, file.sync_divider)
        return file

    def _native(self) -> Iterator[Piece]:
        """A file in HDF5, whose order is part of the format."""
        with self._native_file() as file:
            for tags in file.stretches(NATIVE_TAGS):
                self.reading.take(tags.t_ps, tags.channel)
                yield tags.t_ps, tags.channel

    def _chunks(self) -> Iterator[Piece]:
        unit_ps: Fraction | None = self._options.unit_ps
        match self.reading.format_name:
            case "ptu":
                return read_ptu_chunks(self.path, self.reading)
            case "qutag":
                return read_qutag_chunks(self.path, self.reading, unit_ps or Fraction(1))
            case "s-fifteen":
                return read_events_chunks(self.path, self.reading)
            case "npy":
                return read_npy_chunks(self.path, self.reading, unit_ps)
            case "ttbin":
                return read_ttbin_chunks(self.path, self.reading)
            case _:
                return read_text_chunks(self.path, self.reading, unit_ps)


def read_recording(path: Path, options: ReadingOptions | None = None) -> tuple[TimeTags, Reading]:
    """Read a recording of any format into memory.

    Parameters
    ----------
    path : Path
        The file.
    options : ReadingOptions
        What the file may not say.

    Returns
    -------
    tuple[TimeTags, Reading]
        The tags, and what was found while reading.
    """
    recording = Recording(path, options)
    return recording.read(), recording.reading


def _format_of(path: Path, options: ReadingOptions) -> str:
    if options.format_name is not None and options.format_name not in FORMATS:
        raise ConfigurationError(f"format {options.format_name!r} is unknown; choose among {', '.join(FORMATS)}")
    if not path.is_file():
        raise StreamError(f"{path}: no such recording")
    with path.open("rb") as file:
        beginning = file.read(16)
    if not beginning:
        raise StreamError(f"{path}: the file is empty")
    for first_bytes, name in FIRST_BYTES.items():
        if beginning.startswith(first_bytes):
            if options.format_name not in {None, name}:
                raise ConfigurationError(f"{path}: its first bytes are those of {FORMATS[name]}: leave --format out")
            return name
    if options.format_name is not None:
        return options.format_name
    ending = path.suffix.lower()
    if ending not in ENDINGS:
        raise StreamError(f"{path}: neither its first bytes nor the ending {ending!r} tell a format; give --format {'|'.join(FORMATS)}")
    return ENDINGS[ending]
