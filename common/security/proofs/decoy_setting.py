"""Decoy states as data: the intensities, what was counted with each of them, and what a count says about its expectation.

A phase-randomised pulse holds n photons with a Poissonian probability, and which intensity a pulse of n photons had is, in thought,
decided after its detection: ``p(k|n) = p_k e^-k k^n / (n! tau_n)``, whatever the eavesdropper did. So a count at one intensity is a
sum of independent events given the photon numbers, and ``Spread`` says how far it may be from its expectation. Counts come from the
block, bounds go to ``decoy_bounds`` and the proofs.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, factorial
from typing import TYPE_CHECKING, Literal, Protocol

from common.errors import ConfigurationError, LocalProtocolError
from common.security.checks import check_distribution, check_number
from common.security.inequalities import chernoff_expectation_lower, chernoff_expectation_upper
from common.security.intervals import mean_lower_bound, mean_upper_bound
from common.security.paper import hoeffding_margin

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class DecoySetting:
    """What is fixed before a block begins.

    Attributes
    ----------
    intensities : tuple[float, ...]
        Mean photon numbers in the channel, strictly falling: a signal and one decoy, or a signal and two.
    probabilities : tuple[float, ...]
        Probability of each, independent of basis and bit.
    probability_z_bob : float
        Probability that Bob measures a photon in Z.
    basis_choice : str
        ``passive`` (a beam splitter chooses) or ``active``.

    Raises
    ------
    ConfigurationError
        If a value is out of range or the intensities do not suit the bounds; the message names it.
    """

    intensities: tuple[float, ...]
    probabilities: tuple[float, ...]
    probability_z_bob: float
    basis_choice: Literal["passive", "active"]

    def __post_init__(self) -> None:
        if len(self.intensities) not in {2, 3} or len(self.probabilities) != len(self.intensities):
            raise ConfigurationError(
                f"source.intensities {self.intensities}, source.probability_intensity {self.probabilities}: give two or three of each"
            )
        for value in self.intensities:
            check_number("source.intensities", value, 0.0, float("inf"))
        check_distribution("source.probability_intensity", self.probabilities)
        check_number("receiver.probability_z", self.probability_z_bob, 0.0, 1.0, open_ends=True)
        if self.basis_choice not in {"passive", "active"}:
            raise ConfigurationError(f"basis_choice = {self.basis_choice!r} is passive or active")
        if any(high <= low for high, low in zip(self.intensities, self.intensities[1:], strict=False)):
            raise ConfigurationError(f"source.intensities {self.intensities}: list them from the brightest to the weakest")
        if len(self.intensities) == 2 and self.intensities[1] == 0.0:
            raise ConfigurationError(f"source.intensities {self.intensities}: a single decoy must not be vacuum")
        if len(self.intensities) == 3 and self.intensities[0] <= self.intensities[1] + self.intensities[2]:
            raise ConfigurationError(f"source.intensities {self.intensities}: the signal must be brighter than both decoys together")

    def tau(self, count_photons: int) -> float:
        """Probability that a pulse of any intensity holds ``count_photons``."""
        weights = zip(self.probabilities, self.intensities, strict=True)
        return sum(p * exp(-k) * k**count_photons for p, k in weights) / factorial(count_photons)

    def scale(self, index: int) -> float:
        """``e^k / p_k`` of the intensity at ``index``."""
        return exp(self.intensities[index]) / self.probabilities[index]


@dataclass(frozen=True, slots=True)
class DecoyCounts:
    """What was counted with each intensity, brightest first.

    Attributes
    ----------
    key, key_errors : tuple[int, ...]
        Sifted Z bits, and errors among them as reconciliation found them; every bit of a failed segment counts as an error. The
        errors are needed with one decoy only and may be empty otherwise.
    kept : int
        Z bits in reconciled segments.
    tested, errors : tuple[int, ...]
        Disclosed X bits and errors among them.
    cross_clicks : int
        Slots in which detectors of both bases clicked; negative where they were not counted.

    Raises
    ------
    LocalProtocolError
        If the counts contradict each other.
    """

    key: tuple[int, ...]
    kept: int
    tested: tuple[int, ...]
    errors: tuple[int, ...]
    key_errors: tuple[int, ...] = ()
    cross_clicks: int = 0

    def __post_init__(self) -> None:
        pairs = [(self.tested, self.errors)] + ([(self.key, self.key_errors)] if self.key_errors else [])
        for of, marked in pairs:
            if len(of) != len(marked) or any(not 0 <= wrong <= all_ for wrong, all_ in zip(marked, of, strict=True)):
                raise LocalProtocolError(f"decoy counts contradict each other: {marked} errors among {of} bits")
        if len(self.key) != len(self.tested) or not 0 <= self.kept <= sum(self.key):
            raise LocalProtocolError(f"decoy counts contradict each other: {self.kept} kept of {self.key} key bits, {self.tested} tested")


class Spread(Protocol):
    """What a count at one intensity says about its expectation."""

    def low(self, count: float, total: float) -> float:
        """Lower bound of the expectation of ``count`` out of ``total`` of all intensities."""

    def high(self, count: float, total: float) -> float:
        """Upper bound of the expectation of ``count`` out of ``total`` of all intensities."""


@dataclass(frozen=True, slots=True)
class Exact:
    """No spread at all: what endless statistics would say."""

    def low(self, count: float, total: float) -> float:  # noqa: ARG002 - a Spread
        """Return the count itself."""
        return count

    def high(self, count: float, total: float) -> float:  # noqa: ARG002 - a Spread
        """Return the count itself."""
        return count


@dataclass(frozen=True, slots=True)
class Entropic:
    """Chernoff's exponent with relative entropy, the one composable proofs use; ``epsilon`` is that of each bound."""

    epsilon: float

    def low(self, count: float, total: float) -> float:
        """Bound the expectation from below."""
        return mean_lower_bound(int(count), int(total), self.epsilon)

    def high(self, count: float, total: float) -> float:
        """Bound the expectation from above."""
        return mean_upper_bound(int(count), int(total), self.epsilon)


