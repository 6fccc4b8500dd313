"""A tunnel without fresh keys keeps the last one or is closed, as was chosen; time is whatever the test says."""

import pytest

from common.tunnels.freshness import Freshness, Rhythm, WhenShort

RHYTHM = Rhythm(renew_seconds=120.0, longest_seconds=600.0, check_seconds=10.0, proof_seconds=300.0)


def changed(when_short, at=0.0):
    freshness = Freshness(RHYTHM, when_short)
    freshness.changed(at)
    return freshness


@pytest.mark.parametrize(
    ("now", "is_due", "is_short"), [(0.0, False, False), (119.9, False, False), (120.0, True, False), (600.0, True, True)]
)
@pytest.mark.parametrize("when_short", WhenShort)
def test_a_key_is_changed_when_it_is_due_and_too_old_later(when_short, now, is_due, is_short):
    freshness = changed(when_short)

    assert freshness.age(now) == now
    assert freshness.is_due(now) == is_due
    assert freshness.is_short(now) == is_short
    assert freshness.has_to_close(now) == (is_short and when_short is WhenShort.CLOSE)


@pytest.mark.parametrize("when_short", WhenShort)
def test_before_the_first_key_nobody_knows_how_old_the_one_before_is(when_short):
    freshness = Freshness(RHYTHM, when_short)

    assert freshness.age(5.0) is None
    assert freshness.is_due(5.0)
    assert freshness.has_to_close(5.0) == (when_short is WhenShort.CLOSE)


def test_a_closed_tunnel_is_closed_once_and_opened_by_the_next_key():
    freshness = changed(WhenShort.CLOSE)
    freshness.closed()
    assert freshness.is_closed
    assert not freshness.has_to_close(1000.0)
    freshness.changed(1000.0)
    assert not freshness.is_closed
    assert freshness.has_to_close(1600.0)


@pytest.mark.parametrize(
    ("now", "proven_seconds_ago", "is_failing"),
    [(299.0, None, False), (300.0, None, True), (300.0, 299.0, False), (300.0, 300.0, True), (10.0, 5000.0, False)],
)
def test_a_proof_is_missed_only_once_the_key_is_old_enough_for_one(now, proven_seconds_ago, is_failing):
    assert changed(WhenShort.KEEP).is_failing(now, proven_seconds_ago) == is_failing
    assert not Freshness(RHYTHM, WhenShort.KEEP).is_failing(now, proven_seconds_ago)
