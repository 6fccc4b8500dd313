"""Carry-less products, the polynomial hash and Toeplitz hashing against their definitions, on both code paths."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.bits import Bits
from common.kernels.bit_operations import (
    SPARE_PLACES,
    compress_portable,
    compress_word,
    list_ones,
    list_ones_portable,
    range_parity,
    signed,
)
from common.kernels.carry_less import HAS_INSTRUCTION, LANES, multiply_instruction, multiply_portable
from common.kernels.jit import kernel
from common.kernels.polynomial_hash import GROUP_BLOCKS, PolynomialHash, absorb_blocks, absorb_groups, key_powers, polynomial_hash
from common.kernels.toeplitz import modified_toeplitz_hash, shift_bits, toeplitz_hash
from tests.reference import carry_less as slow
from tests.reference import polynomial_hash as slow_hash
from tests.reference import toeplitz as slow_toeplitz

WORDS = st.one_of(st.integers(0, 2**64 - 1), st.sampled_from([0, 1, 2**63, 2**64 - 1]))
PATHS = [
    pytest.param(False, id="portable"),
    pytest.param(True, id="instruction", marks=pytest.mark.skipif(not HAS_INSTRUCTION, reason="no carry-less multiplier")),
]

WIDTHS = [
    pytest.param(lanes, id=f"{lanes} lanes" if lanes else "portable", marks=pytest.mark.skipif(lanes > LANES, reason="no such register"))
    for lanes in (0, 2, 4, 8)
]


@kernel
def instruction_product(a, b):
    return multiply_instruction(a, b)


def draw_flags(seed, count):
    return np.random.default_rng(seed).integers(0, 2, count).astype(np.uint8)


def draw_words(seed, count):
    return np.random.default_rng(seed).integers(0, 2**64, count, dtype=np.uint64)


@given(a=WORDS, b=WORDS)
def test_both_products_of_words_are_the_product_of_polynomials(a, b):
    expected = slow.product(a, b)

    for low, high in (multiply_portable(np.uint64(a), np.uint64(b)), instruction_product(np.uint64(a), np.uint64(b))):
        assert int(low) | int(high) << 64 == expected


@kernel
def compressed_by_choice(word, mask):
    return compress_word(word, mask)


@given(word=WORDS, mask=WORDS)
def test_a_compressed_word_keeps_the_chosen_bits_in_order_however_it_is_compressed(word, mask):
    for compress in (compress_portable, compressed_by_choice):
        assert int(compress(np.uint64(word), np.uint64(mask))) == slow.compressed(word, mask)


@kernel
def listed_by_choice(word, base, places, start):
    list_ones(word, base, places, start)


@given(word=st.integers(0, 2**64 - 1) | st.integers(0, 63).map(lambda bit: 1 << bit), base=st.integers(-63, 1024), start=st.integers(0, 10))
def test_the_places_of_ones_are_listed_in_order_however_they_are_found(word, base, start):
    for listed in (list_ones_portable, listed_by_choice):
        places = np.zeros(start + SPARE_PLACES, np.uint16)
        listed(np.uint64(word), base, places, start)

        assert places[start : start + word.bit_count()].tolist() == [(base + place) % 2**16 for place in slow.ones(word)]
        assert not places[:start].any()


@given(value=st.integers(0, 2**63 - 1), kind=st.sampled_from([np.uint8, np.uint16, np.uint64, np.int32, np.int64]))
def test_a_number_is_the_same_number_signed(value, kind):
    value = min(value, int(np.iinfo(kind).max))

    assert signed(kind(value)) == slow.number(value)


@given(seed=st.integers(0, 2**32), count=st.integers(1, 300), data=st.data())
def test_a_range_parity_is_the_parity_of_its_bits(seed, count, data):
    flags = draw_flags(seed, count)
    low = data.draw(st.integers(0, count - 1))
    high = data.draw(st.integers(low + 1, count))

    assert int(range_parity(Bits.from_flags(flags).words.copy(), low, high)) == slow.parity(flags, low, high)


@settings(max_examples=10)
@given(key=st.integers(0, 2**128 - 1))
@pytest.mark.parametrize("use_instruction", PATHS)
def test_powers_of_the_key_are_powers_in_the_field(use_instruction, key):
    powers = key_powers(np.frombuffer(key.to_bytes(16, "little"), np.uint64).copy(), use_instruction)

    expected = key
    for low, high in powers[::-1]:
        assert int(low) | int(high) << 64 == expected
        expected = slow_hash.multiply(expected, key)


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32), count_blocks=st.integers(0, 20), state=st.integers(0, 2**128 - 1))
@pytest.mark.parametrize("use_instruction", PATHS)
def test_absorbing_blocks_is_horners_rule(use_instruction, seed, count_blocks, state):
    words, key = draw_words(seed, 2 * count_blocks), draw_words(seed + 1, 2)
    words.flags.writeable = False
    expected = state
    for low, high in words.reshape(-1, 2):
        expected = slow_hash.multiply(expected ^ (int(low) | int(high) << 64), int.from_bytes(key.tobytes(), "little"))
    carried = np.frombuffer(state.to_bytes(16, "little"), np.uint64).copy()
    absorb_blocks(words, key_powers(key, use_instruction), carried, use_instruction)

    assert int.from_bytes(carried.tobytes(), "little") == expected


@settings(max_examples=10)
@given(seed=st.integers(0, 2**32), groups=st.integers(0, 3), state=st.integers(0, 2**128 - 1))
@pytest.mark.parametrize("lanes", WIDTHS[1:])
def test_absorbing_groups_is_absorbing_their_blocks(lanes, seed, groups, state):
    words, powers = draw_words(seed, 2 * GROUP_BLOCKS * groups), key_powers(draw_words(seed + 1, 2), False)
    words.flags.writeable = False
    expected = np.frombuffer(state.to_bytes(16, "little"), np.uint64).copy()
    carried = expected.copy()

    absorb_groups(words, powers.ravel(), carried, (0,) * lanes)
    absorb_blocks(words, powers, expected, False)

    assert carried.tolist() == expected.tolist()


@settings(max_examples=40)
@given(seed=st.integers(0, 2**32), count=st.integers(0, 9000), key=st.binary(min_size=16, max_size=16))
@pytest.mark.parametrize("lanes", WIDTHS)
def test_the_hash_of_packed_bits_is_the_polynomial_at_the_key(lanes, seed, count, key):
    flags = draw_flags(seed, count)
    got = polynomial_hash(Bits.from_flags(flags).words, count, np.frombuffer(key, np.uint64), lanes=lanes)

    assert int.from_bytes(got.tobytes(), "little") == slow_hash.hash_of(flags, int.from_bytes(key, "little"))


@settings(max_examples=30)
@given(lengths=st.lists(st.one_of(st.integers(0, 40), st.integers(4090, 9000)), max_size=6), seed=st.integers(0, 2**32))
def test_long_pieces_hash_like_the_whole(lengths, seed):
    key, pieces = bytes(range(16)), [np.random.default_rng(seed + k).bytes(length) for k, length in enumerate(lengths)]
    hashed = PolynomialHash(key)
    for piece in pieces:
        hashed.update(piece)

    bits = Bits.from_bytes(b"".join(pieces), 8 * sum(lengths))
    assert hashed.count_bytes == sum(lengths)
    assert hashed.digest() == polynomial_hash(bits.words, bits.count, np.frombuffer(key, np.uint64), lanes=0).tobytes()


@given(pieces=st.lists(st.binary(max_size=70), max_size=6), key=st.binary(min_size=16, max_size=16))
def test_bytes_in_pieces_hash_like_the_whole(pieces, key):
    hashed = PolynomialHash(key)
    for piece in pieces:
        hashed.update(piece)
        hashed.digest()  # looking does not disturb

    whole = b"".join(pieces)
    assert hashed.digest() == slow_hash.hash_of(slow_hash.bits_of(whole), int.from_bytes(key, "little")).to_bytes(16, "little")
    bits = Bits.from_bytes(whole, 8 * len(whole))
    assert hashed.digest() == polynomial_hash(bits.words, bits.count, np.frombuffer(key, np.uint64)).tobytes()


@given(seed=st.integers(0, 2**32), count=st.integers(0, 4), start=st.integers(-150, 300), count_out=st.integers(1, 4))
def test_shifted_bits_are_the_bits_from_there_on(seed, count, start, count_out):
    words, shifted = draw_words(seed, count), np.empty(count_out, np.uint64)
    shift_bits(words, start, shifted)

    expected = slow.shifted(int.from_bytes(words.tobytes(), "little"), start) % 2 ** (64 * count_out)
    assert int.from_bytes(shifted.tobytes(), "little") == expected


@settings(max_examples=40)
@given(seed=st.integers(0, 2**32), n=st.integers(1, 400), count_out=st.integers(0, 500))
@pytest.mark.parametrize("lanes", WIDTHS)
def test_toeplitz_hashing_is_the_matrix_of_its_definition(lanes, seed, n, count_out):
    flags, seed_flags = draw_flags(seed, n), draw_flags(seed + 1, n + count_out - 1)
    got = toeplitz_hash(Bits.from_flags(flags).words, n, Bits.from_flags(seed_flags).words, count_out, lanes=lanes)

    assert list(Bits(got, count_out).to_flags()) == slow_toeplitz.hash_of(flags.tolist(), seed_flags.tolist(), count_out)


@settings(max_examples=40)
@given(seed=st.integers(0, 2**32), n=st.integers(1, 400), data=st.data())
@pytest.mark.parametrize("lanes", WIDTHS)
def test_modified_toeplitz_hashing_is_the_identity_beside_the_matrix(lanes, seed, n, data):
    count_out = data.draw(st.integers(0, n))
    flags, seed_flags = draw_flags(seed, n), draw_flags(seed + 1, n - 1)
    words, seed_words = Bits.from_flags(flags).words, Bits.from_flags(seed_flags).words
    got = modified_toeplitz_hash(words, n, seed_words, count_out, lanes=lanes)

    assert list(Bits(got, count_out).to_flags()) == slow_toeplitz.modified_hash_of(flags.tolist(), seed_flags.tolist(), count_out)


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32), n=st.integers(1, 100_000), data=st.data())
@pytest.mark.parametrize("lanes", WIDTHS)
def test_toeplitz_hashing_of_any_length_gives_the_bits_of_the_fft(lanes, seed, n, data):
    count_out = data.draw(st.integers(1, n))
    flags, seed_flags = draw_flags(seed, n), draw_flags(seed + 1, n + count_out - 1)
    got = toeplitz_hash(Bits.from_flags(flags).words, n, Bits.from_flags(seed_flags).words, count_out, lanes=lanes)

    assert np.array_equal(Bits(got, count_out).to_flags(), slow_toeplitz.hash_by_fft(flags, seed_flags, count_out))
