"""Alice's source: how many photons a pulse holds, when the emitter is dark, and the settings it is given.

A single-photon source is described by its mean photon number and g2(0); blinking is a random telegraph between a bright and a
dark state. Comes from the link profile; goes to the channel, which asks only for pulses that can be detected.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from common.emulator.kernels import telegraph_states
from common.errors import ConfigurationError
from common.profiles.link import LinkProfile, Source
from common.protocols.protocol import BB84
from common.timetags.emission_record import EmissionHeader

BLINKING_CORRELATION_S: Final = 1e-6
"""Correlation time of the telegraph, seconds (ours: emitters show nanoseconds to milliseconds)."""


@dataclass(frozen=True, slots=True)
class PhotonStatistics:
    """Photon numbers of a pulse behind the transmitter while the emitter is bright.

    Attributes
    ----------
    probability_one, probability_two : float
        Probabilities of exactly one and exactly two photons; more do not occur.
    on_fraction : float
        Share of the time the emitter is bright; in the dark it sends nothing.

    References
    ----------
    ``docs/explanation/emulator``: mu = <n> eta_T a, p_m = g2 mu^2 / 2, p2 = p_m, p1 = mu - 2 p2, with mu/beta in place of mu for the
    bright state; status: planning.
    """

    probability_one: float
    probability_two: float
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
            If no statistics with at most two photons has this mean and g2.
        """
        mean = source.mean_photon_number * source.transmitter_efficiency * source.pre_attenuation / source.on_fraction
        two = source.g2 * mean**2 / 2
        one = mean - 2 * two
        if one < 0 or one + two > 1:
            raise ConfigurationError(
                f"source: mean photon number {mean:.4g} while bright and g2 {source.g2:.4g} need more than two photons a pulse;"
                " lower source.mean_photon_number or source.g2, or raise source.on_fraction"
            )
        return cls(one, two, source.on_fraction)

    @property
    def mean(self) -> float:
        """Mean photon number, dark times included."""
        return self.on_fraction * (self.probability_one + 2 * self.probability_two)


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


def require_emulated(profile: LinkProfile) -> None:
    """Refuse a link whose states or light are not emulated.

    Parameters
    ----------
    profile : LinkProfile
        The link.

    Raises
    ------
    ConfigurationError
        Naming the entry.
    """
    for name, value, emulated in (
        ("protocol", profile.protocol, "bb84"),
        ("encoding", profile.encoding, "polarisation"),
        ("source.kind", profile.source.kind, "single-photon"),
    ):
        if value != emulated:
            raise ConfigurationError(f"{name} = {value!r} of link {profile.name!r} is not emulated, choose {emulated!r}")


def emission_header(source: Source, first_slot: int, count_slots: int, clock_hz: float) -> EmissionHeader:
    """Return the header of the record of a BB84 source.

    Parameters
    ----------
    source : Source
        The profile's source.
    first_slot, count_slots : int
        Slots of the record.
    clock_hz : float
        Pulses a second: the profile's, or that of a recording.

    Returns
    -------
    EmissionHeader
        Two bits a slot, both bits of a basis equally likely.
    """
    half_z, half_x = source.probability_z / 2, (1 - source.probability_z) / 2
    return EmissionHeader(clock_hz, first_slot, count_slots, BB84.settings, (half_z, half_z, half_x, half_x))
