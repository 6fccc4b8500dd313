"""Three-state, decoy and published lengths against fifty digits, and the directions in which composable ones may only fall."""

from dataclasses import replace
from math import exp, pi

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from common.blocks import BasisCounts, BlockCounts
from common.leakage import Leakage
from common.security.epsilons import EpsilonBudget
from common.security.key_length import length_of
from common.security.proofs import decoy_bb84, three_state, three_state_decoys
from common.security.proofs.bb84_setting import Bb84Setting
from common.security.proofs.decoy_paper import decoy_length
from common.security.proofs.decoy_setting import DecoyCounts, DecoySetting
from common.security.proofs.paper_length import PaperEpsilons
from common.security.proofs.single_photon_paper import hbn_length, niedersachsen_length
from common.security.proofs.three_state_decoys import ThreeStateDecoyCounts
from common.security.proofs.three_state_paper import three_state_length
from common.security.proofs.three_state_setting import QubitStates, ThreeStateSetting
from tests.reference import security_proofs_mpmath as reference

BUDGET = EpsilonBudget(1e-10, 1e-15, 1e-15)
PAPER = PaperEpsilons(1e-10 / 6, 1e-10 / 6, 1e-15)


@st.composite
def three_state_cases(draw):
    pulses = draw(st.sampled_from([10**7, 10**9]))
    gain, error = draw(st.floats(1e-4, 0.2)), draw(st.floats(0, 0.06))
    p_z, q_z = draw(st.floats(0.5, 0.95)), draw(st.floats(0.5, 0.95))
    setting = ThreeStateSetting(
        draw(st.sampled_from([0.0, 1e-8, 1e-5])), p_z, q_z, draw(st.sampled_from(["active", "passive"])), 0.0, draw(st.integers(1, 1000))
    )

    def clicks(share):
        return int(pulses * gain * share * draw(st.floats(0.95, 1.05)))

    q_x, p_x = 1 - q_z, 1 - p_z
    table = (
        (0, 0, clicks(p_z * q_x / 4), clicks(p_z * q_x / 4)),
        (0, 0, clicks(p_z * q_x / 4), clicks(p_z * q_x / 4)),
        (0, 0, clicks(p_x * q_x * (1 - error)), clicks(p_x * q_x * error)),
    )
    key = clicks(p_z * q_z)
    cross = draw(st.sampled_from([0, 5, 200]))
    return BlockCounts(
        pulses, 1, 4 * key, cross, BasisCounts(key, key - draw(st.sampled_from([0, key // 50]))), BasisCounts(), table
    ), setting


@st.composite
def decoy_cases(draw, decoys=None):
    two = draw(st.booleans()) if decoys is None else decoys == 2
    first = draw(st.floats(0.35, 0.7))
    intensities: tuple[float, ...]
    probabilities: tuple[float, ...]
    if two:
        intensities, probabilities = (first, draw(st.floats(0.05, 0.2)), draw(st.sampled_from([0.0, 2e-4, 0.01]))), (0.6, 0.25, 0.15)
    else:
        intensities, probabilities = (first, draw(st.floats(0.08, 0.25))), (0.7, 0.3)
    setting = DecoySetting(intensities, probabilities, draw(st.floats(0.5, 0.9)), draw(st.sampled_from(["active", "passive"])))
    pulses, eta, error = draw(st.sampled_from([10**7, 10**8])), draw(st.floats(3e-3, 0.1)), draw(st.floats(0.002, 0.05))

    def counts(share):
        gains = [1 - (1 - 1e-6) * exp(-eta * k) for k in intensities]
        return tuple(int(pulses * p * g * share) for p, g in zip(probabilities, gains, strict=True))

    def wrong(bits):
        return tuple(int(error * n + 5e-7 * p * pulses * 0.2) if n else 0 for n, p in zip(bits, probabilities, strict=True))

    key, tested = counts(0.5), counts(0.2)
    errors = tuple(map(min, wrong(tested), tested))
    key_errors = tuple(map(min, wrong(key), key))
    return DecoyCounts(key, sum(key), tested, errors, key_errors, draw(st.sampled_from([0, 40]))), setting


def leakage(bits):
    return Leakage({"reconciliation": bits, "verification tag": 128, "verification verdict": 1})


def three_state_key(counts, setting, budget=BUDGET, leaked=0):
    known = three_state.estimate(counts, setting, budget)
    return length_of(known, {"Z": counts.z}, leakage(leaked), budget, three_state.events(setting)).secret_bits


def decoy_key(counts, setting, budget=BUDGET, leaked=0):
    known = decoy_bb84.estimate(counts, setting, budget)
    keys = {"Z": BasisCounts(sum(counts.key), counts.kept)}
    return length_of(known, keys, leakage(leaked), budget, decoy_bb84.events(setting)).secret_bits


@given(three_state_cases())
@settings(max_examples=30)
def test_the_three_state_estimate_agrees(case):
    counts, setting = case
    epsilon = BUDGET.probability_of_event(len(three_state.events(setting)))
    tagged, phase_errors = reference.three_state_phase_errors(counts, setting, epsilon)
    (entry,) = three_state.estimate(counts, setting, BUDGET).bases
    assert entry.count_tagged == tagged
    assert entry.phase_errors == pytest.approx(phase_errors, rel=1e-9, abs=1)


@given(st.floats(-0.2, 0.2), st.floats(pi - 0.3, pi + 0.3), st.floats(1.2, 1.9), st.sampled_from([1, -1]))
@settings(max_examples=40)
def test_the_coefficients_of_measured_states_solve_for_the_density_matrix(zero, one, plus, sign):
    angles = (zero, one, plus)
    exact = reference.virtual_coefficients(angles, sign)
    for (low, high), value in zip(QubitStates(angles).coefficients(sign), exact, strict=True):
        assert low <= value <= high
        assert high - low < 1e-10
    for moved in (-0.01, 0.004, 0.01):  # and hold for every state within the uncertainty
        elsewhere = reference.virtual_coefficients((zero + moved, one - moved, plus + moved), sign)
        for (low, high), value in zip(QubitStates(angles, 0.01).coefficients(sign), elsewhere, strict=True):
            assert low <= value <= high


@given(decoy_cases())
@settings(max_examples=6)
def test_the_decoy_estimate_agrees(case):
    counts, setting = case
    epsilon = BUDGET.probability_of_event(len(decoy_bb84.events(setting)))
    key, tested, _, phase_errors = reference.decoy_bb84(counts, setting, epsilon)
    (entry,) = decoy_bb84.estimate(counts, setting, BUDGET).bases
    assert entry.count_key - entry.count_tagged == pytest.approx(key, rel=1e-9, abs=2)
    assert entry.count_tested == pytest.approx(tested, rel=1e-9, abs=2)
    if phase_errors is None or not tested:
        assert entry.phase_errors is None or tested
    elif entry.phase_errors is not None:
        assert entry.phase_errors == pytest.approx(phase_errors, rel=1e-6, abs=8)  # whole clicks go in: one more moves it by some


@given(decoy_cases())
@settings(max_examples=25)
def test_published_decoy_lengths_agree(case):
    counts, setting = case
    ours = decoy_length(counts, setting, 1000.0, 1e-9, 1e-15)
    assert ours.bits == pytest.approx(float(reference.decoy_paper(counts, setting, 1000.0, 1e-9, 1e-15)), rel=1e-9, abs=1e-4)


@given(three_state_cases())
@settings(max_examples=25)
def test_published_three_state_lengths_agree(case):
    counts, setting = case
    ours = three_state_length(counts, setting, 500.0, PAPER)
    if ours.terms["single-photon bits"] >= 1:
        expected = reference.hefei(counts, setting, 500.0, PAPER.event, PAPER.amplification, PAPER.correctness)
        assert ours.bits == pytest.approx(float(expected), rel=1e-9, abs=1e-5)


@given(st.integers(10**4, 10**7), st.floats(0.001, 0.1), st.sampled_from([1e-9, 1e-7]), st.integers(10**4, 10**7))
@settings(max_examples=40)
def test_published_single_photon_lengths_agree(tested, ratio, multi, key):
    setting = Bb84Setting(multi, 0.5, 0.5, "active", "z", 0.0, 1.0, 10)
    counts = BlockCounts(10**10, 1, 4 * key, 0, BasisCounts(key, key), BasisCounts(tested=tested, errors=max(1, int(ratio * tested))))
    ours = niedersachsen_length(counts, setting, 100.0, PAPER)
    expected = reference.niedersachsen(counts, setting, 100.0, PAPER.event, PAPER.amplification, PAPER.correctness)
    assert ours.bits == pytest.approx(float(expected), rel=1e-9, abs=1e-5)
    pooled = hbn_length(key, tested, ratio, 0.985, 0.6)
    assert pooled.bits == pytest.approx(float(reference.hbn(key, tested, ratio, 0.985, 0.6, 2.5e-11)), rel=1e-9, abs=1e-5)


def contradicts(counts, setting):
    """Whether nothing bounds the phase errors: the classes of clicks are not in the ratio that states and probabilities say."""
    (entry,) = three_state.estimate(counts, setting, BUDGET).bases
    return entry.phase_errors == entry.count_key - entry.count_tagged


@given(three_state_cases(), st.data())
@settings(max_examples=30)
def test_nothing_bad_ever_lengthens_a_three_state_key(case, data):
    counts, setting = case
    length = three_state_key(counts, setting)
    more = data.draw(st.integers(0, 10**5))
    assume(not contradicts(counts, setting))  # such counts make no key, and worse ones need not contradict it

    def with_table(row, column, change):
        table = [list(entries) for entries in counts.table]
        table[row][column] = max(0, table[row][column] + change)
        return replace(counts, table=tuple(map(tuple, table)))

    assert three_state_key(with_table(2, 3, more), setting) <= length  # wrong X clicks
    assert three_state_key(with_table(2, 2, -more), setting) <= length  # fewer right ones
    assert three_state_key(with_table(0, 2, more), setting) <= length  # mismatched ones
    assert three_state_key(counts, setting, leaked=more) <= length
    assert three_state_key(replace(counts, cross_clicks=2 * counts.cross_clicks + 1), setting) <= length
    assert three_state_key(replace(counts, pulses=2 * counts.pulses), setting) <= length
    assert three_state_key(counts, replace(setting, probability_multi_photon=3 * setting.probability_multi_photon)) <= length
    assert three_state_key(counts, setting, replace(BUDGET, epsilon_secrecy=1e-12)) <= length
    certain = three_state_key(counts, replace(setting, states=QubitStates(uncertainty=1e-4)))
    assert three_state_key(counts, replace(setting, states=QubitStates(uncertainty=0.01))) <= certain <= length


@given(decoy_cases(), st.data())
@settings(max_examples=30)
def test_nothing_bad_ever_lengthens_a_decoy_key(case, data):
    counts, setting = case
    length = decoy_key(counts, setting)
    more = data.draw(st.integers(1, 10**5))
    brighter = len(setting.intensities) - 2  # errors at the weakest intensity speak *for* the single photons of the next
    errors = list(counts.errors)
    errors[brighter] = min(counts.tested[brighter], errors[brighter] + more)
    assert decoy_key(replace(counts, errors=tuple(errors)), setting) <= length
    assert decoy_key(counts, setting, leaked=more) <= length
    assert decoy_key(replace(counts, kept=max(0, counts.kept - more)), setting) <= length
    whole = 20  # errors come in whole numbers: one tagged bit more may spare one, worth log2((1 - phi)/phi) bits
    assert decoy_key(replace(counts, cross_clicks=2 * counts.cross_clicks + 1), setting) <= length + whole
    assert decoy_key(counts, setting, replace(BUDGET, epsilon_secrecy=1e-12)) <= length + whole
    if len(setting.intensities) == 2:
        worse = tuple(min(n, e + more) for n, e in zip(counts.key, counts.key_errors, strict=True))
        assert decoy_key(replace(counts, key_errors=worse), setting) <= length


@given(decoy_cases(decoys=2), st.floats(0.5, 0.9))
@settings(max_examples=15)
def test_a_three_state_decoy_key_falls_with_epsilon_errors_and_cross_clicks(case, p_z):
    counts, decoys = case
    setting = ThreeStateSetting(0.0, p_z, decoys.probability_z_bob, decoys.basis_choice, 0.0, 1)
    wrong, right = counts.errors, tuple(n - e for n, e in zip(counts.tested, counts.errors, strict=True))
    ratio = p_z / (1 - p_z) / 4
    mixed = tuple(int(n * ratio) for n in counts.tested)
    clicks = {("X0", 0): right, ("X0", 1): wrong} | {(state, bit): mixed for state in ("Z0", "Z1") for bit in (0, 1)}
    key = tuple(int(n * p_z / (1 - p_z) * decoys.probability_z_bob / (1 - decoys.probability_z_bob)) for n in counts.tested)
    block = ThreeStateDecoyCounts(key, sum(key), clicks, counts.cross_clicks)

    def length(block, budget=BUDGET):
        known = three_state_decoys.estimate(block, decoys, setting, budget)
        keys = {"Z": BasisCounts(sum(block.key), block.kept)}
        return length_of(known, keys, leakage(0), budget, three_state_decoys.events(decoys, setting)).secret_bits

    plain = length(block)
    assert length(block, replace(BUDGET, epsilon_secrecy=1e-13)) <= plain
    assert length(replace(block, cross_clicks=block.cross_clicks + 10)) <= plain
    worse = (wrong[0], wrong[1] + 100, wrong[2])
    assert length(replace(block, clicks=clicks | {("X0", 1): worse})) <= plain
