"""Acquisition: find the pulse rate in the tags from cold, and say how sure that is.

The tags of a short stretch are demodulated at the nominal rate, binned and Fourier-transformed, which is the periodogram of every
frequency in the searched band at once. The stretch is doubled until its highest peak cannot be noise; then the frequency is narrowed down
by doubling the stretch again. Called by ``bob.clock_recovery``; the result goes to ``bob.phase_tracking``. Binning to a multiple of the
tag's resolution loses nothing, since each tag's phase is taken exactly before it is binned.

References
----------
Qubit4Sync, Calderaro et al. 2020, arXiv 1909.12050, section II (periodicity from the photons alone); Leahy et al. 1983, ApJ 272, 256 (the
statistic). Status: planning: a wrong clock costs rate, never secrecy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bob.clock_kernels import demodulate, periodogram
from common.errors import StreamError

if TYPE_CHECKING:
    from numpy.typing import NDArray

FIRST_STRETCH_TAGS = 256
"""Tags of the first attempt: enough at a contrast of 0.5, and at 1e3 tags a second a quarter of a second."""

MOST_STRETCH_TAGS = 1 << 20
"""Tags of the last attempt: finds a contrast of 0.01."""

MOST_BINS = 1 << 21
"""Bins a channel in the Fourier transform: bounds memory to 64 MiB a channel, and the stretch to 18 s at 320 MHz and 60 ppm."""

BINS_PER_BAND = 3
"""Bins within the inverse of the searched band: the band's edge loses 9 % of its power."""

REQUIRED_CONFIDENCE_BITS = 30.0
"""A lock by chance has probability below 1e-9."""

REFINE_TAGS = 1 << 16
"""Refinement stops at this many tags: tracking does better from there."""

REFINE_SECONDS = 1.0
"""Refinement stops here as well: over longer a crystal's wander blurs the peak."""


@dataclass(frozen=True, slots=True)
class Acquisition:
    """A periodicity found in the tags.

    Attributes
    ----------
    frequency_hz : float, Hz
        In Bob's time.
    frequency_sigma_hz : float, Hz
        Standard deviation, generously.
    contrast : float
        Magnitude of the mean phasor, 0 to 1, all channels taken together.
    skew_periods : float64[256], periods
        Phase of each channel; that of the busiest is zero.
    confidence_bits : float, bits
        -log2 of the probability of such a peak by chance.
    """

    frequency_hz: float
    frequency_sigma_hz: float
    contrast: float
    skew_periods: NDArray[np.float64]
    confidence_bits: float


def acquire(t_ps: NDArray[np.int64], channel: NDArray[np.uint8], frequency_hz: float, search_ppm: float) -> Acquisition:
    """Find the period of the tags near a nominal frequency.

    Parameters
    ----------
    t_ps : int64[n], picoseconds
        Non-decreasing.
    channel : uint8[n]
        Channel of each tag: the powers of the channels are added, so their relative delays do not matter.
    frequency_hz : float, Hz
        Nominal frequency.
    search_ppm : float, parts per million
        Half-width of the searched band.

    Returns
    -------
    Acquisition
        The peak.

    Raises
    ------
    StreamError
        If there is no peak that noise could not have made.
    """
    half_band_hz = frequency_hz * search_ppm * 1e-6
    used = np.unique(channel)
    row_of_channel = np.zeros(256, np.int64)
    row_of_channel[used] = np.arange(used.size)
    best_bits = -math.inf
    count = min(FIRST_STRETCH_TAGS, t_ps.size)
    while count >= 2:  # two tags make the shortest stretch that has a length
        stretch_ps, row = t_ps[:count], row_of_channel[channel[:count]]
        bin_ps = max(1, int(1e12 / (2.0 * half_band_hz * BINS_PER_BAND)))
        if int(stretch_ps[-1] - stretch_ps[0]) // bin_ps >= MOST_BINS:
            break
        peak_hz, bits = _highest_peak(stretch_ps, row, used.size, frequency_hz, half_band_hz, bin_ps)
        best_bits = max(best_bits, bits)
        if bits >= REQUIRED_CONFIDENCE_BITS:
            return _refined(t_ps, channel, row_of_channel, used, count, peak_hz, half_band_hz, bits)
        if count == t_ps.size or count >= MOST_STRETCH_TAGS:
            break
        count = min(2 * count, t_ps.size, MOST_STRETCH_TAGS)
    raise StreamError(
        f"clock not found: no period within {search_ppm:g} ppm of {frequency_hz:.9g} Hz in {t_ps.size} tags (best peak"
        f" {max(best_bits, 0.0):.0f} bits of confidence, {REQUIRED_CONFIDENCE_BITS:.0f} needed); check clock_hz and sync_divider, that the"
        " source is on, or record for longer"
    )


