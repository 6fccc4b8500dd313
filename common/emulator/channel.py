"""The fibre: which pulses bring photons to the detectors, drawn without visiting the others.

A pulse that is detected is rare, so the gaps between such pulses are drawn instead of the pulses: a run of 1e10 slots costs what
its clicks cost. Comes from the source's statistics, goes to the receiver; an eavesdropper changes the table of classes.
"""

from __future__ import annotations

from math import inf
from typing import Final

import numpy as np
from numpy.typing import NDArray

from common.emulator.kernels import accumulate_gaps
from common.emulator.source import PhotonStatistics
from common.profiles.link import LinkProfile

ONE_OF_ONE: Final = 0
ONE_OF_TWO: Final = 1
TWO_OF_TWO: Final = 2
ONE_KEPT_BY_EVE: Final = 3
"""Classes of pulses that reach the detectors: photons detected, of photons emitted; in the last, Eve keeps the other one."""

COUNT_CLASSES: Final = 4
"""Classes in a table of arrivals."""

HELD_SHARE: Final = 8.0
"""A fading loss is drawn anew so many times in a correlation time."""


def receiver_transmission(profile: LinkProfile) -> float:
    """Return the probability that a photon at Bob's door is detected, optics times detectors, in the link ``profile``."""
    return profile.receiver.efficiency * profile.receiver.detector_efficiency


def fibre_transmission(loss_db: float) -> float:
    """Return the probability that a photon passes a channel with this loss, 10^(-``loss_db``/10)."""
    return float(10.0 ** (-loss_db / 10))


class Fading:
    """A loss that wanders: a Gauss-Markov process in decibels, held for a short time at each value.

    Values at any two times are jointly normal with the correlation exp(-distance / correlation time), so the time between them
    does not matter. A channel does not amplify: below 0 dB it loses nothing.

    Parameters
    ----------
    sigma_db : float
        Standard deviation, decibels; 0 means a constant loss, for which nothing is drawn.
    correlation_s : float
        Correlation time, seconds.
    """

    __slots__ = ("_correlation_s", "_deviation", "_sigma_db")

    def __init__(self, sigma_db: float, correlation_s: float) -> None:
        self._sigma_db, self._correlation_s = sigma_db, correlation_s
        self._deviation: float | None = None

    @property
    def longest_seconds(self) -> float:
        """For how long a loss may be held."""
        return self._correlation_s / HELD_SHARE if self._sigma_db else inf

    def loss_db(self, mean_db: float, seconds: float, rng: np.random.Generator) -> float:
        """Draw the loss of the next stretch.

        Parameters
        ----------
        mean_db : float
            Mean loss, decibels.
        seconds : float
            Time since the last one, seconds.
        rng : numpy.random.Generator
            Drives the process.

        Returns
        -------
        float
            Decibels, 0 or more.
        """
        if not self._sigma_db:
            return mean_db
        memory = 0.0 if self._deviation is None else float(np.exp(-seconds / self._correlation_s))
        self._deviation = memory * (self._deviation or 0.0) + float(np.sqrt(1.0 - memory**2)) * float(rng.standard_normal())
        return max(0.0, mean_db + self._sigma_db * self._deviation)


def arrival_classes(statistics: PhotonStatistics, transmission: float) -> NDArray[np.float64]:
    """Return how likely each class of arrivals is while the source is bright.

    Parameters
    ----------
    statistics : PhotonStatistics
        Photon numbers of a pulse.
    transmission : float
        Probability eta that one photon is detected.

    Returns
    -------
    float64[4]
        Probabilities a pulse; their sum is mu eta - p_m eta^2.

    References
    ----------
    ``docs/explanation/emulator``, binomial loss; status: planning.
    """
    one, two = statistics.probability_one, statistics.probability_two
    return np.array([one * transmission, 2 * two * transmission * (1 - transmission), two * transmission**2, 0.0])


def sparse_slots(rng: np.random.Generator, probability: float, first: int, end: int) -> NDArray[np.int64]:
    """Choose each of many slots with the same small probability, in time proportional to the number chosen.

    The gap to the next chosen slot is geometric: 1 + floor(E / -ln(1 - p)) with E exponentially distributed. It has no memory, so a
    run may be cut into stretches anywhere.

    Parameters
    ----------
    rng : numpy.random.Generator
        Drives the choice.
    probability : float
        Probability p of each slot, 0 to 1.
    first, end : int
        Slots ``first`` to ``end - 1`` may be chosen.

    Returns
    -------
    int64[n]
        Chosen slots, increasing.
    """
    if probability <= 0.0 or end <= first:
        return np.zeros(0, np.int64)
    if probability >= 1.0:
        return np.arange(first, end, dtype=np.int64)
    per_gap = -1.0 / np.log1p(-probability)
    expected = (end - first) * probability
    block = int(expected + 5 * expected**0.5) + 16
    parts: list[NDArray[np.int64]] = []
    last = first - 1
    while last < end:
        slots = np.empty(block, np.int64)
        accumulate_gaps(rng.standard_exponential(block), per_gap, float(end - first), last, slots)
        parts.append(slots)
        last = int(slots[-1])
        block = 64 + block // 16
    chosen = parts[0] if len(parts) == 1 else np.concatenate(parts)
    return chosen[: int(np.searchsorted(chosen, end))]


def draw_classes(rng: np.random.Generator, classes: NDArray[np.float64], count: int) -> NDArray[np.uint8]:
    """Draw the class of pulses that arrive.

    Parameters
    ----------
    rng : numpy.random.Generator
        Drives the draw.
    classes : float64[4]
        Probabilities a pulse.
    count : int
        Pulses.

    Returns
    -------
    uint8[count]
        Class of each pulse.
    """
    drawn = np.zeros(count, np.uint8)
    rest = float(classes[1:].sum())
    unusual = sparse_slots(rng, rest / float(classes.sum()), 0, count) if rest else np.zeros(0, np.int64)
    bounds = np.cumsum(classes[1:]) / rest if rest else classes[1:]
    drawn[unusual] = 1 + np.minimum(np.searchsorted(bounds, rng.random(unusual.size), side="right"), COUNT_CLASSES - 2)
    return drawn