@dataclass(frozen=True, slots=True)
class Hoeffding:
    """The margin of [Lim2014] and [Rusca2018]; ``epsilon`` is that of each bound."""

    epsilon: float

    def low(self, count: float, total: float) -> float:
        """Bound the expectation from below; it may come out negative, as in the publications."""
        return count - hoeffding_margin(total, self.epsilon)

    def high(self, count: float, total: float) -> float:
        """Bound the expectation from above."""
        return count + hoeffding_margin(total, self.epsilon)


@dataclass(frozen=True, slots=True)
class Chernoff:
    """The multiplicative form of [Yin2020]; ``epsilon`` is that of each bound."""

    epsilon: float

    def low(self, count: float, total: float) -> float:  # noqa: ARG002 - a Spread
        """Bound the expectation from below."""
        return chernoff_expectation_lower(count, self.epsilon)

    def high(self, count: float, total: float) -> float:  # noqa: ARG002 - a Spread
        """Bound the expectation from above."""
        return chernoff_expectation_upper(count, self.epsilon)


def scaled(setting: DecoySetting, counts: Sequence[float], spread: Spread) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Bound ``e^k/p_k`` times the expectation of the count at each intensity.

    Parameters
    ----------
    setting : DecoySetting
        Intensities.
    counts : sequence of float
        Counts of one class of events by intensity, brightest first.
    spread : Spread
        What a count says about its expectation.

    Returns
    -------
    (lower, upper)
        Two tuples, one entry an intensity.

    References
    ----------
    [Lim2014] eqs. (A7) to (A10); status: rigorous with a rigorous spread.
    """
    total = sum(counts)
    low = tuple(setting.scale(index) * spread.low(count, total) for index, count in enumerate(counts))
    high = tuple(setting.scale(index) * spread.high(count, total) for index, count in enumerate(counts))
    return low, high
