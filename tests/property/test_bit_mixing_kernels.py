"""The shuffle of whole words against its definition, and against its own table."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import LocalProtocolError
from common.kernels.bit_mixing import ROUNDS, WORD_BITS, Mixing, count_rotations, mix_words
from tests.reference import bit_mixing as slow


def mixing(rng, count_words):
    orders = [rng.permutation(count_words) for _ in range(ROUNDS + 1)]
    rotations = rng.integers(0, WORD_BITS, (ROUNDS, count_rotations(count_words)))
    return Mixing(np.array(orders, np.uint16), rotations.astype(np.uint8))


def bits_of(words):
    return np.unpackbits(words.view(np.uint8), bitorder="little").reshape(-1, WORD_BITS).tolist()


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32), count_words=st.integers(64, 200), count_behind=st.integers(0, 3))
def test_words_are_mixed_as_defined_and_as_the_table_says(seed, count_words, count_behind):
    rng = np.random.default_rng(seed)
    chosen = mixing(rng, count_words)
    source = rng.integers(0, 2**64, count_words + count_behind, dtype=np.uint64)
    target = np.zeros_like(source)
    mix_words(source, chosen.orders, chosen.rotations, np.zeros(count_words, np.uint64), target)
    bits = np.unpackbits(source[:count_words].view(np.uint8), bitorder="little")

    expected = slow.mixed(bits_of(source[:count_words]), chosen.orders.tolist(), chosen.rotations.tolist())
    assert bits_of(target[:count_words]) == expected
    assert bits[chosen.table()].reshape(-1, WORD_BITS).tolist() == expected
    assert np.array_equal(target[count_words:], source[count_words:])


@pytest.mark.parametrize(
    ("orders", "rotations"),
    [
        (np.tile(np.arange(63), (3, 1)), np.zeros((2, 64))),
        (np.tile(np.arange(64), (2, 1)), np.zeros((2, 64))),
        (np.tile(np.zeros(64), (3, 1)), np.zeros((2, 64))),
        (np.tile(np.arange(65), (3, 1)), np.zeros((2, 64))),
        (np.tile(np.arange(64), (3, 1)), np.full((2, 64), 64)),
    ],
)
def test_numbers_that_are_no_shuffle_are_refused(orders, rotations):
    with pytest.raises(LocalProtocolError, match="mixing"):
        Mixing(orders.astype(np.uint16), rotations.astype(np.uint8))
