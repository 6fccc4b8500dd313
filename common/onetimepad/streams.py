"""Streams through the one-time pad: bytes of any number, known beforehand or not, in constant memory.

A stream is cut into segments. Each is a message of its own (``envelope``, kind 3), with its own pad and tag, checked as a whole before a
byte of it is released. Within what is encrypted each begins with 17 bytes, little-endian: 8 drawn for the stream, 8 that number its
segments from 0, and a byte that is 1 for the last segment and else 0. So nobody can leave out a segment, change their order, splice two
streams or end one early without being noticed; what was released before that was true, and in its place.

A segment costs 33 bytes of key beside what it carries: 17 for these, 16 for its tag.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from io import BytesIO
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from common.errors import AuthenticationError, ConfigurationError, KeyExhaustedError, LocalProtocolError
from common.onetimepad.cipher import CHUNK_BYTES, Decryption, encrypt
from common.onetimepad.envelope import TAG_BYTES, Contents, Header, Kind, altered
from common.onetimepad.interface import OneTimePad
from common.onetimepad.store_envelope import read_header

if TYPE_CHECKING:
    from typing_extensions import Buffer

_PREFIX = struct.Struct("<8sQB")

PREFIX_BYTES = _PREFIX.size

MOST_SEGMENT_BYTES = CHUNK_BYTES
"""Longest segment, without its first 17 bytes."""


class Sink(Protocol):
    """What a stream is written into: an open file, the file of a socket."""

    def write(self, data: Buffer, /) -> object:
        """Write all of ``data``."""

    def flush(self) -> object:
        """Send what was written on its way."""


class Source(Protocol):
    """What a stream is read from; it may give fewer bytes than asked for, and none only at its end."""

    def read(self, count_bytes: int, /) -> bytes:
        """Return at most ``count_bytes``."""


class EncryptingStream:
    """Encrypts what is written into it; use it in a ``with`` statement.

    A body that ends well ends the stream; one that fails leaves it without its end, and whoever reads it is told so. Key is spent segment
    by segment: where it runs out, ``KeyExhaustedError`` is raised, what was written stays gathered, and ``flush`` goes on once there is
    more.

    Parameters
    ----------
    pad : OneTimePad
        Key of this end.
    sink : Sink
        Takes what is encrypted.
    segment_bytes : int
        What is gathered before it is encrypted; ``flush`` encrypts less.

    Raises
    ------
    ConfigurationError
        If segments are to be longer than may be.
    """

    def __init__(self, pad: OneTimePad, sink: Sink, segment_bytes: int = MOST_SEGMENT_BYTES) -> None:
        if not 1 <= segment_bytes <= MOST_SEGMENT_BYTES:
            raise ConfigurationError(f"segments of {segment_bytes} bytes: choose 1 to {MOST_SEGMENT_BYTES}")
        self.count_bytes = 0
        self.count_key_bytes = 0
        self._pad = pad
        self._sink = sink
        self._segment_bytes = segment_bytes
        self._name = os.urandom(8)
        self._number = 0
        self._gathered = bytearray()
        self._is_open = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            self.close()
        else:
            self.abandon()

    def write(self, data: Buffer, /) -> int:
        """Take in bytes; whole segments of them are encrypted at once.

        Parameters
        ----------
        data : buffer
            Any number of bytes.

        Returns
        -------
        int
            How many: all of them.

        Raises
        ------
        KeyExhaustedError
            If key for them is missing; they are gathered, and ``flush`` goes on with them.
        LocalProtocolError
            If the stream has ended, or key was missing before and ``flush`` has not gone on yet: memory is bounded.
        """
        self._refuse_ended()
        if len(self._gathered) >= self._segment_bytes:
            raise LocalProtocolError("what was written before still waits for key: flush it first")
        with memoryview(data).cast("B") as view:
            self._gathered += view
            count = len(view)
        self._send_whole()
        return count

    def flush(self) -> None:
        """Encrypt what has been gathered, and send it on its way.

        Raises
        ------
        KeyExhaustedError
            If key for it is missing; it stays gathered.
        LocalProtocolError
            If the stream has ended.
        """
        self._refuse_ended()
        self._send_whole()
        if self._gathered:
            self._send(len(self._gathered), is_last=False)
        self._sink.flush()

    def close(self) -> None:
        """End the stream with what has been gathered; nothing happens where it has ended.

        Raises
        ------
        KeyExhaustedError
            If key for it is missing; the stream is not ended then.
        """
        if self._is_open:
            self._send_whole()
            self._send(len(self._gathered), is_last=True)
            self._is_open = False
            self._sink.flush()

    def abandon(self) -> None:
        """Leave the stream without an end: whoever reads it is told that it was cut off."""
        self._is_open = False
        self._gathered[:] = bytes(len(self._gathered))
        self._gathered.clear()

    def _refuse_ended(self) -> None:
        if not self._is_open:
            raise LocalProtocolError("the stream has ended: open another")

    def _send_whole(self) -> None:
        while len(self._gathered) >= self._segment_bytes:
            self._send(self._segment_bytes, is_last=False)

    def _send(self, count_bytes: int, *, is_last: bool) -> None:
        plain = bytearray(_PREFIX.pack(self._name, self._number, is_last))
        plain += memoryview(self._gathered)[:count_bytes]
        try:
            with self._pad.sending(Contents(len(plain), Kind.SEGMENT)) as message:
                self._sink.write(message.header.encoded() + b"".join(encrypt(message.key, message.header, _cut(plain))))
        except KeyExhaustedError:
            raise
        except BaseException:
            self.abandon()  # key is spent and nobody knows what of the segment arrived: no other may take its place
            raise
        finally:
            plain[:] = bytes(len(plain))
        self._gathered[:count_bytes] = bytes(count_bytes)
        del self._gathered[:count_bytes]
        self._number += 1
        self.count_bytes += count_bytes
        self.count_key_bytes += message.header.count_key_bytes


class DecryptingStream:
    """Decrypts what it reads; use it in a ``with`` statement, whose body ends well only if the stream was read to its end.

    Parameters
    ----------
    pad : OneTimePad
        Key of this end.
    source : Source
        Gives what is encrypted.
    what : str
        Where that comes from, for messages.
    """

    def __init__(self, pad: OneTimePad, source: Source, what: str = "the stream") -> None:
        self.count_bytes = 0
        self.is_at_end = False
        self._pad = pad
        self._source = source
        self._what = what
        self._name: bytes | None = None
        self._number = 0
        self._released = bytearray()
        self._reached = 0
        self._failure: str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._wipe()
        if kind is None and not self.is_at_end:
            raise AuthenticationError(f"{self._what} was not read to its end: whether it is whole was not seen")

    def __iter__(self) -> Iterator[bytes]:
        """Yield what was decrypted, segment by segment, each as soon as it has arrived."""
        while piece := self.read(MOST_SEGMENT_BYTES):
            yield piece

    def read(self, count_bytes: int = -1) -> bytes:
        """Return bytes that have been found true.

        Parameters
        ----------
        count_bytes : int
            At most so many; fewer where a segment ends, none at the end of the stream only. Negative: all there are to the end.

        Returns
        -------
        bytes
            Decrypted.

        Raises
        ------
        AuthenticationError
            If anything is not as it was sent, is missing, or ends too early; nothing more is read from the stream then.
        KeyAlreadyTakenError
            If it was decrypted before.
        ConfigurationError
            If this is no such stream, or one for another key.
        """
        if count_bytes < 0:
            return b"".join(self)
        while self._reached == len(self._released) and not self.is_at_end and count_bytes:
            self._receive()
        end = min(len(self._released), self._reached + count_bytes)
        with memoryview(self._released) as view:
            piece = bytes(view[self._reached : end])
        self._reached = end
        self.count_bytes += len(piece)
        return piece

    def _receive(self) -> None:
        if self._failure is not None:
            raise AuthenticationError(self._failure)
        try:
            self._wipe()
            self._take_in()
        except AuthenticationError as wrong:
            self._failure = str(wrong)
            raise

    def _take_in(self) -> None:
        header = self._header()
        body = self._upto(header.count_bytes + TAG_BYTES)
        if len(body) < header.count_bytes + TAG_BYTES:
            raise AuthenticationError(f"{self._what} is cut off within segment {self._number}: ask for it again")
        with memoryview(body) as view, self._pad.receiving(header, what=self._what) as message:
            decryption = Decryption(message.key, header, bytes(view[header.count_bytes :]))
            decryption.check([bytes(view[: header.count_bytes])])
            message.burn()
            plain = bytearray().join(decryption.release([bytes(view[: header.count_bytes])]))
        name, number, is_last = _PREFIX.unpack_from(plain)
        if self._name is None:
            self._name = name
        if (name, number) != (self._name, self._number):
            plain[:] = bytes(len(plain))
            raise altered(self._what, f"has segment {number} of a stream where segment {self._number} of this one belongs")
        self._number += 1
        self.is_at_end = bool(is_last)
        self._released, self._reached = plain, PREFIX_BYTES

    def _header(self) -> Header:
        """Read the header of the next segment."""
        beginning = self._source.read(1)
        if not beginning:
            raise AuthenticationError(f"{self._what} ends after {self._number} segments without its last one: it was cut off on the way")
        rest = iter((beginning,))
        header = read_header(lambda count: self._upto(count, next(rest, b"")), what=self._what)
        if header.contents.kind is not Kind.SEGMENT:
            raise ConfigurationError(f"{self._what} is a message and no stream of segments: decrypt it as a message")
        if not PREFIX_BYTES <= header.count_bytes <= PREFIX_BYTES + MOST_SEGMENT_BYTES:
            raise altered(self._what, f"has a segment of {header.count_bytes} bytes")
        return header

    def _upto(self, count_bytes: int, begun: bytes = b"") -> bytes:
        """Read so many bytes, those that have ``begun`` included; fewer at the end of the source."""
        parts = BytesIO()
        left = count_bytes - parts.write(begun)
        while left and (part := self._source.read(left)):
            left -= parts.write(part)
        return parts.getvalue()

    def _wipe(self) -> None:
        self._released[:] = bytes(len(self._released))
        self._released, self._reached = bytearray(), 0


def _cut(plain: bytearray) -> Iterator[bytes]:
    """Cut a segment into chunks that the pad is read in."""
    with memoryview(plain) as view:
        for first in range(0, len(view), CHUNK_BYTES):
            yield bytes(view[first : first + CHUNK_BYTES])
