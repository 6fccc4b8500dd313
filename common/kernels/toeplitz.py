"""Toeplitz hashing: privacy amplification, exact for every length.

Output bit i is the parity of ``T[i][j] x[j]`` over j, with ``T[i][j] = seed[i - j + n - 1]``: a window of the product of two
polynomials over GF(2).
Words of 64 bits turn it into a Toeplitz matrix of carry-less products, cut into square blocks; Karatsuba's trick for Toeplitz
matrices halves a block until the base case, where the processor multiplies. Everything is integer arithmetic, so nothing is rounded.
The verified key and the seed come from ``distillation.amplification``; the secret key goes back there.

References
----------
[Krawczyk1994] LFSR-based hashing and authentication (Toeplitz families); [Hayashi2016] M. Hayashi, T. Tsurumaru, seed lengths;
[Hasan2013] M. A. Hasan, C. Negre, Toeplitz matrix-vector product by Karatsuba; status: rigorous (universal_2), exact.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from common.bits import count_words
from common.errors import LocalProtocolError
from common.kernels.carry_less import (
    BLOCK_WORDS,
    HAS_INSTRUCTION,
    LANES,
    multiply_instruction,
    multiply_portable,
    multiply_toeplitz_instruction,
    multiply_toeplitz_portable,
    product_offset,
)
from common.kernels.jit import kernel

_Words: TypeAlias = NDArray[np.uint64]

_BASE_SIZES = (BLOCK_WORDS, 2 * BLOCK_WORDS, 3 * BLOCK_WORDS, 4 * BLOCK_WORDS)
"""Sizes of the base case in words; beyond, Karatsuba always wins."""

_BASE_SETUP = 300
"""Fixed work of a base case, in multiplications (measured at about 40 ns)."""

_ADDITIONS = 3
"""Additions of one halving of a block of h words, in multiplications per word of the half (9 h word operations, vectorised)."""

_PORTABLE_LANES = 2


@kernel
def _seed_word(seed: _Words, start_bit: int) -> np.uint64:
    # 64 bits of the seed from start_bit on, zero outside of it: the shift that puts the wanted window on a word boundary.
    index = start_bit >> 6
    shift = start_bit & 63
    low = seed[index] if 0 <= index < seed.size else np.uint64(0)
    if shift == 0:
        return low
    high = seed[index + 1] if 0 <= index + 1 < seed.size else np.uint64(0)
    return (low >> np.uint64(shift)) | (high << np.uint64(64 - shift))


@kernel
def _add(target: _Words, left: _Words, right: _Words) -> None:
    # Slices of one array as arguments, so that indices count from zero and the loop becomes vector instructions.
    for i in range(target.size):
        target[i] = left[i] ^ right[i]


@kernel
def _multiply_block(
    work: _Words, diagonals: int, vector: int, products: int, scratch: int, size: int, halvings: int, use_instruction: bool
) -> None:
    """Multiply one square block by Karatsuba, depth first; operands are places in ``work``.

    The recursion is written out with a stack of places, because Numba's cache cannot hold a function that calls itself. A block of
    two halves of h words is ``[T1 T2; T0 T1] [v0; v1] = [P + (T1 + T2) v1; P + (T0 + T1) v0]`` with ``P = T1 (v0 + v1)``; T2, T1
    and T0 begin at diagonals 0, h and 2 h.
    """
    places = np.empty((halvings + 1, 4), np.int64)  # diagonals, vector, products, scratch of the block on each level
    steps = np.zeros(halvings + 1, np.int64)
    places[0, 0], places[0, 1], places[0, 2], places[0, 3] = diagonals, vector, products, scratch
    level = 0
    while level >= 0:
        diagonals, vector, products, scratch = places[level, 0], places[level, 1], places[level, 2], places[level, 3]
        if level == halvings:
            count = size >> level
            if use_instruction:
                multiply_toeplitz_instruction(work, diagonals, work, vector, count, work, products)
            else:
                multiply_toeplitz_portable(work, diagonals, work, vector, count, work, products)
            level -= 1
            continue
        half = size >> (level + 1)
        shared = scratch + 2 * half
        step = steps[level]
        steps[level] = (step + 1) & 3
        if step == 0:
            _add(work[scratch : scratch + half], work[vector : vector + half], work[vector + half : vector + 2 * half])
            child_diagonals, child_vector, child_products = diagonals + half, scratch, shared
        elif step == 1:
            upper, middle = work[diagonals : diagonals + 2 * half - 1], work[diagonals + half : diagonals + 3 * half - 1]
            _add(work[scratch : shared - 1], upper, middle)
            child_diagonals, child_vector, child_products = scratch, vector + half, products
        elif step == 2:
            middle, lower = work[diagonals + half : diagonals + 3 * half - 1], work[diagonals + 2 * half : diagonals + 4 * half - 1]
            _add(work[scratch : shared - 1], middle, lower)
            child_diagonals, child_vector, child_products = scratch, vector, products + 2 * half
        else:
            addend = work[shared : shared + 2 * half]
            for target in (work[products : products + 2 * half], work[products + 2 * half : products + 4 * half]):
                _add(target, target, addend)
            level -= 1
            continue
        level += 1
        places[level, 0], places[level, 1], places[level, 2] = child_diagonals, child_vector, child_products
        places[level, 3] = scratch + 4 * half


@kernel
def multiply_toeplitz(
    words: _Words, count_bits: int, seed: _Words, output: _Words, base: int, halvings: int, use_instruction: bool, lanes: int
) -> None:
    """Multiply packed bits by the Toeplitz matrix of ``seed``, in blocks of ``base 2^halvings`` words.

    Parameters
    ----------
    words : uint64[count_words(count_bits)]
        Input, n = ``count_bits`` bits, the unused rest zero.
    count_bits : int
        n, at least 1.
    seed : uint64[...]
        First row reversed, then first column: n + l - 1 bits.
    output : uint64[count_words(l)]
        Written; bits beyond l are left undefined.
    base : int
        Words of the base case, a multiple of ``BLOCK_WORDS``.
    halvings : int
        Karatsuba steps above the base case.
    use_instruction : bool
        Multiply by the processor's instruction (only where ``HAS_INSTRUCTION``).
    lanes : int
        Layout of products: ``LANES``, or 2 on the portable path.

    References
    ----------
    [Hasan2013]; status: exact.
    """
    count_columns = words.size
    size = base << halvings
    block_columns = -(-count_columns // size)
    block_rows = -(-output.size // size)
    # Output word k is the low half of product k + 1 and the high half of product k; product r sums seed word (r - b + columns - 1) x[b],
    # the seed being shifted so that output bit 0 falls on a word boundary.
    shift = 64 * count_columns - count_bits + 1
    vector = 0
    diagonals = vector + block_columns * size
    products = diagonals + (block_rows + block_columns) * size
    scratch = products + 2 * size
    work = np.zeros(scratch + 4 * size, np.uint64)
    work[:count_columns] = words
    first_word = count_columns + 1 - block_columns * size
    for i in range((block_rows + block_columns) * size):
        work[diagonals + i] = _seed_word(seed, 64 * (first_word + i) - shift)
    carried = np.uint64(0)
    for b in range(count_columns):
        word = _seed_word(seed, 64 * (count_columns - 1 - b) - shift)
        carried ^= multiply_instruction(word, words[b])[1] if use_instruction else multiply_portable(word, words[b])[1]
    total = np.empty(2 * size, np.uint64)
    for row in range(block_rows):
        total[:] = np.uint64(0)
        for column in range(block_columns):
            start = diagonals + (row + block_columns - 1 - column) * size
            _multiply_block(work, start, vector + column * size, products, scratch, size, halvings, use_instruction)
            _add(total, total, work[products : products + 2 * size])
        for k in range(min(size, output.size - row * size)):
            place = product_offset(k, lanes)
            output[row * size + k] = total[place] ^ carried
            carried = total[place + 1]


def block_shape(count_columns: int, count_rows: int) -> tuple[int, int]:
    """Choose the block that makes a product cheapest, padding included.

    Parameters
    ----------
    count_columns, count_rows : int
        Words of input and of output, each at least 1.

    Returns
    -------
    tuple[int, int]
        Words of the base case and number of halvings.
    """
    best_cost, best = 0, (0, 0)
    for base in _BASE_SIZES:
        size, halvings, cost = base, 0, base * base + _BASE_SETUP
        while True:
            total = cost * -(-count_columns // size) * -(-count_rows // size)
            if not best_cost or total < best_cost:
                best_cost, best = total, (base, halvings)
            if size >= max(count_columns, count_rows):
                break
            cost = 3 * cost + _ADDITIONS * size
            size, halvings = 2 * size, halvings + 1
    return best


def toeplitz_hash(words: _Words, count_bits: int, seed_words: _Words, count_out: int, *, use_instruction: bool = HAS_INSTRUCTION) -> _Words:
    """Compress ``count_bits`` bits to ``count_out`` bits by the Toeplitz matrix ``T[i][j] = seed[i - j + n - 1]``.

    Memory beyond the arguments: input and seed once more, padded to whole blocks, and eight times one block (see ``block_shape``).

    Parameters
    ----------
    words : uint64[count_words(count_bits)]
        Packed bits, n = ``count_bits`` at least 1, the unused rest zero.
    count_bits : int
        n, bits.
    seed_words : uint64[count_words(count_bits + count_out - 1)]
        Packed seed, n + l - 1 uniformly random bits.
    count_out : int
        l, bits, between 0 and n.
    use_instruction : bool
        Multiply by the processor's instruction; False selects the portable path.

    Returns
    -------
    uint64[count_words(count_out)]
        Packed output, the unused rest zero.

    Raises
    ------
    LocalProtocolError
        If a length is out of its range or an array does not fit its length.

    References
    ----------
    [Krawczyk1994]; [Hayashi2016]; status: rigorous (two different inputs collide with probability 2^-l).
    """
    if count_bits < 1 or not 0 <= count_out <= count_bits:
        raise LocalProtocolError(f"Toeplitz hash takes n >= 1 bits to 0 <= l <= n bits, got n = {count_bits}, l = {count_out}")
    if words.size != count_words(count_bits):
        raise LocalProtocolError(f"{count_bits} bits of input take {count_words(count_bits)} words, got {words.size}")
    if seed_words.size != count_words(count_bits + count_out - 1):
        expected = count_words(count_bits + count_out - 1)
        raise LocalProtocolError(f"a Toeplitz seed of {count_bits + count_out - 1} bits takes {expected} words, got {seed_words.size}")
    output = np.zeros(count_words(count_out), np.uint64)
    if count_out == 0:
        return output
    inputs, seed = words.view(), seed_words.view()
    inputs.flags.writeable = seed.flags.writeable = False  # one compiled form, whether the caller's bits are read-only or not
    base, halvings = block_shape(words.size, output.size)
    lanes = LANES if use_instruction else _PORTABLE_LANES
    multiply_toeplitz(inputs, count_bits, seed, output, base, halvings, use_instruction, lanes)
    if count_out & 63:
        output[-1] &= np.uint64((1 << (count_out & 63)) - 1)
    return output
