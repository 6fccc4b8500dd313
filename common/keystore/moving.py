"""The part of a store file that moves key between the delivery pools, in three durable changes of which each may be repeated.

1. The giver spends the key in its ledger, puts it behind its copy of the receiver's part, and offers it: from then on it hands it out
   never, and follows the receiver in it not yet.
2. The receiver, told of it, does the same: from then on it may hand it out, and no earlier.
3. The giver, told of that, follows from then on; or, where the receiver could not have it, gives it up as well.

Whatever is interrupted between them, the giver tells of it again until it has an answer, and no byte is ever in the hands of both. Key is
used at its new place by an end that knows that the other end has put the same there: one that was put back from an old copy, and offers
other key for a place that is taken, is refused before anybody could be given different key under one name. One move is under way at a time,
so both ends put one behind the other alike.
"""

from __future__ import annotations

from collections.abc import Iterator

from common.errors import KeyAlreadyTakenError, KeyNotCommittedError, KeyNotFoundError
from common.keystore.contexts import row_guard
from common.keystore.database import SqlValue
from common.keystore.delivering import Delivering
from common.keystore.interface import UseKind
from common.keystore.moves import MOST_MOVED_BYTES, Move
from common.keystore.ownership import DELIVERIES, Pool
from common.keystore.shelf import DamagedPieceError

PURPOSE = "moved to the other pool"

_FACTS = "handout, block, to_pool, to_byte, from_byte, count_bytes"
"""What the guard of a row covers, in its order."""

_STATES = frozenset({"offered", "moved", "refused"})

_MARK = """
UPDATE blocks SET damaged = 1 WHERE block IN (SELECT block FROM uses WHERE handout = ? AND kind = 'moved' UNION ALL SELECT ?)"""
"""The row or the ledger names the block of a move rightly, where one of the two was altered."""

_CANDIDATES = """
SELECT block, ours.count_bytes - ours.left_bytes, ours.left_bytes, theirs.count_bytes
FROM parts AS ours JOIN parts AS theirs USING (block) JOIN blocks USING (block)
WHERE ours.pool = ? AND ours.left_bytes > 0 AND theirs.pool = ? AND damaged = 0
AND NOT EXISTS (SELECT 1 FROM moves WHERE moves.block = ours.block AND to_pool = theirs.pool AND moves.state = 'refused')
ORDER BY block LIMIT 1"""


