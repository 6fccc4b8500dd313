"""The failure probabilities a block is allowed, and how they are shared out.

A key is ``epsilon_secrecy``-secret and ``epsilon_correctness``-correct; secrecy is spent on two things: bounds that may fail and
amplification that is never perfect. Comes from the profile, decides every bound in ``proofs``, ends in the report's ``epsilon``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from common.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

_SMALLEST = 1e-100
"""Below it the squared estimation epsilon leaves the range of floating-point numbers; nobody needs it."""


class EpsilonSettings(Protocol):
    """The part of a profile's ``[security]`` section that promises failure probabilities."""

    @property
    def epsilon_secrecy(self) -> float:
        """Distance of key and ideal key, seen by an eavesdropper."""

    @property
    def epsilon_correctness(self) -> float:
        """Probability that the two ends hold different keys."""

    @property
    def epsilon_authentication(self) -> float:
        """Probability that a forged transcript is accepted."""


@dataclass(frozen=True, slots=True)
class EpsilonBudget:
    """Failure probabilities of one block.

    Attributes
    ----------
    epsilon_secrecy, epsilon_correctness, epsilon_authentication : float
        Between 0 and 1, both excluded.
    epsilon_total : float | None
        What the three together must not exceed; None promises just their sum.

    Raises
    ------
    ConfigurationError
        If a probability is out of range or the three exceed ``epsilon_total``.

    References
    ----------
    ``docs/explanation/epsilons``; the division into estimation and amplification follows [Tupkary2024]; status: rigorous.
    """

    epsilon_secrecy: float
    epsilon_correctness: float
    epsilon_authentication: float
    epsilon_total: float | None = None

    def __post_init__(self) -> None:
        for name in ("epsilon_secrecy", "epsilon_correctness", "epsilon_authentication"):
            value = getattr(self, name)
            if not _SMALLEST <= value < 1.0:
                raise ConfigurationError(f"security.{name} = {value}: choose a probability from {_SMALLEST:g} to below 1")
        if self.sum >= 1.0:
            raise ConfigurationError(f"the security epsilons add up to {self.sum:g}: nothing is promised from 1 on, choose smaller ones")
        if self.epsilon_total is not None and self.sum > self.epsilon_total * (1.0 + 1e-12):
            raise ConfigurationError(
                f"security.epsilon_total = {self.epsilon_total:g}: secrecy, correctness and authentication add up to {self.sum:g}; "
                "raise the total or lower one of them"
            )

    @classmethod
    def of(cls, security: EpsilonSettings) -> EpsilonBudget:
        """Take the budget from a profile's security section.

        Parameters
        ----------
        security : EpsilonSettings
            Anything with the three epsilons of the ``[security]`` section.

        Returns
        -------
        EpsilonBudget
            The checked budget.
        """
        return cls(security.epsilon_secrecy, security.epsilon_correctness, security.epsilon_authentication)

    @property
    def sum(self) -> float:
        """Secrecy, correctness and authentication together: what a block is worth its promise."""
        return self.epsilon_secrecy + self.epsilon_correctness + self.epsilon_authentication

    @property
    def epsilon_acceptance(self) -> float:
        """``eps_AT = epsilon_secrecy / 4``; it enters the secrecy twice."""
        return self.epsilon_secrecy / 4.0

    @property
    def epsilon_amplification(self) -> float:
        """``eps_PA = epsilon_secrecy / 2``, so that ``2 eps_AT + eps_PA = epsilon_secrecy``."""
        return self.epsilon_secrecy / 2.0

    @property
    def probability_estimation(self) -> float:
        """``eps_AT^2``: what all bounds of the parameter estimation may fail with, together. The square is no slip."""
        return self.epsilon_acceptance**2

    def probability_of_event(self, count_events: int) -> float:
        """Share the estimation probability equally.

        Parameters
        ----------
        count_events : int
            Bounds the proof relies on, 1 or more.

        Returns
        -------
        float
            Failure probability of each of them.

        Raises
        ------
        ConfigurationError
            If there is no event to share between.
        """
        if count_events < 1:
            raise ConfigurationError(f"{count_events} estimation events: a proof relies on at least one bound")
        return self.probability_estimation / count_events

    def itemised(self, events: Sequence[str]) -> dict[str, float]:
        """List every failure probability by name, flat, for ledger and report.

        Parameters
        ----------
        events : sequence of str
            Names of the bounds the proof relies on.

        Returns
        -------
        dict[str, float]
            ``total``, its three parts, the two shares of secrecy, and the probability of each event. What the events may fail with
            adds up to ``estimation``, and ``2 acceptance + amplification`` to ``secrecy``.

        Raises
        ------
        ConfigurationError
            If an event is listed twice: its share would be spent twice and shown once.
        """
        if len(set(events)) != len(events):
            raise ConfigurationError(f"estimation events {list(events)}: each is listed once, or the shares do not add up")
        share = self.probability_of_event(len(events))
        return {
            "total": self.sum,
            "secrecy": self.epsilon_secrecy,
            "correctness": self.epsilon_correctness,
            "authentication": self.epsilon_authentication,
            "acceptance": self.epsilon_acceptance,
            "amplification": self.epsilon_amplification,
            "estimation": self.probability_estimation,
            **{f"estimation, {event}": share for event in events},
        }
