"""Numbers of the pairs in the authentication reserve: which hide tags, and which become hash keys.

A pair is 32 bytes that both ends hold and nobody else. Most pairs are masks, two of 16 bytes, one for the tag of each direction. Every
eighth is kept to become the key of the transcript hash once the one in use is not trusted any more. Which is which follows from the number
alone: whatever a forged greeting makes the ends believe, no pair is ever a mask at one end and the hash key at the other, where its tags
would tell about the key.

Both ends take pairs upwards, never twice, whatever for.
"""

from __future__ import annotations

from typing import Protocol

HASH_KEY_EVERY = 8
"""One pair of so many is kept for a hash key. Rarer ones would cost more masks at each replacement, as these are passed over."""

PROVISIONED_HASH_KEY = 0
"""Number of the hash key that both ends were given by hand; any other has the number of the pair it is made of, which is never 0."""


class Standing(Protocol):
    """Where an end stands, as its own store or the peer's greeting says."""

    @property
    def mask_cursor(self) -> int:
        """Lowest pair never used."""

    @property
    def hash_key(self) -> int:
        """Number of the hash key in use."""

    @property
    def least_hash_key(self) -> int:
        """Hash keys below this number are not trusted any more."""


def is_hash_key(number: int) -> bool:
    """Say whether the pair of this ``number`` is kept for a hash key."""
    return number % HASH_KEY_EVERY == HASH_KEY_EVERY - 1


def next_hash_key(cursor: int) -> int:
    """Return the lowest pair from ``cursor`` on that is kept for a hash key."""
    return cursor + (HASH_KEY_EVERY - 1 - cursor) % HASH_KEY_EVERY


def next_mask(cursor: int) -> int:
    """Return the lowest pair from ``cursor`` on that is a mask."""
    return cursor + is_hash_key(cursor)


def agreed_hash_key(ours: Standing, theirs: Standing, *, renewed: bool = False) -> int:
    """Choose the hash key of a session from what both greetings said; the same at both ends.

    It is the newest that either end uses, so that an end which a crash left behind follows the other one; but if either does not
    trust that one any more, it is a new one, from pairs that neither has used.

    Parameters
    ----------
    ours, theirs : Standing
        Of the two ends, in either order.
    renewed : bool
        Whether a new one is due whatever they say.

    Returns
    -------
    int
        Its number.
    """
    newest, least = max(ours.hash_key, theirs.hash_key), max(ours.least_hash_key, theirs.least_hash_key)
    if newest >= least and not renewed:
        return newest
    return next_hash_key(max(ours.mask_cursor, theirs.mask_cursor, least))
