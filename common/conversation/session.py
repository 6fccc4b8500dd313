"""A session from greeting to end: its transition table, and the greeting's two halves.

The table is the rule book for both ends; the diagram in the docs is drawn from it. What a session does in each state
is chosen by the playbook of each end, never here.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from itertools import pairwise

from common.channel.messages import Confirm, Hello, Welcome
from common.channel.pairs import PROVISIONED_HASH_KEY, agreed_hash_key, is_hash_key, next_mask
from common.conversation.effects import Conversation, deadline, draw, persist, receive, send
from common.conversation.operations import MOST_LISTED_BLOCKS, Ledger, MeetPeer, ReadLedger, Settle
from common.errors import LocalProtocolError, RemoteProtocolError

LARGEST_JUMP = 1 << 32
"""Block numbers or mask pairs the peer may be ahead of us: far more than an old copy can lack, far less than would use them up."""

GREETING_SECONDS = 15.0
"""Longest wait for each end's answer within a greeting, which needs neither stream nor computation."""


class SessionState(Enum):
    """Where a session stands, by what is known."""

    IDLE = "nothing is known of the peer"
    GREETING = "our greeting is out or theirs is awaited"
    SYNCHRONISING = "both ends hold the session's keys; slots are not yet matched"
    DISTILLING = "slots are matched; groups of blocks follow one another"
    ENDED = "a stream ended and the last group with it"
    FAILED = "the session cannot go on; the next one greets anew"


class SessionEvent(Enum):
    """What moves a session on."""

    START = "start"
    GREETED = "greeted"
    SYNCHRONISED = "synchronised"
    GROUP_CONCLUDED = "group concluded"
    STREAM_ENDED = "stream ended"
    FAULT = "fault"


TRANSITIONS: dict[tuple[SessionState, SessionEvent], SessionState] = {
    (SessionState.IDLE, SessionEvent.START): SessionState.GREETING,
    (SessionState.GREETING, SessionEvent.GREETED): SessionState.SYNCHRONISING,
    (SessionState.GREETING, SessionEvent.FAULT): SessionState.FAILED,
    (SessionState.SYNCHRONISING, SessionEvent.SYNCHRONISED): SessionState.DISTILLING,
    (SessionState.SYNCHRONISING, SessionEvent.FAULT): SessionState.FAILED,
    (SessionState.DISTILLING, SessionEvent.GROUP_CONCLUDED): SessionState.DISTILLING,
    (SessionState.DISTILLING, SessionEvent.STREAM_ENDED): SessionState.ENDED,
    (SessionState.DISTILLING, SessionEvent.FAULT): SessionState.FAILED,
}


def next_state(state: SessionState, event: SessionEvent) -> SessionState:
    """Look up the table.

    Parameters
    ----------
    state : SessionState
        Where the session stands.
    event : SessionEvent
        What happened.

    Returns
    -------
    SessionState
        Where it stands now.

    Raises
    ------
    LocalProtocolError
        If the event cannot happen in this state.
    """
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise LocalProtocolError(f"session event {event.value!r} in state {state.name}") from None


def diagram() -> str:
    """Return the transition table as a Graphviz digraph, for the docs."""
    arrows = [f'    {before.name} -> {after.name} [label="{event.value}"];' for (before, event), after in TRANSITIONS.items()]
    return "\n".join(["digraph session {", *arrows, "}", ""])


@dataclass(frozen=True, slots=True)
class Agreement:
    """What a greeting settled.

    Attributes
    ----------
    hello_nonce, welcome_nonce : bytes
        32 bytes each; the session's keys are derived from them.
    next_block, mask_cursor : int
        First block number and mask pair that neither end has ever used.
    hash_key : int
        Number of the transcript hash key of this session.
    settlement : Settle
        How our store comes in line with the peer's; carried out once a transcript tag has vouched for the greeting.
    """

    hello_nonce: bytes
    welcome_nonce: bytes
    next_block: int
    mask_cursor: int
    hash_key: int
    settlement: Settle


def greet(parameters_digest: bytes) -> Conversation[Agreement]:
    """Open a session.

    Parameters
    ----------
    parameters_digest : bytes
        32 bytes over everything both ends have to agree on beforehand.

    Returns
    -------
    Agreement
        Equal at both ends, but for the settlement.

    Raises
    ------
    RemoteProtocolError
        If the peer answers another greeting, runs with other parameters or lists its blocks in a way no store could.
    """
    yield from deadline(GREETING_SECONDS)
    nonce = yield from draw(32)
    ledger: Ledger = yield from persist(ReadLedger())
    yield from send(Hello(nonce, parameters_digest, *_numbers(ledger), *_blocks(ledger)))
    theirs = yield from receive(Welcome)
    if theirs.answered_nonce != nonce:
        raise RemoteProtocolError("the peer welcomed another greeting")
    agreement = _agreed(nonce, theirs.nonce, ledger, parameters_digest, theirs)
    yield from send(Confirm(theirs.nonce))
    yield from persist(MeetPeer(theirs.next_block, _newest(theirs.block_numbers), agreement.hash_key))
    return agreement


