"""Instructions every packed-bit kernel leans on.

NumPy and Numba offer neither population count nor trailing-zero count on a scalar inside a kernel. Both exist in LLVM for every
processor, so two intrinsics name them. Bits are compressed, and the places of ones listed, by the processor's own instructions where
it has them (x86 ``PEXT`` and ``VPCOMPRESSW``), and by exact portable paths everywhere else. Words come from packed bits
(``common.bits``); results stay inside the calling kernel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias, cast

import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from common.kernels.jit import compiled_features, kernel
from common.kernels.vectors import Place

_Unary = Callable[[np.uint64], np.uint64]
_Binary = Callable[[np.uint64, np.uint64], np.uint64]
_Places: TypeAlias = NDArray[np.uint16]

_COMPRESS_STEPS = 6
"""Doubling steps that move a bit by up to 63 places: log2(64)."""

_SLOW_PROCESSORS = ("bdver4", "znver1", "znver2")
"""Processors that have the instruction, but take longer for it than the portable path."""


def _count_ones(_typing_context: Any, _word: Any) -> tuple[Any, Any]:
    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.uint64(types.uint64), generate


def _count_trailing_zeros(_typing_context: Any, _word: Any) -> tuple[Any, Any]:
    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.uint64(types.uint64), generate


count_ones = cast("_Unary", intrinsic(_count_ones))
"""Set bits of a uint64, as uint64; callable inside kernels only."""

count_trailing_zeros = cast("_Unary", intrinsic(_count_trailing_zeros))
"""Zeros below the lowest set bit of a uint64, 64 for zero, as uint64; callable inside kernels only."""


@kernel
def signed(value: Any) -> int:
    """Return an array element, or a word that counts or indexes, as ``value`` in int64: kernels never mix signed and unsigned.

    Parameters
    ----------
    value : any integer type
        Below 2^63.

    Returns
    -------
    int
        The same number.
    """
    return np.int64(value)  # type: ignore[return-value]  # inside kernels int64 is what int means


@kernel
def compress_portable(word: np.uint64, mask: np.uint64) -> np.uint64:
    """Move the bits of ``word`` chosen by ``mask`` to the low end, keeping their order.

    Parameters
    ----------
    word : uint64
        Bits to choose from.
    mask : uint64
        One where a bit is kept.

    Returns
    -------
    uint64
        The kept bits at positions 0 to ``popcount(mask) - 1``, zeros above.

    References
    ----------
    H. S. Warren, Hacker's Delight, 2nd edition, section 7-4 (parallel suffix); status: exact, checked against a slow reference.
    """
    kept = word & mask
    zeros_below = ~mask << np.uint64(1)
    for step in range(_COMPRESS_STEPS):
        # Parity of the zeros below each bit: whether the bit moves by 2**step.
        parity = zeros_below ^ (zeros_below << np.uint64(1))
        parity ^= parity << np.uint64(2)
        parity ^= parity << np.uint64(4)
        parity ^= parity << np.uint64(8)
        parity ^= parity << np.uint64(16)
        parity ^= parity << np.uint64(32)
        moving = parity & mask
        distance = np.uint64(1 << step)
        mask = (mask ^ moving) | (moving >> distance)
        moved = kept & moving
        kept = (kept ^ moved) | (moved >> distance)
        zeros_below &= ~parity
    return kept


def _compress_instruction(_typing_context: Any, _word: Any, _mask: Any) -> tuple[Any, Any]:
    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        word = ir.IntType(64)
        return builder.call(
            cgutils.get_or_insert_function(builder.module, ir.FunctionType(word, [word, word]), "llvm.x86.bmi.pext.64"), arguments
        )

    return types.uint64(types.uint64, types.uint64), generate


HAS_COMPRESSION = compiled_features().get("bmi2", False) and binding.get_host_cpu_name() not in _SLOW_PROCESSORS
"""Whether ``compress_word`` is the processor's own instruction."""

