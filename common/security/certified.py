"""From counts to estimates with an interval, and from those to a verdict on a certified range: what monitors of a device are made of.

A quantity is out of its certified range only where its whole interval is: so a device that keeps its range is called out of it with at
most the interval's probability of failure, however few the counts, and one of which nothing is known yet is called undecided. Where an
estimate is made of several counts, the failure probability is shared out among them (Boole's inequality) and the interval is spanned by
the worst corners. Counts in, numbers out; ``bob.detector_monitor`` and ``alice.source.monitor`` say which counts.

References
----------
[Clopper1934] exact binomial intervals, through ``intervals``; status: rigorous for independent trials.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import inf, isfinite
from typing import TYPE_CHECKING

from common.errors import ConfigurationError
from common.security.checks import check_epsilon
from common.security.intervals import probability_lower_bound, probability_upper_bound

if TYPE_CHECKING:
    from collections.abc import Sequence


class Verdict(StrEnum):
    """What an interval says about a certified range."""

    IN_RANGE = "in range"
    """The whole interval lies within."""

    UNDECIDED = "undecided"
    """The interval reaches over an end of the range: too few counts, or a value close to the end."""

    TOO_LOW = "too low"
    TOO_HIGH = "too high"


@dataclass(frozen=True, slots=True)
class Estimate:
    """A quantity as counts tell it.

    Attributes
    ----------
    value : float
        Best estimate; not finite where nothing was counted.
    low, high : float
        Ends of its interval, which fails to hold the true value with at most the stated probability.
    """

    value: float
    low: float
    high: float

    def judged(self, lowest: float, highest: float) -> Verdict:
        """Compare with a certified range.

        Parameters
        ----------
        lowest, highest : float
            Its ends, which belong to it.

        Returns
        -------
        Verdict
            Wrong about a quantity in its range with at most the interval's probability of failure.
        """
        if self.high < lowest:
            return Verdict.TOO_LOW
        if self.low > highest:
            return Verdict.TOO_HIGH
        return Verdict.IN_RANGE if lowest <= self.low and self.high <= highest else Verdict.UNDECIDED

    def scaled(self, factor: float) -> Estimate:
        """Return the same quantity in another unit, ``factor`` times as large."""
        return Estimate(self.value * factor, self.low * factor, self.high * factor)


UNKNOWN = Estimate(inf, 0.0, inf)
"""What is known of a ratio without counts."""


def probability(count: int, count_trials: int, epsilon: float) -> Estimate:
    """Estimate a probability of success.

    Parameters
    ----------
    count, count_trials : int
        Successes and trials, ``0 <= count <= count_trials``.
    epsilon : float
        Probability that the interval fails, half of it on either side.

    Returns
    -------
    Estimate
        Of the probability; the whole of [0, 1] without trials.

    Raises
    ------
    ConfigurationError
        If an argument is out of its range.

    References
    ----------
    [Clopper1934]; status: rigorous.
    """
    if count_trials == 0:
        check_epsilon("epsilon", epsilon)
        return Estimate(inf, 0.0, 1.0)
    low = probability_lower_bound(count, count_trials, epsilon / 2)
    return Estimate(count / count_trials, low, probability_upper_bound(count, count_trials, epsilon / 2))


def odds_ratio(first: int, second: int, expected_odds: float, epsilon: float) -> Estimate:
    """Estimate how much likelier one of two kinds of events is than it should be, whatever their common rate.

    Parameters
    ----------
    first, second : int
        Events of either kind.
    expected_odds : float
        Odds of the first kind against the second by the model, above 0.
    epsilon : float
        Probability that the interval fails.

    Returns
    -------
    Estimate
        Odds by those expected, 1 where all is as it should be.

    Raises
    ------
    ConfigurationError
        If an argument is out of its range.

    References
    ----------
    Given their sum, counts of two independent kinds are binomial: [Clopper1934] for the share, and its odds; status: rigorous.
    """
    share = probability(first, first + second, epsilon)
    if not expected_odds > 0.0 or not isfinite(expected_odds):
        raise ConfigurationError(f"expected odds {expected_odds}: must be above 0 and finite")
    return Estimate(*(_odds(value) / expected_odds if isfinite(value) else inf for value in (share.value, share.low, share.high)))


def coincidence_factor(coincidences: int, singles: Sequence[tuple[int, int]], pulses: int, epsilon: float) -> Estimate:
    """Estimate how many coincidences there are for each that independent clicks would make.

    Light of Poissonian photon numbers gives 1 where every pulse has the same ways, a single-photon source about its g2; the loss of the
    channel cancels as long as noise does not take part.

    Parameters
    ----------
    coincidences : int
        Slots in which two detectors of a pair clicked.
    singles : sequence of (int, int)
        For every pair of detectors that may coincide, the clicks of either.
    pulses : int
        Slots that were looked at.
    epsilon : float
        Probability that the interval fails.

    Returns
    -------
    Estimate
        ``C N / sum of S_i S_j``; unknown where a sum of products is not certainly above 0.

    Raises
    ------
    ConfigurationError
        If an argument is out of its range.

    References
    ----------
    The cross-correlation at zero delay of clicks per slot, each of its probabilities within a [Clopper1934] interval; status: rigorous.
    """
    parts = 1 + 2 * len(singles)
    both = probability(coincidences, pulses, epsilon / parts)
    clicks = [tuple(probability(count, pulses, epsilon / parts) for count in pair) for pair in singles]
    least, most = (sum(end(first) * end(second) for first, second in clicks) for end in (_low, _high))
    expected = sum(first * second for first, second in singles)
    if not least > 0.0 or not expected:
        return UNKNOWN
    return Estimate(coincidences * pulses / expected, both.low / most, both.high / least)


def background_rate(
    quiet: int, signals: int, pulses: int, quiet_share: float, tail: tuple[float, float, float], epsilon: float
) -> Estimate:
    """Estimate the evenly spread clicks of a slot from those in a stretch of it where little light comes.

    Parameters
    ----------
    quiet : int
        Clicks in that stretch.
    signals : int
        Clicks of the light in all, wherever they fall.
    pulses : int
        Slots that were looked at.
    quiet_share : float
        The stretch's share of the slot, above 0.
    tail : tuple[float, float, float]
        Share of the light that falls into the stretch: most likely, least and most.
    epsilon : float
        Probability that the interval fails.

    Returns
    -------
    Estimate
        Background clicks a slot, all detectors together; what the tail alone explains is none.

    Raises
    ------
    ConfigurationError
        If an argument is out of its range.

    References
    ----------
    ``P(quiet) = quiet_share b + tail s`` with the light s a slot as counted; [Clopper1934]; status: rigorous up to coincidences, which
    are neglected against single clicks.
    """
    if not 0.0 < quiet_share <= 1.0:
        raise ConfigurationError(f"quiet share {quiet_share} of the slot: must be above 0 and at most 1")
    seen, light = probability(quiet, pulses, epsilon), signals / pulses if pulses else 0.0
    likely, least, most = (max(0.0, clicks - light * share) / quiet_share for clicks, share in _corners(seen, tail))
    return Estimate(likely, least, most)


def _corners(seen: Estimate, tail: tuple[float, float, float]) -> list[tuple[float, float]]:
    likely, least, most = tail
    return [(seen.value, likely), (seen.low, most), (seen.high, least)]


def _odds(share: float) -> float:
    return share / (1.0 - share) if share < 1.0 else inf


def _low(estimate: Estimate) -> float:
    return estimate.low


def _high(estimate: Estimate) -> float:
    return estimate.high
