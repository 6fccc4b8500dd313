"""The other end of the admin socket: what ``qkd status``, ``qkd keys`` and ``qkd otp`` ask a running daemon with."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import common.errors
from common.errors import KeyExhaustedError, QkdError, TransportError
from common.service.settings import NodeSettings, load_settings
from common.service.unix_path import reachable

ANSWER_SECONDS = 30.0
"""How long an answer may take."""


class AdminClient:
    """A connection to a daemon; use it in a ``with`` statement.

    Parameters
    ----------
    path : Path
        The daemon's admin socket.

    Raises
    ------
    TransportError
        If no daemon answers there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(ANSWER_SECONDS)
        try:
            with reachable(path) as address:
                self._socket.connect(address)
        except OSError as refused:
            self._socket.close()
            raise TransportError(
                f"no daemon answers at {path}: {refused.strerror}; start the service that this configuration is for"
            ) from None
        self._file = self._socket.makefile("rb")

    @classmethod
    def of(cls, config: Path) -> AdminClient:
        """Connect to the daemon that runs with the configuration file ``config``."""
        settings = load_settings(config, NodeSettings)
        return cls(settings.resolved(settings.admin.socket))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()
        self._socket.close()

    def ask(self, command: str, **fields: Any) -> dict[str, Any]:
        """Return the result of a command that gives no key.

        Parameters
        ----------
        command : str
            Its name.
        fields : object
            What it needs to know, fit for JSON.

        Returns
        -------
        dict
            The result.
        """
        return self.ask_for_key(command, **fields)[0]

    def ask_for_key(self, command: str, **fields: Any) -> tuple[dict[str, Any], bytearray]:
        """Return the result of a command and the key that came with it.

        Parameters
        ----------
        command : str
            Its name.
        fields : object
            What it needs to know, fit for JSON.

        Returns
        -------
        tuple[dict, bytearray]
            The result, and the key: to be wiped by whoever asked.

        Raises
        ------
        TransportError
            If the daemon goes away.
        """
        self.send(command, **fields)
        return self.receive()

    def send(self, command: str, **fields: Any) -> None:
        """Send a request, whose answer ``receive`` will return; the daemon works on it meanwhile.

        Parameters
        ----------
        command : str
            Its name.
        fields : object
            What it needs to know, fit for JSON.

        Raises
        ------
        TransportError
            If the daemon is gone.
        """
        try:
            self._socket.sendall(json.dumps({"command": command, **fields}).encode() + b"\n")
        except OSError:
            raise self._gone() from None

    def receive(self) -> tuple[dict[str, Any], bytearray]:
        """Return the answer to the oldest request that was sent.

        Returns
        -------
        tuple[dict, bytearray]
            The result, and the key: to be wiped by whoever asked.

        Raises
        ------
        TransportError
            If the daemon goes away.
        """
        try:
            line = self._file.readline()
            answer = json.loads(line) if line else {}
            key = bytearray(answer.get("key_bytes", 0))
            whole = self._file.readinto(key) == len(key) if key else bool(line)
        except (OSError, ValueError):
            whole = False
        if not whole:
            raise self._gone()
        if not answer["ok"]:
            raise _error(answer)
        return answer["result"], key

    def _gone(self) -> TransportError:
        return TransportError(f"the daemon at {self._path} went away before it answered")


def _error(answer: dict[str, Any]) -> QkdError:
    """Return the error that the daemon reports, as an error of the same class."""
    kind = getattr(common.errors, str(answer.get("error_class")), QkdError)
    if kind is KeyExhaustedError:
        return KeyExhaustedError(answer["error"], missing_bits=answer.get("missing_bits"), wait_seconds=answer.get("wait_seconds"))
    return kind(answer["error"]) if isinstance(kind, type) and issubclass(kind, QkdError) else QkdError(answer["error"])
