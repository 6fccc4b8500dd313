"""Sealed key in the store file: put in, read out, destroyed.

A part of a block lies there in pieces of at most one mebibyte, each under a data key of its own, so that a long part can be read from the
middle and what has been handed out can be destroyed while the rest stays. Mask pairs lie in a piece each,
and key for applications in small ones.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from common.errors import KeyStoreError
from common.keystore.contexts import piece_context
from common.keystore.database import DamagedFileError, Database, SqlValue
from common.keystore.interface import Piece
from common.keystore.ownership import PAIR_BYTES, Pool
from common.keystore.sealing import DamagedSealError, MasterKey, seal, unseal

PIECE_BYTES = 1 << 20
"""Longest sealed piece."""

DELIVERY_PIECE_BYTES = 1 << 14
"""Longest sealed piece of key for applications: they take a few bytes at a time, and each time the piece is opened."""

_STEPS = {
    Pool.RESERVE.value: PAIR_BYTES,
    Pool.ALICE_DELIVERY.value: DELIVERY_PIECE_BYTES,
    Pool.BOB_DELIVERY.value: DELIVERY_PIECE_BYTES,
}

STAGED = "staged"
"""Where a whole block lies before it is shared out."""


class DamagedPieceError(KeyStoreError):
    """A sealed piece cannot be read any more.

    Attributes
    ----------
    piece : Piece
        Which.
    """

    def __init__(self, shelf: str, piece: Piece) -> None:
        super().__init__(f"block {piece.block}, {shelf}, bytes {piece.first_byte} to {piece.end_byte}: damaged on disk, set aside for good")
        self.piece = piece


class Shelf:
    """Sealed pieces of one store.

    Parameters
    ----------
    database : Database
        Holds them.
    master : MasterKey
        Wraps their data keys.
    store_id : bytes
        16 bytes; pieces are bound to it.
    """

    def __init__(self, database: Database, master: MasterKey, store_id: bytes) -> None:
        self._database = database
        self._master = master
        self._store_id = store_id

    def put(self, block: int, shelf: str, key: memoryview, sharing: bytes = b"", *, begin: int = 0) -> None:
        """Seal key, inside the caller's transaction.

        Parameters
        ----------
        block : int
            Block number.
        shelf : str
            Name of a pool, or ``STAGED``.
        key : memoryview
            Bytes of that part.
        sharing : bytes
            What a staged block is bound to beside its place.
        begin : int
            Where in the part they begin.
        """
        step = _STEPS.get(shelf, PIECE_BYTES)
        for first in range(0, len(key), step):
            part = key[first : first + step]
            self._put_piece(shelf, Piece(block, begin + first, len(part)), part, sharing)

    def _put_piece(self, shelf: str, place: Piece, key: memoryview, sharing: bytes = b"") -> None:
        wrapped, sealed = seal(self._master, key, self._context(shelf, place, sharing))
        ((number,),) = self._database.rows(
            "INSERT INTO pieces (block, pool, first_byte, count_bytes, sealed) VALUES (?, ?, ?, ?, ?) RETURNING piece",
            (place.block, shelf, place.first_byte, place.count_bytes, sealed),
        )
        self._database.rows("INSERT INTO piece_keys (piece, wrapped) VALUES (?, ?)", (number, wrapped))

    def keep_only(self, shelf: str, whole: Piece, kept: Sequence[Piece]) -> None:
        """Seal parts of a sealed piece anew and destroy the data key of the whole, inside the caller's transaction.

        Parameters
        ----------
        shelf : str
            Name of a pool.
        whole : Piece
            A sealed piece.
        kept : sequence of Piece
            What is still needed of it; each part gets a data key of its own, and the rest can be read by nobody any more.

        Raises
        ------
        DamagedPieceError
            If the piece is missing or was altered; nothing is changed.
        """
        key = bytearray(whole.count_bytes)
        with memoryview(key) as opened:
            self.read(shelf, whole, opened)
            self.destroy_piece_key(shelf, whole)
            for part in kept:
                first = part.first_byte - whole.first_byte
                self._put_piece(shelf, part, opened[first : first + part.count_bytes])
        key[:] = bytes(len(key))

    def read(self, shelf: str, wanted: Piece, into: memoryview, sharing: bytes = b"") -> None:
        """Open key.

        Parameters
        ----------
        shelf : str
            Name of a pool, or ``STAGED``.
        wanted : Piece
            Which bytes.
        into : memoryview
            Filled with exactly these.
        sharing : bytes
            What a staged block is bound to beside its place.

        Raises
        ------
        DamagedPieceError
            If a sealed piece of it is missing or was altered.
        """
        reached = wanted.first_byte
        for piece in sorted(self.covering(shelf, wanted)):
            if piece.first_byte > reached:
                break
            try:
                wrapped, sealed = self._sealed(shelf, piece)
                key = unseal(self._master, wrapped, sealed, self._context(shelf, piece, sharing))
            except (DamagedSealError, DamagedFileError):
                raise DamagedPieceError(shelf, piece) from None
            end = min(piece.end_byte, wanted.end_byte)
            into[reached - wanted.first_byte : end - wanted.first_byte] = memoryview(key)[
                reached - piece.first_byte : end - piece.first_byte
            ]
            reached = end
        if reached != wanted.end_byte:
            raise DamagedPieceError(shelf, Piece(wanted.block, reached, wanted.end_byte - reached))

    def destroy_keys(self, block: int, shelf: str | None = None, below_byte: int | None = None) -> None:
        """Destroy data keys, inside the caller's transaction; ``sweep`` takes away what they sealed.

        Parameters
        ----------
        block : int
            Block number.
        shelf : str | None
            Name of a pool, or ``STAGED``; None for the whole block.
        below_byte : int | None
            Only of pieces that end here or before.
        """
        self._condemn("block = ? AND coalesce(pool = ?, 1) AND coalesce(first_byte + count_bytes <= ?, 1)", (block, shelf, below_byte))

    def destroy_piece_key(self, shelf: str, piece: Piece) -> None:
        """Destroy the data key of the one sealed ``piece`` on a ``shelf``, inside the caller's transaction."""
        self._condemn(
            "block = ? AND pool = ? AND first_byte = ? AND count_bytes = ?", (piece.block, shelf, piece.first_byte, piece.count_bytes)
        )

    def _condemn(self, chosen: str, values: Sequence[SqlValue]) -> None:
        self._database.rows(f"INSERT OR IGNORE INTO condemned SELECT piece FROM pieces WHERE {chosen}", values)  # noqa: S608 - fixed words
        self._database.rows("DELETE FROM piece_keys WHERE piece IN (SELECT piece FROM condemned)")

    def remove(self, block: int) -> None:
        """Take all pieces of ``block`` away at once, inside the caller's transaction."""
        self._database.rows("DELETE FROM piece_keys WHERE piece IN (SELECT piece FROM pieces WHERE block = ?)", (block,))
        self._database.rows("DELETE FROM pieces WHERE block = ?", (block,))

    def covering(self, shelf: str, wanted: Piece) -> list[Piece]:
        """Return the sealed pieces on a ``shelf`` that hold any byte of ``wanted``; condemned ones are none any more."""
        found = self._database.integers(
            "SELECT block, first_byte, count_bytes FROM pieces "
            "WHERE block = ? AND pool = ? AND first_byte < ? AND first_byte > ? AND first_byte + count_bytes > ? "
            "AND piece NOT IN (SELECT piece FROM condemned)",
            (wanted.block, shelf, wanted.end_byte, wanted.first_byte - PIECE_BYTES, wanted.first_byte),
        )
        return [Piece(*row) for row in found]

    def pieces(self, shelf: str, block: int) -> list[Piece]:
        """Return all sealed pieces of a ``block`` on a ``shelf``."""
        found = self._database.integers(
            "SELECT block, first_byte, count_bytes FROM pieces WHERE block = ? AND pool = ? AND piece NOT IN (SELECT piece FROM condemned)",
            (block, shelf),
        )
        return [Piece(*row) for row in found]

    def sweep(self) -> None:
        """Delete sealed pieces whose data key is gone: they are noise, not worth being overwritten."""
        if not self._database.rows("SELECT 1 FROM condemned LIMIT 1"):
            return
        self._database.rows("PRAGMA secure_delete = FAST")
        try:
            with self._database.transaction(durable=False):
                self._database.rows("DELETE FROM pieces WHERE piece IN (SELECT piece FROM condemned)")
                self._database.rows("DELETE FROM condemned")
        except DamagedFileError:
            for piece in self._database.integers("SELECT piece FROM condemned"):
                with contextlib.suppress(DamagedFileError), self._database.transaction(durable=False):  # noise on a broken page may stay
                    self._database.rows("DELETE FROM pieces WHERE piece = ?", piece)
                    self._database.rows("DELETE FROM condemned WHERE piece = ?", piece)
        finally:
            self._database.rows("PRAGMA secure_delete = ON")

    def _sealed(self, shelf: str, place: Piece) -> tuple[bytes, bytes]:
        found = self._database.rows(
            "SELECT wrapped, sealed FROM pieces JOIN piece_keys USING (piece) "
            "WHERE block = ? AND pool = ? AND first_byte = ? AND count_bytes = ?",
            (place.block, shelf, place.first_byte, place.count_bytes),
        )
        if not found:
            raise DamagedSealError("a data key is gone")
        wrapped, sealed = found[0]
        if not isinstance(wrapped, bytes) or not isinstance(sealed, bytes):
            raise DamagedSealError("a sealed piece is no bytes")
        return wrapped, sealed

    def _context(self, shelf: str, piece: Piece, sharing: bytes) -> bytes:
        return piece_context(self._store_id, shelf, piece.block, piece.first_byte, piece.count_bytes, sharing)
