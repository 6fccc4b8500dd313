"""What counts say about what was not counted: the exact sampling bound and the exact binomial quantile.

Both answer "at most how many, except with probability epsilon?" and decide live keys. Counts come from ``BlockCounts``, results go
to the proofs; ``inequalities`` has the looser textbook forms for comparison.
"""

from __future__ import annotations

from math import floor, log
from typing import TYPE_CHECKING

from common.errors import ConfigurationError
from common.security.entropy import deviance
from common.security.tails import log_binomial_lower_tail, log_binomial_upper_tail, log_hypergeometric_lower_tail

if TYPE_CHECKING:
    from collections.abc import Callable

EXACT_SAMPLING_LIMIT = 10**12
"""Rounds up to which tails are summed; above, the closed form is used: sums grow long there and it is as tight."""

_MARGIN = 1e-9
"""Added to the logarithm of every computed tail before it is compared: a thousand times its rounding error, on the safe side."""


def untested_error_bound(count_tested: int, errors_tested: int, count_untested: int, epsilon: float) -> int:
    """Largest number of errors the untested rounds can hold, except with probability ``epsilon``.

    Among all totals ``K`` of errors in the ``N = tested + untested`` rounds, the largest that could still have shown so few
    in the sample: ``max{K : P[Hyp(N, K, tested) <= errors_tested] > epsilon} - errors_tested``. It holds for every
    distribution of errors an eavesdropper may choose, because only the choice of the sample is random.

    Parameters
    ----------
    count_tested, errors_tested : int
        Rounds disclosed and errors among them, ``0 <= errors_tested <= count_tested``.
    count_untested : int
        Rounds the bound speaks about.
    epsilon : float
        Probability of failure, ``0 < epsilon < 1``.

    Returns
    -------
    int
        Errors, between 0 and ``count_untested``.

    Raises
    ------
    ConfigurationError
        If an argument is out of its range; the message names it.

    References
    ----------
    ``docs/explanation/sampling``, where coverage is enumerated; status: rigorous. Compare [Serfling1974] (looser) and
    [Mannalath2025] (the hypergeometric tail is computable).
    """
    _check_sample(count_tested, errors_tested, count_untested, epsilon)
    total = count_tested + count_untested
    highest = untested_error_bound_closed_form(count_tested, errors_tested, count_untested, epsilon) + errors_tested
    if total > EXACT_SAMPLING_LIMIT or count_tested == 0:
        return highest - errors_tested
    threshold = log(epsilon) - _MARGIN

    def possible(errors_total: int) -> bool:
        return log_hypergeometric_lower_tail(errors_tested, total, errors_total, count_tested) > threshold

    if possible(highest):  # the closed form caps it: either no total is excluded, or rounding at the very edge
        return highest - errors_tested
    # below one half the median decides: a total whose mean sample shows no more errors than seen is always possible
    low = max(errors_tested, total * errors_tested // count_tested) if epsilon < 0.5 else errors_tested
    return _last_true(possible, min(low, highest - 1), highest) - errors_tested


def untested_error_bound_closed_form(count_tested: int, errors_tested: int, count_untested: int, epsilon: float) -> int:
    """Sampling bound from relative entropy alone: no sums, valid at any size.

    Excludes a total ``K`` if ``max(k D(m/k || K/N), n D((K-m)/n || K/N)) >= ln(1/epsilon)``, k tested, n untested.

    Parameters
    ----------
    count_tested, errors_tested : int
        Rounds disclosed and errors among them, ``0 <= errors_tested <= count_tested``.
    count_untested : int
        Rounds the bound speaks about.
    epsilon : float
        Probability of failure, ``0 < epsilon < 1``.

    Returns
    -------
    int
        Errors, between 0 and ``count_untested``; never below :func:`untested_error_bound`.

    Raises
    ------
    ConfigurationError
        If an argument is out of its range; the message names it.

    References
    ----------
    [Hoeffding1963] theorem 1 with section 6 (sampling without replacement); ``docs/explanation/sampling``; status: rigorous.
    """
    _check_sample(count_tested, errors_tested, count_untested, epsilon)
    if count_tested == 0 or count_untested == 0:
        return count_untested
    total, exponent = count_tested + count_untested, -log(epsilon) * (1.0 + 1e-8) + _MARGIN

    def possible(errors_total: int) -> bool:
        shown = _divergence(errors_tested, count_tested, errors_total, total)
        hidden = _divergence(errors_total - errors_tested, count_untested, errors_total, total)
        return max(shown, hidden) < exponent

    highest = count_untested + errors_tested
    if possible(highest):
        return count_untested
    # the exponents rise from the total at which the sample shows exactly its share
    low = min(max(errors_tested, total * errors_tested // count_tested), highest - 1)
    return _last_true(possible, low, highest) - errors_tested


def binomial_upper_bound(count_trials: int, probability: float, epsilon: float) -> int:
    """Smallest ``K`` with ``P[Bin(count_trials, probability) > K] <= epsilon``, from the exact tail.

    The tail is summed in logarithms from its edge; a geometric series bounds what is cut. Below 1 ms at 4e10 trials.

    Parameters
    ----------
    count_trials : int
        Trials, 0 or more.
    probability : float
        Bound of the probability of success in each trial *given all earlier ones*, between 0 and 1: the count is then
        dominated by the binomial one, whatever the dependence.
    epsilon : float
        Probability of failure, ``0 < epsilon < 1``.

    Returns
    -------
    int
        Successes, between 0 and ``count_trials``.

    Raises
    ------
    ConfigurationError
        If an argument is out of its range; the message names it.

    References
    ----------
    ``docs/explanation/sampling``, section "Binomial counts"; status: rigorous.
    """
    _check_trials(count_trials, probability, epsilon)
    if probability in {0.0, 1.0} or count_trials == 0:
        return count_trials if probability == 1.0 else 0
    threshold = log(epsilon) - _MARGIN

    def exceeded(most: int) -> bool:
        return log_binomial_upper_tail(most + 1, count_trials, probability) > threshold

    exponent = -log(epsilon) + _MARGIN
    ceiling = _first_excluded(count_trials, probability, exponent)
    low = min(floor(count_trials * probability) - 1 if epsilon < 0.5 else -1, ceiling - 1)
    return _last_true(exceeded, max(low, -1), ceiling) + 1


def binomial_lower_bound(count_trials: int, probability: float, epsilon: float) -> int:
    """Largest ``K`` with ``P[Bin(count_trials, probability) < K] <= epsilon``, from the exact tail.

    Parameters
    ----------
    count_trials : int
        Trials, 0 or more.
    probability : float
        Lower bound of the probability of success in each trial given all earlier ones, between 0 and 1.
    epsilon : float
        Probability of failure, ``0 < epsilon < 1``.

    Returns
    -------
    int
        Successes, between 0 and ``count_trials``.

    Raises
    ------
    ConfigurationError
        If an argument is out of its range; the message names it.

    References
    ----------
    ``docs/explanation/sampling``, section "Binomial counts"; status: rigorous.
    """
    _check_trials(count_trials, probability, epsilon)
    if probability in {0.0, 1.0} or count_trials == 0:
        return count_trials if probability == 1.0 else 0
    threshold = log(epsilon) - _MARGIN

    def attained(least: int) -> bool:
        return log_binomial_lower_tail(least - 1, count_trials, probability) <= threshold

    return _last_true(attained, 0, count_trials + 1)


def _last_true(holds: Callable[[int], bool], low: int, high: int) -> int:
    """Bisect: the largest integer from ``low`` to below ``high`` at which a falling predicate holds, ``low`` if none does."""
    while high - low > 1:
        middle = (low + high) // 2
        if holds(middle):
            low = middle
        else:
            high = middle
    return low


def _first_excluded(count_trials: int, probability: float, exponent: float) -> int:
    """A count that Chernoff's bound ``exp(-N D(c/N || p))`` already excludes from being exceeded; the ceiling of the search."""

    def open_yet(most: int) -> bool:
        others = count_trials - most
        return deviance(most, count_trials * probability) + deviance(others, count_trials * (1.0 - probability)) < exponent

    low = floor(count_trials * probability)
    return count_trials if low >= count_trials else _last_true(open_yet, low, count_trials) + 1


def _divergence(marked: int, count: int, marked_total: int, total: int) -> float:
    """``count D(marked/count || marked_total/total)``, nats; the means are correctly rounded quotients of integers."""
    return deviance(marked, count * marked_total / total) + deviance(count - marked, count * (total - marked_total) / total)


def _check_epsilon(epsilon: float) -> None:
    if not 0.0 < epsilon < 1.0:
        raise ConfigurationError(f"epsilon {epsilon}: choose a failure probability between 0 and 1, both excluded")


def _check_trials(count_trials: int, probability: float, epsilon: float) -> None:
    _check_epsilon(epsilon)
    if count_trials < 0:
        raise ConfigurationError(f"count_trials {count_trials}: a number of trials is 0 or more")
    if not 0.0 <= probability <= 1.0:
        raise ConfigurationError(f"probability {probability}: choose it between 0 and 1")


def _check_sample(count_tested: int, errors_tested: int, count_untested: int, epsilon: float) -> None:
    _check_epsilon(epsilon)
    if not 0 <= errors_tested <= count_tested:
        raise ConfigurationError(f"errors_tested {errors_tested}: must lie between 0 and the {count_tested} rounds tested")
    if count_untested < 0:
        raise ConfigurationError(f"count_untested {count_untested}: a number of rounds is 0 or more")
