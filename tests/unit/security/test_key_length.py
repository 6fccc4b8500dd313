"""One block after the other: where the bits go, and which bound fails when there are none."""

from dataclasses import replace
from math import fsum

import pytest

from common.blocks import BasisCounts, BlockCounts
from common.errors import AbortReason, ConfigurationError, LocalProtocolError
from common.leakage import Leakage
from common.profiles.link import load_profile
from common.security.epsilons import EpsilonBudget
from common.security.key_length import Bb84Setting, key_length

BUDGET = EpsilonBudget(1e-10, 1e-15, 1e-15)
ONE_BASIS = Bb84Setting(1e-7, 0.5, 0.5, "active", "z", 0.0, 1.0, 100)
BOTH_BASES = Bb84Setting(1e-7, 0.5, 0.5, "active", "both", 0.5, 0.5, 100)
PASSIVE = replace(ONE_BASIS, basis_choice="passive")
COUNTS = BlockCounts(10**9, 100, 4 * 10**6, 5, BasisCounts(10**6, 10**6), BasisCounts(tested=10**6, errors=10**4))
LEAKAGE = Leakage({"reconciliation": 90_000, "verification tag": 128, "verification verdict": 1})


def test_the_ledger_tells_where_every_bit_went():
    length = key_length(COUNTS, LEAKAGE, ONE_BASIS, BUDGET)
    assert list(length.ledger) == [
        "sifted key bits",
        "segments not reconciled",
        "multi-photon Z",
        "phase errors Z",
        "leakage, reconciliation",
        "leakage, verification tag",
        "leakage, verification verdict",
        "privacy amplification",
        "rounding",
    ]
    assert fsum(length.ledger.values()) == length.secret_bits > 800_000
    assert length.ledger["privacy amplification"] == pytest.approx(-66.4386, abs=1e-4)
    assert (length.reason, length.bound) == (None, "")


def test_epsilons_are_itemised_with_three_events_and_a_fourth_for_passive_receivers():
    active = key_length(COUNTS, LEAKAGE, ONE_BASIS, BUDGET).epsilon
    passive = key_length(COUNTS, LEAKAGE, PASSIVE, BUDGET).epsilon
    assert sum(name.startswith("estimation, ") for name in active) == 3
    assert passive["estimation, multi-clicks"] == BUDGET.probability_estimation / 4


def test_both_bases_share_one_hash_and_one_amplification_term():
    counts = replace(COUNTS, z=BasisCounts(500_000, 500_000, 500_000, 5000), x=BasisCounts(400_000, 400_000, 400_000, 4000))
    length = key_length(counts, LEAKAGE, BOTH_BASES, BUDGET)
    assert length.ledger["sifted key bits"] == 900_000
    assert sum(name.startswith("privacy") for name in length.ledger) == 1
    assert set(length.phase_error_bound) == {"Z", "X"}
    assert length.secret_bits > 600_000


def test_a_failed_segment_takes_its_bits_but_leaves_its_phase_errors():
    whole = key_length(COUNTS, LEAKAGE, ONE_BASIS, BUDGET)
    lost = key_length(replace(COUNTS, z=BasisCounts(10**6, 900_000)), LEAKAGE, ONE_BASIS, BUDGET)
    assert lost.ledger["segments not reconciled"] == -100_000
    lost_ratio, whole_ratio = lost.phase_error_bound["Z"], whole.phase_error_bound["Z"]
    assert lost_ratio is not None
    assert whole_ratio is not None
    assert lost_ratio == pytest.approx(whole_ratio / 0.9, rel=1e-4)
    shorter = key_length(replace(COUNTS, z=BasisCounts(900_000, 900_000)), LEAKAGE, ONE_BASIS, BUDGET)
    assert lost.secret_bits < shorter.secret_bits < whole.secret_bits


def test_a_passive_receiver_pays_for_its_cross_clicks():
    quiet = key_length(COUNTS, LEAKAGE, PASSIVE, BUDGET)
    noisy = key_length(replace(COUNTS, cross_clicks=5000), LEAKAGE, PASSIVE, BUDGET)
    assert noisy.ledger["multi-photon Z"] <= quiet.ledger["multi-photon Z"] - 5000


