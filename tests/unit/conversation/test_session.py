"""The greeting's two halves, and the table of a session."""

from pathlib import Path

import pytest

from common.channel.authentication import ChannelSecrets, GreetingSeal
from common.channel.codec import Party
from common.channel.messages import Confirm, Hello, Welcome
from common.conversation.effects import Deadline, Receive
from common.conversation.engine import Engine
from common.conversation.events import TaskKey
from common.conversation.operations import MOST_LISTED_BLOCKS, Ledger, Settle
from common.conversation.rehearsal import End, Rehearsal, rehearse
from common.conversation.session import (
    GREETING_SECONDS,
    LARGEST_JUMP,
    TRANSITIONS,
    Agreement,
    SessionEvent,
    SessionState,
    diagram,
    greet,
    next_state,
    welcome,
)
from common.conversation.session_page import page
from common.errors import LocalProtocolError, QkdError, RemoteProtocolError
from common.randomness import SeededRandomness
from tests.support.tree import ROOT

DIGEST = bytes(32)


class Stands:
    """A store that only says where it stands."""

    def __init__(self, next_block=1, mask_cursor=0, lengths=None, hash_key=0, least_hash_key=0):
        self._ledger = Ledger(next_block, mask_cursor, lengths or {}, hash_key, least_hash_key)

    def apply(self, _operation):
        return self._ledger


def met(ours: Stands, theirs: Stands, digests=(DIGEST, DIGEST)):
    """What both halves of a greeting settle, or the errors they raise."""
    secrets = ChannelSecrets.draw(SeededRandomness(1, "greeting"), 1)
    engines = {party: Engine(party, GreetingSeal(secrets), None) for party in Party}
    rehearsal = Rehearsal({party: End(engines[party], store) for party, store in zip(Party, (ours, theirs), strict=True)})
    for party, half, digest in zip((Party.BOB, Party.ALICE), (welcome, greet), reversed(digests), strict=True):
        rehearsal.add(party, engines[party].start(half(digest), 0, 1))
    rehearsal.run()
    ends = [rehearsal.ended[party, TaskKey(0, 1)] for party in Party]
    return [end.error or end.result for end in ends]


def test_both_ends_agree_on_what_neither_has_used():
    ours, theirs = met(Stands(5, 2, {3: 100}), Stands(4, 7, {3: 100}))

    assert isinstance(ours, Agreement)
    assert (ours.next_block, ours.mask_cursor) == (theirs.next_block, theirs.mask_cursor) == (5, 8)  # pair 7 is no mask
    assert (ours.hello_nonce, ours.welcome_nonce) == (theirs.hello_nonce, theirs.welcome_nonce)
    assert ours.hello_nonce != ours.welcome_nonce
    assert ours.settlement == theirs.settlement == Settle((3,), ())


def test_blocks_that_the_peer_lacks_or_holds_in_another_length_are_erased():
    ours, theirs = met(Stands(9, 0, {1: 10, 2: 20, 3: 30}), Stands(9, 0, {1: 10, 3: 31, 4: 40}))

    assert ours.settlement == Settle((1,), (2, 3))
    assert theirs.settlement == Settle((1,), (3, 4))


def test_a_long_list_is_cut_to_its_newest_blocks_and_says_nothing_about_older_ones():
    many = dict.fromkeys(range(1, 3 * MOST_LISTED_BLOCKS), 10)
    lacking_an_old_one = {block: 10 for block in many if block != 7}
    last = max(many)
    lacking_the_newest = {block: 10 for block in many if block != last}
    ours, theirs = met(Stands(last + 1, 0, many), Stands(last + 1, 0, lacking_an_old_one))
    assert ours.settlement == theirs.settlement
    assert not ours.settlement.erase
    assert ours.settlement.commit == tuple(range(last - MOST_LISTED_BLOCKS + 1, last + 1))

    ours, theirs = met(Stands(last + 1, 0, many), Stands(last + 1, 0, lacking_the_newest))
    assert ours.settlement.erase == (last,)
    assert not theirs.settlement.erase


def test_a_new_store_meets_an_old_one():
    ours, theirs = met(Stands(), Stands(100_000, 500, dict.fromkeys(range(90_000, 100_000), 10)))

    assert (ours.next_block, ours.mask_cursor) == (100_000, 504)
    assert ours.hash_key == theirs.hash_key == 503, "an old copy may not know which hash keys are not trusted"
    assert ours.settlement == Settle((), ())
    assert len(theirs.settlement.erase) == MOST_LISTED_BLOCKS


