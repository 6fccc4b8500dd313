"""The pulse clock: from Bob's time in picoseconds to Alice's pulses, as slot and phase.

A value, built by ``bob.clock_recovery`` and used by gating and detection. It is a chain of knots: at each the slot coordinate is known as a
whole slot (int64) and a fraction (float64), and between knots it runs linearly. Whole numbers are subtracted before anything becomes a
float, so the phase is good to 1e-7 of a slot after hours of picoseconds. Where the lock was lost the clock says so: slots there are
extrapolated and must not be used.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import numpy as np

from bob.kernels import locate_slots, order_aligned

if TYPE_CHECKING:
    from numpy.typing import NDArray

PS_PER_S = 1e12

MOST_MOVES = 16
"""Places by which delays move a tag on average, beyond which sorting is faster than insertion."""


def _no_skew() -> NDArray[np.int64]:
    return np.zeros(256, np.int64)


@dataclass(frozen=True, slots=True)
class ClockQuality:
    """How well the clock was found.

    Attributes
    ----------
    residual_rms_ps : float, picoseconds
        Rms distance of the tags that belong to the pulses from the pulses' centre, evenly spread background taken off.
    uncertainty_ps : float, picoseconds
        The clock's own standard error at its knots, rms.
    confidence_bits : float, bits
        -log2 of the probability that noise alone would have shown a period as clear as the one first locked to.
    count_used, count_rejected : int
        Tags evaluated that lie within the pulses and outside of them.
    lock_losses : int
        Times the lock was lost.
    """

    residual_rms_ps: float = 0.0
    uncertainty_ps: float = 0.0
    confidence_bits: float = 0.0
    count_used: int = 0
    count_rejected: int = 0
    lock_losses: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class PulseClock:
    """Bob's time to slot coordinate, piecewise linear. The zero of the slots is arbitrary until the frame offset is known.

    Attributes
    ----------
    knot_t_ps : int64[k], picoseconds
        Increasing times of the knots, k >= 1.
    knot_slot : int64[k]
        Whole slots at the knots.
    knot_fraction : float64[k]
        What is to be added to them, in slots.
    slots_per_ps : float64[k], 1/ps
        Slope from each knot to the next; of the last, onwards.
    locked_from_ps, locked_to_ps : int64[s], picoseconds
        Stretches of unbroken lock, both ends included. Slots of different stretches may be out of step by some slots.
    nominal_clock_hz : float, Hz
        What the link's profile says.
    clock_hz : float, Hz
        Pulse rate in Bob's time while locked: slope of the straight line that fits best.
    skew_ps : int64[256], picoseconds
        Delay of each channel against the others, to be subtracted from its tags (``align``).
    quality : ClockQuality
        How well it was found.
    """

    knot_t_ps: NDArray[np.int64]
    knot_slot: NDArray[np.int64]
    knot_fraction: NDArray[np.float64]
    slots_per_ps: NDArray[np.float64]
    locked_from_ps: NDArray[np.int64]
    locked_to_ps: NDArray[np.int64]
    nominal_clock_hz: float
    clock_hz: float
    skew_ps: NDArray[np.int64] = field(default_factory=_no_skew)
    quality: ClockQuality = field(default_factory=ClockQuality)

    @classmethod
    def steady(cls, clock_hz: float, t_ps: int, *, nominal_clock_hz: float | None = None) -> Self:
        """Build a clock of constant rate that is locked forever, slot 0 centred at ``t_ps``.

        Parameters
        ----------
        clock_hz : float, Hz
            Pulse rate in Bob's time.
        t_ps : int, picoseconds
            Centre of slot 0.
        nominal_clock_hz : float, Hz, optional
            Rate the profile names; ``clock_hz`` where absent.

        Returns
        -------
        PulseClock
            With one knot: good to a picosecond for about an hour either way.
        """
        limits = np.iinfo(np.int64)
        return cls(
            knot_t_ps=np.array([t_ps], np.int64),
            knot_slot=np.zeros(1, np.int64),
            knot_fraction=np.zeros(1, np.float64),
            slots_per_ps=np.array([clock_hz / PS_PER_S]),
            locked_from_ps=np.array([limits.min], np.int64),
            locked_to_ps=np.array([limits.max], np.int64),
            nominal_clock_hz=clock_hz if nominal_clock_hz is None else nominal_clock_hz,
            clock_hz=clock_hz,
        )

    @property
    def period_ps(self) -> float:
        """Mean length of a slot in Bob's picoseconds."""
        return PS_PER_S / self.clock_hz

    @property
    def offset_ppm(self) -> float:
        """How fast Bob's clock runs against the nominal pulse rate, in parts per million; positive means fast."""
        return (self.nominal_clock_hz / self.clock_hz - 1.0) * 1e6

    def align(self, t_ps: NDArray[np.int64], channel: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
        """Take each channel's skew off its tags and put them in order of time again.

        Parameters
        ----------
        t_ps : int64[n], picoseconds
            Non-decreasing.
        channel : uint8[n]
            Channel of each tag.

        Returns
        -------
        tuple[int64[n], uint8[n]]
            Times and channels; the same arrays where no channel has a skew.
        """
        return aligned(t_ps, channel, self.skew_ps)

    def slots_and_phases(self, t_ps: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return the nearest slot of each time and the phase within it.

        Parameters
        ----------
        t_ps : int64[n], picoseconds
            Non-decreasing, skews already taken off.

        Returns
        -------
        tuple[int64[n], float64[n]]
            Slots, and picoseconds since their centres, in [-T/2, T/2).
        """
        slot = np.empty(t_ps.size, np.int64)
        phase_ps = np.empty(t_ps.size, np.float64)
        locate_slots(t_ps, self.knot_t_ps, self.knot_slot, self.knot_fraction, self.slots_per_ps, slot, phase_ps)
        return slot, phase_ps

    def in_lock(self, t_ps: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether the clock was locked at each time.

        Parameters
        ----------
        t_ps : int64[n], picoseconds
            In any order.

        Returns
        -------
        bool[n]
            True within the stretches of lock.
        """
        stretch = np.maximum(np.searchsorted(self.locked_from_ps, t_ps, side="right") - 1, 0)
        return (t_ps >= self.locked_from_ps[stretch]) & (t_ps <= self.locked_to_ps[stretch])


def aligned(t_ps: NDArray[np.int64], channel: NDArray[np.uint8], skew_ps: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Take each channel's delay off its tags and put them in order of time again.

    Parameters
    ----------
    t_ps : int64[n], picoseconds
        Non-decreasing.
    channel : uint8[n]
        Channel of each tag.
    skew_ps : int64[256], picoseconds
        Delay of each channel.

    Returns
    -------
    tuple[int64[n], uint8[n]]
        Times and channels; the same arrays where no channel has a skew.
    """
    if not skew_ps.any():
        return t_ps, channel
    aligned_ps, aligned_channel = np.empty_like(t_ps), np.empty_like(channel)
    if order_aligned(t_ps, channel, skew_ps, MOST_MOVES * t_ps.size, 0, aligned_ps, aligned_channel) == t_ps.size:
        return aligned_ps, aligned_channel
    shifted_ps = t_ps - skew_ps[channel]
    order = np.argsort(shifted_ps, kind="stable")
    return shifted_ps[order], channel[order]
