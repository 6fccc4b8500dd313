"""Eavesdroppers of every strength on emulated links: what Eve knows of the key, from what she did, is less than what the ledger charged.

Her knowledge is counted slot by slot: the key bits whose value she has for certain once the bases are announced. The charge is what the
bound subtracts for multi-photons and phase errors, before a single bit of reconciliation. That it fails has a probability below 1e-20;
comparisons of the attack itself with its theory fail by chance once in 1e6.
"""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from common.blocks import BlockCounts
from common.channel.codec import Party
from common.cli.offline import distil_offline, system_or_seeded
from common.distillation.recipe import Recipe
from common.emulator.eavesdropper import Eavesdropper, InterceptResend, PhotonNumberSplitting
from common.emulator.link import emulate
from common.leakage import Leakage
from common.profiles.link import LinkProfile, load_profile
from common.security.key_length import KeyLength, key_length
from tests.physics.statistics import assert_binomial
from tests.support.listening import Listener
from tests.support.runs import SHORT_HBN, SHORT_NIEDERSACHSEN

STRENGTHS = (0.0, 0.05, 0.1, 0.2, 0.5, 1.0)

LINKS = {
    "passive": ("niedersachsen", 0.25, SHORT_NIEDERSACHSEN),
    "active": ("niedersachsen", 0.25, (*SHORT_NIEDERSACHSEN, "receiver.basis_choice=active")),
    "active, both bases make key": ("hbn", 62.0, (*SHORT_HBN, "channel.misalignment=0.02")),
}

PAIRS = (
    "channel.loss_db=19.5",
    "security.frame_pulses=2280000",
    "source.g2=0.1",
    "receiver.efficiency=1",
    "receiver.detector_efficiency=1",
)
LINKS_WITH_PAIRS = {
    "passive": ("niedersachsen", 2.4, PAIRS),
    "active": ("niedersachsen", 2.4, (*PAIRS, "receiver.basis_choice=active")),
    "active, both bases make key": ("hbn", 150.0, (*SHORT_HBN, "channel.misalignment=0.02", "channel.loss_db=10", "source.g2=0.6")),
}
"""Sources with many pairs, over loss enough for a splitter to hide in; nothing is lost at Bob's, so she can take what is granted."""


@dataclass(frozen=True)
class Attacked:
    """A block under attack: how many key bits Eve knows, and what became of it."""

    recipe: Recipe
    counts: BlockCounts
    leakage: Leakage
    length: KeyLength | None
    known: int
    secret_bits: int

    @property
    def count_key(self) -> int:
        return self.counts.z.key + self.counts.x.key


def attacked(profile: LinkProfile, seconds: float, seed: int, eve: Eavesdropper) -> Attacked:
    profile = replace(profile, monitors=None)  # what is tried here is the proof: monitors would give up some of these blocks before
    emulation, listener = emulate(profile, seconds, seed, eve), Listener()
    outcome = distil_offline(profile, emulation.emission, emulation.tags, system_or_seeded(seed), wire=listener.wire)
    block = outcome.outcomes[Party.BOB][0]
    assert block.block is not None
    assert emulation.truth.eve is not None
    counts = block.block.counts
    slots = listener.key_slots(profile.security.frame_pulses, block.number)
    assert slots.size == counts.z.key + counts.x.key
    kept = sum(one.secret_bits for one in outcome.outcomes[Party.BOB])
    assert all(store.joined().count == kept for store in outcome.stores.values())  # nothing else became key
    known = np.intersect1d(slots, emulation.truth.eve.slots).size
    return Attacked(Recipe.of(profile), counts, block.leakage, block.length, known, block.secret_bits)


def charge(length: KeyLength) -> float:
    """What the ledger subtracts for all that happened on the fibre."""
    return -sum(value for item, value in length.ledger.items() if item.startswith(("multi-photon", "phase errors")))


def assert_paid(block: Attacked) -> None:
    """Whatever Eve does: more is charged than she knows, and no key is longer than what she lacks after all that was said."""
    if block.secret_bits:
        assert block.length is not None
        assert block.known <= charge(block.length)
        assert block.secret_bits <= block.counts.z.kept + block.counts.x.kept - block.known - block.leakage.total_bits


@pytest.mark.parametrize("strength", STRENGTHS)
@pytest.mark.parametrize("link", LINKS)
def test_intercept_and_resend_is_charged_with_more_than_it_learns(link, strength):
    name, seconds, settings = LINKS[link]
    block = attacked(load_profile(name, settings), seconds, 11, InterceptResend(strength))

    assert_paid(block)
    assert_binomial(block.known, block.count_key, strength / 2)
    assert (block.secret_bits > 0) == (strength <= 0.2)


