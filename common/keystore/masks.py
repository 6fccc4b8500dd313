"""Mask pairs that both ends were given by hand: at first provisioning, or by a later renewal.

Mask pairs are numbered once and for all. Each renewal opens a new generation far above all numbers in use, so that its masks never share a
number with those that blocks refilled; an end that was renewed alone is simply ahead, and the greeting brings the other one there.
"""

from __future__ import annotations

from dataclasses import dataclass

from common.channel.authentication import MASK_BYTES
from common.channel.codec import Party
from common.errors import ConfigurationError
from common.keystore.ownership import PAIR_BYTES

GENERATION_PAIRS = 1 << 31
"""Mask pairs from one generation to the next; half of what a greeting lets the peer be ahead, and decades of blocks."""

MOST_GENERATIONS = 1 << 30


@dataclass(frozen=True, slots=True, repr=False)
class ProvisionedMasks:
    """Masks given by hand; without contents in its repr.

    Attributes
    ----------
    masks : bytes
        Whole mask pairs, Alice's mask of each first.
    generation : int
        0 at first provisioning, one more for each renewal.

    Raises
    ------
    ConfigurationError
        If the masks are no whole pairs or the generation is out of range.
    """

    masks: bytes = b""
    generation: int = 0

    def __post_init__(self) -> None:
        if len(self.masks) % PAIR_BYTES or not 0 <= self.generation < MOST_GENERATIONS:
            raise ConfigurationError(f"provisioned masks: pairs of {PAIR_BYTES} bytes and a generation of 0 or more expected")

    @property
    def first(self) -> int:
        """Number of the first pair."""
        return self.generation * GENERATION_PAIRS

    @property
    def end(self) -> int:
        """Lowest number above all pairs."""
        return self.first + len(self.masks) // PAIR_BYTES

    def pair(self, mask_index: int) -> bytes | None:
        """Return the pair numbered ``mask_index``, or None if it is none of these."""
        if not self.first <= mask_index < self.end:
            return None
        offset = (mask_index - self.first) * PAIR_BYTES
        return self.masks[offset : offset + PAIR_BYTES]

    def __repr__(self) -> str:
        return f"ProvisionedMasks(generation={self.generation})"


def mask_of(pair: bytes | bytearray, sender: Party) -> bytes:
    """Return the 16-byte mask that ``sender`` uses of a ``pair``."""
    offset = (sender - Party.ALICE) * MASK_BYTES
    return bytes(pair[offset : offset + MASK_BYTES])
