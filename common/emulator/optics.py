"""What a measurement makes of each state: its likelier bit in either basis, and how often the other one comes.

States are angles on the Bloch sphere: those Alice prepares, as they were measured, and behind them the four ideal ones that an
eavesdropper may send in their place. Comes from the profile, goes to ``receiver`` and ``eavesdropper``.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, radians, sin
from typing import Self

import numpy as np
from numpy.typing import NDArray

from common.profiles.link import LinkProfile
from common.protocols.protocol import OUTCOME_ANGLES_DEG

_LEVEL = 1e-12
"""Cosines below this are those of a right angle, rounded."""


@dataclass(frozen=True, slots=True, eq=False)
class StateOptics:
    """Tables of all states of a link.

    Attributes
    ----------
    bit : uint8[states, 2]
        The likelier bit in Z and in X; 0 where both are alike.
    flipped : float64[states, 2]
        Probability of the other one.
    count_prepared : int
        Alice's states come first; behind them Z0 Z1 X0 X1 as an eavesdropper sends them.
    """

    bit: NDArray[np.uint8]
    flipped: NDArray[np.float64]
    count_prepared: int

    @classmethod
    def of(cls, profile: LinkProfile, rotation: NDArray[np.float64] | None = None) -> Self:
        """Return the tables of Bob's receiver at the end of a link, misalignment and visibility included.

        Parameters
        ----------
        profile : LinkProfile
            The link.
        rotation : float64[3, 3] | None
            What the fibre and Bob's plates, or the interferometer, make of each state; None for nothing.

        Returns
        -------
        StateOptics
            A state r gives the outcome at the axis m with probability (1 + V m·Rr)/2.
        """
        aligned = 1.0 - 2.0 * profile.channel.misalignment
        return cls._of(profile, (aligned, profile.channel.visibility if profile.encoding == "time-bin" else aligned), rotation)

    @classmethod
    def perfect(cls, profile: LinkProfile) -> Self:
        """Return the tables of a receiver without any error, at the beginning of the link ``profile``."""
        return cls._of(profile, (1.0, 1.0))

    @classmethod
    def _of(cls, profile: LinkProfile, visibilities: tuple[float, float], rotation: NDArray[np.float64] | None = None) -> Self:
        prepared = profile.source.state_angles_deg if profile.prepared.counts_all_x else OUTCOME_ANGLES_DEG
        angles = (*prepared, *OUTCOME_ANGLES_DEG)
        if rotation is None:
            towards_zero = np.array([[cos(radians(angle - OUTCOME_ANGLES_DEG[2 * basis])) for basis in (0, 1)] for angle in angles])
        else:
            states, axes = _on_sphere(angles), _on_sphere(OUTCOME_ANGLES_DEG[::2])
            towards_zero = states @ rotation.T @ axes.T
        towards_zero[np.abs(towards_zero) < _LEVEL] = 0.0
        flipped = 0.5 * (1.0 - np.array(visibilities) * np.abs(towards_zero))
        return cls((towards_zero < 0.0).astype(np.uint8), flipped, len(prepared))

    @property
    def resent(self) -> int:
        """Number of the first state an eavesdropper sends; add the outcome she found."""
        return self.count_prepared


def _on_sphere(angles_deg: tuple[float, ...]) -> NDArray[np.float64]:
    """Points of the Poincaré sphere, one a row, by the axes of ``rotations``."""
    return np.array([[cos(radians(angle)), sin(radians(angle)), 0.0] for angle in angles_deg])
