"""The gate: one window for all detectors, chosen from earlier data."""

import numpy as np
import pytest

from bob.clock_recovery import PulseClock
from bob.gating import SHOWN_TAGS, Gate, PhaseHistogram, choose_gate, phase_histogram, renewed, windows_ps
from bob.reading import outcomes_by_channel
from common.errors import ConfigurationError, StreamError

CHANNELS = {"H": 0, "V": 1, "D": 2, "A": 3, "sync": 4}


def histogram(centre_ps, sigma_ps, background, seed=1, detectors=4, period_ps=4000.0):
    generator = np.random.default_rng(seed)
    rows = []
    for _ in range(detectors):
        phases = np.concatenate(
            [generator.normal(centre_ps, sigma_ps, 20_000), generator.uniform(-2000.0, 2000.0, int(20_000 * background))]
        )
        rows.append(np.histogram((phases + 2000.0) % 4000.0 - 2000.0, bins=256, range=(-2000.0, 2000.0))[0])
    return PhaseHistogram(np.array(rows), period_ps)


@pytest.mark.parametrize("centre_ps", [-1900.0, 0.0, 700.0, 1990.0])
def test_a_gate_of_given_width_sits_on_the_peak_wherever_it_is(centre_ps):
    choice = choose_gate(histogram(centre_ps, 100.0, 0.2), width_ps=500.0)

    off_ps = (choice.gate.centre_ps - centre_ps + 2000.0) % 4000.0 - 2000.0
    assert abs(off_ps) < 30.0
    assert choice.gate.width_ps == 500.0
    assert choice.signal_kept_ratio == pytest.approx(0.988, abs=0.01)  # 2.5 sigma either way
    assert choice.kept_ratio == pytest.approx((0.988 + 0.2 / 8) / 1.2, abs=0.01)
    assert choice.background_ratio == pytest.approx(0.025 / 1.013, rel=0.1)
    assert choice.kept_ratio_per_detector == pytest.approx(np.full(4, choice.kept_ratio), abs=0.01)


def test_more_background_makes_the_chosen_gate_narrower():
    widths_ps = [choose_gate(histogram(0.0, 300.0, background)).gate.width_ps for background in (0.001, 0.1, 1.0)]

    assert widths_ps[0] > widths_ps[1] > widths_ps[2]


@pytest.mark.parametrize("centre_ps", [0.0, 500.0, 1990.0])
def test_a_gate_as_wide_as_the_period_keeps_everything_and_never_splits_the_pulse(centre_ps):
    choice = choose_gate(histogram(centre_ps, 100.0, 0.1), width_ps=9000.0)

    off_ps = (choice.gate.centre_ps - centre_ps + 2000.0) % 4000.0 - 2000.0
    assert choice.gate.width_ps == 4000.0
    assert abs(off_ps) < 1500.0  # the border lies at least five sigma from the pulse
    assert choice.kept_ratio == 1.0


def test_a_gate_as_wide_as_the_period_begins_just_before_a_pulse_with_a_long_tail_rises():
    """A photon later than one period falls into the next slot whatever the gate; of the others at most 0.05 % may."""
    delays_ps = np.random.default_rng(2).exponential(600.0, 20_000) + 1234.0
    folded = np.histogram((delays_ps + 2000.0) % 4000.0 - 2000.0, bins=256, range=(-2000.0, 2000.0))[0]
    choice = choose_gate(PhaseHistogram(np.tile(folded, (4, 1)), 4000.0), width_ps=4000.0)

    begins_before_rise_ps = (1234.0 - (choice.gate.centre_ps - 2000.0)) % 4000.0
    assert np.mean((delays_ps - 1234.0 > 4000.0 - begins_before_rise_ps) & (delays_ps - 1234.0 < 4000.0)) < 0.0005


def test_the_histogram_counts_detectors_by_outcome_and_nothing_else():
    clock = PulseClock.steady(1e9, 0)
    t_ps = np.array([0, 1000, 1250, 2400, 3000], np.int64)
    channel = np.array([0, 1, 1, 4, 3], np.uint8)

    counted = phase_histogram(t_ps, channel, clock, outcomes_by_channel(CHANNELS), count_bins=4)

    assert counted.counts.tolist() == [[0, 0, 1, 0], [0, 0, 1, 1], [0, 0, 0, 0], [0, 0, 1, 0]]
    assert counted.centres_ps.tolist() == [-375.0, -125.0, 125.0, 375.0]


def test_no_gate_is_made_of_nothing():
    with pytest.raises(StreamError, match="no gate"):
        choose_gate(PhaseHistogram(np.zeros((4, 8), np.int64), 4000.0))
    with pytest.raises(ConfigurationError, match="width"):
        Gate(0.0, 0.0)


def test_what_is_looked_at_forgets_old_phases_and_does_not_grow():
    early = PhaseHistogram(np.full((4, 8), 1000), 4000.0)
    late = PhaseHistogram(np.zeros((4, 8), np.int64), 4001.0)
    late.counts[0, 3] = 1000

    shown = renewed(None, early)
    for _ in range(200):
        shown = renewed(shown, late)

    assert shown.period_ps == 4001.0
    assert SHOWN_TAGS // 2 <= shown.counts.sum() <= SHOWN_TAGS + 1000
    assert shown.counts[0, 3] == shown.counts.sum()


def test_windows_lie_within_the_period_and_are_as_wide_as_the_gate():
    assert windows_ps(Gate(100.0, 500.0), 4000.0) == [(-150.0, 350.0)]
    assert windows_ps(Gate(1900.0, 500.0), 4000.0) == [(1650.0, 2000.0), (-2000.0, -1850.0)]
    assert windows_ps(Gate(700.0, 4000.0), 4000.0) == [(-2000.0, 2000.0)]
    assert windows_ps(Gate(0.0, 200.0), 4000.0, 3, 1000.0) == [(-1100.0, -900.0), (-100.0, 100.0), (900.0, 1100.0)]
