"""The audit trail: who got which key when, and who was refused; one JSON line each, appended durably, without a byte of key.

Comes from the service and the admin socket; read by ``qkd keys audit``. Unlike the log it is kept, and a line is on disk
before what it tells of goes on.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common.errors import ConfigurationError
from common.observability.logs import without_key

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
        except OSError as refused:
            raise ConfigurationError(f"audit trail {path}: {refused.strerror}; make the state folder writable for this user") from None
        self._end_line()

    def _end_line(self) -> None:
        """Close a line that a crash left unfinished, so that the next one stands alone."""
        size = os.fstat(self._descriptor).st_size
        if size and os.pread(self._descriptor, 1, size - 1) != b"\n":
            os.write(self._descriptor, b"\n")

    def record(self, event: str, **fields: Any) -> None:
        """Append a line and wait until it is on disk.

        Parameters
        ----------
        event : str
            What happened.
        fields : object
            Numbers and texts; anything else is replaced by its length.
        """
        entry = without_key(None, "", {"time": round(self._now(), 3), "event": event, **fields})
        os.write(self._descriptor, (json.dumps(entry, ensure_ascii=False) + "\n").encode())
        os.fdatasync(self._descriptor)

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
