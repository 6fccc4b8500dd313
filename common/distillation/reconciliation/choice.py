"""How the next batch is reconciled: by which method, and prepared for which QBER.

The choosing half knows the stream, and how far away the peer is; it decides and says so, the other half follows. Neither the method nor the
QBER prepared for has a say in what is secret: every bit that is said is charged, whatever was chosen.
"""

from __future__ import annotations

from dataclasses import dataclass

from common.channel.messages import ReconciliationChoice
from common.conversation.effects import Conversation, receive, send
from common.distillation.recipe import METHOD_NAMES, Recipe
from common.errors import RemoteProtocolError

QBER_PRIOR_ERRORS = 4.0
"""Weight of the initial QBER in the working QBER, counted in errors."""

QBER_MEMORY_BITS = 1e6
"""Bits after which old counts begin to weigh less, so that a drift is followed."""

LEAST_WORKING_QBER, MOST_WORKING_QBER = 1e-4, 0.25
"""What reconciliation can be prepared for; Cascade's first pass has segments of a length over the QBER."""

_QBER_UNITS = 1 << 32


@dataclass(frozen=True, slots=True)
class WorkingQber:
    """The QBER that reconciliation is prepared for, from public counts only.

    Attributes
    ----------
    errors, bits : float
        Errors and bits seen so far, the prior included.
    """

    errors: float
    bits: float

    @classmethod
    def initial(cls, recipe: Recipe) -> WorkingQber:
        """Begin with the profile's value, worth a few errors."""
        return cls(QBER_PRIOR_ERRORS, QBER_PRIOR_ERRORS / recipe.initial_qber)

    def seen(self, errors: int, bits: int) -> WorkingQber:
        """Add counts, old ones scaled down where there are many."""
        scale = min(1.0, QBER_MEMORY_BITS / self.bits)
        return WorkingQber(self.errors * scale + errors, self.bits * scale + bits)

    @property
    def ratio(self) -> float:
        """Errors per bit, kept away from 0 and 1/2."""
        return min(MOST_WORKING_QBER, max(LEAST_WORKING_QBER, self.errors / self.bits))


@dataclass(frozen=True, slots=True)
class Choice:
    """What both halves of a batch go by.

    Attributes
    ----------
    method : str
        ``cascade`` or ``ldpc``.
    working_qber : float
        Between ``LEAST_WORKING_QBER`` and ``MOST_WORKING_QBER``.
    """

    method: str
    working_qber: float


def choose(recipe: Recipe, working_qber: float, method: str) -> Conversation[Choice]:
    """Choose, and say so.

    Parameters
    ----------
    recipe : Recipe
        Its method, unless that is left open.
    working_qber : float
        As far as we know.
    method : str
        Taken where the recipe leaves the method open.

    Returns
    -------
    Choice
        The same at both ends.
    """
    method = method if recipe.method == "auto" else recipe.method
    units = round(working_qber * _QBER_UNITS)
    yield from send(ReconciliationChoice(METHOD_NAMES.index(method), units))
    return Choice(method, units / _QBER_UNITS)


def follow(recipe: Recipe) -> Conversation[Choice]:
    """Take over the peer's choice; the other half of ``choose``.

    Parameters
    ----------
    recipe : Recipe
        Methods that are allowed.

    Returns
    -------
    Choice
        The same at both ends.

    Raises
    ------
    RemoteProtocolError
        If the recipe does not allow the method, or there is no such QBER.
    """
    said = yield from receive(ReconciliationChoice)
    method = METHOD_NAMES[said.method] if said.method < len(METHOD_NAMES) else None
    if method is None or recipe.method not in {"auto", method}:
        raise RemoteProtocolError("the peer chooses a method of reconciliation that was not agreed on")
    if not round(LEAST_WORKING_QBER * _QBER_UNITS) <= said.working_qber <= round(MOST_WORKING_QBER * _QBER_UNITS):
        raise RemoteProtocolError("the peer chooses a working QBER that none can be")
    return Choice(method, said.working_qber / _QBER_UNITS)
