"""The planner's channel model at the named links, and its limits."""

from dataclasses import replace
from math import exp, fsum, log

import pytest

from common.errors import ConfigurationError
from common.planning.link_model import link_model
from common.profiles.link import load_profile
from common.protocols.protocol import OUTCOMES


def test_hbn_detects_three_pulses_in_a_thousand_at_six_percent_errors():
    model = link_model(load_profile("hbn"))
    assert model.probability_detection == pytest.approx(0.003, rel=1e-2)
    assert model.probability_multi_photon / model.probability_detection == pytest.approx(0.015, rel=1e-2)
    assert model.z.qber == model.x.qber == pytest.approx(0.0606, abs=1e-3)
    assert model.probability_cross == 0.0


def test_a_simple_link_is_the_textbook_formula():
    """``p_c = 1 - (1 - Y0)(1 - s)`` and ``e = (p_mis s + Y0/2) / p_c``: no shape, no dead time, pairs left out."""
    settings = ("source.lifetime_ps=0", "receiver.jitter_ps=0", "receiver.dead_time_ps=0", "source.g2=0", "receiver.dark_rate_hz=2000")
    model = link_model(load_profile("niedersachsen", settings))
    signal, dark = 0.138 * 0.464 * 0.74**2 * 10**-2.549, 2000 / 228e6
    click = 1.0 - (1.0 - dark) * (1.0 - signal)
    assert model.live_ratio == 1.0
    assert model.probability_detection + model.probability_cross == pytest.approx(click, rel=1e-6)
    assert model.z.probability_sifted == pytest.approx(click / 4.0, rel=1e-4)
    assert model.z.qber == pytest.approx((2.57e-4 * signal + dark / 2.0) / click, rel=1e-3)


def test_cross_clicks_of_a_passive_receiver_come_from_pairs_and_noise():
    profile = load_profile("niedersachsen", ("source.lifetime_ps=0",))
    model = link_model(profile)
    pairs = model.probability_multi_photon * model.transmission**2 / 2.0
    with_noise = 0.138 * 0.464 * model.transmission * profile.receiver.dark_rate_hz / 228e6 / 2.0
    assert model.probability_cross == pytest.approx((pairs + with_noise) * model.live_ratio, rel=5e-3)


def test_of_a_state_of_z_the_other_basis_tells_nothing():
    (pulse,) = link_model(load_profile("hefei")).pulses
    for row in pulse.table[:2]:
        assert row[2] == pytest.approx(row[3], rel=1e-9)
    assert pulse.table[2][0] == pytest.approx(pulse.table[2][1], rel=1e-9)


def test_measured_states_show_in_the_table():
    (pulse,) = link_model(load_profile("hefei", ("source.state_angles_deg=[0, 180, 100]",))).pulses
    assert pulse.table[2][1] > 1.3 * pulse.table[2][0]
    assert pulse.table[2][2] < link_model(load_profile("hefei")).pulses[0].table[2][2]


def test_an_intensity_clicks_with_its_own_probability():
    profile = load_profile("decoy", ("receiver.dark_rate_hz=0", "receiver.dead_time_ps=0"))
    model = link_model(profile)
    for pulse, intensity in zip(model.pulses, profile.source.intensities, strict=True):
        assert pulse.mean_photon_number == intensity
        for row, cross in zip(pulse.table, pulse.cross, strict=True):
            assert sum(row) + cross == pytest.approx(1.0 - exp(-intensity * model.transmission), rel=1e-9)
    assert sum(pulse.probability for pulse in model.pulses) == pytest.approx(1.0)
    joint = [entry for intensity in range(3) for row in model.joint(intensity) for entry in row]
    assert fsum(joint) == pytest.approx(model.probability_detection)
    assert 0.05 < model.probability_multi_photon < 1.0 - exp(-0.45) - 0.45 * exp(-0.45)


