"""Who owns which bit of a block: one pure rule, computed alike at both ends.

A block of key enters both stores whole. What each bit is for follows from four facts that both ends know and that never change
afterwards: the block's length, where the masks stood when it was staged, how far the reserve reached, and the rule both ends agreed on.
Nothing that only one end knows (what it has handed out, what time it is) has a say, or two requests at once could meet on one bit.

The order is fixed: first whole mask pairs for the authentication reserve while it is below its target, then the pad of Alice's messages,
then the pad of Bob's, then what Alice delivers, then what Bob delivers, and at last a key for the tags of each direction. Up to seven bits
behind the last whole byte belong to nobody.

Afterwards key moves between the two delivery pools, where both ends agree on it stretch by stretch (``common.keystore.moving``).

Keys of tags lie apart because pad does not stay secret: whoever knows a message and keeps it from arriving knows the pad that encrypted it,
and could otherwise name that very pad as the key of a tag of her own.
"""

from __future__ import annotations

import hashlib
from dataclasses import astuple, dataclass
from enum import Enum

from common.channel.authentication import MASK_BYTES
from common.channel.codec import Party
from common.errors import ConfigurationError

PAIR_BYTES = 2 * MASK_BYTES
"""Length of a mask pair: one mask for each direction."""

PAIR_BITS = 8 * PAIR_BYTES


class Pool(Enum):
    """What a stretch of key is for, in the order in which a block is shared out."""

    RESERVE = "authentication-reserve"
    ALICE_PAD = "alice-pad"
    BOB_PAD = "bob-pad"
    ALICE_DELIVERY = "alice-delivery"
    BOB_DELIVERY = "bob-delivery"
    ALICE_TAG = "alice-tag"
    BOB_TAG = "bob-tag"

    @property
    def asker(self) -> Party | None:
        """The end that hands key of this pool out first; the other only follows. None for what nobody asks for."""
        return _ASKERS[self]


_ASKERS = {
    Pool.RESERVE: None,
    Pool.ALICE_PAD: Party.ALICE,
    Pool.BOB_PAD: Party.BOB,
    Pool.ALICE_DELIVERY: Party.ALICE,
    Pool.BOB_DELIVERY: Party.BOB,
    Pool.ALICE_TAG: None,
    Pool.BOB_TAG: None,
}

PADS = {Party.ALICE: Pool.ALICE_PAD, Party.BOB: Pool.BOB_PAD}
"""Pad of the messages that each end sends."""

TAGS = {Pool.ALICE_PAD: Pool.ALICE_TAG, Pool.BOB_PAD: Pool.BOB_TAG}
"""Where the key lies that hashes messages whose pad begins in the same block; it is never used as pad, and goes only to
the command on this machine that checks or makes such a tag."""

TAG_KEY_BYTES = 16
"""Key of a block for the tags of one direction."""

DELIVERIES = {Party.ALICE: Pool.ALICE_DELIVERY, Party.BOB: Pool.BOB_DELIVERY}
"""Key that each end delivers to applications that ask there first."""


@dataclass(frozen=True, slots=True)
class OwnershipRule:
    """How blocks are shared out; the same at both ends, or they would share them out differently.

    Attributes
    ----------
    reserve_target_pairs : int
        Mask pairs below which a block refills the reserve first.
    alice_pad, bob_pad, alice_delivery, bob_delivery : int
        Weights by which the rest is shared out.

    Raises
    ------
    ConfigurationError
        If a number is negative or too large, or no weight is left.
    """

    reserve_target_pairs: int = 128
    alice_pad: int = 3
    bob_pad: int = 3
    alice_delivery: int = 1
    bob_delivery: int = 1

    def __post_init__(self) -> None:
        if not all(0 <= number <= 1 << 20 for number in astuple(self)) or not sum(self.weights):
            raise ConfigurationError("shares of the key store: choose weights and a reserve of 0 to 1048576, at least one weight above 0")

    @property
    def weights(self) -> tuple[int, int, int, int]:
        """Weights in the order of the pools."""
        return self.alice_pad, self.bob_pad, self.alice_delivery, self.bob_delivery

    @property
    def text(self) -> str:
        """The rule as stored beside each block, version first."""
        return "2:" + ",".join(map(str, astuple(self)))

    @classmethod
    def of_text(cls, text: str) -> OwnershipRule:
        """Read a stored rule.

        Parameters
        ----------
        text : str
            As ``text`` gave it.

        Raises
        ------
        ConfigurationError
            If it is no rule this version knows.
        """
        version, _, numbers = text.partition(":")
        parts = numbers.split(",")
        if version != "2" or len(parts) != 5 or not all(part.isdecimal() for part in parts):
            raise ConfigurationError("a block in the key store is shared out by a rule that this version does not know: use a newer one")
        return cls(*map(int, parts))

    @property
    def digest(self) -> bytes:
        """32 bytes to be compared with the peer's before the first block."""
        return hashlib.sha256(b"qkdlink ownership " + self.text.encode()).digest()


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of a block with one owner.

    Attributes
    ----------
    pool : Pool | None
        The owner; None for the bits behind the last whole byte.
    first_bit, count_bits : int
        Where it lies; whole bytes except where nobody owns it.
    """

    pool: Pool | None
    first_bit: int
    count_bits: int


@dataclass(frozen=True, slots=True)
class BlockFacts:
    """What ownership follows from; equal at both ends for a block that both hold.

    Attributes
    ----------
    count_bits : int
        Length of the block.
    mask_cursor : int
        Lowest mask pair unused when the block was staged: one above the pair that its own tags took.
    reserve_end : int
        Lowest mask pair above all that were provisioned or came from earlier blocks.
    """

    count_bits: int
    mask_cursor: int
    reserve_end: int


@dataclass(frozen=True, slots=True)
class Ownership:
    """How a block is shared out.

    Attributes
    ----------
    parts : tuple[Part, ...]
        A partition of the block, in order, empty parts left out.
    reserve_first, reserve_pairs : int
        Mask pairs that the block adds to the reserve, by number.
    """

    parts: tuple[Part, ...]
    reserve_first: int
    reserve_pairs: int


def share_out(facts: BlockFacts, rule: OwnershipRule) -> Ownership:
    """Share out a block.

    Parameters
    ----------
    facts : BlockFacts
        Length, and where the reserve stood.
    rule : OwnershipRule
        Agreed with the peer.

    Returns
    -------
    Ownership
        Every bit in exactly one part.
    """
    level = max(0, facts.reserve_end - facts.mask_cursor)
    pairs = min(max(0, rule.reserve_target_pairs - level), facts.count_bits // PAIR_BITS)
    left_bytes = facts.count_bits // 8 - pairs * PAIR_BYTES
    tag_bytes = [min(TAG_KEY_BYTES, left_bytes), min(TAG_KEY_BYTES, max(0, left_bytes - TAG_KEY_BYTES))]
    count_bytes = left_bytes - sum(tag_bytes)
    weights, total = rule.weights, sum(rule.weights)
    edges = [0, pairs * PAIR_BYTES]
    edges += [edges[1] + count_bytes * sum(weights[: index + 1]) // total for index in range(len(weights))]
    edges += [edges[-1] + tag_bytes[0], edges[-1] + sum(tag_bytes)]
    parts = [Part(pool, 8 * edges[i], 8 * (edges[i + 1] - edges[i])) for i, pool in enumerate(Pool)]
    parts.append(Part(None, 8 * edges[-1], facts.count_bits - 8 * edges[-1]))
    return Ownership(tuple(part for part in parts if part.count_bits), max(facts.reserve_end, facts.mask_cursor), pairs)
