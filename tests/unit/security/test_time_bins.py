"""What the three-state proof gives away beyond the rest where time bins are read: rounds with a second click, and the noise only Z has."""

import pytest

from common.planning.expected import expected_block
from common.profiles.link import load_profile
from common.profiles.setting import three_state_setting
from common.security.bounds import binomial_upper_bound
from common.security.multi_photon import hidden_click_bound
from common.security.proofs import three_state


def setting_of(*settings):
    return three_state_setting(load_profile("timebin-120km", settings))


def test_z_is_open_twice_as_long_as_x():
    """Each port has half of the noise; Z opens both of them twice, X once, and one photon is as likely to come in either."""
    once = 60.0 * 4380e-12

    assert setting_of().probability_excess_noise == pytest.approx(once, rel=1e-12)
    assert setting_of("receiver.gate_ps=1095").probability_excess_noise == pytest.approx(once / 4, rel=1e-12)
    assert setting_of("channel.background_hz=60").probability_excess_noise == pytest.approx(2 * once, rel=1e-12)


@pytest.mark.parametrize("link", ["hefei", "timebin-120km"])
def test_only_a_receiver_whose_x_shows_too_little_noise_gives_any_away(link):
    setting = three_state_setting(load_profile(link))
    names = three_state.events(setting)

    assert ("excess noise key Z" in names) == (setting.probability_excess_noise > 0.0) == (link == "timebin-120km")
    assert setting.least_cross_probability == pytest.approx(0.18 if link == "hefei" else 0.375)
    assert len(set(names)) == len(names)


def test_a_receiver_that_seldom_looks_in_z_has_excess_noise_too_and_an_active_one_has_none():
    seldom = load_profile("hefei", ["receiver.probability_z=0.2"])
    per_basis = 43.0 * 3420e-12 / 2

    assert three_state_setting(seldom).probability_excess_noise == pytest.approx(0.75 * per_basis, rel=1e-9)
    active = load_profile("hefei", ["receiver.probability_z=0.2", "receiver.basis_choice=active"])
    assert three_state_setting(active).probability_excess_noise == 0.0


def test_the_tagged_bits_are_the_sum_of_their_three_bounds():
    profile = load_profile("timebin-120km")
    setting, block = three_state_setting(profile), expected_block(profile)
    share = block.key.epsilon["estimation, excess noise key Z"]
    pulses, frames = block.counts.pulses, setting.maximum_frames
    key = setting.probability_z_alice * setting.probability_z_bob * (1 - setting.test_fraction_z) * setting.probability_multi_photon

    tagged = binomial_upper_bound(pulses, key, share / frames)
    tagged += binomial_upper_bound(pulses, setting.probability_noisy_key, share / frames)
    tagged += hidden_click_bound(block.counts.cross_clicks, 0.375, share)
    assert -block.key.ledger["multi-photon Z"] == tagged
