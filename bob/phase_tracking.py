"""Tracking: follow the period found by acquisition through all the tags, and sharpen it.

First a phase-locked loop follows the fundamental window by window; where it loses the lock, acquisition starts again. Then the phases of
all tags are known, and the most telling harmonic of the pulse can be used instead of the fundamental: the measured phases are smoothed by
an optimal smoother whose crystal wander is the one that explains them best. That is repeated until the harmonic no longer rises, since each
round makes the pulse look sharper. A narrow pulse among spurious tags thus ends as precise as its own width allows.

Called by ``bob.clock_recovery`` with tags of one period; what comes out are the knots of a ``PulseClock``, in periods.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from bob.clock_kernels import follow_phase, phasors_of, smooth_phase, split_windows, window_phasors
from bob.kernels import locate_slots
from bob.periodogram import acquire
from common.errors import StreamError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bob.periodogram import Acquisition

WINDOW_SECONDS = 1e-3
"""Shortest window: crystals are steady to far less than a picosecond over it."""

WINDOW_POWER = 30.0
"""Rayleigh power a window should have: the phase is then known to 0.02 periods."""

LEAST_POWER = 10.0
"""Windows below are not believed: noise reaches it with probability 5e-5."""

TAGS_USED_PER_WINDOW = 4096
"""Most tags evaluated in a window; more would not make the clock visibly better."""

FOLLOWING_WANDER = 3e-9
"""Random walk of the relative frequency the loop allows, 1/sqrt(s): a poor crystal. The smoother then finds the true one."""

WANDERS = tuple(10.0**exponent for exponent in np.arange(-13.0, -6.4, 0.5))
"""Candidates for the crystal's wander, 1/sqrt(s): from a rubidium standard to worse than any quartz."""

MOST_HARMONIC = 1 << 16
"""Highest harmonic looked at: sharpens to a hundred-thousandth of the period."""

MOST_ROUNDS = 8
"""Rounds of sharpening; three or four are usual."""

RECENT_KNOTS = 100
"""Knots whose frequency continues the count of cycles over a loss of lock."""

