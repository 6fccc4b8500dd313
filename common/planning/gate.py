"""Where a photon arrives in time, and how much of that a temporal gate keeps.

An exponential decay (the emitter's lifetime) folded with Gaussian jitter; the gate is placed where it keeps most. ``link_model`` asks
which share lands in the photon's own gate and which in gates of other time bins and other slots, ``dead_time`` how many later slots
a click blocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import erfc, exp, expm1, sqrt

_NARROW = 30.0
"""From this ratio of jitter to lifetime on the decay is taken for a mere delay; the exponentials would leave the number range."""

REACH_SLOTS = 8
"""Slots on either side in which a photon may still arrive."""


@dataclass(frozen=True, slots=True)
class Gate:
    """A gate and the photons that arrive around it.

    Attributes
    ----------
    start_ps, width_ps : float
        Opening after the excitation, and width; picoseconds.
    lifetime_ps, jitter_ps : float
        Radiative lifetime, and standard deviation of the timing; picoseconds.
    """

    start_ps: float
    width_ps: float
    lifetime_ps: float
    jitter_ps: float

    @classmethod
    @lru_cache(maxsize=64)
    def best(cls, lifetime_ps: float, jitter_ps: float, width_ps: float) -> Gate:
        """Place a gate where it keeps most.

        Parameters
        ----------
        lifetime_ps, jitter_ps : float
            Radiative lifetime, and standard deviation of the timing; picoseconds.
        width_ps : float
            Width of the gate, picoseconds.

        Returns
        -------
        Gate
            With its opening.

        References
        ----------
        Exponentially modified Gaussian; the gate at the maximum of its mass, unimodal because the density is log-concave; status: planning.
        """
        if jitter_ps == 0.0:
            return cls(0.0, width_ps, lifetime_ps, jitter_ps)  # the rising edge is sharp: a search would end on either side of it
        low, high = -width_ps - 8.0 * jitter_ps, 8.0 * jitter_ps + lifetime_ps
        for _ in range(100):
            third = (high - low) / 3.0
            earlier, later = (cls(start, width_ps, lifetime_ps, jitter_ps) for start in (low + third, high - third))
            if earlier.share(0.0) < later.share(0.0):
                low += third
            else:
                high -= third
        return cls(0.5 * (low + high), width_ps, lifetime_ps, jitter_ps)

    def share(self, offset_ps: float) -> float:
        """Share of the photons that arrive in a gate which opens later than the own one by ``offset_ps``."""
        return self.arrived(offset_ps + self.width_ps) - self.arrived(offset_ps)

    def arrived(self, since_opening_ps: float) -> float:
        """Share of the photons that have arrived by a time counted from the opening of the own gate, ``since_opening_ps``."""
        return _arrived(self.start_ps + since_opening_ps, self.lifetime_ps, self.jitter_ps)

    def follows_within(self, time_ps: float) -> float:
        """Share of the pairs of photons, excited at the same moment, of which the second arrives at most ``time_ps`` after the first."""
        jitter_ps = sqrt(2.0) * self.jitter_ps
        return 0.5 * (1.0 + _arrived(time_ps, self.lifetime_ps, jitter_ps) - _arrived(-time_ps, self.lifetime_ps, jitter_ps))


def _arrived(time_ps: float, lifetime_ps: float, jitter_ps: float) -> float:
    """Probability that a photon has arrived by a time after the excitation."""
    if jitter_ps == 0.0:
        if lifetime_ps == 0.0:
            return 1.0 if time_ps > 0.0 else 0.0
        return -expm1(-time_ps / lifetime_ps) if time_ps > 0.0 else 0.0
    if lifetime_ps * _NARROW < jitter_ps:
        return _normal((time_ps - lifetime_ps) / jitter_ps)
    ratio = jitter_ps / lifetime_ps
    tail = _normal(time_ps / jitter_ps - ratio)
    if tail == 0.0:
        return _normal(time_ps / jitter_ps)
    return _normal(time_ps / jitter_ps) - exp(0.5 * ratio * ratio - time_ps / lifetime_ps) * tail


def _normal(x: float) -> float:
    return 0.5 * erfc(-x / sqrt(2.0))