def test_time_bins_share_noise_between_three_windows():
    """Outer windows are read on both ports, the middle one is X0 on one port and X1 on the other."""
    settings = ("channel.loss_db=200", "receiver.dark_rate_hz=5e5", "receiver.dead_time_ps=0", "receiver.gate_ps=2000")
    (pulse,) = link_model(load_profile("timebin-120km", settings)).pulses
    for row in pulse.table:
        assert row[:2] == pytest.approx((5e5 * 2000e-12,) * 2, rel=1e-2)
        assert row[2:] == pytest.approx((2.5e5 * 2000e-12,) * 2, rel=1e-2)


def test_a_visibility_below_one_is_an_error_of_x_only():
    settings = ("receiver.dark_rate_hz=0", "source.lifetime_ps=0", "channel.visibility=0.9", "channel.misalignment=0.02")
    model = link_model(load_profile("timebin-120km", settings))
    assert model.z.qber == pytest.approx(0.02, rel=1e-3)
    assert model.x.qber == pytest.approx(0.05, rel=1e-3)


def test_dead_time_keeps_only_slots_in_which_every_detector_is_live():
    slots = 8
    model = link_model(load_profile("niedersachsen", ("channel.loss_db=5", "source.lifetime_ps=0", "receiver.jitter_ps=0")))
    each = 0.138 * 0.464 * model.transmission / 4.0
    assert model.live_ratio == pytest.approx((1.0 + slots * each) ** -4, rel=3e-3)
    slow = link_model(load_profile("hbn", ("receiver.dead_time_ps=1e6",)))
    assert slow.live_ratio == pytest.approx(1.0, abs=2e-4)  # shorter than a period: only noise can block the next pulse


def test_fading_averages_probabilities_and_not_decibels():
    settings = ("receiver.dead_time_ps=0", "receiver.dark_rate_hz=0", "source.g2=0")
    steady = link_model(load_profile("niedersachsen", settings))
    fading = link_model(load_profile("niedersachsen", (*settings, "channel.fading_sigma_db=2")))
    gain = exp((2.0 * log(10.0) / 10.0) ** 2 / 2.0)  # mean of a lognormal transmission over its median
    assert fading.probability_detection == pytest.approx(gain * steady.probability_detection, rel=1e-5)
    assert fading.transmission == pytest.approx(gain * steady.transmission, rel=1e-5)


def test_a_blinking_emitter_sends_more_pairs_at_the_same_mean():
    profile = load_profile("niedersachsen", ("channel.loss_db=5",))
    blinking = replace(profile, source=replace(profile.source, on_fraction=0.25))
    one, other = link_model(profile), link_model(blinking)
    assert other.probability_multi_photon == pytest.approx(4.0 * one.probability_multi_photon)
    assert other.pulses[0].mean_photon_number == pytest.approx(one.pulses[0].mean_photon_number)
    assert other.probability_cross > 2.0 * one.probability_cross


def test_rows_and_columns_are_those_of_the_protocol():
    for name in ("decoy", "hbn", "hefei", "niedersachsen", "timebin-120km"):
        profile = load_profile(name)
        model = link_model(profile)
        assert model.protocol.name == profile.protocol
        assert len(model.pulses) == max(1, len(profile.source.intensities))
        assert sum(model.setting_probabilities) == pytest.approx(1.0)
        for pulse in model.pulses:
            assert [len(row) for row in pulse.table] == [len(OUTCOMES)] * len(model.protocol.settings)
            assert len(pulse.cross) == len(model.setting_probabilities) == len(model.protocol.settings)


def test_what_no_two_photons_can_be_is_refused():
    with pytest.raises(ConfigurationError, match=r"source.mean_photon_number"):
        link_model(load_profile("hbn", ("source.mean_photon_number=1.5",)))
    with pytest.raises(ConfigurationError, match=r"source.g2"):
        link_model(load_profile("hbn", ("source.mean_photon_number=1.2", "source.g2=0.9")))


def test_a_receiver_of_time_bins_does_not_choose_the_basis():
    with pytest.raises(ConfigurationError, match=r"receiver.probability_z"):
        load_profile("timebin-120km", ("receiver.probability_z=0.9",))
    with pytest.raises(ConfigurationError, match=r"receiver.basis_choice"):
        load_profile("timebin-120km", ("receiver.basis_choice=active",))
