"""From a count that was seen to the probability or the expectation behind it.

``probability_*`` invert the exact binomial tail and speak of independent trials of one probability; ``mean_*`` invert the Chernoff
exponent and speak of independent trials of *any* probabilities, which is what decoy states need: which intensity a detected pulse
had is decided, in thought, after its detection, with a probability that depends on its photon number. Counts in, numbers out;
used by the decoy proofs.
"""

from __future__ import annotations

from math import log
from typing import TYPE_CHECKING

from common.errors import ConfigurationError
from common.security.checks import check_epsilon
from common.security.entropy import deviance
from common.security.tails import log_binomial_lower_tail, log_binomial_upper_tail

if TYPE_CHECKING:
    from collections.abc import Callable

_MARGIN = 1e-9
"""Added to the exponent, on the safe side of rounding."""

_PRECISION = 1e-13
"""Relative width at which a bisection stops; it returns the end that is already excluded."""


def probability_upper_bound(count: int, count_trials: int, epsilon: float) -> float:
    """Largest probability of success that may have shown so few successes.

    Parameters
    ----------
    count, count_trials : int
        Successes and trials, ``0 <= count <= count_trials``.
    epsilon : float
        Probability of failure, ``0 < epsilon < 1``.

    Returns
    -------
    float
        The p with ``P[Bin(count_trials, p) <= count] = epsilon``; 1 where nothing is excluded.

    Raises
    ------
    ConfigurationError
        If an argument is out of its range.

    References
    ----------
    [Clopper1934]; status: rigorous.
    """
    _check(count, count_trials, epsilon)
    if count == count_trials:
        return 1.0
    threshold = log(epsilon) - _MARGIN
    return _boundary(lambda p: log_binomial_lower_tail(count, count_trials, p) <= threshold, count / count_trials, 1.0)


def probability_lower_bound(count: int, count_trials: int, epsilon: float) -> float:
    """Smallest probability of success that may have shown so many successes.

    Parameters
    ----------
    count, count_trials : int
        Successes and trials, ``0 <= count <= count_trials``.
    epsilon : float
        Probability of failure, ``0 < epsilon < 1``.

    Returns
    -------
    float
        The p with ``P[Bin(count_trials, p) >= count] = epsilon``; 0 where nothing is excluded.

    Raises
    ------
    ConfigurationError
        If an argument is out of its range.

    References
    ----------
    [Clopper1934]; status: rigorous.
    """
    _check(count, count_trials, epsilon)
    if count == 0:
        return 0.0
    threshold = log(epsilon) - _MARGIN
    return _boundary(lambda p: log_binomial_upper_tail(count, count_trials, p) <= threshold, count / count_trials, 0.0)


def mean_upper_bound(count: int, count_trials: int, epsilon: float) -> float:
    """Largest expectation that may have shown so few successes in independent trials, each with a probability of its own.

    Parameters
    ----------
    count, count_trials : int
        Successes and trials, ``0 <= count <= count_trials``.
    epsilon : float
        Probability of failure, ``0 < epsilon < 1``.

    Returns
    -------
    float
        The E at and above ``count`` with ``N D(count/N || E/N) = ln(1/epsilon)``, at most ``count_trials``.

    Raises
    ------
    ConfigurationError
        If an argument is out of its range.

    References
    ----------
    [Hoeffding1963] theorem 1, whose exponent holds for unequal probabilities; status: rigorous.
    """
    _check(count, count_trials, epsilon)
    return _boundary(_excluding(count, count_trials, epsilon), float(count), float(count_trials))


def mean_lower_bound(count: int, count_trials: int, epsilon: float) -> float:
    """Smallest expectation that may have shown so many successes in independent trials, each with a probability of its own.

    Parameters
    ----------
    count, count_trials : int
        Successes and trials, ``0 <= count <= count_trials``.
    epsilon : float
        Probability of failure, ``0 < epsilon < 1``.

    Returns
    -------
    float
        The E at and below ``count`` with ``N D(count/N || E/N) = ln(1/epsilon)``, at least 0.

    Raises
    ------
    ConfigurationError
        If an argument is out of its range.

    References
    ----------
    [Hoeffding1963] theorem 1, whose exponent holds for unequal probabilities; status: rigorous.
    """
    _check(count, count_trials, epsilon)
    return _boundary(_excluding(count, count_trials, epsilon), float(count), 0.0)


def _excluding(count: int, count_trials: int, epsilon: float) -> Callable[[float], bool]:
    exponent = -log(epsilon) * (1.0 + 1e-12) + _MARGIN

    def excluded(mean: float) -> bool:
        return deviance(count, mean) + deviance(count_trials - count, count_trials - mean) >= exponent

    return excluded


def _boundary(excluded: Callable[[float], bool], inside: float, end: float) -> float:
    """Bisect between a value that is possible and the end of the range; the end itself where nothing is excluded."""
    outside = end
    edge = end + (inside - end) * 1e-15
    if inside == end or not excluded(edge):
        return end
    while abs(outside - inside) > _PRECISION * max(abs(outside), abs(inside)):
        middle = 0.5 * (inside + outside)
        if middle in {inside, outside}:
            break
        if excluded(middle):
            outside = middle
        else:
            inside = middle
    return outside


def _check(count: int, count_trials: int, epsilon: float) -> None:
    check_epsilon("epsilon", epsilon)
    if not 0 <= count <= count_trials:
        raise ConfigurationError(f"count {count}: must lie between 0 and the {count_trials} trials")
