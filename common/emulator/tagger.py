"""Bob's time tagger: from slots on Alice's clock to integer picoseconds on Bob's.

The contract is ``t_ps = (t + delay_ps + jitter)(1 + clock_offset_ppm 1e-6) + origin`` with t = k/clock_hz. A float64 holds a day in
picoseconds to 16 ps only, so the start of every stretch is computed exactly and floats measure from there. Where Bob's clock wanders, or
the fibre's length does, which to him is the same, the slope changes from stretch to stretch and the contract holds within each.
"""

from __future__ import annotations

from fractions import Fraction
from math import floor, inf, pi, sin, sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from common.emulator.channel import sparse_slots
from common.emulator.kernels import emission_times, tag_times
from common.errors import ConfigurationError
from common.profiles.link import LinkProfile

PICOSECONDS_PER_SECOND: Final = 10**12

KNOT_SECONDS: Final = 1.0
"""A clock that wanders keeps its pace for so long."""

FINEST_PS: Final = Fraction(1, 1 << 20)
"""To this the start of a stretch is kept where the clock wanders."""

JITTER_REACH: Final = 10.0
"""Standard deviations beyond which no normal deviate lies in any run: the probability is 1.5e-23."""


class Tagger:
    """Maps slots to tags.

    Parameters
    ----------
    profile : LinkProfile
        The link.
    origin_ps : int
        Time of Bob's clock when Alice's shows zero, picoseconds.

    Raises
    ------
    ConfigurationError
        If the tagger's resolution is not a whole number of picoseconds.
    """

    def __init__(self, profile: LinkProfile, origin_ps: int) -> None:
        resolution = profile.receiver.tagger_resolution_ps
        if resolution != int(resolution):
            raise ConfigurationError(f"receiver.tagger_resolution_ps: {resolution!r}, choose a whole number of picoseconds")
        self.origin_ps = origin_ps
        self.period_ps = PICOSECONDS_PER_SECOND / profile.source.clock_hz
        self._resolution_ps = int(resolution)
        self._exact_period = PICOSECONDS_PER_SECOND / Fraction(profile.source.clock_hz)
        self._pace = self._scale = 1 + Fraction(profile.receiver.clock_offset_ppm) / 10**6
        self._base_slot, self._base_ps = 0, Fraction(profile.channel.delay_ps) * self._scale + origin_ps
        self._wander = profile.receiver.clock_wander_ppm * 1e-6
        self._swing_ps, self._swing_s = profile.channel.delay_swing_ps, profile.channel.delay_period_s
        self._jitter_ps = profile.receiver.jitter_ps
        self._lifetime_ps = profile.source.lifetime_ps

    @property
    def longest_seconds(self) -> float:
        """For how long the pace may be held."""
        return KNOT_SECONDS if self._wander or self._swing_ps else inf

    def begin(self, rng: np.random.Generator, first: int, end: int) -> None:
        """Go on to a stretch; nothing changes, and nothing is drawn, where neither clock nor fibre wanders.

        Parameters
        ----------
        rng : numpy.random.Generator
            Drives the wander.
        first, end : int
            Its slots: ``first`` to ``end - 1``.
        """
        if not self._wander and not self._swing_ps:
            return
        self._base_slot, self._base_ps = first, round(self._exact_ps(first) / FINEST_PS) * FINEST_PS
        begin_s, end_s = (slot * self.period_ps / PICOSECONDS_PER_SECOND for slot in (first, end))
        if self._wander:
            self._pace += Fraction(self._wander * sqrt(end_s - begin_s) * float(rng.standard_normal()))
        longer_ps = self._swing_ps * (sin(2.0 * pi * end_s / self._swing_s) - sin(2.0 * pi * begin_s / self._swing_s))
        self._scale = self._pace + Fraction(longer_ps / ((end - first) * self.period_ps))

    def emission_times_ps(self, rng: np.random.Generator, base_slot: int, slots: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return when each photon leaves: its decay is exponential, the mean at its slot's centre.

        Parameters
        ----------
        rng : numpy.random.Generator
            Drives the decay.
        base_slot : int
            Slot from whose centre times are measured.
        slots : int64[n]
            Slot of each photon.

        Returns
        -------
        float64[n]
            Time since then on Alice's clock, picoseconds.
        """
        exponential = rng.standard_exponential(slots.size if self._lifetime_ps else 0)
        since_base_ps = np.empty(slots.size)
        emission_times(slots, base_slot, self.period_ps, exponential, self._lifetime_ps, since_base_ps)
        return since_base_ps

    def tags_ps(self, rng: np.random.Generator, base_slot: int, since_base_ps: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the tags of events, jitter added.

        Parameters
        ----------
        rng : numpy.random.Generator
            Drives the jitter.
        base_slot : int
            Slot from whose centre times are measured.
        since_base_ps : float64[n]
            Time since then on Alice's clock, picoseconds.

        Returns
        -------
        int64[n]
            Tags, multiples of the resolution.
        """
        deviates = rng.standard_normal(since_base_ps.size if self._jitter_ps else 0)
        base = self._exact_ps(base_slot)
        whole = floor(base)
        t_ps = np.empty(since_base_ps.size, np.int64)
        tag_times(since_base_ps, deviates, self._jitter_ps, float(self._scale), float(base - whole), whole, self._resolution_ps, t_ps)
        return t_ps

    def settled_ps(self, slot: int) -> int:
        """Return a time before which no event of this slot or a later one can be tagged, picoseconds."""
        reach = JITTER_REACH * self._jitter_ps + self._lifetime_ps + self.period_ps + self._resolution_ps + 1
        return floor(self._exact_ps(slot) - Fraction(reach) * self._scale)

    def _exact_ps(self, slot: int) -> Fraction:
        return self._base_ps + (slot - self._base_slot) * self._exact_period * self._scale


def reference_slots(rng: np.random.Generator, divider: int, probability: float, first: int, end: int) -> NDArray[np.int64]:
    """Return the slots whose reference pulse is detected.

    Parameters
    ----------
    rng : numpy.random.Generator
        Drives the detections.
    divider : int
        Every slot that is a multiple of this carries a reference pulse.
    probability : float
        Probability that one is detected.
    first, end : int
        Slots ``first`` to ``end - 1``.

    Returns
    -------
    int64[n]
        Multiples of ``divider``, increasing.
    """
    return sparse_slots(rng, probability, -(-first // divider), -(-end // divider)) * divider
