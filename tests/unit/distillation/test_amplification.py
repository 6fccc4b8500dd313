"""Agreement on the length, and the seed."""

import dataclasses
from typing import Any

import pytest

from common.blocks import BasisCounts
from common.channel import messages
from common.conversation.rehearsal import rehearse
from common.distillation.amplification import agree_length, draw_seed, propose_length, take_seed
from common.distillation.values import Discarded, SizedBlock, parted
from common.errors import AbortReason, RemoteProtocolError
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
    ((ours,), _), ((theirs,), _) = (parted(ended) for ended in rehearse(propose_length(RECIPE, [BLOCK]), agree_length(RECIPE, [BLOCK]))[:2])
    assert ours.length == theirs.length == LENGTH
    assert LENGTH.secret_bits > 0
    (mine,), (yours,), said = rehearse(draw_seed([ours]), take_seed([theirs]))
    assert mine.key.to_bits() == yours.key.to_bits()
    assert mine.key.count == LENGTH.secret_bits
    assert [type(message) for message in said] == [messages.ToeplitzSeed]


def test_the_blocks_of_a_group_have_lengths_and_seeds_of_their_own():
    group = [dataclasses.replace(closed_block(count, count), number=number) for number, count in enumerate((4000, 4100, 3900), 5)]
    (ours, _), (theirs, _) = (parted(ended) for ended in rehearse(propose_length(RECIPE, group), agree_length(RECIPE, group))[:2])
    assert [sized.length for sized in ours] == [sized.length for sized in theirs]
    mine, yours, said = rehearse(draw_seed(ours), take_seed(theirs))
    assert [secret.key.to_bits() for secret in mine] == [secret.key.to_bits() for secret in yours]
    seeds = {message.block: message.seed[:100] for message in said if isinstance(message, messages.ToeplitzSeed)}
    assert list(seeds) == [5, 6, 7]
    assert len(set(seeds.values())) == 3


@pytest.mark.parametrize("pair", [(BLOCK, less_sure(BLOCK)), (less_sure(BLOCK), BLOCK)])
def test_whoever_computes_another_length_there_is_no_key_of_that_block(pair):
    for ended in rehearse(propose_length(RECIPE, [BLOCK, pair[0]]), agree_length(RECIPE, [BLOCK, pair[1]]))[:2]:
        sized, lost = ended
        assert isinstance(sized, SizedBlock)
        assert isinstance(lost, Discarded)
        assert lost.reason is AbortReason.KEY_LENGTH_DISAGREEMENT


def test_no_provable_key_is_known_at_both_ends_with_its_reason():
    block = closed_block(4000, errors=240)
    for ended in rehearse(propose_length(RECIPE, [block]), agree_length(RECIPE, [block]))[:2]:
        (lost,) = parted(ended)[1]
        assert lost.length is not None
        assert lost.length.secret_bits == 0
        assert lost.reason is lost.length.reason


@pytest.mark.parametrize("turned", [False, True])
def test_a_block_with_key_at_one_end_only_makes_none(turned):
    pair = [closed_block(4000, errors=240), BLOCK]
    ours, theirs = reversed(pair) if turned else pair
    for ended in rehearse(propose_length(RECIPE, [ours]), agree_length(RECIPE, [theirs]))[:2]:
        (lost,) = parted(ended)[1]
        assert lost.reason is AbortReason.KEY_LENGTH_DISAGREEMENT


def test_blocks_without_key_leave_the_others_theirs():
    fruitless = closed_block(4000, errors=240, number=2)
    ours, theirs = ([block, fruitless, closed_block(4000, number=3)] for block in (BLOCK, less_sure(BLOCK)))
    for ended in rehearse(propose_length(RECIPE, ours), agree_length(RECIPE, theirs))[:2]:
        (sized,), lost = parted(ended)
        assert sized.block.number == 3
        assert [end.block.number for end in lost] == [1, 2]
        assert lost[0].reason is AbortReason.KEY_LENGTH_DISAGREEMENT
        assert lost[1].reason is not AbortReason.KEY_LENGTH_DISAGREEMENT


@pytest.mark.parametrize("accepted", [b"", b"\3\0", b"\4"])
def test_another_number_of_verdicts_is_refused(accepted):
    half: Any = propose_length(RECIPE, [BLOCK, BLOCK])
    effect = next(half)
    half.send(effect.function(*effect.arguments))
    half.send(None)
    with pytest.raises(RemoteProtocolError):
        half.send(messages.KeyLengthVerdict(accepted))


def test_another_number_of_proposals_is_refused():
    half: Any = agree_length(RECIPE, [BLOCK])
    effect = next(half)
    half.send(effect.function(*effect.arguments))
    with pytest.raises(RemoteProtocolError, match="2 key lengths proposed for 1"):
        half.send(messages.KeyLengthProposal((1, 2)))


def taking():
    half: Any = take_seed([SizedBlock(BLOCK, LENGTH)])
    next(half)
    return half


@pytest.mark.parametrize(("chunk", "count_chunks"), [(1, 1), (0, 2), (0, 0)])
def test_chunks_out_of_order_are_refused(chunk, count_chunks):
    with pytest.raises(RemoteProtocolError, match="seed chunk"):
        taking().send(messages.ToeplitzSeed(1, chunk, count_chunks, bytes(10)))


def test_a_seed_of_another_block_is_refused():
    with pytest.raises(RemoteProtocolError, match="seed chunk"):
        taking().send(messages.ToeplitzSeed(2, 0, 1, bytes(500)))


@pytest.mark.parametrize("change", [-1, 1])
def test_a_seed_of_another_length_is_refused(change):
    count_bytes = (BLOCK.key.bits.count - 1 + 7) // 8
    effect = taking().send(messages.ToeplitzSeed(1, 0, 1, bytes(count_bytes + change)))
    with pytest.raises(RemoteProtocolError):
        effect.function(*effect.arguments)


def test_a_long_seed_travels_in_numbered_chunks(monkeypatch):
    monkeypatch.setattr("common.distillation.amplification.MAXIMUM_FIELD_BYTES", 150)
    sized = SizedBlock(BLOCK, LENGTH)
    (mine,), (yours,), said = rehearse(draw_seed([sized]), take_seed([sized]))

    assert mine.key.to_bits() == yours.key.to_bits()
    chunks = [(message.chunk, message.count_chunks) for message in said if isinstance(message, messages.ToeplitzSeed)]
    assert chunks == [(number, len(said)) for number in range(len(said))]
    assert len(said) > 2
