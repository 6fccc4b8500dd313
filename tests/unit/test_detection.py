"""Detection: the rules for gate, dead time and multi-clicks, each on a handful of tags."""

import math

import numpy as np
import pytest

from bob.clock_recovery import PulseClock
from bob.detection import detect
from bob.gating import Gate
from bob.kernels import FLAG_DOUBLE, NOT_A_DETECTOR
from bob.reading import Reading, outcomes_by_channel
from common.errors import ConfigurationError

READING = Reading.of_polarisation({"H": 0, "V": 1, "D": 2, "A": 3, "sync": 7})
CLOCK = PulseClock.steady(1e9, 0)
GATE = Gate(0.0, 400.0)


class ScriptedRandomness:
    def __init__(self, data=b""):
        self.data = data
        self.drawn = []

    def draw(self, count_bytes):
        self.drawn.append(count_bytes)
        return self.data[:count_bytes]


def detections(tags, *, gate=GATE, dead_time_ps=0, previous_ps=-(10**9), randomness=None, clock=CLOCK, reading=READING):
    t_ps, channel = np.array([t for t, _ in tags], np.int64), np.array([c for _, c in tags], np.uint8)
    return detect(t_ps, channel, clock, gate, reading, dead_time_ps, randomness or ScriptedRandomness(), previous_ps=previous_ps)


def test_clicks_in_the_gate_are_detections_and_others_are_counted():
    found = detections([(-150, 0), (1250, 1), (2010, 7), (3199, 2), (4200, 3), (4800, 3)])

    assert found.slot.tolist() == [0, 3, 5]
    assert found.outcome.tolist() == [0, 2, 3]
    assert (found.counts.tags, found.counts.other_tags, found.counts.in_gate, found.counts.out_of_gate) == (5, 1, 3, 2)
    assert found.counts.background_in_gate == pytest.approx(2 * 400 / 600)


def test_two_clicks_of_one_basis_become_a_random_bit():
    tags = [(0, 0), (0, 1), (1000, 3), (1010, 2), (2000, 0), (3000, 1), (3050, 0)]

    randomness = ScriptedRandomness(b"\x05")
    found = detections(tags, randomness=randomness)

    assert found.slot.tolist() == [0, 1, 2, 3]
    assert found.outcome.tolist() == [1, 2, 0, 1]
    assert found.flags.tolist() == [FLAG_DOUBLE, FLAG_DOUBLE, 0, FLAG_DOUBLE]
    assert (found.counts.doubles, randomness.drawn) == (3, [1])


def test_clicks_of_both_bases_are_counted_and_never_keyed():
    found = detections([(0, 0), (10, 2), (1000, 1), (2000, 3), (2000, 1), (2000, 0)])

    assert found.slot.tolist() == [1]
    assert found.cross_slot.tolist() == [0, 2]
    assert (found.counts.cross_clicks, found.counts.doubles) == (2, 0)


def test_two_clicks_of_one_detector_are_one():
    found = detections([(-10, 2), (20, 2)])

    assert (found.slot.tolist(), found.outcome.tolist(), found.flags.tolist()) == ([0], [2], [0])


@pytest.mark.parametrize("disturber", [0, 1, 2, 3])
@pytest.mark.parametrize("at_ps", [500, 1000], ids=["out of gate", "in gate"])
def test_any_tag_of_any_detector_makes_the_following_rounds_dead(disturber, at_ps):
    found = detections([(at_ps, disturber), (5000, 0), (6000, 1), (9000, 3)], dead_time_ps=4000)

    # the gate of slot 5 opens at 4800, that of 6 at 5800, of 9 at 8800: the click at 5000 lies too short before the last two
    assert found.slot.tolist() == ([1] if at_ps == 1000 else []) + ([5] if at_ps == 500 else [])
    assert found.counts.dead_rounds == (2 if at_ps == 500 else 3)


def test_a_dead_time_that_ends_as_the_gate_opens_is_over():
    assert detections([(-700, 0), (1000, 1)], dead_time_ps=1500).slot.tolist() == [1]
    assert detections([(-700, 0), (1000, 1)], dead_time_ps=1501).slot.tolist() == []


def test_cross_clicks_in_dead_rounds_are_dropped_too():
    found = detections([(0, 0), (1000, 0), (1000, 2)], dead_time_ps=2000)

    assert (found.slot.tolist(), found.cross_slot.tolist(), found.counts.dead_rounds) == ([0], [], 1)


