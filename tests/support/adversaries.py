"""Adversaries on the wire of a rehearsal: one that has no keys, and one that holds all message keys (but neither hash keys nor masks)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from common.channel.authentication import MAC_BYTES, ChannelSecrets, GreetingSeal, MessageSeal, SessionSeal
from common.channel.codec import Envelope, Party, decode, encode
from common.channel.messages import Confirm, Hello, Welcome
from common.conversation.events import Output
from common.conversation.rehearsal import Moment, Rehearsal
from common.errors import RemoteProtocolError

WHOLE_BYTES = 256
"""Messages up to this length are altered at every bit."""

RANDOM_BITS = 1000
"""Bits altered in longer ones."""

GREETINGS_TO = {Party.ALICE: 1, Party.BOB: 2}
"""Greeting messages that each end takes: Welcome; Hello and Confirm."""

Delivery = Iterable[tuple[Party, bytes]]


def bits_to_flip(count_bytes: int, seed: int, whole_bytes: int = WHOLE_BYTES, most_bits: int = RANDOM_BITS) -> list[int]:
    """Every bit of a short message, ``most_bits`` of a long one."""
    if count_bytes <= whole_bytes:
        return list(range(8 * count_bytes))
    return sorted(np.random.default_rng(seed).choice(8 * count_bytes, most_bits, replace=False).tolist())


def with_bit_flipped(data: bytes, bit: int) -> bytes:
    altered = bytearray(data)
    altered[bit >> 3] ^= 1 << (bit & 7)
    return bytes(altered)


class Disturbed:
    """A wire that does ``deed`` to message number ``index``: drop, duplicate, swap, reflect, divert or replay."""

    def __init__(self, deed: str, index: int, earlier: list[tuple[Party, bytes]] | None = None) -> None:
        self._deed, self._index = deed, index
        self._before = list(earlier or [])
        self._count = 0
        self._held: tuple[Party, bytes] | None = None

    def __call__(self, sender: Party, data: bytes) -> Delivery:
        number, self._count = self._count, self._count + 1
        usual = [(sender.peer, data)]
        try:
            if number != self._index:
                if self._held and self._held[0] is sender:
                    late, self._held = self._held[1], None
                    return [*usual, (sender.peer, late)]
                return usual
            match self._deed:
                case "drop":
                    return []
                case "duplicate":
                    return usual * 2
                case "swap":
                    self._held = (sender, data)
                    return []
                case "reflect":
                    return [(sender, data), *usual]
                case "divert":
                    return [(sender, data)]
                case "replay":
                    return [*((party.peer, old) for party, old in self._before), *usual]
            raise AssertionError(self._deed)
        finally:
            self._before.append((sender, data))


class MacHolder:
    """Decodes, lets ``script`` say what goes on in place of each message, and seals that with the right codes.

    ``script(sender, envelope)`` yields ``(destination, body)``: bytes go out as they are, envelopes with session, sequence, heard
    and the nonce that a Confirm answers rewritten so that the receiving engine finds nothing amiss. What an end says it has heard
    is left as it is where that can be.
    """

    def __init__(self, secrets: ChannelSecrets, script: Callable[[Party, Envelope], Iterable[tuple[Party, Envelope | bytes]]]) -> None:
        self._secrets = secrets
        self._script = script
        self._greeting = GreetingSeal(secrets)
        self._nonces: dict[Party, dict[type, bytes]] = {party: {} for party in Party}
        self._seals: dict[Party, MessageSeal] = {}
        self._greeted = dict.fromkeys(Party, 0)
        self._delivered = dict.fromkeys(Party, 0)
        self._sent = dict.fromkeys(Party, 0)
        self._told_heard = dict.fromkeys(Party, 0)

    def __call__(self, sender: Party, data: bytes) -> Iterator[tuple[Party, bytes]]:
        envelope = decode(data[:-MAC_BYTES])
        self._note(sender, envelope)
        if not isinstance(envelope.message, Hello | Welcome | Confirm):
            self._sent[sender] = envelope.sequence
        for destination, replacement in self._script(sender, envelope):
            yield destination, self._sealed(destination, replacement)

    def _note(self, whose: Party, envelope: Envelope) -> None:
        """Remember the nonces as this end sees them."""
        if isinstance(envelope.message, Hello | Welcome):
            self._nonces[whose][type(envelope.message)] = envelope.message.nonce

    def _sealed(self, destination: Party, replacement: Envelope | bytes) -> bytes:
        if isinstance(replacement, Envelope) and isinstance(replacement.message, Confirm):
            answered = self._nonces[destination].get(Welcome, bytes(32))
            replacement = dataclasses.replace(replacement, message=Confirm(answered))
        if isinstance(replacement, Envelope) and isinstance(replacement.message, Hello | Welcome | Confirm):
            self._note(destination, replacement)
            return self._greeting_sealed(destination, encode(replacement))
        if isinstance(replacement, bytes) and self._greeted[destination] < GREETINGS_TO[destination]:
            self._try_note(destination, replacement)
            return self._greeting_sealed(destination, replacement)
        seal = self._session_seal(destination)
        self._delivered[destination] += 1
        sequence = self._delivered[destination]
        if isinstance(replacement, Envelope):
            heard = self._heard(destination, replacement.heard)
            replacement = encode(
                dataclasses.replace(replacement, session=seal.session, sender=int(destination.peer), sequence=sequence, heard=heard)
            )
        return replacement + seal.code(destination.peer, sequence, replacement)

    def _heard(self, destination: Party, said: int) -> int:
        """Never fewer than the destination was told before, never more than it has sent."""
        heard = min(max(said, self._told_heard[destination]), self._sent[destination])
        self._told_heard[destination] = heard
        return heard

    def _greeting_sealed(self, destination: Party, body: bytes) -> bytes:
        self._greeted[destination] += 1
        return body + self._greeting.code(destination.peer, self._greeted[destination], body)

    def _try_note(self, destination: Party, body: bytes) -> None:
        """Remember a nonce from bytes that may be anything."""
        nonces = self._nonces[destination]
        try:
            self._note(destination, decode(body))
        except RemoteProtocolError:  # altered beyond reading: the receiver will refuse it too
            nonces.setdefault(Welcome if Hello in nonces else Hello, bytes(32))

    def _session_seal(self, destination: Party) -> MessageSeal:
        if destination not in self._seals:
            nonces = self._nonces[destination]
            self._seals[destination] = SessionSeal(self._secrets, nonces.get(Hello, bytes(32)), nonces.get(Welcome, bytes(32)))
        return self._seals[destination]


def passed_on(sender: Party, envelope: Envelope) -> Iterator[tuple[Party, Envelope | bytes]]:
    """A script that changes nothing but what ``MacHolder`` rewrites."""
    yield sender.peer, envelope


def replacing(
    index: int, change: Callable[[Envelope], list[Envelope | bytes]]
) -> Callable[[Party, Envelope], Iterator[tuple[Party, Envelope | bytes]]]:
    """A script that puts ``change(envelope)`` in place of message number ``index``."""
    count = 0

    def script(sender: Party, envelope: Envelope) -> Iterator[tuple[Party, Envelope | bytes]]:
        nonlocal count
        number, count = count, count + 1
        for replacement in change(envelope) if number == index else [envelope]:
            yield sender.peer, replacement

    return script


class Stopped(Exception):  # noqa: N818 - no error: the power went
    """An end stops here."""


class StopAt:
    """An interrupter that stops at moment number ``index``; counts moments where ``index`` is None."""

    def __init__(self, index: int | None = None) -> None:
        self.moments: list[tuple[Party, Output, Moment]] = []
        self._index = index

    def __call__(self, party: Party, output: Output, moment: Moment) -> None:
        number = len(self.moments)
        self.moments.append((party, output, moment))
        if number == self._index:
            raise Stopped


class Silent:
    """What is left of an end that stopped: it waits for nothing and answers nothing."""

    waiting: list = []  # noqa: RUF012

    def handle(self, _event: object) -> list[Output]:
        return []


def stop_one(rehearsal: Rehearsal, party: Party) -> None:
    """Take ``party`` out of a stopped rehearsal; the other end goes on."""
    rehearsal._ends[party].machine = Silent()
    pending = [(owner, output) for owner, output in rehearsal._pending if owner is not party]
    rehearsal._pending.clear()
    rehearsal._pending.extend(pending)
