"""A fixed shuffle of packed bits that works on whole words: as good as any for Cascade, and faster than bit by bit.

Twice, the words are put in another order, each is rotated, and every 64 of them are transposed as a matrix of bits, so that the bits of a
word go to 64 different words; then the words are put in another order once more. (Once is not enough: 64 words would exchange their bits
among themselves alone, and errors would hide in pairs of their blocks.) Where the number of words is no multiple of 64, the last matrix
overlaps the one before it, whose words have been rotated anew by then. ``cascade_parities`` makes the copies of segments with it; the same
shuffle as a table of places, in which errors are looked up, comes from the same numbers.

References
----------
H. S. Warren, Hacker's Delight, 2nd edition, section 7-3 (transposition of a bit matrix); status: exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from common.errors import LocalProtocolError
from common.kernels.jit import kernel

_Words: TypeAlias = NDArray[np.uint64]

WORD_BITS = 64
"""Bits of a word; a matrix has as many words."""

ROUNDS = 2
"""How often matrices are transposed."""


@dataclass(frozen=True, slots=True, eq=False)
class Mixing:
    """The numbers of a shuffle of n words, n at least 64.

    Attributes
    ----------
    orders : uint16[3, n]
        Which word comes to each place, before the transpositions, between them and behind them.
    rotations : uint8[2, 64 ceil(n / 64)]
        How far each word of each matrix is rotated, 0 to 63 bits towards the higher end.

    Raises
    ------
    LocalProtocolError
        If the arrays are not of these lengths, or an order is none.
    """

    orders: NDArray[np.uint16]
    rotations: NDArray[np.uint8]

    def __post_init__(self) -> None:
        count = self.orders.shape[1]
        are_orders = len(self.orders) == ROUNDS + 1 and all(np.array_equal(np.sort(order), np.arange(count)) for order in self.orders)
        are_rotations = self.rotations.shape == (ROUNDS, count_rotations(count)) and self.rotations.max() < WORD_BITS
        if count < WORD_BITS or not are_orders or not are_rotations:
            raise LocalProtocolError(
                f"a mixing has {WORD_BITS} words or more, three orders of them and two rotations for each of every matrix"
            )

    @property
    def count_words(self) -> int:
        """Words that are shuffled."""
        return int(self.orders.shape[1])

    def table(self) -> NDArray[np.uint16]:
        """Return the shuffle as a table: bit i of what comes out is bit ``table[i]`` of what goes in, uint16[64 n]."""
        places: NDArray[np.uint16] = np.arange(WORD_BITS * self.count_words, dtype=np.uint16).reshape(-1, WORD_BITS)
        for order, rotations in zip(self.orders[:ROUNDS], self.rotations, strict=True):
            places = places[order]
            for matrix, distances in enumerate(rotations.reshape(-1, WORD_BITS)):
                first = min(WORD_BITS * matrix, len(places) - WORD_BITS)
                rotated = [np.roll(row, int(by)) for row, by in zip(places[first : first + WORD_BITS], distances, strict=True)]
                places[first : first + WORD_BITS] = np.array(rotated).T
        return np.ravel(places[self.orders[ROUNDS]])


def count_rotations(count_words: int) -> int:
    """Count the rotations of a round.

    Parameters
    ----------
    count_words : int
        Words that are shuffled.

    Returns
    -------
    int
        One for each word of every matrix.
    """
    return WORD_BITS * -(-count_words // WORD_BITS)


@kernel
def _transpose(words: _Words, first: int) -> None:
    """Exchange bit j of word i with bit i of word j, for the 64 words from ``first`` on."""
    mask = np.uint64(0x00000000FFFFFFFF)
    size = 32
    while size:
        shift = np.uint64(size)
        for start in range(first, first + WORD_BITS, 2 * size):
            for index in range(start, start + size):
                low, high = words[index], words[index + size]
                differing = ((low >> shift) ^ high) & mask
                words[index] = low ^ (differing << shift)
                words[index + size] = high ^ differing
        size >>= 1
        mask ^= mask << np.uint64(size)


@kernel
def mix_words(source: _Words, orders: NDArray[np.uint16], rotations: NDArray[np.uint8], scratch: _Words, target: _Words) -> None:
    """Shuffle packed bits.

    Parameters
    ----------
    source : uint64[m], m at least n
        Bits; words from n on are copied as they are.
    orders, rotations : arrays
        Of a ``Mixing`` of n words.
    scratch : uint64[n]
        Overwritten.
    target : uint64[m]
        Written.
    """
    count = orders.shape[1]
    target[:] = source
    for mixing_round in range(ROUNDS):
        for index in range(count):
            scratch[index] = target[orders[mixing_round, index]]
        for begin in range(0, count, WORD_BITS):
            first = min(begin, count - WORD_BITS)
            for index in range(WORD_BITS):
                word, by = scratch[first + index], np.uint64(rotations[mixing_round, begin + index])
                scratch[first + index] = (word << by) | ((word >> np.uint64(1)) >> (np.uint64(63) - by))
            _transpose(scratch, first)
        target[:count] = scratch[:count]
    for index in range(count):
        target[index] = scratch[orders[ROUNDS, index]]
