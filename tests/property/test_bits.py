"""Packed bits keep what was put in, and refuse what does not fit."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.bits import Bits, SecretBits, concatenated, count_bytes, count_words
from common.errors import RemoteProtocolError

FLAGS = st.lists(st.integers(0, 1), max_size=300).map(lambda flags: np.array(flags, np.uint8))


@given(FLAGS)
def test_flags_and_bytes_survive_packing(flags):
    bits = Bits.from_flags(flags)

    assert np.array_equal(bits.to_flags(), flags)
    assert Bits.from_bytes(bits.to_bytes(), bits.count) == bits
    assert len(bits.to_bytes()) == count_bytes(flags.size)
    assert bits.ones() == flags.sum()


@given(FLAGS)
def test_bit_i_stands_where_the_convention_says(flags):
    bits = Bits.from_flags(flags)

    assert [int(bits.words[i >> 6]) >> (i & 63) & 1 for i in range(flags.size)] == flags.tolist()
    assert bits.words.size == count_words(flags.size)


@given(st.lists(FLAGS, max_size=5))
def test_joining_keeps_the_order(parts):
    joined = concatenated([Bits.from_flags(part) for part in parts])

    assert joined.to_flags().tolist() == [flag for part in parts for flag in part.tolist()]


@given(FLAGS.filter(lambda flags: flags.size % 8 != 0), st.data())
def test_a_set_padding_bit_or_a_wrong_length_is_refused(flags, data):
    packed = bytearray(Bits.from_flags(flags).to_bytes())
    packed[-1] |= 1 << data.draw(st.integers(flags.size % 8, 7))

    with pytest.raises(RemoteProtocolError, match="padding"):
        Bits.from_bytes(bytes(packed), flags.size)
    with pytest.raises(RemoteProtocolError, match="bytes"):
        Bits.from_bytes(bytes(packed) + b"\0", flags.size)


def test_bits_are_read_only_and_never_shown():
    bits = Bits.from_flags(np.ones(70, np.uint8))

    with pytest.raises(ValueError, match="read-only"):
        bits.words[0] = 0
    assert repr(bits) == "Bits(count=70)"
    with pytest.raises(TypeError):
        hash(bits)


def test_secret_bits_are_wiped_in_place_and_neither_shown_nor_pickled():
    source = Bits.from_flags(np.ones(70, np.uint8))
    secret = SecretBits(source)
    words = secret._words
    secret.wipe()

    assert not words.any()
    assert secret.count == 0
    assert repr(secret) == "SecretBits()"
    assert source.ones() == 70
    with pytest.raises(TypeError):
        pickle.dumps(secret)


@given(st.lists(st.integers(0, 1), max_size=300), st.data())
def test_a_slice_and_its_ones_are_those_of_the_flags(flags, data):
    first = data.draw(st.integers(0, len(flags)))
    last = data.draw(st.integers(first, len(flags)))
    bits = Bits.from_flags(np.array(flags, np.uint8))

    assert bits.slice(first, last).to_flags().tolist() == flags[first:last]
    assert bits.ones_between(first, last) == sum(flags[first:last])


@given(st.integers(0, 200))
def test_masking_clears_what_is_not_counted(count):
    bits = Bits.masked(np.full(-(-count // 64), 2**64 - 1, np.uint64), count)

    assert bits.ones() == bits.count == count
