"""Sifting and disclosure of three states and of decoys: what both ends count, and what a lying peer cannot make them count."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from common.bits import Bits, count_bytes
from common.channel import messages
from common.channel.fields import MAXIMUM_FIELD_BYTES
from common.conversation.rehearsal import rehearse
from common.distillation.disclosure import disclose, errors_by_basis, tally
from common.distillation.recipe import Recipe
from common.distillation.sifting import MOST_DETECTIONS, MOST_WITH_INTENSITIES, GroupProgress, announce, sift
from common.distillation.values import FramedDetections
from common.errors import ConfigurationError, RemoteProtocolError
from common.profiles.link import load_profile

COUNT_SLOTS = 4000
SLOTS = np.sort(np.random.default_rng(1).choice(COUNT_SLOTS, 1500, replace=False)).astype(np.int64)
OUTCOMES = np.random.default_rng(2).integers(0, 4, SLOTS.size).astype(np.uint8)
LINKS = ("hefei", "decoy", "timebin-120km")


def recipe_of(name, *settings):
    return dataclasses.replace(Recipe.of(load_profile(name, settings)), frame_pulses=COUNT_SLOTS, maximum_frames=1, target_detections=10**6)


def settings_of(recipe, seed=3):
    return np.random.default_rng(seed).integers(0, len(recipe.protocol.settings), COUNT_SLOTS).astype(np.uint8)


def detections(*_):
    return FramedDetections(0, np.array([SLOTS.size]), SLOTS, OUTCOMES, np.zeros(0, np.int64), ended=False)


def halves(recipe, settings) -> Any:
    progress = GroupProgress.opened(recipe, 0, 0, 1)
    return sift(recipe, progress, lambda slots: settings[slots]), announce(recipe, progress, detections)


def sifted(recipe, settings):
    (ours,), (theirs,), said = rehearse(*halves(recipe, settings))
    answering: Any = tally([ours], recipe.protocol)
    announcing: Any = disclose([theirs], recipe.protocol)
    (ours,), (theirs,), counted = rehearse(answering, announcing)
    return ours, theirs, said + counted


@pytest.mark.parametrize("name", LINKS)
def test_both_ends_count_what_the_proof_reads(name):
    recipe = recipe_of(name)
    if recipe.test_fractions[0]:  # of so few detections the profile's share might be none at all
        recipe = dataclasses.replace(recipe, test_fractions=(0.2, recipe.test_fractions[1]))
    settings = settings_of(recipe)
    ours, theirs, _ = sifted(recipe, settings)
    sent, protocol = settings[SLOTS], recipe.protocol

    assert ours.table == theirs.table
    assert ours.key_by_intensity == theirs.key_by_intensity
    assert ours.key.bases == theirs.key.bases
    assert ours.key.bases.ones() == 0
    for setting, row in enumerate(ours.table):
        in_x = [int(np.count_nonzero((sent == setting) & (OUTCOMES == outcome))) for outcome in (2, 3)]
        counts = protocol.counts_all_x or protocol.setting_bases[setting] == 1
        assert list(row[2:]) == (in_x if counts else [0, 0])
    matched = (protocol.bases_of(sent) == 0) & (OUTCOMES < 2)
    tested = sum(sum(row[:2]) for row in ours.table)
    assert ours.key.bits.count + tested == np.count_nonzero(matched)
    assert (tested > 0) == (recipe.test_fractions[0] > 0.0)
    if protocol.count_intensities > 1:
        intensity = np.array(protocol.setting_intensities)[sent]
        assert ours.key_by_intensity == tuple(np.count_nonzero(matched & (intensity == index)) for index in range(3))
    else:
        assert ours.key_by_intensity == ()


def test_nothing_is_said_about_the_intensity_of_a_round_that_is_not_kept():
    recipe = recipe_of("decoy")
    _, _, said = sifted(recipe, settings_of(recipe))
    (reply,) = (message for message in said if isinstance(message, messages.SiftingReply))
    kept, size = Bits.from_bytes(reply.kept, SLOTS.size), len(reply.kept)

    for plane in (reply.intensities[:size], reply.intensities[size:]):
        assert not np.any(Bits.from_bytes(plane, SLOTS.size).words & ~kept.words)


def answered(recipe, change):
    """What the announcing half makes of a reply that was changed on its way."""
    settings = settings_of(recipe)
    _, _, said = rehearse(*halves(recipe, settings))
    (reply,) = (message for message in said if isinstance(message, messages.SiftingReply))
    half: Any = halves(recipe, settings)[1]
    effect, result = next(half), None
    while True:
        if hasattr(effect, "function"):
            result = effect.function(*effect.arguments)
        elif hasattr(effect, "count_bytes"):
            result = bytes(effect.count_bytes)
        else:
            result = None if hasattr(effect, "message") else change(reply)
        effect = half.send(result)


def with_bits(data, count, flip):
    flags = Bits.from_bytes(data, count).to_flags()
    flags[flip] ^= 1
    return Bits.from_flags(flags).to_bytes()


def without_an_x_click(reply):
    place = int(np.flatnonzero(OUTCOMES >= 2)[7])
    kept, tested = (with_bits(data, SLOTS.size, place) for data in (reply.kept, reply.tested))
    return dataclasses.replace(reply, kept=kept, tested=tested)


def with_an_x_round_kept_back(reply):
    """A round in X that was to be disclosed is kept as if it were key."""
    place = int(np.flatnonzero(Bits.from_bytes(reply.tested, SLOTS.size).to_flags() & (OUTCOMES >= 2))[7])
    return dataclasses.replace(reply, tested=with_bits(reply.tested, SLOTS.size, place))


def with_a_fourth_intensity(reply):
    size, place = len(reply.kept), int(np.flatnonzero(Bits.from_bytes(reply.kept, SLOTS.size).to_flags())[5])
    planes = [Bits.from_bytes(reply.intensities[part : part + size], SLOTS.size).to_flags() for part in (0, size)]
    for plane in planes:
        plane[place] = 1
    return dataclasses.replace(reply, intensities=b"".join(Bits.from_flags(plane).to_bytes() for plane in planes))


def with_an_intensity_too_many(reply):
    place = int(np.flatnonzero(Bits.from_bytes(reply.kept, SLOTS.size).to_flags() == 0)[5])
    size = len(reply.kept)
    return dataclasses.replace(reply, intensities=with_bits(reply.intensities[:size], SLOTS.size, place) + reply.intensities[size:])


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("hefei", without_an_x_click, "leaves out a click in X"),
        ("timebin-120km", without_an_x_click, "leaves out a click in X"),
        ("hefei", lambda reply: dataclasses.replace(reply, intensities=bytes(188)), "intensities of 1500 detections take 0 bytes"),
        ("decoy", lambda reply: dataclasses.replace(reply, intensities=reply.intensities[:-1]), "take 376 bytes, received 375"),
        ("decoy", lambda reply: dataclasses.replace(reply, intensities=b""), "take 376 bytes, received 0"),
        ("decoy", with_an_x_round_kept_back, "keeps a round in X that it does not disclose"),
        ("niedersachsen", with_an_x_round_kept_back, "keeps a round in X that it does not disclose"),
        ("decoy", with_a_fourth_intensity, "there is none of this number"),
        ("decoy", with_an_intensity_too_many, "of a round that is not kept"),
    ],
)
def test_a_reply_that_would_change_the_counts_of_the_proof_is_refused(name, change, said):
    with pytest.raises(RemoteProtocolError, match=said):
        answered(recipe_of(name), change)


def test_key_of_both_bases_keeps_rounds_in_x():
    recipe = recipe_of("hbn")
    assert recipe.test_fractions[1] < 1.0
    answer = halves(recipe, settings_of(recipe))
    (ours,), _, _ = rehearse(*answer)
    assert ours.key.bases.ones() > 0


@pytest.mark.parametrize(("name", "excess", "refused"), [("decoy", 0, False), ("decoy", 1, True), ("niedersachsen", 1, False)])
def test_no_more_detections_are_answered_than_intensities_fit_one_message(name, excess, refused):
    """A lying Bob; an honest one announces ``MOST_DETECTIONS`` and what the last frame has beyond."""
    count = MOST_WITH_INTENSITIES + excess
    recipe = dataclasses.replace(recipe_of(name), target_detections=1)
    half: Any = sift(recipe, GroupProgress.opened(recipe, 0, 0, 1), lambda slots: np.zeros(slots.size, np.uint8))
    next(half)
    said = messages.DetectionAnnouncement(0, bytes(16), (count,), b"", bytes(-(-count // 8)), 0, b"", True, True, False, False)
    if refused:
        with pytest.raises(RemoteProtocolError, match=f"{count} detections announced, {MOST_WITH_INTENSITIES} at most"):
            half.send(said)
    else:
        half.send(said)
    assert 2 * count_bytes(MOST_WITH_INTENSITIES) == MAXIMUM_FIELD_BYTES
    assert MOST_DETECTIONS == MOST_WITH_INTENSITIES // 4


def test_a_round_counted_at_another_intensity_is_refused():
    recipe = recipe_of("decoy")
    settings = settings_of(recipe)
    (_,), (theirs,), _ = rehearse(*halves(recipe, settings))
    ours, _, _ = sifted(recipe, settings)
    table = [list(row) for row in ours.table]
    signal, decoy = (recipe.protocol.settings.index(name) for name in ("X0/signal", "X0/decoy"))
    table[signal][3] -= 1  # an error that was the signal's becomes the decoy's: all sums over intensities stay
    table[decoy][3] += 1

    half: Any = disclose([theirs], recipe.protocol)
    next(half)
    half.send(None)
    effect = half.send(messages.TestCounts(tuple(cell for row in table for cell in row)))
    with pytest.raises(RemoteProtocolError, match="does not add up"):
        effect.function(*effect.arguments)


def test_errors_are_those_of_matching_bases_whatever_the_intensity():
    recipe = recipe_of("decoy")
    table = tuple((1, 2, 3, 4) for _ in recipe.protocol.settings)

    assert errors_by_basis(table, recipe.protocol) == ((18, 9), (42, 21))


def test_what_tells_the_qber_of_the_key_is_what_is_measured_like_the_key():
    assert recipe_of("hefei").telling_bases == (0, 1)
    assert recipe_of("timebin-120km").telling_bases == (0,)
    assert recipe_of("timebin-120km", "security.test_fraction=0").telling_bases == (0, 1)


@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        ("decoy", ("source.intensities=[0.5, 0.1]", "source.probability_intensity=[0.8, 0.2]"), "2 of them can be planned"),
        ("niedersachsen", ("encoding=time-bin", "receiver.time_bin_separation_ps=1000"), "encoding = 'time-bin'"),
    ],
)
def test_what_the_proof_does_not_cover_is_refused_by_name(name, settings, said):
    with pytest.raises(ConfigurationError, match=said):
        Recipe.of(load_profile(name, settings))
