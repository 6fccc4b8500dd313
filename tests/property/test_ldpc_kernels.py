"""LDPC kernels against a dense matrix and a decoder with plain integers: the same syndromes, posteriors and iterations."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from common.kernels.jit import kernel
from common.kernels.lanes import REGISTER_BITS, USABLE_BITS, register_bits_for
from common.kernels.ldpc import decode_segments, doubt_of, layer_agrees_portable, level_of_sum, update_layer_portable
from common.kernels.ldpc_vectors import layer_agrees_vectors, update_layer_in
from common.kernels.syndrome import add_bits_at, add_syndromes, put_bits
from tests.reference import ldpc as slow
from tests.support.ldpc import base_matrices, random_bits, small_code, with_errors


@given(matrix=base_matrices(), segments=st.integers(0, 3), seed=st.integers(0, 2**32))
def test_syndromes_are_those_of_the_dense_matrix(matrix, segments, seed):
    shifts, lift = matrix
    code = small_code(shifts, lift)
    generator = np.random.default_rng(seed)
    words = random_bits(generator, segments, shifts.shape[1], lift)
    syndromes = random_bits(generator, segments, shifts.shape[0], lift)
    expected = slow.add_syndromes(
        shifts, lift, words.reshape(segments, shifts.shape[1] * lift), syndromes.reshape(segments, shifts.shape[0] * lift)
    )

    add_syndromes(words, code.row_starts, code.edge_columns, code.edge_shifts, syndromes)

    assert np.array_equal(syndromes.reshape(expected.shape), expected)


@given(count=st.integers(0, 40), taken=st.integers(0, 40), segments=st.integers(0, 3), seed=st.integers(0, 2**32))
def test_bits_go_to_their_positions_and_are_added_from_there(count, taken, segments, seed):
    generator = np.random.default_rng(seed)
    positions = generator.permutation(count)[:taken].astype(np.int64)
    words, bits = random_bits(generator, segments, count), random_bits(generator, segments, positions.size)
    chosen = random_bits(generator, segments) == 1
    lists = words.tolist(), positions.tolist(), bits.tolist()
    expected, sums = slow.put_bits(*lists), slow.add_bits_at(lists[2], lists[0], lists[1], chosen.tolist())

    add_bits_at(added := bits.copy(), words, positions, chosen)
    put_bits(words, positions, bits)

    assert words.tolist() == expected
    assert added.tolist() == sums


WAYS = [False, pytest.param(True, marks=pytest.mark.skipif(not REGISTER_BITS, reason="this processor has no look-up in registers"))]
"""Plain loops, and vectors where the processor has them."""

RULES = pytest.mark.parametrize("fine", [False, True], ids=["coarse", "fine"])


def decoded(code, levels, syndromes, iterations, patience, fine, use_vectors):
    """Errors and iterations used, from levels that may differ in every segment and position."""
    known = np.arange(levels[0].size)
    errors, used = np.full(levels.shape, 9, np.uint8), np.zeros(len(levels), np.int64)
    shape = code.row_starts, code.edge_columns, code.edge_shifts
    known_levels = levels.reshape(len(levels), -1)
    unused = np.zeros(levels.shape[1:], np.int16)
    decode_segments(unused, known, known_levels, *shape, syndromes, iterations, patience, fine, use_vectors, errors, used)
    return errors, used


def simulated(matrix, qber, seed):
    """A code, and levels and syndromes of two segments with unknown, payload and known positions."""
    shifts, lift = matrix
    code = small_code(shifts, lift)
    generator = np.random.default_rng(seed)
    errors = with_errors(generator, np.zeros((2, shifts.shape[1], lift), np.uint8), qber)
    syndromes = np.zeros((2, shifts.shape[0], lift), np.uint8)
    add_syndromes(errors, code.row_starts, code.edge_columns, code.edge_shifts, syndromes)
    levels = generator.choice(np.array([0, 17, 63, 8000], np.int16), errors.shape)
    return code, np.where((levels == 8000) & (errors == 1), np.int16(-8000), levels), syndromes


@RULES
@pytest.mark.parametrize("use_vectors", WAYS)
@settings(max_examples=15)
@given(
    matrix=base_matrices(lifts=(1, 3, 8, 64)),
    qber=st.sampled_from([0.0, 0.05, 0.2, 0.5]),
    iterations=st.integers(0, 6),
    patience=st.integers(1, 6),
    seed=st.integers(0, 2**32),
)
def test_decoding_matches_the_slow_decoder(use_vectors, fine, matrix, qber, iterations, patience, seed):
    code, levels, syndromes = simulated(matrix, qber, seed)
    expected, expected_used = slow.decode_segments(
        code.shifts, code.lift, levels.reshape(2, -1), syndromes.reshape(2, -1), iterations, patience, fine
    )

    errors, used = decoded(code, levels, syndromes, iterations, patience, fine, use_vectors)

    assert used.tolist() == expected_used
    assert np.array_equal(errors.reshape(2, -1), np.array(expected) < 0)


def layer_in_registers_of(bits, fine):
    update_layer = update_layer_in(bits, fine)

    @njit(nogil=True)  # not kept: the cache would not see which width was meant
    def layer_in_registers(posteriors, messages, work, syndrome, edge_columns, edge_shifts, first, last):
        return update_layer(posteriors, messages, work, syndrome, edge_columns, edge_shifts, first, last)

    return layer_in_registers


LAYERS = {(bits, fine): layer_in_registers_of(bits, fine) for bits in USABLE_BITS for fine in (False, True)}


@kernel
def agreement_in_vectors(posteriors, syndrome, edge_columns, edge_shifts, first, last):
    return layer_agrees_vectors(posteriors, syndrome, edge_columns, edge_shifts, first, last)


@RULES
@pytest.mark.parametrize("bits", USABLE_BITS)
@settings(max_examples=40)
@given(matrix=base_matrices(lifts=(64, 128, 192)), reach=st.sampled_from([3, 300, 16000]), seed=st.integers(0, 2**32))
def test_a_layer_in_vectors_is_a_layer_in_loops_to_the_last_posterior_and_message(bits, fine, matrix, reach, seed):
    shifts, lift = matrix
    code = small_code(shifts, lift)
    generator = np.random.default_rng(seed)
    front = generator.integers(-reach, reach, (shifts.shape[1], lift), np.int16)
    posteriors = np.hstack([front, front[:, :64]])
    limit = 127 if fine else 63
    messages = generator.integers(-limit, limit + 1, (code.edge_columns.size, lift)).astype(np.int8)
    work = np.zeros((5 + shifts.shape[1], 64), np.int32)
    syndrome = random_bits(generator, lift)
    ours, theirs = (posteriors.copy(), messages.copy()), (posteriors.copy(), messages.copy())
    for first, last in zip(code.row_starts[:-1], code.row_starts[1:], strict=True):
        edges = syndrome, code.edge_columns, code.edge_shifts, first, last

        count = LAYERS[bits, fine](*ours, work, *edges)

        assert count == update_layer_portable(*theirs, work, *edges, fine)
        assert all(np.array_equal(one, other) for one, other in zip(ours, theirs, strict=True))
        assert np.array_equal(ours[0][:, lift:], ours[0][:, :64])
        assert agreement_in_vectors(ours[0], *edges) == layer_agrees_portable(ours[0], *edges)
        fitting = np.array(
            [
                np.bitwise_xor.reduce(ours[0][code.edge_columns[first:last], (code.edge_shifts[first:last] + i) % lift]) < 0
                for i in range(lift)
            ]
        ).astype(np.uint8)
        assert agreement_in_vectors(ours[0], fitting, *edges[1:])
        assert layer_agrees_portable(ours[0], fitting, *edges[1:])


@RULES
@pytest.mark.parametrize("use_vectors", WAYS)
@given(matrix=base_matrices(lifts=(3, 64)), seed=st.integers(0, 2**32))
def test_success_means_that_the_decision_has_the_syndrome(use_vectors, fine, matrix, seed):
    shifts, lift = matrix
    code = small_code(shifts, lift)
    generator = np.random.default_rng(seed)
    syndromes = random_bits(generator, 1, shifts.shape[0], lift)  # mostly out of reach
    levels = np.full((1, shifts.shape[1], lift), 20, np.int16)

    errors, used = decoded(code, levels, syndromes, 10, 5, fine, use_vectors)

    reached = slow.add_syndromes(shifts, lift, errors.reshape(1, -1), syndromes.reshape(1, -1)).sum() == 0
    assert (used[0] > 0) == reached


@pytest.mark.parametrize(
    ("features", "usable"),
    [
        ({}, ()),
        ({"ssse3": True, "avx2": False}, (128,)),
        ({"ssse3": True, "avx2": True, "avx512bw": True}, (256, 128)),  # AVX-512 without permutations of bytes
        ({"ssse3": True, "avx2": True, "avx512bw": True, "avx512vbmi": True}, (512, 256, 128)),
    ],
)
def test_registers_are_used_as_wide_as_the_processor_can_shuffle_bytes(features, usable):
    assert register_bits_for(features) == usable


@RULES
def test_the_tables_of_the_decoder_are_the_functions_that_they_stand_for(fine):
    limit = 127 if fine else 63

    assert [doubt_of(level, fine) for level in range(200)] == [slow.doubt(min(level, limit), fine) for level in range(200)]
    assert [level_of_sum(total, fine) for total in range(1 << 16)] == [slow.level_of(total, fine) for total in range(1 << 16)]
