"""Whole sessions with nobody in between: what every later test of faults stands on."""

import dataclasses
import math
from typing import Any

import numpy as np
import pytest

from common.channel import delivery_messages
from common.channel.codec import SESSION_SCOPE, Party
from common.channel.messages import CATALOGUE, Abort, KeyCommit, KeyCommitted, KeyLengthVerdict, ToeplitzSeed, TranscriptTag
from common.conversation.events import RunOperation
from common.conversation.rehearsal import Rehearsal
from common.conversation.session import SessionState
from common.errors import AbortReason
from tests.support.adversaries import MacHolder, passed_on
from tests.support.links import SACRIFICED, Stream, TinyDetections, TinyEmission, check_invariants, check_recovery, start, tiny_stream
from tests.support.scenarios import SCENARIOS, world


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_both_ends_distil_the_same_key_and_account_for_it_alike(scenario):
    link = world(scenario)
    run = link.session()

    check_invariants(link)
    assert run.failures == [None, None]
    assert all(session.state is SessionState.ENDED or session.outcomes for session in run.sessions.values())
    ours, theirs = (run.sessions[party].outcomes for party in Party)
    assert len(ours) == len(theirs) == 2
    for mine, yours in zip(ours, theirs, strict=True):
        assert mine.secret_bits == yours.secret_bits
        assert mine.reason == yours.reason
        assert mine.secret_bits > 0 or scenario == "ldpc-increments"  # a code that is too weak on purpose may fail
        assert mine.leakage == yours.leakage
        assert mine.block is not None
        assert yours.block is not None
        assert mine.block.counts == yours.block.counts
        assert mine.length == yours.length
        assert mine.length is not None or mine.reason is AbortReason.RECONCILIATION_FAILED
        assert mine.length is None or math.fsum(mine.length.ledger.values()) == mine.secret_bits
    assert link.stores[Party.ALICE].committed == link.stores[Party.BOB].committed
    assert sum(key.count for key in link.stores[Party.ALICE].committed.values()) == sum(outcome.secret_bits for outcome in ours)


def test_sessions_say_every_kind_of_message():
    """Keys for applications are agreed about beside sessions."""
    said = {type(envelope.message) for scenario in SCENARIOS for envelope in world(scenario).session().envelopes()}

    assert said | {Abort} == {message for message in CATALOGUE.values() if message.__module__ != delivery_messages.__name__}


def test_outcomes_hold_no_key():
    run = world("ldpc").session()

    for session in run.sessions.values():
        assert all(outcome.block and outcome.block.key.bits.count == 0 for outcome in session.outcomes)


def test_sessions_follow_one_another_over_the_same_stores():
    link = world("cascade")
    for _ in range(3):
        check_recovery(link)

    assert list(link.stores[Party.ALICE].committed) == [1, 2, 3]
    assert link.stores[Party.BOB].masks == [0, 1, 2]


def test_no_block_is_made_without_masks_and_the_session_goes_on():
    link = world("ldpc")
    for store in link.stores.values():
        store.keep_masks(1)
    run = link.session(most_blocks=3)

    check_invariants(link)
    assert run.failures == [None, None]
    assert list(link.stores[Party.ALICE].committed) == list(link.stores[Party.BOB].committed) == [1]
    assert [outcome.secret_bits > 0 for outcome in run.sessions[Party.BOB].outcomes] == [True, False, False]


def test_a_stream_that_ends_ends_the_session_at_both_ends():
    link = world("ldpc")
    run = link.session(most_blocks=None)

    check_invariants(link)
    assert [session.state for session in run.sessions.values()] == [SessionState.ENDED] * 2
    assert len(link.stores[Party.ALICE].committed) > 10


@pytest.mark.parametrize("scenario", ["ldpc", "cascade"])
@pytest.mark.parametrize("count_clicks", [0, 1, 5])
def test_a_stream_with_next_to_no_clicks_makes_no_key_and_no_trouble(scenario, count_clicks):
    link = world(scenario)
    full = tiny_stream()
    few = np.concatenate([np.arange(SACRIFICED), SACRIFICED + 2000 * np.arange(1, count_clicks + 1)])
    stream = Stream(full.settings, full.slots[few], full.outcomes[few])
    link.emission, link.detections = TinyEmission(stream), TinyDetections(stream)
    run = link.session(most_blocks=None)

    check_invariants(link)
    assert run.failures == [None, None]
    ours, theirs = (run.sessions[party].outcomes for party in Party)
    assert [outcome.reason for outcome in ours] == [outcome.reason for outcome in theirs]
    assert len(ours) > 2
    assert not any(outcome.secret_bits for outcome in ours)
    assert AbortReason.NO_CLICKS in {outcome.reason for outcome in ours}


class SlowStore(Rehearsal):
    """Alice's store always answers last."""

    def _carry_out(self, party, output):
        if party is Party.ALICE and isinstance(output, RunOperation) and any(owner is Party.BOB for owner, _ in self._pending):
            self._pending.append((party, output))
        else:
            super()._carry_out(party, output)


@pytest.mark.parametrize("scenario", ["ldpc", "cascade"])
def test_messages_that_overtake_the_end_of_our_greeting_are_kept_for_the_session(scenario):
    link = world(scenario)
    run = link.prepare()
    run.rehearsal.__class__ = SlowStore
    start(run)
    run.rehearsal.run()

    check_invariants(link)
    assert run.failures == [None, None]
    assert all(run.secret_bits.values())
    assert [session.count_refused for session in run.sessions.values()] == [0, 0]


def test_an_adversary_that_only_rewrites_headers_as_they_were_is_not_noticed():
    plain = world("ldpc").session()
    link = world("ldpc")
    through = link.session(MacHolder(link.secrets, passed_on))

    assert through.sent == plain.sent  # the adversary of the other tests speaks the protocol faultlessly


@pytest.mark.parametrize("scenario", ["ldpc", "cascade"])
def test_tags_come_last_and_only_where_there_is_key(scenario):
    link = world(scenario)
    said = [envelope for envelope in link.session(most_blocks=2).envelopes() if envelope.block]
    for block in (1, 2):
        kinds = [type(envelope.message) for envelope in said if envelope.block == block]
        assert kinds[kinds.index(TranscriptTag) :] == [TranscriptTag, TranscriptTag, KeyCommit, KeyCommitted]
        assert kinds.index(KeyLengthVerdict) < kinds.index(ToeplitzSeed) < kinds.index(TranscriptTag)

    fruitless = world(scenario)
    setting: Any = fruitless.recipe.setting
    fruitless.recipe = dataclasses.replace(fruitless.recipe, setting=dataclasses.replace(setting, probability_multi_photon=1.0))
    run = fruitless.session(most_blocks=2)
    assert not any(run.secret_bits.values())
    assert TranscriptTag not in {type(envelope.message) for envelope in run.envelopes()}
    assert not any(store.masks for store in fruitless.stores.values())


def test_session_messages_are_few_and_block_messages_name_their_block():
    envelopes = world("ldpc").session().envelopes()

    assert [envelope.block for envelope in envelopes[:5]] == [SESSION_SCOPE] * 5
    assert {envelope.block for envelope in envelopes[5:]} == {1, 2}
