"""Small requests: key entered into the ledger and read in one go, the same for every store."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable

from common.errors import KeyStoreError
from common.keystore.interface import MOST_TAKEN_BYTES, Handout, Piece, Taken
from common.keystore.ownership import Pool
from common.keystore.requests import ordered_pieces


class HandsOutAtOnce(ABC):
    """What ``take`` and ``expect`` are in terms of ``reserve``, ``follow`` and ``read``; see ``KeyStore``."""

    @abstractmethod
    def reserve(self, pool: Pool, count_bytes: int, purpose: str) -> Handout:
        """Enter key of one of our pools into the ledger.

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

    @abstractmethod
    def follow(self, pool: Pool, pieces: Iterable[Piece], purpose: str) -> Handout:
        """Enter key that the peer says it has taken into the ledger.

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

    @abstractmethod
    def read(self, handout: int, count_bytes: int) -> bytearray:
        """Return the next ``count_bytes`` bytes of the open ``handout``."""

    def take(self, pool: Pool, count_bytes: int, purpose: str) -> Taken:
        """Hand out key from the front of one of our pools.

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
        """
        _check_length(pool, count_bytes)
        return self._read_whole(self.reserve(pool, count_bytes, purpose))

    def expect(self, pool: Pool, pieces: Iterable[Piece], purpose: str) -> Taken:
        """Hand out the key that the peer says it has taken.

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
        """
        named, _ = ordered_pieces(pieces)
        _check_length(pool, sum(piece.count_bytes for piece in named))
        return self._read_whole(self.follow(pool, named, purpose))

    def _read_whole(self, handout: Handout) -> Taken:
        return Taken(handout.number, handout.pool, handout.pieces, self.read(handout.number, handout.count_bytes))


def _check_length(pool: Pool, count_bytes: int) -> None:
    if not 0 < count_bytes <= MOST_TAKEN_BYTES:
        raise KeyStoreError(f"{count_bytes} bytes of {pool.value}: ask for 1 to {MOST_TAKEN_BYTES} at once")
