"""Exact tails of the binomial and the hypergeometric distribution, from a handful of rounds to 1e12 of them.

A point mass comes from Loader's saddle-point form, which has no cancelling logarithms of factorials; a tail is the point mass at
its edge times a sum of ratios, summed in vectors until a geometric series bounds the rest. The bound of the rest is *added*: a
tail is never understated by cutting it. Used by ``bounds``.
"""

from __future__ import annotations

from math import exp, expm1, inf, lgamma, log, log1p, pi
from typing import TYPE_CHECKING

import numpy as np

from common.security.entropy import deviance

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

_EXACT_STIRLING = tuple(0.0 if n == 0 else lgamma(n + 1.0) - ((n + 0.5) * log(n) - n + 0.5 * log(2.0 * pi)) for n in range(16))
"""Error of Stirling's formula where its series converges slowly; ``lgamma`` is exact to the last bits there."""

_REST = 1e-14
"""A tail sum stops once the geometric bound of what is left falls below this share of it."""


def log_binomial_mass(count: int, count_trials: int, probability: float) -> float:
    """Logarithm of the binomial point mass.

    Parameters
    ----------
    count, count_trials : int
        Successes and trials.
    probability : float
        Probability of success in one trial.

    Returns
    -------
    float
        ``ln P[Bin(count_trials, probability) = count]``.

    References
    ----------
    [Loader2000], the saddle-point form; status: rigorous up to rounding (relative error about 1e-13).
    """
    if count < 0 or count > count_trials:
        return -inf
    if probability <= 0.0 or probability >= 1.0:
        return 0.0 if count == (0 if probability <= 0.0 else count_trials) else -inf
    if count == 0:
        return count_trials * log1p(-probability)
    if count == count_trials:
        return count_trials * log(probability)
    others = count_trials - count
    return (
        _stirling_error(count_trials)
        - _stirling_error(count)
        - _stirling_error(others)
        - deviance(count, count_trials * probability)
        - deviance(others, count_trials * (1.0 - probability))
        + 0.5 * log(count_trials / (2.0 * pi * count * others))
    )


def log_hypergeometric_mass(marked_drawn: int, count_total: int, count_marked: int, count_drawn: int) -> float:
    """Logarithm of the hypergeometric point mass.

    Parameters
    ----------
    marked_drawn : int
        Marked ones among those drawn.
    count_total, count_marked, count_drawn : int
        Population, marked ones in it, and how many are drawn without replacement.

    Returns
    -------
    float
        ``ln P[Hyp(count_total, count_marked, count_drawn) = marked_drawn]``.

    References
    ----------
    [Loader2000], a ratio of three binomial masses; status: rigorous up to rounding.
    """
    unmarked, unmarked_drawn = count_total - count_marked, count_drawn - marked_drawn
    if count_drawn in (0, count_total):
        return 0.0 if marked_drawn == (0 if count_drawn == 0 else count_marked) else -inf
    share = count_drawn / count_total
    return (
        log_binomial_mass(marked_drawn, count_marked, share)
        + log_binomial_mass(unmarked_drawn, unmarked, share)
        - log_binomial_mass(count_drawn, count_total, share)
    )


def log_hypergeometric_lower_tail(most: int, count_total: int, count_marked: int, count_drawn: int) -> float:
    """Logarithm of the probability to draw at most ``most`` marked ones.

    Parameters
    ----------
    most : int
        Largest count of marked ones that belongs to the tail.
    count_total, count_marked, count_drawn : int
        Population, marked ones in it, and how many are drawn without replacement.

    Returns
    -------
    float
        ``ln P[Hyp(count_total, count_marked, count_drawn) <= most]``, never below the true value by more than rounding.

    References
    ----------
    ``docs/explanation/sampling``, section "Summing the tail"; status: rigorous up to rounding.
    """
    least = max(0, count_drawn - (count_total - count_marked))
    if most < least:
        return -inf
    if most >= min(count_marked, count_drawn):
        return 0.0
    mode = (count_drawn + 1) * (count_marked + 1) // (count_total + 2)
    if most >= mode:  # more than half: sum the other tail, whose terms fall from its edge on
        return _log_complement(log_hypergeometric_lower_tail(count_drawn - most - 1, count_total, count_total - count_marked, count_drawn))

    def ratios(steps: NDArray[np.float64]) -> NDArray[np.float64]:
        drawn = most - steps
        rising = drawn * (count_total - count_marked - count_drawn + drawn)
        return np.maximum(rising, 0.0) / ((count_marked - drawn + 1.0) * (count_drawn - drawn + 1.0))

    return log_hypergeometric_mass(most, count_total, count_marked, count_drawn) + _log_sum(ratios)


