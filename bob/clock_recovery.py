"""Clock recovery: Alice's pulses as Bob's clock sees them, from reference pulses or from the photons alone.

Both ways find a period within some 60 ppm of the nominal one (``bob.periodogram``) and follow it (``bob.phase_tracking``); they differ in
what a tag stands for. A reference tag marks the centre of a slot that is some multiple of the sync divider. A photon tag lies somewhere
after its emission, so the slot's centre is put where photons are most frequent. Time tags come from ``common.timetags`` or a live stream;
the ``PulseClock`` goes to gating and detection. Neither way numbers the slots absolutely: that is the frame offset, found at Alice
(``alice.frame_offset``).

Uses only times, never outcomes, so the clock tells nothing about key and cannot be chosen by it.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from bob.kernels import NOT_A_DETECTOR, count_phases
from bob.periodogram import acquire
from bob.phase_tracking import Stretch, follow, sharpened
from bob.pulse_clock import ClockQuality, PulseClock, aligned
from common.errors import StreamError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bob.periodogram import Acquisition

__all__ = ["ClockQuality", "PulseClock", "clock_from_photons", "clock_from_reference"]

SEARCH_PPM = 60.0
"""Half-width of the searched band: crystals of 50 ppm, and something to spare."""

MOST_TAGS_PER_SECOND = 250_000
"""Of more tags, evenly picked ones are evaluated: windows of a millisecond then hold 250, and the clock is good to a picosecond."""

PEAK_BINS = 1 << 13
"""Bins of the histogram in which the photons' most frequent phase is looked up."""


def clock_from_reference(
    sync_t_ps: NDArray[np.int64], nominal_clock_hz: float, sync_divider: int, search_ppm: float = SEARCH_PPM
) -> PulseClock:
    """Recover the pulse clock from tags of reference pulses, most of which may be missing and some of which may be false.

    Parameters
    ----------
    sync_t_ps : int64[n], picoseconds
        Non-decreasing times of the sync channel.
    nominal_clock_hz : float, Hz
        Pulse rate of the link's profile.
    sync_divider : int
        Slots from one reference pulse to the next.
    search_ppm : float, parts per million
        Largest deviation looked for.

    Returns
    -------
    PulseClock
        Slots are right up to a multiple of ``sync_divider``.

    Raises
    ------
    StreamError
        If the tags are not in order or show no such period.
    """
    _check_order(sync_t_ps, "sync tags")
    sync_t_ps = sync_t_ps[:: _every(sync_t_ps)]
    channel = np.zeros(sync_t_ps.size, np.uint8)
    found = acquire(sync_t_ps, channel, nominal_clock_hz / sync_divider, search_ppm)
    stretches = follow(sync_t_ps, channel, found)
    stretches = [sharpened(stretch, sync_t_ps[stretch.first : stretch.last], found.contrast) for stretch in stretches]
    return _clock(sync_t_ps, stretches, found, nominal_clock_hz, sync_divider, np.zeros(256, np.int64))


def clock_from_photons(
    t_ps: NDArray[np.int64],
    nominal_clock_hz: float,
    search_ppm: float = SEARCH_PPM,
    *,
    channel: NDArray[np.uint8] | None = None,
) -> PulseClock:
    """Recover the pulse clock from the photons' own tags.

    Parameters
    ----------
    t_ps : int64[n], picoseconds
        Non-decreasing times of all detectors, background included.
    nominal_clock_hz : float, Hz
        Pulse rate of the link's profile.
    search_ppm : float, parts per million
        Largest deviation looked for.
    channel : uint8[n], optional
        Channel of each tag. With it the channels' delays are measured, up to whole slots, and stand in ``skew_ps``; without it all tags
        are taken as one channel.

    Returns
    -------
    PulseClock
        Slot centres lie at each channel's most frequent phase; slots are right up to a constant.

    Raises
    ------
    StreamError
        If the tags are not in order or show no such period.
    """
    _check_order(t_ps, "time tags")
    every = _every(t_ps)
    t_ps = t_ps[::every]
    tag_channel = np.zeros(t_ps.size, np.uint8) if channel is None else channel[::every]
    found = acquire(t_ps, tag_channel, nominal_clock_hz, search_ppm)
    stretches = follow(t_ps, tag_channel, found)
    skew_ps = np.rint(found.skew_periods * 1e12 / found.frequency_hz).astype(np.int64)
    aligned_ps, aligned_channel = aligned(t_ps, tag_channel, skew_ps)
    stretches = [sharpened(stretch, aligned_ps[stretch.first : stretch.last], found.contrast) for stretch in stretches]
    peaks = _channel_peaks(stretches, aligned_ps, aligned_channel)
    busiest = int(np.bincount(tag_channel, minlength=256).argmax())
    shift_ps = np.rint((peaks - peaks[busiest]) * 1e12 / found.frequency_hz).astype(np.int64)
    skew_ps = np.where(np.isin(np.arange(256), tag_channel), skew_ps + shift_ps, 0)
    aligned_ps, _ = aligned(t_ps, tag_channel, skew_ps)
    centred = [_shifted(stretch, -float(peaks[busiest])) for stretch in stretches]
    return _clock(aligned_ps, centred, found, nominal_clock_hz, 1, skew_ps)


def _check_order(t_ps: NDArray[np.int64], what: str) -> None:
    if bool((t_ps[1:] < t_ps[:-1]).any()):
        raise StreamError(f"clock not found: the {what} are not in order of time; sort them when reading the recording")


