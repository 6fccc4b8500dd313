"""Both ends in one process and one thread: the shell used offline and in tests.

Every message is encoded, tagged, carried over a wire, checked and decoded exactly as between two daemons, so both ways charge the same
bits. The wire and an interrupter can be scripted: lose, alter, repeat or invent messages, or stop an end before or after any effect.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias, TypeVar, assert_never

from common.channel.authentication import MAC_BYTES, ChannelSecrets, SessionSeal
from common.channel.codec import Party, decode
from common.channel.messages import Message
from common.channel.transcript import TranscriptAuthenticator
from common.conversation.effects import Conversation
from common.conversation.engine import Engine
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
from common.conversation.operations import OperationTarget
from common.errors import LocalProtocolError, QkdError
from common.randomness import Randomness, SystemRandomness

A = TypeVar("A")
B = TypeVar("B")

Wire: TypeAlias = Callable[[Party, bytes], Iterable[tuple[Party, bytes]]]
"""Given who sent what, says what arrives where."""

Moment: TypeAlias = Literal["before", "after"]
Interrupter: TypeAlias = Callable[[Party, Output, Moment], None]
"""Called around every effect; stops the rehearsal by raising."""


class Machine(Protocol):
    """What a shell drives: an engine, or a whole session."""

    @property
    def waiting(self) -> list[TaskKey]:
        """Conversations that wait for a message."""

    def handle(self, event: Event) -> list[Output]:
        """Take in one event and return what to carry out."""


def faithful(sender: Party, data: bytes) -> Iterable[tuple[Party, bytes]]:
    """Carry ``data`` unchanged to the peer of ``sender``, once and in order."""
    return [(sender.peer, data)]


def uninterrupted(_party: Party, _output: Output, _moment: Moment) -> None:
    """Interrupt nothing.

    Parameters
    ----------
    _party, _output, _moment : Party, Output, Moment
        Ignored.
    """


class NoStore:
    """A store for conversations that keep nothing; any operation is a mistake."""

    def apply(self, operation: object) -> object:
        """Refuse ``operation``.

        Raises
        ------
        LocalProtocolError
            Always.
        """
        raise LocalProtocolError(f"{type(operation).__name__} without a store")


@dataclass(slots=True)
class End:
    """One end: its machine, its store, its randomness.

    Attributes
    ----------
    machine : Machine
        An engine or a whole session.
    store : OperationTarget
        Carries out key store operations.
    randomness : Randomness
        Where random bytes are drawn.
    """

    machine: Machine
    store: OperationTarget = field(default_factory=NoStore)
    randomness: Randomness = field(default_factory=SystemRandomness)


class Rehearsal:
    """Drives two ends until nothing is left to do.

    Parameters
    ----------
    ends : dict[Party, End]
        Both ends.
    wire : Wire
        Carries messages.
    interrupter : Interrupter
        Called before and after every effect.
    """

    def __init__(self, ends: dict[Party, End], wire: Wire = faithful, interrupter: Interrupter = uninterrupted) -> None:
        self.ended: dict[tuple[Party, TaskKey], Ended] = {}
        self.messages: list[Message] = []
        self._ends = ends
        self._wire = wire
        self._interrupter = interrupter
        self._pending: deque[tuple[Party, Output]] = deque()

    def add(self, party: Party, outputs: list[Output]) -> None:
        """Queue outputs of the machine of ``party``."""
        self._pending.extend((party, output) for output in outputs)

    def run(self) -> None:
        """Carry out outputs, in order, until both ends are idle; where an end waits for what will never come, its deadline passes."""
        while True:
            while self._pending:
                party, output = self._pending.popleft()
                self._interrupter(party, output, "before")
                self._carry_out(party, output)
                self._interrupter(party, output, "after")
            expired = [(party, key) for party, end in self._ends.items() for key in end.machine.waiting]
            if not expired:
                return
            for party, key in expired:
                self.add(party, self._ends[party].machine.handle(Expired(key)))

    def _carry_out(self, party: Party, output: Output) -> None:
        end = self._ends[party]
        match output:
            case Transmit(data):
                self.messages.append(decode(data[:-MAC_BYTES]).message)
                for destination, arriving in self._wire(party, data):
                    self.add(destination, self._ends[destination].machine.handle(Arrived(arriving)))
            case RunComputation(task, function, arguments):
                self.add(party, end.machine.handle(_result(task, function, *arguments)))
            case RunOperation(task, operation):
                self.add(party, end.machine.handle(_result(task, end.store.apply, operation)))
            case DrawBytes(task, count_bytes):
                self.add(party, end.machine.handle(_result(task, end.randomness.draw, count_bytes)))
            case SetDeadline():
                pass  # time stands still here: a deadline passes when nothing else can happen
            case Told():
                pass  # nobody watches a rehearsal
            case Ended(task):
                self.ended[party, task] = output
            case _ as unreachable:
                assert_never(unreachable)


def _result(task: TaskKey, function: Callable[..., Any], *arguments: Any) -> Event:
    try:
        return Completed(task, function(*arguments))
    except QkdError as error:
        return Failed(task, error)


def rehearse(
    ours: Conversation[A], theirs: Conversation[B], *, secrets: ChannelSecrets | None = None, wire: Wire = faithful
) -> tuple[A, B, list[Message]]:
    """Run two halves against each other.

    Parameters
    ----------
    ours, theirs : Conversation
        Two halves of one step; ours runs at Alice's end.
    secrets : ChannelSecrets | None
        What both ends were provisioned with; drawn afresh if None.
    wire : Wire
        Carries messages.

    Returns
    -------
    tuple
        Our result, their result, and all messages in the order they were sent.

    Raises
    ------
    QkdError
        Whatever our half raised, or else whatever theirs did.
    """
    secrets = secrets or ChannelSecrets.draw(SystemRandomness(), 4)
    engines = {party: Engine(party, SessionSeal(secrets, bytes(32), bytes(32)), TranscriptAuthenticator(secrets)) for party in Party}
    rehearsal = Rehearsal({party: End(engine) for party, engine in engines.items()}, wire)
    rehearsal.add(Party.ALICE, engines[Party.ALICE].start(ours, 1, 1))
    rehearsal.add(Party.BOB, engines[Party.BOB].start(theirs, 1, 1))
    rehearsal.run()
    outcomes = [rehearsal.ended[party, TaskKey(1, 1)] for party in (Party.ALICE, Party.BOB)]
    for outcome in outcomes:
        if outcome.error:
            raise outcome.error
    return outcomes[0].result, outcomes[1].result, rehearsal.messages
