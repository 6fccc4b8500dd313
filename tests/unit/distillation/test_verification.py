"""Verification as a sequence of messages, without a socket or a loop."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.channel.messages import VerificationHash, VerificationVerdict
from common.conversation.rehearsal import rehearse
from common.distillation.values import ClosedBlock, Discarded, parted
from common.distillation.verification import TAG_BITS, check_hash, send_hash
from common.errors import AbortReason, RemoteProtocolError
from tests.support.blocks import blocks, closed_block, flipped, groups


def verified(ours, theirs):
    """Both ends' conclusions about one block."""
    (mine,), (yours,), said = rehearse(send_hash([ours]), check_hash([theirs]))
    assert [type(message) for message in said] == [VerificationHash, VerificationVerdict]
    return mine, yours


@given(block=blocks(min_bits=1, max_bits=5000))
def test_equal_blocks_are_verified_and_both_ends_charge_the_same(block):
    ours, theirs = verified(block, block)

    assert isinstance(ours, ClosedBlock)
    assert ours.leakage == theirs.leakage
    assert ours.leakage.total_bits == block.leakage.total_bits + TAG_BITS + 1


@given(block=blocks(min_bits=1, max_bits=5000))
def test_a_single_differing_bit_discards_the_block_at_both_ends(block):
    for lost in verified(block, flipped(block, position=0)):
        assert isinstance(lost, Discarded)
        assert lost.reason is AbortReason.VERIFICATION_FAILED


@given(block=blocks(min_bits=65, max_bits=200))
def test_every_position_counts(block):
    for position in (0, 63, 64, block.key.bits.count - 1):
        assert all(isinstance(lost, Discarded) for lost in verified(block, flipped(block, position)))


def test_what_was_spent_on_a_failed_verification_is_charged_as_well():
    block = closed_block(100)
    lost, _ = verified(block, flipped(block, 5))

    assert lost.block.leakage.total_bits == block.leakage.total_bits + TAG_BITS + 1


def test_one_block_of_a_group_fails_alone():
    group = [closed_block(100 + seed, seed) for seed in range(5)]
    other = [flipped(block, 7) if number in {1, 4} else block for number, block in enumerate(group)]
    for ended in rehearse(send_hash(group), check_hash(other))[:2]:
        assert [isinstance(block, Discarded) for block in ended] == [False, True, False, False, True]


@given(group=groups(), data=st.data())
def test_the_blocks_that_differ_are_discarded_and_no_others(group, data):
    wrong = {block.number for block in group if data.draw(st.booleans())}
    theirs = [flipped(block, block.key.bits.count - 1) if block.number in wrong else block for block in group]
    for ended in rehearse(send_hash(group), check_hash(theirs))[:2]:
        assert {lost.block.number for lost in parted(ended)[1]} == wrong


def test_hashes_are_those_of_their_own_blocks():
    """Two blocks with the key of the other one are both lost: it is not enough that every hash occurs."""
    ours = [closed_block(300, 1, number=1), closed_block(300, 2, number=2)]
    theirs = [closed_block(300, 2, number=1), closed_block(300, 1, number=2)]
    for ended in rehearse(send_hash(ours), check_hash(theirs))[:2]:
        assert all(isinstance(lost, Discarded) for lost in ended)


@pytest.mark.parametrize("tags", [b"", bytes(15), bytes(17), bytes(48)])
def test_another_number_of_hashes_is_refused(tags):
    half: Any = check_hash([closed_block(100), closed_block(101)])
    next(half)
    with pytest.raises(RemoteProtocolError, match="hashes for 2 blocks"):
        half.send(VerificationHash(bytes(16), tags))


@pytest.mark.parametrize("equal", [b"", b"\4", bytes(2)])
def test_a_verdict_that_does_not_fit_is_refused(equal):
    half: Any = send_hash([closed_block(100), closed_block(101)])
    effect = next(half)
    while type(effect).__name__ != "Receive":
        answer = {"Draw": lambda e: bytes(e.count_bytes), "Compute": lambda e: e.function(*e.arguments), "Send": lambda _e: None}
        effect = half.send(answer[type(effect).__name__](effect))
    with pytest.raises(RemoteProtocolError):
        half.send(VerificationVerdict(equal))
