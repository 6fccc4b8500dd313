"""Slow references of Bob's clock kernels: sums written out, a loop of small matrices, and one dense Gaussian solution."""

import cmath
import math

import numpy as np


def slow_turned(cycles):
    angle = 2.0 * math.pi * (cycles - math.floor(cycles))
    return math.cos(angle), math.sin(angle)


def slow_sum_turned(cycles):
    """Of every kernel that turns many: a complex sum of unit phasors."""
    return sum((complex(*slow_turned(c)) for c in cycles), 0j)


def slow_phasors_of(cycles):
    return np.array([complex(*slow_turned(c)) for c in cycles], complex)


def slow_demodulate(t_ps, row, frequency_hz, bin_ps, shape):
    bins = np.zeros(shape, complex)
    for t, r in zip(t_ps.tolist(), row.tolist(), strict=True):
        elapsed = t - int(t_ps[0])
        bins[r, elapsed // bin_ps] += cmath.exp(-2j * math.pi * math.fmod(elapsed * 1e-12 * frequency_hz, 1.0))
    return bins


def slow_periodogram(t_ps, row, first_hz, step_hz, shape):
    phasors = np.zeros(shape, complex)
    for t, r in zip(t_ps.tolist(), row.tolist(), strict=True):
        elapsed_s = (t - int(t_ps[0])) * 1e-12
        for j in range(shape[1]):
            phasors[r, j] += cmath.exp(-2j * math.pi * elapsed_s * (first_hz + j * step_hz))
    return phasors


def slow_split_windows(t_ps, count_least, least_ps, most_ps):
    windows: list[int] = []
    for i, t in enumerate(t_ps.tolist()):
        if windows:
            first = windows[-1]
            lasted = t - int(t_ps[first])
            full = i - first >= count_least and lasted >= least_ps
        if not windows or full or lasted > most_ps:
            windows.append(i)
    return [*windows, t_ps.size]


def slow_follow_phase(t_ps, channel, skew_periods, starts, count_used, frequency_hz, frequency_sigma_hz, wander, least_power):
    """The same filter with two-by-two matrices; knots as (time, coordinate, believed), whole and fraction in one float."""
    state = np.array([0.0, frequency_hz])
    covariance = np.diag([0.25, frequency_sigma_hz**2])
    before = int(t_ps[starts[0]])
    knots: list[tuple[int, float, bool]] = []
    contradictions, anchored = 0, False
    for j in range(len(starts) - 1):
        count = starts[j + 1] - starts[j]
        picked = np.arange(starts[j], starts[j + 1], max(1, -(-count // count_used)))
        first = int(t_ps[starts[j]])
        middle = first + sum(int(t_ps[i]) - first for i in picked) // len(picked)
        dt = (middle - before) * 1e-12
        move = np.array([[1.0, dt], [0.0, 1.0]])
        state = move @ state
        covariance = move @ covariance @ move.T + (wander * frequency_hz) ** 2 * np.array([[dt**3 / 3, dt**2 / 2], [dt**2 / 2, dt]])
        before = middle
        if anchored and covariance[0, 0] > 0.15**2:
            return j, knots
        phases = [state[0] + state[1] * (int(t_ps[i]) - middle) * 1e-12 - skew_periods[channel[i]] for i in picked]
        total = sum(cmath.exp(2j * math.pi * phase) for phase in phases)
        power = abs(total) ** 2 / len(picked)
        believed = False
        if power >= least_power:
            ahead = cmath.phase(total) / (2 * math.pi)
            variance = 1 / (8 * math.pi**2 * power)
            spread = covariance[0, 0] + variance
            if anchored and abs(ahead) > 0.1 + 5 * math.sqrt(spread):
                contradictions += 1
                if contradictions == 3:
                    return j - 2, knots[: j - 2]
            else:
                gain = covariance[:, 0] / spread
                state = state - gain * ahead
                covariance = covariance - np.outer(gain, covariance[0])
                contradictions, anchored, believed = 0, True, True
        knots.append((middle, state[0], believed))
    return len(starts) - 1, knots


def slow_window_phasors(phase, starts, count_used, harmonic):
    sums, counts = [], []
    for first, last in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
        picked = phase[first : last : max(1, -(-(last - first) // count_used))]
        sums.append(sum(cmath.exp(2j * math.pi * harmonic * p) for p in picked.tolist()))
        counts.append(len(picked))
    return np.array(sums), np.array(counts)


def slow_smooth_phase(t_s, phase, variance, rate_sigma_hz, wander_hz):
    """Condition the whole Gaussian process on the measurements at once: a line plus the integral of a random walk."""
    since = t_s - t_s[0]
    early, late = np.minimum.outer(since, since), np.maximum.outer(since, since)
    prior = 1.0 + rate_sigma_hz**2 * np.outer(since, since) + wander_hz**2 * early**2 * (3 * late - early) / 6
    total = prior + np.diag(variance)
    smoothed = prior @ np.linalg.solve(total, phase)
    spread = np.diag(prior - prior @ np.linalg.solve(total, prior))
    log_density = -0.5 * (phase @ np.linalg.solve(total, phase) + np.linalg.slogdet(total)[1] + t_s.size * math.log(2 * math.pi))
    return smoothed, spread, log_density
