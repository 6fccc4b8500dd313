"""The planner at the published links, and its limits."""

from math import exp, fsum

import pytest

from common.errors import ConfigurationError
from common.planning.expected import asymptotic_rate, expected_block, expected_counts, pulses_for_block
from common.planning.gate import captured_share
from common.planning.link_model import link_model
from common.profiles.link import load_profile


def test_niedersachsen_tolerates_the_loss_of_its_published_parameters():
    """27.99 dB from the parameters, 28.11 dB in the publication."""
    assert asymptotic_rate(load_profile("niedersachsen", ["channel.loss_db=27.98"])) > 0.0
    assert asymptotic_rate(load_profile("niedersachsen", ["channel.loss_db=28.0"])) == 0.0
    assert asymptotic_rate(load_profile("niedersachsen")) == pytest.approx(2.07e-5, rel=2e-3)


def test_hbn_detects_three_pulses_in_a_thousand_at_six_percent_errors():
    model = link_model(load_profile("hbn"))
    assert model.probability_click == pytest.approx(0.003, rel=1e-2)
    assert model.probability_multi_photon / model.probability_click == pytest.approx(0.015, rel=1e-2)
    assert model.z.qber == model.x.qber == pytest.approx(0.0606, abs=1e-3)
    assert model.probability_cross == 0.0


@pytest.mark.parametrize("name", ["niedersachsen", "hbn"])
def test_a_mean_block_of_a_published_link_makes_key_by_the_live_formula(name):
    profile = load_profile(name)
    block = expected_block(profile)
    assert block.key.secret_bits > 100_000
    assert fsum(block.key.ledger.values()) == block.key.secret_bits
    assert block.counts.z.key + block.counts.x.key >= profile.security.block_bits
    assert block.counts.pulses % profile.security.frame_pulses == 0
    assert 0.0 < block.secret_bits_per_pulse
    assert block.seconds == block.counts.pulses / profile.source.clock_hz


def test_large_blocks_approach_the_asymptotic_rate_of_one_basis():
    """X is disclosed whole, so half the published rate; dead time and late photons take the rest."""
    profile = load_profile("niedersachsen", ["security.block_bits=200000000", "security.maximum_frames=1000000"])
    ratio = expected_block(profile).secret_bits_per_pulse / (asymptotic_rate(profile) / 2.0)
    assert 0.95 < ratio < 1.0


def test_cross_clicks_of_a_passive_receiver_come_from_pairs_and_dark_counts():
    model = link_model(load_profile("niedersachsen"))
    pairs = model.probability_multi_photon * model.transmission**2 / 2.0
    by_dark = model.probability_signal * model.probability_dark / 2.0
    assert model.probability_cross == pytest.approx(pairs + by_dark, rel=5e-3)
    assert model.probability_single_basis + model.probability_cross == pytest.approx(model.probability_click)


def test_dead_time_keeps_only_slots_in_which_every_detector_is_live():
    fast = load_profile("niedersachsen", ["channel.loss_db=0.0"])
    model = link_model(fast)
    rate_hz = model.probability_click * 228e6 / 4.0
    assert model.live_ratio == pytest.approx((1.0 + rate_hz * 35865e-12) ** -4, rel=1e-3)
    active = link_model(load_profile("hbn", ["channel.loss_db=0.0", "receiver.dead_time_ps=1e7"]))
    assert active.live_ratio == pytest.approx(
        (1.0 + active.probability_click * 500e3 / 2.0 * 1e-5) ** -2, rel=2e-3
    )  # dark counts outside the gate block too


def test_counts_follow_the_test_fractions():
    counts = expected_counts(load_profile("hbn", ["security.test_fraction=0.25"]), 10**9)
    assert counts.z.tested == pytest.approx(counts.z.key / 3.0, rel=1e-4)
    assert counts.x.errors == pytest.approx(counts.x.tested * 0.0606, rel=1e-2)
    assert counts.z.kept == counts.z.key
    assert counts.frames == 1000


def test_a_block_ends_at_the_maximum_number_of_frames():
    assert pulses_for_block(load_profile("hbn", ["security.maximum_frames=7"])) == 7 * 10**6


def test_what_cannot_be_planned_is_refused():
    with pytest.raises(ConfigurationError, match="single-photon"):
        link_model(load_profile("hbn", ["source.kind=weak-coherent"]))
    with pytest.raises(ConfigurationError, match="no key bit"):
        pulses_for_block(load_profile("hbn", ["receiver.efficiency=0.0", "receiver.dark_rate_hz=0.0"]))
    with pytest.raises(ConfigurationError, match="efficiency"):
        expected_block(load_profile("hbn"), reconciliation_efficiency=0.9)


def test_a_pulse_without_width_passes_any_gate():
    assert captured_share(0.0, 0.0, 100.0, 1000.0) == (1.0, 0.0)


def test_a_sharp_exponential_is_cut_at_the_end_of_the_gate():
    inside, straggling = captured_share(600.0, 0.0, 1000.0, 4000.0)
    assert inside == pytest.approx(1.0 - exp(-1000.0 / 600.0))
    assert straggling == pytest.approx(exp(-4000.0 / 600.0) * inside, rel=1e-2)


@pytest.mark.parametrize(("lifetime_ps", "jitter_ps"), [(592.5, 30.0), (592.5, 500.0), (1.0, 300.0), (0.0, 50.0)])
def test_a_gate_of_one_period_loses_nothing_and_a_narrow_one_keeps_less(lifetime_ps, jitter_ps):
    inside, straggling = captured_share(lifetime_ps, jitter_ps, 4386.0, 4386.0)
    assert inside + straggling == pytest.approx(1.0, abs=1e-6)
    narrow, _ = captured_share(lifetime_ps, jitter_ps, 200.0, 4386.0)
    assert 0.0 < narrow < inside
