"""Bob's monitors on counts as the link model expects them, and on counts of devices that have left their ranges."""

from dataclasses import replace

import numpy as np
import pytest

from bob.detector_monitor import DetectorMonitor, quiet_width_ps, receiver_counts
from common.blocks import ReceiverCounts
from common.errors import AbortReason, ConfigurationError
from common.planning.link_model import link_model
from common.profiles.link import load_profile, profile_names
from common.security.certified import Verdict

PULSES = {"decoy": 10**8, "hbn": 10**9, "hefei": 10**10, "niedersachsen": 3 * 10**12, "timebin-120km": 3 * 10**13}
"""Enough for a hundred coincidences on each of the links."""

LINKS = tuple(PULSES)


def expected_counts(profile, pulses, link=None, **factors):
    """Counts without noise of counting, of the profile's own link or another one, some of them multiplied."""
    model, quiet_ps = link_model(link or profile), quiet_width_ps(profile) or 0.0
    background = (profile.receiver.dark_rate_hz + profile.channel.background_hz) / profile.source.clock_hz
    windows = 3 if profile.encoding == "time-bin" else 1
    outcomes = [factors.get(f"outcome_{place}", 1.0) * p * pulses for place, p in enumerate(model.probability_outcomes)]
    monitor = DetectorMonitor(profile)
    light = sum(outcomes) / monitor._kept * monitor._tail[0]
    quiet = factors.get("background", 1.0) * background * pulses * windows * quiet_ps * profile.source.clock_hz * 1e-12 + light
    return ReceiverCounts(
        pulses,
        tuple(round(count) for count in outcomes),
        round(factors.get("coincidence", 1.0) * model.probability_double * pulses),
        round(factors.get("coincidence", 1.0) * model.probability_cross * pulses),
        round(quiet),
    )


def reasons(profile, counts):
    return {reading.reason for reading in DetectorMonitor(profile).read(counts)} - {None}


@pytest.mark.parametrize("link", LINKS)
def test_what_the_model_expects_is_1_in_every_monitor(link):
    profile = load_profile(link)
    readings = DetectorMonitor(profile).read(expected_counts(profile, PULSES[link]))

    assert {reading.name.split()[0] for reading in readings} == {"background", "efficiency", "detection", "coincidence"}
    assert [reading.estimate.value for reading in readings] == pytest.approx([1.0] * len(readings), rel=0.01)
    assert not any(reading.reason for reading in readings)
    assert all(reading.verdict is Verdict.IN_RANGE for reading in readings if reading.name.startswith(("efficiency", "detection")))


CHANGES = {
    "light on the detectors": ({"background": 6.0}, AbortReason.BACKGROUND_OUT_OF_RANGE),
    "no dark counts": ({"background": 0.0}, AbortReason.DETECTOR_BLINDING),
    "a detector that has aged": ({"outcome_1": 0.7}, AbortReason.EFFICIENCY_MISMATCH),
    "a basis that sees more": ({"outcome_0": 1.4, "outcome_1": 1.4}, AbortReason.EFFICIENCY_MISMATCH),
    "more light than the fibre lets through": ({f"outcome_{place}": 1.8 for place in range(4)}, AbortReason.DETECTION_RATE_OUT_OF_RANGE),
    "missing doubles": ({"coincidence": 0.0}, AbortReason.DETECTOR_BLINDING),
    "too many doubles": ({"coincidence": 5.0}, AbortReason.DOUBLE_CLICKS_OUT_OF_RANGE),
}


@pytest.mark.parametrize(("factors", "reason"), CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("link", ["decoy", "hefei"])
def test_a_device_that_leaves_its_range_is_named(link, factors, reason):
    profile = load_profile(link)

    assert reason in reasons(profile, expected_counts(profile, PULSES[link], **factors))


@pytest.mark.parametrize("link", LINKS)
def test_a_fibre_that_loses_more_stops_nothing(link):
    profile = load_profile(link)
    lossier = load_profile(link, [f"channel.loss_db={profile.channel.loss_db + 2.0}"])

    assert reasons(profile, expected_counts(profile, PULSES[link], lossier)) == set()


@pytest.mark.parametrize("link", LINKS)
def test_few_counts_stop_nothing(link):
    profile = load_profile(link)

    assert reasons(profile, ReceiverCounts()) == set()
    assert reasons(profile, ReceiverCounts(pulses=10_000, outcomes=(1, 0, 0, 2))) == set()


def test_only_what_has_a_range_is_watched():
    profile = load_profile("decoy")
    assert profile.monitors is not None
    none = replace(profile, monitors=None)
    few = replace(profile, monitors=replace(profile.monitors, background_ratio=None, coincidence_ratio=None, detection_ratio=None))

    assert DetectorMonitor(none).read(expected_counts(profile, 10**10)) == ()
    assert {reading.name.split()[0] for reading in DetectorMonitor(few).read(ReceiverCounts())} == {"efficiency"}
    assert quiet_width_ps(none) is quiet_width_ps(few) is None


def test_background_that_no_stretch_of_the_slot_shows_beside_the_light_is_not_watched():
    assert quiet_width_ps(load_profile("niedersachsen")) == pytest.approx(1e12 / 228e6 / 16)
    assert quiet_width_ps(load_profile("niedersachsen", ["channel.loss_db=10"])) is None
    assert quiet_width_ps(load_profile("decoy")) == pytest.approx(7500.0)
    assert quiet_width_ps(load_profile("decoy", ["receiver.dark_rate_hz=0"])) is None


def test_counts_of_frames_add_up():
    one = receiver_counts(100, np.array([0, 1, 1, 3], np.uint8), 1, 2, 3)

    assert one == ReceiverCounts(100, (1, 2, 0, 1), 1, 2, 3)
    assert one.added(one) == ReceiverCounts(200, (2, 4, 0, 2), 2, 4, 6)


def test_every_profile_with_ranges_contains_what_it_expects_itself():
    assert {name for name in profile_names() if load_profile(name).monitors} == set(LINKS)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("monitors.background_ratio=[2.0,0.5]", "lower end first"),
        ("monitors.background_ratio=[2.0,3.0]", "has to contain it"),
        ("monitors.background_ratio=[-1.0,3.0]", "monitors.background_ratio"),
        ("monitors.brightness=[0.0,3.0]", "monitors.brightness"),
        ("monitors.false_alarm=0", "monitors.false_alarm"),
    ],
)
def test_ranges_that_make_no_sense_are_refused(setting, said):
    with pytest.raises(ConfigurationError, match=said):
        load_profile("decoy", [setting])


def test_an_alarm_stands_over_blocks_too_short_to_say_anything_and_ends_with_one_in_range():
    profile = load_profile("decoy")
    monitor = DetectorMonitor(profile)
    blind = expected_counts(profile, 10**8, coincidence=0.0)
    short = ReceiverCounts(pulses=1000, outcomes=(8, 8, 2, 2))

    def verdicts(counts):
        return {reading.reason for reading in monitor.read(counts)} - {None}

    assert verdicts(short) == set()
    assert verdicts(blind) == {AbortReason.DETECTOR_BLINDING}
    assert verdicts(short) == verdicts(short) == {AbortReason.DETECTOR_BLINDING}
    assert verdicts(expected_counts(profile, 10**8)) == set()
    assert verdicts(short) == set()
