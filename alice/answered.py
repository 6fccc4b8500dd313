"""How far Alice has answered: of no slot does she ever tell the basis twice, in whatever session and after whatever crash.

Whoever has broken the message keys and stores light could otherwise play Bob for one session, hear the bases of all she stored, measure it
in them, and send it on for the next session, which would find no error. Bob only ever goes forward, so refusing what lies behind costs him
nothing. The mark is on the disk before the answer leaves; a new run of the source numbers other slots and begins anew.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from pathlib import Path

from common.errors import ConfigurationError, KeyStoreError, RemoteProtocolError

NOTHING = -(1 << 63)
"""Below every slot."""


class AnsweredSlots:
    """The highest slot answered for, of one run of the source.

    Parameters
    ----------
    path : Path | None
        Where it is kept, in a folder that exists; None keeps it in memory, for runs that end with the process.

    Raises
    ------
    ConfigurationError
        If the file is there and cannot be read: a mark that is forgotten would let slots be answered twice.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._run, self._through = _read(path) if path is not None else ("", NOTHING)

    def through(self, run: str) -> int:
        """Return the highest slot of ``run`` that was answered for, ``NOTHING`` where there is none."""
        with self._lock:
            return self._through if run == self._run else NOTHING

    def answer(self, run: str, first_slot: int, last_slot: int) -> None:
        """Mark slots as answered for; durable when this returns.

        Parameters
        ----------
        run : str
            Names the run of the source.
        first_slot, last_slot : int
            Lowest and highest slot that are asked for.

        Raises
        ------
        RemoteProtocolError
            If one of them may have been answered for.
        KeyStoreError
            If the mark cannot be written; nothing may be answered then.
        """
        with self._lock:
            through = self._through if run == self._run else NOTHING
            if first_slot <= through:
                raise RemoteProtocolError(f"slot {first_slot} was asked for again, or passed over: answered are all up to {through}")
            self._write(run, last_slot)
            self._run, self._through = run, last_slot

    def pass_over(self, run: str, last_slot: int) -> None:
        """Mark all up to ``last_slot`` of ``run`` as not to be answered for any more: their outcomes are public."""
        with self._lock:
            if run == self._run and last_slot <= self._through:
                return
            self._write(run, last_slot)
            self._run, self._through = run, last_slot

    def _write(self, run: str, through: int) -> None:
        if self._path is None:
            return
        beside = self._path.with_name(self._path.name + ".new")
        try:
            descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(json.dumps({"version": 1, "run": run, "through": through}) + "\n")
                file.flush()
                os.fsync(descriptor)
            beside.replace(self._path)
            _synchronise(self._path.parent)
        except OSError as refused:
            with contextlib.suppress(OSError):
                beside.unlink(missing_ok=True)
            raise KeyStoreError(f"{self._path}: {refused.strerror}; no slot is answered for before this is written") from None


def _read(path: Path) -> tuple[str, int]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["version"] != 1 or type(content["through"]) is not int or not isinstance(content["run"], str):
            raise ValueError
    except FileNotFoundError:
        return "", NOTHING
    except (OSError, ValueError, KeyError, TypeError):
        raise ConfigurationError(
            f"{path} cannot be read: it says which slots were answered for; restart the source, which then numbers new ones, and remove it"
        ) from None
    return content["run"], content["through"]


def _synchronise(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
