"""Kernels of clock recovery: demodulate tags, measure periodicity, follow the phase and smooth it.

They are Bob's own because only he has time tags. ``bob.periodogram`` and ``bob.phase_tracking`` call them; every one has a slow
reference in ``tests/reference/clock.py``. Phases are in periods (1 = a whole period), frequencies in Hz of Bob's clock, times int64 ps.
Differences of times are taken as integers before they become floats, so hours of picoseconds lose nothing.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from common.kernels.jit import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

TWO_PI = 2.0 * math.pi

SECONDS_PER_PS = 1e-12


@kernel
def turned(cycles: float) -> tuple[float, float]:
    """Cosine and sine of 2 pi ``cycles``.

    Whole cycles are taken off before anything is multiplied, and what is left of the nearest quarter is at most an eighth of a cycle, where
    the first terms of both series do: they are within 3e-14 and take a third of the time of the library's two calls. Nothing in it
    branches or looks up, so a loop over it is done in vectors.

    Parameters
    ----------
    cycles : float
        Any number below 2^49.

    Returns
    -------
    tuple[float, float]
        Cosine and sine.
    """
    quarters = np.floor(4.0 * cycles + 0.5)
    angle = TWO_PI * (cycles - 0.25 * quarters)
    square = angle * angle
    cosine = 1.0 / 479001600.0 - square / 87178291200.0
    cosine = -1.0 / 3628800.0 + square * cosine
    cosine = 1.0 / 40320.0 + square * cosine
    cosine = -1.0 / 720.0 + square * cosine
    cosine = 1.0 / 24.0 + square * cosine
    cosine = 1.0 + square * (-1.0 / 2.0 + square * cosine)
    sine = -1.0 / 39916800.0 + square / 6227020800.0
    sine = 1.0 / 362880.0 + square * sine
    sine = -1.0 / 5040.0 + square * sine
    sine = 1.0 / 120.0 + square * sine
    sine = angle * (1.0 + square * (-1.0 / 6.0 + square * sine))
    quarter = quarters - 4.0 * np.floor(0.25 * quarters)
    odd = (quarter == 1.0) | (quarter == 3.0)
    across, along = (sine, cosine) if odd else (cosine, sine)
    return (-across if (quarter == 1.0) | (quarter == 2.0) else across), (-along if quarter >= 2.0 else along)


@kernel
def sum_turned(cycles: NDArray[np.float64], count: int, cosines: NDArray[np.float64], sines: NDArray[np.float64]) -> tuple[float, float]:
    """Sum cosine and sine of 2 pi ``cycles``, in order.

    Parameters
    ----------
    cycles : float64[n]
        Any numbers below 2^49.
    count : int
        How many of them, at most n.
    cosines, sines : float64[n]
        Scratch: kept apart from the sum, they are computed in vectors.

    Returns
    -------
    tuple[float, float]
        Sum of the cosines and of the sines.
    """
    for i in range(count):
        cosines[i], sines[i] = turned(cycles[i])
    real = 0.0
    imaginary = 0.0
    for i in range(count):
        real += cosines[i]
        imaginary += sines[i]
    return real, imaginary


@kernel
def phasors_of(cycles: NDArray[np.float64], phasors: NDArray[np.complex128]) -> None:
    """Compute exp(2 pi i c) for every c of ``cycles``.

    Parameters
    ----------
    cycles : float64[n]
        Any numbers below 2^49.
    phasors : complex128[n]
        Output.
    """
    for i in range(cycles.size):
        cosine, sine = turned(cycles[i])
        phasors[i] = complex(cosine, sine)


@kernel
def demodulate(
    t_ps: NDArray[np.int64],
    row: NDArray[np.int64],
    frequency_hz: float,
    bin_ps: int,
    bins: NDArray[np.complex128],
) -> None:
    """Add exp(-2 pi i f t) of every tag to its time bin, one row of bins per channel.

    The Fourier transform of a row is then the periodogram of the tags around ``frequency_hz``, for a fraction of the direct cost.

    Parameters
    ----------
    t_ps : int64[n], picoseconds
        Non-decreasing; the first opens bin 0.
    row : int64[n]
        Row of ``bins`` each tag is added to.
    frequency_hz : float, Hz
        Frequency that becomes zero.
    bin_ps : int, picoseconds
        Width of a bin; the last tag must fall within the last bin.
    bins : complex128[rows, count_bins]
        Output, added to.
    """
    for i in range(t_ps.size):
        elapsed_ps = t_ps[i] - t_ps[0]
        cosine, sine = turned(elapsed_ps * SECONDS_PER_PS * frequency_hz)
        bins[row[i], elapsed_ps // bin_ps] += complex(cosine, -sine)


@kernel
def periodogram(
    t_ps: NDArray[np.int64],
    row: NDArray[np.int64],
    first_hz: float,
    step_hz: float,
    phasors: NDArray[np.complex128],
) -> None:
    """Sum exp(-2 pi i f (t - t[0])) over the tags of each row, for equally spaced frequencies.

    Parameters
    ----------
    t_ps : int64[n], picoseconds
        Non-decreasing.
    row : int64[n]
        Row of ``phasors`` each tag is added to.
    first_hz, step_hz : float, Hz
        Frequency of column 0 and distance of the columns.
    phasors : complex128[rows, count_frequencies]
        Output, added to.

    References
    ----------
    The Rayleigh power ``|sum|^2 / n`` is exponentially distributed with mean 1 where the tags know nothing of the frequency: Leahy, Elsner
    and Weisskopf 1983, ApJ 272, 256; status: rigorous for Poisson tags.
    """
    for i in range(t_ps.size):
        elapsed_s = (t_ps[i] - t_ps[0]) * SECONDS_PER_PS
        cosine, sine = turned(elapsed_s * first_hz)
        phasor = complex(cosine, -sine)
        cosine, sine = turned(elapsed_s * step_hz)
        turn = complex(cosine, -sine)
        for j in range(phasors.shape[1]):
            phasors[row[i], j] += phasor
            phasor *= turn


@kernel
def split_windows(t_ps: NDArray[np.int64], count_least: int, least_ps: int, most_ps: int, starts: NDArray[np.int64]) -> int:
    """Cut the tags into windows of at least ``count_least`` tags and ``least_ps``, unless they would last longer than ``most_ps``.

    Parameters
    ----------
    t_ps : int64[n], picoseconds
        Non-decreasing.
    count_least : int
        Tags a window should hold.
    least_ps, most_ps : int, picoseconds
        A window ends before it lasts ``most_ps``, even with fewer tags.
    starts : int64[n + 1]
        Output: index of the first tag of each window, then ``n``.

    Returns
    -------
    int
        Number of windows; ``starts`` holds one entry more.
    """
    count = 0
    starts[0] = 0
    if t_ps.size == 0:
        return 0
    first, opened_ps = 0, t_ps[0]
    for i in range(1, t_ps.size):
        lasted_ps = t_ps[i] - opened_ps
        if (i - first >= count_least and lasted_ps >= least_ps) or lasted_ps > most_ps:
            count += 1
            starts[count] = i
            first, opened_ps = i, t_ps[i]
    count += 1
    starts[count] = t_ps.size
    return count


@kernel
def follow_phase(
    t_ps: NDArray[np.int64],
    channel: NDArray[np.uint8],
    skew_periods: NDArray[np.float64],
    starts: NDArray[np.int64],
    count_used: int,
    frequency_hz: float,
    frequency_sigma_hz: float,
    wander: float,
    least_power: float,
    knot_t_ps: NDArray[np.int64],
    knot_cycle: NDArray[np.int64],
    knot_fraction: NDArray[np.float64],
    knot_measured: NDArray[np.bool_],
) -> int:
    """Follow phase and frequency window by window: a two-state Kalman filter, which is a phase-locked loop with the right gains.

    In each window the mean phasor of the tags measures by how much the predicted phase is off. A window with too little power is coasted
    through; the lock is lost where the prediction no longer knows the cycle, or where three windows running contradict it.

    Parameters
    ----------
    t_ps : int64[n], picoseconds
        Non-decreasing.
    channel : uint8[n]
        Channel of each tag.
    skew_periods : float64[256], periods
        Phase of each channel, subtracted.
    starts : int64[windows + 1]
        Tags of window j are ``starts[j]`` up to ``starts[j + 1]``.
    count_used : int
        Most tags used in a window, evenly picked.
    frequency_hz, frequency_sigma_hz : float, Hz
        Frequency at the start and its standard deviation.
    wander : float, 1/sqrt(s)
        Random walk of the relative frequency.
    least_power : float
        Rayleigh power ``|sum|^2 / n`` below which a window is not believed.
    knot_t_ps, knot_cycle, knot_fraction, knot_measured : int64, int64, float64, bool [windows]
        Outputs: mean time of the window, the whole and fractional cycle there, and whether the window was believed.

    Returns
    -------
    int
        Windows followed before the lock was lost; all of them if it never was.

    References
    ----------
    Kalman filter for a clock with random-walk frequency: Zucca and Tavella 2005, IEEE Trans. UFFC 52, 289; status: planning (an
    estimator, checked against a dense solution in the tests).
    """
    count_windows = starts.size - 1
    cycle = np.int64(0)
    fraction = 0.0
    rate_hz = frequency_hz
    cov_pp = 0.25
    cov_pr = 0.0
    cov_rr = frequency_sigma_hz * frequency_sigma_hz
    noise = (wander * frequency_hz) ** 2
    before_ps = t_ps[starts[0]]
    contradictions = 0
    anchored = False
    cycles, cosines, sines = np.empty(count_used), np.empty(count_used), np.empty(count_used)
    for j in range(count_windows):
        first = starts[j]
        count = starts[j + 1] - first
        stride = max(1, (count + count_used - 1) // count_used)
        picked = 0
        total_ps = np.int64(0)
        for i in range(first, first + count, stride):
            total_ps += t_ps[i] - t_ps[first]
            picked += 1
        middle_ps = t_ps[first] + total_ps // picked
        elapsed_s = (middle_ps - before_ps) * SECONDS_PER_PS
        advanced = fraction + rate_hz * elapsed_s
        whole = math.floor(advanced + 0.5)
        cycle += np.int64(whole)
        fraction = advanced - whole
        cov_pp += elapsed_s * (2.0 * cov_pr + elapsed_s * cov_rr) + noise * elapsed_s**3 / 3.0
        cov_pr += elapsed_s * cov_rr + noise * elapsed_s**2 / 2.0
        cov_rr += noise * elapsed_s
        before_ps = middle_ps
        if anchored and cov_pp > 0.0225:  # 0.15 periods: beyond it a prediction may be off by a whole cycle
            return j
        picked = 0
        for i in range(first, first + count, stride):
            cycles[picked] = fraction + rate_hz * ((t_ps[i] - middle_ps) * SECONDS_PER_PS) - skew_periods[channel[i]]
            picked += 1
        real, imaginary = sum_turned(cycles, picked, cosines, sines)
        power = (real * real + imaginary * imaginary) / picked
        knot_measured[j] = False
        if power >= least_power:
            ahead = math.atan2(imaginary, real) / TWO_PI
            variance = 1.0 / (2.0 * TWO_PI * TWO_PI * power)
            spread = cov_pp + variance
            if anchored and abs(ahead) > 0.1 + 5.0 * math.sqrt(spread):
                contradictions += 1
                if contradictions == 3:
                    return j - 2
            else:
                gain_p = cov_pp / spread
                gain_r = cov_pr / spread
                fraction -= gain_p * ahead
                rate_hz -= gain_r * ahead
                cov_rr -= gain_r * cov_pr
                cov_pr -= gain_p * cov_pr
                cov_pp -= gain_p * cov_pp
                contradictions = 0
                anchored = True
                knot_measured[j] = True
        knot_t_ps[j] = middle_ps
        knot_cycle[j] = cycle
        knot_fraction[j] = fraction
    return count_windows


@kernel
def window_phasors(
    phase_periods: NDArray[np.float64],
    starts: NDArray[np.int64],
    count_used: int,
    harmonic: int,
    phasors: NDArray[np.complex128],
    counts: NDArray[np.int64],
) -> None:
    """Sum exp(2 pi i h phase) over evenly picked tags of each window.

    Parameters
    ----------
    phase_periods : float64[n], periods
        Phase of each tag.
    starts : int64[windows + 1]
        Tags of window j are ``starts[j]`` up to ``starts[j + 1]``.
    count_used : int
        Most tags used in a window.
    harmonic : int
        h.
    phasors : complex128[windows]
        Output: the sums.
    counts : int64[windows]
        Output: tags in each sum.
    """
    cycles, cosines, sines = np.empty(count_used), np.empty(count_used), np.empty(count_used)
    for j in range(starts.size - 1):
        stride = max(1, (starts[j + 1] - starts[j] + count_used - 1) // count_used)
        picked = 0
        for i in range(starts[j], starts[j + 1], stride):
            cycles[picked] = harmonic * phase_periods[i]
            picked += 1
        real, imaginary = sum_turned(cycles, picked, cosines, sines)
        phasors[j] = complex(real, imaginary)
        counts[j] = picked


@kernel
def smooth_phase(
    t_s: NDArray[np.float64],
    phase: NDArray[np.float64],
    variance: NDArray[np.float64],
    rate_sigma_hz: float,
    wander_hz: float,
    smoothed: NDArray[np.float64],
    smoothed_variance: NDArray[np.float64],
) -> float:
    """Smooth measured phases of a clock whose frequency walks at random (Kalman forward, Rauch-Tung-Striebel backward).

    Parameters
    ----------
    t_s : float64[n], seconds
        Increasing, n >= 1.
    phase : float64[n], periods
        Measured phase less that of a clock of constant frequency; its prior at the first time is N(0, 1).
    variance : float64[n], periods^2
        Of each measurement.
    rate_sigma_hz : float, Hz
        Prior standard deviation of the frequency deviation at the first time.
    wander_hz : float, Hz/sqrt(s)
        Random walk of the frequency.
    smoothed, smoothed_variance : float64[n], periods and periods^2
        Outputs: phase given all measurements, and its variance.

    Returns
    -------
    float
        Natural logarithm of the probability density of the measurements: which ``wander_hz`` explains them best.

    References
    ----------
    Rauch, Tung and Striebel 1965, AIAA J. 3, 1445, eq. (3.30) ff.; status: planning (an estimator).
    """
    n = t_s.size
    noise = wander_hz * wander_hz
    filtered = np.zeros((n, 5))  # phase, rate, covariances pp pr rr after each measurement
    predicted = np.zeros((n, 5))  # the same before it
    log_density = 0.0
    for j in range(n):
        if j == 0:
            predicted[j, 2] = 1.0
            predicted[j, 4] = rate_sigma_hz * rate_sigma_hz
        else:
            elapsed = t_s[j] - t_s[j - 1]
            predicted[j, 0] = filtered[j - 1, 0] + elapsed * filtered[j - 1, 1]
            predicted[j, 1] = filtered[j - 1, 1]
            pp, pr, rr = filtered[j - 1, 2], filtered[j - 1, 3], filtered[j - 1, 4]
            predicted[j, 2] = pp + elapsed * (2.0 * pr + elapsed * rr) + noise * elapsed**3 / 3.0
            predicted[j, 3] = pr + elapsed * rr + noise * elapsed**2 / 2.0
            predicted[j, 4] = rr + noise * elapsed
        innovation = phase[j] - predicted[j, 0]
        spread = predicted[j, 2] + variance[j]
        log_density -= 0.5 * (math.log(TWO_PI * spread) + innovation * innovation / spread)
        gain_p = predicted[j, 2] / spread
        gain_r = predicted[j, 3] / spread
        filtered[j, 0] = predicted[j, 0] + gain_p * innovation
        filtered[j, 1] = predicted[j, 1] + gain_r * innovation
        filtered[j, 2] = predicted[j, 2] * variance[j] / spread
        filtered[j, 3] = predicted[j, 3] * variance[j] / spread
        filtered[j, 4] = predicted[j, 4] - gain_r * predicted[j, 3]
    later = filtered[n - 1].copy()
    smoothed[n - 1] = later[0]
    smoothed_variance[n - 1] = later[2]
    for j in range(n - 2, -1, -1):
        elapsed = t_s[j + 1] - t_s[j]
        pp, pr, rr = filtered[j, 2], filtered[j, 3], filtered[j, 4]
        qpp, qpr, qrr = predicted[j + 1, 2], predicted[j + 1, 3], predicted[j + 1, 4]
        determinant = qpp * qrr - qpr * qpr
        # smoother gain C = P F^T Q^-1, written out for two states
        fpp, fpr, frp, frr = pp + elapsed * pr, pr, pr + elapsed * rr, rr
        cpp = (fpp * qrr - fpr * qpr) / determinant
        cpr = (fpr * qpp - fpp * qpr) / determinant
        crp = (frp * qrr - frr * qpr) / determinant
        crr = (frr * qpp - frp * qpr) / determinant
        dp = later[0] - predicted[j + 1, 0]
        dr = later[1] - predicted[j + 1, 1]
        dpp, dpr, drr = later[2] - qpp, later[3] - qpr, later[4] - qrr
        later[0] = filtered[j, 0] + cpp * dp + cpr * dr
        later[1] = filtered[j, 1] + crp * dp + crr * dr
        later[2] = pp + cpp * (cpp * dpp + cpr * dpr) + cpr * (cpp * dpr + cpr * drr)
        later[3] = pr + crp * (cpp * dpp + cpr * dpr) + crr * (cpp * dpr + cpr * drr)
        later[4] = rr + crp * (crp * dpp + crr * dpr) + crr * (crp * dpr + crr * drr)
        smoothed[j] = later[0]
        smoothed_variance[j] = later[2]
    return log_density
