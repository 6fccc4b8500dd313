"""Frames on the classical channel: one byte that says which seal is behind it, then a sealed message or a notice.

Messages are authenticated by the engine. Of the notices, ``OVER`` carries a code of its own over the session it ends, so it can neither be
invented nor used twice; ``ALIVE`` and ``REFUSED`` carry none: they tell nothing that somebody who can write to the wire could not bring
about by cutting it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from common.channel.authentication import MAC_BYTES, GreetingSeal
from common.channel.codec import MAXIMUM_MESSAGE_BYTES, PROTOCOL_VERSION, Party
from common.errors import AuthenticationError

ALIVE = 0x00
"""A sign of life: a byte of flags, ``BUSY`` and ``ANSWER``, and three times in microseconds from which round trips are measured."""

BUSY = 0x01
"""Flag: the sender is computing; his peer should be patient."""

ANSWER = 0x02
"""Flag: the sender has not heard us yet and would like a sign at once."""

GREETING = 0x01
"""A message under the greeting's seal."""

SESSION = 0x02
"""A message under the seal of a session."""

OVER = 0x03
"""A session has ended at its sender's: 16 bytes of session id and a code."""

REFUSED = 0x04
"""A greeting had a wrong code."""

DELIVERY = 0x05
"""A message about keys for applications, under a seal of its own; see ``common.delivery.line``."""

MAXIMUM_FRAME_BYTES = 1 + MAXIMUM_MESSAGE_BYTES + MAC_BYTES
"""Longest frame."""

SESSION_BYTES = 16
"""Length of a session id."""

_ENVELOPE_START = bytes((0x99, PROTOCOL_VERSION, 0xC4, SESSION_BYTES))
"""How every envelope begins: an array of nine fields, the version, a byte string of 16."""


def session_of(message: bytes) -> bytes | None:
    """Return the session id that ``message`` claims, unchecked, or None where it is no envelope."""
    start = len(_ENVELOPE_START)
    return message[start : start + SESSION_BYTES] if message.startswith(_ENVELOPE_START) else None


_SIGN = struct.Struct("<BBQQQ")


@dataclass(frozen=True, slots=True)
class Sign:
    """A sign of life.

    Attributes
    ----------
    busy : bool
        Whether the sender is computing.
    answer : bool
        Whether he has not heard us yet and would like a sign at once.
    sent_us : int
        When it was sent, by the sender's clock.
    echoed_us, held_us : int
        When we sent the last sign that he heard, by our clock, and how long ago that was; 0 where he heard none.
    """

    busy: bool
    answer: bool = False
    sent_us: int = 0
    echoed_us: int = 0
    held_us: int = 0

    def frame(self) -> bytes:
        """Return the sign as a whole frame."""
        return _SIGN.pack(ALIVE, BUSY * self.busy | ANSWER * self.answer, self.sent_us, self.echoed_us, self.held_us)

    @classmethod
    def read(cls, frame: bytes) -> Sign | None:
        """Read a frame that begins as a sign does, or None where its length is another."""
        if len(frame) != _SIGN.size:
            return None
        _, flags, *times = _SIGN.unpack(frame)
        return cls(bool(flags & BUSY), bool(flags & ANSWER), *times)


def over_frame(seal: GreetingSeal, sender: Party, session: bytes) -> bytes:
    """Return the notice that a session has ended.

    Parameters
    ----------
    seal : GreetingSeal
        Of the provisioned secrets; its messages are numbered from 1, so number 0 is free for notices.
    sender : Party
        Who we are.
    session : bytes
        The session's id.

    Returns
    -------
    bytes
        A whole frame.
    """
    return bytes((OVER,)) + session + seal.code(sender, 0, b"session over" + session)


def ended_session(seal: GreetingSeal, sender: Party, body: bytes) -> bytes | None:
    """Return the session that a notice of the peer ends.

    Parameters
    ----------
    seal : GreetingSeal
        Of the provisioned secrets.
    sender : Party
        The peer.
    body : bytes
        The frame without its first byte.

    Returns
    -------
    bytes | None
        The session's id, or None where the code is wrong.
    """
    session, code = body[:SESSION_BYTES], body[SESSION_BYTES:]
    try:
        seal.check(sender, 0, b"session over" + session, code)
    except AuthenticationError:
        return None
    return session
