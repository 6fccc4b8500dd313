"""Lock-step Cascade against the same protocol written with lists: the same questions, answers and corrections, bit for bit."""

from types import SimpleNamespace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from common.bits import Bits, count_words
from common.kernels.cascade import FINISHED, advance_segments, stage_questions
from common.kernels.cascade_parities import ask, block_parities, flip_bits, masked_parity, permute_segment
from common.kernels.cascade_search import CascadePlan, CascadeSearch
from tests.reference.cascade import SlowCascade


@st.composite
def cases(draw):
    """A plan, two halves' segments with errors at any ratio, filled up with zeros, and the same as lists."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    size = draw(st.sampled_from([64, 128, 256]))
    key_bits = draw(st.sampled_from([size, size - 1, size // 2 + 3, 1]))
    count_segments = draw(st.integers(1, 3))
    block_bits = sorted(
        draw(st.lists(st.sampled_from([2, 4, 8, 16, 32, 64, 128]).filter(lambda bits: bits <= size), min_size=1, max_size=4))
    )
    permutations = [rng.permutation(size) for _ in block_bits[1:]]
    masks = rng.integers(0, 2, (draw(st.integers(0, 4)), size)).astype(np.uint8)
    ours = rng.integers(0, 2, (count_segments, size)).astype(np.uint8)
    ours[:, key_bits:] = 0
    theirs = ours ^ (rng.random(ours.shape) < draw(st.sampled_from([0.0, 0.01, 0.05, 0.2, 0.5])))
    theirs[:, key_bits:] = 0
    packed_masks = pack_rows(masks) if len(masks) else np.zeros((0, size // 64), np.uint64)
    passes = [blocks(order, length, key_bits) for order, length in zip([np.arange(size), *permutations], block_bits, strict=True)]
    lists = passes, [set(np.flatnonzero(mask).tolist()) for mask in masks]
    return SimpleNamespace(
        plan=CascadePlan.build(size, block_bits, permutations, packed_masks, key_bits),
        ours=ours,
        theirs=theirs,
        slow_ours=SlowCascade(*lists, ours.tolist()),
        slow_theirs=SlowCascade(*lists, theirs.tolist()),
    )


def blocks(order, length, key_bits):
    """Blocks of a pass in which the filling stays behind the key; those of filling only are left out."""
    positions = [position for position in order.tolist() if position < key_bits] + list(range(key_bits, order.size))
    return [positions[first : first + length] for first in range(0, key_bits, length)]


def pack_rows(flags):
    return np.ascontiguousarray(np.packbits(flags, axis=1, bitorder="little")).view(np.uint64)


def unpack(words, count):
    return Bits(words.copy(), count).to_flags().tolist()


def flat(found, size):
    return [segment * size + position for segment, position in found]


@settings(max_examples=60)
@given(case=cases())
def test_both_halves_send_what_the_slow_halves_send_and_correct_the_same_bits(case):
    size = case.plan.segment_bits
    reference, correcting = CascadeSearch(case.plan, pack_rows(case.ours)), CascadeSearch(case.plan, pack_rows(case.theirs))
    while not case.slow_ours.finished:
        count = reference.count_asked
        parities = reference.parities()
        differs = correcting.differences(parities)
        assert unpack(parities, count) == case.slow_ours.parities()
        slow_differs = [a ^ b for a, b in zip(case.slow_ours.parities(), case.slow_theirs.parities(), strict=True)]
        assert unpack(differs, count) == slow_differs
        corrections = correcting.advance(differs)
        assert np.array_equal(reference.advance(differs), corrections)
        correcting.correct(corrections)
        found = case.slow_theirs.advance(slow_differs)
        assert case.slow_ours.advance(slow_differs) == found
        case.slow_theirs.correct(found)
        assert corrections.tolist() == flat(found, size)

    assert reference.finished
    assert correcting.finished
    assert np.array_equal(correcting.segments(), pack_rows(bits_of(case.slow_theirs)))
    assert np.array_equal(reference.segments(), pack_rows(case.ours))
    assert reference.asked.tolist() == correcting.asked.tolist() == [segment.asked for segment in case.slow_ours.segments]


def bits_of(half):
    return np.array([segment.bits for segment in half.segments], np.uint8)


@settings(max_examples=40)
@given(case=cases(), seed=st.integers(0, 2**32))
def test_answers_made_up_by_a_liar_move_both_implementations_alike_and_read_nothing_out_of_range(case, seed):
    rng = np.random.default_rng(seed)
    search = CascadeSearch(case.plan, pack_rows(case.ours))
    for _ in range(60):
        if search.finished:
            break
        count = search.count_asked
        assert unpack(search.parities(), count) == case.slow_ours.parities()
        answers = rng.integers(0, 2, count).astype(np.uint8)
        assert search.advance(Bits.from_flags(answers).words).tolist() == flat(
            case.slow_ours.advance(answers.tolist()), case.plan.segment_bits
        )


@settings(max_examples=30)
@given(case=cases())
def test_copies_parities_and_flips_are_those_of_lists(case):
    size, tables = case.plan.segment_bits, case.plan.tables
    copies = np.zeros((len(case.ours), case.plan.count_passes, size // 64), np.uint64)
    copies[:, 0] = pack_rows(case.ours)
    masks = np.unpackbits(tables.masks.view(np.uint8), axis=1, bitorder="little")
    for flags, rows in zip(case.ours, copies, strict=True):
        for number, permutation in enumerate(tables.permutations):
            permute_segment(rows[0], permutation, rows[number])
            assert np.array_equal(rows[number], pack_rows(flags[permutation][None])[0])
            length, count = case.plan.block_bits[number], int(np.diff(tables.first_blocks)[number])
            parities = np.zeros(count_words(count) + 1, np.uint64)
            assert block_parities(rows[number], int(tables.block_shifts[number]), count, parities, 0) == count
            expected = flags[permutation].reshape(-1, length).sum(axis=1) & 1
            assert unpack(parities[: count_words(count)], count) == expected[:count].tolist()
            assert not expected[count:].any()
        for words, mask in zip(tables.masks, masks, strict=True):
            assert masked_parity(rows[0], words, 0, size) == (flags & mask).sum() % 2
    flip_bits(copies, tables.inverses, np.full(len(copies), FINISHED), np.flatnonzero(case.ours != case.theirs))
    for number, permutation in enumerate(tables.permutations):
        assert np.array_equal(copies[:, number], pack_rows(case.theirs[:, permutation]))


@settings(max_examples=30)
@given(case=cases())
def test_the_kernels_driven_by_hand_ask_and_advance_like_the_slow_half(case):
    tables = case.plan.tables
    half = CascadeSearch(case.plan, pack_rows(case.theirs))  # for its empty arrays only
    known, copies, live, spare = half._tables, half._copies, half._live, half._next_live
    count_live, found = 0, np.zeros(live.size, np.int64)
    count = len(known.stages) * stage_questions(tables, 0)
    while count:
        parities = np.zeros(count_words(count), np.uint64)
        assert ask(copies, tables, known, live, count_live, parities) == count
        assert unpack(parities, count) == case.slow_theirs.parities()
        differs = [a ^ b for a, b in zip(case.slow_ours.parities(), case.slow_theirs.parities(), strict=True)]
        answers = Bits.from_flags(np.array(differs, np.uint8)).words.copy()
        count_live, count_found, count = advance_segments(tables, known, answers, live, count_live, spare, found)
        live, spare = spare, live
        flip_bits(copies, tables.inverses, known.stages, found[:count_found])
        assert found[:count_found].tolist() == advance_both(case, differs)

    assert set(known.stages.tolist()) == {FINISHED}
    assert np.array_equal(copies[:, 0], pack_rows(bits_of(case.slow_theirs)))


def advance_both(case, differs):
    found = case.slow_theirs.advance(differs)
    case.slow_ours.advance(differs)
    case.slow_theirs.correct(found)
    return flat(found, case.plan.segment_bits)
