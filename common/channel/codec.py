"""Strict encoding of envelopes: one way to write each, every length bounded, every type exact.

Decoding happens only after the bytes were authenticated. What does not decode, or would not encode to the same bytes again
(non-minimal integers, trailing bytes), is a ``RemoteProtocolError``.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from typing import Annotated, cast, get_args, get_origin, get_type_hints

import msgpack

from common.channel.fields import MAXIMUM_FIELD_BYTES, MAXIMUM_ITEMS, Bytes16, Count, FieldType, UInt8, UInt16
from common.channel.messages import CATALOGUE, Message
from common.errors import LocalProtocolError, RemoteProtocolError

PROTOCOL_VERSION = 6
"""Raised whenever the catalogue or the meaning of a message changes."""

MAXIMUM_MESSAGE_BYTES = 4 << 20
"""Longest message on the wire, envelope included."""

SESSION_SCOPE = 0
"""Block number of messages that belong to the session and not to a block."""


class Party(IntEnum):
    """Who sent a message; a message that claims to be from its own receiver is a reflection."""

    ALICE = 1
    BOB = 2

    @property
    def peer(self) -> Party:
        """The other end."""
        return Party(Party.ALICE + Party.BOB - self)


@dataclass(frozen=True, slots=True)
class Envelope:
    """What every message travels in.

    Attributes
    ----------
    version, session, sender, sequence : header
        Protocol version, 16-byte session id, sending party and running number per direction, from 1.
    heard : int
        Sequence of the last message received from the peer when this one was sent: the order of the two directions, authenticated.
    block, exchange : int
        The conversation this message belongs to; block 0 is the session.
    message : Message
        The body.
    """

    version: UInt8
    session: Bytes16
    sender: UInt8
    sequence: Count
    heard: Count
    block: Count
    exchange: UInt16
    message: Message


_HEADER = ("version", "session", "sender", "sequence", "heard", "block", "exchange")


@cache
def field_types(record: type) -> dict[str, FieldType]:
    """Return the limits of each field of a message class (or of the envelope's header), in wire order.

    Parameters
    ----------
    record : type
        A message class of the catalogue, or ``Envelope``.

    Returns
    -------
    dict[str, FieldType]
        Limits by field name.
    """
    hints = get_type_hints(record, include_extras=True)
    names = [entry.name for entry in dataclasses.fields(record)]
    return {name: get_args(hints[name])[1] for name in names if get_origin(hints[name]) is Annotated}


def encode(envelope: Envelope) -> bytes:
    """Encode an envelope.

    Parameters
    ----------
    envelope : Envelope
        Header and body.

    Returns
    -------
    bytes
        At most ``MAXIMUM_MESSAGE_BYTES``.

    Raises
    ------
    LocalProtocolError
        If a field is outside its limits: our own mistake.
    """
    message = envelope.message
    fault = _fault(type(message), _values(message)) or _fault(Envelope, _header(envelope))
    if fault:
        raise LocalProtocolError(f"cannot send {type(message).__name__}: {fault}")
    data = _packed(envelope)
    if len(data) > MAXIMUM_MESSAGE_BYTES:
        raise LocalProtocolError(f"cannot send {type(message).__name__}: {len(data)} bytes, allowed {MAXIMUM_MESSAGE_BYTES}")
    return data


def decode(data: bytes) -> Envelope:
    """Decode authenticated bytes.

    Parameters
    ----------
    data : bytes
        One whole envelope, already authenticated.

    Returns
    -------
    Envelope
        Checked against the catalogue.

    Raises
    ------
    RemoteProtocolError
        If the bytes are anything but the one encoding of an envelope of the catalogue.
    """
    if len(data) > MAXIMUM_MESSAGE_BYTES:
        raise RemoteProtocolError(f"message of {len(data)} bytes, allowed {MAXIMUM_MESSAGE_BYTES}")
    try:
        tree = msgpack.unpackb(
            data,
            use_list=False,
            max_bin_len=MAXIMUM_FIELD_BYTES,
            max_array_len=MAXIMUM_ITEMS,
            max_str_len=0,
            max_map_len=0,
            max_ext_len=0,
        )
    except (ValueError, TypeError, RecursionError) as invalid:  # every msgpack error derives from ValueError
        raise RemoteProtocolError(f"message is not msgpack within the limits: {type(invalid).__name__}") from None
    if type(tree) is not tuple or len(tree) != len(_HEADER) + 2:
        raise RemoteProtocolError(f"envelope is not an array of {len(_HEADER) + 2} fields")
    *header, kind, body = tree
    fault = _fault(Envelope, tuple(header))
    if fault:
        raise RemoteProtocolError(f"envelope: {fault}")
    if header[0] != PROTOCOL_VERSION:
        raise RemoteProtocolError(f"peer speaks protocol version {header[0]}, we speak {PROTOCOL_VERSION}")
    if header[2] not in (Party.ALICE, Party.BOB):
        raise RemoteProtocolError(f"unknown sender {header[2]}")
    message_class = CATALOGUE.get(kind) if type(kind) is int else None
    if message_class is None:
        raise RemoteProtocolError("unknown kind of message")
    if type(body) is not tuple:
        raise RemoteProtocolError(f"{message_class.__name__}: body is not an array")
    fault = _fault(message_class, body)
    if fault:
        raise RemoteProtocolError(f"{message_class.__name__}: {fault}")
    envelope = Envelope(**dict(zip(_HEADER, header, strict=True)), message=message_class(*body))
    if _packed(envelope) != data:
        raise RemoteProtocolError(f"{message_class.__name__}: not in the one permitted encoding")
    return envelope


def _packed(envelope: Envelope) -> bytes:
    return cast("bytes", msgpack.packb((*_header(envelope), envelope.message.KIND, _values(envelope.message))))


def _header(envelope: Envelope) -> tuple[object, ...]:
    return tuple(getattr(envelope, name) for name in _HEADER)


def _values(message: Message) -> tuple[object, ...]:
    record: type = type(message)
    return tuple(getattr(message, name) for name in field_types(record))


def _fault(record: type, values: tuple[object, ...]) -> str | None:
    """Say what is wrong with the fields of ``record``, or None."""
    types = field_types(record)
    if len(values) != len(types):
        return f"{len(values)} fields in place of {len(types)}"
    faults = ((name, limits.violation(value)) for (name, limits), value in zip(types.items(), values, strict=True))
    return next((f"{name}: {fault}" for name, fault in faults if fault), None)