def log_binomial_upper_tail(least: int, count_trials: int, probability: float) -> float:
    """Logarithm of the probability of at least ``least`` successes.

    Parameters
    ----------
    least : int
        Smallest count that belongs to the tail.
    count_trials : int
        Trials.
    probability : float
        Probability of success in one trial, ``0 < probability < 1``.

    Returns
    -------
    float
        ``ln P[Bin(count_trials, probability) >= least]``, never below the true value by more than rounding.

    References
    ----------
    ``docs/explanation/sampling``, section "Summing the tail"; status: rigorous up to rounding.
    """
    if least <= 0:
        return 0.0
    if least > count_trials:
        return -inf
    if least <= int((count_trials + 1) * probability):
        return _log_complement(log_binomial_lower_tail(least - 1, count_trials, probability))
    odds = probability / (1.0 - probability)

    def ratios(steps: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.maximum(count_trials - least - steps, 0.0) / (least + steps + 1.0) * odds

    return log_binomial_mass(least, count_trials, probability) + _log_sum(ratios)


def log_binomial_lower_tail(most: int, count_trials: int, probability: float) -> float:
    """Logarithm of the probability of at most ``most`` successes.

    Parameters
    ----------
    most : int
        Largest count that belongs to the tail.
    count_trials : int
        Trials.
    probability : float
        Probability of success in one trial, ``0 < probability < 1``.

    Returns
    -------
    float
        ``ln P[Bin(count_trials, probability) <= most]``, never below the true value by more than rounding.

    References
    ----------
    ``docs/explanation/sampling``, section "Summing the tail"; status: rigorous up to rounding.
    """
    if most < 0:
        return -inf
    if most >= count_trials:
        return 0.0
    if most >= int((count_trials + 1) * probability):  # more than half: the upper tail falls from its edge on
        return _log_complement(log_binomial_upper_tail(most + 1, count_trials, probability))
    odds = (1.0 - probability) / probability

    def ratios(steps: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.maximum(most - steps, 0.0) / (count_trials - most + steps + 1.0) * odds

    return log_binomial_mass(most, count_trials, probability) + _log_sum(ratios)


def _log_sum(ratios: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> float:
    """``ln(1 + r0 + r0 r1 + r0 r1 r2 + ...)`` for ratios that only fall, the rest bounded by a geometric series.

    Both distributions are log-concave, so each ratio bounds all later ones and ``t r/(1-r)`` bounds all that follows a term t.
    """
    total, term, start, size = 1.0, 1.0, 0, 128
    while True:
        falling = ratios(np.arange(start, start + size, dtype=np.float64))
        terms = term * np.cumprod(falling)
        total += float(terms.sum())
        term, ratio = float(terms[-1]), float(falling[-1])
        if ratio < 1.0:
            rest = term * ratio / (1.0 - ratio)
            if rest <= _REST * total:
                return log(total + rest)
        start, size = start + size, min(2 * size, 65536)


def _log_complement(log_probability: float) -> float:
    """``ln(1 - e^x)`` for x <= 0."""
    if log_probability >= 0.0:
        return -inf
    return log(-expm1(log_probability)) if log_probability > -0.6931 else log1p(-exp(log_probability))


def _stirling_error(n: int) -> float:
    """``ln n! - ln(sqrt(2 pi n) (n/e)^n)``; the series is cut where its next term is below 1e-16 at n = 16."""
    if n < len(_EXACT_STIRLING):
        return _EXACT_STIRLING[n]
    square = float(n) * n
    series = 1.0 / 1188.0 - 691.0 / 360360.0 / square
    for coefficient in (-1.0 / 1680.0, 1.0 / 1260.0, -1.0 / 360.0, 1.0 / 12.0):
        series = coefficient + series / square
    return series / n
