"""Arrivals of a recording: their times stay, only preparation and measurement are drawn; each comparison fails by chance once in 1e6."""

import numpy as np
import pytest

from common.emulator.link import NOISE
from common.emulator.recorded import NO_SLOT, emulate_recorded
from common.errors import ConfigurationError, StreamError
from common.timetags.recording import read_recording
from tests.physics.links import CLOCK_HZ, clicks, link, matched
from tests.physics.statistics import assert_binomial

HBT_CLOCK_HZ = 319_678_167.57
"""Laser of the recording, from its photons; see the note beside the recordings."""


def arrivals(count=200_000, background=0.1):
    rng = np.random.default_rng(1)
    slots = np.sort(rng.integers(5000, 50_000_000, count))
    t_ps = slots * 10_000 + 123
    slots[rng.random(count) < background] = NO_SLOT
    return slots, t_ps


def test_times_are_kept_and_background_gives_random_outcomes():
    slots, t_ps = arrivals()
    emulation = emulate_recorded(link("channel.misalignment=0.03"), slots, t_ps, CLOCK_HZ, seed=1)
    signal = emulation.truth.kind != NOISE
    known = slots[signal]
    settings, outcomes = emulation.emission.lookup(known), emulation.tags.channel[signal]
    sifted = matched(outcomes, settings)

    assert np.array_equal(emulation.tags.t_ps, t_ps)
    assert np.array_equal(emulation.truth.slot, slots)
    assert emulation.emission.header.first_slot == int(known.min())
    assert emulation.emission.header.end_slot == int(known.max()) + 1
    assert_binomial(int(sifted.sum()), known.size, 0.5)
    assert_binomial(int((outcomes[sifted] != settings[sifted]).sum()), int(sifted.sum()), 0.03)
    for outcome in range(4):
        assert_binomial(int((emulation.tags.channel[~signal] == outcome).sum()), int((~signal).sum()), 0.25)


def test_attenuation_thins_the_arrivals_and_leaves_the_record():
    slots, t_ps = arrivals()
    whole = emulate_recorded(link(), slots, t_ps, CLOCK_HZ, seed=2)
    thinned = emulate_recorded(link(), slots, t_ps, CLOCK_HZ, seed=2, transmission=0.2)

    assert_binomial(len(thinned.tags), slots.size, 0.2)
    assert np.isin(thinned.tags.t_ps, t_ps).all()
    assert thinned.emission.header == whole.emission.header


def test_two_arrivals_of_one_slot_share_the_setting_and_choose_their_own_basis():
    slots = np.repeat(np.arange(20_000, dtype=np.int64), 2)
    passive = emulate_recorded(link(), slots, slots * 10_000, CLOCK_HZ, seed=3).tags.channel.reshape(-1, 2) >> 1
    active = (
        emulate_recorded(link('receiver.basis_choice="active"'), slots, slots * 10_000, CLOCK_HZ, seed=3).tags.channel.reshape(-1, 2) >> 1
    )

    assert_binomial(int((passive[:, 0] != passive[:, 1]).sum()), 20_000, 0.5)
    assert np.array_equal(active[:, 0], active[:, 1])


def test_arrivals_of_a_real_emitter_become_a_link(recordings):
    path = recordings / "200204_HH400_T2_320MHz_HBT.timeres"
    if not path.is_file():
        pytest.skip(f"{path.name} is not in the folder of recordings")
    tags, _ = read_recording(path)
    slots = np.floor(tags.t_ps * (HBT_CLOCK_HZ * 1e-12)).astype(np.int64)

    emulation = emulate_recorded(link("channel.misalignment=0.01"), slots, tags.t_ps, HBT_CLOCK_HZ, seed=4, transmission=0.5)
    _, outcomes, settings = clicks(emulation)
    sifted = matched(outcomes, settings)

    assert_binomial(len(emulation.tags), len(tags), 0.5)
    assert np.isin(emulation.tags.t_ps, tags.t_ps).all()
    assert emulation.emission.header.count_slots > 3e8
    assert_binomial(int((outcomes[sifted] != settings[sifted]).sum()), int(sifted.sum()), 0.01)


@pytest.mark.parametrize(("transmission", "clock_hz"), [(1.1, CLOCK_HZ), (-0.1, CLOCK_HZ), (0.5, 0.0)])
def test_arguments_out_of_range_are_refused(transmission, clock_hz):
    slots, t_ps = arrivals(100)

    with pytest.raises(ConfigurationError, match="recorded arrivals"):
        emulate_recorded(link(), slots, t_ps, clock_hz, 1, transmission)


@pytest.mark.parametrize(
    ("slots", "t_ps"),
    [
        (np.array([1, 2], np.int64), np.array([1], np.int64)),
        (np.array([1.0]), np.array([1], np.int64)),
        (np.array([-1, -1], np.int64), np.array([1, 2], np.int64)),
        (np.array([1, -2], np.int64), np.array([1, 2], np.int64)),
        (np.array([1, 2], np.int64), np.array([2, 1], np.int64)),
    ],
)
def test_arrivals_that_contradict_themselves_are_refused(slots, t_ps):
    with pytest.raises(StreamError):
        emulate_recorded(link(), slots, t_ps, CLOCK_HZ, 1)
