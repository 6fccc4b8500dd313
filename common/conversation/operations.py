"""What a conversation asks the key store to do durably; any store that understands these will do.

Every operation but ``OpenBlock`` and ``TakeMask`` may be asked again after a crash; these two refuse what was used
before, so a session that forgets where it stood fails instead of using anything twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from common.bits import SecretBits


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
        Bits of every block that is held, staged or committed, by number.
    """

    next_block: int
    mask_cursor: int
    lengths: dict[int, int]


@dataclass(frozen=True, slots=True)
class ReadLedger:
    """Ask where the store stands; the result is a ``Ledger``."""


@dataclass(frozen=True, slots=True)
class OpenBlock:
    """Mark a block number, and every lower one, as used."""

    block: int


@dataclass(frozen=True, slots=True)
class TakeMask:
    """Mark a mask pair, and every earlier one, as used; asked before the mask touches a tag."""

    mask_index: int


@dataclass(frozen=True, slots=True)
class StageKey:
    """Keep the key of a block without handing it out."""

    block: int
    key: SecretBits


@dataclass(frozen=True, slots=True)
class CommitKey:
    """Make a staged key usable: the peer holds it as well."""

    block: int


@dataclass(frozen=True, slots=True)
class Settle:
    """Bring the store in line with the peer's after a broken session: commit these blocks, erase those."""

    commit: tuple[int, ...]
    erase: tuple[int, ...]


Operation = ReadLedger | OpenBlock | TakeMask | StageKey | CommitKey | Settle


class OperationTarget(Protocol):
    """Carries out operations durably: when ``apply`` returns, a crash does not undo it."""

    def apply(self, operation: object) -> object:
        """Carry out one operation and return its result."""
