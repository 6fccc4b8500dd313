"""A live station gives the detections of the recording, however its tags arrive."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bob.station import DetectionStation
from common.emulator.link import emulate
from common.profiles.link import load_profile
from tests.support.streams import Zeros, batches, station_on, take_all

# No click lies within picoseconds of the gate's edge, where two fits of one clock could disagree.
CLEAR = ("security.frame_pulses=228000", "receiver.gate_ps=3000", "source.lifetime_ps=0", "receiver.dark_rate_hz=0", "channel.loss_db=10")


@cache
def link(divider):
    profile = load_profile("niedersachsen", [*CLEAR, f"receiver.sync_divider={divider}"])
    return profile, emulate(profile, 0.7, 11).tags


@cache
def offline(divider):
    profile, tags = link(divider)
    return DetectionStation(tags, profile, Zeros())


@pytest.mark.parametrize("divider", [16384, 0], ids=["reference pulses", "photons alone"])
def test_a_stream_gives_the_detections_of_its_recording(divider):
    profile, tags = link(divider)
    station = station_on(batches(tags, [50_000]), profile)

    first_slot, slots, outcomes, cross_slots, _ = take_all(station, profile)

    assert station.counts.lock_losses == 0
    recorded = offline(divider)
    assert station.reception is not None
    at_ps = tags.t_ps[-1:]
    shift = int(station.reception.clock.slots_and_phases(at_ps)[0][0] - recorded.reception.clock.slots_and_phases(at_ps)[0][0])
    behind = recorded._slots + shift >= first_slot
    assert slots.size > 300_000
    assert np.array_equal(recorded._slots[behind] + shift, slots)
    assert np.array_equal(recorded._outcomes[behind], outcomes)
    assert np.array_equal(recorded._cross_slots[recorded._cross_slots + shift >= first_slot] + shift, cross_slots)


@cache
def in_one_batch(divider):
    profile, tags = link(divider)
    return take_all(station_on(batches(tags, [len(tags)]), profile), profile)


@settings(max_examples=8)
@given(
    st.sampled_from([16384, 0]),
    st.lists(st.integers(1, 120_000), min_size=1, max_size=4).filter(lambda sizes: sum(sizes) > 20_000),
    st.integers(1, 500),
    st.integers(1, 200_000),
)
def test_how_tags_are_cut_into_batches_and_frames_into_calls_changes_nothing(divider, sizes, most_frames, wanted):
    profile, tags = link(divider)

    taken = take_all(station_on(batches(tags, sizes), profile, patience_seconds=0.05), profile, most_frames, wanted)

    first_slot, *arrays = in_one_batch(divider)
    assert taken[0] == first_slot
    for mine, whole in zip(taken[1:], arrays, strict=True):
        assert np.array_equal(mine, whole)


@settings(max_examples=5)
@given(st.sets(st.integers(10, 20), min_size=1, max_size=3))
def test_frames_touched_by_a_gap_are_empty_and_the_others_are_whole(missing):
    profile, tags = link(16384)
    station = station_on(batches(tags, [20_000], missing=missing), profile)

    first_slot, slots, _, _, counts = take_all(station, profile)

    whole_first, whole_slots, *_, whole_counts = in_one_batch(16384)
    assert first_slot == whole_first
    assert station.counts.gaps >= 1
    common = min(counts.size, whole_counts.size) - 3  # the lock ends with the last reference pulse, which two fits may see differently
    empty = counts[:common] == 0
    assert station.counts.dropped_frames == np.count_nonzero(empty) > 20
    assert np.array_equal(counts[:common][~empty], whole_counts[:common][~empty])
    frame, whole_frame = ((found - first_slot) // profile.security.frame_pulses for found in (slots, whole_slots))
    inside = whole_frame < common
    assert np.array_equal(slots[frame < common], whole_slots[inside][~empty[whole_frame[inside]]])
