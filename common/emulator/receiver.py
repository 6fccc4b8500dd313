"""Bob's receiver: basis choice, outcomes, noise and dead time.

A passive receiver lets a beam splitter choose for every photon; an active one chooses once for every slot, and a dark count in that
slot is read in the same basis. Behind the interferometer of time bins the arm a photon takes chooses. Photons come from the channel,
clicks go to the tagger.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from common.emulator.kernels import live_clicks, measure_states
from common.emulator.optics import StateOptics
from common.profiles.link import LinkProfile
from common.protocols.encoding import ENCODINGS

SYNC_DETECTOR: Final = 255
"""Detector of the reference pulses; it has no dead time."""

_NEVER_PS: Final = -(1 << 62)


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """Where photons are detected.

    Attributes
    ----------
    channel : uint8[n]
        With polarisation the outcome, which an active receiver reads off one of two detectors; with time bins the port.
    delay_ps : float64[n] | None, picoseconds
        How much later than at the middle of its slot each comes out; None where all come at once.
    kept : bool[n] | None
        Which of them an inefficient detector keeps; None where all are kept.
    """

    channel: NDArray[np.uint8]
    delay_ps: NDArray[np.float64] | None
    kept: NDArray[np.bool_] | None


class Receiver:
    """Turns photons and noise into clicks; keeps the detectors' dead time through a run.

    Parameters
    ----------
    profile : LinkProfile
        The link.
    rng : numpy.random.Generator
        Drives basis choice and outcomes.
    efficiency_ratios : tuple[float, float, float, float]
        Efficiency at outcome Z0, Z1, X0, X1 relative to the profile's, 0 to 1.
    """

    def __init__(
        self, profile: LinkProfile, rng: np.random.Generator, efficiency_ratios: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)
    ) -> None:
        self._rng = rng
        self._active = profile.receiver.basis_choice == "active"
        self._probability_z = profile.receiver.probability_z
        self._profile = profile
        self._optics = StateOptics.of(profile)
        self._encoding = ENCODINGS[profile.encoding]
        self._separation_ps = profile.receiver.time_bin_separation_ps
        self._ratios = np.array(efficiency_ratios)
        self._dead_time_ps = int(np.ceil(profile.receiver.dead_time_ps))
        self._last_ps = np.full(2 if self._active else len(self._encoding.detectors), _NEVER_PS, np.int64)
        self._basis_key = np.uint64(rng.integers(0, 1 << 63))

    def turn(self, rotation: NDArray[np.float64]) -> None:
        """Have every state arrive turned by a ``rotation``, float64[3, 3], until the next call."""
        self._optics = StateOptics.of(self._profile, rotation)

    def measure(self, slots: NDArray[np.int64], state: NDArray[np.uint8]) -> Measured:
        """Measure photons.

        Parameters
        ----------
        slots : int64[n]
            Slot of each photon.
        state : uint8[n]
            State of each photon, by ``StateOptics``.

        Returns
        -------
        Measured
            Where each is detected, and how much later than its slot would say.
        """
        outcome = np.empty(slots.size, np.uint8)
        measure_states(state, self._bases(slots), self._rng.random(slots.size), self._optics.bit, self._optics.flipped, outcome)
        kept = None if (self._ratios == 1.0).all() else self._rng.random(slots.size) < self._ratios[outcome]
        return self._shown(outcome, kept)

    @property
    def steering(self) -> tuple[float, float]:
        """Basis an eavesdropper who steers the detectors picks, as probability of Z, and how often the receiver's is the same."""
        return (0.5, 0.5) if self._active else (self._probability_z, 1.0)

    def steered(self, slots: NDArray[np.int64], outcome: NDArray[np.uint8]) -> Measured:
        """Let bright pulses make blinded detectors click.

        Parameters
        ----------
        slots : int64[n]
            Slot of each pulse.
        outcome : uint8[n]
            What it is to make click; a passive splitter always leads part of it there, a modulator has to be set to its basis.

        Returns
        -------
        Measured
            Where each is detected, and which of them are.
        """
        return self._shown(outcome, self._bases(slots) == outcome >> 1 if self._active else None)

    def _shown(self, outcome: NDArray[np.uint8], kept: NDArray[np.bool_] | None) -> Measured:
        if len(self._encoding.windows) == 1:
            return Measured(outcome, None, kept)
        channel, delay_ps = self._behind_interferometer(outcome)
        return Measured(channel, delay_ps, kept)

    def _behind_interferometer(self, outcome: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
        """Port and delay of each photon: the middle window shows the outcome of X on its port, the outer ones that of Z on either."""
        is_x = outcome >> 1 == 1
        port = np.where(is_x, outcome & 1, self._rng.integers(0, 2, outcome.size, np.uint8))
        window = np.where(is_x, 0, 2 * (outcome & 1).astype(np.int64) - 1)
        return port.astype(np.uint8), window * self._separation_ps

    def noise_channels(self, slots: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return where clicks without a photon of Alice's are seen, at detectors chosen alike.

        Parameters
        ----------
        slots : int64[n]
            Slot in which each click falls.

        Returns
        -------
        uint8[n]
            Channels.
        """
        if not self._active:
            return self._rng.integers(0, len(self._encoding.detectors), slots.size, np.uint8)
        bits = self._rng.integers(0, 2, slots.size, np.uint8)
        return np.asarray((self._bases(slots) << 1) | bits, np.uint8)

    def registered(self, t_ps: NDArray[np.int64], channel: NDArray[np.uint8], is_sync: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return which clicks find their detector live; calls go on where the last one ended.

        Parameters
        ----------
        t_ps : int64[n]
            Non-decreasing times, picoseconds.
        channel : uint8[n]
            Channels.
        is_sync : bool[n]
            Clicks of the reference detector.

        Returns
        -------
        bool[n]
            True where the click is registered.
        """
        live = np.ones(t_ps.size, np.bool_)
        if self._dead_time_ps:
            detector = channel & np.uint8(1) if self._active else channel.copy()
            detector[is_sync] = SYNC_DETECTOR
            live_clicks(t_ps, detector, self._dead_time_ps, self._last_ps, live)
        return live

    def _bases(self, slots: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Basis of each measurement, Z=0 X=1: fresh for every photon if passive, a function of the slot if active."""
        uniform = slot_uniform(slots, self._basis_key) if self._active else self._rng.random(slots.size)
        return (uniform >= self._probability_z).view(np.uint8)


def slot_uniform(slots: NDArray[np.int64], key: np.uint64) -> NDArray[np.float64]:
    """Return one random number for each slot, the same whenever the slot is asked for.

    Parameters
    ----------
    slots : int64[n]
        Slots.
    key : uint64
        Chooses the function.

    Returns
    -------
    float64[n]
        In [0, 1).

    References
    ----------
    [Steele2014] SplitMix64; good enough for physics, no cryptography.
    """
    word = slots.view(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + key
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((word ^ (word >> np.uint64(31))) >> np.uint64(11)).astype(np.float64) * 2.0**-53
