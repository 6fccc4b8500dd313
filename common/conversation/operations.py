"""What a conversation asks the key store to do durably; any store that understands these will do.

Every operation but ``OpenBlock`` and ``TakeMask`` may be asked again after a crash; these two refuse what was used
before, so a session that forgets where it stood fails instead of using anything twice. ``MeetPeer`` never goes back to
an older hash key, nor to one that is not trusted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from common.bits import SecretBits
from common.channel.pairs import PROVISIONED_HASH_KEY

MOST_LISTED_BLOCKS = 4096
"""Newest blocks that a greeting lists; older ones were settled long ago and are left as they are."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """Where a store stands.

    Attributes
    ----------
    next_block : int
        Lowest block number never used.
    mask_cursor : int
        Lowest mask pair never used.
    lengths : dict[int, int]
        Bits of every block that is held, staged or committed, by number; of a long life only the newest ``MOST_LISTED_BLOCKS``. A
        committed block stays listed when its key is used up or expired: the list says what was accounted for, not what is left.
    hash_key : int
        Number of the transcript hash key in use.
    least_hash_key : int
        Hash keys below this number are not trusted any more.
    """

    next_block: int
    mask_cursor: int
    lengths: dict[int, int]
    hash_key: int = PROVISIONED_HASH_KEY
    least_hash_key: int = PROVISIONED_HASH_KEY


@dataclass(frozen=True, slots=True)
class ReadLedger:
    """Ask where the store stands; the result is a ``Ledger``."""


@dataclass(frozen=True, slots=True)
class MeetPeer:
    """Take note of where the peer stands, from its greeting.

    An end that holds key of a block knows that the other has opened it. If the peer holds blocks that were never opened here, or blocks
    were committed here that the peer never opened, one of the two stores is an old copy: what it handed out since is not in its ledger.
    Nothing is handed out before the peer was met, and in case of such doubt not before ``Settle``.

    A hash key that is not in use yet is made of the pair that has its number: taken, sealed and put in place of the old one at once.

    Attributes
    ----------
    next_block : int
        Lowest block number that the peer never used.
    newest_block : int
        Highest block of which the peer holds key, 0 where it holds none.
    hash_key : int
        Number of the hash key that both greetings lead to.
    """

    next_block: int
    newest_block: int
    hash_key: int = PROVISIONED_HASH_KEY


@dataclass(frozen=True, slots=True)
class DistrustHashKey:
    """Never use this hash key again, nor an older one: a tag under it was wrong; asked before anybody can know of it."""

    hash_key: int


@dataclass(frozen=True, slots=True)
class OpenBlock:
    """Mark a block number, and every lower one, as used."""

    block: int


@dataclass(frozen=True, slots=True)
class TakeMask:
    """Mark a mask pair, and every earlier one, as used; asked before the mask touches a tag. Pairs kept for hash keys are refused."""

    mask_index: int


@dataclass(frozen=True, slots=True)
class StageKeys:
    """Keep the keys of blocks, by number, without handing them out: all of them or none."""

    keys: dict[int, SecretBits]


@dataclass(frozen=True, slots=True)
class CommitKeys:
    """Make staged keys usable, all of them or none: the peer holds them as well."""

    blocks: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Settle:
    """Bring the store in line with the peer's: commit these blocks, erase those; asked once a tag vouches for the greeting."""

    commit: tuple[int, ...]
    erase: tuple[int, ...]


Operation = ReadLedger | MeetPeer | DistrustHashKey | OpenBlock | TakeMask | StageKeys | CommitKeys | Settle


class OperationTarget(Protocol):
    """Carries out operations durably: when ``apply`` returns, a crash does not undo it."""

    def apply(self, operation: object) -> object:
        """Carry out one operation and return its result."""
