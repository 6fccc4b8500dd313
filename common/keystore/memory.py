"""A key store in plain dictionaries, for offline distillation, rehearsals, and as the model the store on disk is compared with.

It understands the same operations and hands out key by the same rules: what was handed out is gone, masks and block numbers never go back.
It outlives a stopped rehearsal, as a store on disk outlives a crash.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import assert_never

from common.bits import Bits, SecretBits, concatenated
from common.channel.codec import Party
from common.conversation.operations import (
    CommitKeys,
    DistrustHashKey,
    Ledger,
    MeetPeer,
    OpenBlock,
    Operation,
    ReadLedger,
    Settle,
    StageKeys,
    TakeMask,
)
from common.errors import (
    KeyNotFoundError,
    KeyStoreError,
)
from common.keystore.interface import (
    EXPECTED_GRACE_SECONDS,
    LOW_WATER_RATIO,
    AuditEntry,
    Levels,
    Piece,
    UseKind,
)
from common.keystore.masks import ProvisionedMasks
from common.keystore.memory_handing_out import MemoryHandingOut, MemoryHandout
from common.keystore.memory_reserve import MemoryReserve
from common.keystore.ownership import PAIR_BYTES, TAGS, BlockFacts, Ownership, OwnershipRule, Pool, share_out
from common.keystore.reserve import is_empty


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


class MemoryKeyStore(MemoryHandingOut):
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
        self._reserve = MemoryReserve(masks or ProvisionedMasks(), self._spend_pair)
        self._rule = rule or OwnershipRule()
        self._capacity_bits = capacity_bits
        self._expiry_seconds = expiry_seconds
        self._clock = clock
        self._blocks: dict[int, _Block] = {}
        self._erased: set[int] = set()
        self._uses: list[AuditEntry] = []
        self._handouts = 0
        self._open: dict[int, MemoryHandout] = {}
        self._next_block = 1
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
                reserve = self._reserve
                return Ledger(self._next_block, reserve.cursor, lengths, reserve.hash_key, reserve.least_hash_key)
            case MeetPeer(next_block, newest_block, hash_key):
                self._meet(next_block, newest_block)
                self._reserve.use_hash_key(hash_key, self.count_masks)
            case DistrustHashKey(hash_key):
                self._reserve.distrust(hash_key)
            case OpenBlock(block):
                if block < self._next_block:
                    raise KeyStoreError(f"block {block} was opened before")
                self._next_block = block + 1
                if self._doubted_next == block and not self._doubted:
                    self._doubted_next = None
            case TakeMask(mask_index):
                self._reserve.take_mask(mask_index)
            case StageKeys(keys):
                self._stage(keys)
            case CommitKeys(blocks):
                self._commit(blocks)
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
        return max(self._reserve.provisioned.end, self._reserve_end())

    def mask(self, mask_index: int, sender: Party) -> bytes:
        """Return the mask of ``sender`` in a pair ``mask_index`` that ``TakeMask`` has marked as used.

        Raises
        ------
        BlockAborted
            If there is no such pair left.
        """
        return self._reserve.mask(mask_index, sender)

    def hash_key_of(self, number: int) -> bytes:
        """Return the hash key that ``MeetPeer`` has taken into use, which has to be ``number``."""
        return self._reserve.hash_key_of(number)

    def renew(self, masks: ProvisionedMasks) -> bool:
        """Take in ``masks`` given by hand; return whether they are newer than those that were there."""
        return self._reserve.renew(masks)

    def expire(self) -> int:
        """Destroy key that has grown too old.

        Returns
        -------
        int
            Bits destroyed.
        """
        now_s, age_s, count_bytes = self._clock(), self._expiry_seconds, 0
        for pool in (pool for pool in Pool if pool.asker is not None and age_s is not None):
            grace = 0.0 if pool.asker is self._owner else EXPECTED_GRACE_SECONDS
            for block, held in self._blocks.items():
                is_old = held.ownership and held.committed_s < now_s - (age_s or 0.0) - grace
                if is_old and not self._is_awaited(pool, block):
                    count_bytes += self._abandon(block, pool, UseKind.EXPIRED)
        for pad, tag in TAGS.items():
            for block in self._blocks:
                if not self._gaps(block, pad) and not self._is_awaited(pad, block):
                    self._abandon(block, tag, UseKind.RETIRED)
        return 8 * count_bytes

    def levels(self) -> Levels:
        """Say how full the store is.

        Returns
        -------
        Levels
            As of now.
        """
        pool_bits = {pool: 8 * sum(gap.count_bytes for block in self._blocks for gap in self._gaps(block, pool)) for pool in Pool}
        reserve, masks = self._reserve, self._reserve.provisioned
        pairs = max(0, masks.end - max(reserve.cursor, masks.first)) + pool_bits[Pool.RESERVE] // (8 * PAIR_BYTES)
        empty = is_empty(reserve.cursor, self.count_masks, reserve.hash_key, reserve.least_hash_key)
        staged_bits = sum(held.key.count for held in self._blocks.values() if not held.ownership)
        return Levels(
            pool_bits=pool_bits,
            reserve_pairs=pairs,
            reserve_target_pairs=self._rule.reserve_target_pairs,
            reserve_low=pairs < LOW_WATER_RATIO * self._rule.reserve_target_pairs or empty,
            reserve_empty=empty,
            staged_bits=staged_bits,
            capacity_bits=self._capacity_bits,
            full=self._capacity_bits is not None and staged_bits + sum(pool_bits.values()) >= self._capacity_bits,
            next_block=self._next_block,
            mask_cursor=reserve.cursor,
            hash_key=reserve.hash_key,
            least_hash_key=reserve.least_hash_key,
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
        self._reserve.forget()
        self._open.clear()
        for index, entry in enumerate(self._uses):
            if entry.kind is UseKind.EXPECTED and not entry.returned:
                self._uses[index] = replace(entry, kind=UseKind.RECEIVED)

    def _meet(self, peers_next_block: int, peers_newest_block: int) -> None:
        ours = self._next_block if self._doubted_next is None else self._doubted_next
        newest = max(self.committed, default=0)
        lacks = peers_newest_block >= ours
        self._doubted = lacks or newest >= peers_next_block
        self._doubted_next = ours if lacks else self._doubted_next
        self._met = True

    def _spend_pair(self, number: int, kind: UseKind) -> bytes | None:
        pair = None
        for block, held in sorted(self._blocks.items()):
            for gap in self._gaps(block, Pool.RESERVE):
                wanted = (number - (held.ownership.reserve_first if held.ownership else 0)) * PAIR_BYTES
                if gap.first_byte < wanted:
                    self._spend(UseKind.SKIPPED, Pool.RESERVE, replace(gap, count_bytes=min(gap.end_byte, wanted) - gap.first_byte))
                if gap.first_byte <= wanted < gap.end_byte:
                    place = Piece(block, wanted, PAIR_BYTES)
                    self._spend(kind, Pool.RESERVE, place, f"mask pair {number}")
                    pair = self._read(Pool.RESERVE, place)
        return pair

    def _stage(self, keys: dict[int, SecretBits]) -> None:
        for block in sorted(keys):  # all of them or none
            if block in self._erased:
                raise KeyStoreError(f"block {block} was erased: its number is not used again")
        for block, key in sorted(keys.items()):
            if block not in self._blocks or self._blocks[block].ownership is None:
                self._blocks[block] = _Block(key, self._rule, *self._reserve.stood)

    def _commit(self, blocks: tuple[int, ...]) -> None:
        newest = max(self.committed, default=0)
        for block in sorted(blocks):  # all of them or none
            if block not in self._blocks:
                raise KeyNotFoundError(f"block {block} is to be committed but was never staged")
            if self._blocks[block].ownership is None and newest > block:
                raise KeyStoreError(f"block {block} is to be committed after a later one")
        for block in sorted(blocks):
            held = self._blocks[block]
            if held.ownership is None:
                facts = BlockFacts(held.key.count, held.mask_cursor, max(held.reserve_floor, self._reserve_end(block)))
                held.ownership = share_out(facts, held.rule)
                held.committed_s = self._clock()

    def _settle(self, commit: tuple[int, ...], erase: tuple[int, ...]) -> None:
        self._commit(commit)
        for block in erase:
            if block in self._blocks:
                for pool in Pool:
                    self._abandon(block, pool, UseKind.ERASED)
                self._blocks.pop(block).key.wipe()
                self._erased.add(block)
        for number, opened in tuple(self._open.items()):
            if self._doubted or any(piece.block in erase for piece in opened.handout.pieces):
                if not opened.is_final:
                    self.burn(number)
                self._open.pop(number, None)
        if self._doubted:
            for block in self._blocks:
                for pool in (pool for pool in Pool if pool is not Pool.RESERVE):
                    self._abandon(block, pool, UseKind.FORGONE)
        self._doubted, self._doubted_next = False, None

    def _reserve_end(self, below_block: int | None = None) -> int:
        shared = [held.ownership for block, held in self._blocks.items() if held.ownership and (below_block is None or block < below_block)]
        return max((one.reserve_first + one.reserve_pairs for one in shared if one.reserve_pairs), default=0)

    def _numbers(self) -> list[int]:
        return sorted(self._blocks)

    def _is_staged(self, block: int) -> bool:
        return block in self._blocks and not self._blocks[block].ownership

    def _part_bytes(self, block: int, pool: Pool) -> int:
        return self._blocks[block].part(pool)[1] if block in self._blocks else 0

    def _gaps(self, block: int, pool: Pool) -> list[Piece]:
        count_bytes = self._part_bytes(block, pool)
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

    def _read(self, pool: Pool, piece: Piece) -> bytes:
        held = self._blocks[piece.block]
        first = held.part(pool)[0] + piece.first_byte
        return held.key.to_bits().to_bytes()[first : first + piece.count_bytes]
