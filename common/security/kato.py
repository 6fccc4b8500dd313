"""Kato's inequality: sums of events whose probabilities depend on everything before.

For n trials and a count L of them, ``sum P <= L + (b + a (2 L/n - 1)) sqrt(n)`` fails with at most
``exp(-2 (b^2 - a^2)/(1 + 4a/(3 sqrt n))^2)``, for every a that is fixed beforehand. Azuma's inequality is a = 0; with the a that is
best at a predicted count the margin is that of Chernoff. It needs the number of trials fixed; ``martingales`` does without, and is
what the three-state proof uses.

References
----------
[Kato2020] theorem 1; the best a in closed form is that of [CurrasLorenzo2021], checked against an independent implementation.
Status: rigorous.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, log, sqrt

from common.errors import ConfigurationError
from common.security.checks import check_epsilon, check_number


@dataclass(frozen=True, slots=True)
class KatoBound:
    """The inequality for so many trials, with a and b fixed before any of them.

    Attributes
    ----------
    count_trials : int
        Trials.
    a, b : float
        Parameters of the inequality.
    direction : int
        1 bounds the sum of probabilities from above and the count from below; -1 the other way round.
    """

    count_trials: int
    a: float
    b: float
    direction: int

    def expectation(self, count: float) -> float:
        """Bound of the sum of conditional probabilities, given the ``count`` that was seen."""
        margin = (self.b + self.a * (2.0 * count / self.count_trials - 1.0)) * sqrt(self.count_trials)
        return min(float(self.count_trials), max(0.0, count + self.direction * margin))

    def count(self, expectation: float) -> float:
        """Bound of the count, given the ``expectation``: the sum of conditional probabilities, or a bound of it."""
        root, sign = sqrt(self.count_trials), self.direction
        slope = 1.0 + sign * 2.0 * self.a / root
        if slope <= 0.0:
            return 0.0 if sign > 0 else float(self.count_trials)
        return min(float(self.count_trials), max(0.0, (expectation - sign * (self.b - self.a) * root) / slope))


def kato_upper(count_trials: int, predicted: float, epsilon: float) -> KatoBound:
    """Fix the inequality that bounds a sum of probabilities from above (and a count from below).

    Parameters
    ----------
    count_trials : int
        Trials, 1 or more.
    predicted : float
        Count predicted before the trials, between 0 and ``count_trials``; a wrong prediction costs tightness only.
    epsilon : float
        Probability of failure, ``0 < epsilon < 1``.

    Returns
    -------
    KatoBound
        With the best a for the predicted count.

    Raises
    ------
    ConfigurationError
        If an argument is out of its range.
    """
    return _fixed(count_trials, predicted, epsilon, 1)


def kato_lower(count_trials: int, predicted: float, epsilon: float) -> KatoBound:
    """Fix the inequality that bounds a sum of probabilities from below (and a count from above).

    Parameters
    ----------
    count_trials : int
        Trials, 1 or more.
    predicted : float
        Count predicted before the trials, between 0 and ``count_trials``; a wrong prediction costs tightness only.
    epsilon : float
        Probability of failure, ``0 < epsilon < 1``.

    Returns
    -------
    KatoBound
        With the best a for the predicted count.

    Raises
    ------
    ConfigurationError
        If an argument is out of its range.
    """
    return _fixed(count_trials, predicted, epsilon, -1)


def _fixed(count_trials: int, predicted: float, epsilon: float, direction: int) -> KatoBound:
    check_epsilon("epsilon", epsilon)
    if count_trials < 1:
        raise ConfigurationError(f"count_trials {count_trials}: a sum is over 1 trial or more")
    check_number("predicted", predicted, 0.0, float(count_trials))
    # Trials seen from their failures exchange the directions: n - L failures, a -> -a.
    n, seen = float(count_trials), predicted
    exponent, root = -log(epsilon), sqrt(n)
    spread = 9.0 * seen * (n - seen) + 2.0 * n * exponent
    mixed = -72.0 * root * seen * (n - seen) * exponent - 16.0 * n * root * exponent * exponent
    tail = 9.0 * sqrt(2.0) * n * (n - 2.0 * seen) * sqrt(exponent * spread)
    a = direction * 3.0 * (mixed + direction * tail) / (4.0 * (9.0 * n + 8.0 * exponent) * spread)
    stretch = 1.0 + direction * 4.0 * a / (3.0 * root)
    b = sqrt(a * a + 0.5 * stretch * stretch * exponent)
    return KatoBound(count_trials, a, b if b < inf else abs(a), direction)
