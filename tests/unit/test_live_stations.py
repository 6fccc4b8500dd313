"""The live stations at the edges of sessions, runs and records, without sockets."""

import dataclasses
import threading

import numpy as np
import pytest

from alice.live import LiveEmissionStation
from bob.live import LiveDetectionStation
from common.distillation.synchronisation import Frames
from common.emulator.link import LinkEmulator, emulate
from common.errors import ConfigurationError, LocalProtocolError, StreamError
from common.profiles.link import load_profile
from common.timetags.emission_record import EmissionHeader
from common.timetags.live import EmissionProgress, EmissionStream, PackedSettings, TagBatch, TagStream
from tests.support.streams import Scripted, Zeros, batches, station_on

PROFILE = load_profile(
    "niedersachsen", ["security.frame_pulses=228000", "receiver.gate_ps=3000", "source.lifetime_ps=0", "channel.loss_db=10"]
)
HEADER = EmissionHeader(228e6, 0, 1 << 40, ("Z0", "Z1", "X0", "X1"), (0.25, 0.25, 0.25, 0.25), 2)
KEY = bytes(range(32))


def emission_station(*items, **options):
    station = LiveEmissionStation(PROFILE, **({"wait_seconds": 0.1} | options))
    for item in items:
        station.deliver(item)
    return station


def begun(station):
    """A station in whose session some search for the offset has been made."""
    station.find_offset(np.array([0], np.int64), np.zeros(1, np.uint8), 1)
    return station


def test_before_the_source_has_begun_nothing_is_known_and_nobody_waits_for_ever():
    station = emission_station()

    assert station.first_slot == 0
    assert station.count_slots > 1 << 50
    assert station.emitted_through_slot is None
    with pytest.raises(StreamError, match=r"waited 0\.1 s"):
        station.find_offset(np.array([0], np.int64), np.zeros(1, np.uint8), 1)


def test_settings_are_waited_for_until_they_are_emitted():
    station = begun(emission_station(EmissionStream(HEADER, KEY, "r"), EmissionProgress(1, False, 99), wait_seconds=5.0))
    slots = np.array([50, 150], np.int64)
    threading.Timer(0.05, station.deliver, [EmissionProgress(2, False, 150)]).start()

    settings = station.look_up(slots)

    assert settings.tolist() == LinkEmulator(PROFILE, 1.0, 1, emission_key=KEY).record.lookup(slots).tolist()
    assert station.emitted_through_slot == 150
    silent = begun(emission_station(EmissionStream(HEADER, KEY, "r"), EmissionProgress(1, False, 99)))
    with pytest.raises(StreamError, match="waited"):
        silent.look_up(slots)


def test_the_same_run_goes_on_and_another_one_ends_the_session():
    station = begun(emission_station(EmissionStream(HEADER, KEY, "r"), EmissionProgress(1, False, 99)))

    station.deliver(EmissionStream(HEADER, KEY, "r"))
    assert station.look_up(np.array([5], np.int64)).size == 1
    station.deliver(EmissionStream(HEADER, bytes(32), "other"))
    with pytest.raises(StreamError, match="began anew"):
        station.look_up(np.array([5], np.int64))
    station.deliver(EmissionProgress(1, False, 9))
    assert begun(station).look_up(np.array([5], np.int64)).size == 1


def test_packed_settings_are_kept_as_long_as_there_is_room():
    generator = np.random.default_rng(1)
    packed = generator.integers(0, 256, 400).astype(np.uint8)
    parts = [PackedSettings(k, False, False, packed[100 * k : 100 * k + 100]) for k in range(4)]
    station = begun(emission_station(EmissionStream(HEADER, None, "r"), *parts, packed_bytes=250))
    expected = (np.repeat(packed, 4) >> np.tile([6, 4, 2, 0], 400)) & 3

    slots = np.array([1599, 801, 1203, 900], np.int64)
    assert station.look_up(slots).tolist() == expected[slots].tolist()
    assert station.settings_randomness == "recorded"
    with pytest.raises(StreamError, match="kept are 800 to 1599"):
        station.look_up(np.array([799], np.int64))
    with pytest.raises(StreamError, match="missing"):
        station.deliver(PackedSettings(9, True, False, packed[:4]))


def test_a_source_of_another_link_is_refused():
    with pytest.raises(ConfigurationError, match="clock"):
        emission_station(EmissionStream(dataclasses.replace(HEADER, clock_hz=1e6), KEY, "r"))
    biased = dataclasses.replace(HEADER, probabilities=(0.3, 0.3, 0.2, 0.2))
    with pytest.raises(ConfigurationError, match=r"probability 0\.3 of setting Z0, the link's profile gives 0\.25"):
        emission_station(EmissionStream(biased, KEY, "r"))
    with pytest.raises(StreamError, match="time tags"):
        emission_station(TagStream({"H": 0}, 0))


def test_a_closed_station_wakes_whoever_waits():
    station = emission_station(EmissionStream(HEADER, KEY, "r"), EmissionProgress(1, False, 9), wait_seconds=10.0)
    threading.Timer(0.05, station.close).start()

    with pytest.raises(StreamError, match="closed"):
        begun(station).look_up(np.array([10], np.int64))


@pytest.fixture(scope="module")
def tags():
    return emulate(PROFILE, 1.0, 3).tags


def opened_session(station):
    given = station.sacrifice(0)
    station.matched(Frames(0, int(given.slots[-1]) + 1, 1 << 40), PROFILE.security.frame_pulses)
    return given


