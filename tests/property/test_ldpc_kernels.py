"""LDPC kernels against a dense matrix and a decoder with plain integers: the same syndromes, posteriors and iterations."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from common.kernels.ldpc import decode_segments
from common.kernels.syndrome import add_syndromes
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


@settings(max_examples=40)
@given(
    matrix=base_matrices(lifts=(1, 3, 8, 32)),
    correction=st.lists(st.tuples(st.integers(0, 24), st.integers(0, 20)), min_size=1, max_size=5),
    qber=st.sampled_from([0.0, 0.05, 0.2, 0.5]),
    iterations=st.integers(0, 8),
    patience=st.integers(1, 8),
    seed=st.integers(0, 2**32),
)
def test_decoding_matches_the_slow_decoder_to_the_last_posterior(matrix, correction, qber, iterations, patience, seed):
    shifts, lift = matrix
    code = small_code(shifts, lift, correction=tuple(correction))
    generator = np.random.default_rng(seed)
    errors = with_errors(generator, np.zeros((2, shifts.shape[1], lift), np.uint8), qber)
    syndromes = np.zeros((2, shifts.shape[0], lift), np.uint8)
    add_syndromes(errors, code.row_starts, code.edge_columns, code.edge_shifts, syndromes)
    known = generator.choice(np.array([0, 17, 127, 8000], np.int16), errors.shape)  # punctured, payload, and known positions
    levels = np.where((known == 8000) & (errors == 1), np.int16(-8000), known)
    expected, expected_used = slow.decode_segments(
        shifts,
        lift,
        levels.reshape(2, -1),
        syndromes.reshape(2, -1),
        [f for f, _ in correction],
        [o for _, o in correction],
        iterations,
        patience,
    )

    used = np.zeros(2, np.int64)
    decode_segments(
        levels, code.row_starts, code.edge_columns, code.edge_shifts, syndromes, code.factors, code.offsets, iterations, patience, used
    )

    assert used.tolist() == expected_used
    assert levels.reshape(2, -1).tolist() == expected


@given(matrix=base_matrices(lifts=(3, 8)), seed=st.integers(0, 2**32))
def test_success_means_that_the_decision_has_the_syndrome(matrix, seed):
    shifts, lift = matrix
    code = small_code(shifts, lift)
    generator = np.random.default_rng(seed)
    syndromes = random_bits(generator, 1, shifts.shape[0], lift)  # mostly out of reach
    levels = np.full((1, shifts.shape[1], lift), 20, np.int16)

    used = np.zeros(1, np.int64)
    decode_segments(levels, code.row_starts, code.edge_columns, code.edge_shifts, syndromes, code.factors, code.offsets, 10, 5, used)

    reached = slow.add_syndromes(shifts, lift, (levels < 0).reshape(1, -1), syndromes.reshape(1, -1)).sum() == 0
    assert (used[0] > 0) <= reached
