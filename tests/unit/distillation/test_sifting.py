"""Sifting: what both ends keep, and the block rule, held to by the half that hears the announcement."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from common.channel.fields import MAXIMUM_ITEMS
from common.channel.messages import DetectionAnnouncement, SiftingReply
from common.conversation.rehearsal import rehearse
from common.distillation.sifting import FRESH_BYTES, MOST_ANNOUNCEMENTS, MOST_GROUP_DETECTIONS, GroupProgress, announce, sift
from common.distillation.values import FramedDetections
from common.errors import RemoteProtocolError
from common.kernels.gaps import encode_gaps
from tests.support.links import tiny_recipe

RECIPE = dataclasses.replace(tiny_recipe("ldpc"), frame_pulses=100, test_fractions=(0.25, 1.0))
SETTINGS = np.random.default_rng(3).integers(0, 4, 2000).astype(np.uint8)
SLOTS = np.sort(np.random.default_rng(4).choice(np.arange(200, 700), 120, replace=False)).astype(np.int64)
OUTCOMES = np.random.default_rng(5).integers(0, 4, SLOTS.size).astype(np.uint8)
PROGRESS = GroupProgress(first_slot=100, next_frame=1, frames_left=5, detections_left=1000, blocks_left=3)
CROSS = np.array([205, 650], np.int64)


def detections(first_frame=1, count_frames=5, slots=SLOTS, outcomes=OUTCOMES, ended=False):
    edges = 100 + np.arange(first_frame, first_frame + count_frames + 1) * 100
    return FramedDetections(first_frame, np.diff(np.searchsorted(slots, edges)), slots, outcomes, CROSS, ended)


def look_up(slots):
    return SETTINGS[slots]


def test_both_ends_keep_the_same_rounds():
    (ours,), (theirs,), said = rehearse(sift(RECIPE, PROGRESS, look_up), announce(RECIPE, PROGRESS, lambda *_: detections()))

    assert [type(message) for message in said] == [DetectionAnnouncement, SiftingReply]
    matched = RECIPE.protocol.bases_of(SETTINGS[SLOTS]) == OUTCOMES >> 1
    assert ours.key.bits.count + ours.tested_bits.count == np.count_nonzero(matched)
    for mine, yours in ((ours.key.bases, theirs.key.bases), (ours.tested_bases, theirs.tested_bases)):
        assert mine == yours
    assert ours.key.bases.ones() == 0  # X is disclosed whole
    assert (ours.count_frames, ours.count_detections, ours.count_cross_clicks) == (5, 120, 2)
    assert ours.closes_block
    assert ours.closes_group
    assert PROGRESS.after(RECIPE, 5, 120, closes_block=False) == GroupProgress(100, 6, 0, 880, 3, 120)
    opened = GroupProgress(100, 6, RECIPE.maximum_frames, RECIPE.target_detections, 2, 120)
    assert PROGRESS.after(RECIPE, 5, 120, closes_block=True) == opened


def test_tested_rounds_are_chosen_afresh_every_time():
    runs = [rehearse(sift(RECIPE, PROGRESS, look_up), announce(RECIPE, PROGRESS, lambda *_: detections())) for _ in range(4)]

    assert len({getattr(said[1], "tested", None) for _, _, said in runs}) == 4


def carried_out(effect):
    return effect.function(*effect.arguments) if hasattr(effect, "function") else bytes(effect.count_bytes)


def test_fresh_bytes_are_drawn_when_the_measurement_is_finished_and_never_before():
    half: Any = announce(RECIPE, PROGRESS, lambda *_: detections())
    effect, order = next(half), []
    while not hasattr(effect, "message"):
        order.append("drawn" if hasattr(effect, "count_bytes") else effect.function.__name__)
        effect = half.send(carried_out(effect))

    assert order == ["_taken", "drawn"]
    assert effect.message.fresh == bytes(FRESH_BYTES)


def announcement(**changes):
    half: Any = announce(RECIPE, PROGRESS, lambda *_: detections())
    effect = next(half)
    while not hasattr(effect, "message"):
        effect = half.send(carried_out(effect))
    return dataclasses.replace(effect.message, **changes)


def heard(said, progress=PROGRESS):
    """What the sifting half answers to an announcement."""
    half: Any = sift(RECIPE, progress, look_up)
    next(half)
    effect = half.send(said)
    while not hasattr(effect, "message"):
        assert getattr(effect, "count_bytes", 0) <= 16 * SLOTS.size, "more is drawn than what was announced can need"
        effect = half.send(carried_out(effect))
    return effect.message


COUNTS = tuple(detections().count_per_frame.tolist())

FULL = MOST_GROUP_DETECTIONS - RECIPE.target_detections - SLOTS.size
"""Detections of a group that can take in this announcement and one more block."""

BROKEN: dict[str, tuple[dict[str, Any], GroupProgress]] = {
    "frames skipped": ({"first_frame": 2}, PROGRESS),
    "frames repeated": ({"first_frame": 0}, PROGRESS),
    "too many frames": ({}, dataclasses.replace(PROGRESS, frames_left=4)),
    "no frames": ({"count_per_frame": (), "gaps": b"", "bases": b""}, PROGRESS),
    "closed late": ({}, dataclasses.replace(PROGRESS, detections_left=sum(COUNTS[:-1]))),
    "closed early": ({}, dataclasses.replace(PROGRESS, frames_left=6)),
    "left open": ({"closes_block": False}, PROGRESS),
    "left open at the target": ({"closes_block": False}, dataclasses.replace(PROGRESS, frames_left=9, detections_left=120)),
    "left open at the end": ({"closes_block": False, "ends_stream": True}, PROGRESS),
    "stream ended within a group": ({"ends_stream": True, "closes_group": False}, PROGRESS),
    "group closed within a block": ({"closes_block": False}, dataclasses.replace(PROGRESS, frames_left=9)),
    "group closed and more to follow": ({"more_follow": True}, PROGRESS),
    "group closed and more to follow at the end": ({"more_follow": True, "ends_stream": True}, PROGRESS),
    "group a detection too large": ({"closes_group": False}, dataclasses.replace(PROGRESS, count_detections=FULL + 1)),
    "more bases than detections": ({"bases": bytes(16)}, PROGRESS),
    "group without end": ({"closes_group": False}, dataclasses.replace(PROGRESS, blocks_left=1)),
    "group too large": ({"closes_group": False}, dataclasses.replace(PROGRESS, count_detections=MOST_GROUP_DETECTIONS)),
    "counted in other frames": ({"count_per_frame": (COUNTS[1] + 1, COUNTS[1] - 1, *COUNTS[2:])}, PROGRESS),
    "one too many": ({"count_per_frame": (*COUNTS[:-1], COUNTS[-1] + 1)}, PROGRESS),
    "countless": ({"count_per_frame": (*COUNTS[:-1], 2**62)}, PROGRESS),
    "slots out of the frames": ({"gaps": encode_gaps(SLOTS + 100, 200).tobytes()}, PROGRESS),
    "cross clicks out of the frames": ({"cross_gaps": encode_gaps(CROSS + 100, 200).tobytes()}, PROGRESS),
    "cross clicks countless": ({"count_cross_clicks": 2**32 - 1}, PROGRESS),
    "bases missing": ({"bases": b""}, PROGRESS),
    "gaps cut": ({"gaps": encode_gaps(SLOTS, 200).tobytes()[:-1]}, PROGRESS),
}


@pytest.mark.parametrize("name", BROKEN)
def test_an_announcement_that_breaks_the_block_rule_is_refused(name):
    changes, progress = BROKEN[name]
    with pytest.raises(RemoteProtocolError):
        heard(announcement(**changes), progress)


def test_the_honest_announcement_is_answered():
    assert heard(announcement()).count_detections == SLOTS.size
    assert heard(announcement(), dataclasses.replace(PROGRESS, frames_left=9, detections_left=sum(COUNTS[:-1]) + 1))
    assert heard(announcement(closes_group=False))
    assert heard(announcement(closes_group=False, more_follow=True))
    assert heard(announcement(closes_group=False), dataclasses.replace(PROGRESS, count_detections=FULL))
    assert heard(announcement(closes_group=False), dataclasses.replace(PROGRESS, blocks_left=2))
    assert heard(announcement(), dataclasses.replace(PROGRESS, blocks_left=1))
    assert heard(announcement(closes_block=True, ends_stream=True), dataclasses.replace(PROGRESS, frames_left=9))


@pytest.mark.parametrize(
    "reply", [{"count_detections": 119}, {"kept": b""}, {"kept": bytes(15)}, {"tested": bytes([255] * 15), "kept": bytes(15)}]
)
def test_a_reply_that_does_not_fit_is_refused(reply):
    half: Any = announce(RECIPE, PROGRESS, lambda *_: detections())
    effect = next(half)
    while not hasattr(effect, "message"):
        effect = half.send(carried_out(effect))
    half.send(None)
    fields = {"count_detections": 120, "kept": bytes(15), "tested": bytes(15), "intensities": b""} | reply
    if reply == {"kept": bytes(15)}:
        fields["tested"] = bytes([1] + [0] * 14)
    with pytest.raises(RemoteProtocolError):
        carried_out(half.send(SiftingReply(**fields)))


RECIPE_OF_FRAMES = dataclasses.replace(RECIPE, target_detections=20, maximum_frames=50)


def frame_by_frame(count_frames, ahead=True):
    """A stream that gives a frame at a time, and says how much waits behind it; ends with the last one."""

    def take(first_frame, _most_frames, _wanted):
        inside = (SLOTS >= 100 + first_frame * 100) & (SLOTS < 200 + first_frame * 100)
        behind = int(np.count_nonzero((SLOTS >= 200 + first_frame * 100) & (SLOTS < 100 + (1 + count_frames) * 100)))
        found = detections(first_frame, 1, SLOTS[inside], OUTCOMES[inside], ended=first_frame == count_frames)
        return dataclasses.replace(found, cross_slots=CROSS[:0], count_ahead=behind if ahead else 0)

    return take


def sifted_together(recipe, take, most_blocks=None):
    progress = GroupProgress.opened(recipe, 100, 1, most_blocks)
    ours, theirs, said = rehearse(sift(recipe, progress, look_up), announce(recipe, progress, take))
    for mine, yours in zip(ours, theirs, strict=True):
        assert mine.key.bases == yours.key.bases
        assert mine.tested_bases == yours.tested_bases
        assert (mine.closes_block, mine.closes_group, mine.ends_stream) == (yours.closes_block, yours.closes_group, yours.ends_stream)
    return ours, [message for message in said if isinstance(message, DetectionAnnouncement)]


def test_what_has_come_in_already_is_announced_before_the_first_answer_and_in_one_group():
    batches, said = sifted_together(RECIPE_OF_FRAMES, frame_by_frame(5))

    assert len(batches) == 5
    assert [message.more_follow for message in said] == [True] * 4 + [False]
    assert [batch.closes_group for batch in batches] == [False] * 4 + [True]
    assert sum(batch.closes_block for batch in batches) > 1
    assert batches[-1].ends_stream


def test_what_has_not_come_in_is_not_waited_for():
    batches, said = sifted_together(dataclasses.replace(RECIPE_OF_FRAMES, target_detections=1000), frame_by_frame(5, ahead=False))

    assert len(batches) == len(said) == 1
    assert not said[0].more_follow
    assert not batches[0].closes_block


def test_a_group_takes_in_no_block_for_which_too_few_detections_have_come_in():
    def take(*wanted):
        return dataclasses.replace(frame_by_frame(5)(*wanted), count_ahead=RECIPE_OF_FRAMES.target_detections - 1)

    batches, said = sifted_together(RECIPE_OF_FRAMES, take)
    assert sum(batch.closes_block for batch in batches) == 1
    assert batches[-1].closes_group
    assert not said[-1].more_follow


def test_a_burst_ends_with_its_announcements_or_its_bytes(monkeypatch):
    recipe = dataclasses.replace(RECIPE_OF_FRAMES, target_detections=1000)
    for limit, value, count in (("MOST_ANNOUNCEMENTS", 3, 3), ("MOST_BURST_BYTES", 1, 2)):
        with monkeypatch.context() as patched:
            patched.setattr(f"common.distillation.sifting.{limit}", value)
            _, said = sifted_together(recipe, lambda *wanted: dataclasses.replace(frame_by_frame(5)(*wanted), count_ahead=10**9))
            assert [message.more_follow for message in said] == [True] * (count - 1) + [False]


def test_a_group_has_no_more_blocks_than_it_may():
    for most in (1, 2):
        batches, _ = sifted_together(RECIPE_OF_FRAMES, frame_by_frame(5), most)
        assert sum(batch.closes_block for batch in batches) == most
        assert [batch.closes_group for batch in batches] == [False] * (len(batches) - 1) + [True]


def test_announcements_without_end_are_refused():
    recipe = dataclasses.replace(RECIPE, target_detections=10**6, maximum_frames=10**6)
    progress = GroupProgress.opened(recipe, 100, 1)
    half: Any = sift(recipe, progress, look_up)
    next(half)
    said = announcement(closes_block=False, closes_group=False, more_follow=True, count_per_frame=(0,), gaps=b"", bases=b"")
    said = dataclasses.replace(said, count_cross_clicks=0, cross_gaps=b"")

    def announce_another(number):
        effect = half.send(dataclasses.replace(said, first_frame=number))
        while type(effect).__name__ != "Receive":
            effect = half.send(carried_out(effect) if not hasattr(effect, "message") else None)

    for number in range(1, MOST_ANNOUNCEMENTS):
        announce_another(number)
    with pytest.raises(RemoteProtocolError, match=f"more than {MOST_ANNOUNCEMENTS}"):
        announce_another(MOST_ANNOUNCEMENTS)


def test_no_announcement_counts_more_frames_than_a_message_holds():
    asked = []

    def take(first_frame, most_frames, _wanted):
        asked.append(most_frames)
        return detections(first_frame, 5, ended=True)

    rehearse(
        sift(RECIPE, dataclasses.replace(PROGRESS, frames_left=10**6), look_up),
        announce(RECIPE, dataclasses.replace(PROGRESS, frames_left=10**6), take),
    )
    assert asked == [MAXIMUM_ITEMS]
