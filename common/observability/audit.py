"""The audit trail: who got which key when, and who was refused; one JSON line each, appended durably, without a byte of key.

Comes from the service and the admin socket; read by ``qkd keys audit``. Unlike the log it is kept, and a line is on disk
before what it tells of goes on.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common.errors import ConfigurationError, KeyStoreError
from common.observability.logs import without_key

ROOM_BYTES = 1 << 18
"""Room on the disk set aside for the next lines, some thousand of them."""

FALLOC_FL_KEEP_SIZE = 1
"""fallocate(2): the room lies behind the end of the file."""

_LIBC = ctypes.CDLL(None, use_errno=True)

READ_BYTES = 1 << 20
"""How far back ``last`` looks, bytes."""


class AuditTrail:
    """A file that only grows.

    Parameters
    ----------
    path : Path
        Created with mode 0600 where it is missing.
    now : callable
        Seconds since 1970.

    Raises
    ------
    ConfigurationError
        If the file cannot be opened.
    """

    def __init__(self, path: Path, now: Callable[[], float] = time.time) -> None:
        self._path = path
        self._now = now
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._end_line()
        except OSError as refused:
            raise ConfigurationError(f"audit trail {path}: {refused.strerror}; make the state folder writable for this user") from None
        self._room_through = 0
        self._keep_room()

    def _end_line(self) -> None:
        """Close a line that a crash left unfinished, so that the next one stands alone."""
        size = os.fstat(self._descriptor).st_size
        if size and os.pread(self._descriptor, 1, size - 1) != b"\n":
            os.write(self._descriptor, b"\n")

    def _keep_room(self) -> None:
        """Have the disk set room aside for lines to come: when it is full, what is handed out last can still be noted."""
        size = os.fstat(self._descriptor).st_size
        if size + ROOM_BYTES // 2 > self._room_through and sys.platform == "linux":
            if _LIBC.fallocate(self._descriptor, FALLOC_FL_KEEP_SIZE, ctypes.c_longlong(size), ctypes.c_longlong(ROOM_BYTES)) == 0:
                self._room_through = size + ROOM_BYTES

    def record(self, event: str, **fields: Any) -> None:
        """Append a line and wait until it is on disk.

        Parameters
        ----------
        event : str
            What happened.
        fields : object
            Numbers and texts; anything else is replaced by its length.

        Raises
        ------
        KeyStoreError
            If the disk is full or fails; no part of the line is left.
        """
        entry = without_key(None, "", {"time": round(self._now(), 3), "event": event, **fields})
        line = (json.dumps(entry, ensure_ascii=False) + "\n").encode()
        size = os.fstat(self._descriptor).st_size
        try:
            if os.write(self._descriptor, line) < len(line):
                os.ftruncate(self._descriptor, size)  # which also gives up the room set aside
                self._room_through = 0
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fdatasync(self._descriptor)
        except OSError as failed:
            raise KeyStoreError(f"audit trail {self._path}: {failed.strerror}; nothing is handed out that cannot be noted") from None
        self._keep_room()

    def last(self, count: int) -> list[dict[str, Any]]:
        """Return the newest ``count`` entries, oldest first; lines that a crash cut short are left out."""
        size = os.fstat(self._descriptor).st_size
        start = max(0, size - READ_BYTES)
        lines = os.pread(self._descriptor, size - start, start).split(b"\n")[1 if start else 0 :]
        entries = []
        for line in lines[-count - 1 :]:
            try:
                entries.append(json.loads(line))
            except ValueError:
                continue
        return entries[-count:]

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)
