"""Choosing and counting of sifted bits against lists."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from common.bits import Bits
from common.kernels.sifting import count_table, select_bits, select_bits_kernel, select_bytes, select_bytes_kernel, tally
from tests.reference import sifting as slow


@st.composite
def detections(draw):
    """Outcome codes, settings and selections; none, few, most or all kept."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    count = draw(st.integers(0, 500))
    keep = (rng.random(count) < draw(st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]))).astype(np.uint8)
    return rng.integers(0, 4, count).astype(np.uint8), rng.integers(0, 3, count).astype(np.uint8), keep


@given(clicks=detections())
def test_choosing_packed_bits_is_choosing_flags(clicks):
    outcomes, _, keep = clicks
    words, mask = Bits.from_flags(outcomes & 1).words, Bits.from_flags(keep).words
    chosen, count = select_bits(words, mask)
    by_kernel = np.zeros(words.size + 1, np.uint64)

    assert Bits(chosen, count).to_flags().tolist() == slow.selected(outcomes, keep)
    assert select_bits_kernel(words, mask, by_kernel) == count
    assert np.array_equal(by_kernel[: chosen.size], chosen)


@given(clicks=detections())
def test_choosing_bytes_by_a_packed_mask_is_choosing_them_by_flags(clicks):
    outcomes, _, keep = clicks
    mask = Bits.from_flags(keep)
    by_kernel = np.zeros(mask.ones(), np.uint8)

    assert select_bytes(outcomes, mask).tolist() == slow.selected_whole(outcomes, keep)
    assert select_bytes_kernel(outcomes, mask.words, by_kernel) == by_kernel.size
    assert by_kernel.tolist() == slow.selected_whole(outcomes, keep)


@given(clicks=detections())
def test_the_table_counts_every_chosen_click_once(clicks):
    outcomes, settings, keep = clicks
    table = np.ones((3, 4), np.int64)

    assert tally(settings, outcomes, keep, table)
    assert (table - 1).tolist() == count_table(settings, outcomes, keep, 3).tolist() == slow.table_of(settings, outcomes, keep, 3)
