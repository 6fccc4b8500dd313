"""Carry-less multiplication of 64-bit words: polynomials over GF(2), the arithmetic under hashing and amplification.

Where the processor multiplies without carries (x86 ``PCLMULQDQ``, and ``VPCLMULQDQ`` on 256 or 512 bits), that instruction is emitted;
everywhere else an exact portable path does the same with integer multiplications. Which one exists is found once, at import, from the
features Numba compiles for. Callers are ``polynomial_hash``, a product at a time, and ``binary_field``, eight at a time; both take the
choice as an argument, so that tests run every path.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, reduce
from typing import Any, TypeAlias, cast

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from common.kernels.jit import compiled_features, kernel
from common.kernels.vectors import shuffle

_I8, _I32, _I64 = ir.IntType(8), ir.IntType(32), ir.IntType(64)
_VECTOR = ir.VectorType(_I64, 8)
_Product: TypeAlias = Callable[[np.uint64, np.uint64], tuple[np.uint64, np.uint64]]

_INSTRUCTIONS = {2: "llvm.x86.pclmulqdq", 4: "llvm.x86.pclmulqdq.256", 8: "llvm.x86.pclmulqdq.512"}
"""LLVM's names of the instruction by 64-bit lanes of its registers."""

WIDTH = 8
"""Products formed at a time by ``emit_products``: the widest register, whatever the processor's are."""


def lanes_for(features: dict[str, bool]) -> int:
    """Return the widest usable register of the carry-less multiplier, in 64-bit lanes.

    Parameters
    ----------
    features : dict[str, bool]
        LLVM feature names of the processor.

    Returns
    -------
    int
        8, 4 or 2; 0 where the portable path has to serve.
    """
    if not features.get("pclmul", False):
        return 0
    if features.get("vpclmulqdq", False):
        if features.get("avx512f", False):
            return 8
        if features.get("avx2", False):
            return 4
    return 2


LANES = lanes_for(compiled_features())
"""Lanes of the carry-less multiplier of this machine; 0 = portable."""

HAS_INSTRUCTION = LANES > 0
"""Whether ``multiply_instruction`` is the processor's own; otherwise it is the portable path under another name."""


@kernel
def _multiply_low(a: np.uint64, b: np.uint64) -> np.uint64:
    # Every fourth bit of each factor: at most 16 ones meet in a sum, so carries never reach the next used bit below bit 64.
    m0 = np.uint64(0x1111111111111111)
    m1 = np.uint64(0x2222222222222222)
    m2 = np.uint64(0x4444444444444444)
    m3 = np.uint64(0x8888888888888888)
    a0, a1, a2, a3 = a & m0, a & m1, a & m2, a & m3
    b0, b1, b2, b3 = b & m0, b & m1, b & m2, b & m3
    c0 = (a0 * b0) ^ (a1 * b3) ^ (a2 * b2) ^ (a3 * b1)
    c1 = (a0 * b1) ^ (a1 * b0) ^ (a2 * b3) ^ (a3 * b2)
    c2 = (a0 * b2) ^ (a1 * b1) ^ (a2 * b0) ^ (a3 * b3)
    c3 = (a0 * b3) ^ (a1 * b2) ^ (a2 * b1) ^ (a3 * b0)
    return (c0 & m0) | (c1 & m1) | (c2 & m2) | (c3 & m3)


@kernel
def _reversed(x: np.uint64) -> np.uint64:
    x = ((x >> np.uint64(1)) & np.uint64(0x5555555555555555)) | ((x & np.uint64(0x5555555555555555)) << np.uint64(1))
    x = ((x >> np.uint64(2)) & np.uint64(0x3333333333333333)) | ((x & np.uint64(0x3333333333333333)) << np.uint64(2))
    x = ((x >> np.uint64(4)) & np.uint64(0x0F0F0F0F0F0F0F0F)) | ((x & np.uint64(0x0F0F0F0F0F0F0F0F)) << np.uint64(4))
    x = ((x >> np.uint64(8)) & np.uint64(0x00FF00FF00FF00FF)) | ((x & np.uint64(0x00FF00FF00FF00FF)) << np.uint64(8))
    x = ((x >> np.uint64(16)) & np.uint64(0x0000FFFF0000FFFF)) | ((x & np.uint64(0x0000FFFF0000FFFF)) << np.uint64(16))
    return (x >> np.uint64(32)) | (x << np.uint64(32))


@kernel
def multiply_portable(a: np.uint64, b: np.uint64) -> tuple[np.uint64, np.uint64]:
    """Multiply two polynomials over GF(2) with integer arithmetic alone, in constant time.

    Parameters
    ----------
    a, b : uint64
        Polynomials of degree at most 63, bit i the coefficient of x^i.

    Returns
    -------
    tuple[uint64, uint64]
        Low and high half of the product of degree at most 126.

    References
    ----------
    T. Pornin, BearSSL, "Constant-time GHASH" (multiplication with holes; the high half by bit reversal); status: exact.
    """
    return _multiply_low(a, b), _reversed(_multiply_low(_reversed(a), _reversed(b))) >> np.uint64(1)