def test_a_new_session_goes_on_behind_the_last_one_with_fresh_detections(tags):
    station = station_on(batches(tags, [50_000]), PROFILE)
    first = opened_session(station)
    taken = station.take(0, 100, 1 << 18)

    second = opened_session(station)

    assert first.slots[-1] < taken.slots[0] <= taken.slots[-1] < second.slots[0]
    assert station.counts.sessions == 2
    assert station.take(0, 10, 1 << 18).slots[0] > second.slots[-1]


def test_a_new_run_of_the_tagger_ends_the_session_and_the_next_one_is_on_the_new_scale(tags):
    part = 3 * len(tags) // 4
    old = list(batches(dataclasses.replace(tags, t_ps=tags.t_ps[:part], channel=tags.channel[:part]), [50_000], ends=False))
    station = station_on([*old, *batches(tags, [50_000], run="another")], PROFILE, wait_seconds=5.0, patience_seconds=5.0)
    opened_session(station)

    with pytest.raises(StreamError, match="began anew"):
        station.take(0, 1 << 16, 1 << 24)
    opened_session(station)

    assert station.take(0, 10, 1 << 18).slots.size
    assert station.counts.runs == 2


def test_a_sender_that_names_no_run_goes_on_if_it_says_there_is_a_gap(tags):
    parts = list(batches(tags, [50_000], run=""))
    again = [dataclasses.replace(parts[9], gap=True), *parts[10:]]
    station = station_on([*parts[:8], parts[0], *again], PROFILE)
    opened_session(station)
    while not station.take(0, 1 << 16, 1 << 20).ended:
        opened_session(station)

    assert station.counts.runs == 1
    assert station.counts.gaps == 1
    assert station_on([*parts[:8], parts[0], *parts[9:]], PROFILE).counts.runs == 0


def test_nothing_is_waited_for_for_ever(tags):
    silent = station_on([TagStream(dict(tags.channels), tags.sync_divider)], PROFILE)
    with pytest.raises(StreamError, match="detections to match slots with"):
        silent.sacrifice(0)

    early = station_on(batches(tags, [100_000], ends=False), PROFILE)
    with pytest.raises(LocalProtocolError):
        early.take(0, 1, 1)
    opened_session(early)
    with pytest.raises(StreamError, match="no whole frame"):
        early.take(100_000, 1, 1)


def test_an_old_computation_ends_when_another_session_begins(tags):
    station = LiveDetectionStation(Scripted(batches(tags, [100_000], ends=False)), PROFILE, Zeros(), wait_seconds=20.0)
    opened_session(station)
    failures = []

    def old_computation():
        try:
            station.take(100_000, 1, 1)
        except StreamError as ended:
            failures.append(str(ended))

    waiting = threading.Thread(target=old_computation)
    waiting.start()
    station.close()
    waiting.join(5.0)

    assert not waiting.is_alive()
    assert "another session" in failures[0]


def test_computations_of_an_abandoned_session_end_at_once_and_the_next_session_is_served(tags):
    station = station_on(batches(tags, [100_000]), PROFILE, wait_seconds=20.0)
    opened_session(station)
    station.abandon()
    with pytest.raises(StreamError, match="session is over"):
        station.take(100_000, 1, 1)
    with pytest.raises(StreamError, match="session is over"):
        station.sacrifice(1)
    station.begin()
    opened_session(station)
    assert station.take(0, 1, 1).slots.size

    source = begun(emission_station(EmissionStream(HEADER, KEY, "r"), EmissionProgress(1, False, 9), wait_seconds=20.0))
    threading.Timer(0.05, source.abandon).start()
    with pytest.raises(StreamError, match="session is over"):
        source.look_up(np.array([10], np.int64))
    with pytest.raises(StreamError, match="session is over"):
        begun(source)
    source.begin()
    assert begun(source).look_up(np.array([9], np.int64)).size == 1


def test_once_matched_the_slots_of_a_run_need_no_search_whoever_asks(tags):
    station = station_on([*batches(tags, [50_000], ends=False), *batches(tags, [50_000], run="another")], PROFILE)
    first = station.sacrifice(0)
    station.matched(Frames(5_000_000, int(first.slots[-1]) + 5_000_001, 1 << 40), PROFILE.security.frame_pulses)
    taken = station.take(0, 1, 1)
    second = station.sacrifice(0)
    station.matched(Frames(0, int(second.slots[-1]) + 1, 1 << 40), PROFILE.security.frame_pulses)

    assert taken.slots[0] > first.slots[-1] + 5_000_000
    assert second.slots[0] > taken.slots[-1]
    assert station.take(0, 1, 1).slots[0] > second.slots[-1]
    with pytest.raises(StreamError, match="began anew"):
        station.take(1, 1 << 20, 1 << 30)
    assert np.array_equal(station.sacrifice(0).slots, first.slots), "of another run nothing is known"


def test_tags_of_an_earlier_run_are_passed_over_once_another_has_begun(tags):
    station = station_on([*batches(tags, [50_000], ends=False), *batches(tags, [50_000], run="another")], PROFILE)
    opened_session(station)
    station.deliver(TagStream(dict(tags.channels), tags.sync_divider, "another"))  # as the reading thread sees it, long before its turn

    with pytest.raises(StreamError, match="began anew"):
        station.take(0, 1, 1)
    opened_session(station)

    assert station.counts.runs == 2
    assert station.take(0, 1, 1).slots.size


def test_an_emission_in_place_of_tags_is_refused():
    with pytest.raises(StreamError, match="in place of time tags"):
        station_on([EmissionProgress(1, False, 0)], PROFILE).sacrifice(0)
    with pytest.raises(LocalProtocolError):
        station_on([TagBatch(1, False, False, np.zeros(0, np.int64), np.zeros(0, np.uint8))], PROFILE).sacrifice(0)
