"""Keeps a link going: one session after another, with growing, jittered waits where they fail.

What breaks a session never ends the service, with one exception: while no session was ever agreed on, three failures in a row that only a
person can mend (other secrets, other parameters) are a bad start, and the service says so and exits.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from common.errors import AuthenticationError, RemoteProtocolError
from common.observability.logs import logger
from common.service.driver import SessionDriver, SessionEnd
from common.service.greetings import BAD_STARTS, GreetingDesk


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """How long to wait before the next session.

    Attributes
    ----------
    first_seconds, factor, most_seconds : float
        The wait after the first failure, how it grows, and where it stops growing.
    jitter : float
        Share of the wait that is left to chance, so that two ends do not keep step.
    steady_seconds : float
        A session that lasted so long, or matched its slots, was a good one: the next failure counts as the first.
    """

    first_seconds: float = 0.2
    factor: float = 2.0
    most_seconds: float = 30.0
    jitter: float = 0.5
    steady_seconds: float = 10.0

    def wait_seconds(self, count_failures: int, chance: float) -> float:
        """Return the wait behind so many failures in a row; ``chance`` in [0, 1) is drawn by the caller.

        Parameters
        ----------
        count_failures : int
            From 1.
        chance : float
            Evenly distributed.

        Returns
        -------
        float
            Seconds.
        """
        full = min(self.most_seconds, self.first_seconds * self.factor ** min(count_failures - 1, 32))
        return full * (1 - self.jitter * chance)


async def _silence() -> None:
    """Wait for ever: nobody ever knocks."""
    await asyncio.Event().wait()


class Supervisor:
    """Opens sessions as long as the service runs.

    Parameters
    ----------
    open_session : callable
        Makes the driver of a new session.
    before_session : callable
        Waits until a session makes sense: the peer is there, the stream runs.
    after_session : callable
        Told how each session ended.
    desk : GreetingDesk
        Knows whether any session was ever agreed on.
    policy : RestartPolicy
        Waits.
    knock : callable
        Waits until the peer greets: whoever is greeted keeps nobody waiting.
    """

    def __init__(
        self,
        open_session: Callable[[], Awaitable[SessionDriver]],
        before_session: Callable[[], Awaitable[None]],
        after_session: Callable[[SessionEnd], None],
        desk: GreetingDesk,
        policy: RestartPolicy | None = None,
        knock: Callable[[], Awaitable[None]] = _silence,
    ) -> None:
        self.activity: Literal["waiting", "in session", "backing off", "stopped"] = "waiting"
        self.count_sessions = 0
        self.count_failures = 0
        self._open_session = open_session
        self._before_session = before_session
        self._after_session = after_session
        self._desk = desk
        self._policy = policy or RestartPolicy()
        self._knock = knock
        self._driver: SessionDriver | None = None
        self._stopping = asyncio.Event()
        self._lasted_seconds = 0.0

    async def run(self) -> Exception | None:
        """Open sessions until asked to stop.

        Returns
        -------
        Exception | None
            Why the start was a bad one, or None.
        """
        greeting: bytes | None = None
        failures: list[Exception] = []
        while not self._stopping.is_set():
            self.activity = "waiting"
            if not await self._unless_stopped(self._before_session()):
                break
            end = await self._session(greeting)
            greeting = end.greeting
            if end.was_distilling or self._lasted_seconds >= self._policy.steady_seconds:
                failures = []
            if end.error is not None:
                failures.append(end.error)
            else:
                failures = []
            if bad := self._bad_start(failures):
                return bad
            if greeting is None:
                self.activity = "backing off"
                chance = random.random()  # noqa: S311 - spreads two ends, guards nothing
                await self._unless_stopped(self._wait_or_knock(self._policy.wait_seconds(max(1, len(failures)), chance)))
        self.activity = "stopped"
        return None

    def stop(self) -> None:
        """Ask the session that runs to end, and open no other."""
        self._stopping.set()
        if self._driver is not None:
            self._driver.stop(leaving=True)

    async def _session(self, greeting: bytes | None) -> SessionEnd:
        began = time.monotonic()
        self.activity = "in session"
        self.count_sessions += 1
        self._driver = await self._open_session()
        if self._stopping.is_set():
            self._driver.stop(leaving=True)
        try:
            end = await self._driver.run(greeting)
        finally:
            self._driver = None
        self._lasted_seconds = time.monotonic() - began
        self.count_failures += end.error is not None
        if end.error is None:
            logger("supervisor").info("session over", stopped=end.stopped)
        else:
            logger("supervisor").warning("session failed", error=end.error, seconds=round(self._lasted_seconds, 1))
        self._after_session(end)
        return end

    def _bad_start(self, failures: list[Exception]) -> Exception | None:
        """Return what a person has to mend, if nothing else can come of it."""
        newest = failures[-BAD_STARTS:]
        if self._desk.has_agreed or not newest:
            return None
        if isinstance(newest[-1], AuthenticationError) and self._desk.count_refused >= BAD_STARTS:
            return newest[-1]
        alike = any(all(isinstance(error, kind) for error in newest) for kind in (AuthenticationError, RemoteProtocolError))
        return newest[-1] if len(newest) == BAD_STARTS and alike else None

    async def _wait_or_knock(self, seconds: float) -> None:
        """Wait, but no longer than until the peer greets."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._knock(), seconds)

    async def _unless_stopped(self, awaited: Awaitable[None]) -> bool:
        """Wait for something, or until asked to stop; say whether it came."""
        task, stopped = asyncio.ensure_future(awaited), asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                task.result()
            return task.done() and not self._stopping.is_set()
        finally:
            for pending in (task, stopped):
                pending.cancel()
            await asyncio.gather(task, stopped, return_exceptions=True)
