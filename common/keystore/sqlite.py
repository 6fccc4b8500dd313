"""The key store on disk: what both ends hold, shared out, sealed, and handed out once.

Conversations reach it through ``apply``: a block is staged, then committed once the peer holds it too, then shared out by
``common.keystore.ownership``. Applications take key; the ledger says so, on disk, before a bit of it is read. A crash loses key and
never repeats it. What it was told by the peer's greeting decides whether it may hand out at all: a store restored from an old copy does not
know what it gave away, and the two ends then forgo the key they shared so far.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import assert_never

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
from common.errors import ConfigurationError, KeyStoreError
from common.keystore.blocks import Blocks
from common.keystore.book import Book, Share
from common.keystore.contexts import master_check_context
from common.keystore.database import Database
from common.keystore.handouts import OpenHandout, OpenHandouts
from common.keystore.interface import (
    EXPECTED_GRACE_SECONDS,
    LOW_WATER_RATIO,
    AuditEntry,
    Levels,
    Piece,
    UseKind,
)
from common.keystore.masks import ProvisionedMasks
from common.keystore.moving import Moving
from common.keystore.ownership import PAIR_BYTES, OwnershipRule, Pool
from common.keystore.quotas import Drawn
from common.keystore.reserve import Reserve
from common.keystore.sealing import DATA_KEY_BYTES, DamagedSealError, MasterKey
from common.keystore.shelf import DamagedPieceError, Shelf
from common.keystore.watermark import Watermark

DEFAULT_CAPACITY_BITS = 8 << 30
"""Key to keep before distillation should pause: one gibibyte."""


class SqliteKeyStore(Moving):
    """Keys of one end in one file.

    Parameters
    ----------
    path : Path
        The file; its log, lock and watermark lie beside it.
    owner : Party
        Whose end this is.
    master : MasterKey
        Wraps the data keys.
    masks : ProvisionedMasks
        Mask pairs given by hand.
    rule : OwnershipRule
        How blocks staged from now on are shared out; agreed with the peer.
    capacity_bits : int | None
        Most bits to keep before the store calls itself full; what is committed beyond is kept all the same.
    expiry_seconds : float | None
        Age at which key is destroyed, or None for never; masks do not age.
    clock : callable
        Returns Unix time, seconds.
    most_pages : int | None
        Most pages the file may have.

    Raises
    ------
    ConfigurationError
        If the file is another end's, sealed with another master key, from a newer version, open elsewhere, or readable by others.
    KeyStoreError
        If it cannot be read.
    """

    def __init__(
        self,
        path: Path,
        owner: Party,
        master: MasterKey,
        *,
        masks: ProvisionedMasks | None = None,
        rule: OwnershipRule | None = None,
        capacity_bits: int | None = DEFAULT_CAPACITY_BITS,
        expiry_seconds: float | None = None,
        clock: Callable[[], float] = time.time,
        most_pages: int | None = None,
    ) -> None:
        self._owner = owner
        self._rule = rule or OwnershipRule()
        self._capacity_bits = capacity_bits
        self._expiry_seconds = expiry_seconds
        self._clock = clock
        self._met = False
        self._open = OpenHandouts()
        self._mutex = threading.RLock()
        self._database = Database(path, most_pages)
        try:
            self._master, self._store_id = master, self._identified(master)
            store_id = self._store_id
            self._shelf = Shelf(self._database, master, store_id)
            self._book = Book(self._database, owner, clock)
            self._drawn = Drawn(self._database)
            self._blocks = Blocks(self._database, self._shelf, self._book, clock)
            self._reserve = Reserve(self._database, self._shelf, self._blocks, master, store_id, masks or ProvisionedMasks())
            self._watermark = Watermark(path.with_name(path.name + ".handouts"), store_id)
            self._recover()
        except BaseException:
            self._database.close()
            raise

    def apply(self, operation: object) -> object:
        """Carry out an ``operation`` of ``common.conversation.operations``, durably; a ``Ledger`` for ``ReadLedger``, else None.

        Parameters
        ----------
        operation : object
            What a conversation asks.

        Returns
        -------
        object
            A ``Ledger``, or None.

        Raises
        ------
        KeyNotFoundError
            If a key is to be committed that was never staged.
        KeyStoreError
            If a block is opened or a mask taken a second time, a block is staged anew after it was erased, or the disk fails.
        """
        known: Operation = operation  # type: ignore[assignment]  # anything else ends in assert_never
        with self._mutex:
            match known:
                case ReadLedger():
                    reserve = self._reserve
                    return Ledger(
                        self._state("next_block"), reserve.cursor, self._blocks.lengths(), reserve.hash_key, reserve.least_hash_key
                    )
                case MeetPeer(next_block, newest_block, hash_key):
                    self._meet(next_block, newest_block)
                    self._reserve.use_hash_key(hash_key)
                case DistrustHashKey(hash_key):
                    self._reserve.distrust(hash_key)
                case OpenBlock(block):
                    self._open_block(block)
                case TakeMask(mask_index):
                    self._reserve.take_mask(mask_index)
                case StageKeys(keys):
                    with self._database.transaction():
                        for block, key in sorted(keys.items()):
                            self._blocks.stage(block, key, self._rule, *self._reserve.stood)
                case CommitKeys(blocks):
                    self._settle(blocks, ())
                case Settle(commit, erase):
                    self._settle(commit, erase, vouched=True)
                case _ as unreachable:
                    assert_never(unreachable)
            self._reserve.recount()
            self._shelf.sweep()
        return None

    @property
    def count_masks(self) -> int:
        """Lowest mask pair above all there are."""
        return self._reserve.count_masks

    def mask(self, mask_index: int, sender: Party) -> bytes:
        """Return a mask of a pair that ``TakeMask`` has read; touches no disk.

        Parameters
        ----------
        mask_index : int
            One of the last few pairs taken.
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
        return self._reserve.mask(mask_index, sender)

    def hash_key_of(self, number: int) -> bytes:
        """Return the hash key that ``MeetPeer`` has taken into use, which has to be ``number``; touches no disk."""
        return self._reserve.hash_key_of(number)

    def renew(self, masks: ProvisionedMasks) -> bool:
        """Take in ``masks`` given by hand; return whether they are newer than those that were there."""
        with self._mutex:
            return self._reserve.renew(masks)

    def expire(self) -> int:
        """Destroy key that has grown too old, and keys of tags whose pad is used up.

        Returns
        -------
        int
            Bits destroyed.
        """
        with self._mutex:
            count_bytes = self._expire(self._clock() - self._expiry_seconds) if self._expiry_seconds is not None else 0
            with self._database.transaction(durable=False):
                self._blocks.retire_tag_keys(self._open.awaits)
            self._shelf.sweep()
            return 8 * count_bytes

    def _expire(self, ours: float) -> int:
        count_bytes = 0
        with self._database.transaction():
            for pool in (pool for pool in Pool if pool.asker is not None):
                limit = ours if pool.asker is self._owner else ours - EXPECTED_GRACE_SECONDS
                for share in self._book.shares("pool = ? AND committed_s < ?", pool.value, limit):
                    if not self._open.awaits(pool, Piece(share.block, 0, share.count_bytes)):  # else the next time
                        count_bytes += share.left_bytes
                        self._blocks.abandon(share, UseKind.EXPIRED)
        return count_bytes

    def levels(self) -> Levels:
        """Say how full the store is.

        Returns
        -------
        Levels
            As of now.
        """
        with self._mutex:
            reserve, mask_cursor = self._reserve, self._reserve.cursor
            pool_bits = {pool: 8 * self._book.left_bytes(pool) for pool in Pool}
            provisioned = max(0, reserve.provisioned.end - max(mask_cursor, reserve.provisioned.first))
            pairs = provisioned + pool_bits[Pool.RESERVE] // (8 * PAIR_BYTES)
            staged_bits = self._database.integer("SELECT SUM(count_bits) FROM blocks WHERE state = 'staged'")
            kept_bits = staged_bits + sum(pool_bits.values())
            damaged = self._database.integers("SELECT block FROM blocks WHERE damaged != 0 ORDER BY block")
            return Levels(
                pool_bits=pool_bits,
                reserve_pairs=pairs,
                reserve_target_pairs=self._rule.reserve_target_pairs,
                reserve_low=pairs < LOW_WATER_RATIO * self._rule.reserve_target_pairs or reserve.is_empty,
                reserve_empty=reserve.is_empty,
                staged_bits=staged_bits,
                capacity_bits=self._capacity_bits,
                full=self._capacity_bits is not None and kept_bits >= self._capacity_bits,
                next_block=self._state("next_block"),
                mask_cursor=mask_cursor,
                hash_key=reserve.hash_key,
                least_hash_key=reserve.least_hash_key,
                count_committed=self._database.integer("SELECT COUNT(*) FROM blocks WHERE state = 'committed'"),
                damaged_blocks=tuple(block for (block,) in damaged),
                met=self._met,
                doubted=bool(self._state("doubted")),
            )

    def audit(self, after: int = 0, most: int = 1000) -> list[AuditEntry]:
        """Return at most ``most`` lines of the ledger behind line ``after``."""
        with self._mutex:
            return self._book.entries(after, most)

    def close(self) -> None:
        """Forget the masks and handouts that are open, write everything back and let go of the file."""
        with self._mutex:
            self._reserve.forget()
            self._open.end_all()
            self._watermark.close()
            self._database.close()

    # ------------------------------------------------------------------------------------------------ opening and state

    def _identified(self, master: MasterKey) -> bytes:
        """Return the store's id; a new file gets one."""
        with self._database.transaction():
            if not self._database.rows("SELECT 1 FROM state"):
                store_id = os.urandom(16)
                check = master.wrap(bytes(DATA_KEY_BYTES), master_check_context(store_id))
                self._database.rows(
                    "INSERT INTO state (id, store_id, owner, master_check, next_block, mask_cursor, handouts) VALUES (1, ?, ?, ?, 1, 0, 0)",
                    (store_id, int(self._owner), check),
                )
            ((store_id_, owner, check_),) = self._database.rows("SELECT store_id, owner, master_check FROM state")
            if owner != self._owner:
                raise ConfigurationError(f"{self._database.path} is the key store of the other end: each end keeps its own")
            if not isinstance(store_id_, bytes) or not isinstance(check_, bytes):
                raise KeyStoreError(f"{self._database.path}: the row that names the store is damaged")
            try:
                master.unwrap(check_, master_check_context(store_id_))
            except DamagedSealError:
                raise ConfigurationError(f"{self._database.path}: the master key is not the one this store was sealed with") from None
            return store_id_

    def _recover(self) -> None:
        """Finish what a crash left half done, and notice an old copy."""
        handouts, noted = self._state("handouts"), self._watermark.read()
        for table in ("blocks", "parts", "moves"):
            self._database.check_table(table)
        with self._database.transaction():
            self._book.conclude_all()
            self._blocks.give_up_altered()
            self._blocks.erase_altered()
            self._mark_altered_moves()
            if noted > handouts:
                self._blocks.forgo()
                self._forgo_held()
                self._database.rows("UPDATE state SET handouts = ?", (noted,))
            for block, pool in self._database.rows(
                "SELECT DISTINCT parts.block, parts.pool FROM parts JOIN pieces USING (block, pool) WHERE left_bytes < parts.count_bytes"
            ):
                self._destroy_spent(Pool(pool), block if isinstance(block, int) else 0)
        self._watermark.write(max(handouts, noted))
        self._shelf.sweep()

    # ------------------------------------------------------------------------------------------------------- operations

    def _meet(self, peers_next_block: int, peers_newest_block: int) -> None:
        with self._database.transaction():
            ((ours,),) = self._database.integers("SELECT coalesce(doubted_next, next_block) FROM state")
            lacks = peers_newest_block >= ours
            doubted = lacks or self._blocks.newest_committed() >= peers_next_block
            # Where an old copy stood is remembered until a tag vouches, whatever greetings say: blocks opened meanwhile would hide it.
            self._database.rows(
                "UPDATE state SET doubted = ?, doubted_next = CASE WHEN ? THEN ? ELSE doubted_next END", (int(doubted), int(lacks), ours)
            )
        self._met = True

    def _open_block(self, block: int) -> None:
        with self._database.transaction():
            if block < self._state("next_block"):
                raise KeyStoreError(f"block {block} was opened before")
            # With the very block at which this end stood it goes on as if there had been no doubt: the peer may hold what is opened now.
            self._database.rows(
                "UPDATE state SET next_block = ?, doubted_next = CASE WHEN doubted THEN doubted_next ELSE nullif(doubted_next, ?) END",
                (block + 1, block),
            )

    def _settle(self, commit: tuple[int, ...], erase: tuple[int, ...], *, vouched: bool = False) -> None:
        ended: list[OpenHandout] = []
        try:
            with self._database.transaction():
                for block in sorted(commit):
                    self._blocks.commit(block)
                for block in erase:
                    self._blocks.erase(block)
                is_forgone = vouched and bool(self._state("doubted"))
                ended = self._end_handouts(None if is_forgone else erase)
                if vouched:
                    if is_forgone:
                        self._blocks.forgo()
                        self._forgo_held()
                    self._database.rows("UPDATE state SET doubted = 0, doubted_next = NULL")
        except DamagedPieceError as damaged:
            # The session ends, and the next greeting shows what we lack.
            with self._database.transaction():
                self._blocks.erase_staged(damaged.piece.block)
            raise
        for opened in ended:
            self._abandon(opened)

    def _destroy_spent(self, pool: Pool, block: int) -> None:
        ((count, left),) = self._database.integers(
            "SELECT count_bytes, left_bytes FROM parts WHERE block = ? AND pool = ?", (block, pool.value)
        )
        self._blocks.destroy_spent(Share(block, pool, count, left))
