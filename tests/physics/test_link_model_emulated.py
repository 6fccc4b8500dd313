"""The planner's tables against the emulated fibre, read by Bob's own rules: gate, dead time, coincidences, blinking, fading.

Bob's clock is set and his gate placed where the planner takes them to be; how well he finds them by himself is tested elsewhere. Each case
fails by chance once in 1e6.
"""

from dataclasses import replace
from math import exp, log, sqrt

import numpy as np
import pytest

from bob.detection import detect
from bob.gating import Gate as BobsGate
from bob.pulse_clock import PulseClock
from bob.reading import Reading
from common.emulator.channel import Fading
from common.emulator.link import emulate
from common.emulator.recorded import emulate_recorded
from common.errors import ConfigurationError
from common.planning.clicks import CROSS
from common.planning.gate import Gate
from common.planning.link_model import link_model
from common.profiles.link import load_profile
from common.randomness import SeededRandomness
from tests.physics.statistics import FALSE_ALARM, SIGMAS, assert_binomial, assert_mean
from tests.physics.tables import assert_table, planned

NOT_SYNC = ("receiver.clock_offset_ppm=0", "receiver.sync_divider=0")


def detected(profile, seconds, seed):
    """An emulated run, and what a receiver with the planned gate and the true clock detects in it."""
    emulation = emulate(profile, seconds, seed)
    period_ps = 1e12 / profile.source.clock_hz
    width_ps = min(profile.receiver.gate_ps or period_ps, period_ps)
    width_ps = min(width_ps, profile.receiver.time_bin_separation_ps or width_ps)
    opens_ps = Gate.best(profile.source.lifetime_ps, profile.receiver.jitter_ps, width_ps).start_ps - profile.source.lifetime_ps
    found = detect(
        emulation.tags.t_ps,
        emulation.tags.channel,
        PulseClock.steady(profile.source.clock_hz, emulation.truth.origin_ps + round(profile.channel.delay_ps)),
        BobsGate(opens_ps + width_ps / 2, width_ps),
        Reading.of(profile, emulation.tags.channels),
        profile.receiver.dead_time_ps,
        SeededRandomness(seed),
    )
    return emulation, found


def announced(profile, seconds, seed):
    """Announcements by setting (and intensity), int64[settings, 5]."""
    emulation, found = detected(profile, seconds, seed)
    counts = np.zeros((len(profile.prepared.settings), 5), np.int64)
    end = emulation.emission.header.count_slots
    for slots, announcements in ((found.slot, found.outcome), (found.cross_slot, np.full(found.cross_slot.size, CROSS))):
        within = (slots >= 0) & (slots < end)
        np.add.at(counts, (emulation.emission.lookup(slots[within]), announcements[within]), 1)
    return counts


def joint(model):
    """Probability per pulse of setting (and intensity) and announcement, float64[settings, 5]."""
    sent = np.array([[pulse.probability * setting for pulse in model.pulses] for setting in model.setting_probabilities])
    return (planned(model).transpose(1, 0, 2) * sent[:, :, None]).reshape(-1, 5)


def pulses(profile, seconds):
    return round(profile.source.clock_hz * seconds)


STEADY = ("channel.fading_sigma_db=0",)
THREE_STATES = ("protocol=three-state-decoy", "security.proof=three-state-decoy", "security.paper_proof=three-state-laser")
PAIRS = ("source.mean_photon_number=0.5", "source.g2=0.9", "source.probability_z=0.6")
BRIGHT = ("channel.loss_db=2", "source.intensities=[2.5,0.9,0.1]")

