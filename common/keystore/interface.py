"""What a key store is, whatever keeps it: the operations of conversations, masks for their tags, and key handed out once.

``common.keystore.sqlite`` keeps keys through crashes; ``common.keystore.memory`` is the same in plain dictionaries, for rehearsals and as
the model that tests compare with. One contract suite runs on both.

Key is handed out in pieces, each named by block, pool-relative offset and length. The end that a pool belongs to takes from its front;
the other end follows with the pieces it was told. A piece is named in the ledger, durably, before the first of its bits is read.

Small requests are answered with the key at once (``take``, ``expect``). Large ones are entered into the ledger whole, and their key is read
bit after bit (``reserve``, ``follow``, then ``read``): either there is enough for all of it, or nothing is spent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from common.channel.codec import Party
from common.conversation.operations import OperationTarget
from common.keystore.masks import ProvisionedMasks
from common.keystore.ownership import Pool

MOST_TAKEN_BYTES = 64 << 20
"""Key handed out at once; what is larger is reserved and read bit after bit, so that memory stays bounded."""

MOST_RESERVED_BYTES = 1 << 40
"""Key that one request may reserve."""

MOST_PIECES = 1 << 16
"""Pieces one request may name: a gibibyte of small blocks, and a header of one and a half mebibytes."""

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
    HASH_KEY = "hash-key"
    SKIPPED = "skipped"
    EXPIRED = "expired"
    FORGONE = "forgone"
    DAMAGED = "damaged"
    ERASED = "erased"
    RETIRED = "retired"
    MOVED = "moved"


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


@dataclass(frozen=True, slots=True)
class Handout:
    """Key that is in the ledger for somebody, and not read yet.

    Attributes
    ----------
    number : int
        Its number in the ledger.
    pool : Pool
        Where it comes from.
    pieces : tuple[Piece, ...]
        Where it lies, for the header of what is made with it.
    """

    number: int
    pool: Pool
    pieces: tuple[Piece, ...]

    @property
    def count_bytes(self) -> int:
        """Length of all pieces."""
        return sum(piece.count_bytes for piece in self.pieces)


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
        Where the reserve should stand, and whether it is far below or empty.
    reserve_empty : bool
        Whether no block can be authenticated until both ends are given fresh pairs by hand.
    staged_bits : int
        Bits waiting for the peer.
    capacity_bits, full : int | None, bool
        Most bits to keep, and whether distillation should pause.
    next_block, mask_cursor : int
        Lowest block number and mask pair never used.
    hash_key, least_hash_key : int
        Transcript hash key in use, and the lowest that is trusted.
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
    reserve_empty: bool
    staged_bits: int
    capacity_bits: int | None
    full: bool
    next_block: int
    mask_cursor: int
    hash_key: int
    least_hash_key: int
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

    def hash_key_of(self, number: int) -> bytes:
        """Return the hash key that ``MeetPeer`` has taken into use.

        Parameters
        ----------
        number : int
            The pair it is made of.

        Returns
        -------
        bytes
            32 bytes.

        Raises
        ------
        KeyNotFoundError
            If it is not the one in use.
        """

    def renew(self, masks: ProvisionedMasks) -> bool:
        """Take in masks given by hand while the store is open.

        Parameters
        ----------
        masks : ProvisionedMasks
            As read from the renewal.

        Returns
        -------
        bool
            Whether they are newer than those that were there; older ones change nothing.
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

    def reserve(self, pool: Pool, count_bytes: int, purpose: str) -> Handout:
        """Enter key from the front of one of our pools into the ledger, all of it at once, to be read afterwards.

        Parameters
        ----------
        pool : Pool
            A pool that this end asks.
        count_bytes : int
            1 to ``MOST_RESERVED_BYTES``.
        purpose : str
            For the ledger; nothing secret.

        Returns
        -------
        Handout
            Where the key lies; ``read`` gives it.

        Raises
        ------
        KeyExhaustedError
            If the pool is too short; nothing is spent then.
        KeyStoreError
            If the pool belongs to the peer, the peer was not met yet, or the key lies in more than ``MOST_PIECES`` pieces.
        """

    def follow(self, pool: Pool, pieces: Iterable[Piece], purpose: str) -> Handout:
        """Enter the key that the peer says it has taken into the ledger, to be read afterwards.

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
        Handout
            The pieces as they were named; ``read`` gives the key.

        Raises
        ------
        KeyNotFoundError
            If a piece names no key that is here.
        KeyAlreadyTakenError
            If any of it was handed out before; nothing is spent then.
        KeyStoreError
            If the pool is ours, or the peer was not met yet.
        """

    def read(self, handout: int, count_bytes: int) -> bytearray:
        """Read the next bytes of a handout; each is read once, and what is final is destroyed behind the reader.

        Parameters
        ----------
        handout : int
            Number of an open handout.
        count_bytes : int
            1 to ``MOST_TAKEN_BYTES``.

        Returns
        -------
        bytearray
            Exactly so many.

        Raises
        ------
        KeyNotFoundError
            If the handout is not open, or has fewer bytes left.
        KeyStoreError
            If a part of the key is damaged; the rest of the handout is lost then.
        """

    def tag_key(self, handout: int) -> bytes:
        """Return the key that hashes the message of an open handout; other messages of the same block use it too, each with its own mask.

        Parameters
        ----------
        handout : int
            Number of an open handout of a pad.

        Returns
        -------
        bytes
            16 bytes, which nobody is ever given as pad.

        Raises
        ------
        KeyNotFoundError
            If the handout is not open, or of no pad.
        KeyStoreError
            If that key is damaged; the pad of the block is given up then.
        """

    def release(self, handout: int) -> None:
        """Destroy what was not read of a final handout; nothing happens where nothing is left.

        Parameters
        ----------
        handout : int
            Number of the handout.
        """

    def burn(self, handout: int) -> None:
        """Make expected key final, once its message has proved right; a crash does the same.

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
        """Undo an ``expect`` or ``follow`` whose message turned out to be forged, so that the true one can still be read.

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