REACQUIRE_PPM = 2.0
"""Band searched after a loss of lock: a crystal has not moved by more since."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """A run of unbroken lock.

    Attributes
    ----------
    first, last : int
        Tags ``first`` up to but not including ``last``.
    t_ps : int64[k], picoseconds
        Knots, increasing.
    cycle : int64[k]
        Whole periods at the knots.
    fraction : float64[k], periods
        What is to be added to them.
    rate_hz : float, Hz
        Mean frequency.
    variance, worst_variance : float, periods^2
        Squared standard error of the knots, mean and largest.
    harmonic : int
        The harmonic measured last.
    """

    first: int
    last: int
    t_ps: NDArray[np.int64]
    cycle: NDArray[np.int64]
    fraction: NDArray[np.float64]
    rate_hz: float
    variance: float = 1.0
    worst_variance: float = 1.0
    harmonic: int = 1

    def slopes(self) -> NDArray[np.float64]:
        """Periods per picosecond after each knot, float64[k]."""
        if self.t_ps.size == 1:
            return np.array([self.rate_hz * 1e-12])
        slopes = (np.diff(self.cycle) + np.diff(self.fraction)) / np.diff(self.t_ps)
        return np.append(slopes, slopes[-1])

    def fitted_rate_hz(self) -> float:
        """Slope of the straight line that fits the knots best, in Hz: less at the mercy of the ends than ``rate_hz``."""
        if self.t_ps.size == 1:
            return self.rate_hz
        since_s = (self.t_ps - self.t_ps[0]) * 1e-12
        steps = np.diff(self.cycle) - np.diff(self.t_ps) * (self.rate_hz * 1e-12) + np.diff(self.fraction)
        deviation = np.concatenate(([0.0], np.cumsum(steps)))
        centred_s = since_s - since_s.mean()
        return self.rate_hz + float(centred_s @ deviation) / float(centred_s @ centred_s)

    def phases(self, t_ps: NDArray[np.int64]) -> NDArray[np.float64]:
        """Phases in [-1/2, 1/2) of non-decreasing times (int64[n]), in periods of this stretch: float64[n]."""
        cycle = np.empty(t_ps.size, np.int64)
        phase = np.empty(t_ps.size, np.float64)
        locate_slots(t_ps, self.t_ps, self.cycle, self.fraction, self.slopes(), cycle, phase)
        return phase * (self.rate_hz * 1e-12)


def follow(t_ps: NDArray[np.int64], channel: NDArray[np.uint8], found: Acquisition) -> list[Stretch]:
    """Follow the fundamental through all tags, acquiring again where the lock is lost.

    Parameters
    ----------
    t_ps : int64[n], picoseconds
        Non-decreasing.
    channel : uint8[n]
        Channel of each tag.
    found : Acquisition
        The period at the beginning.

    Returns
    -------
    list[Stretch]
        In order; their cycles are continued across each loss as well as the frequency allows.

    Raises
    ------
    StreamError
        If no window at all shows the period.
    """
    stretches: list[Stretch] = []
    first = 0
    while True:
        stretch, first = _follow_until_lost(t_ps, channel, first, found)
        if stretch is not None:
            stretches.append(_continued(stretches[-1], stretch) if stretches else stretch)
        if first >= t_ps.size:
            break
        again = _acquire_again(t_ps[first:], channel[first:], stretches[-1].rate_hz if stretches else found.frequency_hz)
        if again is None:
            break
        found = again
    if not stretches:
        raise StreamError("clock not found: a period was seen, but no window of tags follows it; record for longer or with more light")
    return stretches


def _acquire_again(t_ps: NDArray[np.int64], channel: NDArray[np.uint8], rate_hz: float) -> Acquisition | None:
    try:
        return acquire(t_ps, channel, rate_hz, REACQUIRE_PPM)
    except StreamError:
        return None  # the light went out for good: what was locked before remains


def _follow_until_lost(t_ps: NDArray[np.int64], channel: NDArray[np.uint8], first: int, found: Acquisition) -> tuple[Stretch | None, int]:
    """One stretch from tag ``first``, and the tag from which to start again."""
    rest_ps, rest_channel = t_ps[first:], channel[first:]
    starts = window_starts(rest_ps, found.contrast)
    count = starts.size - 1
    knot_t_ps, knot_cycle = np.zeros(count, np.int64), np.zeros(count, np.int64)
    knot_fraction, measured = np.zeros(count, np.float64), np.zeros(count, np.bool_)
    followed = follow_phase(
        rest_ps,
        rest_channel,
        found.skew_periods,
        starts,
        TAGS_USED_PER_WINDOW,
        found.frequency_hz,
        found.frequency_sigma_hz,
        FOLLOWING_WANDER,
        min(LEAST_POWER, 0.5 * found.contrast**2 * rest_ps.size),
        knot_t_ps,
        knot_cycle,
        knot_fraction,
        measured,
    )
    good = np.flatnonzero(measured[:followed])
    restart = first + int(starts[max(followed, 1)])
    if good.size == 0:
        return None, restart
    t, cycle, fraction = knot_t_ps[good], knot_cycle[good], knot_fraction[good]
    rate_hz = found.frequency_hz
    if good.size > 1:
        rate_hz = (float(cycle[-1] - cycle[0]) + float(fraction[-1] - fraction[0])) / (float(t[-1] - t[0]) * 1e-12)
    begin, end = first + int(starts[good[0]]), first + int(starts[good[-1] + 1])
    return Stretch(begin, end, t, cycle, fraction, rate_hz), restart


def _continued(before: Stretch, after: Stretch) -> Stretch:
    """Number the cycles of ``after`` on from ``before``, as its last frequency predicts."""
    lately = before.t_ps[-RECENT_KNOTS:]  # over hours the mean frequency is not the present one
    cycles = float(before.cycle[-1] - before.cycle[-lately.size]) + float(before.fraction[-1] - before.fraction[-lately.size])
    rate_hz = cycles / (float(lately[-1] - lately[0]) * 1e-12) if lately.size > 1 else before.rate_hz
    elapsed_s = float(after.t_ps[0] - before.t_ps[-1]) * 1e-12
    predicted = float(before.fraction[-1]) + rate_hz * elapsed_s - float(after.fraction[0])
    shift = int(before.cycle[-1]) + round(predicted) - int(after.cycle[0])
    return replace(after, cycle=after.cycle + shift)


def window_starts(t_ps: NDArray[np.int64], contrast: float) -> NDArray[np.int64]:
    """Cut tags into tracking windows.

    Parameters
    ----------
    t_ps : int64[n], picoseconds
        Non-decreasing, n >= 1.
    contrast : float
        Magnitude of the tags' mean phasor: windows hold enough tags to measure a phase.

    Returns
    -------
    int64[windows + 1]
        First tag of each window, and n.
    """
    count_least = max(64, math.ceil(WINDOW_POWER / max(contrast, 1e-3) ** 2))
    mean_gap_ps = float(t_ps[-1] - t_ps[0]) / t_ps.size
    least_ps = int(WINDOW_SECONDS * 1e12)
    most_ps = max(4 * least_ps, int(4.0 * count_least * mean_gap_ps))
    starts = np.empty(t_ps.size + 1, np.int64)
    count = split_windows(t_ps, count_least, least_ps, most_ps, starts)
    return starts[: count + 1].copy()


def sharpened(stretch: Stretch, t_ps: NDArray[np.int64], contrast: float) -> Stretch:
    """Measure the stretch again at its most telling harmonic and smooth it, until the harmonic no longer rises.

    Parameters
    ----------
    stretch : Stretch
        As followed.
    t_ps : int64[n], picoseconds
        Tags of the stretch, skews taken off.
    contrast : float
        Magnitude of the mean phasor of the fundamental.

    Returns
    -------
    Stretch
        With smoothed knots and their variance.
    """
    starts = window_starts(t_ps, contrast)
    for round_ in range(MOST_ROUNDS):
        phase = stretch.phases(t_ps)
        allowed = max(1, int(1.0 / (16.0 * math.sqrt(stretch.worst_variance))))  # four standard errors are a quarter of its cycle
        harmonic, variance_per_tag = _telling_harmonic(phase, starts, min(allowed, MOST_HARMONIC))
        refined = _smoothed(stretch, t_ps, phase, starts, harmonic, variance_per_tag)
        settled = round_ > 0 and harmonic <= stretch.harmonic
        stretch = refined
        if settled:
            break
    return stretch


def _telling_harmonic(phase: NDArray[np.float64], starts: NDArray[np.int64], allowed: int) -> tuple[int, float]:
    """Harmonic up to ``allowed`` whose angle tells the pulse's position best, and the variance of that position per tag, in periods^2.

    The angle of a sum of n phasors with mean c_h has variance (1 - c_2h)/(2 n c_h^2), hence the position (1 - c_2h)/(2 (2 pi h c_h)^2).
    """
    some = phase[:: max(1, phase.size // 50_000)]
    count_per_window = min(TAGS_USED_PER_WINDOW, phase.size / (starts.size - 1))
    best, best_variance = 1, math.inf
    harmonic = 1
    phasors = np.empty(some.size, np.complex128)
    phasors_of(some, phasors)
    mean_at_twice = complex(phasors.mean())
    while harmonic <= allowed:
        mean = mean_at_twice
        phasors *= phasors  # those of the doubled harmonic: an exponential each time took more than all the rest of the clock
        mean_at_twice = complex(phasors.mean())
        size = abs(mean)
        twice = (mean_at_twice * (mean / size).conjugate() ** 2).real if size > 0.0 else 1.0
        variance = max(1e-3, 1.0 - twice) / (2.0 * (2.0 * math.pi * harmonic * max(size, 1e-9)) ** 2)
        clear = size * size * count_per_window >= 2.0 * LEAST_POWER and size * size * some.size >= 5.0 * LEAST_POWER
        if harmonic == 1 or (clear and variance < 0.9 * best_variance):
            best, best_variance = harmonic, variance
        elif not clear:
            break
        harmonic *= 2
    return best, best_variance


def _smoothed(
    stretch: Stretch, t_ps: NDArray[np.int64], phase: NDArray[np.float64], starts: NDArray[np.int64], harmonic: int, variance_per_tag: float
) -> Stretch:
    """Measure every window at ``harmonic`` against the present clock, then smooth the corrected phases."""
    count = starts.size - 1
    phasors, counts = np.empty(count, np.complex128), np.empty(count, np.int64)
    window_phasors(phase, starts, TAGS_USED_PER_WINDOW, harmonic, phasors, counts)
    good = np.abs(phasors) ** 2 / counts >= min(LEAST_POWER, 0.5 * float((np.abs(phasors) ** 2 / counts).max()))
    knot_t_ps = _window_centres(t_ps, starts)[good]
    correction = np.angle(phasors[good]) / (2.0 * math.pi * harmonic)
    variance = variance_per_tag / counts[good]
    cycle = np.empty(knot_t_ps.size, np.int64)
    offset = np.empty(knot_t_ps.size, np.float64)
    locate_slots(knot_t_ps, stretch.t_ps, stretch.cycle, stretch.fraction, stretch.slopes(), cycle, offset)
    slope = stretch.rate_hz * 1e-12
    knot = np.clip(np.searchsorted(stretch.t_ps, knot_t_ps, side="right") - 1, 0, stretch.t_ps.size - 1)
    fraction = offset * stretch.slopes()[knot]
    # less a clock of constant frequency: what remains is small, so that a float holds it
    steps = np.diff(cycle) - np.diff(knot_t_ps) * slope + np.diff(fraction)
    base = np.concatenate(([0.0], np.cumsum(steps)))
    measured = base - correction
    t_s = (knot_t_ps - knot_t_ps[0]) * 1e-12
    smooth, smooth_variance = _smooth_with_best_wander(t_s, measured, variance, stretch.rate_hz)
    fraction += smooth - base
    rate_hz = stretch.rate_hz
    if t_s.size > 1:
        rate_hz += float(smooth[-1] - smooth[0]) / float(t_s[-1])
    whole = np.floor(fraction + 0.5)
    return Stretch(
        stretch.first,
        stretch.last,
        knot_t_ps,
        cycle + whole.astype(np.int64),
        fraction - whole,
        rate_hz,
        float(smooth_variance.mean()),
        float(smooth_variance.max()),
        harmonic,
    )


def _window_centres(t_ps: NDArray[np.int64], starts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Mean time of the tags of each window: there an error of frequency does not move the measured phase."""
    opening = t_ps[starts[:-1]]
    counts = np.diff(starts)
    since = t_ps - np.repeat(opening, counts)
    centres: NDArray[np.int64] = opening + np.add.reduceat(since, starts[:-1]) // counts
    return centres


def _smooth_with_best_wander(
    t_s: NDArray[np.float64], measured: NDArray[np.float64], variance: NDArray[np.float64], rate_hz: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Smooth with the wander of the crystal under which the measured phases are the most probable."""
    smooth, smooth_variance = np.empty(t_s.size), np.empty(t_s.size)
    start = measured - measured[0]
    rate_sigma_hz = 1e-5 * rate_hz

    def log_density(wander: float) -> float:
        return smooth_phase(t_s, start, variance, rate_sigma_hz, wander * rate_hz, smooth, smooth_variance)

    best = max(WANDERS, key=log_density)
    log_density(best)
    return smooth + measured[0], smooth_variance
