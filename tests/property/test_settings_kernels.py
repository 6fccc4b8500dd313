"""Kernels of the emission record against the library's cipher and against strings of binary digits."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from common.kernels.chacha20 import chacha20_words
from common.kernels.settings import classify_words, gather_settings, pack_settings, unpack_settings
from tests.reference.chacha20 import reference_chacha20_words
from tests.reference.settings import (
    reference_classify_words,
    reference_gather_settings,
    reference_pack_settings,
    reference_unpack_settings,
)

widths = st.sampled_from([1, 2, 4, 8])
packed_bytes = st.binary(min_size=1, max_size=40)


@given(subkey=st.binary(min_size=32, max_size=32), index=st.lists(st.integers(0, 2**62), max_size=40))
def test_words_at_scattered_places_are_those_of_the_library(subkey, index):
    words = np.empty(len(index), np.uint32)

    chacha20_words(np.frombuffer(subkey, np.uint32), np.array(index, np.int64), words)

    assert words.tolist() == reference_chacha20_words(subkey, index)


@given(
    subkey=st.binary(min_size=32, max_size=32),
    first=st.integers(0, 2**62),
    steps=st.lists(st.integers(-3, 40), max_size=120),
    tail=st.lists(st.integers(0, 2), max_size=300),
)
def test_places_that_share_a_block_read_the_words_of_the_library(subkey, first, steps, tail):
    index = np.maximum(first + np.cumsum([0, *steps, *tail]), 0)
    words = np.empty(index.size, np.uint32)

    chacha20_words(np.frombuffer(subkey, np.uint32), index, words)

    assert words.tolist() == reference_chacha20_words(subkey, index.tolist())


@given(words=st.lists(st.integers(0, 2**32 - 1), max_size=50), thresholds=st.lists(st.integers(0, 2**32 - 1), max_size=7).map(sorted))
def test_a_setting_is_the_number_of_thresholds_at_or_below_the_word(words, thresholds):
    found = np.empty(len(words), np.uint8)

    classify_words(np.array(words, np.uint32), np.array(thresholds, np.uint32), found)

    assert found.tolist() == reference_classify_words(words, thresholds)


@settings(max_examples=10)
@given(seed=st.integers(0, 2**32), count=st.integers(2000, 5000))
def test_long_stretches_are_classified_alike(seed, count):
    words = np.random.default_rng(seed).integers(0, 2**32, count, np.uint32)
    classes = np.empty(count, np.uint8)

    classify_words(words, np.array([2**30, 2**31, 3 * 2**30], np.uint32), classes)

    assert classes.tolist() == reference_classify_words(words.tolist(), [2**30, 2**31, 3 * 2**30])


@given(data=st.data(), bits=widths)
def test_packing_writes_the_first_setting_into_the_highest_bits(data, bits):
    prepared = data.draw(st.lists(st.integers(0, 2**bits - 1), max_size=50))
    packed = np.empty(-(-len(prepared) * bits // 8), np.uint8)

    pack_settings(np.array(prepared, np.uint8), bits, packed)

    assert packed.tobytes() == reference_pack_settings(prepared, bits)


@given(data=st.data(), packed=packed_bytes, bits=widths)
def test_unpacking_reads_any_stretch(data, packed, bits):
    first = data.draw(st.integers(0, len(packed) * 8 // bits))
    count = data.draw(st.integers(0, len(packed) * 8 // bits - first))
    found = np.empty(count, np.uint8)

    unpack_settings(np.frombuffer(packed, np.uint8), bits, first, found)

    assert found.tolist() == reference_unpack_settings(packed, bits, first, count)


@given(data=st.data(), packed=packed_bytes, bits=widths)
def test_gathering_reads_any_places(data, packed, bits):
    index = data.draw(st.lists(st.integers(0, len(packed) * 8 // bits - 1), max_size=30))
    found = np.empty(len(index), np.uint8)

    gather_settings(np.frombuffer(packed, np.uint8), bits, np.array(index, np.int64), found)

    assert found.tolist() == reference_gather_settings(packed, bits, index)