CASES = {
    "published": ("niedersachsen", (), 3.0),
    "short": ("niedersachsen", ("channel.loss_db=8",), 0.15),
    "without loss": ("niedersachsen", ("channel.loss_db=0",), 0.01),
    "narrow gate": ("niedersachsen", ("channel.loss_db=5", "receiver.gate_ps=1500"), 0.08),
    "many pairs, biased": (
        "niedersachsen",
        ("channel.loss_db=3", "source.g2=0.9", "source.mean_photon_number=0.6", "receiver.probability_z=0.8", "source.probability_z=0.7"),
        0.04,
    ),
    "much noise": ("niedersachsen", ("channel.loss_db=10", "receiver.dark_rate_hz=2e6", "channel.background_hz=1e6"), 0.1),
    "active": ("niedersachsen", ('receiver.basis_choice="active"', "channel.loss_db=3", "source.lifetime_ps=200"), 0.04),
    "active and noisy": (
        "niedersachsen",
        (
            'receiver.basis_choice="active"',
            "channel.loss_db=10",
            "source.lifetime_ps=200",
            "receiver.dark_rate_hz=4e6",
            "receiver.gate_ps=2000",
        ),
        0.1,
    ),
    "three states": ("hefei", (*STEADY, "channel.loss_db=10"), 1.0),
    "three states without loss": ("hefei", (*STEADY, "channel.loss_db=0", "receiver.dead_time_ps=30000"), 0.05),
    "three measured states": ("hefei", (*STEADY, "channel.loss_db=5", "source.state_angles_deg=[4.0, 171.0, 97.0]"), 0.3),
    "decoys": ("decoy", (), 1.0),
    "decoys, passive and bright": ("decoy", (*BRIGHT, "receiver.basis_choice=passive", "receiver.dead_time_ps=0"), 0.05),
    "three states with decoys": ("decoy", THREE_STATES, 0.5),
    "time bins": ("timebin-120km", ("channel.loss_db=12",), 6.0),
    "time bins, noisy": ("timebin-120km", ("channel.loss_db=15", "receiver.dark_rate_hz=20000", "receiver.gate_ps=2500"), 6.0),
    "time bins, bright": ("timebin-120km", ("channel.loss_db=0", *PAIRS, "receiver.dead_time_ps=0"), 0.1),
    "time bins, bright and slow": ("timebin-120km", ("channel.loss_db=3", *PAIRS, "receiver.dead_time_ps=9000"), 0.1),
    "time bins, light between the gates": (
        "timebin-120km",
        ("channel.loss_db=0", *PAIRS, "source.lifetime_ps=1500", "receiver.gate_ps=1500", "receiver.dead_time_ps=0"),
        0.1,
    ),
    "time bins, light between the gates of slow ports": (
        "timebin-120km",
        ("channel.loss_db=3", *PAIRS, "source.lifetime_ps=1500", "receiver.gate_ps=1500", "receiver.dead_time_ps=13000"),
        0.1,
    ),
    "slow source": ("hbn", (), 60.0),
    "slow source, dead for five slots": ("hbn", ("channel.loss_db=0", "receiver.dead_time_ps=1e7", "receiver.dark_rate_hz=2e4"), 10.0),
}


@pytest.mark.parametrize("case", ["many pairs, biased", "much noise", "active and noisy", "decoys"])
def test_same_basis_doubles_come_as_often_as_the_model_says(case):
    link, settings, seconds = CASES[case]
    profile = load_profile(link, (*NOT_SYNC, *settings))

    count = detected(profile, seconds, seed=3)[1].counts.doubles

    assert count > 50
    assert_binomial(count, pulses(profile, seconds), link_model(profile).probability_double)


@pytest.mark.parametrize(("link", "settings", "seconds"), CASES.values(), ids=CASES)
def test_every_entry_of_the_table_is_what_the_emulated_fibre_gives(link, settings, seconds):
    profile = load_profile(link, (*NOT_SYNC, *settings))

    counts = announced(profile, seconds, seed=1)

    assert counts.sum() > 5000
    assert_table(counts, np.full(len(counts), pulses(profile, seconds)), joint(link_model(profile)), FALSE_ALARM)


