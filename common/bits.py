"""Bits packed into uint64 words: bit ``i`` is ``words[i >> 6] >> (i & 63) & 1``, the unused rest of the last word zero.

The same order as bytes on disk and on the wire: byte ``j`` holds bits ``8 j`` to ``8 j + 7``, the lowest bit first.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from common.errors import RemoteProtocolError

if sys.byteorder != "little":
    raise ImportError("qkdlink packs bits into little-endian words and runs on little-endian machines only")


def count_words(count_bits: int) -> int:
    """Words of 64 bits needed for ``count_bits`` bits."""
    return (count_bits + 63) >> 6


def count_bytes(count_bits: int) -> int:
    """Bytes needed for ``count_bits`` bits."""
    return (count_bits + 7) >> 3


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Bits:
    """A read-only string of bits that may be secret: its repr shows the length and nothing else.

    Attributes
    ----------
    words : uint64[count_words(count)]
        Packed bits, not writeable.
    count : int
        Number of bits.
    """

    words: NDArray[np.uint64]
    count: int

    def __post_init__(self) -> None:
        if self.words.dtype != np.uint64 or self.words.ndim != 1 or self.words.size != count_words(self.count):
            raise ValueError(f"{self.count} bits need a flat array of {count_words(self.count)} uint64 words")
        if self.count & 63 and int(self.words[-1]) >> (self.count & 63):
            raise ValueError("the unused rest of the last word is not zero")
        self.words.setflags(write=False)

    @classmethod
    def from_flags(cls, flags: NDArray[np.uint8] | NDArray[np.bool_]) -> Self:
        """Pack ``flags`` (uint8[n] of 0 and 1, or bool[n])."""
        count = int(flags.size)
        packed = np.zeros(count_words(count) * 8, np.uint8)
        packed[: count_bytes(count)] = np.packbits(flags, bitorder="little")
        return cls(packed.view(np.uint64), count)

    @classmethod
    def masked(cls, words: NDArray[np.uint64], count: int) -> Self:
        """Take ``count`` bits from fresh ``words``, whatever is in the unused rest of the last one."""
        if count & 63:
            words[-1] &= np.uint64((1 << (count & 63)) - 1)
        return cls(words, count)

    @classmethod
    def from_bytes(cls, data: bytes, count: int) -> Self:
        """Read ``count`` bits from bytes off the wire.

        Raises
        ------
        RemoteProtocolError
            If the number of bytes does not fit ``count`` or a padding bit is set.
        """
        if len(data) != count_bytes(count) or count < 0:
            raise RemoteProtocolError(f"{count} bits take {count_bytes(count)} bytes, received {len(data)}")
        if count & 7 and data[-1] >> (count & 7):
            raise RemoteProtocolError("a padding bit is set in a packed bit string")
        packed = np.zeros(count_words(count) * 8, np.uint8)
        packed[: len(data)] = np.frombuffer(data, np.uint8)
        return cls(packed.view(np.uint64), count)

    def to_bytes(self) -> bytes:
        """Return the bits as ``count_bytes(count)`` bytes, lowest bit first, padding zero."""
        return self.words.tobytes()[: count_bytes(self.count)]

    def to_flags(self) -> NDArray[np.uint8]:
        """Return uint8[count] of 0 and 1."""
        return np.unpackbits(self.words.view(np.uint8), count=self.count, bitorder="little")

    def slice(self, first: int, last: int) -> Bits:
        """Return the bits from ``first`` up to, not including, ``last``; both within the string."""
        count, shift = max(0, last - first), first & 63
        words = self.words[first >> 6 : (first >> 6) + count_words(count) + 1]
        taken = words[: count_words(count)] >> np.uint64(shift)
        if shift:
            above = words[1:] << np.uint64(64 - shift)
            taken[: above.size] |= above[: taken.size]
        return Bits.masked(taken, count)

    def ones(self) -> int:
        """Return the number of set bits."""
        return int(np.bitwise_count(self.words).sum())

    def ones_between(self, first: int, last: int) -> int:
        """Return the number of set bits from ``first`` up to, not including, ``last``."""
        if first >= last:
            return 0
        words = self.words[first >> 6 : count_words(last)]
        below = int(words[0]) & ((1 << (first & 63)) - 1)
        above = int(words[-1]) >> (last & 63) if last & 63 else 0
        return int(np.bitwise_count(words).sum()) - below.bit_count() - above.bit_count()

    def __len__(self) -> int:
        return self.count

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Bits):
            return NotImplemented
        return self.count == other.count and bool(np.array_equal(self.words, other.words))

    __hash__ = None  # type: ignore[assignment]  # secret bits never become dictionary keys

    def __repr__(self) -> str:
        return f"Bits(count={self.count})"


def concatenated(parts: list[Bits]) -> Bits:
    """Join bit strings.

    Parameters
    ----------
    parts : list[Bits]
        In order.

    Returns
    -------
    Bits
        Of the sum of their lengths.
    """
    if len(parts) == 1:
        return parts[0]
    joined = np.zeros(count_words(sum(part.count for part in parts)) + 1, np.uint64)
    first = 0
    for part in parts:
        index, shift, size = first >> 6, np.uint64(first & 63), part.words.size
        joined[index : index + size] |= part.words << shift
        if shift:
            joined[index + 1 : index + 1 + size] |= part.words >> (np.uint64(64) - shift)
        first += part.count
    return Bits(joined[: count_words(first)].copy(), first)


class SecretBits:
    """Secret key in one wipeable buffer, without repr, copies or pickling.

    Python cannot promise erasure: ``wipe`` overwrites this buffer, not what an allocator or the kernel may have copied.

    Parameters
    ----------
    bits : Bits
        The key; its words are copied.
    """

    __slots__ = ("_words", "count")

    def __init__(self, bits: Bits) -> None:
        self._words = bits.words.copy()
        self.count = bits.count

    def to_bits(self) -> Bits:
        """Return a read-only copy for handing on."""
        return Bits(self._words.copy(), self.count)

    def wipe(self) -> None:
        """Overwrite the buffer with zeros and forget the length."""
        self._words[:] = 0
        self._words = self._words[:0]
        self.count = 0

    def __repr__(self) -> str:
        return "SecretBits()"

    def __reduce__(self) -> str:
        raise TypeError("secret bits are not pickled")
