"""Files and messages through the one-time pad, from file to file or from and to standard input and output.

Sending: length, burn, encrypt, write, erase. Receiving: header, tag over everything, burn, decrypt, write, erase. Outputs appear under
their name complete or not at all. Files pass in chunks; what comes through a pipe is held in memory, which the length of the key bounds.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from common.errors import AuthenticationError, ConfigurationError
from common.onetimepad.cipher import CHUNK_BYTES, check, decrypt, encrypt
from common.onetimepad.envelope import HEADER_BYTES, TAG_BYTES, Header, Kind
from common.onetimepad.ledger import synchronise_folder
from common.onetimepad.pad import Pad

PIPE = Path("-")
"""Stands for standard input or output."""

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def encrypt_file(pad: Pad, source: Path, target: Path) -> Header:
    """Encrypt a file.

    Parameters
    ----------
    pad : Pad
        Key of this end.
    source, target : Path
        What is read and what is written; ``-`` stands for standard input and output.

    Returns
    -------
    Header
        Says which key was spent.

    Raises
    ------
    ConfigurationError
        If the target is the key or the source.
    KeyExhaustedError
        If the key is too short; nothing is spent or written then.
    """
    refuse_confusion(pad, source, target)
    with _source(source, most_bytes=pad.count_left_bits() // 8) as (stream, count_bytes):
        header = Header(pad.name, pad.end, pad.burn_to_send(count_bytes), count_bytes)
        with published(target) as sink:
            sink.write(header.encoded())
            for chunk in encrypt(pad, header, _chunks(stream)):
                sink.write(chunk)
    pad.erase(header.stretch)
    return header


def decrypt_file(pad: Pad, source: Path, target: Path) -> Header:
    """Decrypt a file, of which nothing is written before its tag has been checked.

    Parameters
    ----------
    pad : Pad
        Key of this end.
    source, target : Path
        What is read and what is written; ``-`` stands for standard input and output.

    Returns
    -------
    Header
        Says which key was spent.

    Raises
    ------
    ConfigurationError
        If this is no one-time-pad file, or one for another key.
    AuthenticationError
        If it was altered; its key is not spent, so that the true file still decrypts.
    KeyAlreadyTakenError
        If it was decrypted before.
    """
    refuse_confusion(pad, source, target)
    what = "the message" if source == PIPE else str(source)
    with _source(source, most_bytes=HEADER_BYTES + pad.name.count_bytes + TAG_BYTES) as (stream, size):
        beginning = stream.read(HEADER_BYTES)
        if beginning.startswith(PNG_SIGNATURE):
            raise ConfigurationError(f"{what} is a picture: add --picture")
        header = Header.decoded(beginning, what=what)
        if header.kind is Kind.PICTURE:
            raise AuthenticationError(f"{what} says that it is a picture and is none: it was altered on the way")
        pad.expect(header, what=what)
        if size != HEADER_BYTES + header.count_bytes + TAG_BYTES:
            raise AuthenticationError(f"{what} is not as long as its header says: it was cut or altered on the way; ask for it again")
        stream.seek(HEADER_BYTES + header.count_bytes)
        tag = stream.read(TAG_BYTES)
        stream.seek(HEADER_BYTES)
        check(pad, header, _chunks(stream, header.count_bytes), tag)
        pad.burn_received(header, what=what)
        stream.seek(HEADER_BYTES)
        with published(target, mode=0o600) as sink:
            for chunk in decrypt(pad, header, _chunks(stream, header.count_bytes)):
                sink.write(chunk)
    pad.erase(header.stretch)
    return header


def refuse_confusion(pad: Pad, source: Path, target: Path) -> None:
    """Refuse to write over the key, its ledger or the source.

    Parameters
    ----------
    pad : Pad
        The key in use.
    source, target : Path
        What is read and what is written.

    Raises
    ------
    ConfigurationError
        If the target is one of them.
    """
    precious = {pad.path.resolve(), pad.ledger_path.resolve(), *({source.resolve()} if source != PIPE else ())}
    if target != PIPE and target.resolve() in precious:
        raise ConfigurationError(f"{target} would be overwritten while it is needed: name another file with --out")


@contextmanager
def published(target: Path, mode: int = 0o644) -> Iterator[BinaryIO]:
    """Write a file that appears under its name complete or not at all.

    Parameters
    ----------
    target : Path
        Where it appears when the body ends well; ``-`` writes to standard output, also at the end only.
    mode : int
        Permissions; the user's mask applies.

    Yields
    ------
    BinaryIO
        To write into.
    """
    if target == PIPE:
        buffer = BytesIO()
        yield buffer
        sys.stdout.buffer.write(buffer.getbuffer())
        sys.stdout.buffer.flush()
        return
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(descriptor, "wb") as sink:
            yield sink
            sink.flush()
            os.fchmod(descriptor, mode & ~_user_mask())
            os.fsync(descriptor)
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    synchronise_folder(target.parent)


@contextmanager
def _source(path: Path, most_bytes: int) -> Iterator[tuple[BinaryIO, int]]:
    """Open what is to be read, seekable and of known length; of a pipe at most one byte more than can be of use."""
    if path == PIPE:
        data = sys.stdin.buffer.read(most_bytes + 1)
        yield BytesIO(data), len(data)
        return
    with path.open("rb") as stream:
        if not stream.seekable():  # a named pipe
            data = stream.read(most_bytes + 1)
            yield BytesIO(data), len(data)
        else:
            yield stream, os.fstat(stream.fileno()).st_size


def _chunks(stream: BinaryIO, count_bytes: int | None = None) -> Iterator[bytes]:
    """Read to the end, or so many bytes."""
    left = sys.maxsize if count_bytes is None else count_bytes
    while left and (chunk := stream.read(min(CHUNK_BYTES, left))):
        left -= len(chunk)
        yield chunk


def _user_mask() -> int:
    """The process's file mode mask, which can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