def _every(t_ps: NDArray[np.int64]) -> int:
    """Evaluate every how-many-th tag: 1 for a short recording, however dense."""
    if t_ps.size <= MOST_TAGS_PER_SECOND:
        return 1
    duration_s = max(1.0, float(t_ps[-1] - t_ps[0]) * 1e-12)
    return math.ceil(t_ps.size / (duration_s * MOST_TAGS_PER_SECOND))


def _channel_peaks(stretches: list[Stretch], t_ps: NDArray[np.int64], channel: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Most frequent phase of each channel, float64[256] in periods: the top of the histogram smoothed to half the pulse's width."""
    phase = np.concatenate([stretch.phases(t_ps[stretch.first : stretch.last]) for stretch in stretches])
    kept = np.concatenate([channel[stretch.first : stretch.last] for stretch in stretches])
    width = 0.5 / (2.0 * math.pi * max(stretch.harmonic for stretch in stretches))
    window = np.exp(-2.0 * (math.pi * width * np.fft.rfftfreq(PEAK_BINS, 1.0 / PEAK_BINS)) ** 2)
    peaks = np.zeros(256, np.float64)
    used_channels = np.flatnonzero(np.bincount(kept, minlength=256))
    row_of_channel = np.full(256, NOT_A_DETECTOR, np.uint8)
    row_of_channel[used_channels[:NOT_A_DETECTOR]] = np.arange(used_channels[:NOT_A_DETECTOR].size)
    counts = np.zeros((used_channels.size, PEAK_BINS), np.int64)
    count_phases(phase, kept, row_of_channel, 1.0, counts)
    for used, histogram in zip(used_channels, counts, strict=True):
        density = np.fft.irfft(np.fft.rfft(histogram) * window, PEAK_BINS)
        peaks[used] = (int(density.argmax()) + 0.5) / PEAK_BINS - 0.5
    return peaks


def _shifted(stretch: Stretch, periods: float) -> Stretch:
    """The stretch with ``periods`` added to its phase."""
    return replace(stretch, fraction=stretch.fraction + periods)


def _clock(
    t_ps: NDArray[np.int64],
    stretches: list[Stretch],
    found: Acquisition,
    nominal_clock_hz: float,
    divider: int,
    skew_ps: NDArray[np.int64],
) -> PulseClock:
    """Put the stretches together, in slots: a period of the tags is ``divider`` slots."""
    fraction = np.concatenate([stretch.fraction for stretch in stretches]) * divider
    whole = np.floor(fraction + 0.5)
    slot = np.concatenate([stretch.cycle for stretch in stretches]) * divider + whole.astype(np.int64)
    locked_s = [max(1.0, float(stretch.t_ps[-1] - stretch.t_ps[0])) for stretch in stretches]
    rate_hz = float(np.average([stretch.fitted_rate_hz() for stretch in stretches], weights=locked_s))
    period_ps = 1e12 / rate_hz
    phase_ps = np.concatenate([stretch.phases(t_ps[stretch.first : stretch.last]) for stretch in stretches]) * period_ps
    rms_ps, reach_ps = _spread(phase_ps, period_ps)
    used = int(np.count_nonzero(np.abs(phase_ps) <= reach_ps))
    quality = ClockQuality(
        residual_rms_ps=rms_ps,
        uncertainty_ps=period_ps * math.sqrt(float(np.average([stretch.variance for stretch in stretches], weights=locked_s))),
        confidence_bits=found.confidence_bits,
        count_used=used,
        count_rejected=t_ps.size - used,
        lock_losses=len(stretches) - 1,
    )
    return PulseClock(
        knot_t_ps=np.concatenate([stretch.t_ps for stretch in stretches]),
        knot_slot=slot,
        knot_fraction=fraction - whole,
        slots_per_ps=np.concatenate([stretch.slopes() for stretch in stretches]) * divider,
        locked_from_ps=np.array([t_ps[stretch.first] for stretch in stretches], np.int64),
        locked_to_ps=np.array([t_ps[stretch.last - 1] for stretch in stretches], np.int64),
        nominal_clock_hz=nominal_clock_hz,
        clock_hz=rate_hz * divider,
        skew_ps=skew_ps,
        quality=quality,
    )


def _spread(phase_ps: NDArray[np.float64], period_ps: float) -> tuple[float, float]:
    """Rms phase of the tags that belong to the pulse, and how far they reach: four times it.

    Tags beyond the reach show how dense the evenly spread background is; it is taken off within, and the reach narrowed until it settles.
    """
    distance = np.abs(phase_ps)
    reach = min(period_ps / 4.0, 8.0 * float(np.median(distance)) + 1.0)  # the median is the pulse's where most tags are its own
    rms = reach
    for _ in range(50):
        inside = distance[distance <= reach]
        density = (distance.size - inside.size) / (period_ps - 2.0 * reach)
        signal = inside.size - 2.0 * reach * density
        moment = float((inside**2).sum()) - density * 2.0 * reach**3 / 3.0
        if signal <= 0.0 or moment <= 0.0:
            break
        rms = math.sqrt(moment / signal)
        narrowed = min(period_ps / 4.0, 4.0 * rms)
        if abs(narrowed - reach) < 1e-3 * reach:
            break
        reach = narrowed
    return rms, reach
