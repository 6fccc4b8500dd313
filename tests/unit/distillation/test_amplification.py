"""Agreement on the length, and the seed."""

import dataclasses
from typing import Any

import pytest

from common.blocks import BasisCounts
from common.channel import messages
from common.conversation.rehearsal import rehearse
from common.distillation.amplification import NoProvableKeyError, agree_length, draw_seed, propose_length, take_seed
from common.errors import AbortReason, BlockAborted, RemoteProtocolError
from common.security.key_length import key_length
from tests.support.blocks import closed_block
from tests.support.links import tiny_recipe

RECIPE = tiny_recipe("ldpc")
BLOCK = closed_block(4000)
LENGTH = key_length(BLOCK.counts, BLOCK.leakage, RECIPE.setting, RECIPE.budget)


def less_sure(block):
    """The same block with a few errors more."""
    z = block.counts.z
    return dataclasses.replace(block, counts=dataclasses.replace(block.counts, z=BasisCounts(z.key, z.kept, z.tested, z.errors + 5)))


def test_both_ends_take_the_same_length_and_make_the_same_key():
    ours, theirs, _ = rehearse(propose_length(RECIPE, BLOCK), agree_length(RECIPE, BLOCK))
    assert ours == theirs == LENGTH
    assert LENGTH.secret_bits > 0
    mine, yours, said = rehearse(draw_seed(BLOCK, LENGTH), take_seed(BLOCK, LENGTH))
    assert mine.key.to_bits() == yours.key.to_bits()
    assert mine.key.count == LENGTH.secret_bits
    assert [type(message) for message in said] == [messages.ToeplitzSeed]


@pytest.mark.parametrize("pair", [(BLOCK, less_sure(BLOCK)), (less_sure(BLOCK), BLOCK)])
def test_whoever_computes_another_length_there_is_no_key(pair):
    with pytest.raises(BlockAborted) as aborted:
        rehearse(propose_length(RECIPE, pair[0]), agree_length(RECIPE, pair[1]))

    assert aborted.value.reason is AbortReason.KEY_LENGTH_DISAGREEMENT


def test_no_provable_key_is_known_at_both_ends_with_its_reason():
    block = closed_block(4000, errors=240)
    for halves in ((propose_length, agree_length), (agree_length, propose_length)):
        with pytest.raises(NoProvableKeyError) as without:
            rehearse(halves[0](RECIPE, block), halves[1](RECIPE, block))
        assert without.value.length.secret_bits == 0
        assert without.value.reason is without.value.length.reason


def taking():
    half: Any = take_seed(BLOCK, LENGTH)
    next(half)
    return half


@pytest.mark.parametrize(("chunk", "count_chunks"), [(1, 1), (0, 2), (0, 0)])
def test_chunks_out_of_order_are_refused(chunk, count_chunks):
    with pytest.raises(RemoteProtocolError, match="seed chunk"):
        taking().send(messages.ToeplitzSeed(chunk, count_chunks, bytes(10)))


@pytest.mark.parametrize("change", [-1, 1])
def test_a_seed_of_another_length_is_refused(change):
    count_bytes = (BLOCK.key.bits.count - 1 + 7) // 8
    effect = taking().send(messages.ToeplitzSeed(0, 1, bytes(count_bytes + change)))
    with pytest.raises(RemoteProtocolError):
        effect.function(*effect.arguments)


def test_a_long_seed_travels_in_numbered_chunks(monkeypatch):
    monkeypatch.setattr("common.distillation.amplification.MAXIMUM_FIELD_BYTES", 150)
    mine, yours, said = rehearse(draw_seed(BLOCK, LENGTH), take_seed(BLOCK, LENGTH))

    assert mine.key.to_bits() == yours.key.to_bits()
    chunks = [(message.chunk, message.count_chunks) for message in said if isinstance(message, messages.ToeplitzSeed)]
    assert chunks == [(number, len(said)) for number in range(len(said))]
    assert len(said) > 2
