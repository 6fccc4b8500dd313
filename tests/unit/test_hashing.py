"""Hashing and amplification: their edges, their lengths, and large blocks against a transform."""

import numpy as np
import pytest

from common.bits import Bits
from common.errors import LocalProtocolError
from common.kernels.carry_less import lanes_for
from common.kernels.polynomial_hash import PolynomialHash, polynomial_hash
from common.kernels.toeplitz import modified_toeplitz_hash, toeplitz_hash
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


@pytest.mark.parametrize(
    ("count_bits", "count_out", "words", "seed_words"),
    [(0, 0, 0, 0), (64, 65, 1, 1), (64, -1, 1, 1), (64, 10, 2, 1), (64, 10, 1, 0), (64, 10, 1, 2)],
)
def test_lengths_that_do_not_fit_an_amplification_are_refused(count_bits, count_out, words, seed_words):
    with pytest.raises(LocalProtocolError):
        modified_toeplitz_hash(np.zeros(words, np.uint64), count_bits, np.zeros(seed_words, np.uint64), count_out)


@pytest.mark.parametrize(("count_bits", "count_out"), [(20_000_000, 6_000_003), (5_000_001, 5_000_000)])
def test_bits_of_a_very_long_output_are_parities_of_their_rows(count_bits, count_out):
    rng = np.random.default_rng(count_out)
    flags, seed = (rng.integers(0, 2, count).astype(np.uint8) for count in (count_bits, count_bits + count_out - 1))
    got = Bits(toeplitz_hash(Bits.from_flags(flags).words, count_bits, Bits.from_flags(seed).words, count_out), count_out).to_flags()

    for i in np.linspace(0, count_out - 1, 9).astype(int):
        assert got[i] == np.bitwise_xor.reduce(flags[::-1] & seed[i : i + count_bits])


def test_two_inputs_collide_for_no_more_than_one_seed_in_two_to_the_power_of_the_output():
    count_bits, count_out = 7, 3
    seeds = [np.array([seed], np.uint64) for seed in range(2 ** (count_bits - 1))]
    for difference in range(1, 2**count_bits):  # the hash is linear: two inputs collide where their sum hashes to zero
        word = np.array([difference], np.uint64)
        collisions = sum(not modified_toeplitz_hash(word, count_bits, seed, count_out)[0] for seed in seeds)
        assert collisions == (0 if difference < 2**count_out else len(seeds) // 2**count_out)


def test_no_output_is_asked_and_none_comes():
    assert toeplitz_hash(np.ones(1, np.uint64), 64, np.zeros(1, np.uint64), 0).size == 0


@pytest.mark.parametrize(("count_bits", "count_out"), [(1_000_000, 500_000), (1_000_001, 999_999), (300_000, 1)])
def test_a_large_block_gives_the_bits_of_the_transform(count_bits, count_out):
    rng = np.random.default_rng(count_out)
    flags, seed = (rng.integers(0, 2, count).astype(np.uint8) for count in (count_bits, count_bits + count_out - 1))
    got = toeplitz_hash(Bits.from_flags(flags).words, count_bits, Bits.from_flags(seed).words, count_out)

    assert np.array_equal(Bits(got, count_out).to_flags(), hash_by_fft(flags, seed, count_out))