@pytest.mark.parametrize(
    ("changes", "setting", "reason", "words"),
    [
        ({"z": BasisCounts()}, ONE_BASIS, AbortReason.NO_CLICKS, "no sifted key bits"),
        ({"z": BasisCounts(key=1000)}, ONE_BASIS, AbortReason.RECONCILIATION_FAILED, "none of 1000"),
        ({"x": BasisCounts()}, ONE_BASIS, AbortReason.TOO_FEW_TESTED, "disclosed X bits"),
        ({"x": BasisCounts(tested=1000, errors=495)}, ONE_BASIS, AbortReason.PHASE_ERROR_BOUND, "above the limit of 0.5"),
        ({"pulses": 10**14}, ONE_BASIS, AbortReason.MULTI_PHOTON_BOUND, "several photons"),
        ({"x": BasisCounts(tested=10**6, errors=250_000)}, ONE_BASIS, AbortReason.LEAKAGE_EXCEEDS_ENTROPY, ""),
        ({"cross_clicks": -1}, PASSIVE, AbortReason.MISSING_CROSS_CLICKS, "not counted"),
    ],
)
def test_a_block_without_key_names_the_bound_that_failed(changes, setting, reason, words):
    leakage = LEAKAGE.charged("reconciliation", 200_000) if reason is AbortReason.LEAKAGE_EXCEEDS_ENTROPY else LEAKAGE
    length = key_length(replace(COUNTS, **changes), leakage, setting, BUDGET)
    assert (length.secret_bits, length.reason) == (0, reason)
    assert words in length.bound
    assert length.bound
    assert fsum(length.ledger.values()) == 0
    assert "not distilled" in length.ledger


def test_intercept_and_resend_of_every_photon_leaves_no_key():
    length = key_length(
        replace(COUNTS, x=BasisCounts(tested=10**6, errors=250_000)), LEAKAGE.charged("reconciliation", 811_000), ONE_BASIS, BUDGET
    )
    assert length.secret_bits == 0
    assert "leakage exceeds entropy" in length.bound


def test_more_errors_than_single_photon_tests_are_capped_not_refused():
    setting = replace(ONE_BASIS, probability_multi_photon=1e-3)
    length = key_length(replace(COUNTS, x=BasisCounts(tested=300_000, errors=100_000)), LEAKAGE, setting, BUDGET)
    assert length.reason is AbortReason.PHASE_ERROR_BOUND


def test_a_key_basis_whose_bits_may_all_be_tagged_adds_nothing_and_takes_nothing_from_the_other():
    counts = replace(COUNTS, z=BasisCounts(500_000, 500_000, 500_000, 5000), x=BasisCounts(20, 20, 400_000, 4000))
    length = key_length(counts, LEAKAGE, BOTH_BASES, BUDGET)
    assert length.reason is None
    assert length.ledger["multi-photon X"] == -20
    assert length.phase_error_bound["X"] is None


@pytest.mark.parametrize(
    "changes",
    [
        {"z": BasisCounts(key=10, kept=11)},
        {"x": BasisCounts(tested=10, errors=11)},
        {"pulses": -1},
        {"frames": 101},
        {"x": BasisCounts(key=1, kept=1, tested=10)},
    ],
)
def test_counts_that_contradict_each_other_are_our_own_mistake(changes):
    with pytest.raises(LocalProtocolError):
        key_length(replace(COUNTS, **changes), LEAKAGE, ONE_BASIS, BUDGET)


@pytest.mark.parametrize(
    "changes",
    [
        {"probability_multi_photon": 1.5},
        {"probability_z_bob": 1.0},
        {"test_fraction_x": 0.5},
        {"maximum_frames": 0},
        {"basis_choice": "none"},
        {"key_bases": "x"},
    ],
)
def test_a_setting_out_of_range_is_refused(changes):
    with pytest.raises(ConfigurationError):
        replace(ONE_BASIS, **changes)


def test_the_setting_is_read_off_a_profile():
    profile = load_profile("hbn")
    setting = Bb84Setting.of(profile.source, profile.receiver, profile.security)
    assert setting.probability_multi_photon == pytest.approx(0.08 * 0.0335**2 / 2)
    assert (setting.key_bases, setting.test_fraction_z, setting.test_fraction_x, setting.basis_choice) == ("both", 0.5, 0.5, "active")
    one_basis = load_profile("niedersachsen")
    assert Bb84Setting.of(one_basis.source, one_basis.receiver, one_basis.security).test_fraction_x == 1.0
