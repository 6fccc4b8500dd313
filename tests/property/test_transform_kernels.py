"""The additive transform, the change of its basis and its field, against their definitions, for every register width there is."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.kernels.additive_transform import multiply_transposed
from common.kernels.binary_field import CANTOR_BASIS, even_points, multiply_vectors, registers
from common.kernels.jit import kernel
from common.kernels.subspace_basis import change_basis
from tests.property.test_hashing_kernels import WIDTHS, WORDS, draw_words
from tests.reference import additive_transform as slow


@kernel
def vector_product(target, factor, choice):
    multiply_vectors(target, 0, factor, 0, choice)


def test_the_points_are_sums_of_a_cantor_basis():
    assert CANTOR_BASIS[0] == 1
    assert all(slow.field_product(after, after) ^ after == before for before, after in pairwise(CANTOR_BASIS))
    sums = [0]
    for element in CANTOR_BASIS[:6]:
        sums += [point ^ element for point in sums]
    assert even_points(32).tolist() == sums[::2]
    assert even_points(1).tolist() == [0]


@given(a=st.lists(WORDS, min_size=8, max_size=8), b=st.lists(WORDS, min_size=8, max_size=8))
@pytest.mark.parametrize("lanes", WIDTHS)
def test_a_product_of_vectors_is_the_product_in_the_field(lanes, a, b):
    target = np.array(a, np.uint64)
    vector_product(target, np.array(b, np.uint64), registers(lanes))

    assert target.tolist() == [slow.field_product(x, y) for x, y in zip(a, b, strict=True)]


@settings(max_examples=10)
@given(seed=st.integers(0, 2**32), log_size=st.integers(4, 8))
@pytest.mark.parametrize("dtype", [np.uint32, np.uint64])
@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("transposed", [False, True])
def test_a_change_of_basis_is_the_matrix_of_its_definition(transposed, inverse, dtype, seed, log_size):
    matrix = np.array(slow.matrix(log_size)).T if transposed else np.array(slow.matrix(log_size))
    words = draw_words(seed, 1 << log_size).astype(dtype)
    changed = words.copy()
    change_basis(changed, transposed=transposed, inverse=inverse)

    before, after = (changed, words) if inverse else (words, changed)
    assert after.tolist() == [int(np.bitwise_xor.reduce(before[row == 1])) for row in matrix]


@settings(max_examples=5)
@given(seed=st.integers(0, 2**32), log_size=st.integers(16, 18))
@pytest.mark.parametrize("transposed", [False, True])
def test_a_change_of_basis_beyond_a_row_is_undone_by_its_inverse_and_agrees_with_its_transpose(transposed, seed, log_size):
    words, others = draw_words(seed, 1 << log_size).astype(np.uint32), draw_words(seed + 1, 1 << log_size).astype(np.uint32)
    changed, pulled = words.copy(), others.copy()
    change_basis(changed, transposed=transposed)
    change_basis(pulled, transposed=not transposed)

    assert np.bitwise_xor.reduce(changed & others) == np.bitwise_xor.reduce(words & pulled)
    change_basis(changed, transposed=transposed, inverse=True)
    assert np.array_equal(changed, words)


@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 2**32), log_size=st.integers(4, 6), log_row=st.integers(4, 6))
@pytest.mark.parametrize("lanes", WIDTHS)
def test_a_transposed_multiplication_is_the_transpose_of_multiplying_polynomials(lanes, seed, log_size, log_row):
    values, factor = draw_words(seed, 1 << log_size), draw_words(seed + 1, 1 << log_size)
    expected = slow.transposed_product(factor.tolist(), values.tolist())
    multiply_transposed(values, factor, lanes=lanes, log_row=log_row)

    assert values.tolist() == expected


@settings(max_examples=3, deadline=None)
@given(seed=st.integers(0, 2**32), log_row=st.integers(4, 9))
@pytest.mark.parametrize("lanes", WIDTHS)
def test_rows_of_any_length_and_registers_of_any_width_give_the_same(lanes, seed, log_row):
    values, factor = draw_words(seed, 1 << 13), draw_words(seed + 1, 1 << 13)
    again, factor_again = values.copy(), factor.copy()
    multiply_transposed(values, factor)
    multiply_transposed(again, factor_again, lanes=lanes, log_row=log_row)

    assert np.array_equal(values, again)
