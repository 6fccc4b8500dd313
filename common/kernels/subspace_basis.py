"""Change of basis from the powers of x to the subspace basis of ``additive_transform``, and its transpose, by exclusive-or alone.

With ``s_0 = x`` and ``s_(i+1) = s_i^2 + s_i``, element k of the subspace basis is the product of the ``s_i`` over the set bits i of k. All
coefficients are 0 or 1, so coefficients of any kind may be changed, words of packed bits in particular.

Where i is a power of two, ``y = s_i`` is ``x^R + x`` with ``R = 2^i``. A polynomial is first written in powers of y, dividing it by
``y^(2^k) = x^(R 2^k) + x^(2^k)`` for falling k: one step each. What is left is the same task twice, shorter: along y, for all powers of x
below R at once, and along x. ``toeplitz`` calls this on both of its inputs and on its result.

References
----------
[Lin2014] the basis; [Chen2017] its change; [Gao2010] the division by ``x^R + x``; status: exact.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias, cast

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from common.kernels.jit import kernel
from common.kernels.vectors import Place, shuffle

Coefficients: TypeAlias = NDArray[np.uint32] | NDArray[np.uint64]

LEAST_SIZE = 16
"""Coefficients of the shortest polynomial; the steps within so many are done in registers."""

_LOG_LEAST_SIZE = 4

_LOG_ROW = 16
"""Coefficients, as a power of two, that take all their later steps together and meanwhile stay in the processor's cache."""

_Add: TypeAlias = Callable[[Coefficients, int, int], None]
_Change: TypeAlias = Callable[[Coefficients, int], None]


def _steps(log_size: int, log_stride: int = 0) -> list[tuple[int, int]]:
    """Return the steps in order: powers of two of the half block and of the distance that the divisor's lower term moves."""
    if log_size <= 1:
        return []
    log_radix = 1 << ((log_size - 1).bit_length() - 1)
    division = [(log_stride + log_half, log_stride + log_half - log_radix) for log_half in range(log_size - 1, log_radix - 1, -1)]
    return division + _steps(log_size - log_radix, log_stride + log_radix) + _steps(log_radix, log_stride)


def _moves() -> list[tuple[int, int, int]]:
    """Return the additions of the steps within ``LEAST_SIZE`` coefficients, in order: target, source and count."""
    found = []
    for log_half, log_distance in _steps(_LOG_LEAST_SIZE):
        half, distance = 1 << log_half, 1 << log_distance
        for at in range(0, LEAST_SIZE, 2 * half):
            found += [(at + half, at + 2 * half - distance, distance), (at + distance, at + half, half - distance)]
    return found


def _add_vector(_typing_context: Any, values: Any, _target: Any, _source: Any) -> tuple[Any, Any]:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        target, source = (Place(context, builder, signature, arguments, 0, start, LEAST_SIZE) for start in (1, 2))
        target.store(builder.xor(target.load(), source.load()))
        return context.get_dummy_value()

    return types.void(values, types.int64, types.int64), generate


def _change_of(*, transposed: bool, backwards: bool) -> Callable[..., Any]:
    def typed(_typing_context: Any, values: Any, _at: Any) -> tuple[Any, Any]:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            place = Place(context, builder, signature, arguments, 0, 1, LEAST_SIZE)
            vector = place.load()
            zero = ir.Constant(vector.type, [0] * LEAST_SIZE)
            for low, high, count in reversed(_moves()) if backwards else _moves():
                target, source = (high, low) if transposed else (low, high)
                chosen = [lane - target + source if 0 <= lane - target < count else LEAST_SIZE for lane in range(LEAST_SIZE)]
                vector = builder.xor(vector, shuffle(builder, vector, zero, chosen))
            place.store(vector)
            return context.get_dummy_value()

        return types.void(values, types.int64), generate

    return typed


_add = cast("_Add", intrinsic(_add_vector))
_change = cast("_Change", intrinsic(_change_of(transposed=False, backwards=True)))
_change_inverse = cast("_Change", intrinsic(_change_of(transposed=False, backwards=False)))
_change_transposed = cast("_Change", intrinsic(_change_of(transposed=True, backwards=False)))
_change_transposed_inverse = cast("_Change", intrinsic(_change_of(transposed=True, backwards=True)))


