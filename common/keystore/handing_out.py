"""The half of a store file that hands out key: into the ledger first, durably, then unsealed, then destroyed.

``SqliteKeyStore`` is the other half, and brings what both work on. What a handout is for callers stands in ``common.keystore.interface``.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable
from typing import Literal

from common.channel.codec import Party
from common.errors import KeyNotFoundError, KeyStoreError, PeerNotMetError
from common.keystore.at_once import HandsOutAtOnce
from common.keystore.blocks import Blocks
from common.keystore.book import Book
from common.keystore.database import Database
from common.keystore.handouts import OpenHandout, OpenHandouts
from common.keystore.interface import (
    MOST_TAKEN_BYTES,
    Handout,
    Piece,
    UseKind,
)
from common.keystore.ownership import TAG_KEY_BYTES, TAGS, Pool
from common.keystore.requests import check_request, ordered_pieces
from common.keystore.shelf import PIECE_BYTES, DamagedPieceError, Shelf
from common.keystore.watermark import Watermark


class HandingOut(HandsOutAtOnce):
    """Hands out key of a store file; see ``KeyStore``."""

    _owner: Party
    _met: bool
    _mutex: threading.RLock
    _database: Database
    _shelf: Shelf
    _book: Book
    _blocks: Blocks
    _watermark: Watermark
    _open: OpenHandouts

    def reserve(self, pool: Pool, count_bytes: int, purpose: str) -> Handout:
        """Enter key from the front of one of our pools into the ledger.

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
        Handout
            Where the key lies.
        """
        check_request(pool, self._owner, self._owner, count_bytes, purpose)
        with self._mutex:
            self._refuse_strangers()
            with self._database.transaction():
                pieces = self._blocks.front(pool, count_bytes)
                handout = self._enter(UseKind.TAKEN, pool, pieces, purpose)
            return self._begin(handout, is_final=True)

    def follow(self, pool: Pool, pieces: Iterable[Piece], purpose: str) -> Handout:
        """Enter the key that the peer says it has taken into the ledger.

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
        Handout
            The pieces as they were named.
        """
        named, in_order = ordered_pieces(pieces)
        check_request(pool, self._owner, self._owner.peer, sum(piece.count_bytes for piece in named), purpose)
        with self._mutex:
            self._refuse_strangers()
            with self._database.transaction():
                self._book.check_free(pool, in_order)
                handout = self._enter(UseKind.EXPECTED, pool, named, purpose)
            return self._begin(handout, is_final=False)

    def read(self, handout: int, count_bytes: int) -> bytearray:
        """Read the next bytes of a handout.

        Parameters
        ----------
        handout : int
            Number of an open handout.
        count_bytes : int
            How many.

        Returns
        -------
        bytearray
            Exactly so many.

        Raises
        ------
        KeyStoreError
            If so many are not read at once.
        """
        if not 0 < count_bytes <= MOST_TAKEN_BYTES:
            raise KeyStoreError(f"{count_bytes} bytes of handout {handout}: read 1 to {MOST_TAKEN_BYTES} at once")
        with self._mutex:
            opened = self._open.get(handout)
            key = bytearray(count_bytes)
            try:
                opened.read(memoryview(key), self._unseal)
            except (DamagedPieceError, KeyNotFoundError) as missing:
                key[:] = bytes(count_bytes)
                self._give_up(opened, missing)
                raise
            if opened.is_final:
                self._destroy_behind(opened)
            return key

    def tag_key(self, handout: int) -> bytes:
        """Return the key that hashes the message of an open handout.

        Parameters
        ----------
        handout : int
            Number of an open handout of a pad.

        Returns
        -------
        bytes
            16 bytes.

        Raises
        ------
        KeyNotFoundError
            If the handout is of no pad, or its block has no such key.
        """
        with self._mutex:
            taken = self._open.get(handout).handout
            block = taken.pieces[0].block
            pool = TAGS.get(taken.pool)
            if pool is None:
                raise KeyNotFoundError(f"handout {handout} is none of a pad: it has no key for a tag")
            key = bytearray(TAG_KEY_BYTES)
            try:
                self._shelf.read(pool.value, Piece(block, 0, TAG_KEY_BYTES), memoryview(key))
            except DamagedPieceError:
                with self._database.transaction():
                    self._blocks.give_up_pad(block, taken.pool)
                self._shelf.sweep()
                raise
            return bytes(key)

    def release(self, handout: int) -> None:
        """Destroy what was not read of the final ``handout``."""
        with self._mutex:
            opened = self._open.find(handout)
            if opened is not None and opened.is_final:
                self._abandon(opened)

    def burn(self, handout: int) -> None:
        """Make the expected ``handout`` final: its message has proved right."""
        with self._mutex:
            with self._database.transaction():
                self._book.conclude(handout, returned=False)
            opened = self._open.get(handout)
            opened.is_final = True
            self._destroy_behind(opened)

    def give_back(self, handout: int) -> None:
        """Undo the expected ``handout``: its message turned out to be forged."""
        with self._mutex:
            with self._database.transaction():
                self._book.conclude(handout, returned=True)
            self._open.end(handout)

    def _end_handouts(self, blocks: Collection[int] | None) -> list[OpenHandout]:
        """Make handouts final that have key in ``blocks``, or all, inside the caller's transaction: what they named is being given up."""
        ended = self._open.touching(blocks)
        for opened in ended:
            if not opened.is_final:
                self._book.conclude(opened.handout.number, returned=False)
        return ended

    def _abandon(self, opened: OpenHandout) -> None:
        """Destroy what is left of a handout, and forget it."""
        opened.is_final = True
        opened.forget()
        self._destroy_behind(opened)

    def _refuse_strangers(self) -> None:
        if not self._met:
            raise PeerNotMetError("no key is handed out before the peer was met: an old copy of a store is noticed only then")
        if self._state("doubted"):
            raise PeerNotMetError("one of the two key stores is an old copy: no key is handed out until the next block has settled it")

    def _state(self, column: Literal["next_block", "mask_cursor", "handouts", "doubted"]) -> int:
        return self._database.integer(f"SELECT {column} FROM state")  # noqa: S608 - one of four words

    def _enter(self, kind: UseKind, pool: Pool, pieces: tuple[Piece, ...], purpose: str) -> Handout:
        ((number,),) = self._database.integers("UPDATE state SET handouts = handouts + 1 RETURNING handouts")
        self._book.spend(kind, pool, pieces, purpose=purpose, handout=number)
        return Handout(number, pool, pieces)

    def _begin(self, handout: Handout, *, is_final: bool) -> Handout:
        """Let a handout be read, now that the ledger has it on disk."""
        self._watermark.write(handout.number)
        self._open.add(OpenHandout(handout, is_final, PIECE_BYTES))
        return handout

    def _unseal(self, pool: Pool, piece: Piece, into: memoryview) -> None:
        self._shelf.read(pool.value, piece, into)

    def _destroy_behind(self, opened: OpenHandout) -> None:
        """Destroy what was read of a final handout, and forget the handout once nothing is left."""
        pool, pieces = opened.handout.pool, opened.take_behind()
        if pieces:
            with self._database.transaction(durable=False):
                self._blocks.destroy_read(pool, pieces, self._open.awaits)
            self._shelf.sweep()
        if opened.is_read:
            self._open.end(opened.handout.number)

    def _give_up(self, opened: OpenHandout, missing: KeyStoreError) -> None:
        """Lose a handout that cannot be read to its end; later requests go past what is damaged."""
        if isinstance(missing, DamagedPieceError):
            with self._database.transaction():
                self._blocks.set_aside(opened.handout.pool, missing.piece)
            self._shelf.sweep()
        if opened.is_final:
            self.release(opened.handout.number)
