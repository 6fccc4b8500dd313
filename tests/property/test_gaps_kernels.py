"""Delta coding of slots against its definition, and against anything a peer may send."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import LocalProtocolError, RemoteProtocolError
from common.kernels.gaps import choose_parameters, decode_gaps, encode_gaps, read_gaps, write_gaps
from tests.reference import gaps as slow


@st.composite
def slot_lists(draw, most=600):
    """Sorted slots: geometric gaps of any mean, sometimes a leap in between."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    gaps = rng.geometric(draw(st.sampled_from([0.9, 0.5, 0.1, 1e-3, 1e-7])), draw(st.integers(1, most)))
    if draw(st.booleans()):
        gaps[draw(st.integers(0, gaps.size - 1))] += draw(st.integers(0, 2**40))
    first = draw(st.integers(-(2**50), 2**50))
    return np.cumsum(gaps) + first - 1, first


@given(announced=slot_lists())
def test_the_encoding_is_the_one_of_the_definition(announced):
    slots, first = announced
    bits = slow.encoded(slots.tolist(), first)
    parameters = np.zeros(-(-slots.size // 256), np.uint8)
    room = choose_parameters(slots, first, parameters)
    words = np.zeros((room + 63) // 64, np.uint64)

    assert len(bits) <= room <= len(bits) + slots.size
    assert write_gaps(slots, first, parameters, words) == len(bits)
    assert np.unpackbits(words.view(np.uint8), bitorder="little")[: len(bits)].tolist() == bits
    assert encode_gaps(slots, first).tobytes() == np.packbits(bits, bitorder="little").tobytes()


@given(announced=slot_lists(), beyond=st.integers(1, 1000))
def test_what_was_encoded_is_decoded(announced, beyond):
    slots, first = announced
    limit = int(slots[-1]) + beyond
    data = encode_gaps(slots, first)
    words, got = np.zeros(data.size // 8 + 2, np.uint64), np.zeros_like(slots)
    words.view(np.uint8)[: data.size] = data

    assert np.array_equal(decode_gaps(data.tobytes(), slots.size, first, limit), slots)
    assert (read_gaps(words, 8 * data.size, first, limit, got) + 7) // 8 == data.size
    assert np.array_equal(got, slots)


@given(announced=slot_lists(most=20), position=st.integers(0, 10**6), length=st.integers(-3, 3))
def test_a_changed_encoding_is_refused_or_is_the_encoding_of_what_comes_out(announced, position, length):
    slots, first = announced
    limit = int(slots[-1]) + 1
    data = encode_gaps(slots, first)
    data[position // 8 % data.size] ^= 1 << position % 8
    changed = (data.tobytes() + bytes(3))[: data.size + length]

    try:
        got = decode_gaps(changed, slots.size, first, limit)
    except RemoteProtocolError:
        return
    assert encode_gaps(got, first).tobytes() == changed
    assert first <= got[0] <= got[-1] < limit


@given(data=st.binary(max_size=80), count=st.integers(0, 700), limit=st.integers(-5, 2**61))
def test_nothing_a_peer_sends_is_read_beyond_its_end(data, count, limit):
    try:
        got = decode_gaps(data, count, 0, limit)
    except RemoteProtocolError:
        return
    assert encode_gaps(got, 0).tobytes() == data


@given(announced=slot_lists(), position=st.integers(0, 599), leap=st.integers(-(2**62), 2**62))
def test_slots_out_of_order_are_refused_wherever_they_are(announced, position, leap):
    slots, first = announced
    moved = slots.copy()
    moved[position % slots.size] += leap
    ordered = moved[0] >= first and all(a < b for a, b in itertools.pairwise(moved.tolist()))

    if ordered and int(moved[-1]) - first < 2**62:
        assert np.array_equal(decode_gaps(encode_gaps(moved, first), moved.size, first, int(moved[-1]) + 1), moved)
    else:
        with pytest.raises(LocalProtocolError):
            encode_gaps(moved, first)