compress_word = cast("_Binary", intrinsic(_compress_instruction)) if HAS_COMPRESSION else compress_portable
"""As ``compress_portable``, by the processor's instruction where ``HAS_COMPRESSION``; callable inside kernels only."""


SPARE_PLACES = 64
"""Elements behind the last that ``list_ones`` may write."""


@kernel
def list_ones_portable(word: np.uint64, base: int, places: _Places, start: int) -> None:
    """Write where the ones of ``word`` are, lowest first.

    Parameters
    ----------
    word : uint64
        Its ones are listed.
    base : int
        Added to each place, modulo 2^16.
    places : uint16[n]
        Written from ``start`` on; there are ``SPARE_PLACES`` elements from there.
    start : int
        Index of the first written.
    """
    for index in range(start, start + signed(count_ones(word))):
        places[index] = base + signed(count_trailing_zeros(word))
        word &= word - np.uint64(1)


_LANES = 32
"""Places compressed at a time: uint16 in a register of 512 bits."""


def _list_ones_instruction(_typing_context: Any, _word: Any, _base: Any, places: Any, _start: Any) -> tuple[Any, Any]:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        ones, first, _, index = arguments
        lane, vector, bits = ir.IntType(16), ir.VectorType(ir.IntType(16), _LANES), ir.IntType(_LANES)
        compress = cgutils.get_or_insert_function(
            builder.module,
            ir.FunctionType(vector, [vector, ir.VectorType(ir.IntType(1), _LANES), vector]),
            "llvm.experimental.vector.compress.v32i16",
        )
        count = cgutils.get_or_insert_function(builder.module, ir.FunctionType(bits, [bits]), "llvm.ctpop.i32")
        lonely = builder.insert_element(ir.Constant(vector, [0] * _LANES), builder.trunc(first, lane), ir.Constant(bits, 0))
        bases = builder.shuffle_vector(lonely, lonely, ir.Constant(ir.VectorType(bits, _LANES), [0] * _LANES))
        for offset in (0, _LANES):
            half = builder.trunc(builder.lshr(ones, ir.Constant(ones.type, offset)), bits)
            listed = builder.add(bases, ir.Constant(vector, list(range(offset, offset + _LANES))))
            chosen = builder.call(
                compress, [listed, builder.bitcast(half, ir.VectorType(ir.IntType(1), _LANES)), ir.Constant(vector, [0] * _LANES)]
            )
            Place(context, builder, signature, [*arguments[:3], index], 2, 3, _LANES).store(chosen)
            index = builder.add(index, builder.zext(builder.call(count, [half]), index.type))
        return context.get_dummy_value()

    return types.void(types.uint64, types.int64, places, types.int64), generate


HAS_LISTING = compiled_features().get("avx512vbmi2", False)
"""Whether ``list_ones`` is the processor's own instruction."""

list_ones = cast("Callable[[np.uint64, int, _Places, int], None]", intrinsic(_list_ones_instruction)) if HAS_LISTING else list_ones_portable
"""As ``list_ones_portable``, by the processor's instruction where ``HAS_LISTING``; callable inside kernels only. It writes
``SPARE_PLACES`` elements, whatever comes of those behind the last place."""


@kernel
def range_parity(words: np.ndarray[Any, np.dtype[np.uint64]], low: int, high: int) -> np.uint64:
    """Return the parity of bits ``low`` to ``high - 1``.

    Parameters
    ----------
    words : uint64[count_words]
        Packed bits.
    low, high : int
        Bit range, ``0 <= low < high <= 64 count_words``.

    Returns
    -------
    uint64
        0 or 1.
    """
    first = low >> 6
    last = (high - 1) >> 6
    first_mask = ~np.uint64(0) << np.uint64(low & 63)
    last_mask = ~np.uint64(0) >> np.uint64(63 - ((high - 1) & 63))
    if first == last:
        return count_ones(words[first] & first_mask & last_mask) & np.uint64(1)
    folded = (words[first] & first_mask) ^ (words[last] & last_mask)
    for index in range(first + 1, last):
        folded ^= words[index]
    return count_ones(folded) & np.uint64(1)
