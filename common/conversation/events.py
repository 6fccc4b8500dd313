"""What goes into the engine (events) and what comes out of it (outputs)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias


@dataclass(frozen=True, slots=True, repr=False)
class Arrived:
    """Bytes came in from the channel: one message with its code."""

    data: bytes


@dataclass(frozen=True, slots=True, repr=False)
class Completed:
    """A requested computation, store operation or draw is done."""

    task: TaskKey
    result: Any


@dataclass(frozen=True, slots=True)
class Failed:
    """A requested computation, store operation or draw raised."""

    task: TaskKey
    error: Exception


@dataclass(frozen=True, slots=True)
class Expired:
    """The deadline of a conversation passed while it waited."""

    task: TaskKey


Event: TypeAlias = Arrived | Completed | Failed | Expired


@dataclass(frozen=True, slots=True, order=True)
class TaskKey:
    """Names a conversation: block and exchange."""

    block: int
    exchange: int


@dataclass(frozen=True, slots=True, repr=False)
class Transmit:
    """Hand these bytes to the channel."""

    data: bytes


@dataclass(frozen=True, slots=True, repr=False)
class RunComputation:
    """Call ``function(*arguments)`` anywhere and report back.

    Attributes
    ----------
    task : TaskKey
        Who asked.
    function, arguments : callable, tuple
        What to call with what.
    """

    task: TaskKey
    function: Callable[..., Any]
    arguments: tuple[Any, ...]


@dataclass(frozen=True, slots=True, repr=False)
class RunOperation:
    """Apply a key store operation durably and report back."""

    task: TaskKey
    operation: object


@dataclass(frozen=True, slots=True)
class DrawBytes:
    """Draw random bytes and report back."""

    task: TaskKey
    count_bytes: int


@dataclass(frozen=True, slots=True)
class SetDeadline:
    """Report ``Expired`` if the conversation still waits after so many seconds; replaces an earlier deadline."""

    task: TaskKey
    seconds: float


@dataclass(frozen=True, slots=True, repr=False)
class Ended:
    """A conversation returned ``result`` or, where ``error`` is set, raised.

    Attributes
    ----------
    task : TaskKey
        Which conversation.
    result : object
        What it returned.
    error : Exception | None
        What it raised.
    """

    task: TaskKey
    result: Any
    error: Exception | None


@dataclass(frozen=True, slots=True)
class Told:
    """A conversation says how far it has come; whoever watches may look at it, nothing is reported back.

    Attributes
    ----------
    task : TaskKey
        Which conversation.
    value : object
        What it said; nothing secret.
    """

    task: TaskKey
    value: Any


Output: TypeAlias = Transmit | RunComputation | RunOperation | DrawBytes | SetDeadline | Ended | Told
