"""Bob's receiver: basis choice, outcomes, noise and dead time.

A passive receiver lets a beam splitter choose for every photon; an active one chooses once for every slot, and a dark count in that
slot is read in the same basis. Photons come from the channel, clicks go to the tagger.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from common.emulator.kernels import live_clicks, measure_states
from common.profiles.link import LinkProfile

COUNT_OUTCOMES: Final = 4
"""Outcomes Z0 Z1 X0 X1; a passive receiver has a detector for each, an active one a detector for each bit."""

SYNC_DETECTOR: Final = 255
"""Detector of the reference pulses; it has no dead time."""

_NEVER_PS: Final = -(1 << 62)


class Receiver:
    """Turns photons and noise into outcomes; keeps the detectors' dead time through a run.

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
        self._misalignment = profile.channel.misalignment
        self._ratios = np.array(efficiency_ratios)
        self._dead_time_ps = int(np.ceil(profile.receiver.dead_time_ps))
        self._last_ps = np.full(2 if self._active else COUNT_OUTCOMES, _NEVER_PS, np.int64)
        self._basis_key = np.uint64(rng.integers(0, 1 << 63))

    def measure(self, slots: NDArray[np.int64], state: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.bool_] | None]:
        """Measure photons.

        Parameters
        ----------
        slots : int64[n]
            Slot of each photon.
        state : uint8[n]
            State of each photon.

        Returns
        -------
        tuple
            Outcome of each, uint8[n], and which of them an inefficient detector keeps, bool[n]; None where all are kept.
        """
        outcome = np.empty(slots.size, np.uint8)
        measure_states(state, self._bases(slots), self._rng.random(slots.size), self._misalignment, outcome)
        kept = None if (self._ratios == 1.0).all() else self._rng.random(slots.size) < self._ratios[outcome]
        return outcome, kept

    def noise_outcomes(self, slots: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return the outcome of clicks without a photon of Alice's, at detectors chosen alike.

        Parameters
        ----------
        slots : int64[n]
            Slot in which each click falls.

        Returns
        -------
        uint8[n]
            Outcomes.
        """
        if not self._active:
            return self._rng.integers(0, COUNT_OUTCOMES, slots.size, np.uint8)
        bits = self._rng.integers(0, 2, slots.size, np.uint8)
        return np.asarray((self._bases(slots) << 1) | bits, np.uint8)

    def registered(self, t_ps: NDArray[np.int64], outcome: NDArray[np.uint8], is_sync: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return which clicks find their detector live; calls go on where the last one ended.

        Parameters
        ----------
        t_ps : int64[n]
            Non-decreasing times, picoseconds.
        outcome : uint8[n]
            Outcomes.
        is_sync : bool[n]
            Clicks of the reference detector.

        Returns
        -------
        bool[n]
            True where the click is registered.
        """
        live = np.ones(t_ps.size, np.bool_)
        if self._dead_time_ps:
            detector = outcome & np.uint8(1) if self._active else outcome.copy()
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
