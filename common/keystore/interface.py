"""What a key store is, whatever keeps it: the operations of conversations, masks for their tags, and key handed out once.

``common.keystore.sqlite`` keeps keys through crashes; ``common.keystore.memory`` is the same in plain dictionaries, for rehearsals and as
the model that tests compare with. One contract suite runs on both.

Key is handed out in pieces, each named by block, pool-relative offset and length. The end that a pool belongs to takes from its front;
the other end follows with the pieces it was told. A piece is named in the ledger, durably, before the first of its bits is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from itertools import islice, pairwise
from typing import Protocol

from common.channel.codec import Party
from common.conversation.operations import OperationTarget
from common.errors import KeyAlreadyTakenError, KeyNotFoundError, KeyStoreError
from common.keystore.ownership import Pool

MOST_TAKEN_BYTES = 64 << 20
"""Key handed out at once; what is larger is asked for piece by piece, so that memory stays bounded."""

MOST_PIECES = 4096
"""Pieces the peer may name at once."""

_LARGEST = 1 << 40

MOST_PURPOSE_LETTERS = 200
"""Length of the note that goes into the ledger."""

LOW_WATER_RATIO = 0.25
"""Share of the reserve's target below which it counts as low."""

EXPECTED_GRACE_SECONDS = 3600.0
"""How much longer than at the end that hands it out key is kept where it is awaited: clocks differ, and messages travel."""


class UseKind(Enum):
    """Why bits are no longer there to be handed out."""

    TAKEN = "taken"
    EXPECTED = "expected"
    RECEIVED = "received"
    MASK = "mask"
    SKIPPED = "skipped"
    EXPIRED = "expired"
    FORGONE = "forgone"
    DAMAGED = "damaged"
    ERASED = "erased"


@dataclass(frozen=True, slots=True, order=True)
class Piece:
    """A stretch of one pool's part of one block.

    Attributes
    ----------
    block : int
        Block number.
    first_byte, count_bytes : int
        Where it lies in that pool's part of the block.
    """

    block: int
    first_byte: int
    count_bytes: int

    @property
    def end_byte(self) -> int:
        """First byte behind it."""
        return self.first_byte + self.count_bytes


@dataclass(slots=True)
class Taken:
    """Key that was handed out, once and for all.

    Attributes
    ----------
    handout : int
        Its number in the ledger.
    pool : Pool
        Where it comes from.
    pieces : tuple[Piece, ...]
        Where it lies, for the header of what is made with it.
    key : bytearray
        The bytes, pieces in order; never part of the repr.
    """

    handout: int
    pool: Pool
    pieces: tuple[Piece, ...]
    key: bytearray = field(repr=False)

    def wipe(self) -> None:
        """Overwrite the key with zeros."""
        self.key[:] = bytes(len(self.key))