@pytest.mark.parametrize("strength", STRENGTHS)
@pytest.mark.parametrize("link", LINKS_WITH_PAIRS)
def test_photon_number_splitting_is_charged_with_more_than_it_learns(link, strength):
    """She replaces the fibre by one without loss and stops single photons, so that neither gain nor QBER show her."""
    name, seconds, settings = LINKS_WITH_PAIRS[link]
    block = attacked(load_profile(name, settings), seconds, 12, PhotonNumberSplitting(strength))

    assert block.secret_bits > 0
    assert_paid(block)
    assert block.length is not None
    granted = -sum(value for item, value in block.length.ledger.items() if item.startswith("multi-photon"))
    assert 0.8 * strength * granted - 50 <= block.known <= granted  # that term alone pays; gate and dead time take the rest from her


def test_where_splitting_takes_everything_there_is_no_key():
    profile = load_profile("niedersachsen", ["channel.loss_db=28", "security.frame_pulses=22800000", "source.g2=0.2"])
    block = attacked(profile, 20.0, 13, PhotonNumberSplitting())

    assert block.known > 0.95 * block.count_key  # the others are dark counts
    assert block.secret_bits == 0


THREE_STATES = (
    "channel.loss_db=8",
    "channel.fading_sigma_db=0",
    "security.block_bits=1000000",
    "security.frame_pulses=761300",
    "source.pre_attenuation=0.5",
)
"""A block of a million bits; biased bases leave a hundredth of them to find the errors in."""

DECOYS = ("security.block_bits=1000000", "security.frame_pulses=1000000")


@pytest.mark.parametrize("strength", [0.0, 0.02, 0.5, 1.0])
def test_intercept_and_resend_of_three_states_is_charged_with_more_than_it_learns(strength):
    block = attacked(load_profile("hefei", THREE_STATES), 1.9, 16, InterceptResend(strength))

    assert_paid(block)
    assert_binomial(block.known, block.count_key, strength / 2)
    assert (block.secret_bits > 0) == (strength <= 0.02)


@pytest.mark.parametrize("attack", [InterceptResend(0.05), InterceptResend(0.5), PhotonNumberSplitting(0.05), PhotonNumberSplitting(1.0)])
def test_attacks_on_decoys_are_charged_with_more_than_they_learn(attack):
    """A splitter keeps gain and QBER of all intensities together; each by itself shows her."""
    block = attacked(load_profile("decoy", DECOYS), 0.9, 17, attack)

    assert block.known > 0.02 * block.count_key
    assert_paid(block)
    assert (block.secret_bits > 0) == (attack.strength == 0.05)


TIME_BINS = ("channel.loss_db=12", "security.block_bits=1000000")


@pytest.mark.parametrize(
    ("attack", "makes_key"),
    [
        (InterceptResend(0.02), True),
        (InterceptResend(0.5), False),
        (InterceptResend(0.02, photons=8, probability_z=1.0), False),
        (InterceptResend(0.3, photons=8, probability_z=1.0), False),
        (PhotonNumberSplitting(1.0), True),
    ],
)
def test_attacks_on_time_bins_are_charged_with_more_than_they_learn(attack, makes_key):
    """Bright pulses kill both ports early: a receiver that counted clicks in both bases only would hardly see them."""
    block = attacked(load_profile("timebin-120km", TIME_BINS), 320.0, 18, attack)

    assert_paid(block)
    assert (block.secret_bits > 0) == makes_key


BIASED = (
    "channel.loss_db=10",
    "security.block_bits=200000",
    "security.frame_pulses=228000",
    "receiver.gate_ps=3000",
    "source.probability_z=0.8",
    "receiver.probability_z=0.8",
)


@pytest.mark.parametrize("strength", [0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0])
def test_bright_pulses_that_hide_errors_are_charged_by_cross_clicks(strength):
    """Eve measures in Z and sends three photons: in a biased passive receiver hardly any pulse ends in X alone, where she would err."""
    block = attacked(load_profile("niedersachsen", BIASED), 0.8, 14, InterceptResend(strength, photons=3, probability_z=1.0))

    assert_paid(block)
    assert (block.secret_bits > 0) == (strength <= 0.02)
    if strength == 0.5:  # had nobody counted cross clicks, a long key would have been made of bits she knows
        blind = key_length(replace(block.counts, cross_clicks=0), block.leakage, block.recipe.setting, block.recipe.budget)
        assert blind.secret_bits > block.count_key / 2
        assert block.known > charge(blind)
        assert blind.secret_bits > block.count_key - block.known - block.leakage.total_bits


@pytest.mark.parametrize("strength", STRENGTHS)
def test_bright_pulses_do_not_hide_from_an_active_receiver(strength):
    """All photons of a pulse are measured in one basis there: in X a coin decides, the error rate is half the strength."""
    profile = load_profile("niedersachsen", [*BIASED, "receiver.basis_choice=active"])
    block = attacked(profile, 0.8, 15, InterceptResend(strength, photons=3, probability_z=1.0))

    assert_paid(block)
    assert_binomial(block.counts.x.errors, block.counts.x.tested, 0.001 + 0.499 * strength)
    assert (block.secret_bits > 0) == (strength <= 0.2)
