"""What anybody on the network can provoke is logged at once, then ever more seldom."""

import io

import pytest
import structlog

from common.observability.logs import FIRST_SILENCE_SECONDS, LONGEST_SILENCE_SECONDS, SparingLogger, configure_logs


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def out():
    written = io.StringIO()
    configure_logs("info", "json", written)
    yield written
    structlog.reset_defaults()


def test_a_flood_of_one_event_is_written_in_a_few_lines(out):
    clock = Clock()
    sparing = SparingLogger("door", clock)
    for _ in range(10_000):
        sparing.warning("stranger refused")
        clock.now += 0.01

    assert out.getvalue().count("stranger refused") == 7  # after 0, 1, 3, 7, 15, 31 and 63 seconds of 100


def test_one_event_does_not_silence_another(out):
    sparing = SparingLogger("door", Clock())
    for event in ("one", "other", "one"):
        sparing.warning(event, count=1)

    assert [line.count('"event": "one"') for line in out.getvalue().splitlines()] == [1, 0]


def test_in_the_end_a_line_a_minute_is_written_and_after_calm_the_next_at_once(out):
    clock = Clock()
    sparing = SparingLogger("door", clock)
    for _ in range(2000):
        sparing.warning("stranger refused")
        clock.now += 1.0
    written = out.getvalue().count("stranger refused")
    assert 2000 / LONGEST_SILENCE_SECONDS < written < 2000 / LONGEST_SILENCE_SECONDS + 10

    clock.now += 3 * LONGEST_SILENCE_SECONDS
    for _ in range(2):
        sparing.warning("stranger refused")
        clock.now += 1.01 * FIRST_SILENCE_SECONDS
    assert out.getvalue().count("stranger refused") == written + 2