@kernel
def _add_range(values: Coefficients, target: int, source: int, count: int) -> None:
    # The ranges are disjoint, which the compiler cannot see: whole vectors by an intrinsic, the rest one by one.
    in_vectors = count - count % LEAST_SIZE
    for i in range(0, in_vectors, LEAST_SIZE):
        _add(values, target + i, source + i)
    for i in range(in_vectors, count):
        values[target + i] ^= values[source + i]


@kernel
def _step(values: Coefficients, start: int, stop: int, log_half: int, log_distance: int, transposed: bool, backwards: bool) -> None:
    """Divide blocks of 2 h coefficients by ``x^h + x^d``: coefficient i + h is added to i + d, first where that is in the upper half."""
    half, distance = 1 << log_half, 1 << log_distance
    for at in range(start, stop, 2 * half):
        for turn in range(2):
            if (turn == 0) != backwards:
                low, high, count = at + half, at + 2 * half - distance, distance
            else:
                low, high, count = at + distance, at + half, half - distance
            if transposed:
                low, high = high, low
            _add_range(values, low, high, count)


@kernel
def _change_least(values: Coefficients, start: int, stop: int, transposed: bool, backwards: bool) -> None:
    for at in range(start, stop, LEAST_SIZE):
        if transposed and backwards:
            _change_transposed_inverse(values, at)
        elif transposed:
            _change_transposed(values, at)
        elif backwards:
            _change(values, at)
        else:
            _change_inverse(values, at)


@kernel
def change_basis_kernel(values: Coefficients, steps: NDArray[np.int64], count_whole: int, transposed: bool, inverse: bool) -> None:
    """Change the basis in place; arguments as ``change_basis`` passes them.

    Parameters
    ----------
    values : uint32[2^K] or uint64[2^K]
        Coefficients.
    steps : int64[..., 2]
        Steps of the inverse, in order.
    count_whole : int
        How many steps, from the first, are taken on the whole array; the others are taken row by row.
    transposed, inverse : bool
        Which of the four matrices.
    """
    backwards = transposed == inverse
    if not backwards:
        for step in range(count_whole):
            _step(values, 0, values.size, steps[step, 0], steps[step, 1], transposed, backwards)
    count_steps = len(steps)
    row = min(1 << _LOG_ROW, values.size)
    for start in range(0, values.size, row):
        if backwards:
            _change_least(values, start, start + row, transposed, backwards)
            for step in range(count_steps - 1, count_whole - 1, -1):
                _step(values, start, start + row, steps[step, 0], steps[step, 1], transposed, backwards)
        else:
            for step in range(count_whole, count_steps):
                _step(values, start, start + row, steps[step, 0], steps[step, 1], transposed, backwards)
            _change_least(values, start, start + row, transposed, backwards)
    if backwards:
        for step in range(count_whole - 1, -1, -1):
            _step(values, 0, values.size, steps[step, 0], steps[step, 1], transposed, backwards)


def change_basis(values: Coefficients, *, transposed: bool = False, inverse: bool = False) -> None:
    """Multiply ``values`` in place by the matrix whose columns are the subspace basis in powers of x, or by a relative of it.

    Parameters
    ----------
    values : uint32[2^K] or uint64[2^K]
        Coefficients, at least ``LEAST_SIZE``.
    transposed, inverse : bool
        Multiply by the transpose, by the inverse, or by the inverse of the transpose. The inverse leads from powers of x to the basis.

    References
    ----------
    [Chen2017]; status: exact.
    """
    steps = [step for step in _steps(values.size.bit_length() - 1) if step[0] >= _LOG_LEAST_SIZE]
    count_whole = sum(log_half >= _LOG_ROW for log_half, _ in steps)  # these come first: a row is one of the radices
    change_basis_kernel(values, np.array(steps, np.int64).reshape(-1, 2), count_whole, transposed, inverse)
