"""Recordings that are nothing but records of fixed size: quTAG binary and S-Fifteen a1, with the textual a0 and a2 beside it.

quTAG and quTAU write a signature of 40 bytes and then 10 bytes a tag: a signed 64-bit time and an unsigned 16-bit channel, little
endian; tags of different channels are up to microseconds out of order.

S-Fifteen's cards write events of 64 bits: time in the upper 54, in units of 1/256 ns; detectors that clicked in the lowest four, one
bit each; bit 4 marks a filler event that carries no detection. ``a1`` holds them in binary, little endian, or with the two 32-bit
halves swapped (``a1 -X``); ``a2`` as lines of 16 hexadecimal digits; ``a0`` as two lines of 8, lower half first (upper first with
``-X``). Which half comes first shows in the data: the upper one hardly changes from event to event. The counter starts anew every
19.5 h.

Both are read piece by piece for ``common.timetags.recording``.

References
----------
qutools, manual of quTAU and quTAG, "Binary File 10 Bytes per Event". S-Fifteen Instruments, timestamp card, formats a0, a1, a2; qcrypto,
"File specification", section 0 (raw events).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from common.errors import StreamError
from common.timetags.reading import most_ticks, to_picoseconds

if TYPE_CHECKING:
    from collections.abc import Iterator
    from fractions import Fraction
    from pathlib import Path
    from typing import BinaryIO

    from numpy.typing import NDArray

    from common.timetags.reading import Piece, Reading

CHUNK_RECORDS: Final = 1 << 18
"""Records read together."""

QUTAG_HEADER_BYTES: Final = 40
"""Length of the signature in front of a quTAG file."""

QUTAG_RECORD: Final = np.dtype([("time", "<i8"), ("channel", "<u2")])
"""A quTAG record, 10 bytes."""

EVENT_TIME_BITS: Final = 54
"""Bits of an S-Fifteen event's time, in units of 1/256 ns = 125/32 ps."""

MOST_TICKS: Final = 1 << 61
"""A hundred days of 1/256 ns, so that picoseconds fit 63 bits."""

EVENT_FILLER: Final = 1 << 4
"""Bit of an S-Fifteen event that carries no detection."""

EVENT_DETECTORS: Final = 4
"""Detectors of an S-Fifteen card, one bit each."""

MOST_TRIED: Final = 1024
"""Events looked at to tell which half of an event comes first."""

FEW_STEPS_BACK: Final = 4
"""Of events fewer than one in so many are behind an earlier one; of random bytes half are."""


def read_qutag_chunks(path: Path, reading: Reading, unit_ps: Fraction) -> Iterator[Piece]:
    """Read a quTAG file as it was written.

    Parameters
    ----------
    path : Path
        The file.
    reading : Reading
        Gets counts.
    unit_ps : Fraction
        Picoseconds in a tick: 1 for a quTAG, about 80.955 for a quTAU.

    Yields
    ------
    tuple[int64[n], uint8[n]]
        Times in picoseconds, and channels.

    Raises
    ------
    StreamError
        If a channel or a time cannot be one.
    """
    with path.open("rb") as raw:
        raw.seek(QUTAG_HEADER_BYTES)
        for content in _pieces(raw, QUTAG_RECORD.itemsize, reading):
            records = np.frombuffer(content, QUTAG_RECORD)
            odd = (records["channel"] > 255) | (np.abs(records["time"]) > most_ticks(unit_ps))
            if odd.any():
                wrong = records[int(np.argmax(odd))]
                raise StreamError(
                    f"{path}: not a quTAG recording, or damaged: a tag of channel {int(wrong['channel'])} at {int(wrong['time'])} ticks;"
                    f" behind a signature of {QUTAG_HEADER_BYTES} bytes there are {QUTAG_RECORD.itemsize} bytes a tag (uncompressed format)"
                )
            yield to_picoseconds(records["time"].astype(np.int64), unit_ps), records["channel"].astype(np.uint8)


def read_events_chunks(path: Path, reading: Reading) -> Iterator[Piece]:
    """Read S-Fifteen events as they were written, in binary or as text.

    Parameters
    ----------
    path : Path
        The file.
    reading : Reading
        Gets counts.

    Yields
    ------
    tuple[int64[n], uint8[n]]
        Times in picoseconds, counted on through rollovers, and channels 0 to 3; an event of several detectors gives a tag for each.

    Raises
    ------
    StreamError
        If the content cannot be such events.
    """
    first = _first_line_digits(path)
    pieces = _text_events(path, first, reading) if first in {8, 16} else _binary_events(path, reading)
    upper_first: bool | None = None
    base: int | None = None
    for halves in _beginning_whole(pieces):
        if upper_first is None:
            upper_first = _upper_comes_first(path, halves)
        ticks, rolled = _counted_on(_ticks(halves, upper_first=upper_first), base)
        lower = halves[:, 1 if upper_first else 0]
        base = int(ticks[-1])
        if int(np.abs(ticks).max()) > MOST_TICKS:
            raise StreamError(f"{path}: the events' counter rolls over again and again; the file is damaged or no S-Fifteen recording")
        reading.count_rollovers += rolled
        t_ps = (ticks >> 5) * 125 + (((ticks & 31) * 125 + 16) >> 5)  # times 125/32, rounded, within 63 bits
        filler = (lower & EVENT_FILLER) != 0
        reading.count_other_records += int(np.count_nonzero(filler))
        tagged = [((lower >> bit) & 1 != 0) & ~filler for bit in range(EVENT_DETECTORS)]
        place = np.concatenate([np.flatnonzero(which) for which in tagged])
        channel = np.repeat(np.arange(EVENT_DETECTORS, dtype=np.uint8), [np.count_nonzero(which) for which in tagged])
        order = np.argsort(place, kind="stable")
        yield t_ps[place[order]], channel[order]


