"""What a publication's formula gives: a length or a rate that reproduces a figure and makes no key.

Both types are unrelated to ``KeyLength`` and ``Estimate``: nothing that distils takes them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import log2

from common.security.checks import check_epsilon, check_number
from common.security.entropy import saturated_entropy


@dataclass(frozen=True, slots=True)
class PaperKeyLength:
    """Secret bits of a block by a publication's formula.

    Attributes
    ----------
    bits : float
        Length, not rounded; 0 where the formula gives none.
    terms : dict[str, float]
        What is added up, deductions negative; their sum may be below 0.
    phase_error_ratio : float
        Bound of the phase-error ratio, at most 1; from 1/2 on there is no key.
    source : str
        Bibliography key.
    """

    bits: float
    terms: dict[str, float]
    phase_error_ratio: float
    source: str


@dataclass(frozen=True, slots=True)
class AsymptoticRate:
    """Secret bits a pulse with endless statistics.

    Attributes
    ----------
    bits_per_pulse : float
        At least 0.
    phase_error_ratio : float
        Among the single-photon clicks, at most 1; from 1/2 on there is no key.
    source : str
        Bibliography key.
    terms : dict[str, float]
        What is added up, bits a pulse, deductions negative; their sum may be below 0.
    """

    bits_per_pulse: float
    phase_error_ratio: float
    source: str
    terms: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PaperEpsilons:
    """Failure probabilities as publications share them out: linearly, one for each event.

    Attributes
    ----------
    event : float
        Of each statistical bound.
    amplification, correctness : float
        Of privacy amplification and of verification.

    Raises
    ------
    ConfigurationError
        If one is not strictly between 0 and 1.
    """

    event: float
    amplification: float
    correctness: float

    def __post_init__(self) -> None:
        for name in ("event", "amplification", "correctness"):
            check_epsilon(f"paper epsilon of {name}", getattr(self, name))

    def sum(self, count_events: int) -> float:
        """What a publication promises with ``count_events`` bounds: everything added up, without a square."""
        return count_events * self.event + self.amplification + self.correctness

    @property
    def deductions(self) -> dict[str, float]:
        """The two constant terms ``2 log2(1/(2 eps_PA))`` and ``log2(2/eps_cor)``, as deductions in bits."""
        return {
            "privacy amplification": -2.0 * log2(1.0 / (2.0 * self.amplification)),
            "correctness": -log2(2.0 / self.correctness),
        }


def paper_length(terms: dict[str, float], phase_error_ratio: float, source: str) -> PaperKeyLength:
    """Add up what a formula consists of.

    Parameters
    ----------
    terms : dict[str, float]
        Bits by name, deductions negative.
    phase_error_ratio : float
        What the terms were computed with.
    source : str
        Bibliography key.

    Returns
    -------
    PaperKeyLength
        At least 0 bits.

    Raises
    ------
    ConfigurationError
        If the ratio is negative.

    References
    ----------
    Nothing but a sum; status: paper.
    """
    check_number("phase_error_ratio", phase_error_ratio, 0.0, float("inf"))
    bits = max(0.0, sum(terms.values())) if phase_error_ratio < 0.5 else 0.0
    return PaperKeyLength(bits, terms, min(1.0, phase_error_ratio), source)


def paper_rate(single: float, ratio: float, leakage: float, source: str, empty: float = 0.0) -> AsymptoticRate:
    """Add up what a pulse gives with endless statistics.

    Parameters
    ----------
    single : float
        Key bits a pulse from single photons, 0 or more.
    ratio : float
        Phase-error ratio among them.
    leakage : float
        Leaked bits a pulse.
    source : str
        Bibliography key.
    empty : float
        Key bits a pulse from empty pulses, where the formula counts them as key.

    Returns
    -------
    AsymptoticRate
        At least 0 bits.

    Raises
    ------
    ConfigurationError
        If the ratio is negative.

    References
    ----------
    Nothing but a sum; status: paper.
    """
    check_number("phase_error_ratio", ratio, 0.0, float("inf"))
    terms = {"empty pulses": empty} if empty else {}
    terms |= {"single-photon bits": single, "phase errors": -single * saturated_entropy(ratio), "leakage": -leakage}
    return AsymptoticRate(max(0.0, sum(terms.values())) if ratio < 0.5 else 0.0, min(1.0, ratio), source, terms)
