"""A key store in plain dictionaries, for offline distillation, rehearsals, and as the model the store on disk is compared with.

It understands the same operations and hands out key by the same rules: what was handed out is gone, masks and block numbers never go back.
It outlives a stopped rehearsal, as a store on disk outlives a crash.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import assert_never

from common.bits import Bits, SecretBits, concatenated
from common.channel.codec import Party
from common.conversation.operations import CommitKey, Ledger, MeetPeer, OpenBlock, Operation, ReadLedger, Settle, StageKey, TakeMask
from common.errors import AbortReason, BlockAborted, KeyAlreadyTakenError, KeyExhaustedError, KeyNotFoundError, KeyStoreError
from common.keystore.interface import (
    EXPECTED_GRACE_SECONDS,
    LOW_WATER_RATIO,
    AuditEntry,
    Levels,
    Piece,
    Taken,
    UseKind,
    check_request,
    ordered_pieces,
)
from common.keystore.masks import ProvisionedMasks, mask_of
from common.keystore.ownership import PAIR_BYTES, BlockFacts, Ownership, OwnershipRule, Pool, share_out


@dataclass(slots=True)
class _Block:
    """A block that is held: staged while it is not shared out."""

    key: SecretBits
    rule: OwnershipRule
    mask_cursor: int
    reserve_floor: int
    ownership: Ownership | None = None
    committed_s: float = 0.0

    def part(self, pool: Pool) -> tuple[int, int]:
        """First byte and length of a pool's part, 0 where there is none."""
        parts = self.ownership.parts if self.ownership else ()
        return next(((part.first_bit // 8, part.count_bits // 8) for part in parts if part.pool is pool), (0, 0))


class MemoryKeyStore:
    """Keys of one end by block number, staged or committed.

    Parameters
    ----------
    owner : Party
        Whose end this is; matters only to who may take what.
    masks : ProvisionedMasks | None
        Mask pairs given by hand.
    rule : OwnershipRule | None
        How blocks are shared out.
    capacity_bits : int | None
        Most bits to keep before the store calls itself full.
    expiry_seconds : float | None
        Age at which key is destroyed.
    clock : callable
        Returns Unix time, seconds.
    """

    def __init__(
        self,
        owner: Party = Party.ALICE,
        *,
        masks: ProvisionedMasks | None = None,
        rule: OwnershipRule | None = None,
        capacity_bits: int | None = None,
        expiry_seconds: float | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._owner = owner
        self._masks = masks or ProvisionedMasks()
        self._rule = rule or OwnershipRule()
        self._capacity_bits = capacity_bits
        self._expiry_seconds = expiry_seconds
        self._clock = clock
        self._blocks: dict[int, _Block] = {}
        self._erased: set[int] = set()
        self._uses: list[AuditEntry] = []
        self._handouts = 0
        self._next_block = 1
        self._mask_cursor = self._masks.first
        self._open_pairs: dict[int, bytes | None] = {}
        self._met = False
        self._doubted = False
        self._doubted_next: int | None = None

    def apply(self, operation: object) -> object:
        """Carry out one operation.

        Parameters
        ----------
        operation : object
            One of ``common.conversation.operations``.

        Returns
        -------
        object
            A ``Ledger`` for ``ReadLedger``, else None.

        Raises
        ------
        KeyNotFoundError
            If a key is to be committed that was never staged.
        KeyStoreError
            If a block is opened or a mask taken a second time, or a block is staged anew after it was erased.
        """
        known: Operation = operation  # type: ignore[assignment]  # anything else ends in assert_never
        match known:
            case ReadLedger():
                lengths = {block: held.key.count for block, held in sorted(self._blocks.items())}
                return Ledger(self._next_block, self._mask_cursor, lengths)
            case MeetPeer(next_block, newest_block):
                self._meet(next_block, newest_block)
            case OpenBlock(block):
                if block < self._next_block:
                    raise KeyStoreError(f"block {block} was opened before")
                self._next_block = block + 1
            case TakeMask(mask_index):
                self._take_mask(mask_index)
            case StageKey(block, key):
                self._stage(block, key)
            case CommitKey(block):
                self._commit(block)
            case Settle(commit, erase):
                self._settle(commit, erase)
            case _ as unreachable:
                assert_never(unreachable)
        return None

    @property
    def committed(self) -> dict[int, Bits]:
        """Usable keys by block number, whole, whatever was handed out of them."""
        return {block: held.key.to_bits() for block, held in sorted(self._blocks.items()) if held.ownership}

    @property
    def held(self) -> dict[int, Bits]:
        """Keys by block number, staged ones included."""
        return {block: held.key.to_bits() for block, held in sorted(self._blocks.items())}

    def joined(self) -> Bits:
        """Return all usable key, block after block."""
        return concatenated(list(self.committed.values()))

    @property
    def count_masks(self) -> int:
        """Lowest mask pair above all there are."""
        return max(self._masks.end, self._reserve_end())

    def mask(self, mask_index: int, sender: Party) -> bytes:
        """Return the mask of ``sender`` in a pair ``mask_index`` that ``TakeMask`` has marked as used.

        Raises
        ------
        BlockAborted
            If there is no such pair left.
        """
        pair = self._open_pairs.get(mask_index)
        if pair is None:
            raise BlockAborted(AbortReason.MASKS_EXHAUSTED)
        return mask_of(pair, sender)

    def take(self, pool: Pool, count_bytes: int, purpose: str) -> Taken:
        """Hand out key from the front of one of our pools; see ``KeyStore``.

        Parameters
        ----------
        pool : Pool
            A pool that this end asks.
        count_bytes : int
            How much.
        purpose : str
            For the ledger.

        Returns
        -------
        Taken
            Key and where it lies.

        Raises
        ------
        KeyExhaustedError
            If the pool is too short.
        """
        check_request(pool, self._owner, self._owner, count_bytes, purpose)
        self._refuse_strangers()
        pieces, wanted = list[Piece](), count_bytes
        for gap in (gap for block in sorted(self._blocks) for gap in self._gaps(block, pool)):
            if wanted:
                pieces.append(replace(gap, count_bytes=min(gap.count_bytes, wanted)))
                wanted -= pieces[-1].count_bytes
        if wanted:
            raise KeyExhaustedError(f"{pool.value} is {8 * wanted} bits short")
        return self._hand_out(UseKind.TAKEN, pool, pieces, purpose)

    def expect(self, pool: Pool, pieces: Iterable[Piece], purpose: str) -> Taken:
        """Hand out the key that the peer says it has taken; see ``KeyStore``.

        Parameters
        ----------
        pool : Pool
            A pool that the peer asks.
        pieces : iterable of Piece
            As the peer named them.
        purpose : str
            For the ledger.

        Returns
        -------
        Taken
            Key in the order of the pieces.

        Raises
        ------
        KeyNotFoundError
            If a piece names no key that is here.
        KeyAlreadyTakenError
            If any of it was handed out before.
        """
        named, in_order = ordered_pieces(pieces)
        check_request(pool, self._owner, self._owner.peer, sum(piece.count_bytes for piece in named), purpose)
        self._refuse_strangers()
        for piece in in_order:
            if piece.block not in self._blocks or piece.end_byte > self._blocks[piece.block].part(pool)[1]:
                raise KeyNotFoundError(f"block {piece.block}: no such key is committed here")
            if not any(gap.first_byte <= piece.first_byte and piece.end_byte <= gap.end_byte for gap in self._gaps(piece.block, pool)):
                raise KeyAlreadyTakenError(f"block {piece.block}: handed out or destroyed before")
        return self._hand_out(UseKind.EXPECTED, pool, list(named), purpose)

    def burn(self, handout: int) -> None:
        """Make the ``expect`` numbered ``handout`` final."""
        self._conclude(handout, kind=UseKind.RECEIVED, returned=False)

    def give_back(self, handout: int) -> None:
        """Undo the ``expect`` numbered ``handout``."""
        self._conclude(handout, kind=UseKind.EXPECTED, returned=True)

    def expire(self) -> int:
        """Destroy key that has grown too old.

        Returns
        -------
        int
            Bits destroyed.
        """
        if self._expiry_seconds is None:
            return 0
        limit, count_bytes = self._clock() - self._expiry_seconds, 0
        for pool in (pool for pool in Pool if pool.asker is not None):
            grace = 0.0 if pool.asker is self._owner else EXPECTED_GRACE_SECONDS
            for block, held in self._blocks.items():
                if held.ownership and held.committed_s < limit - grace:
                    count_bytes += self._abandon(block, pool, UseKind.EXPIRED)
        return 8 * count_bytes

    def levels(self) -> Levels:
        """Say how full the store is.

        Returns
        -------
        Levels
            As of now.
        """
        pool_bits = {pool: 8 * sum(gap.count_bytes for block in self._blocks for gap in self._gaps(block, pool)) for pool in Pool}
        pairs = max(0, self._masks.end - max(self._mask_cursor, self._masks.first)) + pool_bits[Pool.RESERVE] // (8 * PAIR_BYTES)
        staged_bits = sum(held.key.count for held in self._blocks.values() if not held.ownership)
        return Levels(
            pool_bits=pool_bits,
            reserve_pairs=pairs,
            reserve_target_pairs=self._rule.reserve_target_pairs,
            reserve_low=pairs < LOW_WATER_RATIO * self._rule.reserve_target_pairs,
            staged_bits=staged_bits,
            capacity_bits=self._capacity_bits,
            full=self._capacity_bits is not None and staged_bits + sum(pool_bits.values()) >= self._capacity_bits,
            next_block=self._next_block,
            mask_cursor=self._mask_cursor,
            count_committed=len(self.committed),
            damaged_blocks=(),
            met=self._met,
            doubted=self._doubted,
        )

    def audit(self, after: int = 0, most: int = 1000) -> list[AuditEntry]:
        """Return at most ``most`` lines of the ledger behind line ``after``."""
        return self._uses[after : after + most]

    def close(self) -> None:
        """Forget what a crash would forget: that the peer was met, the masks that are open, which expected key may come back."""
        self._met = False
        self._open_pairs.clear()
        for index, entry in enumerate(self._uses):
            if entry.kind is UseKind.EXPECTED and not entry.returned:
                self._uses[index] = replace(entry, kind=UseKind.RECEIVED)

    def _meet(self, peers_next_block: int, peers_newest_block: int) -> None:
        ours = self._next_block if self._doubted_next is None else self._doubted_next
        newest = max(self.committed, default=0)
        self._doubted = peers_newest_block >= ours or newest >= peers_next_block
        self._doubted_next = ours if self._doubted else self._doubted_next
        self._met = True

    def _take_mask(self, mask_index: int) -> None:
        if mask_index < self._mask_cursor:
            raise KeyStoreError(f"mask pair {mask_index} was taken before")
        self._mask_cursor = mask_index + 1
        pair = self._masks.pair(mask_index)
        for block, held in sorted(self._blocks.items()):
            for gap in self._gaps(block, Pool.RESERVE):
                wanted = (mask_index - (held.ownership.reserve_first if held.ownership else 0)) * PAIR_BYTES
                if gap.first_byte < wanted:
                    self._spend(UseKind.SKIPPED, Pool.RESERVE, replace(gap, count_bytes=min(gap.end_byte, wanted) - gap.first_byte))
                if gap.first_byte <= wanted < gap.end_byte:
                    place = Piece(block, wanted, PAIR_BYTES)
                    self._spend(UseKind.MASK, Pool.RESERVE, place, f"mask pair {mask_index}")
                    pair = self._read(Pool.RESERVE, place)
        self._open_pairs[mask_index] = pair

    def _stage(self, block: int, key: SecretBits) -> None:
        if block in self._erased:
            raise KeyStoreError(f"block {block} was erased: its number is not used again")
        if block not in self._blocks or self._blocks[block].ownership is None:
            self._blocks[block] = _Block(key, self._rule, self._mask_cursor, self._masks.end)

    def _commit(self, block: int) -> None:
        if block not in self._blocks:
            raise KeyNotFoundError(f"block {block} is to be committed but was never staged")
        held = self._blocks[block]
        if held.ownership is None:
            if max(self.committed, default=0) > block:
                raise KeyStoreError(f"block {block} is to be committed after a later one")
            facts = BlockFacts(held.key.count, held.mask_cursor, max(held.reserve_floor, self._reserve_end(block)))
            held.ownership = share_out(facts, held.rule)
            held.committed_s = self._clock()

    def _settle(self, commit: tuple[int, ...], erase: tuple[int, ...]) -> None:
        for block in sorted(commit):
            self._commit(block)
        for block in erase:
            if block in self._blocks:
                for pool in Pool:
                    self._abandon(block, pool, UseKind.ERASED)
                self._blocks.pop(block).key.wipe()
                self._erased.add(block)
        if self._doubted:
            for block in self._blocks:
                for pool in (pool for pool in Pool if pool.asker is not None):
                    self._abandon(block, pool, UseKind.FORGONE)
        self._doubted, self._doubted_next = False, None

    def _reserve_end(self, below_block: int | None = None) -> int:
        shared = [held.ownership for block, held in self._blocks.items() if held.ownership and (below_block is None or block < below_block)]
        return max((one.reserve_first + one.reserve_pairs for one in shared if one.reserve_pairs), default=0)

    def _gaps(self, block: int, pool: Pool) -> list[Piece]:
        """What is unspent of a pool's part of a block."""
        count_bytes = self._blocks[block].part(pool)[1] if block in self._blocks else 0
        spent = [use.piece for use in self._uses if use.pool is pool and use.piece.block == block and not use.returned]
        gaps, reached = [], 0
        for piece in [*sorted(spent), Piece(block, count_bytes, 0)]:
            if piece.first_byte > reached:
                gaps.append(Piece(block, reached, piece.first_byte - reached))
            reached = max(reached, piece.end_byte)
        return gaps

    def _abandon(self, block: int, pool: Pool, kind: UseKind) -> int:
        gaps = self._gaps(block, pool)
        for gap in gaps:
            self._spend(kind, pool, gap)
        return sum(gap.count_bytes for gap in gaps)

    def _spend(self, kind: UseKind, pool: Pool, piece: Piece, purpose: str = "", handout: int = 0) -> None:
        self._uses.append(AuditEntry(len(self._uses) + 1, handout, kind, pool, piece, purpose, self._clock(), returned=False))

    def _hand_out(self, kind: UseKind, pool: Pool, pieces: list[Piece], purpose: str) -> Taken:
        self._handouts += 1
        for piece in pieces:
            self._spend(kind, pool, piece, purpose, self._handouts)
        return Taken(self._handouts, pool, tuple(pieces), bytearray(b"".join(self._read(pool, piece) for piece in pieces)))

    def _conclude(self, handout: int, *, kind: UseKind, returned: bool) -> None:
        open_uses = [
            index
            for index, use in enumerate(self._uses)
            if use.handout == handout > 0 and use.kind is UseKind.EXPECTED and not use.returned
        ]
        if not open_uses:
            raise KeyNotFoundError(f"handout {handout} is none of key that the peer announced, or is final")
        for index in open_uses:
            self._uses[index] = replace(self._uses[index], kind=kind, returned=returned)

    def _read(self, pool: Pool, piece: Piece) -> bytes:
        held = self._blocks[piece.block]
        first = held.part(pool)[0] + piece.first_byte
        return held.key.to_bits().to_bytes()[first : first + piece.count_bytes]

    def _refuse_strangers(self) -> None:
        if not self._met:
            raise KeyStoreError("no key is handed out before the peer was met: an old copy of a store is noticed only then")
        if self._doubted:
            raise KeyStoreError("one of the two key stores is an old copy: no key is handed out until the next block has settled it")
