"""Lock-step Cascade against the same protocol written with lists: the same questions, answers and corrections, bit for bit."""

from types import SimpleNamespace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from common.bits import Bits, count_words
from common.kernels.cascade import advance_searches, open_mask_searches, open_pass
from common.kernels.cascade_parities import block_parities, flip_bits, mask_parities, permute_segments, search_parities
from common.kernels.cascade_search import CascadePlan, CascadeSearch
from tests.reference.cascade import SlowCascade


@st.composite
def cases(draw):
    """A plan, two halves' segments with errors at any ratio, and the same as lists."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    size = draw(st.sampled_from([64, 128, 256]))
    count_segments = draw(st.integers(1, 3))
    block_bits = sorted(
        draw(st.lists(st.sampled_from([2, 4, 8, 16, 32, 64, 128]).filter(lambda bits: bits <= size), min_size=1, max_size=4))
    )
    permutations = [rng.permutation(size) for _ in block_bits[1:]]
    masks = rng.integers(0, 2, (draw(st.integers(0, 4)), size)).astype(np.uint8)
    ours = rng.integers(0, 2, (count_segments, size)).astype(np.uint8)
    theirs = ours ^ (rng.random(ours.shape) < draw(st.sampled_from([0.0, 0.01, 0.05, 0.2, 0.5])))
    lists = (
        [list(range(size)), *[permutation.tolist() for permutation in permutations]],
        [set(np.flatnonzero(mask).tolist()) for mask in masks],
    )
    packed_masks = pack_rows(masks) if len(masks) else np.zeros((0, size // 64), np.uint64)
    return SimpleNamespace(
        plan=CascadePlan.build(size, block_bits, permutations, packed_masks),
        ours=ours,
        theirs=theirs,
        slow_ours=SlowCascade(block_bits, *lists, ours.tolist()),
        slow_theirs=SlowCascade(block_bits, *lists, theirs.tolist()),
    )


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
    assert np.array_equal(correcting.segments(), pack_rows(np.array(case.slow_theirs.bits, np.uint8)))
    assert np.array_equal(reference.segments(), pack_rows(case.ours))


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
    for number, permutation in enumerate(tables.permutations):
        permute_segments(copies, permutation, number)
        assert np.array_equal(copies[:, number], pack_rows(case.ours[:, permutation]))
        block_size = case.plan.block_bits[number]
        parities = np.zeros(count_words(case.ours.size // block_size), np.uint64)
        block_parities(copies, number, int(tables.block_shifts[number]), parities)
        expected = case.ours[:, permutation].reshape(-1, block_size).sum(axis=1) & 1
        assert np.array_equal(parities, Bits.from_flags(expected.astype(np.uint8)).words)
    flip_bits(copies, tables.inverses, case.plan.count_passes, np.flatnonzero(case.ours != case.theirs))
    for number, permutation in enumerate(tables.permutations):
        assert np.array_equal(copies[:, number], pack_rows(case.theirs[:, permutation]))
    masks = np.unpackbits(tables.masks.view(np.uint8), axis=1, bitorder="little")
    parities = np.zeros(count_words(len(case.ours) * len(masks)), np.uint64)
    mask_parities(copies, tables.masks, parities)
    assert np.array_equal(
        parities, Bits.from_flags((case.theirs.astype(np.int64) @ masks.T.astype(np.int64)).reshape(-1).astype(np.uint8) & 1).words
    )


@settings(max_examples=30)
@given(case=cases())
def test_the_kernels_driven_by_hand_open_and_search_like_the_slow_half(case):
    plan, size = case.plan, case.plan.segment_bits
    half = CascadeSearch(plan, pack_rows(case.theirs))  # for its empty arrays only
    tables, copies, live, spare = half._tables, half._copies, half._live, half._next_live
    for number in range(plan.count_passes + (plan.count_masks > 0)):
        differs = [a ^ b for a, b in zip(case.slow_ours.parities(), case.slow_theirs.parities(), strict=True)]
        if 0 < number < plan.count_passes:
            permute_segments(copies, plan.tables.permutations[number], number)
        count_live = open_pass(plan.tables, tables, number, size, Bits.from_flags(np.array(differs, np.uint8)).words.copy(), live)
        advance_both(case, differs)
        masks_opened = number == plan.count_passes
        opened = min(number + 1, plan.count_passes)
        while True:
            if not count_live and masks_opened:
                count_live = open_mask_searches(plan.tables, tables, size, live)
            assert count_live == len(case.slow_ours.live)
            if not count_live:
                break
            parities = np.zeros(count_words(count_live), np.uint64)
            search_parities(copies, plan.tables, tables, live, count_live, parities)
            assert unpack(parities, count_live) == case.slow_theirs.parities()
            differs = [a ^ b for a, b in zip(case.slow_ours.parities(), case.slow_theirs.parities(), strict=True)]
            answers = Bits.from_flags(np.array(differs, np.uint8)).words.copy()
            found = np.zeros(live.size, np.int64)
            count_live, count_found = advance_searches(plan.tables, tables, opened, masks_opened, answers, live, count_live, spare, found)
            live, spare = spare, live
            flip_bits(copies, plan.tables.inverses, opened, found[:count_found])
            assert found[:count_found].tolist() == advance_both(case, differs)

    assert np.array_equal(copies[:, 0], pack_rows(np.array(case.slow_theirs.bits, np.uint8)))


def advance_both(case, differs):
    found = case.slow_theirs.advance(differs)
    case.slow_ours.advance(differs)
    case.slow_theirs.correct(found)
    return flat(found, case.plan.segment_bits)
