"""What may be asked of a key store: requests that no store could carry out are refused alike by all of them."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice, pairwise

from common.channel.codec import Party
from common.errors import KeyAlreadyTakenError, KeyNotFoundError, KeyStoreError
from common.keystore.interface import MOST_PIECES, MOST_PURPOSE_LETTERS, MOST_RESERVED_BYTES, Piece
from common.keystore.ownership import Pool

_LARGEST = 1 << 40


def check_request(pool: Pool, owner: Party, asker: Party, count_bytes: int, purpose: str) -> None:
    """Refuse a request that no store could carry out.

    Parameters
    ----------
    pool : Pool
        What is asked.
    owner, asker : Party
        Whose store this is, and who must be the pool's asker.
    count_bytes : int
        Bytes asked for.
    purpose : str
        For the ledger.

    Raises
    ------
    KeyStoreError
        If it is one.
    """
    if pool.asker is not asker:
        raise KeyStoreError(
            f"{pool.value} at {owner.name.capitalize()}'s end: each end takes from its own pools and follows the peer in the peer's"
        )
    if not 0 < count_bytes <= MOST_RESERVED_BYTES:
        raise KeyStoreError(f"{count_bytes} bytes of {pool.value}: ask for 1 to {MOST_RESERVED_BYTES} at once")
    if len(purpose) > MOST_PURPOSE_LETTERS or not purpose.isprintable():
        raise KeyStoreError(f"purpose of a handout: at most {MOST_PURPOSE_LETTERS} printable letters")


def ordered_pieces(pieces: Iterable[Piece]) -> tuple[tuple[Piece, ...], list[Piece]]:
    """Check pieces that somebody else named.

    Parameters
    ----------
    pieces : iterable of Piece
        As named.

    Returns
    -------
    tuple
        The pieces as named, and sorted by place.

    Raises
    ------
    KeyNotFoundError
        If there are none or too many, or one cannot exist.
    KeyAlreadyTakenError
        If two of them overlap.
    """
    named = tuple(islice(pieces, MOST_PIECES + 1))
    if not 0 < len(named) <= MOST_PIECES:
        raise KeyNotFoundError(f"name 1 to {MOST_PIECES} pieces of key at once")
    for piece in named:
        if not (0 < piece.block <= _LARGEST and 0 <= piece.first_byte <= _LARGEST and 0 < piece.count_bytes <= _LARGEST):
            raise KeyNotFoundError("a piece of key that cannot exist was named")
    in_order = sorted(named)
    for one, other in pairwise(in_order):
        if one.block == other.block and other.first_byte < one.end_byte:
            raise KeyAlreadyTakenError(f"block {one.block}: the same key was named twice")
    return named, in_order
