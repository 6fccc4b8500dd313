"""The client of the actuators: says where a plate or a shifter should stand, and hears where it stands and since when.

One JSON line each way over a unix or TCP socket, as ``qkd-fibre`` serves it for an emulated link and a laboratory from a script of its own
(``docs/reference/streams``). Every wait and every line is bounded; a connection that fails is made anew by the next request. Used by
Bob's stabiliser.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
from dataclasses import dataclass
from typing import Any, Final

from common.errors import ConfigurationError, StreamError
from common.service.streams import StreamAddress

MOST_LINE_BYTES: Final = 4096
"""Length of an answer."""

ANSWER_SECONDS: Final = 5.0
"""How long a connection and an answer may take; a plate on a motor needs about a second for half a turn."""


@dataclass(frozen=True, slots=True)
class Position:
    """Where an actuator stands.

    Attributes
    ----------
    name : str
        Its name.
    position : float
        In its own unit, radians as a rule.
    link_seconds : float | None
        Time of sending on Alice's clock from which it acts; None where whoever serves it does not know.
    """

    name: str
    position: float
    link_seconds: float | None


@dataclass(slots=True)
class ActuatorCounts:
    """What became of requests.

    Attributes
    ----------
    requests, refused, failed : int
        Made; answered by an error; without a usable answer.
    """

    requests: int = 0
    refused: int = 0
    failed: int = 0


class ActuatorClient:
    """Asks one server, one request at a time.

    Parameters
    ----------
    address : StreamAddress
        Where it listens, ``unix`` or ``tcp``.
    answer_seconds : float
        Patience with each connection and each answer.

    Attributes
    ----------
    counts : ActuatorCounts
        Since the beginning.

    Raises
    ------
    ConfigurationError
        If the address is that of a FIFO, which does not answer.
    """

    def __init__(self, address: StreamAddress, answer_seconds: float = ANSWER_SECONDS) -> None:
        if address.scheme == "fifo":
            raise ConfigurationError(f"actuators at {address}: a FIFO cannot answer; write unix:PATH or tcp://HOST:PORT")
        self.address = address
        self.counts = ActuatorCounts()
        self._answer_seconds = answer_seconds
        self._connection: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._turn = asyncio.Lock()

    async def get(self, name: str) -> Position:
        """Ask where an actuator stands.

        Parameters
        ----------
        name : str
            Which.

        Returns
        -------
        Position
            Where it stands.

        Raises
        ------
        ConfigurationError
            If the server refuses.
        StreamError
            If it cannot be reached, does not answer in time, or answers something else.
        """
        return await self._asked({"get": name}, name)

    async def set(self, name: str, value: float) -> Position:
        """Turn an actuator, and wait until it is there.

        Parameters
        ----------
        name : str
            Which.
        value : float
            Where to.

        Returns
        -------
        Position
            Where it stands, and from which time on.

        Raises
        ------
        ConfigurationError
            If the server refuses.
        StreamError
            If it cannot be reached, does not answer in time, or answers something else.
        """
        return await self._asked({"set": name, "value": value}, name)

    async def close(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            writer = connection[1]
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _asked(self, request: dict[str, Any], name: str) -> Position:
        async with self._turn:
            self.counts.requests += 1
            try:
                async with asyncio.timeout(self._answer_seconds):
                    answer = await self._exchanged(json.dumps(request).encode() + b"\n")
                return self._read(answer, name)
            except (OSError, EOFError, ValueError, StreamError) as problem:  # a line that is too long is a ValueError as well
                self.counts.failed += 1
                await self.close()
                if isinstance(problem, StreamError):
                    raise
                raise StreamError(f"actuators at {self.address}: {_reason(problem, self._answer_seconds)}") from None
            except asyncio.CancelledError:
                await self.close()  # its answer would be taken for that of the next request
                raise

    async def _exchanged(self, line: bytes) -> bytes:
        if self._connection is None:
            address = self.address
            if address.scheme == "unix":
                self._connection = await asyncio.open_unix_connection(address.path, limit=MOST_LINE_BYTES)
            else:
                self._connection = await asyncio.open_connection(address.host, address.port, limit=MOST_LINE_BYTES)
        reader, writer = self._connection
        writer.write(line)
        await writer.drain()
        answer = await reader.readline()
        if not answer.endswith(b"\n"):
            raise EOFError
        return answer

    def _read(self, line: bytes, name: str) -> Position:
        """Read an answer; what is wrong with it is the server's fault."""
        try:
            answer = json.loads(line)
        except (ValueError, RecursionError):
            raise StreamError(f"actuators at {self.address}: the answer is not JSON") from None
        if isinstance(answer, dict) and isinstance(answer.get("error"), str):
            self.counts.refused += 1
            raise ConfigurationError(f"actuators at {self.address}: {answer['error']}")
        if not isinstance(answer, dict) or answer.get("name") != name or not _is_number(answer.get("position")):
            raise StreamError(f"actuators at {self.address}: the answer does not say name = {name!r} and a position")
        seconds = answer.get("link_seconds")
        if seconds is not None and not _is_number(seconds):
            raise StreamError(f"actuators at {self.address}: link_seconds of {name} is not a number; leave it out where it is not known")
        return Position(name, float(answer["position"]), None if seconds is None else float(seconds))


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _reason(problem: Exception, answer_seconds: float) -> str:
    if isinstance(problem, TimeoutError):
        return f"no answer within {answer_seconds:g} s"
    if isinstance(problem, EOFError):
        return "the connection ended before an answer"
    if isinstance(problem, ValueError):
        return f"an answer of more than {MOST_LINE_BYTES} bytes"
    return f"{getattr(problem, 'strerror', None) or problem}; does anybody serve them?"
