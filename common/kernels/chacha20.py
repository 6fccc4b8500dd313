"""ChaCha20 at scattered places: one 32-bit word of the stream for each slot that was detected.

An emission record of 1e10 slots is never expanded whole; a detection needs the setting of its slot only. Sixteen blocks are
computed side by side, one a vector lane, because neighbouring detections mostly lie in different blocks. The subkey comes from
``common.expander.derive_key``, the words go to ``settings.classify_words``.

References
----------
[Bernstein2008] section 3; block counter in words 12 and 13, nonce zero; the slow reference is the library's ChaCha20.
"""

from collections.abc import Callable
from typing import Any, cast

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from common.kernels.jit import kernel

_I32 = ir.IntType(32)

LANES = 16
"""Blocks computed side by side: one 512-bit vector of 32-bit words."""

WORDS_PER_BLOCK = 16
"""32-bit words in a ChaCha20 block."""


_ROUNDS = tuple((a, *(4 * row + (a + row * shift) % 4 for row in (1, 2, 3))) for shift in (0, 1) for a in range(4))
"""Rows of the eight quarter rounds of a double round: down the columns, then down the diagonals."""


def _mix_blocks(_typing_context: Any, state: Any) -> tuple[Any, Any]:
    row = ir.VectorType(_I32, LANES)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        rotate = cgutils.get_or_insert_function(builder.module, ir.FunctionType(row, [row] * 3), f"llvm.fshl.v{LANES}i32")
        pointers = [_row_pointer(context, builder, signature.args[0], arguments[0], number, row) for number in range(WORDS_PER_BLOCK)]
        rows = [builder.load(pointer, align=4) for pointer in pointers]

        def half(one: int, other: int, mixed: int, bits: int) -> None:
            rows[one] = builder.add(rows[one], rows[other])
            turned = builder.xor(rows[mixed], rows[one])
            rows[mixed] = builder.call(rotate, [turned, turned, ir.Constant(row, [bits] * LANES)])

        for _ in range(10):
            for a, b, c, d in _ROUNDS:
                half(a, b, d, 16)
                half(c, d, b, 12)
                half(a, b, d, 8)
                half(c, d, b, 7)
        for pointer, mixed in zip(pointers, rows, strict=True):
            builder.store(mixed, pointer, align=4)
        return context.get_dummy_value()

    return types.void(state), generate


def _row_pointer(context: Any, builder: Any, kind: Any, array: Any, number: int, row: Any) -> Any:
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [ir.Constant(ir.IntType(64), number * LANES)]), row.as_pointer())


mix_blocks = cast("Callable[[NDArray[np.uint32]], None]", intrinsic(_mix_blocks))
"""Twenty rounds on uint32[16, LANES], contiguous, in every lane at once; callable inside kernels only. The rows stay in vector registers
where there are enough of them: written out in Python they went through memory, which took eight times as long."""


@kernel
def _first_state(subkey: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """State before the rounds in every lane, block counters still zero: uint32[16, LANES]."""
    start = np.zeros((WORDS_PER_BLOCK, LANES), np.uint32)
    for lane in range(LANES):
        start[0, lane], start[1, lane], start[2, lane], start[3, lane] = (
            0x61707865,
            0x3320646E,
            0x79622D32,
            0x6B206574,
        )  # "expand 32-byte k"
        for row in range(8):
            start[4 + row, lane] = subkey[row]
    return start


@kernel
def chacha20_words(subkey: NDArray[np.uint32], index: NDArray[np.int64], words: NDArray[np.uint32]) -> None:
    """Write the stream's 32-bit words at scattered places.

    Places that follow each other in one block share its computation: ascending places of a fast link cost a fraction of a block each.

    Parameters
    ----------
    subkey : uint32[8]
        The key as little-endian words.
    index : int64[n]
        Places, 0 or more, in any order: word i is bytes 4 i to 4 i + 3 of the stream.
    words : uint32[n]
        Written.
    """
    start = _first_state(subkey)
    state = np.empty((WORDS_PER_BLOCK, LANES), np.uint32)
    first = 0
    while first < index.size:
        end = first
        lane = np.int64(-1)
        block = np.int64(-1)
        while end < index.size:  # as many places as lie in the blocks of all lanes; no branch on what cannot be foretold
            lane += np.int64(index[end] >> 4 != block)
            if lane == LANES:
                break
            block = index[end] >> 4
            start[12, lane] = np.uint32(block & 0xFFFFFFFF)
            start[13, lane] = np.uint32(block >> 32)
            end += 1
        state[:, :] = start
        mix_blocks(state)
        lane = np.int64(-1)
        block = np.int64(-1)
        for place in range(first, end):
            lane += np.int64(index[place] >> 4 != block)
            block = index[place] >> 4
            row = index[place] & 15
            words[place] = np.uint32(state[row, lane] + start[row, lane])
        first = end
