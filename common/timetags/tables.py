"""Recordings as tables: text with a line a tag, and NumPy's npy.

The first column is the time, the second the channel; without a second column all tags are of channel 0. Such files do not say what
their times are counted in, unless the head of a text column does (``time_ps``, ``t (ns)``); otherwise the user must. Text is read
exactly, whatever its number of digits; npy arrays of floating-point numbers hold what they hold, and how coarse that is, is noted.
Read piece by piece for ``common.timetags.recording``.
"""

from __future__ import annotations

import io
import re
import warnings
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from common.errors import StreamError
from common.timetags.reading import UNITS_PS, most_ticks, to_picoseconds

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from common.timetags.reading import Piece, Reading

CHUNK_BYTES: Final = 1 << 22
"""Text read together."""

CHUNK_ROWS: Final = 1 << 18
"""Rows of an npy array read together."""

MOST_LINE_BYTES: Final = 4096
"""A line longer than this is no tag."""

_HEAD_UNIT = re.compile(r"(?:^|[\s_(\[/])(ps|ns|us|µs|ms|s)(?:$|[\s_)\]])")


def read_text_chunks(path: Path, reading: Reading, unit_ps: Fraction | None) -> Iterator[Piece]:
    """Read a table of text as it was written: columns parted by commas, semicolons, tabs or blanks; lines with ``#`` are remarks.

    Parameters
    ----------
    path : Path
        The file.
    reading : Reading
        Gets counts.
    unit_ps : Fraction | None
        Picoseconds in a unit of its times; None where the head of the column has to say.

    Yields
    ------
    tuple[int64[n], uint8[n]]
        Times in picoseconds, and channels.

    Raises
    ------
    StreamError
        If the unit is unknown or contradicts the head, or a line is no tag; the message says which.
    """
    with path.open("rb") as raw:
        line_number, rest = 1, b""
        unit: Fraction | None = None
        while content := raw.read(CHUNK_BYTES):
            if len(rest) > MOST_LINE_BYTES:
                raise StreamError(f"{path}: line {line_number} does not end: this is no table of time tags")
            content = rest + content
            cut = content.rfind(b"\n") + 1
            content, rest = content[:cut], content[cut:]
            if unit is None and content:
                unit, content, line_number = _beginning(path, content, line_number, unit_ps)
            if unit is not None:
                yield _rows(path, content, line_number, unit)
            line_number += content.count(b"\n")
        if rest.strip() and unit is None:
            unit, rest, line_number = _beginning(path, rest + b"\n", line_number, unit_ps)
        if rest.strip() and unit is not None:
            try:
                yield _rows(path, rest, line_number, unit)
            except StreamError:
                reading.count_tail_bytes += len(rest)  # the line has no end, so it may well have been cut off


def _beginning(path: Path, content: bytes, line_number: int, unit_ps: Fraction | None) -> tuple[Fraction | None, bytes, int]:
    """Take remarks and the head off the first piece; the unit is None while there is nothing but remarks."""
    while content:
        line, _, rest = content.partition(b"\n")
        text = line.decode("utf-8", "replace").strip()
        if text and not text.startswith("#"):
            if re.match(r"[+-]?[\d.]", text):
                return _unit(path, "", unit_ps), content, line_number
            return _unit(path, re.split(r"[,;\t]", text)[0], unit_ps), rest, line_number + 1
        content, line_number = rest, line_number + 1
    return None, b"", line_number


def _unit(path: Path, head: str, unit_ps: Fraction | None) -> Fraction:
    found = _HEAD_UNIT.search(head)
    stated = Fraction(UNITS_PS[found[1].replace("µ", "u")]) if found else None
    if stated is not None and unit_ps is not None and stated != unit_ps:
        raise StreamError(f"{path}: the column {head.strip()!r} contradicts --unit: leave --unit out, or mend the head")
    chosen = stated or unit_ps
    if chosen is None:
        raise StreamError(f"{path}: the file does not say what its times are counted in; give --unit ps, ns, us, ms or s")
    return chosen


def _rows(path: Path, content: bytes, line_number: int, unit_ps: Fraction) -> Piece:
    plain = content.replace(b",", b" ").replace(b";", b" ")
    if not re.search(rb"[^\d\s+\-]", plain):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pieces without any line
            try:
                table = np.loadtxt(io.BytesIO(plain), np.int64, ndmin=2)
            except ValueError:
                return _row_by_row(path, content, line_number, unit_ps)
        if table.size and table.shape[1] <= 2 and np.abs(table[:, 0]).max() <= most_ticks(unit_ps):
            channel = table[:, 1] if table.shape[1] == 2 else np.zeros(table.shape[0], np.int64)
            if int(channel.min()) >= 0 and int(channel.max()) <= 255:
                return to_picoseconds(table[:, 0], unit_ps), channel.astype(np.uint8)
    return _row_by_row(path, content, line_number, unit_ps)


