"""Rates of the emulated link against the formulas of docs/explanation/emulator; each comparison fails by chance once in 1e6."""

from itertools import pairwise

import numpy as np
import pytest

from common.emulator import link as link_module
from common.emulator.link import NOISE, SYNC, emulate, emulate_stretches
from common.errors import ConfigurationError
from tests.physics.links import CLOCK_HZ, clicks, cross_click_slots, link, matched, signal_slots, single_photon_model
from tests.physics.statistics import assert_binomial

SECONDS = 0.02
SLOTS = round(SECONDS * CLOCK_HZ)


@pytest.mark.parametrize("loss_db", [0.0, 6.0, 20.0])
def test_a_pulse_is_detected_with_the_signal_probability(loss_db):
    profile = link(f"channel.loss_db={loss_db}")
    *_, signal = single_photon_model(profile)

    assert_binomial(signal_slots(emulate(profile, SECONDS, seed=1)).size, SLOTS, signal)


def test_dark_counts_and_background_add_to_the_click_probability():
    profile = link("receiver.dark_rate_hz=2e6", "channel.background_hz=1e6", "channel.loss_db=13.0")
    *_, signal = single_photon_model(profile)
    emulation = emulate(profile, SECONDS, seed=2)
    noise = 1 - np.exp(-3e6 / CLOCK_HZ)

    assert_binomial(int((emulation.truth.kind == NOISE).sum()), SLOTS, 3e6 / CLOCK_HZ)
    assert_binomial(np.unique(emulation.truth.slot).size, SLOTS, 1 - (1 - noise) * (1 - signal))


