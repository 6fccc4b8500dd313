"""The ledger beside a key file: which stretches are spent, written and synchronised to disk before one bit of them is read.

``alice.key.ledger`` is text, one JSON object a line. The first line fixes what the key file cannot say for itself:

    {"version": 2, "pad_id": "9f86d081884c7d65", "bytes": 6061, "boundary": 3034, "end": "alice"}

every other line burns a stretch:

    {"burnt": "sent", "offset": 8, "bytes": 6032}

A line counts once its line feed is on disk. What a crash leaves behind the last line feed was never acted upon, and is cut off; anything
else that cannot be read stops everything, for a ledger that forgets gives key twice.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from common.channel.codec import Party
from common.errors import ConfigurationError, KeyStoreError
from common.onetimepad.envelope import PadName, Stretch

VERSION = 2
FILE_MODE = 0o600

LOCK_SECONDS = 30.0
"""Longest wait for another process to let go of a ledger."""

LOCK_PAUSE_SECONDS = 0.02
"""Pause between two attempts."""

Use: TypeAlias = Literal["sent", "received"]


@dataclass(frozen=True, slots=True)
class Opening:
    """The first line: what this key file is, and at which end.

    Attributes
    ----------
    pad : PadName
        Name, usable length and boundary of the pad.
    end : Party
        Whose key file this is.
    """

    pad: PadName
    end: Party

    def line(self) -> dict[str, str | int]:
        """Return the line as a dictionary."""
        pad = self.pad
        place: dict[str, str | int] = {"bytes": pad.count_bytes, "boundary": pad.boundary}
        return {"version": VERSION, "pad_id": pad.pad_id.hex(), **place, "end": self.end.name.lower()}


@dataclass(slots=True)
class OpenLedger:
    """A ledger while it is locked.

    Attributes
    ----------
    path : Path
        Its file.
    opening : Opening | None
        The first line; None where there is none yet.
    burnt : list[tuple[Use, Stretch]]
        Spent stretches in order.
    """

    path: Path
    opening: Opening | None = None
    burnt: list[tuple[Use, Stretch]] = field(default_factory=list)
    _descriptor: int = -1
    _durable_bytes: int = 0

    def open_with(self, opening: Opening) -> None:
        """Write the first line, ``opening``; durable when this returns."""
        self._append(opening.line())
        self.opening = opening

    def burn(self, use: Use, stretch: Stretch) -> None:
        """Write that ``stretch`` is spent, and for which ``use``; durable when this returns."""
        self._append({"burnt": use, "offset": stretch.offset, "bytes": stretch.count_bytes})
        self.burnt.append((use, stretch))

    def _append(self, entry: dict[str, str | int]) -> None:
        line = json.dumps(entry).encode() + b"\n"
        os.ftruncate(self._descriptor, self._durable_bytes)
        written = 0
        while written < len(line):
            written += os.pwrite(self._descriptor, line[written:], self._durable_bytes + written)
        os.fsync(self._descriptor)
        self._durable_bytes += len(line)


@contextmanager
def locked(path: Path) -> Iterator[OpenLedger]:
    """Open a ledger for this process alone, making it where it is missing.

    Parameters
    ----------
    path : Path
        The ledger's file.

    Yields
    ------
    OpenLedger
        Its lines, and the means to add some; other processes wait meanwhile.

    Raises
    ------
    KeyStoreError
        If a line cannot be read, or another process keeps the ledger to itself.
    ConfigurationError
        If an earlier version began it.
    """
    is_new = not path.exists()
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
    try:
        _lock(descriptor, path)
        if is_new:
            synchronise_folder(path.parent)
        yield _parsed(path, descriptor)
    finally:
        os.close(descriptor)


def _lock(descriptor: int, path: Path) -> None:
    """Wait, but not for ever, until no other process holds the ledger."""
    give_up = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > give_up:
                raise KeyStoreError(f"{path} has been in use by another process for {LOCK_SECONDS:g} s: end that first") from None
            time.sleep(LOCK_PAUSE_SECONDS)


def synchronise_folder(folder: Path) -> None:
    """Make names in ``folder`` durable: a new file, or one renamed."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _parsed(path: Path, descriptor: int) -> OpenLedger:
    text = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
    durable = text[: text.rfind(b"\n") + 1]
    ledger = OpenLedger(path, _descriptor=descriptor, _durable_bytes=len(durable))
    for number, line in enumerate(durable.splitlines(), 1):
        try:
            entry = json.loads(line)
            if ledger.opening is None:
                if entry["version"] == 1:
                    raise ConfigurationError(f"{path} was begun by an earlier version, whose tags can be forged: distil a new key")
                _ = {VERSION: None}[entry["version"]]
                pad = PadName(bytes.fromhex(entry["pad_id"]), int(entry["bytes"]), int(entry["boundary"]))
                ledger.opening = Opening(pad, Party[entry["end"].upper()])
            else:
                use: Use = {"sent": "sent", "received": "received"}[entry["burnt"]]  # type: ignore[assignment]  # one of the two
                ledger.burnt.append((use, Stretch(int(entry["offset"]), int(entry["bytes"]))))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise KeyStoreError(
                f"{path} line {number} cannot be read, so nobody knows which key is spent; restore the file, or distil a new key and "
                "never use this one again"
            ) from None
    return ledger