def _multiply_instruction(_typing_context: Any, _a: Any, _b: Any) -> tuple[Any, Any]:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pair = ir.VectorType(_I64, 2)
        function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(pair, [pair, pair, _I8]), _INSTRUCTIONS[2])
        zero = ir.Constant(pair, [0, 0])
        factors = [builder.insert_element(zero, argument, ir.Constant(_I32, 0)) for argument in arguments]
        product = builder.call(function, [*factors, ir.Constant(_I8, 0)])
        halves = [builder.extract_element(product, ir.Constant(_I32, half)) for half in (0, 1)]
        return context.make_tuple(builder, signature.return_type, halves)

    return types.UniTuple(types.uint64, 2)(types.uint64, types.uint64), generate


multiply_instruction = cast("_Product", intrinsic(_multiply_instruction)) if HAS_INSTRUCTION else multiply_portable
"""As ``multiply_portable``, by the processor's instruction where ``HAS_INSTRUCTION``; callable inside kernels only."""


def multiplier(builder: Any, lanes: int) -> Callable[[Any, Any, int], Any]:
    """Declare the instruction; part of intrinsics.

    Parameters
    ----------
    builder : llvmlite.ir.IRBuilder
        Where instructions go.
    lanes : int
        Lanes of the instruction: 2, 4 or 8, not more than ``LANES``.

    Returns
    -------
    callable
        ``multiply(a, b, which)`` emits the products of one word of every pair of lanes: of a the low one, or for ``which & 0x01`` the high
        one; of b likewise for ``which & 0x10``.
    """
    register = ir.VectorType(_I64, lanes)
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(register, [register, register, _I8]), _INSTRUCTIONS[lanes])
    return lambda a, b, which: builder.call(function, [a, b, ir.Constant(_I8, which)])


def emit_products(builder: Any, a: Any, b: Any, lanes: int) -> tuple[Any, Any]:
    """Emit ``WIDTH`` carry-less products at a time; part of intrinsics.

    Parameters
    ----------
    builder : llvmlite.ir.IRBuilder
        Where the instructions go.
    a, b : <8 x i64>
        Polynomials of degree at most 63.
    lanes : int
        Lanes of the instruction: 2, 4 or 8, not more than ``LANES``; 0 emits integer multiplications, which every processor has.

    Returns
    -------
    tuple[<8 x i64>, <8 x i64>]
        Low and high halves of the products.
    """
    if lanes == 0:
        swap = cgutils.get_or_insert_function(builder.module, ir.FunctionType(_VECTOR, [_VECTOR]), "llvm.bitreverse.v8i64")
        reverse = partial(builder.call, swap)
        high = reverse([_emit_low(builder, reverse([a]), reverse([b]))])
        return _emit_low(builder, a, b), builder.lshr(high, ir.Constant(_VECTOR, [1] * WIDTH))
    multiply = multiplier(builder, lanes)
    lows, highs = [], []
    for first in range(0, WIDTH, lanes):
        left, right = (shuffle(builder, vector, vector, range(first, first + lanes)) for vector in (a, b))
        even, odd = (multiply(left, right, which) for which in (0x00, 0x11))
        lows.append(shuffle(builder, even, odd, [lane + lanes * half for lane in range(0, lanes, 2) for half in (0, 1)]))
        highs.append(shuffle(builder, even, odd, [lane + lanes * half for lane in range(1, lanes, 2) for half in (0, 1)]))
    return _joined(builder, lows), _joined(builder, highs)


def _joined(builder: Any, parts: list[Any]) -> Any:
    while len(parts) > 1:
        lanes = 2 * parts[0].type.count
        parts = [shuffle(builder, parts[at], parts[at + 1], range(lanes)) for at in range(0, len(parts), 2)]
    return parts[0]


def _emit_low(builder: Any, a: Any, b: Any) -> Any:
    """Emit what ``_multiply_low`` computes."""
    masks = [ir.Constant(_VECTOR, [0x1111111111111111 << shift] * WIDTH) for shift in range(4)]
    left, right = ([builder.and_(factor, mask) for mask in masks] for factor in (a, b))
    result = ir.Constant(_VECTOR, [0] * WIDTH)
    for total, mask in enumerate(masks):
        terms = [builder.mul(left[shift], right[(total - shift) & 3]) for shift in range(4)]
        result = builder.or_(result, builder.and_(reduce(builder.xor, terms), mask))
    return result
