"""The field GF(2^64), eight elements at a time, and the steps that an additive transform takes in it.

An element is a word: a polynomial over GF(2) modulo ``x^64 + x^4 + x^3 + x + 1``. The points of the transform are the sums of a Cantor
basis: ``v_0 = 1`` and ``v_i^2 + v_i = v_(i-1)``; point k is the sum of the ``v_i`` over the set bits i of k. The intrinsics work on
vectors of ``WIDTH`` words in memory and are called by the kernels of ``additive_transform``. Their last argument, made by ``registers``,
says by its type which instruction multiplies, so that every choice is compiled apart, and only where it is used.

References
----------
[Cantor1989] the basis; [Gao2010] additive transforms with it; status: exact.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any, TypeAlias, cast

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from common.kernels.carry_less import WIDTH, emit_products
from common.kernels.vectors import Place, shuffle

Registers: TypeAlias = tuple[int, ...]
_Emitter: TypeAlias = Callable[[Any, Any, Any, Any, int], tuple[Any, Any]]
_Words: TypeAlias = NDArray[np.uint64]
_Step: TypeAlias = Callable[[_Words, int, int, np.uint64, Registers], None]
_GroupStep: TypeAlias = Callable[[_Words, int, np.uint64, np.uint64, np.uint64, np.uint64, Registers], None]
_Multiplication: TypeAlias = Callable[[_Words, int, _Words, int, Registers], None]

_VECTOR = ir.VectorType(ir.IntType(64), WIDTH)
_WORDS = types.Array(types.uint64, 1, "C")

_LAST_BASIS_ELEMENT = 1 << 61
"""v_63: any element of trace 1 serves, for ``v^2 + v`` taken 63 times of it is 1. x^61 is the lowest power of x that has."""

GROUP = 2 * WIDTH
"""Elements of the smallest block: its last layers are done within two registers."""


def _squared(element: int) -> int:
    """Return the square: a zero between any two bits, and x^64 replaced by x^4 + x^3 + x + 1."""
    spread = int(f"{element:b}", 4)
    for _ in range(2):
        high = spread >> 64
        spread = (spread & (1 << 64) - 1) ^ high ^ high << 1 ^ high << 3 ^ high << 4
    return spread


def _cantor_basis() -> tuple[int, ...]:
    basis = [_LAST_BASIS_ELEMENT]
    while len(basis) < 64:
        basis.append(_squared(basis[-1]) ^ basis[-1])
    return tuple(reversed(basis))


CANTOR_BASIS = _cantor_basis()
"""v_0 to v_63; the first 2^k of them span the subfield GF(2^(2^k))."""


def even_points(count: int) -> _Words:
    """Return every second point, from point 0 on.

    Parameters
    ----------
    count : int
        How many, a power of two.

    Returns
    -------
    uint64[count]
        Element j is point 2 j.
    """
    points = np.zeros(1, np.uint64)
    for element in CANTOR_BASIS[1 : count.bit_length()]:
        points = np.concatenate([points, points ^ np.uint64(element)])
    return points


def registers(lanes: int) -> Registers:
    """Return what tells the intrinsics, by its type, to multiply by the instruction of ``lanes`` lanes, or without one for 0."""
    return (0,) * lanes


def _broadcast(builder: Any, word: Any) -> Any:
    vector = builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), word, ir.Constant(ir.IntType(32), 0))
    return shuffle(builder, vector, vector, [0] * WIDTH)


def _product(builder: Any, a: Any, b: Any, lanes: int) -> Any:
    """Emit products in the field: the high half h counts as ``h (x^4 + x^3 + x + 1)``, what that carries over once more."""

    def shifted(shift: Callable[[Any, Any], Any], vector: Any, *distances: int) -> list[Any]:
        return [shift(vector, ir.Constant(_VECTOR, [distance] * WIDTH)) for distance in distances]

    low, high = emit_products(builder, a, b, lanes)
    carried = reduce(builder.xor, shifted(builder.lshr, high, 60, 61, 63), high)
    return reduce(builder.xor, shifted(builder.shl, carried, 1, 3, 4), builder.xor(low, carried))


def _evaluated(builder: Any, first: Any, second: Any, twiddle: Any, lanes: int) -> tuple[Any, Any]:
    first = builder.xor(first, _product(builder, second, twiddle, lanes))
    return first, builder.xor(first, second)


def _interpolated(builder: Any, first: Any, second: Any, twiddle: Any, lanes: int) -> tuple[Any, Any]:
    second = builder.xor(first, second)
    return builder.xor(first, _product(builder, second, twiddle, lanes)), second


def _exchanged(step: _Emitter) -> _Emitter:
    def exchanged(builder: Any, first: Any, second: Any, twiddle: Any, lanes: int) -> tuple[Any, Any]:
        second, first = step(builder, second, first, twiddle, lanes)
        return first, second

    return exchanged


def _swapped(builder: Any, low: Any, high: Any, lane_bit: int) -> tuple[Any, Any]:
    """Exchange the elements of ``low`` in lanes with the bit set and those of ``high`` in lanes without: its own inverse."""
    kept = [lane + WIDTH - lane_bit if lane & lane_bit else lane for lane in range(WIDTH)]
    return shuffle(builder, low, high, kept), shuffle(builder, low, high, [lane + lane_bit for lane in kept])


def _butterfly_of(step: _Emitter) -> Callable[..., Any]:
    def typed(_typing_context: Any, _work: Any, _first: Any, _second: Any, _twiddle: Any, lanes: Any) -> tuple[Any, Any]:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            places = [Place(context, builder, signature, arguments, 0, start, WIDTH) for start in (1, 2)]
            first, second = (place.load() for place in places)
            for place, vector in zip(places, step(builder, first, second, _broadcast(builder, arguments[3]), len(lanes)), strict=True):
                place.store(vector)
            return context.get_dummy_value()

        return types.void(_WORDS, types.int64, types.int64, types.uint64, lanes), generate

    return typed


_LANE_POINTS = {bit: even_points(WIDTH)[np.arange(WIDTH) // bit].tolist() for bit in (1, 2, 4)}
"""What the twiddles of a group's last three layers differ by from lane to lane, after ``_swapped`` by that bit."""


