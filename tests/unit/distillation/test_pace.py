"""How many groups are under way, and by which method, from distance and rate."""

import pytest

from common.distillation.pace import FEWEST_GROUPS, MOST_BITS_UNDER_WAY, MOST_GROUPS, NEAR_GROUPS, Pace


def test_a_near_or_unknown_peer_has_the_usual_number():
    assert Pace().groups_in_flight == NEAR_GROUPS
    assert Pace(0.0, 1e8, 1 << 24).groups_in_flight == NEAR_GROUPS
    assert Pace(group_bits=1 << 20, near_groups=1).groups_in_flight == 1


def test_distance_and_rate_ask_for_more():
    counts = [Pace(seconds, 4e7, 1 << 24).groups_in_flight for seconds in (0.001, 0.005, 0.02, 0.05)]

    assert counts == sorted(counts)
    assert counts[0] < counts[-1] <= MOST_GROUPS
    assert Pace(0.02, 4e7, 1 << 24).groups_in_flight >= NEAR_GROUPS + 0.02 * 200 * 4e7 / (1 << 24)


@pytest.mark.parametrize("group_bits", [1 << 24, 1 << 27, 1 << 30])
def test_what_is_under_way_stays_bounded(group_bits):
    count = Pace(0.1, 1e8, group_bits).groups_in_flight

    assert count == FEWEST_GROUPS or count * group_bits <= MOST_BITS_UNDER_WAY


def test_cascade_is_chosen_as_far_as_it_keeps_up_and_where_its_answers_are_free():
    assert Pace(0.02, 4e7).method == "cascade"
    assert Pace(0.6, 4e7).method == "ldpc"
    assert Pace(charges_answers=True).method == "ldpc"