def test_a_blinking_emitter_is_planned_as_bright_and_dark_spans():
    """Clicks come in bunches of about 100 slots, so their number varies more than a binomial one; their shares do not."""
    settings = ("channel.loss_db=3", "source.on_fraction=0.4", "source.g2=0.3", "source.clock_hz=1e8", "receiver.dead_time_ps=30000")
    profile = load_profile("niedersachsen", (*NOT_SYNC, *settings))
    model = link_model(profile)

    counts = announced(profile, 0.3, seed=2)

    clicks, expected = int(counts.sum()), float(joint(model).sum()) * pulses(profile, 0.3)
    bunching = 1 + 2 * 100 * 0.6 / 0.4 * clicks / pulses(profile, 0.3)
    assert abs(clicks - expected) < SIGMAS * sqrt(expected * bunching)
    assert_table(counts, np.full(4, clicks), joint(model) / joint(model).sum(), FALSE_ALARM)
    constant = link_model(replace(profile, source=replace(profile.source, on_fraction=1.0)))
    assert model.live_ratio > constant.live_ratio  # dead spans fall together with bright ones


def test_a_fading_loss_has_its_distribution_and_its_memory():
    """Steps of an eighth of the correlation time; of 400,000 values about 25,000 are independent."""
    fading, rng = Fading(1.5, 0.01), np.random.default_rng(3)
    losses_db = np.array([fading.loss_db(10.0, fading.longest_seconds, rng) for _ in range(400_000)])
    independent = losses_db[::16]
    innovations = (losses_db[1:] - 10.0) - exp(-1 / 8) * (losses_db[:-1] - 10.0)

    assert_mean(independent, 10.0, 1.5 * sqrt((1 + exp(-2)) / (1 - exp(-2))))
    assert_mean((independent - 10.0) ** 2, 1.5**2, 1.5**2 * sqrt(2.0 * (1 + exp(-4)) / (1 - exp(-4))))
    assert_mean(innovations * (losses_db[:-1] - 10.0), 0.0, 1.5**2 * sqrt(1 - exp(-1 / 4)))
    assert_mean(innovations**2, 1.5**2 * (1 - exp(-1 / 4)), 1.5**2 * (1 - exp(-1 / 4)) * sqrt(2.0))


def test_a_fading_loss_is_never_below_zero():
    fading, rng = Fading(2.0, 0.01), np.random.default_rng(4)
    losses_db = np.array([fading.loss_db(0.5, 1.0, rng) for _ in range(1000)])

    assert losses_db.min() == 0.0
    assert 200 < np.count_nonzero(losses_db == 0.0) < 600


def test_a_run_longer_than_the_fading_time_sees_the_mean_table():
    """The number of clicks varies with the loss: its variance is that of the mean of a lognormal process over the run."""
    sigma_db, time_s, seconds = 1.5, 2e-4, 0.15
    profile = load_profile(
        "niedersachsen", (*NOT_SYNC, "channel.loss_db=8", f"channel.fading_sigma_db={sigma_db}", f"channel.fading_time_s={time_s}")
    )
    model = link_model(profile)

    counts = announced(profile, seconds, seed=5)

    clicks, expected = int(counts.sum()), float(joint(model).sum()) * pulses(profile, seconds)
    width = (sigma_db * log(10) / 10) ** 2
    memory_s = time_s * 2 * sum((exp(width * exp(-step / 100)) - 1) / 100 for step in range(1500))
    assert abs(clicks - expected) < SIGMAS * sqrt(expected + expected**2 * memory_s / seconds)
    assert_table(counts, np.full(4, clicks), joint(model) / joint(model).sum(), FALSE_ALARM)
    steady = link_model(replace(profile, channel=replace(profile.channel, fading_sigma_db=0.0)))
    assert clicks > (1 + width / 4) * steady.probability_detection * pulses(
        profile, seconds
    )  # more is won on good moments than lost on bad ones


@pytest.mark.parametrize(("link", "entry"), [("timebin-120km", "encoding = 'time-bin'"), ("decoy", "source.kind = 'weak-coherent'")])
def test_a_recording_of_single_photons_stands_for_no_other_light(link, entry):
    with pytest.raises(ConfigurationError, match=entry):
        emulate_recorded(load_profile(link), np.array([1]), np.array([1]), 1e8, seed=1)
