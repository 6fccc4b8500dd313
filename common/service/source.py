"""A node's half of the quantum channel: a live station, opened when the service starts and played on by one session after another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

from common.distillation.pace import Pace
from common.distillation.playbook import Playbook

READY_SECONDS = 0.1
"""How often a station that is not ready is looked at."""


class Station(Protocol):
    """What a live station offers the service."""

    @property
    def problem(self) -> str:
        """What is wrong with its stream; empty while all is well."""

    def begin(self) -> None:
        """Serve a new session."""

    def abandon(self) -> None:
        """Let computations of a session that has ended fail at once."""

    def close(self) -> None:
        """Stop reading and wake whoever waits."""


S = TypeVar("S", bound=Station)


class StationSource(Generic[S]):
    """A source that is a live station.

    Parameters
    ----------
    connect : callable
        Opens the station; it reads from then on.
    play : callable
        Halves of a new session on it.
    describe : callable
        What came in so far.
    is_ready : callable
        Whether a session makes sense; a station that reads only while it is asked is always ready.
    """

    def __init__(
        self,
        connect: Callable[[], S],
        play: Callable[[S, Pace], Playbook],
        describe: Callable[[S], dict[str, Any]],
        is_ready: Callable[[S], bool] = lambda _station: True,
    ) -> None:
        self._is_ready = is_ready
        self._connect = connect
        self._play = play
        self._describe = describe
        self._station: S | None = None

    async def start(self) -> None:
        """Begin to read."""
        self._station = self._connect()

    async def wait_ready(self) -> None:
        """Wait until the stream runs."""
        while self._station is None or not self._is_ready(self._station):  # noqa: ASYNC110 - the station lives in threads
            await asyncio.sleep(READY_SECONDS)

    def open(self, pace: Pace) -> Playbook:
        """Return the halves of a new session at a ``pace``."""
        assert self._station is not None
        self._station.begin()
        return self._play(self._station, pace)

    def abandon(self) -> None:
        """Let computations of the session that has ended fail at once, where they wait for the stream."""
        if self._station is not None:
            self._station.abandon()

    def statistics(self) -> dict[str, Any]:
        """Say what came in so far."""
        return {} if self._station is None else {"problem": self._station.problem, **self._describe(self._station)}

    async def close(self) -> None:
        """Stop reading; computations that wait for the stream fail at once."""
        if self._station is not None:
            await asyncio.to_thread(self._station.close)