def welcome(parameters_digest: bytes) -> Conversation[Agreement]:
    """Answer a greeting; the other half of ``greet``.

    A Hello may be an old one that is played back: nothing is kept before the peer has answered our nonce.

    Parameters
    ----------
    parameters_digest : bytes
        32 bytes over everything both ends have to agree on beforehand.

    Returns
    -------
    Agreement
        Equal at both ends, but for the settlement.

    Raises
    ------
    RemoteProtocolError
        If the peer confirms another greeting, runs with other parameters or lists its blocks in a way no store could.
    """
    theirs = yield from receive(Hello)
    nonce = yield from draw(32)
    ledger: Ledger = yield from persist(ReadLedger())
    yield from send(Welcome(nonce, theirs.nonce, parameters_digest, *_numbers(ledger), *_blocks(ledger)))
    agreement = _agreed(theirs.nonce, nonce, ledger, parameters_digest, theirs)
    yield from deadline(GREETING_SECONDS)
    confirmed = yield from receive(Confirm)
    if confirmed.answered_nonce != nonce:
        raise RemoteProtocolError("the peer confirmed another greeting")
    yield from persist(MeetPeer(theirs.next_block, _newest(theirs.block_numbers), agreement.hash_key))
    return agreement


def _newest(numbers: tuple[int, ...]) -> int:
    return numbers[-1] if numbers else 0


def _numbers(ledger: Ledger) -> tuple[int, int, int, int]:
    return ledger.next_block, ledger.mask_cursor, ledger.hash_key, ledger.least_hash_key


def _blocks(ledger: Ledger) -> tuple[tuple[int, ...], tuple[int, ...]]:
    newest = sorted(ledger.lengths.items())[-MOST_LISTED_BLOCKS:]
    return tuple(block for block, _ in newest), tuple(count_bits for _, count_bits in newest)


def _listed_from(numbers: tuple[int, ...]) -> int:
    """Return the lowest block number a list speaks about: a full list is silent on those before its first."""
    return numbers[0] if len(numbers) >= MOST_LISTED_BLOCKS else 0


def _is_possible(theirs: Hello | Welcome) -> bool:
    """Whether a store can stand like this: a hash key is a pair below the cursor, and only one that was in use can be distrusted."""
    has_taken = theirs.hash_key == PROVISIONED_HASH_KEY or (is_hash_key(theirs.hash_key) and theirs.hash_key < theirs.mask_cursor)
    return has_taken and theirs.least_hash_key <= theirs.mask_cursor + 1


def _agreed(hello_nonce: bytes, welcome_nonce: bytes, ours: Ledger, parameters_digest: bytes, theirs: Hello | Welcome) -> Agreement:
    if theirs.parameters_digest != parameters_digest:
        raise RemoteProtocolError("the peer runs with other parameters: compare the link profiles of both ends")
    if len(theirs.block_numbers) != len(theirs.block_lengths):
        raise RemoteProtocolError("the peer's greeting lists its blocks without a length for each")
    if any(later <= earlier for earlier, later in pairwise(theirs.block_numbers)):
        raise RemoteProtocolError("the peer's greeting lists its blocks out of order")
    if theirs.next_block > ours.next_block + LARGEST_JUMP or theirs.mask_cursor > ours.mask_cursor + LARGEST_JUMP:
        raise RemoteProtocolError("the peer claims to be further ahead of us than any store can be: compare the stores of both ends")
    if not _is_possible(theirs):
        raise RemoteProtocolError("the peer's greeting names a hash key that no store can have")
    lengths = dict(zip(theirs.block_numbers, theirs.block_lengths, strict=True))
    our_blocks = _blocks(ours)[0]
    first = max(_listed_from(our_blocks), _listed_from(theirs.block_numbers))
    # An old copy of a store may not know which hash keys it must not trust.
    has_old_copy = _newest(theirs.block_numbers) >= ours.next_block or _newest(our_blocks) >= theirs.next_block
    hash_key = agreed_hash_key(ours, theirs, renewed=has_old_copy)
    spoken_of = {block: count_bits for block, count_bits in ours.lengths.items() if block >= first}
    shared = tuple(block for block, count_bits in spoken_of.items() if lengths.get(block) == count_bits)
    lacking = tuple(block for block, count_bits in spoken_of.items() if lengths.get(block) != count_bits)
    return Agreement(
        hello_nonce,
        welcome_nonce,
        max(ours.next_block, theirs.next_block),
        next_mask(max(ours.mask_cursor, theirs.mask_cursor, hash_key + 1 if hash_key != PROVISIONED_HASH_KEY else 0)),
        hash_key,
        Settle(commit=shared, erase=lacking),
    )
