"""How many handouts a store has made, noted beside it: a store put back from an old copy is noticed when it is opened.

The note is written after the ledger and before key is handed out, so it is never ahead of a true store. It says nothing if the copy brought
it along; then the greeting notices, if blocks were made since.
"""

from __future__ import annotations

import os
from pathlib import Path

from common.errors import KeyStoreError

_LINE_BYTES = 64
FILE_MODE = 0o600


class Watermark:
    """The note beside a store.

    Parameters
    ----------
    path : Path
        The note's file.
    store_id : bytes
        16 bytes that name the store; a note of another store is overwritten.

    Raises
    ------
    KeyStoreError
        If the file cannot be opened.
    """

    def __init__(self, path: Path, store_id: bytes) -> None:
        self._path = path
        self._store_id = store_id
        self._is_behind = False
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
        except OSError as error:
            raise KeyStoreError(f"{path}: {error.strerror}") from None

    def read(self) -> int:
        """Return the number of handouts noted, 0 where there is no note of this store."""
        words = os.pread(self._descriptor, _LINE_BYTES, 0).decode("ascii", "replace").split()
        if len(words) == 2 and words[0] == self._store_id.hex() and words[1].isdecimal():
            return int(words[1])
        return 0

    def write(self, handouts: int, *, durable: bool = True) -> None:
        """Note the number of handouts.

        Parameters
        ----------
        handouts : int
            How many.
        durable : bool
            Whether to wait for the disk. Otherwise a crash of the process loses nothing, and one of the machine what was noted since
            ``sync``: a store put back from a copy that is younger than that goes unnoticed here.

        Raises
        ------
        KeyStoreError
            If the disk is full or fails.
        """
        line = f"{self._store_id.hex()} {handouts}".ljust(_LINE_BYTES - 1) + "\n"
        try:
            os.pwrite(self._descriptor, line.encode(), 0)
        except OSError as error:
            raise KeyStoreError(f"{self._path}: {error.strerror}; nothing is handed out that cannot be noted") from None
        self._is_behind = True
        if durable:
            self.sync()

    def sync(self) -> None:
        """Wait until what was noted is on the disk.

        Raises
        ------
        KeyStoreError
            If the disk fails.
        """
        if self._is_behind:
            try:
                os.fdatasync(self._descriptor)
            except OSError as error:
                raise KeyStoreError(f"{self._path}: {error.strerror}; nothing is handed out that cannot be noted") from None
            self._is_behind = False

    def close(self) -> None:
        """Let go of the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
