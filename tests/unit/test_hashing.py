"""Hashing and amplification: their edges, their lengths, and large blocks against a transform."""

import numpy as np
import pytest

from common.bits import Bits
from common.errors import LocalProtocolError
from common.kernels.carry_less import lanes_for
from common.kernels.polynomial_hash import PolynomialHash, polynomial_hash
from common.kernels.toeplitz import toeplitz_hash
from tests.reference.toeplitz import hash_by_fft

KEY = np.array([3, 5], np.uint64)


@pytest.mark.parametrize(
    ("features", "lanes"),
    [
        ({}, 0),
        ({"avx2": True, "vpclmulqdq": True}, 0),
        ({"pclmul": True}, 2),
        ({"pclmul": True, "vpclmulqdq": True, "avx2": True}, 4),
        ({"pclmul": True, "vpclmulqdq": True, "avx2": True, "avx512f": True}, 8),
        ({"pclmul": False, "vpclmulqdq": True, "avx512f": True}, 0),
    ],
)
def test_the_widest_multiplier_the_processor_has_is_used(features, lanes):
    assert lanes_for(features) == lanes


def test_messages_that_differ_in_trailing_zeros_hash_differently():
    hashes = {polynomial_hash(np.zeros((count + 63) // 64, np.uint64), count, KEY).tobytes() for count in range(300)}

    assert len(hashes) == 300


def test_an_empty_transcript_hashes_to_zero_and_every_byte_counts():
    hashed = PolynomialHash(KEY.tobytes())

    assert hashed.digest() == bytes(16)
    hashed.update(b"\0")
    assert hashed.count_bytes == 1
    assert hashed.digest() != bytes(16)


@pytest.mark.parametrize("key", [b"", bytes(15), bytes(17)])
def test_a_key_of_another_length_is_refused(key):
    with pytest.raises(LocalProtocolError, match="key"):
        PolynomialHash(key)


def test_words_that_do_not_fit_the_count_are_refused():
    with pytest.raises(LocalProtocolError, match="words"):
        polynomial_hash(np.zeros(2, np.uint64), 129, KEY)
    with pytest.raises(LocalProtocolError, match="key"):
        polynomial_hash(np.zeros(2, np.uint64), 128, KEY[:1])


@pytest.mark.parametrize(
    ("count_bits", "count_out", "words", "seed_words"),
    [(0, 0, 0, 0), (64, -1, 1, 1), (64, 10, 2, 2), (64, 10, 1, 1), (64, 10, 1, 3)],
)
def test_lengths_that_do_not_fit_are_refused(count_bits, count_out, words, seed_words):
    with pytest.raises(LocalProtocolError):
        toeplitz_hash(np.zeros(words, np.uint64), count_bits, np.zeros(seed_words, np.uint64), count_out)


def test_no_output_is_asked_and_none_comes():
    assert toeplitz_hash(np.ones(1, np.uint64), 64, np.zeros(1, np.uint64), 0).size == 0


@pytest.mark.parametrize(("count_bits", "count_out"), [(1_000_000, 500_000), (1_000_001, 999_999), (300_000, 1)])
def test_a_large_block_gives_the_bits_of_the_transform(count_bits, count_out):
    rng = np.random.default_rng(count_out)
    flags, seed = (rng.integers(0, 2, count).astype(np.uint8) for count in (count_bits, count_bits + count_out - 1))
    got = toeplitz_hash(Bits.from_flags(flags).words, count_bits, Bits.from_flags(seed).words, count_out)

    assert np.array_equal(Bits(got, count_out).to_flags(), hash_by_fft(flags, seed, count_out))
