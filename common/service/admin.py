"""The admin socket: how the commands on this machine ask the running daemon, over a unix socket that only its user can open.

A request is one JSON line ``{"command": …}``; the answer is one JSON line, ``{"ok": true, "result": …}`` or ``{"ok": false, "error": …,
"exit": …}``. Where the answer says ``key_bytes``, so many raw bytes of key follow it; the answer itself is wiped once they are on
their way, what the socket buffers of it is freed. A
connection may carry many requests, one after another.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common.errors import ConfigurationError, KeyExhaustedError, QkdError
from common.observability.logs import logger
from common.service.exits import exit_status
from common.service.unix_path import reachable

MOST_REQUEST_BYTES = 1 << 22
"""Longest request line: the pieces of the longest pad fit in."""

MOST_CLIENTS = 16
"""Commands answered at a time."""

IDLE_SECONDS = 120.0
"""How long a connection may be quiet that holds nothing open; who checks a long message is quiet for as long as that takes."""

_CREDENTIALS = struct.Struct("3i")
"""struct ucred of unix(7): process, user, group."""


@dataclass(slots=True)
class Answer:
    """What a command gets back.

    Attributes
    ----------
    result : dict
        For JSON.
    key : bytearray | None
        Raw bytes that follow; wiped once sent.
    """

    result: dict[str, Any]
    key: bytearray | None = field(default=None, repr=False)


Handler = Callable[[Mapping[str, Any]], Awaitable[Answer]]


@dataclass(slots=True)
class Connection:
    """A connection of a command.

    Attributes
    ----------
    endings : dict[int, callable]
        What is called when it ends, however it ends, by numbers that the handlers choose.
    """

    endings: dict[int, Callable[[], Awaitable[None]]] = field(default_factory=dict)


_ASKING: ContextVar[Connection] = ContextVar("asking")


def asking() -> Connection:
    """Return the connection whose request is being answered."""
    return _ASKING.get()


class AdminServer:
    """Answers commands.

    Parameters
    ----------
    path : Path
        Where the socket lies; its folder is ours alone.
    handlers : dict
        What each command does.
    """

    def __init__(self, path: Path, handlers: Mapping[str, Handler]) -> None:
        self._path = path
        self._handlers = handlers
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        """Open the socket; one that a dead daemon left behind is replaced.

        Raises
        ------
        ConfigurationError
            If it cannot be opened.
        """
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._path.unlink(missing_ok=True)
            with reachable(self._path) as address:
                listening.bind(address)
            self._path.chmod(0o600)
            self._server = await asyncio.start_unix_server(self._serve, sock=listening, limit=MOST_REQUEST_BYTES)
        except OSError as refused:
            listening.close()
            raise ConfigurationError(f"admin.socket {self._path}: {refused.strerror}; choose another path") from None

    async def stop(self) -> None:
        """Close the socket and every connection."""
        if self._server is not None:
            self._server.close()
            for client in tuple(self._clients):
                client.close()
            self._path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._clients) >= MOST_CLIENTS or not _is_ours(writer.get_extra_info("socket")):
            writer.close()
            return
        self._clients.add(writer)
        connection = Connection()
        _ASKING.set(connection)
        try:
            while line := await asyncio.wait_for(reader.readline(), None if connection.endings else IDLE_SECONDS):
                await self._reply(await self._answered(line), writer)
        except (TimeoutError, ValueError, ConnectionError):
            pass  # an idle, endless or broken client: nothing to say to it
        finally:
            self._clients.discard(writer)
            writer.close()
            for end in tuple(connection.endings.values()):
                await end()

    async def _answered(self, line: bytes) -> Answer | QkdError:
        try:
            request = json.loads(line)
            command = request["command"]
            handler = self._handlers[command]
        except (ValueError, TypeError, KeyError, RecursionError):
            return ConfigurationError(f"admin socket: unknown command; known are {', '.join(self._handlers)}")
        try:
            return await handler(request)
        except QkdError as error:
            return error
        except Exception as bug:  # noqa: BLE001 - a mistake of ours must not take the daemon down
            logger("admin").error("command failed on a mistake of ours", command=command, error=bug)
            return QkdError(f"{command}: mistake of ours: {type(bug).__name__}")

    @staticmethod
    async def _reply(answer: Answer | QkdError, writer: asyncio.StreamWriter) -> None:
        if isinstance(answer, QkdError):
            reply = {"ok": False, "error": str(answer), "error_class": type(answer).__name__, "exit": exit_status(answer)}
            if isinstance(answer, KeyExhaustedError):
                reply |= {"missing_bits": answer.missing_bits, "wait_seconds": answer.wait_seconds}
            writer.write(json.dumps(reply).encode() + b"\n")
        else:
            follows = {} if answer.key is None else {"key_bytes": len(answer.key)}
            writer.write(json.dumps({"ok": True, "result": answer.result} | follows).encode() + b"\n")
            if answer.key is not None:
                writer.write(bytes(answer.key))
                answer.key[:] = bytes(len(answer.key))
        await writer.drain()


def _is_ours(connection: socket.socket) -> bool:
    """Whether the other end runs as our user, or as root."""
    _, user, _ = _CREDENTIALS.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return user in {os.geteuid(), 0}
