"""Drives one session: carries out what its machine asks for, and tells it what happened, without ever blocking the event loop.

The machine takes its steps on the loop, for they are short; kernels and the store run in threads (``workers``); frames come and go
through ``transport``; time enters here and nowhere below. A session ends when its machine does, when the peer goes, falls silent, says it
is over, or greets anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol, assert_never

from common.channel.authentication import MAC_BYTES
from common.channel.codec import SESSION_SCOPE, decode
from common.channel.messages import Confirm, Hello, Welcome
from common.conversation.events import (
    Arrived,
    Completed,
    DrawBytes,
    Ended,
    Event,
    Expired,
    Failed,
    Output,
    RunComputation,
    RunOperation,
    SetDeadline,
    TaskKey,
    Told,
    Transmit,
)
from common.conversation.operations import OperationTarget, StageKeys, TakeMask
from common.conversation.session import SessionState
from common.distillation.link_session import GREETING_EXCHANGE
from common.errors import AuthenticationError, LocalProtocolError, QkdError, RemoteProtocolError, TransportError
from common.observability.logs import logger
from common.service.deadlines import Deadlines, Passed
from common.service.greetings import BAD_STARTS, DIFFERENT, GreetingDesk
from common.service.wire import GREETING, OVER, REFUSED, SESSION, ended_session, over_frame, session_of
from common.service.workers import Report, Workers

MOST_IN_FLIGHT = 64
"""Computations and store operations of one session under way at a time; more is a mistake of ours."""

MOST_OUTGOING = 256
"""Frames that wait to be sent before the machine has to wait; reading goes on meanwhile, or two busy ends would wait for each other."""

MOST_ARRIVALS = 8
"""Frames taken from the transport that the machine has not seen yet; beyond it the peer has to wait."""

INLINE_DRAW_BYTES = 1 << 16
"""Random bytes drawn on the loop itself; more of them are drawn in a thread."""

LAST_WORDS_SECONDS = 1.0
"""How long an end waits until what it has said is sent."""

COMMIT_SECONDS = 2.0
"""How long a stop waits for a block that both ends are about to commit."""

GREETING_KEY = TaskKey(SESSION_SCOPE, GREETING_EXCHANGE)

ENDS = (SessionState.ENDED, SessionState.FAILED)


class SessionMachine(Protocol):
    """What is driven: a ``LinkSession``, or in a test something simpler."""

    state: SessionState
    failure: Exception | None

    @property
    def waiting(self) -> list[TaskKey]:
        """Conversations that wait for a message."""

    @property
    def count_refused(self) -> int:
        """Messages refused because their code was wrong."""

    def start(self) -> list[Output]:
        """Begin."""

    def handle(self, event: Event) -> list[Output]:
        """Take in one event."""


class Channel(Protocol):
    """What frames travel over; ``Transport`` is one."""

    busy: bool
    peer_busy: bool

    @property
    def is_present(self) -> bool:
        """Whether the peer gives signs of life."""

    async def send(self, frame: bytes) -> None:
        """Send a frame."""

    async def receive(self) -> bytes:
        """Return the next frame."""

    async def wait_absent(self) -> None:
        """Wait until the peer is gone."""


@dataclass(frozen=True, slots=True)
class SessionEnd:
    """How a session ended.

    Attributes
    ----------
    error : Exception | None
        What broke it.
    greeting : bytes | None
        A new greeting of the peer that took its place, to be given to the next session.
    was_greeted : bool
        Whether both ends held the session's keys.
    was_distilling : bool
        Whether slots were matched: all that has to fit did, so what ended the session is no lasting fault.
    stopped : bool
        Whether we were asked to stop.
    """

    error: Exception | None
    greeting: bytes | None = None
    was_greeted: bool = False
    was_distilling: bool = False
    stopped: bool = False


@dataclass(frozen=True, slots=True)
class _Frame:
    data: bytes


@dataclass(frozen=True, slots=True)
class _Finish:
    end: SessionEnd


class SessionDriver:
    """Runs one machine from start to end.

    Parameters
    ----------
    machine : SessionMachine
        Not yet started.
    channel : Channel
        To the peer.
    store : OperationTarget
        Touched only in the writer's thread.
    workers : Workers
        Threads.
    desk : GreetingDesk
        Shared by all sessions of a process.
    receive_seconds : float
        How long a conversation waits for a peer that is not busy, unless it sets a deadline of its own.
    after_step : callable
        Called on the loop after every step of the machine, for counters.
    abandon : callable
        Called on the loop when nothing can come of the session any more: computations that wait for the stream should fail at once.
    watch : callable
        Called on the loop with whatever conversations tell about how far they have come.
    """

    def __init__(
        self,
        machine: SessionMachine,
        channel: Channel,
        store: OperationTarget,
        workers: Workers,
        desk: GreetingDesk,
        receive_seconds: float = 30.0,
        after_step: Callable[[], None] = lambda: None,
        watch: Callable[[Any], None] = lambda _value: None,
        abandon: Callable[[], None] = lambda: None,
    ) -> None:
        self.count_stale = 0
        self._machine = machine
        self._channel = channel
        self._store = store
        self._workers = workers
        self._desk = desk
        self._after_step = after_step
        self._abandon = abandon
        self._watch = watch
        self._happened: asyncio.Queue[Completed | Failed | _Frame | Passed | _Finish] = asyncio.Queue()
        self._room = asyncio.Semaphore(MOST_ARRIVALS)
        self._count_running = 0
        self._settled = asyncio.Event()
        self._deadlines = Deadlines(receive_seconds, self._happened.put_nowait)
        self._is_greeted = self._has_spoken = self._is_answered = False
        self._our_nonce: bytes | None = None
        self._session: bytes | None = None
        self._peer_is_over = False
        self._committing: int | None = None
        self._is_stopping = self._is_leaving = False
        self._logged_state = SessionState.IDLE
        self._was_distilling = False
        self._end: SessionEnd | None = None
        self._outgoing: asyncio.Queue[bytes] = asyncio.Queue(MOST_OUTGOING)

    async def run(self, greeting: bytes | None = None) -> SessionEnd:
        """Run the session to its end.

        Parameters
        ----------
        greeting : bytes | None
            A greeting of the peer that is already here.

        Returns
        -------
        SessionEnd
            How it ended; nothing of it runs any more, save computations of a session that was stopped.
        """
        helpers = [asyncio.create_task(helper) for helper in (self._read(greeting), self._write(), self._watch_peer())]
        try:
            await self._step(self._machine.start)
            while self._end is None:
                await self._take_in(await self._happened.get())
            self._abandon()
            await self._sent_out()
            await self._say_over()
            if not self._is_leaving:
                await self._settle()
        finally:
            for task in helpers:
                task.cancel()
            self._deadlines.cancel()
            self._channel.busy = False
            await asyncio.gather(*helpers, return_exceptions=True)
        return replace(self._end, greeting=self._left_greeting() or self._end.greeting, was_distilling=self._was_distilling)

    def _left_greeting(self) -> bytes | None:
        """Return the newest greeting that came too late for this session: it is meant for the next one."""
        left = [self._happened.get_nowait() for _ in range(self._happened.qsize())]
        return next((item.data for item in reversed(left) if isinstance(item, _Frame) and item.data[0] == GREETING), None)

    def stop(self, *, leaving: bool = False) -> None:
        """Ask the session to end, at once or behind a block that is just being committed; ``leaving``: no other session follows."""
        self._is_leaving = self._is_leaving or leaving
        if not self._is_stopping:
            self._is_stopping = True
            self._finish_unless_committing()
            asyncio.get_running_loop().call_later(
                COMMIT_SECONDS, self._finish, SessionEnd(None, was_greeted=self._is_greeted, stopped=True)
            )

    def _finish_unless_committing(self) -> None:
        if self._is_stopping and self._committing is None:
            self._finish(SessionEnd(None, was_greeted=self._is_greeted, stopped=True))

    def _finish(self, end: SessionEnd) -> None:
        self._happened.put_nowait(_Finish(end))

    async def _read(self, greeting: bytes | None) -> None:
        """Hand frames on, a few at a time."""
        while True:
            await self._room.acquire()
            frame, greeting = greeting or await self._channel.receive(), None
            self._happened.put_nowait(_Frame(frame))

    async def _write(self) -> None:
        """Send what the machine has said, in order, while it goes on; once sending has failed nothing more is sent."""
        is_lost = False
        while True:
            frame = await self._outgoing.get()
            try:
                if not is_lost:
                    await self._channel.send(frame)
            except TransportError as gone:
                is_lost = True
                self._finish(SessionEnd(gone, was_greeted=self._is_greeted))
            finally:
                self._outgoing.task_done()

    async def _sent_out(self) -> None:
        """Let what was said before the end reach the channel; sending gives up by itself where the peer takes nothing."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._outgoing.join(), LAST_WORDS_SECONDS)

    async def _watch_peer(self) -> None:
        """End a session whose peer has gone; one that still waits for its first greeting goes on waiting."""
        while True:
            await self._channel.wait_absent()
            if self._has_spoken or self._is_answered:
                self._finish(SessionEnd(TransportError("the peer is gone"), was_greeted=self._is_greeted))
                return
            await asyncio.sleep(0.2)

    async def _take_in(self, happened: Completed | Failed | _Frame | Passed | _Finish) -> None:
        match happened:
            case _Frame(data):
                self._room.release()
                await self._frame(data)
            case Completed() | Failed():
                await self._step(self._machine.handle, happened)
            case Passed(key):
                is_busy = self._channel.peer_busy and self._channel.is_present
                if self._deadlines.has_passed(happened, is_waiting=key in self._machine.waiting, is_busy=is_busy):
                    await self._step(self._machine.handle, Expired(key))
            case _Finish(end):
                self._end = self._end or end
            case _ as unreachable:
                assert_never(unreachable)
        if self._end is None and self._peer_is_over and self._machine.waiting and self._happened.empty():
            self._end = SessionEnd(TransportError("the peer has ended the session"), was_greeted=self._is_greeted)

    async def _step(self, function: Callable[..., list[Output]], *arguments: Event) -> None:
        """Let the machine take a step, then carry out what it asks for, in order."""
        refused = self._machine.count_refused
        try:
            outputs = function(*arguments)
        except QkdError as error:
            outputs, self._end = [], SessionEnd(error, was_greeted=self._is_greeted)
        except Exception as bug:  # noqa: BLE001 - a mistake of ours ends the session, never the service
            logger("driver").error("session failed on a mistake of ours", error=bug)
            outputs, self._end = [], SessionEnd(LocalProtocolError(f"mistake of ours: {type(bug).__name__}"), was_greeted=self._is_greeted)
        for output in outputs:
            await self._carry_out(output)
        if self._machine.state in ENDS and self._end is None:
            self._end = SessionEnd(self._machine.failure, was_greeted=self._is_greeted)
        if self._machine.state is not self._logged_state:
            self._logged_state = self._machine.state
            self._was_distilling = self._was_distilling or self._logged_state is SessionState.DISTILLING
            logger("driver").info("session moved on", state=self._logged_state.name.lower())
        if self._machine.count_refused == refused:  # a forgery keeps no deadline from passing
            self._arm()
        else:
            self._desk.log.warning("message refused", refused=self._machine.count_refused)
        self._channel.busy = self._count_running > 0
        self._after_step()
        self._finish_unless_committing()

    async def _carry_out(self, output: Output) -> None:
        match output:
            case Transmit(data):
                await self._transmit(data)
            case RunComputation(task, function, arguments):
                self._workers.compute_then(self._begun(task), function, *arguments)
            case RunOperation(task, operation):
                if isinstance(operation, (TakeMask, StageKeys)):
                    self._committing = task.block
                self._workers.write_then(self._begun(task), self._store.apply, operation)
            case DrawBytes(task, count_bytes):
                if count_bytes <= INLINE_DRAW_BYTES:
                    self._happened.put_nowait(Completed(task, os.urandom(count_bytes)))
                else:
                    self._workers.compute_then(self._begun(task), os.urandom, count_bytes)
            case SetDeadline(task, seconds):
                self._deadlines.set(task, seconds)
            case Told(value=value):
                self._watch(value)
            case Ended(task, error=error):
                self._deadlines.forget(task)
                self._is_greeted = self._is_greeted or (task == GREETING_KEY and error is None)
                self._desk.has_agreed = self._desk.has_agreed or self._is_greeted
                self._committing = None if task.block == self._committing else self._committing
            case _ as unreachable:
                assert_never(unreachable)

    async def _transmit(self, data: bytes) -> None:
        kind = SESSION if self._is_greeted else GREETING
        if self._is_greeted:
            self._session = self._session or session_of(data)
        elif isinstance(ours := decode(data[:-MAC_BYTES]).message, Hello | Welcome):
            self._our_nonce = ours.nonce
        self._has_spoken = True
        await self._outgoing.put(bytes((kind,)) + data)

    def _begun(self, task: TaskKey) -> Report:
        """Return how the machine is told what comes of a computation."""
        if self._count_running >= MOST_IN_FLIGHT:
            self._finish(SessionEnd(LocalProtocolError("too many computations at a time"), was_greeted=self._is_greeted))
        self._count_running += 1
        self._settled.clear()
        return partial(self._done, task)

    def _done(self, task: TaskKey, result: object, error: Exception | None) -> None:
        self._count_running -= 1
        if not self._count_running:
            self._settled.set()
        if error is None:
            self._happened.put_nowait(Completed(task, result))
        elif isinstance(error, QkdError):
            self._happened.put_nowait(Failed(task, error))
        else:
            logger("driver").error("computation failed on a mistake of ours", error=error)
            self._happened.put_nowait(Failed(task, LocalProtocolError(f"mistake of ours: {type(error).__name__}")))

    async def _frame(self, frame: bytes) -> None:
        kind, data = frame[0], frame[1:]
        if kind == GREETING:
            await self._greeting(frame, data)
        elif kind == SESSION:
            await self._message(data)
        elif kind == OVER:
            ended = ended_session(self._desk.seal, self._desk.party.peer, data)
            if ended is None:
                self._desk.refuse_notice()
            elif ended == self._session:
                self._peer_is_over = True
                self._abandon()  # what still computes may come to its end, but nothing new is wanted of the stream
        elif kind == REFUSED and self._has_spoken and not self._is_greeted:
            self._end = self._end or SessionEnd(AuthenticationError(f"the peer refused our greeting: {DIFFERENT}"))
        elif kind != REFUSED:
            self._desk.refuse_notice()

    async def _greeting(self, frame: bytes, data: bytes) -> None:
        try:
            message = self._desk.opened(data)
        except RemoteProtocolError as foreign:
            self._end = self._end or SessionEnd(foreign, was_greeted=self._is_greeted)
            return
        if message is None:
            self._desk.log.warning("greeting refused", refused=self._desk.count_refused, advice=DIFFERENT)
            with contextlib.suppress(TransportError):
                await self._channel.send(bytes((REFUSED,)))
            if not self._desk.has_agreed and self._desk.count_refused % BAD_STARTS == 0:
                self._end = self._end or SessionEnd(
                    AuthenticationError(f"{self._desk.count_refused} greetings with a wrong code: {DIFFERENT}")
                )
        elif isinstance(message, Welcome | Confirm) and message.answered_nonce != self._our_nonce:
            self.count_stale += 1
        elif isinstance(message, Hello) and not self._desk.is_new(message):
            self._desk.log.warning("greeting repeated", repeated=self._desk.count_repeated)
        elif isinstance(message, Hello) and self._is_answered:
            self._end = self._end or SessionEnd(TransportError("the peer has opened another session"), frame, was_greeted=self._is_greeted)
        else:
            self._is_answered = True
            self._our_nonce = None  # answered once; until we draw another, whatever else answers it is stale
            if isinstance(message, Hello):
                self._desk.answer(message)
            await self._step(self._machine.handle, Arrived(data))

    async def _message(self, data: bytes) -> None:
        claimed = session_of(data)
        # The peer may speak under the session's keys while we still settle the greeting: the machine keeps it until then.
        if (self._is_greeted or self._is_answered) and (self._session is None or claimed == self._session):
            await self._step(self._machine.handle, Arrived(data))
            if self._session is None and self._is_greeted and self._machine.count_refused == 0:
                self._session = claimed
            return
        self.count_stale += 1
        if claimed is not None and self.count_stale == 1:  # once a session: the peer still talks to one that is gone
            with contextlib.suppress(TransportError):
                await self._channel.send(over_frame(self._desk.seal, self._desk.party, claimed))

    async def _say_over(self) -> None:
        if self._session is not None:
            with contextlib.suppress(TransportError):
                await self._channel.send(over_frame(self._desk.seal, self._desk.party, self._session))

    async def _settle(self) -> None:
        """Wait for what still computes: the next session must not find the stream or the store in use."""
        while self._count_running:
            try:
                await asyncio.wait_for(self._settled.wait(), 30.0)
            except TimeoutError:
                logger("driver").warning("computations of an ended session still run", count=self._count_running)

    def _arm(self) -> None:
        """Renew the deadlines of all conversations that wait; before anybody has greeted there is nothing to wait for."""
        waiting = self._machine.waiting
        self._deadlines.drop_others(waiting)
        if self._has_spoken or self._is_answered:
            self._deadlines.renew(waiting)
