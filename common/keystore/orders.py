"""Keys that applications ask for: what is ordered, what is held for whom, and what a store has to be able to do about it.

The end that an application asks cuts keys out of its own delivery pool; the other end is told which bytes they are and who may have them,
and holds each key sealed under a data key of its own until those have come for it. ``common.keystore.delivering`` does it on disk.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from common.errors import KeyStoreError
from common.keystore.interface import Handout, Levels, Piece
from common.keystore.moves import Move

KEY_ID_BYTES = 16
"""Length of a key's number, a UUID."""

MOST_SAE_LETTERS = 200
"""Length of the name of an application."""


@dataclass(frozen=True, slots=True)
class Order:
    """A request of an application for keys, all of the same length.

    Attributes
    ----------
    key_ids : tuple[bytes, ...]
        The keys' numbers, 16 bytes each.
    count_bytes : int
        Length of each key.
    master : str
        Who asks.
    slaves : tuple[str, ...]
        Who may have the same keys at the other end.
    """

    key_ids: tuple[bytes, ...]
    count_bytes: int
    master: str
    slaves: tuple[str, ...]

    @property
    def total_bytes(self) -> int:
        """Length of all keys."""
        return len(self.key_ids) * self.count_bytes


@dataclass(slots=True)
class Allotment:
    """Key set aside for orders, durably, and read; nobody is given it before the peer holds it.

    Attributes
    ----------
    handout : Handout
        Where it lies.
    orders : tuple[Order, ...]
        For whom.
    keys : list[list[bytearray]]
        The keys of each order; never part of the repr.
    """

    handout: Handout
    orders: tuple[Order, ...]
    keys: list[list[bytearray]] = field(repr=False)

    def wipe(self) -> None:
        """Overwrite the keys with zeros."""
        for keys in self.keys:
            for key in keys:
                key[:] = bytes(len(key))


@dataclass(frozen=True, slots=True)
class Announcement:
    """Key that the peer has allotted, to be held for applications here.

    Attributes
    ----------
    pieces : tuple[Piece, ...]
        Where it lies in the peer's delivery pool, one behind the other.
    orders : tuple[Order, ...]
        What the keys are, and for whom.
    """

    pieces: tuple[Piece, ...]
    orders: tuple[Order, ...]


@dataclass(frozen=True, slots=True)
class Collection:
    """A request of an application for keys that are held for it.

    Attributes
    ----------
    slave : str
        Who asks.
    master : str
        Who is said to have ordered the keys.
    key_ids : tuple[bytes, ...]
        Which keys.
    request : bytes
        32 bytes that name certificate and request: only the very same may be repeated.
    """

    slave: str
    master: str
    key_ids: tuple[bytes, ...]
    request: bytes = field(repr=False)


class HoldsTooMuchError(KeyStoreError):
    """No more keys are held before some of those that are have been fetched, or have waited their time."""


