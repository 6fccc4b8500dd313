"""Keeps one tunnel in fresh keys: does what the agreement asks for, and closes the tunnel where that was chosen and no key comes.

Between the agreement (``common.tunnels.agreement``, no sockets and no keys) and what carries the tunnel (``wireguard``, ``strongswan``).
Keys live here, between the answer of the node and the moment they are in the tunnel.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any, Protocol, TypeVar

from common.errors import KeyNotFoundError, QkdError, RemoteProtocolError
from common.observability.logs import logger
from common.tunnels.agreement import Ask, Drop, Effect, Fetch, Holder, Install, Miss, Order, Orderer
from common.tunnels.freshness import Freshness
from common.tunnels.keys import KeyNode
from common.tunnels.messages import Question, Reply
from common.tunnels.settings import PeerSection

R = TypeVar("R")

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 30.0
"""How long a change that went wrong waits before it goes on: at first, and in the end."""

WATCH_SECONDS = 1.0
"""How often the age of a key is looked at."""


def now() -> float:
    """Seconds, also while the machine sleeps: a key gets no younger then."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Tunnel(Protocol):
    """What carries a tunnel to one other end."""

    async def install(self, key_id: str, key: bytearray) -> None:
        """Put ``key``, whose number is ``key_id``, into the tunnel, and open it if it is closed."""

    async def close(self) -> None:
        """Let nothing through until the next key."""

    async def proven_seconds_ago(self) -> float | None:
        """Return when the tunnel last proved that both ends have the same key; None for never."""


