"""Where random bytes come from: the operating system, or a seed in the offline rehearsal.

Whatever must be unpredictable (test choice, hash keys, seeds of the amplification, the bit of a double click) is drawn through
``Randomness``, so that a rehearsal can be repeated byte for byte. Only the offline command chooses ``SeededRandomness`` and marks
its report; daemons have nothing but ``SystemRandomness``.
"""

from __future__ import annotations

import hashlib
import os
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from common.errors import ConfigurationError
from common.expander import Expander

THRESHOLD_BITS: Final = 16
"""Bits compared for one biased flag: probabilities are multiples of 2^-16."""

_FLAGS_AT_A_TIME: Final = 1 << 20
"""Flags drawn together, so that memory stays at 2 MiB of random bytes."""


class Randomness(Protocol):
    """A source of random bytes."""

    def draw(self, count_bytes: int) -> bytes:
        """Return ``count_bytes`` fresh random bytes, never the same ones twice."""
        ...


class SystemRandomness:
    """The operating system's generator: computational, and the only one that makes live keys."""

    def draw(self, count_bytes: int) -> bytes:
        """Return ``count_bytes`` bytes of the operating system's generator."""
        return os.urandom(count_bytes)


class SeededRandomness:
    """A repeatable stream for the offline rehearsal and tests; keys made with it are worth nothing.

    Parameters
    ----------
    seed : int
        Any integer; equal seeds and labels give equal streams.
    label : str
        Keeps two parties of one rehearsal from drawing the same bytes.
    """

    __slots__ = ("_expander", "_offset")

    def __init__(self, seed: int, label: str = "rehearsal") -> None:
        self._expander = Expander(key_from_seed(seed), label)
        self._offset = 0

    def draw(self, count_bytes: int) -> bytes:
        """Return the next ``count_bytes`` bytes of the stream."""
        drawn = self._expander.bytes_at(self._offset, count_bytes)
        self._offset += count_bytes
        return drawn


def key_from_seed(seed: int) -> bytes:
    """Return the expander key of a seed.

    Parameters
    ----------
    seed : int
        Any integer.

    Returns
    -------
    bytes
        32 bytes, SHA-256 of the seed in decimal; no more secret than the seed is.
    """
    return hashlib.sha256(f"qkdlink seed {seed}".encode()).digest()


def quantised_probability(probability: float) -> float:
    """Return the probability that ``biased_flags`` really has.

    Parameters
    ----------
    probability : float
        The wish, 0 to 1.

    Returns
    -------
    float
        k/65536, k the integer nearest to 65536 times the wish; exact in float.

    Raises
    ------
    ConfigurationError
        If the probability is not between 0 and 1.
    """
    return _threshold(probability) / (1 << THRESHOLD_BITS)


def biased_flags(randomness: Randomness, count: int, probability: float) -> NDArray[np.uint8]:
    """Draw independent flags that are 1 with a given probability.

    Each flag takes two fresh bytes, read as a little-endian number, and is 1 where the number is below k = round(65536 p). The
    probability is therefore k/65536 exactly (``quantised_probability``); 0 and 1 are kept exactly.

    Parameters
    ----------
    randomness : Randomness
        Where the bytes are drawn.
    count : int
        Flags wanted.
    probability : float
        Probability of a 1, 0 to 1.

    Returns
    -------
    uint8[count]
        Flags, 0 or 1.

    Raises
    ------
    ConfigurationError
        If the probability is not between 0 and 1 or the count is negative.
    """
    threshold = _threshold(probability)
    if count < 0:
        raise ConfigurationError(f"biased flags: {count} flags wanted, choose 0 or more")
    flags = np.empty(count, np.uint8)
    for start in range(0, count, _FLAGS_AT_A_TIME):
        part = flags[start : start + _FLAGS_AT_A_TIME]
        numbers = np.frombuffer(randomness.draw(2 * part.size), np.dtype("<u2"))
        part[:] = numbers.astype(np.uint32) < np.uint32(threshold)
    return flags


def _threshold(probability: float) -> int:
    if not 0.0 <= probability <= 1.0:
        raise ConfigurationError(f"probability {probability!r}: choose 0 to 1")
    return round(probability * (1 << THRESHOLD_BITS))