class NotForYouError(KeyStoreError):
    """A key is held, but not for who asks for it."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """What an application may have.

    Attributes
    ----------
    quota_bytes, left_bytes : int
        In a day, and of that what is left.
    wait_seconds : float | None
        How long it takes until there is enough for what was asked; None where there never is.
    """

    quota_bytes: int
    left_bytes: int
    wait_seconds: float | None = 0.0


@dataclass(frozen=True, slots=True)
class Round:
    """What is asked of a store at a time: all of it becomes durable in one change.

    Attributes
    ----------
    orders : tuple[Order, ...]
        Keys to be allotted from our own pool, in order of arrival.
    announcements : tuple[Announcement, ...]
        Keys to be held, as the peer says.
    collections : tuple[Collection, ...]
        Held keys to be given.
    settled : tuple[int, ...]
        Allotments that the peer holds or has given up.
    repeat_seconds : float
        How long the very same collection may be repeated; 0 for never.
    quotas : Mapping[str, int]
        Bytes that applications may have in a day, by name; the others may have all there is.
    """

    orders: tuple[Order, ...] = ()
    announcements: tuple[Announcement, ...] = ()
    collections: tuple[Collection, ...] = ()
    settled: tuple[int, ...] = ()
    repeat_seconds: float = 0.0
    quotas: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Served:
    """What became of a round.

    Attributes
    ----------
    allotment : Allotment | None
        The orders there was enough key for; None where there was enough for none.
    short : tuple[Order, ...]
        Those there was too little for.
    held : tuple[KeyStoreError | None, ...]
        For each announcement None, or why it is not held; nothing of it is, then.
    collected : tuple[list[bytes] | KeyStoreError, ...]
        For each collection its keys, or why there are none: ``KeyNotFoundError``, ``NotForYouError``.
    left_bytes : int
        What was left for orders once those there was enough for were served.
    over : tuple[tuple[Order, Allowance], ...]
        Orders that a quota does not allow.
    """

    allotment: Allotment | None
    short: tuple[Order, ...]
    held: tuple[KeyStoreError | None, ...]
    collected: tuple[list[bytes] | KeyStoreError, ...] = field(repr=False)
    left_bytes: int = 0
    over: tuple[tuple[Order, Allowance], ...] = ()


class DeliveryStore(Protocol):
    """What a key store does for applications, beside what ``KeyStore`` says."""

    def serve(self, asked: Round) -> Served:
        """Carry out a round: one durable change for all of it, before a bit is unsealed.

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
            If nothing is handed out at present, or the disk fails; nothing is changed then.
        """

    def unsettled(self, after: int = 0) -> list[tuple[int, tuple[Piece, ...]]]:
        """Return number and pieces of the next few allotments behind ``after`` of which it is unknown whether the peer holds them."""

    def worst_epsilon(self) -> float:
        """Return the highest secrecy parameter of the blocks of which something is left for who asks here; 1 where one is not known."""

    def skip(self, pieces: Iterable[Piece]) -> None:
        """Spend what the peer has given up of its delivery pool, unless it is held here.

        Parameters
        ----------
        pieces : iterable of Piece
            What; those that are not here change nothing.

        Raises
        ------
        KeyNotCommittedError
            If they are of a block that is staged: nothing is changed, and the peer asks again.
        """

    def let_go(self, repeat_seconds: float, keep_seconds: float) -> int:
        """Destroy held keys that need no longer be kept.

        Parameters
        ----------
        repeat_seconds : float
            How long requests may be repeated.
        keep_seconds : float
            How long keys wait for those who may have them.

        Returns
        -------
        int
            Keys for which somebody had not come in time.
        """

    def drawn_bytes(self) -> dict[str, int]:
        """Return how many bytes each application was given on its orders in the last day."""

    def deliverable_bytes(self) -> tuple[int, int]:
        """Return how many bytes are left in our own delivery pool, and in the peer's."""

    def offer_move(self, count_bytes: int) -> Move | None:
        """Give up key for the peer's pool, durably, or return the move that is under way.

        Parameters
        ----------
        count_bytes : int
            How much, at most; 0 begins none.

        Returns
        -------
        Move | None
            To be told to the peer until it answers; None where there is none.
        """

    def accept_move(self, move: Move) -> bool:
        """Take over key that the peer gives up for our pool, durably; tell whether it is ours now. Repeated, it is answered the same.

        Parameters
        ----------
        move : Move
            As the peer named it.

        Returns
        -------
        bool
            False where it is given up here too.

        Raises
        ------
        KeyNotCommittedError
            If the block is staged: nothing is changed, and the peer asks again.
        """

    def settle_move(self, move: Move, *, is_accepted: bool) -> None:
        """Note what the peer has answered to a ``move``: whether it ``is_accepted``."""

    def levels(self) -> Levels:
        """Say how full the store is."""

    def note_facts(self, block: int, facts: str) -> None:
        """Keep ``facts`` about a ``block``, JSON, to be told with its key."""

    def facts_of(self, blocks: Sequence[int]) -> dict[int, tuple[str, float]]:
        """Return what was noted of ``blocks`` and when they were committed, Unix time; an empty object where nothing was noted."""
