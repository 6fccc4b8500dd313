"""The kernels of clock recovery against their slow references."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bob.clock_kernels import (
    demodulate,
    follow_phase,
    periodogram,
    phasors_of,
    smooth_phase,
    split_windows,
    sum_turned,
    turned,
    window_phasors,
)
from tests.reference.clock import (
    slow_demodulate,
    slow_follow_phase,
    slow_periodogram,
    slow_phasors_of,
    slow_smooth_phase,
    slow_split_windows,
    slow_sum_turned,
    slow_turned,
    slow_window_phasors,
)

tag_times = st.lists(st.integers(-(10**10), 10**10), min_size=1, max_size=60).map(lambda times: np.sort(np.array(times, np.int64)))
seeds = st.integers(0, 2**32 - 1)


@given(eighths=st.integers(-(2**40), 2**40), beside=st.floats(-0.0625, 0.0625))
def test_a_turn_is_a_cosine_and_a_sine(eighths, beside):
    cycles = eighths / 8 + beside

    assert np.allclose(turned(cycles), slow_turned(cycles), rtol=0.0, atol=1e-13)


@given(cycles=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=70), spare=st.integers(0, 9))
def test_many_turns_are_the_turns_of_each(cycles, spare):
    """Whatever the length, since the vectors of a loop end anywhere in it; what lies behind the count is not looked at."""
    padded = np.array([*cycles, *[np.nan] * spare])
    phasors = np.empty(len(cycles), np.complex128)

    phasors_of(padded[: len(cycles)], phasors)
    real, imaginary = sum_turned(padded, len(cycles), np.empty(padded.size), np.empty(padded.size))

    assert np.allclose(phasors, slow_phasors_of(cycles), rtol=0.0, atol=1e-8)
    assert phasors.tolist() == [complex(*turned(c)) for c in cycles]
    assert np.isclose(complex(real, imaginary), slow_sum_turned(cycles), rtol=0.0, atol=1e-7)


@given(t_ps=tag_times, seed=seeds, frequency_hz=st.floats(1e3, 1e9), bin_ps=st.integers(10**8, 10**11))
def test_demodulated_bins_are_the_sums_written_out(t_ps, seed, frequency_hz, bin_ps):
    row = np.random.default_rng(seed).integers(0, 3, t_ps.size)
    bins = np.zeros((3, int(t_ps[-1] - t_ps[0]) // bin_ps + 1), np.complex128)

    demodulate(t_ps, row, frequency_hz, bin_ps, bins)

    assert np.allclose(bins, slow_demodulate(t_ps, row, frequency_hz, bin_ps, bins.shape), atol=1e-5)


@given(t_ps=tag_times, seed=seeds, first_hz=st.floats(1e3, 1e9), step_hz=st.floats(0.0, 1e3), columns=st.integers(1, 20))
def test_the_periodogram_is_the_sum_written_out(t_ps, seed, first_hz, step_hz, columns):
    row = np.random.default_rng(seed).integers(0, 2, t_ps.size)
    phasors = np.zeros((2, columns), np.complex128)

    periodogram(t_ps, row, first_hz, step_hz, phasors)

    assert np.allclose(phasors, slow_periodogram(t_ps, row, first_hz, step_hz, phasors.shape), atol=1e-5)


@given(t_ps=tag_times, count_least=st.integers(1, 9), least_ps=st.integers(0, 10**10), most_ps=st.integers(0, 2 * 10**10))
def test_windows_are_cut_where_the_reference_cuts_them(t_ps, count_least, least_ps, most_ps):
    starts = np.zeros(t_ps.size + 1, np.int64)

    count = split_windows(t_ps, count_least, least_ps, most_ps, starts)

    assert starts[: count + 1].tolist() == slow_split_windows(t_ps, count_least, least_ps, most_ps)


@pytest.mark.parametrize("jump_periods", [0.0, 0.4])
@given(seed=seeds, share_true=st.floats(0.0, 1.0), pause_s=st.sampled_from([0.0, 0.01, 30.0]))
def test_the_loop_is_the_kalman_filter_in_matrices(jump_periods, seed, share_true, pause_s):
    generator = np.random.default_rng(seed)
    frequency_hz = 1e6
    pulses = np.sort(generator.integers(0, 20_000, 200))
    t_s = pulses / frequency_hz * (1.0 + 1e-6) + generator.normal(0.0, 3e-8, 200)
    t_s = np.where(generator.random(200) < share_true, t_s, generator.random(200) * 0.02)
    t_s = np.sort(t_s)
    t_s[120:] += pause_s + jump_periods / frequency_hz
    t_ps = np.rint(t_s * 1e12).astype(np.int64)
    channel = generator.integers(0, 2, 200).astype(np.uint8)
    skew = np.zeros(256)
    skew[1] = 0.05
    starts = np.arange(0, 201, 20)
    t, cycle, fraction, believed = np.zeros(10, np.int64), np.zeros(10, np.int64), np.zeros(10), np.zeros(10, np.bool_)

    followed = follow_phase(t_ps, channel, skew, starts, 7, frequency_hz, 5.0, 1e-8, 3.0, t, cycle, fraction, believed)
    expected, knots = slow_follow_phase(t_ps, channel, skew, starts, 7, frequency_hz, 5.0, 1e-8, 3.0)

    assert followed == expected
    for j, (middle, coordinate, accepted) in enumerate(knots[:followed]):
        assert (t[j], believed[j]) == (middle, accepted)
        assert cycle[j] + fraction[j] == pytest.approx(coordinate, abs=1e-5)


@given(seed=seeds, cuts=st.sets(st.integers(1, 99), max_size=8), count_used=st.integers(1, 40), harmonic=st.integers(1, 5000))
def test_window_phasors_are_the_sums_written_out(seed, cuts, count_used, harmonic):
    phase = np.random.default_rng(seed).uniform(-0.5, 0.5, 100)
    starts = np.array([0, *sorted(cuts), 100], np.int64)
    phasors, counts = np.zeros(starts.size - 1, np.complex128), np.zeros(starts.size - 1, np.int64)

    window_phasors(phase, starts, count_used, harmonic, phasors, counts)
    expected, expected_counts = slow_window_phasors(phase, starts, count_used, harmonic)

    assert np.allclose(phasors, expected, atol=1e-6)
    assert np.array_equal(counts, expected_counts)


@given(seed=seeds, n=st.integers(1, 12), wander_hz=st.floats(1e-3, 10.0), rate_sigma_hz=st.floats(1e-2, 10.0))
def test_the_smoother_is_the_dense_gaussian_solution(seed, n, wander_hz, rate_sigma_hz):
    generator = np.random.default_rng(seed)
    t_s = np.cumsum(generator.uniform(0.05, 1.0, n))
    phase, variance = generator.normal(0.0, 0.5, n), generator.uniform(0.01, 0.5, n)
    smoothed, spread = np.zeros(n), np.zeros(n)

    log_density = smooth_phase(t_s, phase, variance, rate_sigma_hz, wander_hz, smoothed, spread)
    expected, expected_spread, expected_density = slow_smooth_phase(t_s, phase, variance, rate_sigma_hz, wander_hz)

    assert np.allclose(smoothed, expected, atol=1e-6)
    assert np.allclose(spread, expected_spread, atol=1e-6)
    assert log_density == pytest.approx(expected_density, rel=1e-6, abs=1e-6)
