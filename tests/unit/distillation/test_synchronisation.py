"""Matching of slots: what is given away never becomes key, and attempts are bounded."""

from typing import Any

import numpy as np
import pytest

from common.channel.messages import ClockReport, FrameRange
from common.conversation.rehearsal import rehearse
from common.distillation.synchronisation import ATTEMPTS, Frames, SacrificedDetections, match_slots, report_clock
from common.errors import AbortReason, BlockAborted, RemoteProtocolError
from tests.support.links import FRAME_PULSES, tiny_recipe

RECIPE = tiny_recipe("ldpc")
GIVEN = SacrificedDetections(np.array([3, 8, 20], np.int64), np.array([0, 3, 1], np.uint8), 1)


def finds(offset, on_attempt=0):
    asked = []

    def find(slots, outcomes, stride):
        asked.append((slots.tolist(), outcomes.tolist(), stride))
        return offset if len(asked) > on_attempt else None

    return find, asked


def test_both_ends_agree_and_frames_begin_behind_what_was_given_away():
    find, asked = finds(100)
    ours, theirs, said = rehearse(match_slots(RECIPE, 50, 10 * FRAME_PULSES, find), report_clock(lambda _attempt: GIVEN))

    assert ours == theirs == Frames(100, 121, (10 * FRAME_PULSES - 71) // FRAME_PULSES)
    assert asked == [([3, 8, 20], [0, 3, 1], 1)]
    assert [type(message) for message in said] == [ClockReport, FrameRange]


def test_later_stretches_are_tried_and_then_the_clock_is_given_up():
    find, asked = finds(0, on_attempt=2)
    attempts = []

    def sacrifice(attempt):
        attempts.append(attempt)
        return GIVEN

    ours, _, _ = rehearse(match_slots(RECIPE, 0, 100_000, find), report_clock(sacrifice))
    assert attempts == [0, 1, 2]
    assert ours.first_slot == 21

    find, asked = finds(0, on_attempt=99)
    with pytest.raises(BlockAborted) as aborted:
        rehearse(match_slots(RECIPE, 0, 100_000, find), report_clock(lambda _attempt: GIVEN))
    assert aborted.value.reason is AbortReason.CLOCK_NOT_FOUND
    assert len(asked) == ATTEMPTS


def test_nothing_to_give_away_is_no_match():
    nothing = SacrificedDetections(np.zeros(0, np.int64), np.zeros(0, np.uint8), 1)
    with pytest.raises(BlockAborted):
        rehearse(match_slots(RECIPE, 0, 1000, finds(0)[0]), report_clock(lambda _attempt: nothing))


@pytest.mark.parametrize("first_slot", [120, 0, -(2**62)])
def test_frames_that_begin_among_what_was_given_away_are_refused(first_slot):
    half: Any = report_clock(lambda _attempt: GIVEN)
    effect = next(half)
    while not hasattr(effect, "message"):
        effect = half.send(effect.function(*effect.arguments))
    half.send(None)
    with pytest.raises(RemoteProtocolError, match="frames begin before"):
        half.send(FrameRange(True, 100, first_slot, 5))


@pytest.mark.parametrize(
    "changes",
    [{"outcomes": b"\0\0"}, {"outcomes": b"\0\0\4"}, {"stride": 0}, {"count_detections": 2**32 - 1}, {"gaps": b""}, {"gaps": b"\xff"}],
)
def test_a_report_that_does_not_hang_together_is_refused(changes):
    half: Any = report_clock(lambda _attempt: GIVEN)
    effect = next(half)
    while not hasattr(effect, "message"):
        effect = half.send(effect.function(*effect.arguments))
    fields = {name: getattr(effect.message, name) for name in ClockReport.__slots__} | changes
    answering: Any = match_slots(RECIPE, 0, 1000, finds(0)[0])
    next(answering)
    effects = []

    def carry_on():
        effects.append(answering.send(ClockReport(**fields)))
        while True:
            effects.append(answering.send(effects[-1].function(*effects[-1].arguments)))

    with pytest.raises(RemoteProtocolError):
        carry_on()
