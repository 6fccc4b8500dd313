"""Multiplication of long polynomials over GF(2^64) by an additive transform, and its transpose, which Toeplitz hashing needs.

The points of the transform are the first N = 2^K sums of the Cantor basis of ``binary_field``, the coefficients those of the basis of
``subspace_basis``. A polynomial is evaluated at all points by K layers of N/2 butterflies ``(a, b) -> (a + t b, a + t b + b)``: a block of
2 h coefficients is a polynomial ``a + s b``, and s takes two values on the block's points, t and t + 1. For block j of any layer t is point
2 j. Let A be the matrix of this. Multiplication by u, modulo the polynomial that vanishes on all points, is ``A^-1 diag(A u) A``.

Its transpose is ``A^T diag(A u) A^-T``. The transpose of a butterfly is its inverse with the two places exchanged, so ``A^-T`` goes through
the layers like A. Coefficients come from and go to ``toeplitz``.

References
----------
[Lin2014] the basis and its transform; [Cantor1989]; [Bostan2003] transposed algorithms; status: exact.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from common.kernels.binary_field import (
    CANTOR_BASIS,
    GROUP,
    Registers,
    evaluate_group,
    evaluate_group_transposed,
    evaluate_vectors,
    even_points,
    interpolate_group_transposed,
    interpolate_vectors,
    multiply_vectors,
    registers,
)
from common.kernels.carry_less import LANES, WIDTH
from common.kernels.jit import kernel

_Words: TypeAlias = NDArray[np.uint64]

LEAST_SIZE = GROUP
"""Coefficients of the shortest polynomial."""

_LOG_GROUP = 4

_LOG_ROW = 12
"""Coefficients, as a power of two, that take their last layers together: 32 KiB, which fit the innermost cache."""

_BASIS = np.array(CANTOR_BASIS, np.uint64)


@kernel
def _point(index: int) -> np.uint64:
    point = np.uint64(0)
    for i in range(_BASIS.size):
        if index >> i & 1:
            point ^= _BASIS[i]
    return point


@kernel
def _evaluate_row(work: _Words, start: int, log_row: int, evens: _Words, inverse_transposed: bool, choice: Registers) -> None:
    """Multiply by A, or by its inverse transposed, what of it concerns the row at ``start`` and no earlier row: largest blocks first."""
    log_half = log_row
    while start & ((2 << log_half) - 1) == 0 and start + (2 << log_half) <= work.size:
        log_half += 1
    while log_half > _LOG_GROUP:
        log_half -= 1
        half = 1 << log_half
        first_twiddle = _point(start >> log_half)
        for block in range(max(1, 1 << log_row >> (log_half + 1))):
            twiddle = first_twiddle ^ evens[block]
            low = start + 2 * half * block
            first, second = (low + half, low) if inverse_transposed else (low, low + half)
            for i in range(0, half, WIDTH):
                evaluate_vectors(work, first + i, second + i, twiddle, choice)
    t8, t4, t2, t1 = _point(start >> 3), _point(start >> 2), _point(start >> 1), _point(start)
    for group in range(1 << log_row >> _LOG_GROUP):
        at = start + GROUP * group
        e8, e4, e2, e1 = evens[group], evens[2 * group], evens[4 * group], evens[8 * group]
        if inverse_transposed:
            interpolate_group_transposed(work, at, t8 ^ e8, t4 ^ e4, t2 ^ e2, t1 ^ e1, choice)
        else:
            evaluate_group(work, at, t8 ^ e8, t4 ^ e4, t2 ^ e2, t1 ^ e1, choice)


@kernel
def _evaluate_row_transposed(work: _Words, start: int, log_row: int, evens: _Words, choice: Registers) -> None:
    """Multiply by A transposed what of it concerns the row at ``start`` and no later row: smallest blocks first."""
    t8, t4, t2, t1 = _point(start >> 3), _point(start >> 2), _point(start >> 1), _point(start)
    for group in range(1 << log_row >> _LOG_GROUP):
        e8, e4, e2, e1 = evens[group], evens[2 * group], evens[4 * group], evens[8 * group]
        evaluate_group_transposed(work, start + GROUP * group, t8 ^ e8, t4 ^ e4, t2 ^ e2, t1 ^ e1, choice)
    end = start + (1 << log_row)
    log_half = _LOG_GROUP
    while log_half < log_row or (end & ((2 << log_half) - 1) == 0 and 2 << log_half <= work.size):
        half = 1 << log_half
        count_blocks = max(1, 1 << log_row >> (log_half + 1))
        first_block = end - 2 * half * count_blocks
        first_twiddle = _point(first_block >> log_half)
        for block in range(count_blocks):
            twiddle = first_twiddle ^ evens[block]
            low = first_block + 2 * half * block
            for i in range(low, low + half, WIDTH):
                interpolate_vectors(work, i + half, i, twiddle, choice)
        log_half += 1


@kernel
def multiply_transposed_kernel(values: _Words, factor: _Words, log_row: int, evens: _Words, choice: Registers) -> None:
    """Multiply row by row, each while it is at hand; arguments as ``multiply_transposed`` passes them.

    Parameters
    ----------
    values, factor : uint64[2^K]
        Both overwritten, ``values`` with the result.
    log_row : int
        Length of a row as a power of two, from ``GROUP`` to the whole.
    evens : uint64[2^(log_row - 1)]
        Every second point.
    choice : Registers
        Which instruction multiplies.
    """
    row = 1 << log_row
    for start in range(0, values.size, row):
        _evaluate_row(values, start, log_row, evens, True, choice)
        _evaluate_row(factor, start, log_row, evens, False, choice)
        for i in range(start, start + row, WIDTH):
            multiply_vectors(values, i, factor, i, choice)
        _evaluate_row_transposed(values, start, log_row, evens, choice)


def multiply_transposed(values: _Words, factor: _Words, *, lanes: int = LANES, log_row: int = _LOG_ROW) -> None:
    """Multiply by the transpose of the matrix that multiplies by ``factor``, modulo the polynomial vanishing on the first 2^K points.

    Parameters
    ----------
    values : uint64[2^K]
        Elements of GF(2^64), at least ``LEAST_SIZE``; overwritten with the result.
    factor : uint64[2^K]
        Coefficients of the factor in the subspace basis; overwritten too.
    lanes : int
        Lanes of the carry-less multiplier: 0 (portable), 2, 4 or 8, at most ``LANES``.
    log_row : int
        Coefficients treated together, as a power of two.

    References
    ----------
    [Lin2014]; [Bostan2003]; status: exact.
    """
    log_row = min(log_row, values.size.bit_length() - 1)
    multiply_transposed_kernel(values, factor, log_row, even_points(1 << (log_row - 1)), registers(lanes))
