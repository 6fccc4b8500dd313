"""Messages of a known length through the one-time pad, from an open file to another.

Sending: burn, encrypt, write. Receiving: header, tag over everything, burn, decrypt, write. They pass in chunks, so memory does not grow
with them; what is decrypted is read twice, so that nothing is released before all of it was found true.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import BinaryIO

from common.errors import AuthenticationError, ConfigurationError
from common.onetimepad.cipher import CHUNK_BYTES, Decryption, encrypt
from common.onetimepad.envelope import TAG_BYTES, Contents, Header, Kind, altered
from common.onetimepad.interface import OneTimePad
from common.onetimepad.store_envelope import read_header

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

_LENGTH = struct.Struct("<Q")


def encrypt_message(
    pad: OneTimePad,
    stream: BinaryIO,
    count_bytes: int,
    opened: Callable[[], AbstractContextManager[BinaryIO]],
    pad_to: int | None = None,
) -> Header:
    """Encrypt a message.

    Parameters
    ----------
    pad : OneTimePad
        Key of this end.
    stream : BinaryIO
        The message, read from where it stands.
    count_bytes : int
        Its length.
    opened : callable
        Opens what is written into, once the key is spent.
    pad_to : int | None
        Fill the message up to a multiple of so many bytes, so that its length does not show; 8 bytes of it say the true length.

    Returns
    -------
    Header
        Says which key was spent.

    Raises
    ------
    KeyExhaustedError
        If the key is too short; nothing is spent or written then.
    """
    contents, chunks = Contents(count_bytes), _chunks(stream)
    if pad_to is not None:
        contents = Contents(-(-(_LENGTH.size + count_bytes) // pad_to) * pad_to, Kind.PADDED)
        chunks = _filled_up(chunks, count_bytes, contents.count_bytes)
    with pad.sending(contents) as message, opened() as sink:
        sink.write(message.header.encoded())
        for chunk in encrypt(message.key, message.header, chunks):
            sink.write(chunk)
    return message.header


def decrypt_message(
    pad: OneTimePad, stream: BinaryIO, size: int, opened: Callable[[], AbstractContextManager[BinaryIO]], *, what: str
) -> Header:
    """Decrypt a message, of which nothing is written before its tag has been checked.

    Parameters
    ----------
    pad : OneTimePad
        Key of this end.
    stream : BinaryIO
        What arrived, from its beginning; seekable.
    size : int
        Its length, bytes.
    opened : callable
        Opens what is written into, once the message has been found true.
    what : str
        Where it comes from, for messages.

    Returns
    -------
    Header
        Says which key was spent.

    Raises
    ------
    ConfigurationError
        If this is no one-time-pad message, or one for another key.
    AuthenticationError
        If it was altered; its key is not spent, so that the true message still decrypts.
    KeyAlreadyTakenError
        If it was decrypted before.
    """
    if stream.read(len(PNG_SIGNATURE)) == PNG_SIGNATURE:
        raise ConfigurationError(f"{what} is a picture: add --picture")
    stream.seek(0)
    header = read_header(stream.read, what=what)
    if header.contents.kind is Kind.PICTURE:
        raise altered(what, "says that it is a picture and is none")
    if header.contents.kind is Kind.SEGMENT:
        raise ConfigurationError(f"{what} is a stream of segments: read it as one (common.api.pads)")
    begin, end = stream.tell(), stream.tell() + header.count_bytes
    if size != end + TAG_BYTES:
        raise AuthenticationError(f"{what} is not as long as its header says: it was cut or altered on the way; ask for it again")
    stream.seek(end)
    tag = stream.read(TAG_BYTES)
    with pad.receiving(header, what=what) as message:
        stream.seek(begin)
        decryption = Decryption(message.key, header, tag)
        decryption.check(_chunks(stream, header.count_bytes))
        message.burn()
        stream.seek(begin)
        with opened() as sink:
            chunks = decryption.release(_chunks(stream, header.count_bytes))
            for chunk in _without_filling(chunks, what) if header.contents.kind is Kind.PADDED else chunks:
                sink.write(chunk)
    return header


def _chunks(stream: BinaryIO, count_bytes: int | None = None) -> Iterator[bytes]:
    """Read to the end, or so many bytes."""
    left = sys.maxsize if count_bytes is None else count_bytes
    while left and (chunk := stream.read(min(CHUNK_BYTES, left))):
        left -= len(chunk)
        yield chunk


def _filled_up(chunks: Iterable[bytes], count_bytes: int, total_bytes: int) -> Iterator[bytes]:
    """Put the true length in front, and zeros behind."""
    yield _LENGTH.pack(count_bytes)
    yield from chunks
    left = total_bytes - _LENGTH.size - count_bytes
    while left:
        yield bytes(min(CHUNK_BYTES, left))
        left -= min(CHUNK_BYTES, left)


def _without_filling(chunks: Iterable[bytes], what: str) -> Iterator[bytes]:
    """Take the true length off, and what was filled up; every chunk is read to the end, for the last one brings the check."""
    beginning, left = b"", -1
    for chunk in chunks:
        data = chunk
        if left < 0:
            beginning += chunk
            if len(beginning) < _LENGTH.size:
                continue
            (left,) = _LENGTH.unpack_from(beginning)
            data = beginning[_LENGTH.size :]
        yield data[:left]
        left -= min(left, len(data))
    if left:
        raise AuthenticationError(f"{what} is shorter than the length it hides: whoever encrypted it made a mistake")
