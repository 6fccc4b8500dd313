"""How long conversations wait: a deadline for each that waits for a message, moved on with every step of the session.

Comes from ``driver``, which tells what waits and is told when a wait has lasted too long. A deadline that is moved on only notes the later
time: the loop is asked again when the earlier one comes, so a session that says thousands of messages a second asks it once in a while.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from common.conversation.events import TaskKey

MOST_BUSY_SECONDS = 3600.0
"""How long a peer may say that he is computing before we stop waiting for him."""


@dataclass(frozen=True, slots=True)
class Passed:
    """The time of a deadline has come; ``number`` tells it from earlier ones of the same conversation."""

    key: TaskKey
    number: int


@dataclass(slots=True)
class _Timer:
    number: int
    handle: asyncio.TimerHandle
    since: float
    due: float
    seconds: float
    is_explicit: bool


class Deadlines:
    """The deadlines of one session.

    Parameters
    ----------
    usual_seconds : float
        How long a conversation waits that has set no deadline of its own.
    tell : callable
        Called on the loop when the time of one has come.
    """

    def __init__(self, usual_seconds: float, tell: Callable[[Passed], None]) -> None:
        self._usual_seconds = usual_seconds
        self._tell = tell
        self._timers: dict[TaskKey, _Timer] = {}
        self._explicit: set[TaskKey] = set()
        self._count = 0

    def renew(self, waiting: Iterable[TaskKey]) -> None:
        """Give every conversation of ``waiting`` its usual deadline anew, unless it has one of its own."""
        now = time.monotonic()
        for key in waiting:
            timer = self._timers.get(key)
            if key in self._explicit:
                continue
            if timer is None:
                self._set(key, self._usual_seconds, is_explicit=False)
            else:
                timer.since, timer.due, timer.seconds = now, now + self._usual_seconds, self._usual_seconds

    def drop_others(self, waiting: Iterable[TaskKey]) -> None:
        """Forget the usual deadlines of conversations that are not among ``waiting``."""
        for key in [key for key, timer in self._timers.items() if key not in waiting and not timer.is_explicit]:
            self._timers.pop(key).handle.cancel()

    def set(self, key: TaskKey, seconds: float) -> None:
        """Give a conversation ``key`` a deadline of its own in so many ``seconds``, for all its waits."""
        self._explicit.add(key)
        self._set(key, seconds, is_explicit=True)

    def forget(self, key: TaskKey) -> None:
        """Forget a conversation ``key`` that has ended."""
        self._explicit.discard(key)
        if key in self._timers:
            self._timers.pop(key).handle.cancel()

    def has_passed(self, passed: Passed, *, is_waiting: bool, is_busy: bool) -> bool:
        """Say whether a wait has really lasted too long; if not, the deadline is set for later or was another one.

        Parameters
        ----------
        passed : Passed
            As told.
        is_waiting : bool
            Whether the conversation still waits.
        is_busy : bool
            Whether the peer says that he is computing.

        Returns
        -------
        bool
            True once.
        """
        timer = self._timers.get(passed.key)
        if timer is None or timer.number != passed.number or not is_waiting:
            return False  # a message came while the timer's word was under way
        now = time.monotonic()
        if timer.due > now:  # it was moved on meanwhile
            timer.handle = self._called_later(passed, timer.due - now)
            return False
        patience = timer.since + MOST_BUSY_SECONDS - now
        if not timer.is_explicit and is_busy and patience > 0:
            self._set(passed.key, min(timer.seconds, patience), is_explicit=False, since=timer.since)
            return False
        del self._timers[passed.key]
        return True

    def cancel(self) -> None:
        """Forget all of them."""
        for timer in self._timers.values():
            timer.handle.cancel()
        self._timers.clear()

    def _set(self, key: TaskKey, seconds: float, *, is_explicit: bool, since: float | None = None) -> None:
        if key in self._timers:
            self._timers.pop(key).handle.cancel()
        self._count += 1
        now = time.monotonic()
        handle = self._called_later(Passed(key, self._count), seconds)
        self._timers[key] = _Timer(self._count, handle, since or now, now + seconds, seconds, is_explicit)

    def _called_later(self, passed: Passed, seconds: float) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(seconds, self._tell, passed)