async def ended(work: Coroutine[Any, Any, None]) -> None:
    """Wait for ``work`` to its end even if we are cancelled meanwhile: nothing may reach the tunnel after us."""
    task = asyncio.create_task(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise


class Upkeep:
    """What both halves do for a tunnel.

    Parameters
    ----------
    name : str
        The application at the other end.
    settings : PeerSection
        The tunnel, with ``when_short`` given.
    tunnel : Tunnel
        What carries it.
    node : KeyNode
        Gives keys.
    """

    def __init__(self, name: str, settings: PeerSection, tunnel: Tunnel, node: KeyNode) -> None:
        if settings.when_short is None:
            raise ValueError(f"{name}: nobody has said what happens where key runs short")
        self.name = name
        self.freshness = Freshness(settings.rhythm, settings.when_short)
        self._settings = settings
        self._tunnel = tunnel
        self._node = node
        self._keys: dict[str, bytearray] = {}
        self._key_id: str | None = None
        self._count_changes = 0
        self._proven: float | None = None
        self._is_failing = False
        self._problem: str | None = None
        self._lock = asyncio.Lock()
        self._log = logger("tunnels")

    async def watch(self) -> None:
        """Look at the tunnel and at the age of its key, for ever."""
        while True:
            await self._look()
            await self._close_if_short()
            await asyncio.sleep(min(WATCH_SECONDS, self._settings.check_seconds))

    async def stop(self) -> None:
        """Leave the tunnel as it was chosen: closed, where it has no key without us; and wipe what is held."""
        if self.freshness.when_short == "close" and not self.freshness.is_closed:
            await self._close("nobody renews its keys any more")
        for key_id in tuple(self._keys):
            self._drop(key_id)

    def report(self) -> dict[str, Any]:
        """Say for the status how the tunnel does.

        Returns
        -------
        dict
            Fields of docs/reference/tunnels.
        """
        moment = now()
        age = self.freshness.age(moment)
        return {
            "peer": self.name,
            "state": "closed" if self.freshness.is_closed else "open",
            "when_short": str(self.freshness.when_short),
            "short": self.freshness.is_short(moment),
            "key_id": self._key_id,
            "key_age_seconds": None if age is None else round(age, 1),
            "keys_changed": self._count_changes,
            "proven_seconds_ago": None if self._proven is None else round(self._proven, 1),
            "proven": self._proven is not None and self._proven < self._settings.proof_seconds,
            "last_problem": self._problem,
        }

    @property
    def is_failing(self) -> bool:
        """Whether the tunnel shows that both ends may have different keys."""
        return self.freshness.is_failing(now(), self._proven)

    async def drive(self, steps: Generator[Effect, Any, R]) -> R:
        """Do what a half of the agreement asks for.

        Parameters
        ----------
        steps : Generator
            A call of the half.

        Returns
        -------
        R
            What it returned.
        """
        done: Any = None
        while True:
            try:
                effect = steps.send(done)
            except StopIteration as end:
                result: R = end.value
                return result
            done = await self._perform(effect)

    def noted(self, problem: QkdError) -> None:
        """Remember a ``problem``, and log it where it is another than before."""
        if str(problem) != self._problem:
            self._log.warning("tunnel is not renewed", peer=self.name, error=problem)
        self._problem = str(problem)

    async def _perform(self, effect: Effect) -> Any:  # noqa: ANN401 - every effect has an answer of its own
        match effect:
            case Order():
                return await self._order()
            case Fetch(key_id):
                return await self._fetch(key_id)
            case Install(key_id):
                return await self._install(key_id)
            case Drop(key_id):
                return self._drop(key_id)
            case Ask(question):
                return await self._ask(question)

    async def _ask(self, question: Question) -> Reply | None:
        raise TypeError(f"this half asks nothing: {question.kind}")

    async def _order(self) -> str | None:
        try:
            key_id, key = await self._node.order(self.name)
        except QkdError as refused:
            self.noted(refused)
            return None
        self._keys[key_id] = key
        return key_id

    async def _fetch(self, key_id: str) -> Miss | None:
        try:
            self._keys[key_id] = await self._node.fetch(self.name, key_id)
        except QkdError as refused:
            self.noted(refused)
            return Miss(isinstance(refused, KeyNotFoundError), str(refused))
        return None

    async def _install(self, key_id: str) -> bool:
        async with self._lock:
            try:
                await ended(self._tunnel.install(key_id, self._keys[key_id]))
            except QkdError as refused:
                self.noted(refused)
                return False
            self.freshness.changed(now())
        self._key_id, self._problem = key_id, None
        self._count_changes += 1
        self._log.info("key changed", peer=self.name, key_id=key_id)
        return True

    def _drop(self, key_id: str) -> None:
        key = self._keys.pop(key_id, None)
        if key is not None:
            key[:] = bytes(len(key))

    async def _look(self) -> None:
        try:
            self._proven = await self._tunnel.proven_seconds_ago()
        except QkdError as refused:
            self._proven = None
            self.noted(refused)
        if self.is_failing and not self._is_failing:
            self._log.warning("the two ends may have different keys", peer=self.name, proven_seconds_ago=self._proven)
        self._is_failing = self.is_failing

    async def _close_if_short(self) -> None:
        if self.freshness.has_to_close(now()):
            await self._close("no fresh key")

    async def _close(self, reason: str) -> None:
        async with self._lock:
            try:
                await ended(self._tunnel.close())
            except QkdError as refused:
                self.noted(refused)
                return
            self.freshness.closed()
        self._log.warning("tunnel closed", peer=self.name, reason=reason)


class Ordering(Upkeep):
    """The end that orders keys and asks the other one.

    Parameters
    ----------
    name : str
        The application at the other end.
    settings : PeerSection
        The tunnel.
    tunnel : Tunnel
        What carries it.
    node : KeyNode
        Gives keys.
    ask : callable
        Asks the other end.
    """

    def __init__(
        self, name: str, settings: PeerSection, tunnel: Tunnel, node: KeyNode, ask: Callable[[Question], Awaitable[Reply]]
    ) -> None:
        super().__init__(name, settings, tunnel, node)
        self._half = Orderer()
        self._asking = ask

    async def renew(self, stopping: asyncio.Event) -> None:
        """Renew keys until told to stop; a change under way is ended first.

        Parameters
        ----------
        stopping : asyncio.Event
            Set when it is time.
        """
        pause = FIRST_PAUSE_SECONDS
        while not stopping.is_set():
            is_done = await self._advance()
            pause = FIRST_PAUSE_SECONDS if is_done else min(2 * pause, LONGEST_PAUSE_SECONDS)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), self._settings.check_seconds if is_done else pause / 2)

    async def _advance(self) -> bool:
        try:
            return await self.drive(self._half.advance(is_due=self.freshness.is_due(now()), is_failing=self.is_failing))
        except RemoteProtocolError as broken:
            self.noted(broken)
            return False

    def report(self) -> dict[str, Any]:
        """Say for the status how the tunnel does."""
        settled = {"half": "orders", "settled": self._half.is_settled, "in_doubt": self._half.in_doubt}
        return super().report() | settled

    async def _ask(self, question: Question) -> Reply | None:
        try:
            return await self._asking(question)
        except QkdError as gone:
            self.noted(gone)
            return None


class Holding(Upkeep):
    """The end that holds what was ordered for it, and answers.

    Parameters
    ----------
    name : str
        The application at the other end.
    settings : PeerSection
        The tunnel.
    tunnel : Tunnel
        What carries it.
    node : KeyNode
        Gives keys.
    """

    def __init__(self, name: str, settings: PeerSection, tunnel: Tunnel, node: KeyNode) -> None:
        super().__init__(name, settings, tunnel, node)
        self._half = Holder()
        self._answering = asyncio.Lock()

    async def answer(self, question: Question) -> Reply:
        """Answer a ``question``, after those that came before it."""
        async with self._answering:
            return await self.drive(self._half.answer(question, is_failing=self.is_failing))

    def report(self) -> dict[str, Any]:
        """Say for the status how the tunnel does."""
        return super().report() | {"half": "holds", "settled": self._half.used is not None, "in_doubt": False}
