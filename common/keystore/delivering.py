"""The part of a store file that serves applications: keys allotted at the end that is asked, held and given at the other.

Everything happens in few durable changes, each for many requests at once. At the end that is asked the ledger names the key before the
peer is told; the peer moves each key, in one change with its ledger, into a row sealed under a data key of its own, so that a crash on
either side leaves it at both ends or at neither. A key is marked as given before it is unsealed. What allots or gives counts as a handout
for the watermark: a store put back from an old copy forgoes what it held.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from common.errors import KeyAlreadyTakenError, KeyNotCommittedError, KeyNotFoundError, KeyStoreError
from common.keystore.contexts import held_key_context
from common.keystore.handing_out import HandingOut
from common.keystore.handouts import OpenHandout
from common.keystore.interface import MOST_TAKEN_BYTES, Handout, Piece, UseKind
from common.keystore.orders import (
    KEY_ID_BYTES,
    Allotment,
    Announcement,
    Collection,
    HoldsTooMuchError,
    NotForYouError,
    Order,
    Round,
    Served,
)
from common.keystore.ownership import DELIVERIES
from common.keystore.quotas import Drawn
from common.keystore.requests import check_request, ordered_pieces
from common.keystore.sealing import DamagedSealError, MasterKey, seal, unseal
from common.keystore.shelf import PIECE_BYTES, DamagedPieceError

MOST_HELD_KEYS = 1 << 20
"""Keys held at a time; announcements beyond it are refused."""

MOST_UNSETTLED = 256
"""Allotments listed at a time."""

MOST_LET_GO = 1 << 15
"""Held keys destroyed at a time, so that no request waits long behind them."""

PURPOSE = "applications"
"""What the ledger says key was for."""

_WORST_EPSILON = """
SELECT MAX(coalesce(CASE WHEN json_valid(facts) THEN json_extract(facts, '$.epsilon.secrecy') END, 1.0))
FROM parts LEFT JOIN block_facts USING (block) WHERE pool = ? AND left_bytes > 0"""

_INSERT_ORDER = "INSERT INTO orders (handout, first_byte, count_bytes, key_ids, master, slaves, at_s) VALUES (?, ?, ?, ?, ?, ?, ?)"


_DELETE_GIVEN = """
DELETE FROM held_keys WHERE key_id IN (
    SELECT key_id FROM claims WHERE claimed_s IS NOT NULL AND NOT claimed_s BETWEEN ? AND ?
    AND EXISTS (SELECT 1 FROM held_keys WHERE held_keys.key_id = claims.key_id)
    AND NOT EXISTS (
        SELECT 1 FROM claims AS others
        WHERE others.key_id = claims.key_id AND (others.claimed_s IS NULL OR others.claimed_s BETWEEN ? AND ?)
    ) LIMIT ?
)"""
_DELETE_CLAIMS = """
DELETE FROM claims WHERE claimed_s IS NOT NULL AND NOT claimed_s BETWEEN ? AND ?
AND NOT EXISTS (SELECT 1 FROM held_keys WHERE held_keys.key_id = claims.key_id)"""


class Delivering(HandingOut):
    """Serves applications from a store file; see ``DeliveryStore``."""

    _master: MasterKey
    _store_id: bytes
    _clock: Callable[[], float]
    _drawn: Drawn
    _count_held: int | None = None
    """Held keys when last counted, and those that have come since: never too few."""

    def serve(self, asked: Round) -> Served:
        """Carry out a round, durably, then unseal what is given.

        Parameters
        ----------
        asked : Round
            What is asked.

        Returns
        -------
        Served
            What became of it.

        Raises
        ------
        KeyStoreError
            If nothing is handed out at present, or the disk fails.
        """
        for order in asked.orders:
            check_request(DELIVERIES[self._owner], self._owner, self._owner, order.total_bytes, PURPOSE)
        now = self._clock()
        allotment: Allotment | None = None
        with self._mutex, _wiping(lambda: allotment):
            self._refuse_strangers()
            with self._database.transaction():
                for number in asked.settled:
                    self._database.rows("DELETE FROM unsettled WHERE handout = ?", (number,))
                allowed, over = self._drawn.within(asked.orders, asked.quotas, now)
                handout, served, short, left_bytes = self._allot(allowed)
                allotment = None if handout is None else self._opened(handout, served)
                if allotment is not None:
                    self._drawn.note(served, now)
                held = tuple(self._held(announcement) for announcement in asked.announcements)
                sealed = [self._claim(collection, asked.repeat_seconds, now) for collection in asked.collections]
                if asked.collections:
                    self._database.rows("UPDATE state SET handouts = handouts + 1")
                count_handouts = self._state("handouts")
            if handout is not None or asked.collections:
                self._watermark.write(count_handouts, durable=False)  # one wait for the disk a round; ``let_go`` makes up for it
            self._shelf.sweep()
            return Served(
                allotment,
                short if allotment or handout is None else (*served, *short),
                held,
                tuple(
                    found if isinstance(found, KeyStoreError) else self._unsealed(collection, found)
                    for collection, found in zip(asked.collections, sealed, strict=True)
                ),
                left_bytes,
                tuple(over),
            )

    def unsettled(self, after: int = 0) -> list[tuple[int, tuple[Piece, ...]]]:
        """Return number and pieces of the next few allotments behind ``after`` of which it is unknown whether the peer holds them."""
        with self._mutex:
            found: dict[int, list[Piece]] = {}
            for handout, *place in self._database.integers(
                "SELECT handout, block, first_byte, count_bytes FROM uses "
                "WHERE handout IN (SELECT handout FROM unsettled WHERE handout > ? ORDER BY handout LIMIT ?) ORDER BY handout, use",
                (after, MOST_UNSETTLED),
            ):
                found.setdefault(handout, []).append(Piece(*place))
            return [(handout, tuple(pieces)) for handout, pieces in found.items()]

    def worst_epsilon(self) -> float:
        """Return the highest secrecy parameter of the blocks of which something is left for who asks here; 1 where one is not known."""
        with self._mutex:
            ((worst,),) = self._database.rows(_WORST_EPSILON, (DELIVERIES[self._owner].value,))
        return float(worst) if isinstance(worst, (int, float)) else 0.0

    def skip(self, pieces: Iterable[Piece]) -> None:
        """Spend what the peer has given up, unless it is held here.

        Parameters
        ----------
        pieces : iterable of Piece
            What; those that are not here change nothing.

        Raises
        ------
        KeyNotCommittedError
            If they are of a block that is staged: nothing is changed, and the peer asks again.
        """
        _, in_order = ordered_pieces(pieces)
        pool = DELIVERIES[self._owner.peer]
        with self._mutex, self._database.transaction():
            for piece in in_order:
                try:
                    self._book.check_free(pool, [piece])
                except KeyNotCommittedError:
                    raise
                except (KeyAlreadyTakenError, KeyNotFoundError):
                    continue
                self._book.spend(UseKind.SKIPPED, pool, [piece], purpose="given up by the peer")
                self._blocks.destroy_read(pool, [piece], self._open.awaits)

    def drawn_bytes(self) -> dict[str, int]:
        """Return how many bytes each application was given on its orders in the last day."""
        with self._mutex:
            return self._drawn.totals(self._clock())

    def deliverable_bytes(self) -> tuple[int, int]:
        """Return how many bytes are left in our own delivery pool, and in the peer's."""
        with self._mutex:
            return self._book.left_bytes(DELIVERIES[self._owner]), self._book.left_bytes(DELIVERIES[self._owner.peer])

    def let_go(self, repeat_seconds: float, keep_seconds: float) -> int:
        """Destroy held keys behind the time in which requests may be repeated, and behind that in which they wait.

        Parameters
        ----------
        repeat_seconds, keep_seconds : float
            How long these are.

        Returns
        -------
        int
            Keys for which somebody had not come in time.
        """
        now = self._clock()
        with self._mutex:
            self._watermark.sync()
        with self._mutex, self._database.transaction():
            window = (now - repeat_seconds, now)
            self._database.rows(_DELETE_GIVEN, (*window, *window, MOST_LET_GO))
            self._database.rows(_DELETE_CLAIMS, window)
            self._drawn.forget(now)
            too_old = "SELECT key_id FROM held_keys WHERE held_s < ? LIMIT ?"
            late = [key_id for (key_id,) in self._database.rows(too_old, (now - keep_seconds, MOST_LET_GO))]
            for key_id in late:
                self._database.rows("DELETE FROM held_keys WHERE key_id = ?", (key_id,))
                self._database.rows("DELETE FROM claims WHERE key_id = ?", (key_id,))
            if late:
                self._note_collection("", [key_id for key_id in late if isinstance(key_id, bytes)], now)
        with self._mutex:
            self._count_held = self._database.integer("SELECT COUNT(*) FROM held_keys")
            self._database.write_back()
        return len(late)

    def note_facts(self, block: int, facts: str) -> None:
        """Keep ``facts`` about a ``block``."""
        with self._mutex, self._database.transaction(durable=False):
            self._database.rows("INSERT OR REPLACE INTO block_facts (block, facts) VALUES (?, ?)", (block, facts))

    def facts_of(self, blocks: Sequence[int]) -> dict[int, tuple[str, float]]:
        """Return what was noted of ``blocks``, and when they were committed."""
        found = {}
        with self._mutex:
            for block in blocks:
                for facts, at_s in self._database.rows(
                    "SELECT coalesce(facts, '{}'), committed_s FROM blocks LEFT JOIN block_facts USING (block) WHERE block = ?", (block,)
                ):
                    found[block] = (str(facts), float(at_s or 0))
        return found

    # ------------------------------------------------------------------------------------------------- the end that is asked

    def _allot(self, orders: Sequence[Order]) -> tuple[Handout | None, tuple[Order, ...], tuple[Order, ...], int]:
        """Enter key for as many orders as it is enough for into the ledger, inside the caller's transaction; say what is left then."""
        pool = DELIVERIES[self._owner]
        room = min(self._book.left_bytes(pool), MOST_TAKEN_BYTES) if orders else 0
        served, short, total = list[Order](), list[Order](), 0
        for order in orders:
            fits = total + order.total_bytes <= room
            (served if fits else short).append(order)
            total += order.total_bytes if fits else 0
        if not served:
            return None, (), tuple(short), room
        handout = self._enter(UseKind.TAKEN, pool, self._blocks.front(pool, total), PURPOSE)
        self._note_orders(handout.number, served)
        self._database.rows("INSERT INTO unsettled (handout) VALUES (?)", (handout.number,))
        return handout, tuple(served), tuple(short), room - total

    def _opened(self, handout: Handout, orders: tuple[Order, ...]) -> Allotment | None:
        """Read the key of an allotment and destroy it on disk, inside the caller's transaction; None where it is damaged.

        What is read leaves this store only once the transaction is on disk, and by then the disk no longer holds it.
        """
        opened = OpenHandout(handout, is_final=True, step_bytes=PIECE_BYTES)
        key = bytearray(handout.count_bytes)
        try:
            opened.read(memoryview(key), self._unseal)
            return Allotment(handout, orders, _cut(key, orders))
        except DamagedPieceError as damaged:
            self._blocks.set_aside(handout.pool, damaged.piece)  # the next one goes past it
            return None
        finally:
            key[:] = bytes(len(key))
            opened.forget()
            self._blocks.destroy_read(handout.pool, opened.take_behind(), self._open.awaits)

    # ---------------------------------------------------------------------------------------------------- the end that holds

    @contextmanager
    def _all_or_nothing(self) -> Iterator[None]:
        """Undo what the body did if it fails, and go on with the caller's transaction."""
        self._database.rows("SAVEPOINT part")
        try:
            yield
        except BaseException:
            self._database.rows("ROLLBACK TO part")
            raise
        finally:
            self._database.rows("RELEASE part")

    def _held(self, announced: Announcement) -> KeyStoreError | None:
        """Move announced keys into rows of their own, or say why not; inside the caller's transaction."""
        pool = DELIVERIES[self._owner.peer]
        key = bytearray()
        try:
            named, in_order = ordered_pieces(announced.pieces)
            total = sum(piece.count_bytes for piece in named)
            if total != sum(order.total_bytes for order in announced.orders) or not 0 < total <= MOST_TAKEN_BYTES:
                return KeyNotFoundError(f"{pool.value}: the pieces are {total} bytes long, the keys to be held are not")
            if self._count_held is None:
                self._count_held = self._database.integer("SELECT COUNT(*) FROM held_keys")
            count_keys = sum(len(order.key_ids) for order in announced.orders)
            if self._count_held + count_keys > MOST_HELD_KEYS:
                return HoldsTooMuchError(f"{self._count_held} keys are held, at most {MOST_HELD_KEYS} are")
            key = bytearray(total)
            with self._all_or_nothing():
                self._book.check_free(pool, in_order)
                handout = self._enter(UseKind.RECEIVED, pool, named, PURPOSE)
                opened = OpenHandout(handout, is_final=True, step_bytes=PIECE_BYTES)
                opened.read(memoryview(key), self._unseal)
                self._put_held(memoryview(key), announced.orders)
                self._note_orders(handout.number, announced.orders)
                self._blocks.destroy_read(pool, opened.take_behind(), self._open.awaits)
                opened.forget()
            self._count_held += count_keys
        except DamagedPieceError as damaged:
            self._blocks.set_aside(pool, damaged.piece)
            return damaged
        except KeyStoreError as refused:
            if not isinstance(refused, (KeyNotFoundError, KeyAlreadyTakenError)):
                raise
            return refused
        finally:
            key[:] = bytes(len(key))
        return None

    # ---------------------------------------------------------------------------------------------------------- what both use

    def _forgo_held(self) -> None:
        """Destroy all held keys, inside the caller's transaction: an old copy does not know which of them it gave away."""
        held = [key_id for (key_id,) in self._database.rows("SELECT key_id FROM held_keys") if isinstance(key_id, bytes)]
        self._database.rows("DELETE FROM held_keys")
        self._database.rows("DELETE FROM claims")
        if held:
            self._note_collection("", held, self._clock())

    def _note_orders(self, handout: int, orders: Sequence[Order]) -> None:
        at_s, first = self._clock(), 0
        for order in orders:
            ids, slaves = b"".join(order.key_ids), "\n".join(order.slaves)
            self._database.rows(_INSERT_ORDER, (handout, first, order.count_bytes, ids, order.master, slaves, at_s))
            first += order.total_bytes

    def _note_collection(self, slave: str, key_ids: Sequence[bytes], now: float) -> None:
        self._database.rows("INSERT INTO collections (slave, key_ids, at_s) VALUES (?, ?, ?)", (slave, b"".join(key_ids), now))

    def _put_held(self, key: memoryview, orders: Sequence[Order]) -> None:
        now, first = self._clock(), 0
        for order in orders:
            for key_id in order.key_ids:
                context = held_key_context(self._store_id, key_id, order.master)
                wrapped, sealed = seal(self._master, key[first : first + order.count_bytes], context)
                first += order.count_bytes
                known = self._database.rows(
                    "INSERT OR IGNORE INTO held_keys (key_id, master, held_s, wrapped, sealed) VALUES (?, ?, ?, ?, ?) RETURNING 1",
                    (key_id, order.master, now, wrapped, sealed),
                )
                if not known or len(key_id) != KEY_ID_BYTES:
                    raise KeyAlreadyTakenError("a key to be held has the number of another")
                for slave in order.slaves:
                    self._database.rows("INSERT INTO claims (key_id, slave) VALUES (?, ?)", (key_id, slave))

    def _claim(self, asked: Collection, repeat_seconds: float, now: float) -> list[tuple[bytes, bytes]] | KeyStoreError:
        """Mark the keys of a collection as given, and return them sealed; or say why not, and change nothing."""
        found: list[tuple[bytes, bytes]] = []
        is_first = True
        for key_id in asked.key_ids:
            rows = self._database.rows(
                "SELECT wrapped, sealed, master, slave, request, claimed_s FROM held_keys "
                "LEFT JOIN claims ON claims.key_id = held_keys.key_id AND slave = ? WHERE held_keys.key_id = ?",
                (asked.slave, key_id),
            )
            if not rows:
                return KeyNotFoundError("no such key is held here")
            wrapped, sealed, master, slave, request, claimed_s = rows[0]
            if slave is None or master != asked.master:
                return NotForYouError("a key is held for others")
            if request is not None:
                is_first = False
                elapsed = now - claimed_s if isinstance(claimed_s, (int, float)) else -1.0
                if not repeat_seconds or request != asked.request or not 0 <= elapsed <= repeat_seconds:
                    return KeyNotFoundError("the key was given before")
            found.append((wrapped, sealed) if isinstance(wrapped, bytes) and isinstance(sealed, bytes) else (b"", b""))
        if not is_first:
            return found  # a repeated request: all of its keys are marked already
        for key_id in asked.key_ids:
            self._database.rows(
                "UPDATE claims SET request = ?, claimed_s = ? WHERE key_id = ? AND slave = ?", (asked.request, now, key_id, asked.slave)
            )
            if not repeat_seconds:
                self._drop_if_done(key_id)
        self._note_collection(asked.slave, asked.key_ids, now)
        return found

    def _drop_if_done(self, key_id: bytes) -> None:
        """Destroy a held key that nobody is still to be given."""
        if not self._database.rows("SELECT 1 FROM claims WHERE key_id = ? AND request IS NULL", (key_id,)):
            self._database.rows("DELETE FROM held_keys WHERE key_id = ?", (key_id,))
            self._database.rows("DELETE FROM claims WHERE key_id = ?", (key_id,))

    def _unsealed(self, asked: Collection, found: list[tuple[bytes, bytes]]) -> list[bytes] | KeyStoreError:
        try:
            return [
                unseal(self._master, wrapped, sealed, held_key_context(self._store_id, key_id, asked.master))
                for key_id, (wrapped, sealed) in zip(asked.key_ids, found, strict=True)
            ]
        except DamagedSealError:
            return KeyNotFoundError("a held key is damaged on disk")


@contextmanager
def _wiping(drawn: Callable[[], Allotment | None]) -> Iterator[None]:
    """Overwrite what was ``drawn`` if the body fails."""
    try:
        yield
    except BaseException:
        if (allotment := drawn()) is not None:
            allotment.wipe()
        raise


def _cut(key: bytearray, orders: Sequence[Order]) -> list[list[bytearray]]:
    keys, first = [], 0
    for order in orders:
        keys.append([key[first + i * order.count_bytes : first + (i + 1) * order.count_bytes] for i in range(len(order.key_ids))])
        first += order.total_bytes
    return keys
