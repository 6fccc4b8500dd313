"""Toeplitz hashing: privacy amplification, exact for every length.

Output bit i is the parity of ``T[i][j] x[j]`` over j, with ``T[i][j] = seed[i - j + n - 1]``: a window of the product of two
polynomials over GF(2). In chunks of 32 bits it consists of sums of carry-less products, each of which fits an element of GF(2^64), and the
window of a product is the transpose of a shorter product: an additive transform as long as input and output together computes it, in
integer arithmetic alone, so nothing is rounded. Amplification takes the modified form, the identity beside such a matrix.
The verified key and the seed come from ``distillation.amplification``; the secret key goes back there.

References
----------
[Krawczyk1994] LFSR-based hashing and authentication (Toeplitz families); [Hayashi2016] M. Hayashi, T. Tsurumaru, shorter seeds by the
modified form; [Bostan2003] transposed multiplication; status: rigorous (universal_2), exact.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from common.bits import count_words
from common.errors import LocalProtocolError
from common.kernels.additive_transform import LEAST_SIZE, multiply_transposed
from common.kernels.carry_less import LANES
from common.kernels.jit import kernel
from common.kernels.subspace_basis import change_basis

_Words: TypeAlias = NDArray[np.uint64]


@kernel
def shift_bits(words: _Words, start_bit: int, shifted: _Words) -> None:
    """Copy bits from ``start_bit`` on, zeros where there are none.

    Parameters
    ----------
    words : uint64[...]
        Packed bits.
    start_bit : int
        First bit copied; negative where zeros come first.
    shifted : uint64[...]
        Written.
    """
    first, shift = start_bit >> 6, start_bit & 63
    for i in range(shifted.size):
        index = first + i
        word = words[index] >> np.uint64(shift) if 0 <= index < words.size else np.uint64(0)
        if shift and 0 <= index + 1 < words.size:
            word |= words[index + 1] << np.uint64(64 - shift)
        shifted[i] = word


def toeplitz_hash(words: _Words, count_bits: int, seed_words: _Words, count_out: int, *, lanes: int = LANES) -> _Words:
    """Hash ``count_bits`` bits to ``count_out`` bits by the Toeplitz matrix ``T[i][j] = seed[i - j + n - 1]``.

    Memory beyond the arguments: 20 bytes for every 32 bits of n + l, rounded up to a power of two.

    Parameters
    ----------
    words : uint64[count_words(count_bits)]
        Packed bits, n = ``count_bits`` at least 1, the unused rest zero.
    count_bits : int
        n, bits.
    seed_words : uint64[count_words(count_bits + count_out - 1)]
        Packed seed, n + l - 1 uniformly random bits.
    count_out : int
        l, bits.
    lanes : int
        Lanes of the carry-less multiplier: 0 (portable), 2, 4 or 8, at most ``LANES``.

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
    [Krawczyk1994]; status: rigorous (two different inputs collide with probability 2^-l).
    """
    if count_bits < 1 or count_out < 0:
        raise LocalProtocolError(f"Toeplitz hash takes n >= 1 bits to l >= 0 bits, got n = {count_bits}, l = {count_out}")
    _require_words(words, count_bits, "input")
    _require_words(seed_words, count_bits + count_out - 1, "seed")
    if count_out == 0:
        return np.zeros(0, np.uint64)
    # Output bit i is coefficient i + 64 w of the product, w = words.size, once the seed is moved up so that the window begins with a word.
    # Chunk r is then the low half of c[r + 1] and the high half of c[r], with c[i] = sum over j of S[i + j] u[j], u being the input from
    # its end: the transpose of multiplying by u.
    count_inputs, count_outputs = 2 * words.size, 2 * count_words(count_out)
    size = max(LEAST_SIZE, 1 << (count_inputs + count_outputs - 1).bit_length())
    inputs = np.zeros(size, np.uint32)
    inputs[:count_inputs] = words.view(np.uint32)[::-1]
    change_basis(inputs, inverse=True)
    diagonals = np.empty(size, np.uint32)
    shift_bits(seed_words, count_bits - 64 * words.size - 1, diagonals.view(np.uint64))
    change_basis(diagonals, transposed=True)
    product = diagonals.astype(np.uint64)
    del diagonals
    multiply_transposed(product, inputs.astype(np.uint64), lanes=lanes)
    del inputs
    change_basis(product, transposed=True, inverse=True)
    low, high = product[1 : count_outputs + 1], product[:count_outputs] >> np.uint64(32)
    return _without_padding((low ^ high).astype(np.uint32).view(np.uint64), count_out)


def modified_toeplitz_hash(words: _Words, count_bits: int, seed_words: _Words, count_out: int, *, lanes: int = LANES) -> _Words:
    """Hash ``count_bits`` bits to ``count_out`` bits by the identity beside a Toeplitz matrix: ``y = x[:l] + T x[l:]``.

    Seed and effort are those of an l by n - l matrix. Inputs that differ in the first l bits only never collide; any other two differ
    behind them, so that ``T x[l:]`` differs by a uniformly random string.

    Parameters
    ----------
    words : uint64[count_words(count_bits)]
        Packed bits, n = ``count_bits`` at least 1, the unused rest zero.
    count_bits : int
        n, bits.
    seed_words : uint64[count_words(count_bits - 1)]
        Packed seed, n - 1 uniformly random bits; all of them are idle where l is 0 or n.
    count_out : int
        l, bits, between 0 and n.
    lanes : int
        Lanes of the carry-less multiplier: 0 (portable), 2, 4 or 8, at most ``LANES``.

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
    [Hayashi2016] (modified Toeplitz matrices); status: rigorous (two different inputs collide with probability at most 2^-l).
    """
    if count_bits < 1 or not 0 <= count_out <= count_bits:
        raise LocalProtocolError(f"amplification takes n >= 1 bits to 0 <= l <= n bits, got n = {count_bits}, l = {count_out}")
    _require_words(words, count_bits, "input")
    _require_words(seed_words, count_bits - 1, "seed")
    if count_out == count_bits:
        return words.copy()
    rest = np.empty(count_words(count_bits - count_out), np.uint64)
    shift_bits(words, count_out, rest)
    output = toeplitz_hash(rest, count_bits - count_out, seed_words, count_out, lanes=lanes)
    output ^= words[: output.size]
    return _without_padding(output, count_out)


def _without_padding(words: _Words, count_bits: int) -> _Words:
    if count_bits & 63:
        words[-1] &= np.uint64((1 << (count_bits & 63)) - 1)
    return words


def _require_words(words: _Words, count_bits: int, what: str) -> None:
    if words.size != count_words(count_bits):
        raise LocalProtocolError(f"{count_bits} bits of Toeplitz {what} take {count_words(count_bits)} words, got {words.size}")
