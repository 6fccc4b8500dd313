"""Verification as a sequence of messages, without a socket or a loop."""

import pytest
from hypothesis import given

from common.channel.messages import VerificationHash, VerificationVerdict
from common.conversation.rehearsal import rehearse
from common.distillation.verification import TAG_BITS, check_hash, send_hash
from common.errors import AbortReason, BlockAborted
from tests.support.blocks import blocks, closed_block, flipped


@given(block=blocks(min_bits=1, max_bits=5000))
def test_equal_blocks_are_verified_and_both_ends_charge_the_same(block):
    ours, theirs, transcript = rehearse(send_hash(block), check_hash(block))

    assert [type(m) for m in transcript] == [VerificationHash, VerificationVerdict]
    assert ours.leakage == theirs.leakage
    assert ours.leakage.total_bits == block.leakage.total_bits + TAG_BITS + 1


@given(block=blocks(min_bits=1, max_bits=5000))
def test_a_single_differing_bit_aborts_the_block_at_both_ends(block):
    with pytest.raises(BlockAborted) as aborted:
        rehearse(send_hash(block), check_hash(flipped(block, position=0)))

    assert aborted.value.reason is AbortReason.VERIFICATION_FAILED


@given(block=blocks(min_bits=65, max_bits=200))
def test_every_position_counts(block):
    for position in (0, 63, 64, block.key.bits.count - 1):
        with pytest.raises(BlockAborted):
            rehearse(send_hash(block), check_hash(flipped(block, position)))


def test_what_was_spent_on_a_failed_verification_is_charged_as_well():
    block = closed_block(100)
    with pytest.raises(BlockAborted) as aborted:
        rehearse(send_hash(block), check_hash(flipped(block, 5)))

    assert aborted.value.leakage is not None
    assert aborted.value.leakage.total_bits == block.leakage.total_bits + TAG_BITS + 1
