"""The half of the store in memory that hands out key; ``MemoryKeyStore`` is the other half, and brings what both work on."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import accumulate

from common.channel.codec import Party
from common.errors import KeyAlreadyTakenError, KeyExhaustedError, KeyNotCommittedError, KeyNotFoundError, KeyStoreError, PeerNotMetError
from common.keystore.at_once import HandsOutAtOnce
from common.keystore.interface import MOST_PIECES, MOST_TAKEN_BYTES, AuditEntry, Handout, Piece, UseKind
from common.keystore.ownership import TAG_KEY_BYTES, TAGS, Pool
from common.keystore.requests import check_request, ordered_pieces


@dataclass(slots=True)
class MemoryHandout:
    """A handout that is not read to its end, or not final.

    Attributes
    ----------
    handout : Handout
        What the ledger says.
    is_final : bool
        Whether it can no longer be given back.
    reached : int
        Bytes read of all pieces together.
    """

    handout: Handout
    is_final: bool
    reached: int = 0

    def awaited(self, pool: Pool, block: int) -> bool:
        """Whether a piece of ``pool`` in ``block`` is not begun, or may come back."""
        begins = accumulate((piece.count_bytes for piece in self.handout.pieces), initial=0)
        return pool is self.handout.pool and any(
            piece.block == block and (begin >= self.reached or not self.is_final)
            for piece, begin in zip(self.handout.pieces, begins, strict=False)
        )


class MemoryHandingOut(HandsOutAtOnce):
    """Hands out key of a store in memory; see ``KeyStore``."""

    _owner: Party
    _met: bool
    _doubted: bool
    _handouts: int
    _open: dict[int, MemoryHandout]
    _uses: list[AuditEntry]

    @abstractmethod
    def _numbers(self) -> list[int]:
        """Return the blocks that are held, in order."""

    @abstractmethod
    def _is_staged(self, block: int) -> bool:
        """Say whether a ``block`` is here that is not committed yet."""

    @abstractmethod
    def _part_bytes(self, block: int, pool: Pool) -> int:
        """Return the length of a pool's part of a block, 0 where there is none."""

    @abstractmethod
    def _gaps(self, block: int, pool: Pool) -> list[Piece]:
        """Return what is unspent of a pool's part of a block."""

    @abstractmethod
    def _spend(self, kind: UseKind, pool: Pool, piece: Piece, purpose: str = "", handout: int = 0) -> None:
        """Enter a piece into the ledger."""

    @abstractmethod
    def _read(self, pool: Pool, piece: Piece) -> bytes:
        """Return the key of a piece."""

    def reserve(self, pool: Pool, count_bytes: int, purpose: str) -> Handout:
        """Enter key from the front of one of our pools into the ledger; see ``KeyStore``.

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

        Raises
        ------
        KeyExhaustedError
            If the pool is too short.
        KeyStoreError
            If the key lies in too many pieces.
        """
        check_request(pool, self._owner, self._owner, count_bytes, purpose)
        self._refuse_strangers()
        pieces, wanted = list[Piece](), count_bytes
        for gap in (gap for block in self._numbers() for gap in self._gaps(block, pool)):
            if wanted:
                pieces.append(replace(gap, count_bytes=min(gap.count_bytes, wanted)))
                wanted -= pieces[-1].count_bytes
        if wanted:
            raise KeyExhaustedError(f"{pool.value} is {8 * wanted} bits short", missing_bits=8 * wanted)
        if len(pieces) > MOST_PIECES:
            raise KeyStoreError(f"{len(pieces)} pieces are too many")
        return self._enter(UseKind.TAKEN, pool, pieces, purpose)

    def follow(self, pool: Pool, pieces: Iterable[Piece], purpose: str) -> Handout:
        """Enter the key that the peer says it has taken into the ledger; see ``KeyStore``.

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

        Raises
        ------
        KeyNotCommittedError
            If a piece names a block that is not committed yet.
        KeyNotFoundError
            If a piece names no key that is here.
        KeyAlreadyTakenError
            If any of it was handed out before.
        """
        named, in_order = ordered_pieces(pieces)
        check_request(pool, self._owner, self._owner.peer, sum(piece.count_bytes for piece in named), purpose)
        self._refuse_strangers()
        for piece in in_order:
            if self._is_staged(piece.block):
                raise KeyNotCommittedError(f"block {piece.block} is not committed here yet")
            if piece.end_byte > self._part_bytes(piece.block, pool):
                raise KeyNotFoundError(f"block {piece.block}: no such key is committed here")
            if not any(gap.first_byte <= piece.first_byte and piece.end_byte <= gap.end_byte for gap in self._gaps(piece.block, pool)):
                raise KeyAlreadyTakenError(f"block {piece.block}: handed out or destroyed before")
        return self._enter(UseKind.EXPECTED, pool, list(named), purpose)

    def read(self, handout: int, count_bytes: int) -> bytearray:
        """Read the next bytes of a handout; see ``KeyStore``.

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
        KeyNotFoundError
            If the handout is not open, or has fewer bytes left.
        KeyStoreError
            If so many are not read at once.
        """
        if not 0 < count_bytes <= MOST_TAKEN_BYTES:
            raise KeyStoreError(f"{count_bytes} bytes: read 1 to {MOST_TAKEN_BYTES} at once")
        if handout not in self._open:
            raise KeyNotFoundError(f"handout {handout} is not open")
        opened = self._open[handout]
        key = b"".join(self._read(opened.handout.pool, piece) for piece in opened.handout.pieces)
        read = bytearray(key[opened.reached : opened.reached + count_bytes])
        opened.reached += len(read)
        if opened.is_final and opened.reached == len(key):
            del self._open[handout]
        if len(read) < count_bytes:
            raise KeyNotFoundError(f"handout {handout} has fewer bytes left than were to be read")
        return read

    def tag_key(self, handout: int) -> bytes:
        """Return the key that hashes the message of an open ``handout``.

        Raises
        ------
        KeyNotFoundError
            If the handout is not open, or of no pad.
        """
        if handout not in self._open or self._open[handout].handout.pool not in TAGS:
            raise KeyNotFoundError(f"handout {handout} is none of a pad")
        taken = self._open[handout].handout
        return self._read(TAGS[taken.pool], Piece(taken.pieces[0].block, 0, TAG_KEY_BYTES))

    def release(self, handout: int) -> None:
        """Destroy what was not read of the final ``handout``."""
        if handout in self._open and self._open[handout].is_final:
            del self._open[handout]

    def burn(self, handout: int) -> None:
        """Make the ``expect`` numbered ``handout`` final."""
        self._conclude(handout, kind=UseKind.RECEIVED, returned=False)
        opened = self._open[handout]
        opened.is_final = True
        if opened.reached == opened.handout.count_bytes:
            del self._open[handout]

    def give_back(self, handout: int) -> None:
        """Undo the ``expect`` numbered ``handout``."""
        self._conclude(handout, kind=UseKind.EXPECTED, returned=True)
        del self._open[handout]

    def _enter(self, kind: UseKind, pool: Pool, pieces: list[Piece], purpose: str) -> Handout:
        self._handouts += 1
        for piece in pieces:
            self._spend(kind, pool, piece, purpose, self._handouts)
        handout = Handout(self._handouts, pool, tuple(pieces))
        self._open[handout.number] = MemoryHandout(handout, is_final=kind is UseKind.TAKEN)
        return handout

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

    def _refuse_strangers(self) -> None:
        if not self._met:
            raise PeerNotMetError("no key is handed out before the peer was met: an old copy of a store is noticed only then")
        if self._doubted:
            raise PeerNotMetError("one of the two key stores is an old copy: no key is handed out until the next block has settled it")

    def _is_awaited(self, pool: Pool, block: int) -> bool:
        return any(one.awaited(pool, block) for one in self._open.values())
