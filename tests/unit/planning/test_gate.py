"""Arrival times and gates of the planner."""

from math import erf, exp, sqrt

import numpy as np
import pytest

from common.planning.dead_time import blocked_slots, live_ratio
from common.planning.gate import Gate

AT_ONCE = (np.zeros(1), np.ones(1))


def test_a_pulse_without_width_passes_any_gate():
    assert Gate.best(0.0, 0.0, 100.0).share(0.0) == 1.0
    assert Gate.best(0.0, 0.0, 100.0).share(1000.0) == 0.0


def test_a_sharp_exponential_is_cut_at_the_end_of_the_gate():
    gate = Gate.best(600.0, 0.0, 1000.0)
    assert gate.share(0.0) == pytest.approx(1.0 - exp(-1000.0 / 600.0))
    assert gate.share(4000.0) == pytest.approx(exp(-4000.0 / 600.0) * gate.share(0.0))


def test_a_normal_pulse_is_gated_around_its_centre():
    gate = Gate.best(0.0, 50.0, 200.0)
    assert gate.start_ps == pytest.approx(-100.0, abs=1e-3)
    assert gate.share(0.0) == pytest.approx(erf(2.0 / sqrt(2.0)))


@pytest.mark.parametrize(("lifetime_ps", "jitter_ps"), [(592.5, 30.0), (592.5, 500.0), (1.0, 300.0), (0.0, 50.0)])
def test_a_gate_of_one_period_loses_nothing_and_a_narrow_one_keeps_less(lifetime_ps, jitter_ps):
    gate = Gate.best(lifetime_ps, jitter_ps, 4386.0)
    assert sum(gate.share(slot * 4386.0) for slot in range(-8, 9)) == pytest.approx(1.0, abs=1e-6)
    assert 0.0 < Gate.best(lifetime_ps, jitter_ps, 200.0).share(0.0) < gate.share(0.0)


@pytest.mark.parametrize(("lifetime_ps", "jitter_ps", "width_ps"), [(592.5, 30.0, 1500.0), (300.0, 300.0, 500.0), (75.8, 42.0, 3420.0)])
def test_no_other_place_keeps_more(lifetime_ps, jitter_ps, width_ps):
    best = Gate.best(lifetime_ps, jitter_ps, width_ps)
    for off_ps in (-50.0, -5.0, 5.0, 50.0):
        assert Gate(best.start_ps + off_ps, width_ps, lifetime_ps, jitter_ps).share(0.0) <= best.share(0.0) + 1e-12


def test_the_second_of_two_photons_follows_within_a_laplace_distribution():
    gate = Gate.best(500.0, 0.0, 1000.0)
    assert gate.follows_within(0.0) == pytest.approx(0.5)
    assert gate.follows_within(700.0) == pytest.approx(1.0 - 0.5 * exp(-1.4))
    assert gate.follows_within(-700.0) == pytest.approx(0.5 * exp(-1.4))


@pytest.mark.parametrize("dead_time_ps", [3_000.0, 25_000.0, 9_995_000.0])
def test_a_click_without_width_blocks_whole_slots(dead_time_ps):
    whole = dead_time_ps // 10_000.0
    assert blocked_slots(Gate.best(0.0, 0.0, 1000.0), dead_time_ps, 10_000.0, *AT_ONCE) == (whole, whole)


def test_a_late_click_blocks_a_slot_more():
    gate = Gate.best(0.0, 1.0, 1000.0)
    dropped, lost = blocked_slots(gate, 25_000.0, 10_000.0, np.array([0.0, 8_000.0]), np.array([0.5, 0.5]))
    assert dropped == pytest.approx(2.5)
    assert lost == pytest.approx(2.0)  # three where a late click is followed by early ones, one the other way round


def test_no_dead_time_blocks_nothing():
    assert blocked_slots(Gate.best(500.0, 500.0, 1000.0), 0.0, 1000.0, *AT_ONCE) == (0.0, 0.0)


@pytest.mark.parametrize(("count", "probability", "slots"), [(4, 0.01, 8), (4, 0.02, 8), (2, 0.04, 3), (4, 0.002, 20)])
def test_ports_that_never_click_together_are_live_as_often_as_in_a_simulation(count, probability, slots):
    """A million slots; the tolerance of 0.005 is 5 standard deviations of correlated slots at most. Product alone is off by up to 0.01."""
    rng = np.random.default_rng(6)
    clicks = np.minimum((rng.random(1_000_000) / probability).astype(np.int64), count)
    last, live = [-(10**9)] * count, 0
    for slot, port in enumerate(clicks.tolist()):
        live += slot - max(last) > slots
        if port < count and slot - last[port] > slots:
            last[port] = slot

    each = np.full((1, count), probability)
    (expected,) = live_ratio(each, np.zeros((1, count, count)), (slots, slots), 0.0)
    assert live / clicks.size == pytest.approx(expected, abs=0.005)
    assert expected < (1.0 + slots * probability) ** -count
