"""Blocks of a store file: staged, committed and shared out, or erased.

The numbers a block's sharing rests on (rule, mask cursor, provisioned masks) are kept with it when it is staged, when both ends
are known to agree on them; it may be committed much later, by another session, under another configuration.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable

from common.bits import SecretBits
from common.conversation.operations import MOST_LISTED_BLOCKS
from common.errors import KeyNotFoundError, KeyStoreError
from common.keystore.book import Book, Share
from common.keystore.contexts import row_guard, sharing_context
from common.keystore.database import Database, SqlValue
from common.keystore.interface import Piece, UseKind
from common.keystore.ownership import DELIVERIES, PAIR_BYTES, TAGS, BlockFacts, OwnershipRule, Pool, share_out
from common.keystore.shelf import STAGED, DamagedPieceError, Shelf

RESEALED = frozenset(DELIVERIES.values())
"""Pools whose key is destroyed to the byte when it is spent, not with the whole sealed piece it lay in."""

MOST_BLOCK_BYTES = 1 << 40
"""Above the length of any block."""


_ALTERED_PARTS = """
SELECT block, pool FROM parts WHERE left_bytes > 0 AND (pool NOT IN (SELECT value FROM json_each(?)) OR left_bytes + (
    SELECT coalesce(SUM(uses.count_bytes), 0) FROM uses WHERE uses.block = parts.block AND uses.pool = parts.pool AND returned = 0
) != count_bytes)"""
_POOLS = json.dumps([pool.value for pool in Pool])


class Blocks:
    """The blocks of one store; every change happens inside the caller's transaction.

    Parameters
    ----------
    database : Database
        Holds them.
    shelf : Shelf
        Their key.
    book : Book
        What of it is spent.
    clock : callable
        Returns Unix time in seconds.
    """

    def __init__(self, database: Database, shelf: Shelf, book: Book, clock: Callable[[], float]) -> None:
        self._database = database
        self._shelf = shelf
        self._book = book
        self._clock = clock

    def lengths(self) -> dict[int, int]:
        """Return the bits of the newest blocks that are held, by number."""
        rows = self._database.integers(
            "SELECT block, count_bits FROM blocks WHERE state != 'erased' ORDER BY block DESC LIMIT ?", (MOST_LISTED_BLOCKS,)
        )
        return dict(reversed([(block, count_bits) for block, count_bits in rows]))

    def newest_committed(self) -> int:
        """Return the highest committed block, or 0."""
        return self._database.integer("SELECT MAX(block) FROM blocks WHERE state = 'committed'")

    def reserve_end(self, below_block: int | None = None) -> int:
        """Return the lowest mask pair above all that committed blocks brought, of those below ``below_block`` if it is given."""
        return self._database.integer(
            "SELECT MAX(reserve_first + reserve_pairs) FROM blocks "
            "WHERE state = 'committed' AND reserve_pairs > 0 AND block < coalesce(?, block + 1)",
            (below_block,),
        )

    def stage(self, block: int, key: SecretBits, rule: OwnershipRule, mask_cursor: int, reserve_floor: int) -> None:
        """Keep the key of a block without handing it out.

        Parameters
        ----------
        block : int
            Block number.
        key : SecretBits
            Its key.
        rule : OwnershipRule
            How it will be shared out.
        mask_cursor, reserve_floor : int
            Lowest unused mask pair, and the lowest above all provisioned ones.

        Raises
        ------
        KeyStoreError
            If the block was erased.
        """
        known = self._database.rows("SELECT state FROM blocks WHERE block = ?", (block,))
        if known == [("committed",)]:
            return
        if known == [("erased",)]:
            raise KeyStoreError(f"block {block} was erased: its number is not used again")
        self._shelf.remove(block)
        facts = (key.count, rule.text, mask_cursor, reserve_floor)
        self._database.rows(
            "INSERT OR REPLACE INTO blocks (block, state, count_bits, rule, mask_cursor, reserve_floor, staged_s, guard) "
            "VALUES (?, 'staged', ?, ?, ?, ?, ?, ?)",
            (block, *facts, self._clock(), row_guard(block, *facts)),
        )
        self._shelf.put(block, STAGED, memoryview(key.to_bits().to_bytes()), sharing_context(*facts))

    def commit(self, block: int) -> None:
        """Share out a staged block.

        Parameters
        ----------
        block : int
            Block number; nothing happens if it is committed.

        Raises
        ------
        KeyNotFoundError
            If it was never staged, or erased.
        KeyStoreError
            If a later block is committed already: sharing out rests on the order, which is the same at both ends.
        DamagedPieceError
            If its key cannot be read any more.
        """
        found = self._database.rows("SELECT state, rule FROM blocks WHERE block = ?", (block,))
        if not found or found[0][0] == "erased":
            raise KeyNotFoundError(f"block {block} is to be committed but was never staged")
        state, rule = found[0]
        if state == "committed":
            return
        if self.newest_committed() > block:
            raise KeyStoreError(f"block {block} is to be committed after a later one")
        ((count_bits, mask_cursor, floor),) = self._database.integers(
            "SELECT count_bits, mask_cursor, reserve_floor FROM blocks WHERE block = ?", (block,)
        )
        key = self._staged_key(block, count_bits, sharing_context(count_bits, str(rule), mask_cursor, floor))
        facts = BlockFacts(count_bits, mask_cursor, max(floor, self.reserve_end(block)))
        ownership = share_out(facts, OwnershipRule.of_text(str(rule)))
        self._shelf.destroy_keys(block)
        self._database.rows(
            "UPDATE blocks SET state = 'committed', committed_s = ?, reserve_first = ?, reserve_pairs = ?, guard = ? WHERE block = ?",
            (
                self._clock(),
                ownership.reserve_first,
                ownership.reserve_pairs,
                row_guard(block, count_bits, ownership.reserve_first, ownership.reserve_pairs),
                block,
            ),
        )
        for part in ownership.parts:
            if part.pool is not None:
                first, count = part.first_bit // 8, part.count_bits // 8
                self._database.rows(
                    "INSERT INTO parts (block, pool, first_bit, count_bytes, left_bytes) VALUES (?, ?, ?, ?, ?)",
                    (block, part.pool.value, part.first_bit, count, count),
                )
                self._shelf.put(block, part.pool.value, memoryview(key)[first : first + count])
        key[:] = bytes(len(key))

    def _staged_key(self, block: int, count_bits: int, sharing: bytes) -> bytearray:
        """Open a staged block; a length that its sealed pieces do not have asks for no memory."""
        count_bytes = sum(piece.count_bytes for piece in self._shelf.pieces(STAGED, block))
        whole = Piece(block, 0, count_bytes)
        if count_bytes != (count_bits + 7) // 8:
            raise DamagedPieceError(STAGED, whole)
        key = bytearray(count_bytes)
        self._shelf.read(STAGED, whole, memoryview(key), sharing)
        return key

    def erase(self, block: int, *, damaged: bool = False) -> None:
        """Erase a block, data keys first.

        Parameters
        ----------
        block : int
            Block number; nothing happens where there is none.
        damaged : bool
            Whether it is erased because it cannot be read.
        """
        for share in self._book.shares("parts.block = ?", block):
            self.abandon(share, UseKind.ERASED)
        self._shelf.destroy_keys(block)
        self._database.rows("UPDATE blocks SET state = 'erased', damaged = max(damaged, ?) WHERE block = ?", (int(damaged), block))

    def erase_staged(self, damaged: int) -> None:
        """Erase a staged block that is ``damaged``, and all that were staged behind it.

        Those are shared out by what the blocks before them brought to the reserve, at the peer perhaps already: without the damaged one
        they would be shared out otherwise here, and the ends would hand out different key under the same name.
        """
        self.erase(damaged, damaged=True)
        for (block,) in self._database.integers("SELECT block FROM blocks WHERE state = 'staged' AND block > ?", (damaged,)):
            self.erase(block)

    def erase_altered(self) -> None:
        """Erase blocks whose row was altered on disk, and what was staged behind them: the next greeting makes the peer erase them too."""
        guarded = {
            "staged": "count_bits, rule, mask_cursor, reserve_floor",
            "committed": "count_bits, reserve_first, reserve_pairs",
        }
        altered = self._database.integers("SELECT block FROM blocks WHERE state NOT IN ('staged', 'committed', 'erased')")
        for state, columns in guarded.items():
            rows = self._database.rows(f"SELECT guard, block, {columns} FROM blocks WHERE state = ? AND guard IS NOT NULL", (state,))  # noqa: S608 - fixed words
            altered += [(_number(block),) for guard, block, *facts in rows if guard != row_guard(block, *facts)]
        for (block,) in altered:
            self.erase_staged(block)

    def give_up_altered(self) -> None:
        """Give up what is left of parts of which the ledger does not add up: nobody knows which of it was handed out."""
        for block, pool in self._database.rows(_ALTERED_PARTS, (_POOLS,)):
            self.give_up(block, str(pool))

    def give_up(self, block: SqlValue, pool: str) -> None:
        """Give up what is left of the part of a ``block`` that is of ``pool``, and of which the ledger does not add up."""
        self._database.rows("UPDATE parts SET left_bytes = 0 WHERE block = ? AND pool = ?", (block, pool))
        self._shelf.destroy_keys(_number(block), pool)
        self._database.rows("UPDATE blocks SET damaged = 1 WHERE block = ?", (block,))

    def front(self, pool: Pool, count_bytes: int) -> tuple[Piece, ...]:
        """Choose key from the front of one of our pools, past parts whose front the ledger has as spent.

        Parameters
        ----------
        pool : Pool
            Which.
        count_bytes : int
            How much.

        Returns
        -------
        tuple[Piece, ...]
            As ``Book.front`` has it.
        """
        while True:
            pieces = self._book.front(pool, count_bytes)
            spent = [piece for piece in pieces if self._book.is_spent(pool, piece)]
            if not spent:
                return tuple(pieces)
            for piece in spent:
                self.give_up(piece.block, pool.value)

    def abandon(self, share: Share, kind: UseKind) -> None:
        """Give up what is left of ``share``, for the reason ``kind``."""
        self._book.spend(kind, share.pool, self._book.gaps(share))
        self._shelf.destroy_keys(share.block, share.pool.value)

    def forgo(self) -> None:
        """Give up all key that may have been handed out without this ledger knowing; masks are safe behind their cursor."""
        for share in self._book.shares("pool != ?", Pool.RESERVE.value):
            self.abandon(share, UseKind.FORGONE)

    def spend_pair(self, number: int, kind: UseKind) -> Piece | None:
        """Enter a pair of the reserve and all skipped ones into the ledger.

        Parameters
        ----------
        number : int
            The pair.
        kind : UseKind
            What becomes of it.

        Returns
        -------
        Piece | None
            Where the pair lies, if a block brought it.
        """
        place = None
        for share in self._book.shares("pool = ? AND reserve_first <= ?", Pool.RESERVE.value, number):
            first_pair = self._database.integer("SELECT reserve_first FROM blocks WHERE block = ?", (share.block,))
            (left,) = self._book.gaps(share)
            wanted_byte = (number - first_pair) * PAIR_BYTES
            skipped = min(left.end_byte, wanted_byte) - left.first_byte
            if skipped:
                self._book.spend(UseKind.SKIPPED, Pool.RESERVE, [Piece(share.block, left.first_byte, skipped)])
                self._shelf.destroy_keys(share.block, Pool.RESERVE.value, left.first_byte + skipped)
            if wanted_byte < left.end_byte:
                place = Piece(share.block, wanted_byte, PAIR_BYTES)
                self._book.spend(kind, Pool.RESERVE, [place], purpose=f"mask pair {number}")
        return place

    def destroy_spent(self, share: Share) -> None:
        """Destroy what is spent of ``share``: whole sealed pieces, and of key for applications every byte."""
        for sealed in self._shelf.pieces(share.pool.value, share.block):
            self._keep_unspent(share.pool, sealed)

    def _keep_unspent(self, pool: Pool, sealed: Piece) -> None:
        """Destroy what is spent of a ``sealed`` piece, as far as that is done for its ``pool``."""
        unspent = self._book.unspent(pool, sealed)
        if not unspent:
            self._shelf.destroy_piece_key(pool.value, sealed)
        elif pool in RESEALED and unspent != [sealed]:
            try:
                self._shelf.keep_only(pool.value, sealed, unspent)
            except DamagedPieceError:
                self.set_aside(pool, sealed)

    def destroy_read(self, pool: Pool, pieces: Iterable[Piece], is_awaited: Callable[[Pool, Piece], bool]) -> None:
        """Destroy key that has been read: sealed pieces spent from end to end, and of key for applications every byte.

        Parameters
        ----------
        pool : Pool
            Whose.
        pieces : iterable of Piece
            What has been read.
        is_awaited : callable
            Tells whether anybody is still to read a byte of a piece.
        """
        for piece in pieces:
            for sealed in self._shelf.covering(pool.value, piece):
                if not is_awaited(pool, sealed):
                    self._keep_unspent(pool, sealed)

    def retire_tag_keys(self, is_awaited: Callable[[Pool, Piece], bool]) -> None:
        """Destroy keys of tags where the pad they go with is used up.

        Parameters
        ----------
        is_awaited : callable
            Tells whether anybody is still to read a byte of a piece, or may give it back.
        """
        for pad, tag in TAGS.items():
            for share in self._book.shares(
                "pool = ? AND NOT EXISTS "
                "(SELECT 1 FROM parts AS pads WHERE pads.block = parts.block AND pads.pool = ? AND pads.left_bytes > 0)",
                tag.value,
                pad.value,
            ):
                if not is_awaited(pad, Piece(share.block, 0, MOST_BLOCK_BYTES)):
                    self.abandon(share, UseKind.RETIRED)

    def give_up_pad(self, block: int, pad: Pool) -> None:
        """Give up what is left of a ``pad`` in ``block``: without the key of their tags no messages are sent with it."""
        for pool in (pad, TAGS[pad]):
            for share in self._book.shares("parts.block = ? AND pool = ?", block, pool.value):
                self.abandon(share, UseKind.DAMAGED)
        self._database.rows("UPDATE blocks SET damaged = 1 WHERE block = ?", (block,))

    def set_aside(self, pool: Pool, damaged: Piece) -> None:
        """Enter what is left of a ``damaged`` piece of ``pool`` into the ledger, so that the next request goes past it."""
        self._spend_rest(UseKind.DAMAGED, pool, damaged)
        self._shelf.destroy_piece_key(pool.value, damaged)
        self._database.rows("UPDATE blocks SET damaged = 1 WHERE block = ?", (damaged.block,))

    def pass_over(self, pool: Pool, place: Piece, is_awaited: Callable[[Pool, Piece], bool]) -> None:
        """Give up what is left of a place that the peer has given up.

        Parameters
        ----------
        pool : Pool
            One that the peer asks.
        place : Piece
            Which bytes of its part; they need not all be here.
        is_awaited : callable
            Tells whether anybody is still to read a byte of a piece.
        """
        self._spend_rest(UseKind.SKIPPED, pool, place)
        self.destroy_read(pool, [place], is_awaited)

    def _spend_rest(self, kind: UseKind, pool: Pool, place: Piece) -> None:
        for share in self._book.shares("parts.block = ? AND pool = ?", place.block, pool.value):
            for gap in self._book.gaps(share):
                first, end = max(gap.first_byte, place.first_byte), min(gap.end_byte, place.end_byte)
                if first < end:
                    self._book.spend(kind, pool, [Piece(place.block, first, end - first)])


def _number(value: SqlValue) -> int:
    return value if isinstance(value, int) else 0
