"""What the planner says before a link runs."""

import pytest

from common.cli.expectation import HOPELESS_SECONDS, PATIENCE, compared, expectation, expected_seconds, expected_secret_bits
from common.planning.expected import expected_block
from common.profiles.link import load_profile

NIEDERSACHSEN = load_profile("niedersachsen")


def test_key_comes_in_whole_blocks():
    block = expected_block(NIEDERSACHSEN)
    seconds = block.counts.pulses / NIEDERSACHSEN.source.clock_hz

    assert expected_seconds(NIEDERSACHSEN, 1) == expected_seconds(NIEDERSACHSEN, block.key.secret_bits) == seconds
    assert expected_seconds(NIEDERSACHSEN, block.key.secret_bits + 1) == 2 * seconds
    assert expected_secret_bits(NIEDERSACHSEN, 2 * block.counts.pulses) == 2 * block.key.secret_bits


def test_a_link_is_given_up_after_three_times_the_expectation():
    expected = expectation(NIEDERSACHSEN, 48_000)

    assert expected.seconds is not None
    assert expected.limit_seconds == PATIENCE * expected.seconds


def test_a_limit_closes_the_last_block_early():
    assert expectation(NIEDERSACHSEN, 48_000, 60.0).seconds == 60.0
    assert expectation(NIEDERSACHSEN, 48_000, 5.0).seconds is None
    assert expectation(NIEDERSACHSEN, 48_000, 1e4).seconds == expected_seconds(NIEDERSACHSEN, 48_000)


def test_a_link_without_hope_is_shown_for_a_while():
    hopeless = load_profile("niedersachsen", ["channel.loss_db=60"])

    assert expectation(hopeless, 48_000).seconds is None
    assert expectation(hopeless, 48_000).limit_seconds == HOPELESS_SECONDS


def test_the_planner_is_asked_for_the_pulses_that_were_used():
    block = expected_block(NIEDERSACHSEN)
    pulses = [block.counts.pulses, block.counts.pulses // 2]
    report = {"blocks": [{"counts": {"pulses": count}} for count in pulses] + [{}], "pulses": sum(pulses)}

    beside = compared(NIEDERSACHSEN, report, expectation(NIEDERSACHSEN, 48_000))

    assert beside["secret_bits"] == sum(expected_block(NIEDERSACHSEN, count).key.secret_bits for count in pulses)
    assert beside["detections"] == pytest.approx(1.5 * block.counts.detections, rel=1e-6)
