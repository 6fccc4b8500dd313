"""Drift of the fibre and of the interferometer, and what Bob can turn against it.

The polarisation wanders over the Poincaré sphere as a random walk; three wave plates stand in front of the receiver. With time bins it is
the phase of the interferometer that wanders, and creeps; a shifter stands in one of its arms. Both are one rotation of the sphere between
Alice's states and Bob's axes, which ``optics`` makes error probabilities of. Rates come from the profile, positions from ``actuators``.
"""

from __future__ import annotations

from math import inf, pi, remainder, sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from common.emulator.rotations import RETARDANCES, random_rotation, rotation, wave_plates
from common.errors import ConfigurationError
from common.profiles.link import LinkProfile

HELD_RAD: Final = 0.02
"""The fibre is held still until it would have turned by about this: it changes an error probability of 1 % by 1 part in 100."""

LARGEST_POSITION_RAD: Final = 1e3
"""Beyond this no laboratory turns anything, and beyond it an angle begins to lose digits."""

PLATES: Final = tuple(f"plate{number + 1}" for number in range(len(RETARDANCES)))
SHIFTER: Final = "phase"
"""Names of the actuators."""


class Drift:
    """What lies between Alice's states and Bob's axes: the walk so far, and the positions of Bob's actuators.

    Parameters
    ----------
    profile : LinkProfile
        Rates, and whether polarisation or phase drifts.
    rng : numpy.random.Generator
        Draws where a drift starts that starts anywhere; nothing is drawn for a link without drift.

    Attributes
    ----------
    positions : dict[str, float], radians
        Of the plates, or of the shifter.
    """

    def __init__(self, profile: LinkProfile, rng: np.random.Generator) -> None:
        channel = profile.channel
        self._is_phase = profile.encoding == "time-bin"
        self._rate, self._slope = channel.drift_rate, channel.drift_slope
        self._fibre = np.eye(3)
        self._phase_rad = 0.0
        if channel.drift_start == "anywhere":
            if self._is_phase:
                self._phase_rad = float(rng.uniform(-pi, pi))
            else:
                self._fibre = random_rotation(rng)
        self.positions = dict.fromkeys((SHIFTER,) if self._is_phase else PLATES, 0.0)

    @property
    def longest_seconds(self) -> float:
        """For how long the fibre may be held still."""
        walk_s = (HELD_RAD / self._rate) ** 2 if self._rate else inf
        return min(walk_s, HELD_RAD / abs(self._slope) if self._slope else inf)

    @property
    def rotation(self) -> NDArray[np.float64]:
        """Rotation from Alice's states to Bob's axes, float64[3, 3]; with time bins about the axis of Z."""
        if self._is_phase:
            return rotation(np.array([self._phase_rad + self.positions[SHIFTER], 0.0, 0.0]))
        return np.asarray(wave_plates(tuple(self.positions[name] for name in PLATES)) @ self._fibre)

    def walk(self, seconds: float, rng: np.random.Generator) -> None:
        """Let time pass.

        Parameters
        ----------
        seconds : float
            Seconds, at most ``longest_seconds``.
        rng : numpy.random.Generator
            Drives the walk.
        """
        if self._is_phase:
            if self._rate:
                self._phase_rad += self._rate * sqrt(seconds) * float(rng.standard_normal())
            self._phase_rad = remainder(self._phase_rad + self._slope * seconds, 2.0 * pi)
        elif self._rate:
            self._fibre = rotation(self._rate * sqrt(seconds) * rng.standard_normal(3)) @ self._fibre

    def turn(self, name: str, position_rad: float) -> None:
        """Turn an actuator.

        Parameters
        ----------
        name : str
            One of ``positions``.
        position_rad : float, radians
            Angle of a plate's fast axis, or phase that the shifter adds.

        Raises
        ------
        ConfigurationError
            If the position is out of range.
        """
        if not abs(position_rad) <= LARGEST_POSITION_RAD:
            raise ConfigurationError(f"{name}: {position_rad!r}, choose radians from -{LARGEST_POSITION_RAD:g} to {LARGEST_POSITION_RAD:g}")
        self.positions[name] = position_rad
