"""The line on which both ends agree about keys for applications, as a machine without input and output: bytes in, messages out.

It is beside the sessions that make key, for keys are delivered while none runs. Each end draws a nonce, and once each has answered the
other's both hold fresh keys for message codes; every message is checked before it is decoded, and taken only if its number is higher than
all before. A nonce opens one line and no other, so nothing that was overheard opens one again.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field

from common.channel.authentication import GREETING_SESSION, MAC_BYTES, ChannelSecrets, GreetingSeal, SessionSeal
from common.channel.codec import PROTOCOL_VERSION, SESSION_SCOPE, Envelope, Party, decode, encode
from common.channel.delivery_messages import (
    DeliveryHello,
    DeliveryState,
    KeyMove,
    KeyMoved,
    KeyReserve,
    KeyReserved,
    KeySettle,
    KeySettled,
)
from common.channel.message import Message
from common.errors import AuthenticationError, RemoteProtocolError, TransportError

HELLO_SEQUENCE = 4
"""Number under which greetings of this line are sealed; sessions use others."""

HELLO, SEALED = 0, 1
"""First byte of what travels: a greeting, or a message of an open line behind its number of eight bytes."""

NO_NONCE = bytes(32)

KINDS = (DeliveryState, KeyReserve, KeyReserved, KeySettle, KeySettled, KeyMove, KeyMoved)
"""What may be said on the line once it is open."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What came of received bytes.

    Attributes
    ----------
    message : Message | None
        What the peer said.
    replies : tuple[bytes, ...]
        To be sent.
    is_opened : bool
        Whether the line has been opened (anew) by this: what was under way on the one before is lost.
    """

    message: Message | None = None
    replies: tuple[bytes, ...] = ()
    is_opened: bool = False


@dataclass(slots=True)
class _Open:
    seal: SessionSeal = field(repr=False)
    peer_nonce: bytes
    greeting: bytes = field(repr=False)
    sent: int = 0
    received: int = 0


class Line:
    """One end of the line.

    Parameters
    ----------
    secrets : ChannelSecrets
        The provisioned secrets.
    party : Party
        Which end.
    draw : callable
        Returns so many fresh random bytes.
    """

    def __init__(self, secrets: ChannelSecrets, party: Party, draw: Callable[[int], bytes] = os.urandom) -> None:
        self.count_refused = 0
        self._secrets = secrets
        self._party = party
        self._draw = draw
        self._greeting_seal = GreetingSeal(secrets)
        self._nonce: bytes | None = None
        self._answered: bytes = NO_NONCE
        self._open: _Open | None = None

    @property
    def is_open(self) -> bool:
        """Whether messages can be sent."""
        return self._open is not None

    def greet(self) -> bytes:
        """Return a greeting to be sent while the line is not open."""
        return self._hello(NO_NONCE)

    def close(self) -> None:
        """Forget the keys: the peer has gone."""
        self._open = None

    def seal(self, message: Message) -> bytes:
        """Return the bytes of a message.

        Parameters
        ----------
        message : Message
            One of ``KINDS``.

        Returns
        -------
        bytes
            To be sent in this order.

        Raises
        ------
        TransportError
            If the line is not open.
        """
        if self._open is None:
            raise TransportError("the peer is away")
        self._open.sent += 1
        data = encode(self._envelope(self._open.seal.session, self._open.sent, message))
        code = self._open.seal.code(self._party, self._open.sent, data)
        return bytes((SEALED,)) + self._open.sent.to_bytes(8, "big") + data + code

    def receive(self, data: bytes) -> Heard:
        """Take in what the peer has sent.

        Parameters
        ----------
        data : bytes
            As it arrived.

        Returns
        -------
        Heard
            Nothing at all for what is not the peer's, was said before, or belongs to a line that is no more; ``count_refused`` counts it.

        Raises
        ------
        RemoteProtocolError
            If the peer broke the catalogue.
        """
        try:
            if data[:1] == bytes((HELLO,)):
                return self._greeted(data[1:])
            if data[:1] == bytes((SEALED,)) and self._open is not None:
                return Heard(self._opened(self._open, data))
        except AuthenticationError:
            pass
        self.count_refused += 1
        return Heard()

    def _opened(self, line: _Open, data: bytes) -> Message:
        number, body, code = int.from_bytes(data[1:9], "big"), data[9:-MAC_BYTES], data[-MAC_BYTES:]
        if number <= line.received:
            raise AuthenticationError("a message that was said before")
        line.seal.check(self._party.peer, number, body, code)
        line.received = number
        envelope = decode(body)
        if (envelope.session, envelope.sender, envelope.sequence) != (line.seal.session, self._party.peer, number):
            raise RemoteProtocolError("a message whose envelope belongs elsewhere")
        if not isinstance(envelope.message, KINDS):
            raise RemoteProtocolError(f"{type(envelope.message).__name__} on the line for applications")
        return envelope.message

    def _greeted(self, data: bytes) -> Heard:
        body, code = data[:-MAC_BYTES], data[-MAC_BYTES:]
        self._greeting_seal.check(self._party.peer, HELLO_SEQUENCE, body, code)
        hello = decode(body).message
        if not isinstance(hello, DeliveryHello):
            raise RemoteProtocolError(f"{type(hello).__name__} in place of a greeting")
        if self._open is not None and hello.nonce == self._open.peer_nonce:  # sent before the peer knew, or our answer was lost
            return Heard(replies=(self._open.greeting,) if hello.answered_nonce == NO_NONCE else ())
        if self._nonce is None or hello.answered_nonce != self._nonce:
            return Heard(replies=(self._hello(hello.nonce),))
        has_answered = self._answered == hello.nonce
        greeting = self._hello(hello.nonce)
        nonces = {self._party: self._nonce, self._party.peer: hello.nonce}
        ours, theirs = (hashlib.sha256(b"qkdlink delivery" + nonces[party]).digest() for party in Party)
        self._open = _Open(SessionSeal(self._secrets, ours, theirs), hello.nonce, greeting)
        self._nonce, self._answered = None, NO_NONCE
        return Heard(replies=() if has_answered else (greeting,), is_opened=True)

    def _hello(self, answered: bytes) -> bytes:
        if self._nonce is None:
            self._nonce = self._draw(32)
        self._answered = answered if answered != NO_NONCE else self._answered
        data = encode(self._envelope(GREETING_SESSION, HELLO_SEQUENCE, DeliveryHello(self._nonce, answered)))
        return bytes((HELLO,)) + data + self._greeting_seal.code(self._party, HELLO_SEQUENCE, data)

    def _envelope(self, session: bytes, sequence: int, message: Message) -> Envelope:
        return Envelope(PROTOCOL_VERSION, session, int(self._party), sequence, 0, SESSION_SCOPE, 0, message)
