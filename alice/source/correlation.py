"""Second-order correlation of a pulsed source from a Hanbury Brown and Twiss recording, and the share of time it is
bright.

Coincidences are counted by the difference of slots between two detectors. The peak at zero delay (found as the
lowest, since cables may delay one detector by several pulses) over its neighbours is g2 of the bright source; the
neighbours over far delays tell how much blinking lifts them. Both normalisations are given, because the multi-photon
bound needs g2 of the bright state together with the on-fraction (``common.security.multi_photon``).

References
----------
``docs/explanation/multi-photons``, on p_m with blinking: ``p_m = g2_on <n>^2 / (2 beta^2)``; status: planning (an
estimate with its standard deviation).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import lgamma

import numpy as np
from numpy.typing import NDArray

from common.errors import StreamError

NEAR_SLOTS = 20
"""Delays counted as near on each side of zero; blinking takes place on longer times."""

SKEW_SLOTS = 40
"""Largest delay between the detectors that is looked for, slots."""

FAR_DELAYS_S = (0.01, 0.02, 0.03, 0.05, 0.08)
"""Delays taken as far, seconds; at each a few hundred neighbouring slots are counted."""

FAR_SHARE = 0.25
"""Share of the recording that the longest of them may be; all are shortened together in a short recording."""

FAR_WIDTH_SLOTS = 200
"""Slots counted at each far delay."""


@dataclass(frozen=True, slots=True)
class Correlation:
    """What a recording says about a pulsed source.

    Attributes
    ----------
    g2_bright, g2_bright_uncertainty : float
        Zero-delay coincidences over the mean of the near peaks, and one standard deviation from counts.
    g2_far, g2_far_uncertainty : float
        The same over the mean at far delays.
    on_fraction : float
        Far level over near level: the share of time the source is bright, if it is dark otherwise.
    count_zero : int
        Coincidences at zero delay.
    skew_slots : int
        Whole slots by which the second detector lags.
    on_fraction_uncertainty : float
        One standard deviation, from counts.
    near_level, far_level : float
        Mean coincidences a slot of delay, near zero and far from it.
    probability_by_chance : float
        Probability that the lowest of the delays that were looked at is so low without any antibunching; 0 where the delay was given.
    """

    g2_bright: float
    g2_bright_uncertainty: float
    g2_far: float
    g2_far_uncertainty: float
    on_fraction: float
    count_zero: int
    skew_slots: int
    on_fraction_uncertainty: float
    near_level: float
    far_level: float
    probability_by_chance: float


def measure_correlation(first: NDArray[np.int64], second: NDArray[np.int64], clock_hz: float, skew_slots: int | None = None) -> Correlation:
    """Correlate the slots of two detectors.

    Parameters
    ----------
    first, second : int64[n], int64[m]
        Slots of the arrivals at each detector, ascending.
    clock_hz : float
        Pulses a second.
    skew_slots : int | None
        Whole slots by which the second detector lags; where the fewest coincidences are, if None.

    Returns
    -------
    Correlation
        Values with their uncertainties.

    Raises
    ------
    StreamError
        If there are too few coincidences to tell anything.
    """
    middle, reach = (0, SKEW_SLOTS) if skew_slots is None else (skew_slots, 0)
    near = count_coincidences(first, second, middle - reach - NEAR_SLOTS, 2 * (reach + NEAR_SLOTS) + 1)
    searched = near[NEAR_SLOTS : near.size - NEAR_SLOTS]
    lowest = int(searched.argmin())
    count_zero, skew = int(searched[lowest]), middle - reach + lowest
    around = near[lowest : lowest + 2 * NEAR_SLOTS + 1]
    near_level = float(np.delete(around, NEAR_SLOTS).mean())
    span = max(1, int(min(first[-1], second[-1]) - max(first[0], second[0]))) if first.size and second.size else 1
    shorter = min(1.0, FAR_SHARE * span / (FAR_DELAYS_S[-1] * clock_hz))
    delays = [sign * round(shorter * delay_s * clock_hz) for delay_s in FAR_DELAYS_S for sign in (1, -1)]
    far = np.concatenate([count_coincidences(first, second, delay, FAR_WIDTH_SLOTS) for delay in delays])
    far_level = float(far.sum()) / (FAR_WIDTH_SLOTS * sum(1.0 - abs(delay) / span for delay in delays))  # later pairs have fewer chances
    if near_level * NEAR_SLOTS < 100 or far.sum() < 100:
        raise StreamError("too few coincidences between the two detectors to measure g2: record for longer")
    spread = (count_zero + 1) ** 0.5  # so that no coincidence at all does not claim certainty
    return Correlation(
        g2_bright=count_zero / near_level,
        g2_bright_uncertainty=spread / near_level,
        g2_far=count_zero / far_level,
        g2_far_uncertainty=spread / far_level,
        on_fraction=min(1.0, far_level / near_level),
        count_zero=count_zero,
        skew_slots=skew,
        on_fraction_uncertainty=far_level / near_level * (1.0 / (near_level * 2 * NEAR_SLOTS) + 1.0 / float(far.sum())) ** 0.5,
        near_level=near_level,
        far_level=far_level,
        probability_by_chance=0.0 if skew_slots is not None else min(1.0, searched.size * _poisson_tail(count_zero, near_level)),
    )


def _poisson_tail(count: int, mean: float) -> float:
    """Probability of at most ``count`` where ``mean`` is expected."""
    terms = np.arange(count + 1)
    logarithms = terms * np.log(mean) - mean - np.array([lgamma(term + 1.0) for term in terms])
    return float(np.exp(logarithms).sum())


def count_coincidences(first: NDArray[np.int64], second: NDArray[np.int64], lowest: int, count: int) -> NDArray[np.int64]:
    """Count pairs of arrivals by the slots between them.

    Parameters
    ----------
    first, second : int64[n], int64[m]
        Slots, ascending.
    lowest, count : int
        Delays from ``lowest`` on, so many of them; positive where the second lags.

    Returns
    -------
    int64[count]
        Pairs at each delay.
    """
    starts = np.searchsorted(second, first + lowest)
    lengths = np.searchsorted(second, first + lowest + count) - starts
    partner = np.repeat(starts, lengths) + np.arange(int(lengths.sum())) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return np.bincount(second[partner] - np.repeat(first, lengths) - lowest, minlength=count)
