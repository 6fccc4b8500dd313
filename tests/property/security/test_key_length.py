"""The key length against the fifty-digit reference, its ledger, and the directions in which it may only fall."""

from dataclasses import replace
from math import ceil, fsum, log2

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.blocks import BasisCounts, BlockCounts
from common.leakage import Leakage
from common.security.epsilons import EpsilonBudget
from common.security.key_length import Bb84Setting, key_length
from tests.reference import security_mpmath as reference


@st.composite
def settings_of_blocks(draw):
    key_bases = draw(st.sampled_from(["z", "both"]))
    test_z = draw(st.floats(0.05, 0.9)) if key_bases == "both" else draw(st.sampled_from([0.0, 0.1]))
    return Bb84Setting(
        probability_multi_photon=draw(st.sampled_from([0.0, 1e-9, 1e-7, 5e-6])),
        probability_z_alice=draw(st.floats(0.2, 0.9)),
        probability_z_bob=draw(st.floats(0.2, 0.9)),
        basis_choice=draw(st.sampled_from(["passive", "active"])),
        key_bases=key_bases,
        test_fraction_z=test_z,
        test_fraction_x=draw(st.floats(0.05, 0.9)) if key_bases == "both" else 1.0,
        maximum_frames=draw(st.integers(1, 65536)),
    )


@st.composite
def counted_blocks(draw, setting):
    most = draw(st.sampled_from([300, 5_000, 60_000, 400_000]))

    def basis(discloses_all):
        tested = draw(st.integers(0, most))
        key = 0 if discloses_all else draw(st.integers(0, most))
        kept = key - int(key * draw(st.sampled_from([0.0, 0.0, 0.01, 0.3])))
        return BasisCounts(key, kept, tested, int(tested * draw(st.sampled_from([0.0, 0.003, 0.02, 0.08, 0.6]))))

    return BlockCounts(
        pulses=draw(st.integers(most, 10**9)),
        frames=1,
        detections=4 * most,
        cross_clicks=draw(st.sampled_from([0, 1, 17, 300])),
        z=basis(discloses_all=False),
        x=basis(discloses_all=setting.key_bases == "z"),
    )


@st.composite
def cases(draw):
    setting = draw(settings_of_blocks())
    counts = draw(counted_blocks(setting))
    kept = counts.z.kept + counts.x.kept
    leakage = Leakage({"reconciliation": int(kept * draw(st.floats(0, 0.3))), "verification tag": 128, "verification verdict": 1})
    return counts, leakage, setting, EpsilonBudget(draw(st.sampled_from([1e-6, 1e-10, 1e-14])), 1e-15, 1e-15)


@given(cases())
@settings(max_examples=60)
def test_every_term_agrees_with_the_reference_and_the_length_exactly(case):
    counts, leakage, setting, budget = case
    length = key_length(*case)
    expected = reference.key_length(counts, leakage.total_bits, setting, budget.epsilon_secrecy) if counts.z.key + counts.x.key else None
    if expected is None:
        assert length.secret_bits == 0
        return
    assert length.secret_bits == expected.secret_bits
    if length.secret_bits:
        for item, value in expected.terms.items():
            assert length.ledger[item] == pytest.approx(float(value), rel=1e-9, abs=2**-26), item
        assert length.multi_photon_bound == pytest.approx(float(expected.share_tagged), rel=1e-9)
        for basis, ratio in expected.phase_error_bound.items():
            assert length.phase_error_bound[basis] == (None if ratio is None else pytest.approx(float(ratio), rel=1e-9))


@given(cases())
def test_the_ledger_adds_up_to_the_last_bit(case):
    length = key_length(*case)
    assert fsum(length.ledger.values()) == length.secret_bits
    assert sum(length.ledger.values()) == length.secret_bits
    assert (length.secret_bits == 0) == (length.reason is not None) == bool(length.bound) == ("not distilled" in length.ledger)
    assert -1.0 < length.ledger.get("rounding", 0.0) <= 0.0


@given(cases(), st.data())
def test_nothing_bad_ever_lengthens_the_key(case, data):
    counts, leakage, setting, budget = case
    length = key_length(*case).secret_bits

    more_errors = replace(
        counts,
        x=replace(counts.x, errors=data.draw(st.integers(counts.x.errors, counts.x.tested))),
        z=replace(counts.z, errors=data.draw(st.integers(counts.z.errors, counts.z.tested))),
    )
    fewer_tested = replace(counts, x=replace(counts.x, tested=data.draw(st.integers(counts.x.errors, counts.x.tested))))
    fewer_kept = replace(counts, z=replace(counts.z, kept=data.draw(st.integers(0, counts.z.kept))))
    assert key_length(more_errors, leakage, setting, budget).secret_bits <= length
    assert key_length(fewer_tested, leakage, setting, budget).secret_bits <= length
    if setting.key_bases == "z":  # with both bases, a failing basis that keeps nothing no longer takes the other one down
        assert key_length(fewer_kept, leakage, setting, budget).secret_bits <= length
    assert key_length(counts, leakage.charged("more", data.draw(st.integers(0, 10**6))), setting, budget).secret_bits <= length
    most = length + whole_phase_errors(case)
    assert key_length(replace(counts, pulses=2 * counts.pulses), leakage, setting, budget).secret_bits <= most
    assert key_length(replace(counts, cross_clicks=3 * counts.cross_clicks + 1), leakage, setting, budget).secret_bits <= most
    assert key_length(counts, leakage, replace(setting, maximum_frames=10 * setting.maximum_frames), budget).secret_bits <= most
    brighter = replace(setting, probability_multi_photon=min(1.0, 2 * setting.probability_multi_photon))
    assert key_length(counts, leakage, brighter, budget).secret_bits <= most
    assert key_length(counts, leakage, setting, replace(budget, epsilon_secrecy=budget.epsilon_secrecy / 10)).secret_bits <= most


def whole_phase_errors(case):
    """What one phase error is worth: errors come in whole numbers, so one tagged bit more may spare one among the rest.

    An error within n bits moves ``n h(N/n)`` by at most ``log2((1 - N/n)/(N/n))`` at one error less, plus what rounding takes.
    """
    counts = case[0]
    ratios = [ratio for ratio in key_length(*case).phase_error_bound.values() if ratio is not None]
    bits = max(1, counts.z.kept + counts.x.kept)
    return ceil(sum(max(0.0, log2((1.0 - low) / low)) for ratio in ratios for low in [max(ratio - 1.0 / bits, 0.5 / bits)]) + 1.0)