def test_a_stream_begins_with_detectors_that_may_be_dead():
    tags = [(0, 0), (1000, 1), (9000, 2)]

    assert detections(tags, dead_time_ps=2000, previous_ps=None).slot.tolist() == [9]
    assert detections(tags, dead_time_ps=0, previous_ps=None).slot.tolist() == [0, 1, 9]
    assert detections(tags[1:], dead_time_ps=2000, previous_ps=0).slot.tolist() == [9]


def test_a_gate_across_the_border_of_two_slots_belongs_to_one():
    found = detections([(450, 0), (550, 0), (1450, 1)], gate=Gate(-500.0, 300.0))

    assert found.slot.tolist() == [1, 2]
    assert found.counts.in_gate == 3


def test_a_gate_of_a_whole_period_keeps_everything():
    found = detections([(-500, 0), (499, 1), (500, 1)], gate=Gate(0.0, 5000.0), randomness=ScriptedRandomness(b"\x00"))

    assert found.slot.tolist() == [0, 1]
    assert math.isnan(found.counts.background_in_gate)


def test_nothing_is_detected_where_the_clock_was_not_locked():
    clock = PulseClock(
        CLOCK.knot_t_ps, CLOCK.knot_slot, CLOCK.knot_fraction, CLOCK.slots_per_ps,
        np.array([0, 5000]), np.array([2000, 9000]), 1e9, 1e9,
    )  # fmt: skip
    found = detections([(-1000, 0), (0, 0), (2000, 1), (3000, 2), (5000, 3), (9000, 0), (10_000, 0)], clock=clock)

    assert found.slot.tolist() == [0, 2, 5, 9]
    assert found.counts.unlocked == 3


@pytest.mark.parametrize(
    ("begins", "ends"),
    [([0], [2000]), ([0, 2010], [2000, 9000]), ([0, 7000], [2000, 9000])],
    ids=["at its end", "another lock", "in a gap"],
)
def test_a_round_in_which_a_click_comes_after_the_lock_has_ended_is_not_used(begins, ends):
    clock = PulseClock(
        np.array([0, 2005]), np.array([0, 7]), np.array([0.0, 0.3]), np.full(2, 1e-3), np.array(begins), np.array(ends), 1e9, 1e9
    )  # behind the jump slots have other numbers and borders
    found = detections([(0, 0), (2000, 1), (2010, 2)], clock=clock)

    assert (found.slot.tolist(), found.cross_slot.tolist(), found.counts.dead_rounds) == ([0], [], 1)


TIME_BINS = Reading.of_time_bins({"P": 0, "M": 1}, 300.0)
"""Gates of 100 ps open at -350, -50 and 250 ps of every slot."""


@pytest.mark.parametrize("tags", [[(-300, 0), (-150, 1)], [(-150, 0), (0, 1)], [(100, 0), (150, 1), (300, 0)]])
def test_a_click_between_two_gates_is_a_second_click(tags):
    found = detections([*tags, (1000, 0)], gate=Gate(0.0, 100.0), reading=TIME_BINS, dead_time_ps=300)

    assert (found.slot.tolist(), found.cross_slot.tolist(), found.counts.dead_rounds) == ([1], [0], 0)


def test_clicks_between_two_gates_alone_say_nothing():
    found = detections([(-150, 0), (150, 1), (2000, 0)], gate=Gate(0.0, 100.0), reading=TIME_BINS)

    assert (found.slot.tolist(), found.cross_slot.tolist(), found.counts.dead_rounds) == ([2], [], 0)


def test_a_dead_slot_counts_no_second_click_either():
    found = detections([(-400, 0), (-300, 1), (-150, 0)], gate=Gate(0.0, 100.0), reading=TIME_BINS, dead_time_ps=100)

    assert (found.slot.size, found.cross_slot.size, found.counts.dead_rounds) == (0, 0, 1)


def test_no_tags_make_no_detections():
    found = detections([], dead_time_ps=100, previous_ps=None)

    assert (found.slot.size, found.cross_slot.size, found.counts.tags) == (0, 0, 0)


def test_the_channel_map_names_outcomes_and_refuses_ambiguity():
    outcomes = outcomes_by_channel({"H": 3, "V": 2, "R": 1, "L": 0, "sync": 4})

    assert outcomes[:5].tolist() == [3, 2, 1, 0, NOT_A_DETECTOR]
    for wrong in ({"sync": 1}, {"H": 0, "V": 0}, {"H": 0, "D": 1, "R": 2}, {"H": 256}, {}):
        with pytest.raises(ConfigurationError, match="channels"):
            outcomes_by_channel(wrong)
    with pytest.raises(ConfigurationError, match="dead_time_ps"):
        detections([], dead_time_ps=-1)