def test_noise_is_spread_over_all_detectors_and_over_the_whole_period():
    emulation = emulate(link("receiver.dark_rate_hz=5e6", "channel.loss_db=60.0"), SECONDS, seed=3)
    noise = emulation.truth.kind == NOISE
    phase = (emulation.tags.t_ps[noise] - emulation.truth.origin_ps) % 10_000

    for outcome in range(4):
        assert_binomial(int((emulation.tags.channel[noise] == outcome).sum()), int(noise.sum()), 0.25)
    for quarter in range(4):
        assert_binomial(int((phase // 2500 == quarter).sum()), int(noise.sum()), 0.25)


@pytest.mark.parametrize("basis_choice", ["passive", "active"])
def test_the_qber_is_misalignment_and_half_of_the_noise(basis_choice):
    profile = link("receiver.dark_rate_hz=1e6", "channel.loss_db=10.0", f'receiver.basis_choice="{basis_choice}"')
    *_, signal = single_photon_model(profile)
    noise = 1e6 / CLOCK_HZ

    slots, outcomes, settings = clicks(emulate(profile, SECONDS, seed=4))
    sifted = matched(outcomes, settings)
    expected = (profile.channel.misalignment * signal + noise / 2) / (signal + noise)

    for basis in (0, 1):
        chosen = sifted & (outcomes >> 1 == basis)
        assert_binomial(int((outcomes[chosen] != settings[chosen]).sum()), int(chosen.sum()), expected)
    assert_binomial(int((outcomes[~sifted] & 1).sum()), int((~sifted).sum()), 0.5)
    assert slots.size == outcomes.size


@pytest.mark.parametrize("basis_choice", ["passive", "active"])
def test_bases_come_with_the_probabilities_of_the_profile(basis_choice):
    profile = link("receiver.probability_z=0.9", "source.probability_z=0.7", f'receiver.basis_choice="{basis_choice}"')
    emulation = emulate(profile, SECONDS, seed=5)
    slots, outcomes, _ = clicks(emulation)
    settings = emulation.emission.window(0, SLOTS)

    assert_binomial(int((outcomes < 2).sum()), slots.size, 0.9)
    assert emulation.emission.header.probabilities == pytest.approx((0.35, 0.35, 0.15, 0.15))
    for setting, probability in enumerate(emulation.emission.header.probabilities):
        assert_binomial(int((settings == setting).sum()), SLOTS, probability)


def test_clicks_come_from_multi_photon_pulses_as_often_as_g2_says():
    profile = link("channel.loss_db=3.0")
    _, p_m, eta, signal = single_photon_model(profile)
    emulation = emulate(profile, SECONDS, seed=6)

    from_pairs = np.unique(emulation.truth.slot[emulation.truth.emitted == 2]).size
    assert_binomial(from_pairs, signal_slots(emulation).size, p_m * (1 - (1 - eta) ** 2) / signal)


def test_a_passive_receiver_shows_cross_clicks_of_photon_pairs():
    profile = link("channel.loss_db=0.0", "receiver.probability_z=0.7")
    _, p_m, eta, _ = single_photon_model(profile)
    slots, outcomes, _ = clicks(emulate(profile, SECONDS, seed=7))

    assert_binomial(cross_click_slots(slots, outcomes).size, SLOTS, p_m * eta**2 * 2 * 0.7 * 0.3)


def test_an_active_receiver_measures_a_slot_in_one_basis():
    profile = link("channel.loss_db=0.0", "receiver.dark_rate_hz=1e7", 'receiver.basis_choice="active"')
    slots, outcomes, _ = clicks(emulate(profile, SECONDS, seed=8))

    assert np.unique(slots).size < slots.size - 1000
    assert cross_click_slots(slots, outcomes).size == 0


@pytest.mark.parametrize(("basis_choice", "detectors"), [("passive", 4), ("active", 2)])
def test_dead_time_leaves_the_live_fraction_of_a_poisson_stream(basis_choice, detectors):
    """live = 1/(1 + r tau); the counts of a renewal process vary less than Poisson counts, so the test is stricter than it states."""
    rate_hz, dead_s = 4e7, 30e-9
    profile = link(
        f"receiver.dark_rate_hz={rate_hz}", "receiver.dead_time_ps=30000", "channel.loss_db=60.0", f'receiver.basis_choice="{basis_choice}"'
    )
    emulation = emulate(profile, SECONDS, seed=9)
    live = 1 / (1 + rate_hz / detectors * dead_s)
    blind = emulation.tags.channel & 1 if basis_choice == "active" else emulation.tags.channel

    assert_binomial(emulation.truth.count_arrived, round(rate_hz), SECONDS)
    assert_binomial(len(emulation.tags), emulation.truth.count_arrived, live)
    for detector in range(detectors):
        assert int(np.diff(emulation.tags.t_ps[blind == detector]).min()) >= 30_000


def test_a_weaker_detector_sees_less():
    emulation = emulate(link("channel.misalignment=0.0"), SECONDS, seed=10, efficiency_ratios=(1.0, 0.5, 1.0, 1.0))
    counts = np.bincount(emulation.tags.channel, minlength=4)

    assert_binomial(int(counts[1]), int(counts[0] + counts[1]), 1 / 3)
    assert_binomial(int(counts[2]), int(counts[2] + counts[3]), 1 / 2)


def test_reference_pulses_mark_multiples_of_the_divider():
    profile = link("receiver.sync_divider=16", "receiver.sync_detection_probability=0.6", "receiver.dead_time_ps=1e6")
    emulation = emulate(profile, SECONDS, seed=11, first_slot=1000)
    sync = emulation.truth.kind == SYNC

    assert not np.any(emulation.truth.slot[sync] % 16)
    assert emulation.truth.slot[sync].min() >= 1000
    assert_binomial(int(sync.sum()), SLOTS // 16, 0.6)
    assert np.array_equal(emulation.tags.times_of("sync"), emulation.tags.t_ps[sync])
    assert emulation.tags.sync_divider == 16


def test_without_reference_pulses_there_is_no_channel_for_them():
    tags = emulate(link(), SECONDS, seed=12).tags

    assert tags.channels == {"H": 0, "V": 1, "D": 2, "A": 3}
    assert tags.sync_divider == 0


def test_blinking_bunches_clicks_and_keeps_their_mean():
    """While bright the rate is 1/beta times the mean; at large distances it is the mean. The mean number of clicks varies by the
    bright periods too, which the doubled allowance of the first comparison covers (correlation 100 slots, 20,000 of them)."""
    beta = 0.25
    profile = link(f"source.on_fraction={beta}", "source.mean_photon_number=0.1", "source.g2=0.2", "channel.loss_db=0.0")
    mu, p_m, eta, _ = single_photon_model(profile)
    emulation = emulate(profile, SECONDS, seed=13)
    slots = signal_slots(emulation)
    bright = mu / beta * eta - p_m / beta**2 * eta**2
    neighbours = np.isin(slots + 1, slots).sum()
    distant = np.isin(slots + 5000, slots).sum()

    correlated = 2 * 100 * bright * (1 - beta)
    assert abs(slots.size - SLOTS * beta * bright) < 5 * np.sqrt(slots.size * (1 + correlated))
    assert_binomial(int(neighbours), slots.size, bright * (beta + (1 - beta) * np.exp(-1 / 100)))
    assert abs(distant / slots.size - beta * bright) < 5 * np.sqrt(beta * bright * (1 + correlated) / slots.size)
    pairs = np.unique(emulation.truth.slot[emulation.truth.emitted == 2]).size
    assert_binomial(pairs, slots.size, p_m / beta**2 * (1 - (1 - eta) ** 2) / bright)


def test_equal_seeds_give_equal_runs_and_others_do_not():
    one, again, other = (emulate(link(), 0.001, seed=seed) for seed in (5, 5, 6))

    assert np.array_equal(one.tags.t_ps, again.tags.t_ps)
    assert np.array_equal(one.tags.channel, again.tags.channel)
    assert np.array_equal(one.emission.window(0, 1000), again.emission.window(0, 1000))
    assert not np.array_equal(one.emission.window(0, 1000), other.emission.window(0, 1000))
    assert one.truth.origin_ps != other.truth.origin_ps


def test_stretches_are_the_run_cut_in_pieces(monkeypatch):
    """Thousands of cuts through clicks that overtake each other: nothing is lost, doubled or out of order."""
    monkeypatch.setattr(link_module, "_STRETCH_CLICKS", 50)
    profile = link(
        "channel.loss_db=0.0",
        "source.lifetime_ps=30000",
        "receiver.jitter_ps=20000",
        "receiver.dark_rate_hz=1e7",
        "receiver.sync_divider=8",
        "receiver.sync_detection_probability=1.0",
    )
    *_, signal = single_photon_model(profile)
    whole = emulate(profile, 0.005, seed=14)
    stretches = list(emulate_stretches(profile, 0.005, seed=14))
    slots = round(0.005 * CLOCK_HZ)

    assert len(stretches) > 2000
    assert all(one.tags.t_ps[-1] <= other.tags.t_ps[0] for one, other in pairwise(s for s in stretches if len(s.tags)))
    assert np.array_equal(np.concatenate([stretch.tags.t_ps for stretch in stretches]), whole.tags.t_ps)
    assert np.array_equal(np.concatenate([stretch.truth.slot for stretch in stretches]), whole.truth.slot)
    assert np.array_equal(np.sort(whole.truth.slot[whole.truth.kind == SYNC]), np.arange(0, slots, 8))
    assert_binomial(signal_slots(whole).size, slots, signal)
    assert_binomial(int((whole.truth.kind == NOISE).sum()), slots, 0.1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (['source.kind="weak-coherent"'], "source.kind"),
        (["source.mean_photon_number=2.0", "source.g2=1.0"], "two photons"),
        (["receiver.tagger_resolution_ps=0.5"], "tagger_resolution_ps"),
    ],
)
def test_what_is_not_emulated_is_refused(settings, message):
    with pytest.raises(ConfigurationError, match=message):
        emulate(link(*settings), 0.001, seed=1)


@pytest.mark.parametrize("seconds", [0.0, -1.0, 1e-9, 1e9, float("nan")])
def test_a_duration_out_of_range_is_refused(seconds):
    with pytest.raises(ConfigurationError, match="emulation"):
        emulate(link(), seconds, seed=1)


def test_other_arguments_out_of_range_are_refused():
    with pytest.raises(ConfigurationError, match="first slot"):
        emulate(link(), 0.001, seed=1, first_slot=-1)
    with pytest.raises(ConfigurationError, match="ratios"):
        emulate(link(), 0.001, seed=1, efficiency_ratios=(1.0, 1.0, 1.0, 1.1))
