"""Live streams as bytes: what a tagger, a source's electronics or ``qkd-fibre`` sends, parsed without any socket.

A connection begins with one JSON line that says what the numbers mean, as the attribute of a file does. Batches follow: a header of 24
bytes, then times and channels, or what Alice emitted. The parser takes bytes in any pieces and never trusts a length before it has checked
it; what is wrong raises ``StreamError`` and nothing else. Bytes come from ``common.service.streams``, items go to the live stations.
``docs/reference/streams`` states every byte.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from common.errors import StreamError
from common.expander import EXPANDER_NAME, KEY_BYTES
from common.timetags.emission_record import EmissionHeader
from common.timetags.tags import check_channels, check_order

STREAM_VERSION: Final = 1
"""Version of the batches and of the JSON line."""

TAG_MAGIC: Final = b"QKDT"
EMISSION_MAGIC: Final = b"QKDE"
"""First bytes of every batch of time tags, and of emission."""

FLAG_GAP: Final = 1
"""Something is missing between the batch before and this one."""

FLAG_END: Final = 2
"""Nothing follows this batch: the stream has ended for good."""

BATCH_HEADER: Final = struct.Struct("<4sHHQII")
"""Magic, version, flags, sequence, count, reserved; 24 bytes, little-endian."""

MOST_ITEMS: Final = 1 << 20
"""Items in one batch at most: 9 MiB."""

MOST_LINE_BYTES: Final = 1 << 16
"""Length of the JSON line at most."""

TAG_BYTES: Final = 9
"""Bytes of one time tag: int64 and uint8."""

StreamKind = Literal["tags", "emission"]


@dataclass(frozen=True, slots=True)
class TagStream:
    """The beginning of a connection that brings time tags.

    Attributes
    ----------
    channels : dict[str, int]
        Channel number of each name.
    sync_divider : int
        Divider of the sync channel; 0 where there is none.
    run : str
        Names the run of the sender; another run is another time scale. Empty where the sender does not say.
    """

    channels: dict[str, int]
    sync_divider: int
    run: str = ""


@dataclass(frozen=True, slots=True)
class EmissionStream:
    """The beginning of a connection that brings what Alice emits.

    Attributes
    ----------
    header : EmissionHeader
        Clock, slots and settings; of a packed stream ``first_slot`` is the first one this connection brings.
    expander_key : bytes or None
        32 bytes from which settings are expanded; None where they come packed. Not shown.
    run : str
        Names the run of the sender.
    """

    header: EmissionHeader
    expander_key: bytes | None = field(repr=False)
    run: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class TagBatch:
    """Time tags of one batch.

    Attributes
    ----------
    sequence : int
        Running number.
    gap : bool
        Whether tags are missing before these.
    ended : bool
        Whether the stream ends with these.
    t_ps : int64[n], picoseconds
        Non-decreasing.
    channel : uint8[n]
        Channel of each.
    """

    sequence: int
    gap: bool
    ended: bool
    t_ps: NDArray[np.int64]
    channel: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class EmissionProgress:
    """How far an expanded record has been emitted.

    Attributes
    ----------
    sequence : int
        Running number.
    ended : bool
        Whether nothing more is emitted.
    emitted_through_slot : int
        Last slot that has been emitted.
    """

    sequence: int
    ended: bool
    emitted_through_slot: int


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class PackedSettings:
    """Settings of the next slots of a packed stream; they are not shown.

    Attributes
    ----------
    sequence : int
        Running number.
    gap : bool
        Whether slots are missing before these.
    ended : bool
        Whether nothing more is emitted.
    packed : uint8[n]
        Packed as in a file.
    """

    sequence: int
    gap: bool
    ended: bool
    packed: NDArray[np.uint8]


StreamItem: TypeAlias = TagStream | EmissionStream | TagBatch | EmissionProgress | PackedSettings


def encode_line(content: dict[str, Any]) -> bytes:
    """Return the JSON line that begins a connection, from its entries ``content``."""
    return json.dumps({"version": STREAM_VERSION, **content}).encode() + b"\n"


def emission_content(header: EmissionHeader, expander_key: bytes | None, run: str) -> dict[str, Any]:
    """Return the entries of the line before an emission stream.

    Parameters
    ----------
    header : EmissionHeader
        Clock, slots and settings.
    expander_key : bytes or None
        32 bytes, or None where settings come packed.
    run : str
        Names the run.

    Returns
    -------
    dict[str, Any]
        For ``encode_line``; secret where there is a key.
    """
    content: dict[str, Any] = {
        "clock_hz": header.clock_hz,
        "first_slot": header.first_slot,
        "count_slots": header.count_slots,
        "bits_per_setting": header.bits_per_setting,
        "settings": list(header.settings),
        "probabilities": list(header.probabilities),
        "run": run,
        "source": "packed",
    }
    if expander_key is not None:
        content |= {"source": "expanded", "expander": EXPANDER_NAME, "key": expander_key.hex()}
    return content


def encode_tags(t_ps: NDArray[np.int64], channel: NDArray[np.uint8], sequence: int, flags: int = 0) -> bytes:
    """Encode time tags.

    Parameters
    ----------
    t_ps : int64[n], picoseconds
        Non-decreasing, n at most ``MOST_ITEMS``.
    channel : uint8[n]
        Channel of each.
    sequence : int
        Running number, 0 or more.
    flags : int
        ``FLAG_GAP`` and ``FLAG_END``.

    Returns
    -------
    bytes
        24 + 9 n bytes.
    """
    header = BATCH_HEADER.pack(TAG_MAGIC, STREAM_VERSION, flags, sequence, t_ps.size, 0)
    return b"".join((header, t_ps.astype("<i8", copy=False).tobytes(), channel.tobytes()))


def encode_progress(emitted_through_slot: int, sequence: int, flags: int = 0) -> bytes:
    """Encode how far an expanded record has been emitted.

    Parameters
    ----------
    emitted_through_slot : int
        Last emitted slot.
    sequence : int
        Running number.
    flags : int
        ``FLAG_END``.

    Returns
    -------
    bytes
        33 bytes: a batch of one.
    """
    return BATCH_HEADER.pack(EMISSION_MAGIC, STREAM_VERSION, flags, sequence, 1, 0) + struct.pack("<qB", emitted_through_slot, 0)


def encode_settings(packed: NDArray[np.uint8], sequence: int, flags: int = 0) -> bytes:
    """Encode the settings of the next slots.

    Parameters
    ----------
    packed : uint8[n]
        Packed settings, whole bytes; n at most ``MOST_ITEMS``.
    sequence : int
        Running number.
    flags : int
        ``FLAG_GAP`` and ``FLAG_END``.

    Returns
    -------
    bytes
        24 + n bytes.
    """
    return BATCH_HEADER.pack(EMISSION_MAGIC, STREAM_VERSION, flags, sequence, packed.size, 0) + packed.tobytes()


class StreamParser:
    """Turns the bytes of one connection into items.

    Parameters
    ----------
    kind : str
        ``tags`` or ``emission``.
    """

    def __init__(self, kind: StreamKind) -> None:
        self._magic = {"tags": TAG_MAGIC, "emission": EMISSION_MAGIC}[kind]
        self._kind: StreamKind = kind
        self._opened: TagStream | EmissionStream | None = None
        self._rest = bytearray()
        self._needed = 0
        self._sequence: int | None = None
        self._last_ps: int | None = None

    @property
    def is_between_items(self) -> bool:
        """Whether everything fed so far has come out."""
        return not self._rest

    def feed(self, data: bytes) -> list[StreamItem]:
        """Take in bytes.

        Parameters
        ----------
        data : bytes
            The next bytes, however cut.

        Returns
        -------
        list[StreamItem]
            What is complete now: first the beginning, then batches.

        Raises
        ------
        StreamError
            If the bytes are not such a stream; feed nothing more then.
        """
        self._rest += data
        items: list[StreamItem] = []
        if len(self._rest) < self._needed:
            return items  # a long batch is looked at again when it is complete
        place = 0
        if self._opened is None:
            end = self._rest.find(b"\n", 0, MOST_LINE_BYTES)
            if end < 0:
                if len(self._rest) >= MOST_LINE_BYTES:
                    raise StreamError(
                        f"{self._kind} stream: no line end within {MOST_LINE_BYTES} bytes; a stream begins with one JSON line"
                    )
                return items
            self._opened = _opening(bytes(self._rest[:end]), self._kind)
            items.append(self._opened)
            place = end + 1
        self._needed = 0
        view = memoryview(bytes(self._rest)) if len(self._rest) - place >= BATCH_HEADER.size else memoryview(b"")
        while place + BATCH_HEADER.size <= len(view):
            flags, sequence, count = self._checked_header(view[place : place + BATCH_HEADER.size])
            end = place + BATCH_HEADER.size + self._payload_bytes(count)
            if end > len(view):
                self._needed = end - place
                break
            items.append(self._batch(view[place + BATCH_HEADER.size : end], flags, sequence, count))
            place = end
        view.release()
        del self._rest[:place]
        return items

    def _checked_header(self, header: memoryview) -> tuple[int, int, int]:
        magic, version, flags, sequence, count, reserved = BATCH_HEADER.unpack(header)
        if magic != self._magic or version != STREAM_VERSION:
            raise StreamError(f"{self._kind} stream: a batch begins with {magic!r} version {version}, {self._magic!r} version 1 is needed")
        if count > MOST_ITEMS or flags & ~(FLAG_GAP | FLAG_END) or reserved:
            raise StreamError(
                f"{self._kind} stream: batch {sequence} states {count} items (at most {MOST_ITEMS}), flags {flags}, reserved {reserved}"
            )
        if self._sequence is not None and sequence <= self._sequence:
            raise StreamError(f"{self._kind} stream: batch {sequence} follows batch {self._sequence}; numbers must grow")
        return flags, sequence, count

    def _payload_bytes(self, count: int) -> int:
        packed = isinstance(self._opened, EmissionStream) and self._opened.expander_key is None
        return count if packed else TAG_BYTES * count

    def _batch(self, payload: memoryview, flags: int, sequence: int, count: int) -> StreamItem:
        gap = bool(flags & FLAG_GAP) or (self._sequence is not None and sequence != self._sequence + 1)
        ended = bool(flags & FLAG_END)
        self._sequence = sequence
        if isinstance(self._opened, EmissionStream):
            if self._opened.expander_key is None:
                return PackedSettings(sequence, gap, ended, np.frombuffer(payload, np.uint8).copy())
            if count != 1:
                raise StreamError(f"emission stream: batch {sequence} holds {count} slots; progress is one slot number")
            return EmissionProgress(sequence, ended, int(np.frombuffer(payload[:8], "<i8")[0]))
        t_ps = np.frombuffer(payload[: 8 * count], "<i8").astype(np.int64)
        check_order(t_ps, self._last_ps)
        if count:
            self._last_ps = int(t_ps[-1])
        return TagBatch(sequence, gap, ended, t_ps, np.frombuffer(payload[8 * count :], np.uint8).copy())


def _opening(line: bytes, kind: StreamKind) -> TagStream | EmissionStream:
    try:
        content = json.loads(line)
    except (ValueError, RecursionError):
        raise StreamError(f"{kind} stream: the first line is not JSON") from None
    if not isinstance(content, dict) or type(content.get("version")) is not int or content["version"] != STREAM_VERSION:
        raise StreamError(f"{kind} stream: the first line must be a JSON object of version {STREAM_VERSION}")
    run = content.get("run", "")
    if not isinstance(run, str):
        raise StreamError(f"{kind} stream: run is {run!r}, a text is needed")
    if kind == "emission":
        return _emission_opening(content, run)
    channels = content.get("channels")
    if not isinstance(channels, dict):
        raise StreamError("tags stream: the first line states no channels")
    divider = content.get("sync_divider", 1 if "sync" in channels else 0)
    check_channels(channels, divider)
    return TagStream(channels, divider, run)


def _emission_opening(content: dict[str, Any], run: str) -> EmissionStream:
    try:
        whole = {name: content[name] for name in ("first_slot", "count_slots", "bits_per_setting")}
        clock_hz, settings, probabilities = content["clock_hz"], content["settings"], content["probabilities"]
        if (
            any(type(number) is not int for number in whole.values())
            or not isinstance(settings, list)
            or not all(isinstance(name, str) for name in settings)
            or not isinstance(probabilities, list)
            or not all(type(number) in {int, float} for number in [clock_hz, *probabilities])
        ):
            raise StreamError("emission stream: slots and widths are integers, settings texts, clock_hz and probabilities numbers")
        header = EmissionHeader(float(clock_hz), settings=tuple(settings), probabilities=tuple(float(p) for p in probabilities), **whole)
    except KeyError as missing:
        raise StreamError(f"emission stream: the first line lacks {missing}") from None
    except OverflowError:
        raise StreamError("emission stream: the first line holds a number that is out of range") from None
    if content.get("source") == "packed":
        return EmissionStream(header, None, run)
    if content.get("source") != "expanded" or content.get("expander") != EXPANDER_NAME:
        raise StreamError(f"emission stream: source must be packed, or expanded with expander {EXPANDER_NAME!r}")
    try:
        key = bytes.fromhex(content["key"])
    except (KeyError, TypeError, ValueError):
        key = b""
    if len(key) != KEY_BYTES or header.first_slot < 0:
        raise StreamError(f"emission stream: an expanded stream has a key of {KEY_BYTES} bytes in hexadecimal and first_slot 0 or more")
    return EmissionStream(header, key, run)
