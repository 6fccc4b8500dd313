"""How the two ends of a tunnel change to the same key: a conversation of an ordering and a holding half, without sockets, clocks or keys.

The ordering half asks its node for a key, has the other end hold the same one, has it change, and changes last. Whatever is lost, repeated,
late or out of order on the way, and whichever end is started anew:

- An end that holds a key has not changed yet; nothing is lost if it never does.
- Between the question ``Use`` and its answer the ordering half does not know which key the other end uses. It is *in doubt*, says so, and
  asks until it knows. All other differences of the two ends show in the answer to the next ``Check``.
- Rounds count up. The holding half refuses whatever belongs to an earlier round, so nothing late undoes a change.

The halves are generators: they yield what is to be done and are sent how it went. They see key ids, never keys. Performed by
``common.tunnels.upkeep``.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from common.errors import RemoteProtocolError
from common.tunnels.messages import LAST_ROUND, Check, Held, Hold, Question, Refused, Reply, State, Use, Used


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask the other end ``question``; sent back is the reply, or None where none came."""

    question: Question


@dataclass(frozen=True, slots=True)
class Order:
    """Order a key of the node; sent back is its id, or None where none is to be had."""


@dataclass(frozen=True, slots=True)
class Fetch:
    """Fetch the key ``key_id`` of the node; sent back is None if it is held now, or the ``Miss``."""

    key_id: str


@dataclass(frozen=True, slots=True)
class Install:
    """Put the key ``key_id`` into the tunnel; sent back is whether that was done."""

    key_id: str


@dataclass(frozen=True, slots=True)
class Drop:
    """Wipe the key ``key_id``; nothing is sent back."""

    key_id: str


@dataclass(frozen=True, slots=True)
class Miss:
    """A key that could not be fetched.

    Attributes
    ----------
    is_final : bool
        Whether it never will be.
    reason : str
        Why, for people.
    """

    is_final: bool
    reason: str


Effect = Ask | Order | Fetch | Install | Drop


@dataclass(slots=True)
class _Offer:
    """A key that the other end is to hold, then to use, and we after it."""

    number: int
    key_id: str
    is_held: bool = False
    is_used: bool = False


class Orderer:
    """The half that orders keys, and decides when."""

    def __init__(self) -> None:
        self.used: str | None = None
        self.peer_used: str | None = None
        self.in_doubt = False
        self._highest = 0
        self._offer: _Offer | None = None

    @property
    def is_settled(self) -> bool:
        """Whether, for all this end knows, both ends use the same key."""
        return self.used is not None and self.used == self.peer_used and not self.in_doubt

    def advance(self, *, is_due: bool, is_failing: bool) -> Generator[Effect, Any, bool]:
        """Go as far as it goes: see how the other end does, and where the key is due, change to another; or go on with a change.

        Parameters
        ----------
        is_due : bool
            Whether the key is old enough to be changed.
        is_failing : bool
            Whether our tunnel shows that the keys of the two ends may differ.

        Yields
        ------
        Effect
            What is to be done; how it went is sent back.

        Returns
        -------
        bool
            Whether all that was to be done is done; if not, call it again after a pause.

        Raises
        ------
        RemoteProtocolError
            If the other end has heard of the last round there is.
        """
        if self._offer is None:
            reply: Reply | None = yield Ask(Check())
            if not isinstance(reply, State):
                return False
            if reply.highest == LAST_ROUND:
                raise RemoteProtocolError("the other end has heard of a round so high that no round is left: start it anew")
            self._highest = max(self._highest, reply.highest)
            self.peer_used = reply.used
            if not (is_due or is_failing or reply.is_failing or not self.is_settled):
                return True
            key_id: str | None = yield Order()
            if key_id is None:
                return False
            self._highest += 1
            self._offer = _Offer(self._highest, key_id)
        return (yield from self._change(self._offer))

    def _change(self, offer: _Offer) -> Generator[Effect, Any, bool]:
        if not offer.is_held:
            reply: Reply | None = yield Ask(Hold(round=offer.number, key_id=offer.key_id))
            if reply != Held(key_id=offer.key_id):
                yield from self._give_up_if_refused(offer, reply)
                return False
            offer.is_held = True
        if not offer.is_used:
            self.in_doubt = True
            reply = yield Ask(Use(round=offer.number, key_id=offer.key_id))
            if reply != Used(key_id=offer.key_id):
                yield from self._give_up_if_refused(offer, reply)
                return False
            self.peer_used = offer.key_id
            offer.is_used = True
        installed: bool = yield Install(offer.key_id)
        if not installed:
            return False
        self.used, self.in_doubt, self._offer = offer.key_id, False, None
        yield Drop(offer.key_id)
        return True

    def _give_up_if_refused(self, offer: _Offer, reply: Reply | None) -> Generator[Effect, Any, None]:
        """Forget a change that the other end refuses for good; a doubt stays until another one is at its end."""
        if isinstance(reply, Refused) and reply.key_id == offer.key_id and reply.is_final:
            self._offer = None
            yield Drop(offer.key_id)


class Holder:
    """The half that holds what was ordered for it, and changes when it is told to."""

    def __init__(self) -> None:
        self.used: str | None = None
        self._used_in = 0
        self._highest = 0
        self._held: str | None = None

    def answer(self, question: Question, *, is_failing: bool) -> Generator[Effect, Any, Reply]:
        """Answer a question; only one at a time.

        Parameters
        ----------
        question : Question
            Of the ordering half.
        is_failing : bool
            Whether our tunnel shows that the keys of the two ends may differ.

        Yields
        ------
        Effect
            What is to be done; how it went is sent back.

        Returns
        -------
        Reply
            For the ordering half.
        """
        match question:
            case Hold(round=number, key_id=key_id):
                return (yield from self._hold(number, key_id))
            case Use(round=number, key_id=key_id):
                return (yield from self._use(number, key_id))
            case Check():
                return State(highest=self._highest, used=self.used, is_failing=is_failing)

    def _hold(self, number: int, key_id: str) -> Generator[Effect, Any, Reply]:
        if number == self._highest and key_id in {self._held, self.used}:
            return Held(key_id=key_id)
        if number < self._highest or number == self._used_in:
            return Refused(key_id=key_id, is_final=True, reason=f"round {self._highest} has begun")
        if self._held is not None:
            yield Drop(self._held)
            self._held = None
        self._highest = number
        miss: Miss | None = yield Fetch(key_id)
        if miss is not None:
            return Refused(key_id=key_id, is_final=miss.is_final, reason=miss.reason[:400])
        self._held = key_id
        return Held(key_id=key_id)

    def _use(self, number: int, key_id: str) -> Generator[Effect, Any, Reply]:
        if number == self._highest and key_id == self.used:
            return Used(key_id=key_id)
        if number != self._highest or key_id != self._held:
            return Refused(key_id=key_id, is_final=True, reason="the key is not held for this round")
        installed: bool = yield Install(key_id)
        if not installed:
            return Refused(key_id=key_id, is_final=False, reason="the key could not be put into the tunnel")
        self._held, self.used, self._used_in = None, key_id, number
        yield Drop(key_id)
        return Used(key_id=key_id)