def _group_of(step: _Emitter, *, smallest_first: bool) -> Callable[..., Any]:
    def typed(_typing_context: Any, _work: Any, _at: Any, _t8: Any, _t4: Any, _t2: Any, _t1: Any, lanes: Any) -> tuple[Any, Any]:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            place = Place(context, builder, signature, arguments, 0, 1, GROUP)
            group = place.load()
            low, high = (shuffle(builder, group, group, range(first, first + WIDTH)) for first in (0, WIDTH))
            twiddles = {bit: _broadcast(builder, word) for bit, word in zip((8, 4, 2, 1), arguments[2:6], strict=True)}
            for bit, points in _LANE_POINTS.items():
                twiddles[bit] = builder.xor(twiddles[bit], ir.Constant(_VECTOR, points))
            if smallest_first:
                for bit in _LANE_POINTS:
                    low, high = _swapped(builder, *step(builder, low, high, twiddles[bit], len(lanes)), bit)
            low, high = step(builder, low, high, twiddles[WIDTH], len(lanes))
            if not smallest_first:
                for bit in reversed(_LANE_POINTS):
                    low, high = step(builder, *_swapped(builder, low, high, bit), twiddles[bit], len(lanes))
            place.store(shuffle(builder, low, high, range(GROUP)))
            return context.get_dummy_value()

        return types.void(_WORDS, types.int64, *[types.uint64] * 4, lanes), generate

    return typed


def _multiply_vectors(_typing_context: Any, _target: Any, _at: Any, _factors: Any, _from: Any, lanes: Any) -> tuple[Any, Any]:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        target, factors = (Place(context, builder, signature, arguments, array, array + 1, WIDTH) for array in (0, 2))
        target.store(_product(builder, target.load(), factors.load(), len(lanes)))
        return context.get_dummy_value()

    return types.void(_WORDS, types.int64, _WORDS, types.int64, lanes), generate


evaluate_vectors = cast("_Step", intrinsic(_butterfly_of(_evaluated)))
"""``(work, first, second, t, registers)``: replace the vectors a and b at ``first`` and ``second`` by a + t b and a + t b + b."""

interpolate_vectors = cast("_Step", intrinsic(_butterfly_of(_interpolated)))
"""As ``evaluate_vectors``, undone. With the places exchanged it is the transpose of ``evaluate_vectors``, and the other way round."""

evaluate_group = cast("_GroupStep", intrinsic(_group_of(_evaluated, smallest_first=False)))
"""``(work, at, t8, t4, t2, t1, registers)``: the last four layers of the ``GROUP`` elements at ``at``, by distance of the pairs.

The twiddles are those of each layer's first pair. The values come out in another order than that of the points, in the same one for
all groups and steps, and a product of values does not mind.
"""

interpolate_group_transposed = cast("_GroupStep", intrinsic(_group_of(_exchanged(_evaluated), smallest_first=False)))
"""As ``evaluate_group``, inverted and transposed."""

evaluate_group_transposed = cast("_GroupStep", intrinsic(_group_of(_exchanged(_interpolated), smallest_first=True)))
"""As ``evaluate_group``, transposed: from values in its order to coefficients."""

multiply_vectors = cast("_Multiplication", intrinsic(_multiply_vectors))
"""``(target, at, factors, start, registers)``: multiply the vector at ``at`` by the one at ``start`` of ``factors``."""
