"""What a conversation asks the world for: it yields effects and is resumed with their results.

A conversation is a generator that reads like blocking code. It touches no socket, thread, clock or file; the engine turns its
effects into outputs, and a shell (asyncio driver or in-memory rehearsal) carries them out.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeAlias, TypeVar, cast

from common.channel.messages import Message
from common.channel.transcript import SealedTranscript

P = ParamSpec("P")
T = TypeVar("T")
M = TypeVar("M", bound=Message)


@dataclass(frozen=True, slots=True)
class Send:
    """Send a message of this block and exchange."""

    message: Message


@dataclass(frozen=True, slots=True)
class Receive:
    """Wait for the next message of this block and exchange, which has to be of one kind."""

    kind: type[Message]


@dataclass(frozen=True, slots=True, repr=False)
class Compute:
    """Run a pure function, possibly in another thread."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]


@dataclass(frozen=True, slots=True, repr=False)
class Persist:
    """Carry out an operation of the key store durably before going on."""

    operation: object


@dataclass(frozen=True, slots=True)
class Draw:
    """Draw random bytes from the operating system."""

    count_bytes: int


@dataclass(frozen=True, slots=True)
class Deadline:
    """Fail with ``TransportError`` if a later receive of this conversation still waits after so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class SealTranscript:
    """Compute the tag of everything we said about this block so far."""

    mask_index: int


@dataclass(frozen=True, slots=True, repr=False)
class CheckTranscript:
    """Compare the peer's tag with what we heard from him about this block before it."""

    mask_index: int
    tag: bytes


@dataclass(frozen=True, slots=True)
class Tell:
    """Tell whoever watches how far we have come; nobody answers, and nothing depends on it."""

    value: object


Effect: TypeAlias = Send | Receive | Compute | Persist | Draw | Deadline | SealTranscript | CheckTranscript | Tell
Conversation: TypeAlias = Generator[Effect, Any, T]


def send(message: Message) -> Conversation[None]:
    """Send ``message``."""
    yield Send(message)


def receive(kind: type[M]) -> Conversation[M]:
    """Return the next message, which is of ``kind``; the engine refuses any other."""
    return cast("M", (yield Receive(kind)))


def compute(function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> Conversation[T]:
    """Have a pure function computed wherever the shell likes.

    Parameters
    ----------
    function : callable
        Takes positional arguments only.
    arguments : object
        What it is called with.
    named : object
        Not allowed; here only so that the types of ``function`` carry over.

    Returns
    -------
    T
        What the function returns; what it raises is raised in the conversation.

    Raises
    ------
    TypeError
        If named arguments are given.
    """
    if named:
        raise TypeError("computed functions take positional arguments only")
    return cast("T", (yield Compute(function, arguments)))


def persist(operation: object) -> Conversation[Any]:
    """Carry out ``operation`` of the key store durably and return its result."""
    return (yield Persist(operation))


def draw(count_bytes: int) -> Conversation[bytes]:
    """Return ``count_bytes`` fresh random bytes."""
    return cast("bytes", (yield Draw(count_bytes)))


def deadline(seconds: float) -> Conversation[None]:
    """Bound the waits of this conversation by ``seconds`` from here on."""
    yield Deadline(seconds)


def tell(value: object) -> Conversation[None]:
    """Tell whoever watches ``value``, which must not be secret."""
    yield Tell(value)


def seal_transcript(mask_index: int) -> Conversation[SealedTranscript]:
    """Return our tag of this block under mask pair ``mask_index``; the very next effect must send it."""
    return cast("SealedTranscript", (yield SealTranscript(mask_index)))


def check_transcript(mask_index: int, tag: bytes) -> Conversation[None]:
    """Raise ``AuthenticationError`` unless ``tag``, under mask pair ``mask_index``, covers exactly what we said and heard."""
    yield CheckTranscript(mask_index, tag)
