"""Alice's source: how many photons a pulse holds, when the emitter is dark, and the settings it is given.

A single-photon source is described by its mean photon number and g2(0), laser light by its intensities; blinking is a random telegraph
between a bright and a dark state. Comes from the link profile; goes to the channel, which asks only for pulses that can be detected.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, lgamma, log
from typing import Final

import numpy as np
from numpy.typing import NDArray

from common.emulator.kernels import telegraph_states
from common.errors import ConfigurationError
from common.profiles.link import LinkProfile, Source
from common.timetags.emission_record import EmissionHeader

BLINKING_CORRELATION_S: Final = 1e-6
"""Correlation time of the telegraph, seconds (ours: emitters show nanoseconds to milliseconds)."""

UNSEEN: Final = 1e-15
"""Probability of photon numbers that are left out: none would be seen in any run."""


@dataclass(frozen=True, slots=True, eq=False)
class PhotonStatistics:
    """Photon numbers of a pulse behind the transmitter while the emitter is bright.

    Attributes
    ----------
    numbers : float64[intensities, N + 1]
        Probability of exactly n photons, by intensity; more than N do not occur.
    intensities : float64[intensities]
        Probability of each intensity; a single-photon source has one.
    on_fraction : float
        Share of the time the emitter is bright; in the dark it sends nothing.

    References
    ----------
    ``docs/explanation/emulator``: for single photons mu = <n> eta_T a, p_m = g2 mu^2 / 2, p2 = p_m, p1 = mu - 2 p2, with mu/beta in place
    of mu for the bright state; laser light of random phase is Poissonian; status: planning.
    """

    numbers: NDArray[np.float64]
    intensities: NDArray[np.float64]
    on_fraction: float

    @classmethod
    def of(cls, source: Source) -> PhotonStatistics:
        """Derive the statistics from a profile.

        Parameters
        ----------
        source : Source
            The profile's source.

        Returns
        -------
        PhotonStatistics
            For the bright state.

        Raises
        ------
        ConfigurationError
            If no statistics with at most two photons has the mean and g2 of a single-photon source.
        """
        if source.kind == "weak-coherent":
            most = _most_photons(max(source.intensities))
            numbers = np.array([[_poissonian(mean, count) for count in range(most + 1)] for mean in source.intensities])
            return cls(numbers, np.array(source.probability_intensity), source.on_fraction)
        mean = source.mean_photon_number * source.transmitter_efficiency * source.pre_attenuation / source.on_fraction
        two = source.g2 * mean**2 / 2
        one = mean - 2 * two
        if one < 0 or one + two > 1:
            raise ConfigurationError(
                f"source: mean photon number {mean:.4g} while bright and g2 {source.g2:.4g} need more than two photons a pulse;"
                " lower source.mean_photon_number or source.g2, or raise source.on_fraction"
            )
        return cls(np.array([[1 - one - two, one, two]]), np.ones(1), source.on_fraction)

    @property
    def mean(self) -> float:
        """Mean photon number, dark times included."""
        return self.on_fraction * float(self.intensities @ self.numbers @ np.arange(self.numbers.shape[1]))


def _poissonian(mean: float, count: int) -> float:
    return exp(count * log(mean) - mean - lgamma(count + 1)) if mean else float(count == 0)


def _most_photons(mean: float) -> int:
    """Photon number beyond which no pulse of any run lies."""
    most, rest = 1, 1.0 - _poissonian(mean, 0) - _poissonian(mean, 1)
    while most <= mean or rest > UNSEEN:
        most += 1
        rest = min(rest - _poissonian(mean, most), _poissonian(mean, most) * (most + 1) / max(most + 1 - mean, 1.0))
    return most


class Blinking:
    """The telegraph's state as it is carried through a run.

    Parameters
    ----------
    on_fraction : float
        Share of the time the emitter is bright.
    clock_hz : float
        Pulses a second.
    """

    __slots__ = ("_correlation_slots", "_last_on", "_last_slot", "_on_fraction")

    def __init__(self, on_fraction: float, clock_hz: float) -> None:
        self._on_fraction = on_fraction
        self._correlation_slots = BLINKING_CORRELATION_S * clock_hz
        self._last_slot, self._last_on = 0, -1

    def bright(self, slots: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """Return the slots at which the emitter is bright.

        Parameters
        ----------
        slots : int64[n]
            Increasing, and later than those of the call before.
        rng : numpy.random.Generator
            Drives the telegraph.

        Returns
        -------
        int64[m]
            Some of ``slots``.
        """
        if self._on_fraction == 1.0 or not slots.size:
            return slots
        on = np.empty(slots.size, np.uint8)
        telegraph_states(slots, rng.random(slots.size), self._on_fraction, self._correlation_slots, self._last_slot, self._last_on, on)
        self._last_slot, self._last_on = int(slots[-1]), int(on[-1])
        return np.asarray(slots[on == 1])


def emission_header(profile: LinkProfile, first_slot: int, count_slots: int, clock_hz: float) -> EmissionHeader:
    """Return the header of the record of a link's source.

    Parameters
    ----------
    profile : LinkProfile
        The link.
    first_slot, count_slots : int
        Slots of the record.
    clock_hz : float
        Pulses a second: the profile's, or that of a recording.

    Returns
    -------
    EmissionHeader
        Both bits of a basis equally likely, intensities apart from them.
    """
    settings = profile.prepared.settings
    bits = next(width for width in (2, 4, 8) if len(settings) <= 1 << width)
    return EmissionHeader(clock_hz, first_slot, count_slots, settings, profile.setting_probabilities, bits)
