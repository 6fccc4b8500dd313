"""What both ends say about keys for applications, on a line of their own beside the sessions; part of the catalogue (``messages``)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from common.channel.fields import Blob, Boolean, Bytes32, Count, CountList, UInt8
from common.channel.message import Message


@dataclass(frozen=True, slots=True)
class DeliveryHello(Message):
    """Open the line on which both ends agree about keys for applications, beside the sessions that make key.

    Attributes
    ----------
    nonce, answered_nonce : bytes
        32 fresh random bytes, and those of the peer's that are answered; zeros before one came.
    """

    KIND: ClassVar[int] = 900
    nonce: Bytes32
    answered_nonce: Bytes32


@dataclass(frozen=True, slots=True)
class DeliveryState(Message):
    """How this end stands.

    Attributes
    ----------
    is_ready : bool
        Whether its store hands key out.
    peer_pool_bytes : int
        What is left here of the pool from which the receiver serves applications.
    names : bytes
        Applications that may be given key at this end, UTF-8, separated by line feeds.
    """

    KIND: ClassVar[int] = 901
    is_ready: Boolean
    peer_pool_bytes: Count
    names: Blob


@dataclass(frozen=True, slots=True)
class KeyReserve(Message):
    """Hold these keys for applications: they are cut from these pieces of the sender's delivery pool, one behind the other.

    Attributes
    ----------
    handout : int
        The sender's number for it.
    blocks, first_bytes, counts : tuple[int, ...]
        Block, first byte and length of each piece.
    key_counts, key_bytes : tuple[int, ...]
        How many keys of which length each order has.
    key_ids : bytes
        16 bytes a key.
    names : bytes
        For each order who asked and who may have the keys, UTF-8, separated by line feeds; orders by NUL.
    """

    KIND: ClassVar[int] = 902
    handout: Count
    blocks: CountList
    first_bytes: CountList
    counts: CountList
    key_counts: CountList
    key_bytes: CountList
    key_ids: Blob
    names: Blob


@dataclass(frozen=True, slots=True)
class KeyReserved(Message):
    """Whether the keys are held, durably.

    Attributes
    ----------
    handout : int
        As in ``KeyReserve``.
    refusal : int
        0 held, 1 not here, 2 handed out before, 3 nothing is handed out at present, 4 the store failed or is busy.
    """

    KIND: ClassVar[int] = 903
    handout: Count
    refusal: UInt8


@dataclass(frozen=True, slots=True)
class KeySettle(Message):
    """Whatever of these pieces is not held is given up: nobody was or will be given it at the sender's end.

    Attributes
    ----------
    handout : int
        As in ``KeyReserve``.
    blocks, first_bytes, counts : tuple[int, ...]
        Block, first byte and length of each piece.
    """

    KIND: ClassVar[int] = 904
    handout: Count
    blocks: CountList
    first_bytes: CountList
    counts: CountList


@dataclass(frozen=True, slots=True)
class KeySettled(Message):
    """The pieces are held or given up here as well, durably."""

    KIND: ClassVar[int] = 905
    handout: Count


@dataclass(frozen=True, slots=True)
class KeyMove(Message):
    """Take over a stretch of the sender's delivery pool, which the sender has given up, durably.

    Attributes
    ----------
    block, first_byte, count_bytes : int
        Where it lies in the sender's part of the block.
    target_byte : int
        Where it will lie in the receiver's part: the end of that as it was before.
    """

    KIND: ClassVar[int] = 906
    block: Count
    first_byte: Count
    count_bytes: Count
    target_byte: Count


@dataclass(frozen=True, slots=True)
class KeyMoved(Message):
    """Whether the stretch has been taken over, durably.

    Attributes
    ----------
    block, first_byte, count_bytes, target_byte : int
        As in ``KeyMove``.
    is_accepted : bool
        If not, it is given up at both ends.
    """

    KIND: ClassVar[int] = 907
    block: Count
    first_byte: Count
    count_bytes: Count
    target_byte: Count
    is_accepted: Boolean