@dataclass(frozen=True, slots=True)
class Levels:
    """How full a store is, and how it does.

    Attributes
    ----------
    pool_bits : Mapping[Pool, int]
        Bits left in each pool.
    reserve_pairs : int
        Mask pairs left, provisioned ones included.
    reserve_target_pairs, reserve_low : int, bool
        Where the reserve should stand, and whether it is far below.
    staged_bits : int
        Bits waiting for the peer.
    capacity_bits, full : int | None, bool
        Most bits to keep, and whether distillation should pause.
    next_block, mask_cursor : int
        Lowest block number and mask pair never used.
    count_committed : int
        Blocks committed and not erased.
    damaged_blocks : tuple[int, ...]
        Blocks of which something can no longer be read.
    met : bool
        Whether the peer was met since the store was opened; nothing is handed out before.
    doubted : bool
        Whether the greeting showed one end to be an old copy; nothing is handed out until that is settled.
    """

    pool_bits: Mapping[Pool, int]
    reserve_pairs: int
    reserve_target_pairs: int
    reserve_low: bool
    staged_bits: int
    capacity_bits: int | None
    full: bool
    next_block: int
    mask_cursor: int
    count_committed: int
    damaged_blocks: tuple[int, ...]
    met: bool
    doubted: bool


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One line of the ledger; never a bit of key.

    Attributes
    ----------
    use, handout : int
        Running number, and the request it belongs to; 0 where nobody asked.
    kind : UseKind
        Why the bits are gone.
    pool : Pool
        Whose they were.
    piece : Piece
        Which.
    purpose : str
        What the asker said.
    at_s : float
        Unix time, seconds.
    returned : bool
        Whether awaited key was given back unread by anybody else.
    """

    use: int
    handout: int
    kind: UseKind
    pool: Pool
    piece: Piece
    purpose: str
    at_s: float
    returned: bool


class KeyStore(OperationTarget, Protocol):
    """Keeps the keys of one end."""

    @property
    def count_masks(self) -> int:
        """Lowest mask pair above all there are."""

    def mask(self, mask_index: int, sender: Party) -> bytes:
        """Return a mask of a pair that ``TakeMask`` has marked as used.

        Parameters
        ----------
        mask_index : int
            The pair, among the last few taken.
        sender : Party
            Whose mask of the pair.

        Returns
        -------
        bytes
            16 bytes.

        Raises
        ------
        BlockAborted
            If there is no such pair left.
        """

    def take(self, pool: Pool, count_bytes: int, purpose: str) -> Taken:
        """Hand out key from the front of one of our pools; durably marked as used before it is read.

        Parameters
        ----------
        pool : Pool
            A pool that this end asks.
        count_bytes : int
            1 to ``MOST_TAKEN_BYTES``.
        purpose : str
            For the ledger; nothing secret.

        Returns
        -------
        Taken
            Key and where it lies.

        Raises
        ------
        KeyExhaustedError
            If the pool is too short; nothing is spent then.
        KeyStoreError
            If the pool belongs to the peer, the peer was not met yet, or a part of the key is damaged.
        """

    def expect(self, pool: Pool, pieces: Iterable[Piece], purpose: str) -> Taken:
        """Hand out the key that the peer says it has taken from one of its pools.

        Parameters
        ----------
        pool : Pool
            A pool that the peer asks.
        pieces : iterable of Piece
            As the peer named them.
        purpose : str
            For the ledger; nothing secret.

        Returns
        -------
        Taken
            Key in the order of the pieces.

        Raises
        ------
        KeyNotFoundError
            If a piece names no key that is here.
        KeyAlreadyTakenError
            If any of it was handed out before; nothing is spent then.
        KeyStoreError
            If the pool is ours, the peer was not met yet, or a part of the key is damaged.
        """

    def burn(self, handout: int) -> None:
        """Make an ``expect`` final, once its message has proved right; a crash does the same.

        Parameters
        ----------
        handout : int
            Number of the handout.

        Raises
        ------
        KeyNotFoundError
            If there is no such handout, or it was final already.
        """

    def give_back(self, handout: int) -> None:
        """Undo an ``expect`` whose message turned out to be forged, so that the true one can still be read.

        Parameters
        ----------
        handout : int
            Number of the handout.

        Raises
        ------
        KeyNotFoundError
            If there is no such handout, or it was final: key taken from one's own pool never comes back.
        """

    def expire(self) -> int:
        """Destroy key that has grown too old; return how many bits."""

    def levels(self) -> Levels:
        """Say how full the store is."""

    def audit(self, after: int = 0, most: int = 1000) -> list[AuditEntry]:
        """Return at most ``most`` lines of the ledger behind line ``after``."""

    def close(self) -> None:
        """Let go of the store."""


def check_request(pool: Pool, owner: Party, asker: Party, count_bytes: int, purpose: str) -> None:
    """Refuse a request that no store could carry out.

    Parameters
    ----------
    pool : Pool
        What is asked.
    owner, asker : Party
        Whose store this is, and who must be the pool's asker.
    count_bytes : int
        Bytes asked for.
    purpose : str
        For the ledger.

    Raises
    ------
    KeyStoreError
        If it is one.
    """
    if pool.asker is not asker:
        raise KeyStoreError(
            f"{pool.value} at {owner.name.capitalize()}'s end: each end takes from its own pools and follows the peer in the peer's"
        )
    if not 0 < count_bytes <= MOST_TAKEN_BYTES:
        raise KeyStoreError(f"{count_bytes} bytes of {pool.value}: ask for 1 to {MOST_TAKEN_BYTES} at once")
    if len(purpose) > MOST_PURPOSE_LETTERS or not purpose.isprintable():
        raise KeyStoreError(f"purpose of a handout: at most {MOST_PURPOSE_LETTERS} printable letters")


def ordered_pieces(pieces: Iterable[Piece]) -> tuple[tuple[Piece, ...], list[Piece]]:
    """Check pieces that somebody else named.

    Parameters
    ----------
    pieces : iterable of Piece
        As named.

    Returns
    -------
    tuple
        The pieces as named, and sorted by place.

    Raises
    ------
    KeyNotFoundError
        If there are none or too many, or one cannot exist.
    KeyAlreadyTakenError
        If two of them overlap.
    """
    named = tuple(islice(pieces, MOST_PIECES + 1))
    if not 0 < len(named) <= MOST_PIECES:
        raise KeyNotFoundError(f"name 1 to {MOST_PIECES} pieces of key at once")
    for piece in named:
        if not (0 < piece.block <= _LARGEST and 0 <= piece.first_byte <= _LARGEST and 0 < piece.count_bytes <= _LARGEST):
            raise KeyNotFoundError("a piece of key that cannot exist was named")
    in_order = sorted(named)
    for one, other in pairwise(in_order):
        if one.block == other.block and other.first_byte < one.end_byte:
            raise KeyAlreadyTakenError(f"block {one.block}: the same key was named twice")
    return named, in_order