class Moving(Delivering):
    """Moves key between the delivery pools of a store file; see ``DeliveryStore``."""

    def offer_move(self, count_bytes: int) -> Move | None:
        """Give up key for the peer's pool, durably, or return the move that is under way.

        Parameters
        ----------
        count_bytes : int
            How much, at most; 0 begins none.

        Returns
        -------
        Move | None
            To be told to the peer until it answers; None where there is none.

        Raises
        ------
        KeyStoreError
            If nothing is handed out at present, or the disk fails.
        """
        with self._mutex:
            self._refuse_strangers()
            move = next(self._under_way(), None) or self._begin_move(count_bytes)
            if move is not None:
                self._watermark.write(self._state("handouts"))
            self._shelf.sweep()
            return move

    def accept_move(self, move: Move) -> bool:
        """Take over key that the peer gives up for our pool, durably.

        Parameters
        ----------
        move : Move
            As the peer named it.

        Returns
        -------
        bool
            Whether it is ours now; if not it is given up here too. The same move is answered the same, however often.

        Raises
        ------
        KeyNotCommittedError
            If the block is staged: nothing is changed, and the peer asks again.
        KeyStoreError
            If nothing is handed out at present, or the disk fails.
        """
        with self._mutex:
            self._refuse_strangers()
            is_accepted = self._has_taken_over(move) or self._take_over(move)
            self._watermark.write(self._state("handouts"))
            self._shelf.sweep()
            return is_accepted

    def settle_move(self, move: Move, *, is_accepted: bool) -> None:
        """Note what the peer has answered; nothing happens where that was noted before.

        Parameters
        ----------
        move : Move
            As it was told to the peer.
        is_accepted : bool
            Whether the peer has the key now; if not it is given up here too.
        """
        with self._mutex:
            with self._database.transaction():
                if move in self._under_way():
                    theirs = DELIVERIES[self._owner.peer]
                    self._database.rows(
                        "UPDATE moves SET state = ? WHERE block = ? AND to_pool = ? AND to_byte = ?",
                        ("moved" if is_accepted else "refused", move.block, theirs.value, move.target_byte),
                    )
                    if not is_accepted:
                        self._blocks.pass_over(theirs, move.target, self._open.awaits)
            self._shelf.sweep()

    def _mark_altered_moves(self) -> None:
        """End moves whose row was altered on disk, inside the caller's transaction; their blocks, of which no more moves, are damaged."""
        for number, state, guard, *facts in self._database.rows(f"SELECT move, state, guard, {_FACTS} FROM moves"):  # noqa: S608 - fixed words
            if guard != row_guard(*facts) or state not in _STATES:
                self._database.rows("UPDATE moves SET state = 'refused' WHERE move = ?", (number,))
                self._database.rows(_MARK, facts[:2])

    # ------------------------------------------------------------------------------------------------- the end that gives up

    def _under_way(self) -> Iterator[Move]:
        """Find what was offered and is not answered yet; one that was altered on disk is as good as lost."""
        theirs = DELIVERIES[self._owner.peer]
        for guard, *facts in self._database.rows(f"SELECT guard, {_FACTS} FROM moves WHERE state = 'offered'"):  # noqa: S608 - fixed words
            if guard == row_guard(*facts) and facts[2] == theirs.value:
                _, block, _, to_byte, from_byte, count_bytes = map(_number, facts)
                yield Move(block, from_byte, count_bytes, to_byte)

    def _begin_move(self, count_bytes: int) -> Move | None:
        """Offer key from the front of a part of our pool, up to where it can be read."""
        ours, theirs = DELIVERIES[self._owner], DELIVERIES[self._owner.peer]
        move = self._chosen(ours, theirs, count_bytes)
        if move is None:
            return None
        try:
            with self._database.transaction():
                self._carry_over(ours, theirs, move, "offered")
        except DamagedPieceError as damaged:
            if damaged.piece.first_byte > move.first_byte:
                return self._begin_move(damaged.piece.first_byte - move.first_byte)
            with self._database.transaction():
                self._blocks.set_aside(ours, damaged.piece)
            return None
        return move

    def _chosen(self, ours: Pool, theirs: Pool, count_bytes: int) -> Move | None:
        """Choose within one block, the oldest that is whole and of which the peer has refused nothing."""
        while count_bytes > 0 and (found := self._database.integers(_CANDIDATES, (ours.value, theirs.value))):
            ((block, first, left, end),) = found
            move = Move(block, first, min(count_bytes, left, MOST_MOVED_BYTES), end)
            if not self._book.is_spent(ours, move.source):
                return move
            with self._database.transaction():
                self._blocks.give_up(block, ours.value)
        return None

    # ------------------------------------------------------------------------------------------------- the end that takes over

    def _has_taken_over(self, move: Move) -> bool:
        """Whether this very move was accepted before."""
        place = (move.block, DELIVERIES[self._owner].value, move.target_byte)
        return any(
            guard == row_guard(*facts) and facts[4:] == [move.first_byte, move.count_bytes]
            for guard, *facts in self._database.rows(
                f"SELECT guard, {_FACTS} FROM moves WHERE block = ? AND to_pool = ? AND to_byte = ?",  # noqa: S608 - fixed words
                place,
            )
        )

    def _take_over(self, move: Move) -> bool:
        ours, theirs = DELIVERIES[self._owner], DELIVERIES[self._owner.peer]
        if not 0 < move.count_bytes <= MOST_MOVED_BYTES:
            return False
        try:
            with self._database.transaction():
                self._book.check_free(theirs, [move.source])
                self._check_end(ours, move)
                self._carry_over(theirs, ours, move, "moved")
        except KeyNotCommittedError:
            raise
        except DamagedPieceError as damaged:
            with self._database.transaction():
                self._blocks.set_aside(theirs, damaged.piece)
        except (KeyNotFoundError, KeyAlreadyTakenError):
            pass
        else:
            return True
        with self._database.transaction():
            self._blocks.pass_over(theirs, move.source, self._open.awaits)
        return False

    def _check_end(self, pool: Pool, move: Move) -> None:
        """Refuse a move that would not lie behind the end of our part."""
        ends = self._database.integers("SELECT count_bytes FROM parts WHERE block = ? AND pool = ?", (move.block, pool.value))
        if ends != [(move.target_byte,)]:
            raise KeyNotFoundError("the part of the other pool ends elsewhere here")

    # ---------------------------------------------------------------------------------------------------------- what both do

    def _carry_over(self, source: Pool, target: Pool, move: Move, state: str) -> None:
        """Spend the key, seal it anew behind the end of the other part, destroy it where it lay, and note that; inside a transaction."""
        handout = self._enter(UseKind.MOVED, source, (move.source,), PURPOSE).number
        key = bytearray(move.count_bytes)
        try:
            with memoryview(key) as opened:
                self._shelf.read(source.value, move.source, opened)
                self._database.rows(
                    "UPDATE parts SET count_bytes = count_bytes + ?, left_bytes = left_bytes + ? WHERE block = ? AND pool = ?",
                    (move.count_bytes, move.count_bytes, move.block, target.value),
                )
                self._shelf.put(move.block, target.value, opened, begin=move.target_byte)
        finally:
            key[:] = bytes(len(key))
        self._blocks.destroy_read(source, [move.source], self._open.awaits)
        facts = (handout, move.block, target.value, move.target_byte, move.first_byte, move.count_bytes)
        self._database.rows(
            f"INSERT INTO moves ({_FACTS}, state, guard) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 - fixed words
            (*facts, state, row_guard(*facts)),
        )


def _number(value: SqlValue) -> int:
    return value if isinstance(value, int) else 0
