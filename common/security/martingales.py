"""Sums of events whose probabilities depend on everything before, bounded at *every* time at which one may stop.

Let an event happen in round i with probability ``p_i`` given the past, L be how many happened and S the sum of the ``p_i``. For any
``r > 0`` fixed beforehand both ``exp((1 - e^-r) S - r L)`` and ``exp(r L - (e^r - 1) S)`` never grow on average (because
``1 - x <= e^-x``), and a process that never grows on average exceeds ``1/epsilon`` at any time with at most epsilon. So

- ``S <= (r L + b)/(1 - e^-r)``, ``S >= (r L - b)/(e^r - 1)`` and ``L <= ((e^r - 1) S + b)/r`` with ``b = ln(1/epsilon)``.

r must not depend on the data: one is fixed for each predicted count 1, 2, 4, ... 2^44 and for almost none, each at an equal share
of epsilon, and the best is taken. Unlike in ``kato`` the number of rounds need be neither known nor fixed: a block may end when it
likes.

References
----------
[Ville1939]; [Howard2020] theorem 1, the gamma-Poisson case; ``docs/explanation/three-state``. Status: rigorous.
"""

from __future__ import annotations

from math import expm1, log, sqrt

from common.security.checks import check_epsilon, check_number

_PREDICTIONS = (2.0**-20, *(float(1 << power) for power in range(45)))
"""Counts for which a rate is fixed beforehand; beyond 2^44 the last one serves."""

_ROUNDING = 1e-12
"""Every bound is moved by this share of itself to the safe side."""


def compensator_upper_bound(count: float, epsilon: float) -> float:
    """Bound the sum of conditional probabilities from above.

    Parameters
    ----------
    count : float
        Events seen, or an upper bound of them; 0 or more.
    epsilon : float
        Probability of failure, ``0 < epsilon < 1``.

    Returns
    -------
    float
        Never below ``count``.

    Raises
    ------
    ConfigurationError
        If an argument is out of its range.
    """
    b = _level(count, epsilon)
    return min((r * count + b) / -expm1(-r) for r in _rates(b)) * (1.0 + _ROUNDING)


def compensator_lower_bound(count: float, epsilon: float) -> float:
    """Bound the sum of conditional probabilities from below.

    Parameters
    ----------
    count : float
        Events seen, or a lower bound of them; 0 or more.
    epsilon : float
        Probability of failure, ``0 < epsilon < 1``.

    Returns
    -------
    float
        Between 0 and ``count``.

    Raises
    ------
    ConfigurationError
        If an argument is out of its range.
    """
    b = _level(count, epsilon)
    return max(0.0, max((r * count - b) / expm1(r) for r in _rates(b)) * (1.0 - _ROUNDING))


def count_upper_bound(compensator: float, epsilon: float) -> float:
    """Bound a count from above by the sum of its conditional probabilities.

    Parameters
    ----------
    compensator : float
        The sum, or an upper bound of it; 0 or more.
    epsilon : float
        Probability of failure, ``0 < epsilon < 1``.

    Returns
    -------
    float
        Never below ``compensator``.

    Raises
    ------
    ConfigurationError
        If an argument is out of its range.
    """
    b = _level(compensator, epsilon)
    return min((expm1(r) * compensator + b) / r for r in _rates(b)) * (1.0 + _ROUNDING)


def _level(value: float, epsilon: float) -> float:
    check_epsilon("epsilon", epsilon)
    check_number("count or sum of probabilities", value, 0.0, float("inf"))
    return log(len(_PREDICTIONS) / epsilon)


def _rates(b: float) -> list[float]:
    """Near the best rate for each predicted count: margin ``sqrt(2 b n)`` at ``sqrt(2 b / n)``, bent down where n is below b."""
    return [log(1.0 + sqrt(2.0 * b / n)) for n in _PREDICTIONS]