def _beginning_whole(pieces: Iterator[NDArray[np.uint32]]) -> Iterator[NDArray[np.uint32]]:
    """Put pieces at the beginning together until there are ``MOST_TRIED`` events to judge by."""
    beginning: list[NDArray[np.uint32]] = []
    for halves in pieces:
        beginning.append(halves)
        if sum(part.shape[0] for part in beginning) >= MOST_TRIED:
            break
    if beginning:
        yield np.concatenate(beginning)
    yield from pieces


def _counted_on(ticks: NDArray[np.int64], base: int | None) -> tuple[NDArray[np.int64], int]:
    """Continue a counter of ``EVENT_TIME_BITS`` behind ``base``: a step back by more than half its range is a rollover."""
    span, half = 1 << EVENT_TIME_BITS, 1 << (EVENT_TIME_BITS - 1)
    begin = int(ticks[0]) if base is None else base
    steps = np.diff(ticks, prepend=np.int64(begin % span))
    turned = ((steps + half) & (span - 1)) - half
    return begin + np.cumsum(turned), int(np.count_nonzero(turned > steps)) - int(np.count_nonzero(turned < steps))


def _upper_comes_first(path: Path, halves: NDArray[np.uint32]) -> bool:
    """Tell the order of the halves: in the right one time moves on in small steps, in the wrong one it jumps about."""
    tried = halves[:MOST_TRIED]
    steps = [np.diff(_counted_on(_ticks(tried, upper_first=first), None)[0]).astype(np.float64) for first in (False, True)]
    first = float(np.abs(steps[True]).sum()) < float(np.abs(steps[False]).sum())
    if np.count_nonzero(steps[first] < 0.0) * FEW_STEPS_BACK > steps[first].size:
        raise StreamError(f"{path}: these are no S-Fifteen events: time does not move on from one to the next")
    return first


def _ticks(halves: NDArray[np.uint32], *, upper_first: bool) -> NDArray[np.int64]:
    upper, lower = halves[:, 0 if upper_first else 1], halves[:, 1 if upper_first else 0]
    return (upper.astype(np.int64) << 22) | (lower >> 10).astype(np.int64)


def _pieces(raw: BinaryIO, record_bytes: int, reading: Reading) -> Iterator[bytes]:
    """Yield whole records; what is left of one at the end is counted."""
    while content := raw.read(CHUNK_RECORDS * record_bytes):
        whole = len(content) // record_bytes * record_bytes
        reading.count_tail_bytes += len(content) - whole
        if whole:
            yield content[:whole]


def _binary_events(path: Path, reading: Reading) -> Iterator[NDArray[np.uint32]]:
    with path.open("rb") as raw:
        for content in _pieces(raw, 8, reading):
            yield np.frombuffer(content, "<u4").reshape(-1, 2)


def _text_events(path: Path, digits: int, reading: Reading) -> Iterator[NDArray[np.uint32]]:
    """Yield the halves of events written as hexadecimal text, in the order they stand in the file."""
    words_an_event = 16 // digits
    waiting: list[bytes] = []
    rest = b""
    with path.open("rb") as raw:
        while content := raw.read(CHUNK_RECORDS * (digits + 1)):
            words = (rest + content).split()
            rest = words.pop() if words and not content[-1:].isspace() else b""
            waiting += words
            whole = len(waiting) // words_an_event * words_an_event
            yield from _halves(path, waiting[:whole], digits)
            waiting = waiting[whole:]
    if len(rest) == digits and (len(waiting) + 1) % words_an_event == 0:
        yield from _halves(path, [*waiting, rest], digits)
    else:
        reading.count_tail_bytes += sum(map(len, waiting)) + len(rest)


def _halves(path: Path, words: list[bytes], digits: int) -> Iterator[NDArray[np.uint32]]:
    if not words:
        return
    try:
        if any(len(word) != digits for word in words):
            raise ValueError
        joined = bytes.fromhex(b"".join(words).decode("ascii"))
    except ValueError:
        raise StreamError(f"{path}: not S-Fifteen events as text: every line has {digits} hexadecimal digits there") from None
    yield np.frombuffer(joined, ">u4").astype(np.uint32).reshape(-1, 2)


def _first_line_digits(path: Path) -> int:
    """Hexadecimal digits of the first line: 8 in a0, 16 in a2; 0 where the file is no such text."""
    with path.open("rb") as raw:
        line = raw.readline(64).strip()
    return len(line) if line and all(letter in b"0123456789abcdefABCDEF" for letter in line) else 0