def test_other_parameters_are_refused_at_both_ends():
    for refusal in met(Stands(), Stands(), (DIGEST, b"\1" * 32)):
        assert isinstance(refusal, RemoteProtocolError)
        assert "compare the link profiles" in str(refusal)


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"block_numbers": (1, 2), "block_lengths": (5,)}, "without a length for each"),
        ({"block_numbers": (2, 1), "block_lengths": (5, 5)}, "out of order"),
        ({"block_numbers": (1, 1), "block_lengths": (5, 6)}, "out of order"),
    ],
)
def test_a_list_that_no_store_would_give_is_refused(fields, complaint):
    told = {"next_block": 1, "mask_cursor": 0, "hash_key": 0, "least_hash_key": 0, "block_numbers": (), "block_lengths": (), **fields}
    half = greet(DIGEST)
    next(half)  # the deadline
    next(half)
    half.send(bytes(32))
    half.send(Ledger(1, 0, {}))
    next(half)
    with pytest.raises(RemoteProtocolError, match=complaint):
        half.send(Welcome(bytes(32), bytes(32), DIGEST, **told))


@pytest.mark.parametrize("ahead", [Stands(2 + LARGEST_JUMP, 0), Stands(1, 1 + LARGEST_JUMP)])
def test_a_peer_that_claims_to_be_impossibly_far_ahead_is_refused(ahead):
    ours, _ = met(Stands(1, 0), ahead)

    assert isinstance(ours, RemoteProtocolError)
    assert "further ahead" in str(ours)


def test_both_ends_go_on_with_the_newest_hash_key_that_both_trust():
    for ours, theirs, agreed, cursor in (
        (Stands(1, 3), Stands(1, 2), 0, 3),
        (Stands(1, 8, None, 7), Stands(1, 2), 7, 8),
        (Stands(1, 8, None, 7, 1), Stands(1, 2, None, 0, 1), 7, 8),
        (Stands(1, 3, None, 0, 1), Stands(1, 2), 7, 8),
        (Stands(1, 8, None, 7, 8), Stands(1, 20, None, 7, 0), 23, 24),
        (Stands(1, 15), Stands(1, 0), 0, 16),
    ):
        for ends in ((ours, theirs), (theirs, ours)):
            agreements = met(*ends)
            assert [(one.hash_key, one.mask_cursor) for one in agreements] == [(agreed, cursor)] * 2


@pytest.mark.parametrize(
    "impossible",
    [Stands(1, 9, None, 5), Stands(1, 7, None, 7), Stands(1, 0, None, 15), Stands(1, 3, None, 0, 5)],
    ids=["a mask's number", "not taken yet", "nothing taken at all", "distrust of what is not in use"],
)
def test_a_hash_key_that_no_store_can_have_is_refused(impossible):
    ours, _ = met(Stands(), impossible)

    assert isinstance(ours, RemoteProtocolError)
    assert "hash key" in str(ours)


def test_a_welcome_to_another_greeting_is_refused():
    half = greet(DIGEST)
    next(half)  # the deadline
    next(half)
    half.send(bytes(32))
    effect = half.send(Ledger(1, 0, {}))
    assert isinstance(getattr(effect, "message", None), Hello)
    next(half)
    with pytest.raises(RemoteProtocolError, match="another greeting"):
        half.send(Welcome(bytes(32), b"\1" * 32, DIGEST, 1, 0, 0, 0, (), ()))


def test_nothing_is_kept_of_a_hello_before_it_is_confirmed():
    half = welcome(DIGEST)
    next(half)
    half.send(Hello(b"\1" * 32, DIGEST, 1, 0, 0, 0, (), ()))
    half.send(b"\2" * 32)
    sent = half.send(Ledger(1, 0, {}))
    assert isinstance(getattr(sent, "message", None), Welcome)
    assert next(half) == Deadline(GREETING_SECONDS)
    assert next(half) == Receive(Confirm)
    with pytest.raises(RemoteProtocolError, match="another greeting"):
        half.send(Confirm(b"\1" * 32))


def test_without_a_store_nothing_is_kept():
    with pytest.raises(QkdError, match="without a store"):
        rehearse(greet(DIGEST), welcome(DIGEST))


def test_the_table_leads_from_the_start_to_an_end_and_nowhere_back():
    assert next_state(SessionState.IDLE, SessionEvent.START) is SessionState.GREETING
    reached = {SessionState.IDLE}
    for _ in SessionState:
        reached |= {after for (before, _), after in TRANSITIONS.items() if before in reached}
    assert reached == set(SessionState)
    assert not {before for before, _ in TRANSITIONS} & {SessionState.ENDED, SessionState.FAILED}
    with pytest.raises(LocalProtocolError, match="'fault' in state ENDED"):
        next_state(SessionState.ENDED, SessionEvent.FAULT)


def test_the_diagram_draws_every_transition_and_the_page_is_fresh():
    assert diagram().count("->") == len(TRANSITIONS)
    written = Path(ROOT, "docs/reference/session.md").read_text(encoding="utf-8")
    assert written == page(), "write it anew: python -m common.conversation.session_page > docs/reference/session.md"
