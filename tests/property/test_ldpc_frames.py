"""LDPC layouts: every position has one use, and what is charged is what linear algebra says is learnt."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.distillation.reconciliation.code_matrix import MOST_COLUMN_DEGREE
from common.distillation.reconciliation.ldpc_frames import KNOWN_LEVEL, decode, encode, layout_of, reveal, spread_order
from common.errors import LocalProtocolError
from common.kernels.ldpc_tables import COARSE, FINE
from tests.reference import ldpc as slow
from tests.support.ldpc import random_bits, small_code, with_errors

# Columns 0 and 1 have a row of their own (rows 0 and 1) among each other, and share row 2.
SHIFTS = np.array([[0, -1, 2, 4, 1, 0], [-1, 3, 1, -1, 2, 4], [1, 1, -1, 3, 0, 2]], np.int16)
LIFT = 5


@st.composite
def layouts(draw):
    code = small_code(SHIFTS, LIFT, (0, 1))
    count_punctured = draw(st.integers(0, code.most_punctured))
    return layout_of(code, draw(st.integers(1, code.count_bits - count_punctured)), count_punctured)


@given(layout=layouts())
def test_every_position_is_payload_or_punctured_or_shortened(layout):
    positions = np.concatenate([layout.payload, layout.punctured, layout.shortened])

    assert sorted(positions.tolist()) == list(range(layout.code.count_bits))
    assert sorted(layout.revealed.tolist()) == sorted(np.concatenate([layout.payload, layout.punctured]).tolist())
    assert layout.revealed[: layout.count_punctured].tolist() == layout.punctured.tolist()


@given(layout=layouts(), seed=st.integers(0, 2**32))
def test_the_syndrome_is_that_of_the_filled_codeword(layout, seed):
    generator = np.random.default_rng(seed)
    payload, private = random_bits(generator, 3, layout.count_payload), random_bits(generator, 3, layout.count_punctured)
    words = np.zeros((3, layout.code.count_bits), np.uint8)
    words[:, layout.payload], words[:, layout.punctured] = payload, private

    syndromes = encode(layout, payload, private)

    assert np.array_equal(syndromes, slow.add_syndromes(SHIFTS, LIFT, words, np.zeros((3, layout.count_checks), np.uint8)))
    assert np.array_equal(reveal(layout, payload, private, 0, layout.revealed.size), words[:, layout.revealed])


@given(layout=layouts(), share=st.floats(0, 1))
def test_no_more_is_learnt_about_the_key_than_is_charged(layout, share):
    """With uniform private bits, syndrome and revealed values hold ``rank([A_K A_R]) - rank(A_R)`` bits about the key."""
    matrix = slow.parity_check_matrix(SHIFTS, LIFT)
    count_revealed = int(share * layout.revealed.size)
    selected = np.zeros((count_revealed, layout.code.count_bits), np.uint8)
    selected[np.arange(count_revealed), layout.revealed[:count_revealed]] = 1
    said = np.concatenate([matrix, selected])

    together = slow.rank(slow.as_integers(said[:, np.concatenate([layout.payload, layout.punctured])]))
    masks = slow.rank(slow.as_integers(said[:, layout.punctured]))

    assert masks == layout.count_punctured
    assert together - masks <= layout.leakage_bits(count_revealed)


@given(layout=layouts(), count_step=st.integers(1, 40))
def test_increments_reveal_every_position_once_and_in_order(layout, count_step):
    parts = [layout.increment(step, count_step) for step in range(layout.revealed.size + 1)]

    assert [i for first, last in parts for i in range(first, last)] == list(range(layout.revealed.size))
    assert parts[-1][0] == parts[-1][1]


@settings(max_examples=30)
@given(layout=layouts(), seed=st.integers(0, 2**32))
def test_everything_revealed_decodes_whatever_the_errors(layout, seed):
    generator = np.random.default_rng(seed)
    theirs, private = random_bits(generator, 2, layout.count_payload), random_bits(generator, 2, layout.count_punctured)
    ours = with_errors(generator, theirs, 0.5)

    decoded = decode(layout, ours, encode(layout, theirs, private), reveal(layout, theirs, private, 0, layout.revealed.size), 0.05)

    assert decoded.succeeded.all()
    assert np.array_equal(decoded.payload, theirs)


@given(layout=layouts(), seed=st.integers(0, 2**32))
def test_a_failed_segment_keeps_its_bits(layout, seed):
    generator = np.random.default_rng(seed)
    ours = random_bits(generator, 4, layout.count_payload)

    decoded = decode(layout, ours, random_bits(generator, 4, layout.count_checks), np.zeros((4, 0), np.uint8), 0.05, iterations=3)

    assert np.array_equal(decoded.payload[~decoded.succeeded], ours[~decoded.succeeded])
    assert (decoded.iterations <= 3).all()


@given(count=st.integers(0, 2000), first=st.integers(0, 1999), size=st.integers(1, 400))
def test_every_stretch_of_the_spread_order_is_spread_evenly(count, first, size):
    order = spread_order(count)
    stretch = np.sort(order[first : first + size])

    assert sorted(order.tolist()) == list(range(count))
    if stretch.size > 1 and stretch.size == size:
        assert np.diff(stretch).max() <= 8 * count / size + 8


@pytest.mark.parametrize(("count_payload", "count_punctured"), [(0, 0), (31, 0), (30, 1), (5, 11), (5, -1)])
def test_counts_that_do_not_fit_the_code_are_refused(count_payload, count_punctured):
    with pytest.raises(LocalProtocolError):
        layout_of(small_code(SHIFTS, LIFT, (0, 1)), count_payload, count_punctured)


def test_arrays_that_do_not_fit_the_layout_are_refused():
    layout = layout_of(small_code(SHIFTS, LIFT, (0, 1)), 20, 4)
    payload, private = np.zeros((2, 20), np.uint8), np.zeros((2, 4), np.uint8)

    with pytest.raises(LocalProtocolError, match="payload"):
        encode(layout, payload[:, 1:], private)
    with pytest.raises(LocalProtocolError, match="private"):
        encode(layout, payload, private[:1])
    with pytest.raises(LocalProtocolError, match="syndromes"):
        decode(layout, payload, np.zeros((1, 15), np.uint8), np.zeros((2, 0), np.uint8), 0.05)
    with pytest.raises(LocalProtocolError, match="revealed"):
        decode(layout, payload, np.zeros((2, 15), np.uint8), np.zeros((2, 25), np.uint8), 0.05)
    with pytest.raises(LocalProtocolError, match="revealed"):
        reveal(layout, payload, private, 0, 25)


def test_a_known_bit_outweighs_every_message_and_fits_the_posterior():
    for limit in (COARSE.message_limit, FINE.message_limit):
        assert limit * MOST_COLUMN_DEGREE < KNOWN_LEVEL < 2**15 - limit * MOST_COLUMN_DEGREE
