"""Bob's time tagger: from slots on Alice's clock to integer picoseconds on Bob's.

The contract is ``t_ps = (t + delay_ps + jitter)(1 + clock_offset_ppm 1e-6) + origin`` with t = k/clock_hz. A float64 holds a day in
picoseconds to 16 ps only, so the start of every stretch is computed exactly and floats measure from there.
"""

from __future__ import annotations

from fractions import Fraction
from math import floor
from typing import Final

import numpy as np
from numpy.typing import NDArray

from common.emulator.channel import sparse_slots
from common.emulator.kernels import emission_times, tag_times
from common.errors import ConfigurationError
from common.profiles.link import LinkProfile

PICOSECONDS_PER_SECOND: Final = 10**12

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
        self._delay = Fraction(profile.channel.delay_ps)
        self._scale = 1 + Fraction(profile.receiver.clock_offset_ppm) / 10**6
        self._jitter_ps = profile.receiver.jitter_ps
        self._lifetime_ps = profile.source.lifetime_ps

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
        return (slot * self._exact_period + self._delay) * self._scale + self.origin_ps


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
