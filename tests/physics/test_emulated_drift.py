"""Drift of the emulated link: the law of the walk, the errors it makes, and that plates and shifter undo it."""

from math import cos, exp, pi, sqrt

import numpy as np
import pytest

from common.emulator.actuators import ActuatorBoard, link_actuators
from common.emulator.drift import PLATES, SHIFTER, Drift
from common.emulator.link import LinkEmulator, emulate
from common.errors import ConfigurationError
from common.profiles.link import load_profile
from tests.physics.links import clicks, link, matched
from tests.physics.statistics import SIGMAS, assert_binomial, assert_mean

RUNS = 1000


def walked(profile, seconds, steps, seed):
    rng = np.random.default_rng(seed)
    drift = Drift(profile, rng)
    for _ in range(steps):
        drift.walk(seconds / steps, rng)
    return drift.rotation


@pytest.mark.parametrize("steps", [25, 100])
def test_a_state_wanders_as_a_walk_on_the_sphere(steps):
    # Of three independent turns of variance s^2 a step two move the state: the mean cosine falls by (1 + 2 (1 - s^2) exp(-s^2/2)) / 3.
    profile, seconds = link("channel.drift_rate=0.1"), 25.0
    kept = np.array([walked(profile, seconds, steps, seed)[0, 0] for seed in range(RUNS)])
    variance = 0.01 * seconds / steps

    assert_mean(kept, ((1 + 2 * (1 - variance) * exp(-variance / 2)) / 3) ** steps, float(kept.std()))
    assert kept.mean() == pytest.approx(exp(-0.01 * seconds), abs=0.03)


def test_the_variance_of_the_phase_grows_with_time_and_its_mean_creeps():
    profile = load_profile("timebin-120km", ["channel.drift_rate=0.02", "channel.drift_slope=0.004"])
    for seconds in (25.0, 100.0):
        turns = [walked(profile, seconds, 50, seed) for seed in range(RUNS)]
        phase = np.array([np.arctan2(turn[2, 1], turn[1, 1]) for turn in turns])
        sigma = 0.02 * sqrt(seconds)

        assert_mean(phase, 0.004 * seconds, sigma)
        assert abs(phase.var() / sigma**2 - 1) < SIGMAS * sqrt(2 / RUNS)


def qber_of_bases(emulation):
    _, outcomes, settings = clicks(emulation)
    sifted = matched(outcomes, settings)
    return [
        (int((outcomes != settings)[sifted & (outcomes >> 1 == basis)].sum()), int((sifted & (outcomes >> 1 == basis)).sum()))
        for basis in (0, 1)
    ]


def test_the_errors_of_a_basis_follow_from_its_axis():
    profile = link('channel.drift_start="anywhere"')
    running = LinkEmulator(profile, 0.02, seed=5)
    turned = running.drift.rotation
    stretch = running.next_stretch()

    for basis, (wrong, count) in enumerate(qber_of_bases(stretch)):
        assert_binomial(wrong, count, 0.5 * (1 - 0.96 * turned[basis, basis]))


def test_the_errors_follow_a_plate_that_is_turned():
    running = LinkEmulator(link(), 0.02, seed=6)
    board = ActuatorBoard(link_actuators(running), lambda: running.link_seconds)
    board.answer(b'{"set": "plate2", "value": 0.2}')
    (wrong_z, count_z), (wrong_x, count_x) = qber_of_bases(running.next_stretch())

    # Between quarter-wave plates at 0 a half-wave plate turns the sphere by four times its angle about the axis of X.
    assert_binomial(wrong_z, count_z, 0.5 * (1 - 0.96 * cos(0.8)))
    assert_binomial(wrong_x, count_x, 0.02)


def test_the_shifter_turns_the_interference_and_nothing_else():
    settings = ["channel.loss_db=0.0", "source.mean_photon_number=0.5", "channel.drift_slope=0.0"]
    running = LinkEmulator(load_profile("timebin-120km", settings), 0.02, seed=7)
    running.drift.turn(SHIFTER, pi / 3)

    found = running._receiver
    running.next_stretch()
    assert found._optics.flipped[2, 1] == pytest.approx(0.5 * (1 - 0.93 * cos(pi / 3)))
    assert found._optics.flipped[0, 0] == pytest.approx(0.01)


def test_a_link_without_drift_draws_nothing_for_it():
    profile = link()
    still = emulate(profile, 0.01, seed=8)
    slow = emulate(link("channel.drift_rate=1e-9"), 0.01, seed=8)

    assert Drift(profile, np.random.default_rng()).longest_seconds == float("inf")
    assert not np.array_equal(still.tags.t_ps, slow.tags.t_ps)  # what drifts takes from the same generator


def test_a_fast_drift_shortens_the_stretches():
    profile = link("channel.drift_rate=0.5", "channel.loss_db=40.0")
    running = LinkEmulator(profile, 1.0, seed=9)
    running.next_stretch()

    assert running.link_seconds <= (0.02 / 0.5) ** 2 * 1.01


@pytest.mark.parametrize("value", ["1e4", "NaN", "Infinity", '"much"', "true"])
def test_positions_that_make_no_sense_are_refused(value):
    running = LinkEmulator(link(), 1.0, seed=1)
    board = ActuatorBoard(link_actuators(running), lambda: 0.0)

    assert b'"error": "plate1: ' in board.answer(b'{"set": "plate1", "value": ' + value.encode() + b"}")
    assert running.drift.positions == dict.fromkeys(PLATES, 0.0)


def test_a_slope_belongs_to_time_bins():
    with pytest.raises(ConfigurationError, match=r"channel.drift_slope = 0.01: it belongs to encoding = 'time-bin'"):
        link("channel.drift_slope=0.01")
