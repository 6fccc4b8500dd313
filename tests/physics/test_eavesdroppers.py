"""What eavesdroppers disturb and what they learn; each comparison fails by chance once in 1e6."""

import numpy as np
import pytest

from common.emulator.eavesdropper import InterceptResend, PhotonNumberSplitting, eavesdropper_from_text
from common.emulator.link import emulate
from common.errors import ConfigurationError
from tests.physics.links import CLOCK_HZ, clicks, cross_click_slots, link, matched, signal_slots, single_photon_model
from tests.physics.statistics import assert_binomial

SECONDS = 0.04
SLOTS = round(SECONDS * CLOCK_HZ)


def knowledge(emulation):
    eve = emulation.truth.eve
    assert eve is not None
    return eve


@pytest.mark.parametrize("strength", [0.0, 0.1, 1.0])
def test_intercept_and_resend_adds_a_quarter_of_its_strength_to_the_qber(strength):
    profile = link("channel.misalignment=0.02")
    _, _, _, signal = single_photon_model(profile)
    emulation = emulate(profile, SECONDS, seed=1, eavesdropper=InterceptResend(strength))
    _, outcomes, settings = clicks(emulation)
    sifted = matched(outcomes, settings)

    assert_binomial(signal_slots(emulation).size, SLOTS, signal)
    for basis in (0, 1):
        chosen = sifted & (outcomes >> 1 == basis)
        errors = int((outcomes[chosen] != settings[chosen]).sum())
        assert_binomial(errors, int(chosen.sum()), strength / 4 * 0.98 + (1 - strength / 4) * 0.02)


def test_intercept_and_resend_learns_half_of_what_it_measures():
    emulation = emulate(link(), SECONDS, seed=2, eavesdropper=InterceptResend(0.3))
    eve = knowledge(emulation)
    slots, outcomes, settings = clicks(emulation)
    sifted = np.unique(slots[matched(outcomes, settings)])

    assert np.array_equal(eve.settings, emulation.emission.lookup(eve.slots))
    assert np.all(np.diff(eve.slots) > 0)
    assert_binomial(eve.count_attacked, signal_slots(emulation).size, 0.3)
    assert_binomial(eve.slots.size, eve.count_attacked, 0.5)
    assert_binomial(np.intersect1d(eve.slots, sifted).size, sifted.size, 0.15)


@pytest.mark.parametrize("receiver", ["passive", "active"])
def test_bright_pulses_click_in_both_bases_of_a_passive_receiver_only(receiver):
    """Three photons: with a splitter that sends q of them to Z all end in one basis with probability q^3 + (1-q)^3."""
    profile = link("source.g2=0.0", "channel.misalignment=0.0", "receiver.probability_z=0.8", f"receiver.basis_choice={receiver}")
    emulation = emulate(profile, SECONDS, seed=8, eavesdropper=InterceptResend(0.4, photons=3, probability_z=1.0))
    eve = knowledge(emulation)
    slots, outcomes, settings = clicks(emulation)
    cross, of_cross = cross_click_slots(slots, outcomes).size, 1 - 0.8**3 - 0.2**3

    assert_binomial(eve.count_attacked, signal_slots(emulation).size, 0.4)
    assert np.all(eve.settings < 2)
    assert_binomial(eve.slots.size, eve.count_attacked, profile.source.probability_z)
    assert_binomial(cross, eve.count_attacked, of_cross if receiver == "passive" else 0.0)
    wrong_in_z = (outcomes < 2) & (settings < 2) & (outcomes != settings)
    assert not wrong_in_z.any()


@pytest.mark.parametrize(
    "options", [{"photons": 0}, {"probability_z": 1.5}, {"strength": -0.1}], ids=["no photons", "no probability", "no strength"]
)
def test_an_attack_that_cannot_be_is_refused(options):
    with pytest.raises(ConfigurationError, match="eavesdropper"):
        InterceptResend(**options)


@pytest.mark.parametrize("loss_db", [6.0, 15.0, 25.0])
def test_splitting_keeps_gain_and_qber(loss_db):
    profile = link(f"channel.loss_db={loss_db}")
    _, _, _, signal = single_photon_model(profile)
    emulation = emulate(profile, SECONDS, seed=3, eavesdropper=PhotonNumberSplitting())
    slots, outcomes, settings = clicks(emulation)
    sifted = matched(outcomes, settings)

    assert_binomial(signal_slots(emulation).size, SLOTS, signal)
    assert_binomial(int((outcomes[sifted] != settings[sifted]).sum()), int(sifted.sum()), 0.02)
    assert cross_click_slots(slots, outcomes).size == 0


@pytest.mark.parametrize(("loss_db", "strength"), [(6.0, 1.0), (15.0, 1.0), (15.0, 0.5), (25.0, 1.0)])
def test_splitting_learns_no_more_than_the_multi_photon_term_pays_for(loss_db, strength):
    """Eve knows the tapped share of every click; p_m a pulse, the term the key length subtracts, is at least that."""
    profile = link(f"channel.loss_db={loss_db}")
    _, p_m, _, signal = single_photon_model(profile)
    eta_bob = profile.receiver.efficiency * profile.receiver.detector_efficiency
    emulation = emulate(profile, SECONDS, seed=4, eavesdropper=PhotonNumberSplitting(strength))
    eve = knowledge(emulation)
    slots, outcomes, settings = clicks(emulation)
    key = np.unique(slots[(outcomes < 2) & (settings < 2)])
    known = np.intersect1d(key, eve.slots)

    assert np.array_equal(eve.settings, emulation.emission.lookup(eve.slots))
    assert_binomial(known.size, key.size, min(1.0, strength * p_m * eta_bob / signal))
    assert known.size < SLOTS * 0.5 * 0.5 * p_m
    assert eve.count_attacked == eve.slots.size


def test_under_heavy_loss_splitting_knows_everything():
    profile = link("channel.loss_db=40.0", "source.g2=0.5")
    emulation = emulate(profile, SECONDS, seed=5, eavesdropper=PhotonNumberSplitting())

    assert np.array_equal(np.unique(knowledge(emulation).slots), signal_slots(emulation))


def test_without_loss_to_hide_in_splitting_lowers_the_gain():
    profile = link("channel.loss_db=0.0")
    _, p_m, eta, signal = single_photon_model(profile)
    emulation = emulate(profile, SECONDS, seed=6, eavesdropper=PhotonNumberSplitting())

    assert_binomial(signal_slots(emulation).size, SLOTS, signal - p_m * eta * (1 - eta))


def test_without_an_eavesdropper_nobody_knows_anything():
    assert emulate(link(), 0.001, seed=7).truth.eve is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("intercept-resend", InterceptResend(1.0)),
        ("intercept-resend=0.1", InterceptResend(0.1)),
        ("intercept-resend:0.1", InterceptResend(0.1)),
        ("photon-number-splitting", PhotonNumberSplitting(1.0)),
        ("photon-number-splitting=0.5", PhotonNumberSplitting(0.5)),
    ],
)
def test_an_attack_is_read_from_the_command_line(text, expected):
    assert eavesdropper_from_text(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "dazzling", "blinding=2", "intercept-resend=much", "intercept-resend:1.1", "photon-number-splitting:-1"],
)
def test_an_unknown_attack_is_refused(text):
    with pytest.raises(ConfigurationError, match="eavesdropper"):
        eavesdropper_from_text(text)
