"""Swabian Instruments' ttbin files, through the vendor's own library where it is installed.

The format is the vendor's and compressed; its reader comes with the Time Tagger software, which this project neither ships nor asks
for. Without it, the message says how to export. Read piece by piece for ``common.timetags.recording``.

References
----------
Swabian Instruments, Time Tagger user manual, ``FileReader`` and what its ``getData`` returns.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final

import numpy as np

from common.errors import StreamError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import ModuleType

    from common.timetags.reading import Piece, Reading

CHUNK_TAGS: Final = 1 << 18
"""Tags asked for together."""

VENDOR_MODULES: Final = ("Swabian.TimeTagger", "TimeTagger")
"""Names that the vendor's library has had."""

TIME_TAG: Final = 0
"""Event type of a tag; the others say that tags were missed or a range was lost."""


def read_ttbin_chunks(path: Path, reading: Reading) -> Iterator[Piece]:
    """Read a ttbin file as it was written.

    Parameters
    ----------
    path : Path
        The file.
    reading : Reading
        Gets counts and notes.

    Yields
    ------
    tuple[int64[n], uint8[n]]
        Times in picoseconds, and channels.

    Raises
    ------
    StreamError
        If the vendor's library is missing or refuses, or a channel is that of a falling edge.
    """
    try:
        source = _vendor(path).FileReader(str(path))
        while source.hasData():
            data = source.getData(CHUNK_TAGS)
            kind = np.asarray(data.getEventTypes())
            tagged = kind == TIME_TAG
            t_ps, channel = np.asarray(data.getTimestamps(), np.int64)[tagged], np.asarray(data.getChannels(), np.int64)[tagged]
            lost = int(np.count_nonzero(~tagged))
            reading.count_other_records += lost
            if lost and not any("missed" in note for note in reading.notes):
                reading.notes.append("the tagger missed tags while it recorded: its marks of that were counted among the other records")
            if channel.size and (int(channel.min()) < 0 or int(channel.max()) > 255):
                raise StreamError(f"{path}: channel {int(channel.min())} is a falling edge: record rising edges, numbers 1 to 255, only")
            yield t_ps, channel.astype(np.uint8)
    except (RuntimeError, ValueError, OSError, AttributeError) as wrong:
        raise StreamError(f"{path}: the Time Tagger library does not read it ({wrong})") from None


def _vendor(path: Path) -> ModuleType:
    for name in VENDOR_MODULES:
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise StreamError(
        f"{path}: a ttbin file is read by Swabian's own library, which is not installed here. Install the Time Tagger software, or export"
        " where it is: with Time Tagger Lab as CSV, or in Python with FileReader(name).getData(n) and"
        " numpy.save(…, numpy.column_stack([data.getTimestamps(), data.getChannels()])), to be read with --unit ps"
    )
