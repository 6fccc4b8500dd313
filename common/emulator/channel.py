"""The fibre: which pulses bring photons to the detectors, drawn without visiting the others.

A pulse that is detected is rare, so the gaps between such pulses are drawn instead of the pulses: a run of 1e10 slots costs what
its clicks cost. Comes from the source's statistics, goes to the receiver; an eavesdropper changes the table of classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import comb, inf
from typing import Final

import numpy as np
from numpy.typing import NDArray

from common.emulator.kernels import accumulate_gaps
from common.emulator.source import PhotonStatistics
from common.profiles.link import LinkProfile

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


@dataclass(frozen=True, slots=True, eq=False)
class Arrivals:
    """Classes of pulses that reach the detectors, the usual one first.

    Attributes
    ----------
    probability : float64[intensities, classes]
        Probability a pulse of each intensity, while the source is bright.
    emitted, detected : int64[classes]
        Photons the pulse held, and those of them that are detected, 1 or more.
    is_tapped : bool[classes]
        Whether an eavesdropper keeps one of the photons.
    """

    probability: NDArray[np.float64]
    emitted: NDArray[np.int64]
    detected: NDArray[np.int64]
    is_tapped: NDArray[np.bool_]

    @property
    def totals(self) -> NDArray[np.float64]:
        """Probability that a pulse of each intensity gives a detectable photon, float64[intensities]."""
        return np.asarray(self.probability.sum(axis=1))

    def drawn(self, rng: np.random.Generator, intensity: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Draw the class of pulses that arrive.

        Parameters
        ----------
        rng : numpy.random.Generator
            Drives the draw.
        intensity : uint8[n]
            Intensity of each pulse.

        Returns
        -------
        int64[n]
            Class of each pulse.
        """
        if self.probability.shape[0] == 1:
            return draw_classes(rng, self.probability[0], intensity.size)
        classes = np.zeros(intensity.size, np.int64)
        for index, probabilities in enumerate(self.probability):
            of_this = np.flatnonzero(intensity == index)
            classes[of_this] = draw_classes(rng, probabilities, of_this.size)
        return classes


def honest_arrivals(statistics: PhotonStatistics, transmission: float) -> Arrivals:
    """Return how likely each class of arrivals is on a channel without an eavesdropper.

    Parameters
    ----------
    statistics : PhotonStatistics
        Photon numbers of a pulse.
    transmission : float
        Probability eta that one photon is detected.

    Returns
    -------
    Arrivals
        d of n photons; for single photons the sum is mu eta - p_m eta^2.

    References
    ----------
    ``docs/explanation/emulator``, binomial loss; status: planning.
    """
    most = statistics.numbers.shape[1] - 1
    pairs = [(count, detected) for count in range(1, most + 1) for detected in range(1, count + 1)]
    emitted, detected = (np.array(column, np.int64) for column in zip(*pairs, strict=True))
    shares = np.array([binomial(count, found, transmission) for count, found in pairs])
    return Arrivals(statistics.numbers[:, emitted] * shares, emitted, detected, np.zeros(emitted.size, np.bool_))


def binomial(count: int, chosen: int, probability: float) -> float:
    """Return the probability that so many photons of a pulse pass.

    Parameters
    ----------
    count, chosen : int
        Photons there are, and those that pass.
    probability : float
        That one of them passes, whatever the others do.

    Returns
    -------
    float
        Probability, 0 to 1.
    """
    return float(comb(count, chosen) * probability**chosen * (1.0 - probability) ** (count - chosen))


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


def draw_classes(rng: np.random.Generator, classes: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """Draw the class of pulses that arrive, all of one intensity.

    Parameters
    ----------
    rng : numpy.random.Generator
        Drives the draw.
    classes : float64[c]
        Probabilities a pulse, the usual class first.
    count : int
        Pulses.

    Returns
    -------
    int64[count]
        Class of each pulse.
    """
    drawn = np.zeros(count, np.int64)
    rest = float(classes[1:].sum())
    unusual = sparse_slots(rng, rest / float(classes.sum()), 0, count) if rest else np.zeros(0, np.int64)
    bounds = np.cumsum(classes[1:]) / rest if rest else classes[1:]
    drawn[unusual] = 1 + np.minimum(np.searchsorted(bounds, rng.random(unusual.size), side="right"), classes.size - 2)
    return drawn
