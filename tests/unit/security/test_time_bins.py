"""What the three-state proof gives away beyond the rest where time bins are read: rounds with a second click, and what only Z sees."""

from dataclasses import replace

import pytest

from common.distillation.recipe import Recipe
from common.errors import ConfigurationError
from common.leakage import Leakage
from common.planning.expected import expected_block
from common.planning.rate import rate_point
from common.profiles.link import load_profile, profile_names
from common.profiles.setting import block_setting, three_state_setting
from common.security.bounds import binomial_upper_bound
from common.security.epsilons import EpsilonBudget
from common.security.key_length import key_length
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
def test_only_a_receiver_that_reads_both_bases_on_the_same_detectors_counts_what_z_has_beyond_x(link):
    setting = three_state_setting(load_profile(link))
    names = three_state.events(setting)

    assert ("excess key Z" in names) == setting.windows_share_ports == (link == "timebin-120km")
    assert "excess noise key Z" not in names
    assert setting.least_cross_probability == pytest.approx(0.18 if link == "hefei" else 0.375)
    assert len(set(names)) == len(names)


def test_a_receiver_that_seldom_looks_in_z_has_excess_noise_too_and_an_active_one_has_none():
    seldom = load_profile("hefei", ["receiver.probability_z=0.2"])
    per_basis = 43.0 * 3420e-12 / 2

    assert three_state_setting(seldom).probability_excess_noise == pytest.approx(0.75 * per_basis, rel=1e-9)
    assert "excess noise key Z" in three_state.events(three_state_setting(seldom))
    active = load_profile("hefei", ["receiver.probability_z=0.2", "receiver.basis_choice=active"])
    assert three_state_setting(active).probability_excess_noise == 0.0


def test_the_tagged_bits_are_the_sum_of_their_three_bounds():
    profile = load_profile("timebin-120km")
    setting, block = three_state_setting(profile), expected_block(profile)
    share = block.key.epsilon["estimation, excess key Z"]
    pulses, frames = block.counts.pulses, setting.maximum_frames
    key = setting.probability_z_alice * setting.probability_z_bob * (1 - setting.test_fraction_z) * setting.probability_multi_photon
    inside = hidden_click_bound(block.counts.cross_clicks, 0.375, share)
    shown = sum(sum(row[2:]) for row in block.counts.table[:2]) - inside

    tagged = binomial_upper_bound(pulses, key, share / frames) + inside
    tagged += three_state.excess_bound(setting, block.counts.z.key, shown, share)
    assert -block.key.ledger["multi-photon Z"] == tagged


def test_the_excess_that_is_expected_is_the_noise_that_z_has_beyond_x():
    """The bound lies above the expectation by its margins, six or seven standard deviations of both counts."""
    profile = load_profile("timebin-120km")
    setting, counts = three_state_setting(profile), expected_block(profile).counts
    ratio = setting.probability_z_bob * (1 - setting.test_fraction_z) / (1 - setting.probability_z_bob)
    shown = sum(sum(row[2:]) for row in counts.table[:2])
    expected = counts.pulses * setting.probability_noisy_key
    spread = (counts.z.key + ratio**2 * shown) ** 0.5

    assert counts.z.key - ratio * shown == pytest.approx(expected, rel=0.02)
    assert 0 < three_state.excess_bound(setting, counts.z.key, shown, 1e-11) - expected < 16 * spread


@pytest.mark.parametrize("taken", [0.1, 1 / 3, 1.0])
def test_bits_of_light_that_only_z_sees_are_given_away(taken):
    """She measures, and sends a photon one bin late where she knows two slots: Z clicks without an error, and X sees nothing."""
    profile = load_profile("timebin-120km")
    setting, block = three_state_setting(profile), expected_block(profile)
    quiet = tuple((row[0], row[1], int(row[2] * (1 - taken)), int(row[3] * (1 - taken))) for row in block.counts.table)

    found = key_length(replace(block.counts, table=quiet), Leakage(), setting, EpsilonBudget.of(profile.security))
    assert -found.ledger["multi-photon Z"] >= taken * block.counts.z.key
    assert taken < 1.0 or found.secret_bits == 0


def test_counts_that_contradict_the_probabilities_of_the_settings_make_no_key():
    """A record prepared with 0.9 and a proof told 0.92: the sum of probabilities would be negative."""
    profile = load_profile("timebin-120km")
    setting, counts = three_state_setting(profile), expected_block(profile).counts
    told = replace(setting, probability_z_alice=setting.probability_z_alice + 0.02)

    found = key_length(counts, Leakage(), told, EpsilonBudget.of(profile.security))
    assert found.secret_bits == 0
    assert found.phase_error_bound["Z"] == 1.0


DECOYS = ("receiver.basis_choice=passive",)
THREE_STATE_DECOYS = ("protocol=three-state-decoy", "security.proof=three-state-decoy", "security.paper_proof=three-state-laser", *DECOYS)


@pytest.mark.parametrize(
    ("link", "settings", "basis"),
    [
        ("niedersachsen", ("receiver.probability_z=0.1",), "Z"),
        ("niedersachsen", ("receiver.probability_z=0.9", "security.key_bases=both"), "X"),
        ("niedersachsen", ("receiver.probability_z=0.1", "security.key_bases=both"), "Z"),
        ("niedersachsen", ("receiver.probability_z=0.1", "receiver.dark_rate_hz=0", "channel.background_hz=10"), "Z"),
        ("niedersachsen", ("encoding=time-bin", "receiver.time_bin_separation_ps=1000", "receiver.gate_ps=900"), "Z"),
        ("decoy", (*DECOYS, "receiver.probability_z=0.2"), "Z"),
        ("decoy", (*THREE_STATE_DECOYS, "receiver.probability_z=0.2"), "Z"),
    ],
)
def test_a_proof_that_gives_no_excess_noise_away_refuses_the_receiver(link, settings, basis):
    """Noise comes at the rate of open detectors: of a basis with less light than noise the other one shows too little of it."""
    profile = load_profile(link, settings)

    with pytest.raises(ConfigurationError, match=f"receiver.probability_z = .* key basis {basis} of this passive receiver has") as refused:
        block_setting(profile)
    assert "protocol = 'three-state'" in str(refused.value)
    for asymptotic in (False, True):
        with pytest.raises(ConfigurationError, match=f"key basis {basis}"):
            rate_point(profile, asymptotic=asymptotic)
    with pytest.raises(ConfigurationError):
        Recipe.of(profile)


@pytest.mark.parametrize(
    ("link", "settings"),
    [
        *((name, ()) for name in profile_names()),
        ("niedersachsen", ("receiver.probability_z=0.9",)),
        ("niedersachsen", ("security.key_bases=both",)),
        ("niedersachsen", ("receiver.probability_z=0.1", "receiver.basis_choice=active")),
        ("niedersachsen", ("receiver.probability_z=0.1", "receiver.dark_rate_hz=0")),
        ("hefei", ("receiver.probability_z=0.2",)),
        ("decoy", (*DECOYS,)),
        ("decoy", THREE_STATE_DECOYS),
    ],
)
def test_a_receiver_without_excess_noise_or_a_proof_that_gives_it_away_is_taken(link, settings):
    assert block_setting(load_profile(link, settings)) is not None
