"""Carry-less multiplication of 64-bit words: polynomials over GF(2), the arithmetic under hashing and amplification.

Where the processor multiplies without carries (x86 ``PCLMULQDQ``, and ``VPCLMULQDQ`` on 256 or 512 bits), two intrinsics emit that
instruction; everywhere else an exact portable path does the same with integer multiplications. Which one exists is found once, at
import, from the features Numba compiles for. Callers are ``polynomial_hash`` and ``toeplitz``; both pass the choice on as an
argument, so that tests run both paths.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from typing import Any, TypeAlias, cast

import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.core import cgutils, config
from numba.extending import intrinsic
from numpy.typing import NDArray

from common.kernels.jit import kernel

_I8, _I32, _I64 = ir.IntType(8), ir.IntType(32), ir.IntType(64)
_Product: TypeAlias = Callable[[np.uint64, np.uint64], tuple[np.uint64, np.uint64]]
_Products: TypeAlias = Callable[[NDArray[np.uint64], int, NDArray[np.uint64], int, int, NDArray[np.uint64], int], None]

_INSTRUCTIONS = {2: "llvm.x86.pclmulqdq", 4: "llvm.x86.pclmulqdq.256", 8: "llvm.x86.pclmulqdq.512"}
"""LLVM's names of the instruction by 64-bit lanes of its registers."""

UNROLLED_VECTORS = 4
"""Registers of products kept live at once: eight accumulators hide the latency of the multiplier (4 cycles at 1 or 2 a cycle)."""

BLOCK_WORDS = 8 * UNROLLED_VECTORS
"""``multiply_toeplitz_base`` works on multiples of this many words, whatever the register width."""


def _compiled_features() -> dict[str, bool]:
    """Return the features Numba compiles for: the host's, unless the environment names others."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return {}
    chosen = getattr(config, "CPU_FEATURES", None)  # numba.core.config sets its names at run time
    if chosen is not None:
        return {feature[1:]: feature[0] == "+" for feature in chosen.split(",") if feature}
    if getattr(config, "CPU_NAME", None) not in (None, "host"):
        return {}  # an explicit processor without features: nothing is known, so nothing is assumed
    return dict(binding.get_host_cpu_features())


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


LANES = lanes_for(_compiled_features())
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


@kernel
def multiply_toeplitz_portable(
    diagonals: NDArray[np.uint64],
    diagonals_start: int,
    vector: NDArray[np.uint64],
    vector_start: int,
    count: int,
    products: NDArray[np.uint64],
    products_start: int,
) -> None:
    """Multiply a square Toeplitz matrix of words by a vector of words, without the instruction and without reduction.

    ``c[k] = XOR over b of diagonals[k - b + count - 1] (x) vector[b]``, written as two words a product in natural order:
    the layout of two lanes.

    Parameters
    ----------
    diagonals : uint64[>= diagonals_start + 2 count - 1]
        Diagonals of the matrix, the top right corner first.
    diagonals_start, vector_start, products_start : int
        Where each operand begins.
    vector : uint64[>= vector_start + count]
        The vector.
    count : int
        Size of the matrix, a multiple of ``BLOCK_WORDS``.
    products : uint64[>= products_start + 2 count]
        Written: low and high halves.
    """
    for k in range(count):
        low = np.uint64(0)
        high = np.uint64(0)
        for b in range(count):
            product = multiply_portable(diagonals[diagonals_start + k - b + count - 1], vector[vector_start + b])
            low ^= product[0]
            high ^= product[1]
        products[products_start + 2 * k] = low
        products[products_start + 2 * k + 1] = high


def _multiply_toeplitz_instruction(  # Numba types the call by this parameter list
    _typing_context: Any, _diagonals: Any, _from: Any, _vector: Any, _at: Any, _count: Any, _products: Any, _to: Any
) -> tuple[Any, Any]:
    words = types.Array(types.uint64, 1, "C")
    signature = types.void(words, types.int64, words, types.int64, types.int64, words, types.int64)
    return signature, _generate_toeplitz


def _generate_toeplitz(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """Emit ``UNROLLED_VECTORS * LANES`` rows at a time: load diagonals, multiply by one broadcast word, sum even and odd lanes apart."""
    vector_type = ir.VectorType(_I64, LANES)
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(vector_type, [vector_type, vector_type, _I8]), _INSTRUCTIONS[LANES]
    )
    count = arguments[4]

    def pointer(array: int, start: Any) -> Any:
        data = context.make_array(signature.args[array])(context, builder, arguments[array]).data
        return builder.gep(data, [start])

    diagonals, vector, products = (pointer(array, arguments[array + 1]) for array in (0, 2, 5))
    zero = ir.Constant(vector_type, [0] * LANES)
    lane_zero = ir.Constant(ir.VectorType(_I32, LANES), [0] * LANES)
    step = ir.Constant(_I64, UNROLLED_VECTORS * LANES)
    accumulators = [cgutils.alloca_once(builder, vector_type) for _ in range(2 * UNROLLED_VECTORS)]

    def at(base: Any, index: Any) -> Any:
        return builder.bitcast(builder.gep(base, [index]), vector_type.as_pointer())

    with cgutils.for_range_slice(builder, ir.Constant(_I64, 0), count, step, inc=True) as (row, _):
        for accumulator in accumulators:
            builder.store(zero, accumulator)
        with cgutils.for_range(builder, count) as column:
            word = builder.insert_element(zero, builder.load(builder.gep(vector, [column.index])), ir.Constant(_I32, 0))
            broadcast = builder.shuffle_vector(word, zero, lane_zero)
            first = builder.sub(builder.add(builder.sub(row, column.index), count), ir.Constant(_I64, 1))
            for register in range(UNROLLED_VECTORS):
                loaded = builder.load(at(diagonals, builder.add(first, ir.Constant(_I64, register * LANES))), align=8)
                for odd in (0, 1):
                    accumulator = accumulators[2 * register + odd]
                    product = builder.call(function, [loaded, broadcast, ir.Constant(_I8, odd)])
                    builder.store(builder.xor(builder.load(accumulator), product), accumulator)
        for index, accumulator in enumerate(accumulators):
            place = builder.add(builder.mul(row, ir.Constant(_I64, 2)), ir.Constant(_I64, index * LANES))
            builder.store(builder.load(accumulator), at(products, place), align=8)
    return context.get_dummy_value()


multiply_toeplitz_instruction = (
    cast("_Products", intrinsic(_multiply_toeplitz_instruction)) if HAS_INSTRUCTION else multiply_toeplitz_portable
)
"""As ``multiply_toeplitz_portable`` with the widest instruction; callable inside kernels only.

Products lie in groups of ``LANES``: first the (low, high) pairs of the even ones of the group, then those of the odd ones. The
layout is linear, so sums of products may be formed before ``product_offset`` undoes it.
"""


@kernel
def product_offset(index: int, lanes: int) -> int:
    """Return where the low half of product ``index`` lies in the layout of ``lanes`` lanes; the high half follows it.

    Parameters
    ----------
    index : int
        Number of the product.
    lanes : int
        2 for the portable path, else ``LANES``.

    Returns
    -------
    int
        Offset in words.
    """
    group = index // lanes
    within = index - group * lanes
    return 2 * lanes * group + lanes * (within & 1) + (within & ~1)
