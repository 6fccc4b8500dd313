"""Bob's clock starts from cold within two seconds of a thousand detections each, wherever record and clock begin."""

import pytest

from tests.physics.clock_starts import MISPLACED_RATIO, PROFILES, start


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("name", PROFILES)
def test_the_clock_starts_from_cold_and_the_slots_are_matched(name, seed):
    came = start(name, seed, 2.0, 1000.0)

    assert came.outcome == "found"
    assert came.misplaced <= MISPLACED_RATIO * came.detections


@pytest.mark.parametrize("name", ["niedersachsen", "hefei"])
def test_a_clock_that_wanders_over_a_fibre_that_grows_is_followed(name):
    wander = ("receiver.clock_wander_ppm=0.001", "channel.delay_swing_ps=100000", "channel.delay_period_s=60")
    came = start(name, 5, 6.0, 5000.0, *wander)

    assert came.outcome == "found"
    assert came.misplaced <= 0.01 * came.detections


def test_too_little_light_is_said_to_be_no_clock_and_never_a_wrong_one():
    assert start("hefei", 3, 2.0, 20.0).outcome in {"no clock", "unmatched"}
