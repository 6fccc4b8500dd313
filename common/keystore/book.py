"""The ledger of a store file: which bytes of which part are spent, and why.

Parts that our end hands out, and the reserve, are spent from the front, so what is left of them begins at a known byte. Parts that the peer
hands out are spent as its messages arrive, in any order; there the ledger itself says what is left. All changes happen inside the caller's
transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from common.channel.codec import Party
from common.errors import KeyAlreadyTakenError, KeyExhaustedError, KeyNotCommittedError, KeyNotFoundError, KeyStoreError
from common.keystore.database import Database
from common.keystore.interface import MOST_PIECES, AuditEntry, Piece, UseKind
from common.keystore.ownership import Pool

_NOT_SETTLED = "SELECT 1 FROM moves WHERE block = ? AND to_pool = ? AND to_byte < ? AND state = 'offered'"
"""Key that was offered to the peer lies at the end of its part, and has an owner once the peer has answered."""


@dataclass(frozen=True, slots=True)
class Share:
    """What is left of one part.

    Attributes
    ----------
    block : int
        Block number.
    pool : Pool
        Owner.
    count_bytes, left_bytes : int
        Length of the part, and how much is unspent.
    """

    block: int
    pool: Pool
    count_bytes: int
    left_bytes: int


class Book:
    """Shares and uses of one store.

    Parameters
    ----------
    database : Database
        Holds them.
    owner : Party
        Whose store this is.
    clock : callable
        Returns Unix time in seconds.
    """

    def __init__(self, database: Database, owner: Party, clock: Callable[[], float]) -> None:
        self._database = database
        self._owner = owner
        self._clock = clock

    def left_bytes(self, pool: Pool) -> int:
        """Return how many bytes of ``pool`` are unspent."""
        return self._database.integer("SELECT SUM(left_bytes) FROM parts WHERE pool = ? AND left_bytes > 0", (pool.value,))

    def shares(self, chosen: str, *values: float | str) -> list[Share]:
        """Return parts with something left.

        Parameters
        ----------
        chosen : str
            A condition of ours on ``parts`` joined with ``blocks``.
        values : float | str
            Its values.

        Returns
        -------
        list[Share]
            By block number.
        """
        rows = self._database.rows(
            "SELECT parts.block, pool, count_bytes, left_bytes FROM parts JOIN blocks USING (block) "  # noqa: S608 - fixed words
            f"WHERE left_bytes > 0 AND {chosen} ORDER BY parts.block",
            values,
        )
        return [Share(_number(block), _pool(pool), _number(count), _number(left)) for block, pool, count, left in rows]

    def gaps(self, share: Share) -> list[Piece]:
        """Find what is unspent of a part.

        Parameters
        ----------
        share : Share
            The part.

        Returns
        -------
        list[Piece]
            In order of place.
        """
        if share.pool.asker in {None, self._owner}:
            return [Piece(share.block, share.count_bytes - share.left_bytes, share.left_bytes)] if share.left_bytes else []
        gaps, reached = [], 0
        for first, count in self._database.integers(
            "SELECT first_byte, count_bytes FROM uses WHERE block = ? AND pool = ? AND returned = 0 ORDER BY first_byte",
            (share.block, share.pool.value),
        ):
            if first > reached:
                gaps.append(Piece(share.block, reached, first - reached))
            reached = first + count
        return [*gaps, Piece(share.block, reached, share.count_bytes - reached)] if reached < share.count_bytes else gaps

    def unspent(self, pool: Pool, place: Piece) -> list[Piece]:
        """Find what is unspent of a place.

        Parameters
        ----------
        pool : Pool
            Whose part of the block.
        place : Piece
            Which bytes of it.

        Returns
        -------
        list[Piece]
            In order of place; none if all of it is in the ledger.
        """
        if pool.asker in {None, self._owner}:
            uses = self._database.integers(
                "SELECT 0, count_bytes - left_bytes FROM parts WHERE block = ? AND pool = ?", (place.block, pool.value)
            )
        else:
            uses = self._database.integers(
                "SELECT first_byte, first_byte + count_bytes FROM uses "
                "WHERE block = ? AND pool = ? AND returned = 0 AND first_byte < ? AND first_byte + count_bytes > ? ORDER BY first_byte",
                (place.block, pool.value, place.end_byte, place.first_byte),
            )
        unspent, reached = [], place.first_byte
        for first, end in uses:
            if first > reached:
                unspent.append(Piece(place.block, reached, first - reached))
            reached = max(reached, end)
        return [*unspent, Piece(place.block, reached, place.end_byte - reached)] if reached < place.end_byte else unspent

    def front(self, pool: Pool, count_bytes: int) -> list[Piece]:
        """Choose key from the front of one of our pools; changes nothing.

        Parameters
        ----------
        pool : Pool
            Which.
        count_bytes : int
            How much.

        Returns
        -------
        list[Piece]
            In order of blocks.

        Raises
        ------
        KeyExhaustedError
            If there is less.
        KeyStoreError
            If it lies in more pieces than one request may name.
        """
        wanted, pieces, last = count_bytes, list[Piece](), 0
        while wanted:
            rows = self._database.integers(
                "SELECT block, count_bytes, left_bytes FROM parts WHERE pool = ? AND left_bytes > 0 AND block > ? ORDER BY block LIMIT 64",
                (pool.value, last),
            )
            if not rows:
                break
            for block, count, left in rows:
                if wanted:
                    pieces.append(Piece(block, count - left, min(wanted, left)))
                    wanted -= pieces[-1].count_bytes
                last = block
        if wanted:
            raise KeyExhaustedError(
                f"{pool.value} is {8 * wanted} bits short: {8 * count_bytes} bits were asked for, {8 * (count_bytes - wanted)} are left",
                missing_bits=8 * wanted,
            )
        if len(pieces) > MOST_PIECES:
            raise KeyStoreError(f"{8 * count_bytes} bits of {pool.value} lie in {len(pieces)} pieces, at most {MOST_PIECES} go together")
        return pieces

    def is_spent(self, pool: Pool, piece: Piece) -> bool:
        """Return whether the ledger has any byte of a ``piece`` of ``pool`` as spent."""
        last = self._database.integers(
            "SELECT first_byte + count_bytes FROM uses WHERE block = ? AND pool = ? AND returned = 0 AND first_byte < ? "
            "ORDER BY first_byte DESC LIMIT 1",
            (piece.block, pool.value, piece.end_byte),
        )
        return any(end > piece.first_byte for (end,) in last)

    def check_free(self, pool: Pool, pieces: Iterable[Piece]) -> None:
        """Refuse pieces that are not here or not free.

        Parameters
        ----------
        pool : Pool
            A pool the peer hands out.
        pieces : iterable of Piece
            In order of place, without overlap.

        Raises
        ------
        KeyNotFoundError
            If a piece names no key that is here; ``KeyNotCommittedError`` where it may be in a moment.
        KeyAlreadyTakenError
            If any byte was spent before.
        """
        for piece in pieces:
            found = self._database.rows(
                "SELECT count_bytes, left_bytes FROM parts JOIN blocks USING (block) WHERE block = ? AND pool = ? AND state = 'committed'",
                (piece.block, pool.value),
            )
            if not found and self._database.rows("SELECT 1 FROM blocks WHERE block = ? AND state = 'staged'", (piece.block,)):
                raise KeyNotCommittedError(f"block {piece.block} is not committed here yet")
            if not found or piece.end_byte > _number(found[0][0]):
                raise KeyNotFoundError(
                    f"block {piece.block}, {pool.value}, bytes {piece.first_byte} to {piece.end_byte}: no such key is committed here"
                )
            if self._database.rows(_NOT_SETTLED, (piece.block, pool.value, piece.end_byte)):
                raise KeyNotCommittedError(f"block {piece.block}, {pool.value}: whether this key has moved is not settled yet")
            if self.is_spent(pool, piece) or _number(found[0][1]) < piece.count_bytes:
                raise KeyAlreadyTakenError(
                    f"block {piece.block}, {pool.value}, bytes {piece.first_byte} to {piece.end_byte}: handed out or destroyed before"
                )

    def spend(self, kind: UseKind, pool: Pool, pieces: Iterable[Piece], *, purpose: str = "", handout: int = 0) -> None:
        """Write pieces into the ledger.

        Parameters
        ----------
        kind : UseKind
            Why.
        pool : Pool
            Whose.
        pieces : iterable of Piece
            Which; free, and from the front where the pool is spent from the front.
        purpose : str
            What the asker said.
        handout : int
            The request, 0 for none.
        """
        at_s = self._clock()
        for piece in pieces:
            place = (piece.block, pool.value, piece.first_byte, piece.count_bytes)
            self._database.rows(
                "INSERT INTO uses (handout, kind, block, pool, first_byte, count_bytes, purpose, at_s) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (handout, kind.value, *place, purpose, at_s),
            )
            self._database.rows(
                "UPDATE parts SET left_bytes = left_bytes - ? WHERE block = ? AND pool = ?", (piece.count_bytes, piece.block, pool.value)
            )

    def conclude(self, handout: int, *, returned: bool) -> list[tuple[int, Pool]]:
        """Make expected key final, or free again.

        Parameters
        ----------
        handout : int
            The request.
        returned : bool
            Whether the key is free again.

        Returns
        -------
        list[tuple[int, Pool]]
            The parts concerned.

        Raises
        ------
        KeyNotFoundError
            If it was no request for expected key, or concluded before.
        """
        rows = self._database.rows(
            "SELECT block, pool, SUM(count_bytes) FROM uses WHERE handout = ? AND kind = 'expected' AND returned = 0 GROUP BY block, pool",
            (handout,),
        )
        if not rows:
            raise KeyNotFoundError(f"handout {handout} is none of key that the peer announced, or is final")
        if returned:
            for block, pool, count in rows:
                self._database.rows("UPDATE parts SET left_bytes = left_bytes + ? WHERE block = ? AND pool = ?", (count, block, pool))
        change = "returned = 1" if returned else "kind = 'received'"
        self._database.rows(f"UPDATE uses SET {change} WHERE handout = ? AND kind = 'expected'", (handout,))  # noqa: S608 - fixed words
        return [(_number(block), _pool(pool)) for block, pool, _ in rows]

    def conclude_all(self) -> None:
        """Make all expected key final: nobody knows any more whether it was used."""
        self._database.rows("UPDATE uses SET kind = 'received' WHERE kind = 'expected' AND returned = 0")

    def entries(self, after: int, most: int) -> list[AuditEntry]:
        """Read the ledger.

        Parameters
        ----------
        after, most : int
            Line behind which to begin, and how many lines at most.

        Returns
        -------
        list[AuditEntry]
            In order.
        """
        rows = self._database.rows(
            "SELECT use, handout, kind, pool, block, first_byte, count_bytes, purpose, at_s, returned FROM uses "
            "WHERE use > ? ORDER BY use LIMIT ?",
            (after, most),
        )
        return [
            AuditEntry(
                _number(use),
                _number(handout),
                UseKind(kind),
                _pool(pool),
                Piece(_number(block), _number(first), _number(count)),
                str(purpose),
                float(at_s or 0),
                bool(returned),
            )
            for use, handout, kind, pool, block, first, count, purpose, at_s, returned in rows
        ]


def _number(value: object) -> int:
    """Read an integer column, whatever a damaged row holds."""
    return value if isinstance(value, int) else 0


def _pool(value: object) -> Pool:
    try:
        return Pool(value)
    except ValueError:
        raise KeyStoreError("a row of the key store names a pool that does not exist: it is damaged") from None
