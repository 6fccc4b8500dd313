"""Files and messages through the one-time pad, from file to file or from and to standard input and output.

Sending: length, burn, encrypt, write, erase. Receiving: header, tag over everything, burn, decrypt, write, erase. Outputs appear under
their name complete or not at all. Files pass in chunks; what comes through a pipe is held in memory, which the length of the key bounds.
"""

from __future__ import annotations

import errno
import io
import os
import secrets
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from common.errors import ConfigurationError
from common.onetimepad.envelope import Header
from common.onetimepad.interface import OneTimePad
from common.onetimepad.ledger import synchronise_folder
from common.onetimepad.messages import decrypt_message, encrypt_message

if TYPE_CHECKING:
    from typing_extensions import Buffer

PIPE = Path("-")
"""Stands for standard input or output."""

_SPREAD_BYTES = 32 << 20
"""What is written between two hints to the system to get on with it."""


def encrypt_file(pad: OneTimePad, source: Path, target: Path, pad_to: int | None = None) -> Header:
    """Encrypt a file.

    Parameters
    ----------
    pad : OneTimePad
        Key of this end.
    source, target : Path
        What is read and what is written; ``-`` stands for standard input and output.
    pad_to : int | None
        Fill the message up to a multiple of so many bytes, so that its length does not show; 8 bytes of it say the true length.

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
    with _source(source, lambda: pad.count_left_bits() // 8) as (stream, count_bytes):
        return encrypt_message(pad, stream, count_bytes, lambda: published(target), pad_to)


def decrypt_file(pad: OneTimePad, source: Path, target: Path) -> Header:
    """Decrypt a file, of which nothing is written before its tag has been checked.

    Parameters
    ----------
    pad : OneTimePad
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
    with _source(source, lambda: pad.most_encrypted_bytes) as (stream, size):
        return decrypt_message(pad, stream, size, lambda: published(target, mode=0o600), what=what)


def refuse_confusion(pad: OneTimePad, source: Path, target: Path) -> None:
    """Refuse to write over the key, its ledger or the source.

    Parameters
    ----------
    pad : OneTimePad
        The key in use.
    source, target : Path
        What is read and what is written.

    Raises
    ------
    ConfigurationError
        If the target is one of them.
    """
    precious = {*pad.precious, *({source.resolve()} if source != PIPE else ())}
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
    descriptor, name = _temporary(target)
    beside = name or target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        with _Spread(os.fdopen(descriptor, "wb", buffering=0)) as sink:
            yield sink
            sink.flush()
            os.fchmod(descriptor, mode & ~_user_mask())
            os.fsync(descriptor)
            is_there = name is None and _named(descriptor, target, beside)
        if not is_there:
            beside.replace(target)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    synchronise_folder(target.parent)


class _Spread(io.BufferedWriter):
    """A file of which the system writes to disk what has come so far, while more is coming; the last wait is short then."""

    _waiting_bytes = 0

    def write(self, data: Buffer, /) -> int:
        """Write ``data``."""
        written = super().write(data)
        self._waiting_bytes += written
        if self._waiting_bytes >= _SPREAD_BYTES:
            self.flush()
            os.posix_fadvise(self.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            self._waiting_bytes = 0
        return written


def _temporary(target: Path) -> tuple[int, Path | None]:
    """Open a file beside ``target``: without a name, so that nothing is left of it whatever happens; with one where the disk needs that."""
    try:
        return os.open(target.parent, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600), None
    except OSError as refused:
        if refused.errno not in {errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL}:
            raise
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    return descriptor, Path(name)


def _named(descriptor: int, target: Path, beside: Path) -> bool:
    """Give the open file its name, or the one beside it where a file has to be replaced; tell whether it has its own."""
    folder = os.open("/proc/self/fd", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.link(str(descriptor), target, src_dir_fd=folder, follow_symlinks=True)
    except FileExistsError:
        os.link(str(descriptor), beside, src_dir_fd=folder, follow_symlinks=True)
        return False
    finally:
        os.close(folder)
    return True


@contextmanager
def _source(path: Path, most_bytes: Callable[[], int]) -> Iterator[tuple[BinaryIO, int]]:
    """Open what is to be read, seekable and of known length; of a pipe at most one byte more than can be of use."""
    if path == PIPE:
        data = sys.stdin.buffer.read(most_bytes() + 1)
        yield BytesIO(data), len(data)
        return
    with path.open("rb") as stream:
        if not stream.seekable():  # a named pipe
            data = stream.read(most_bytes() + 1)
            yield BytesIO(data), len(data)
        else:
            yield stream, os.fstat(stream.fileno()).st_size


def _user_mask() -> int:
    """The process's file mode mask, which can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