def _row_by_row(path: Path, content: bytes, line_number: int, unit_ps: Fraction) -> Piece:
    """Read lines one by one: exact decimals, and the place of what is wrong."""
    times, channels = [], []
    scale = Decimal(unit_ps.numerator) / Decimal(unit_ps.denominator)
    for number, line in enumerate(content.splitlines(), line_number):
        if len(line) > MOST_LINE_BYTES:
            raise StreamError(f"{path}: line {number} has {len(line)} bytes: this is no table of time tags")
        words = line.partition(b"#")[0].replace(b",", b" ").replace(b";", b" ").decode("utf-8", "replace").split()
        if not words:
            continue
        try:
            t_ps = Decimal(words[0]) * scale
            channel = int(words[1]) if len(words) == 2 else 0
            if len(words) > 2 or not 0 <= channel <= 255 or not abs(t_ps) < 1 << 62:
                raise ValueError
        except (InvalidOperation, ValueError):
            shown = line[:60].decode("utf-8", "replace").strip()
            raise StreamError(
                f"{path}: line {number} is no tag: {shown!r}; a line has a time, and a channel from 0 to 255 behind it"
            ) from None
        times.append(int(t_ps.to_integral_value()))
        channels.append(channel)
    return np.array(times, np.int64), np.array(channels, np.uint8)


def read_npy_chunks(path: Path, reading: Reading, unit_ps: Fraction | None) -> Iterator[Piece]:
    """Read an npy file as it was written: times alone, two columns, or a record type of time and channel.

    Parameters
    ----------
    path : Path
        The file.
    reading : Reading
        Gets notes.
    unit_ps : Fraction | None
        Picoseconds in a unit of its times.

    Yields
    ------
    tuple[int64[n], uint8[n]]
        Times in picoseconds, and channels.

    Raises
    ------
    StreamError
        If the unit is not given, the array has another shape, or a time or channel cannot be one.
    """
    if unit_ps is None:
        raise StreamError(f"{path}: an npy file does not say what its times are counted in; give --unit ps, ns, us, ms or s")
    with path.open("rb") as raw:
        try:
            version = np.lib.format.read_magic(raw)
            read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, by_columns, dtype = read_header(raw)
        except (ValueError, OSError) as wrong:
            raise StreamError(f"{path}: not a readable npy file ({wrong})") from None
        names = dtype.names or ()
        columns = 1 if len(shape) == 1 else shape[1] if len(shape) == 2 else 0
        fits = len(names) == 2 and columns == 1 if names else dtype.kind in "iuf" and columns in {1, 2}
        if dtype.hasobject or not fits:
            raise StreamError(
                f"{path}: an array of {dtype} {list(shape)}; times[n], columns[n, 2] or a record type of time and channel are tags"
            )
        apart = by_columns and columns == 2
        begin, rows, done = raw.tell(), int(shape[0]), 0
        held = max(0, path.stat().st_size - begin) // (dtype.itemsize * (1 if apart else columns))
        if held < rows * (2 if apart else 1):
            reading.count_missing_records = rows - held if not apart else rows
            rows = 0 if apart else held
        while done < rows:
            count = min(CHUNK_ROWS, rows - done)
            starts = (done, int(shape[0]) + done) if apart else (done * columns,)
            parts = []
            for start in starts:
                raw.seek(begin + start * dtype.itemsize)
                parts.append(np.fromfile(raw, dtype, count * (1 if apart else columns)))
            yield _array_tags(path, parts, names, columns, reading, unit_ps)
            done += count


def _array_tags(path: Path, parts: list[NDArray[Any]], names: tuple[str, ...], columns: int, reading: Reading, unit_ps: Fraction) -> Piece:
    if names:
        time, channel = parts[0][names[0]], parts[0][names[1]]
    elif len(parts) == 2:
        time, channel = parts
    else:
        table = parts[0].reshape(-1, columns)
        time, channel = table[:, 0], table[:, 1] if columns == 2 else np.zeros(table.shape[0], np.uint8)
    if time.dtype.kind not in "iuf" or channel.dtype.kind not in "iuf" or bool((channel != np.floor(channel)).any()):
        raise StreamError(f"{path}: times are {time.dtype} and channels {channel.dtype}; numbers are needed, whole ones for channels")
    if not bool(((channel >= 0) & (channel <= 255)).all()) or not bool((np.abs(time.astype(np.float64)) < most_ticks(unit_ps)).all()):
        raise StreamError(f"{path}: a channel is not from 0 to 255, or a time is none that {float(unit_ps):g} ps are a unit of")
    if time.dtype.kind != "f":
        return to_picoseconds(time.astype(np.int64), unit_ps), channel.astype(np.uint8)
    step_ps = float(np.spacing(np.abs(time).max())) * float(unit_ps)
    if step_ps > 1.0 and not any("floating-point" in note for note in reading.notes):
        reading.notes.append(f"times are floating-point numbers, which are {step_ps:.3g} ps apart here: record whole picoseconds instead")
    return np.rint(time.astype(np.float64) * float(unit_ps)).astype(np.int64), channel.astype(np.uint8)