def _highest_peak(
    t_ps: NDArray[np.int64], row: NDArray[np.int64], rows: int, frequency_hz: float, half_band_hz: float, bin_ps: int
) -> tuple[float, float]:
    """Frequency of the highest peak within the band, in Hz, and its confidence in bits."""
    count_bins = int(t_ps[-1] - t_ps[0]) // bin_ps + 1
    bins = np.zeros((rows, count_bins), np.complex128)
    demodulate(t_ps, row, frequency_hz, bin_ps, bins)
    padded = 1 << (2 * count_bins - 1).bit_length()  # at least twofold: at worst a peak falls a quarter of its width beside a point
    counts = np.maximum(np.bincount(row, minlength=rows), 1)
    power = (np.abs(np.fft.fft(bins, padded, axis=1)) ** 2 / counts[:, None]).sum(axis=0)
    offset_hz = np.fft.fftfreq(padded, bin_ps * 1e-12)
    power[np.abs(offset_hz) > half_band_hz] = 0.0
    place = int(power.argmax())
    trials = max(1, int(np.count_nonzero(np.abs(offset_hz) <= half_band_hz)))
    bits = -(_gamma_tail_log(float(power[place]), rows) + math.log(trials)) / math.log(2.0)
    return frequency_hz + float(offset_hz[place]), bits


def _gamma_tail_log(value: float, shape: int) -> float:
    """Natural logarithm of P[sum of ``shape`` unit exponentials > value]."""
    terms = [k * math.log(value) - math.lgamma(k + 1) for k in range(shape)] if value > 0.0 else [0.0]
    return float(np.logaddexp.reduce(terms)) - value


def _refined(
    t_ps: NDArray[np.int64],
    channel: NDArray[np.uint8],
    row_of_channel: NDArray[np.int64],
    used: NDArray[np.uint8],
    count: int,
    frequency_hz: float,
    half_band_hz: float,
    bits: float,
) -> Acquisition:
    """Narrow the frequency down by doubling the stretch, each time searching what the last one left open."""
    uncertain_hz = min(0.5e12 / max(1, int(t_ps[count - 1] - t_ps[0])), half_band_hz)
    while True:
        duration_s = max(1, int(t_ps[count - 1] - t_ps[0])) * 1e-12
        step_hz = 0.1 / duration_s
        half_steps = math.ceil(uncertain_hz / step_hz) + 1
        row = row_of_channel[channel[:count]]
        phasors = np.zeros((used.size, 2 * half_steps + 1), np.complex128)
        periodogram(t_ps[:count], row, frequency_hz - half_steps * step_hz, step_hz, phasors)
        counts = np.maximum(np.bincount(row, minlength=used.size), 1)
        power = (np.abs(phasors) ** 2 / counts[:, None]).sum(axis=0)
        place = int(power[1:-1].argmax()) + 1
        left, middle, right = power[place - 1 : place + 2]
        bend = left - 2.0 * middle + right
        frequency_hz += (place - half_steps + (0.5 * (left - right) / bend if bend < 0.0 else 0.0)) * step_hz
        uncertain_hz = 0.25 / duration_s
        if count >= min(t_ps.size, REFINE_TAGS) or duration_s >= REFINE_SECONDS:
            break
        doubled = min(2 * count, t_ps.size)
        if int(t_ps[doubled - 1] - t_ps[0]) * 1e-12 > max(REFINE_SECONDS, 4.0 * duration_s):
            break  # a long pause follows: leave it to the tracking
        count = doubled
    phase = np.angle(_phasor_at(t_ps[:count], row, used.size, frequency_hz)) / (2.0 * math.pi)
    skew_periods = np.zeros(256, np.float64)
    # phasors are sums of exp(-2 pi i f t): a channel that lags has the more negative angle
    skew_periods[used] = phase[int(counts.argmax())] - phase
    contrast = math.sqrt(max(0.0, float(power[place]) - used.size) / count)
    return Acquisition(frequency_hz, uncertain_hz, min(1.0, contrast), skew_periods, bits)


def _phasor_at(t_ps: NDArray[np.int64], row: NDArray[np.int64], rows: int, frequency_hz: float) -> NDArray[np.complex128]:
    phasors = np.zeros((rows, 1), np.complex128)
    periodogram(t_ps, row, frequency_hz, 0.0, phasors)
    return phasors[:, 0]
