"""Blocks that travel in groups, with several groups under way: the same keys at both ends, whatever becomes of single blocks."""

import dataclasses
from collections import Counter

import numpy as np
import pytest

from common.bits import Bits
from common.channel.codec import Party
from common.channel.messages import (
    Abort,
    DetectionAnnouncement,
    KeyCommit,
    KeyCommitted,
    SegmentTags,
    TranscriptTag,
    VerificationHash,
)
from common.distillation import gathering
from common.distillation.values import Discarded, KeyBits
from common.errors import AbortReason
from tests.support.adversaries import StopAt, Stopped
from tests.support.links import check_invariants, check_recovery, start
from tests.support.scenarios import world


def grouped(scenario="cascade", groups=3):
    link = world(scenario)
    link.detections.is_ahead = True
    link.groups = groups
    return link


def committed(link):
    check_invariants(link)
    alice, bob = (link.stores[party].committed for party in Party)
    assert alice == bob
    return alice


@pytest.mark.parametrize("scenario", ["cascade", "cascade-reverse", "ldpc"])
@pytest.mark.parametrize("most_blocks", [1, 2, 5])
def test_blocks_of_a_group_are_committed_together_and_each_has_its_own_account(scenario, most_blocks):
    link = grouped(scenario)
    run = link.session(most_blocks=most_blocks)
    said = Counter(type(envelope.message) for envelope in run.envelopes())

    assert run.failures == [None, None]
    assert list(committed(link)) == list(range(1, most_blocks + 1))
    assert said[TranscriptTag] == 2
    assert said[KeyCommit] == said[KeyCommitted] == 1
    assert said[SegmentTags] == said[VerificationHash] == 1
    assert said[DetectionAnnouncement] >= most_blocks
    for party in Party:
        outcomes = run.sessions[party].outcomes
        assert [outcome.number for outcome in outcomes] == list(range(1, most_blocks + 1))
        assert all(outcome.length and sum(outcome.length.ledger.values()) == outcome.secret_bits > 0 for outcome in outcomes)
    assert len({outcome.block.counts.detections for outcome in run.sessions[Party.BOB].outcomes}) > 1 or most_blocks == 1


def test_groups_are_concluded_in_order_while_later_ones_fill(monkeypatch):
    monkeypatch.setattr("common.distillation.sifting.MOST_GROUP_BLOCKS", 2)
    link = grouped()
    run = link.session(most_blocks=7)

    assert list(committed(link)) == [1, 2, 3, 4, 5, 6, 7]
    assert link.stores[Party.ALICE].masks == [0, 1, 2, 3]
    assert link.stores[Party.ALICE].opened == [1, 2, 3, 4, 5, 6, 7]
    blocks = [envelope.block for envelope in run.envelopes() if envelope.block]
    assert set(blocks) == {1, 3, 5, 7}
    assert blocks != sorted(blocks), "no group began before the one before it was over"
    tags = [envelope.block for envelope in run.envelopes() if isinstance(envelope.message, TranscriptTag)]
    assert tags == [1, 1, 3, 3, 5, 5, 7, 7]


def test_one_group_at_a_time_where_no_more_may_be_under_way(monkeypatch):
    monkeypatch.setattr("common.distillation.sifting.MOST_GROUP_BLOCKS", 2)
    link = grouped(groups=1)
    run = link.session(most_blocks=6)

    blocks = [envelope.block for envelope in run.envelopes() if envelope.block]
    assert blocks == sorted(blocks)
    assert len(committed(link)) == 6


def spoilt(numbers):
    """Flip a reconciled bit of some blocks at the end that closes them first, behind everything that could notice but verification."""
    closed, left = gathering._closed, set(numbers)

    def spoiling(recipe, block):
        whole = closed(recipe, block)
        if block.number not in left or isinstance(whole, Discarded):
            return whole
        left.remove(block.number)
        words = whole.key.bits.words.copy()
        words[0] ^= np.uint64(1)
        return dataclasses.replace(whole, key=KeyBits(Bits(words, whole.key.bits.count), whole.key.bases))

    return spoiling


def test_a_block_that_fails_verification_leaves_its_group_alone(monkeypatch):
    link = grouped()
    monkeypatch.setattr(gathering, "_closed", spoilt({2, 4}))
    run = link.session(most_blocks=5)

    assert list(committed(link)) == [1, 3, 5]
    for party in Party:
        reasons = [outcome.reason for outcome in run.sessions[party].outcomes]
        assert reasons == [None, AbortReason.VERIFICATION_FAILED, None, AbortReason.VERIFICATION_FAILED, None]
    assert Abort not in {type(envelope.message) for envelope in run.envelopes()}


def test_a_group_without_key_takes_no_mask_and_the_next_one_does():
    link = grouped()
    for store in link.stores.values():
        store.keep_masks(1)
    run = link.session(most_blocks=3)
    check_invariants(link)
    assert all(run.secret_bits.values())

    without = grouped()
    for store in without.stores.values():
        store.keep_masks(0)
    run = without.session(most_blocks=3)
    check_invariants(without)
    for party in Party:
        assert {outcome.reason for outcome in run.sessions[party].outcomes} <= {AbortReason.MASKS_EXHAUSTED, AbortReason.PEER_ABORTED}
        assert not without.stores[party].held


@pytest.mark.parametrize("party", list(Party))
def test_an_end_stops_at_any_moment_with_groups_under_way_and_both_resume(monkeypatch, party):
    monkeypatch.setattr("common.distillation.sifting.MOST_GROUP_BLOCKS", 2)
    counter = StopAt()
    link = grouped()
    link.session(interrupter=counter, most_blocks=4)
    moments = [index for index, (whose, output, _) in enumerate(counter.moments) if whose is party and hasattr(output, "operation")]
    others = np.random.default_rng(1).choice(len(counter.moments), 25, replace=False).tolist()
    for index in [*moments, *others]:
        link = grouped()
        run = link.prepare(interrupter=StopAt(index), most_blocks=4)
        start(run)
        with pytest.raises(Stopped):
            run.rehearsal.run()
        check_invariants(link)
        link.detections.is_ahead = False
        check_recovery(link)


def test_the_first_and_the_last_block_of_a_group_are_marked_as_used():
    link = grouped()
    run = link.session(most_blocks=3)

    assert link.stores[Party.ALICE].opened == link.stores[Party.BOB].opened == [1, 3]
    assert all(run.secret_bits.values())
