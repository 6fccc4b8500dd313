"""Registry, types and refusals of the proofs, and the figures that publications print."""

from dataclasses import replace
from math import e, pi

import pytest

from common.blocks import BasisCounts, BlockCounts
from common.errors import AbortReason, ConfigurationError, LocalProtocolError
from common.leakage import Leakage
from common.security.entropy import binary_entropy
from common.security.epsilons import EpsilonBudget
from common.security.intervals import mean_upper_bound, probability_upper_bound
from common.security.kato import kato_upper
from common.security.key_length import length_of
from common.security.martingales import compensator_upper_bound
from common.security.one_way_leakage import least_one_way_leakage
from common.security.paper import PaperValue, fung_gamma, hoeffding_margin, yin_gamma
from common.security.proofs import decoy_bb84, single_photon_paper, three_state, three_state_decoys, three_state_paper
from common.security.proofs.decoy_paper import (
    decoy_asymptotic_rate,
    decoy_length,
    laser_gains,
    three_state_decoy_asymptotic_rate,
    three_state_decoy_length,
)
from common.security.proofs.decoy_setting import DecoyCounts, DecoySetting
from common.security.proofs.estimate import BasisEstimate
from common.security.proofs.paper_length import PaperEpsilons
from common.security.proofs.registry import ComposableProof, PaperProof, find_proof, proofs_of, require_composable
from common.security.proofs.single_photon_channel import (
    best_mean_photon_number,
    coherent_light_limit,
    least_source_beyond_laser,
    single_photon_clicks,
)
from common.security.proofs.three_state_decoys import ThreeStateDecoyCounts
from common.security.proofs.three_state_setting import QubitStates, ThreeStateSetting

BUDGET = EpsilonBudget(1e-10, 1e-15, 1e-15)
NIEDERSACHSEN = {"g2": 0.0243, "receiver": 0.74 * 0.74, "dark": 8.74e-7, "misalignment": 2.57e-4}
HEFEI = {"g2": 0.00698, "receiver": 0.6 * 0.712, "dark": 1.47e-7, "misalignment": 0.0254}
STATES = ThreeStateSetting(1e-6, 0.9, 0.8, "active", 0.0, 10)
DECOYS = DecoySetting((0.5, 0.1, 0.0), (0.6, 0.25, 0.15), 0.8, "active")
COUNTS = DecoyCounts((400_000, 30_000, 200), 430_200, (100_000, 8_000, 50), (1_000, 100, 25))


def three_state_block(loss_db, probability_z=0.975, qz=0.9, detections=1e8):
    clicks = single_photon_clicks(0.292, loss_db=loss_db, **HEFEI)
    pulses = int(detections / clicks.click)

    def count(share):
        return int(detections * share)

    mixed = count(probability_z / 4 * (1 - qz))
    right, wrong = (count((1 - probability_z) * (1 - qz) * share) for share in (1 - clicks.qber, clicks.qber))
    key = count(probability_z * qz)
    table = ((0, 0, mixed, mixed), (0, 0, mixed, mixed), (0, 0, right, wrong))
    setting = ThreeStateSetting(clicks.multi, probability_z, qz, "active", 0.0, 1)
    leak = 1.16 * key * binary_entropy(clicks.qber)
    return BlockCounts(pulses, 1, int(detections), 0, BasisCounts(key, key), BasisCounts(), table), setting, leak


# ------------------------------------------------------------------------------------------------- figures of publications


def test_niedersachsen_tolerates_the_loss_its_parameters_give():
    def rate(loss_db, qber=None):
        clicks = single_photon_clicks(0.138 * 0.464, loss_db=loss_db, **NIEDERSACHSEN)
        return single_photon_paper.asymptotic_rate(clicks.click, clicks.multi, qber or clicks.qber, 1.16).bits_per_pulse

    assert rate(25.49) == pytest.approx(2.07e-5, rel=2e-3)
    assert rate(25.49, qber=0.0065) == pytest.approx(1.93e-5, rel=2e-3)
    assert rate(27.98) > 0.0 == rate(28.0)  # printed: 28.11 dB


@pytest.mark.parametrize(("qber", "bits"), [(0.07, 59250), (0.06, 96290), (0.0774, 33194), (0.0674, 68670)])
def test_hbn_lengths_follow_from_the_rounded_error_ratio(qber, bits):
    """Printed: 33176 and 68516, which need 0.0774 and 0.0674."""
    assert single_photon_paper.hbn_length(10**6, 10**6, qber, 0.985, 0.5).bits == pytest.approx(bits, abs=1)


def test_hbn_makes_no_key_of_ten_thousand_bits():
    assert single_photon_paper.hbn_length(10**4, 10**4, 0.03, 0.985, 0.5).bits == 0.0


@pytest.mark.parametrize(("loss_db", "model"), [(0.17, 6.03e-2), (5.11, 1.87e-2), (14.6, 1.42e-3)])
def test_hefei_rates_follow_from_its_parameters(loss_db, model):
    """Printed: 5.65e-2, 1.69e-2 and 1.08e-3 (loss uncertain by 1.1 dB)."""
    counts, setting, leak = three_state_block(loss_db)
    length = three_state_paper.three_state_length(counts, setting, leak, PaperEpsilons(1e-10 / 12, 1e-10 / 24, 1e-15))
    assert length.bits / counts.pulses == pytest.approx(model, rel=3e-3)
    known = three_state.estimate(counts, setting, BUDGET)
    composable = length_of(known, {"Z": counts.z}, Leakage({"reconciliation": int(leak)}), BUDGET, three_state.events(setting))
    assert 0.9 * length.bits < composable.secret_bits < length.bits  # bounds that hold for dependent events cost some per cent


def test_the_three_state_limit_is_reached_with_endless_statistics():
    clicks = single_photon_clicks(0.292, loss_db=5.0, **HEFEI)
    limit = three_state_paper.asymptotic_rate(clicks.click, clicks.multi, clicks.qber, 1.16)
    counts, setting, leak = three_state_block(5.0, probability_z=0.5, detections=1e15)
    length = three_state_paper.three_state_length(counts, setting, leak, PaperEpsilons(1e-10, 1e-10, 1e-15))
    assert length.phase_error_ratio == pytest.approx(limit.phase_error_ratio, rel=1e-3)
    assert length.bits / counts.pulses == pytest.approx(0.45 * limit.bits_per_pulse, rel=1e-3)


def test_ideal_sources_beat_laser_light_from_one_over_e_photons_on():
    assert coherent_light_limit(1.0) == least_source_beyond_laser(0.0) == pytest.approx(1 / e)
    assert least_source_beyond_laser(e / 4) == pytest.approx(2 / e)
    assert least_source_beyond_laser(e / 4 + 1e-6) == float("inf")
    assert best_mean_photon_number(0.5, 0.02, 25.0, 0.5) == pytest.approx(0.5 * 10**-2.5 / 0.02, rel=1e-4)
    assert best_mean_photon_number(0.5, 0.0, 25.0, 0.5) == 0.5


def test_two_decoys_come_close_to_knowing_every_photon_number():
    gains, errors = laser_gains(DECOYS, 0.01, 1e-6, 0.01)
    two = decoy_asymptotic_rate(DECOYS, gains, errors, 1.16).bits_per_pulse
    single = sum(p * k * e**-k for p, k in zip(DECOYS.probabilities, DECOYS.intensities, strict=True)) * (0.01 + 1e-6)
    leaked = 1.16 * sum(p * g for p, g in zip(DECOYS.probabilities, gains, strict=True)) * binary_entropy(0.0101)
    assert 0.9 * single < two + leaked + single * binary_entropy(0.0115) < 1.1 * single
    three = three_state_decoy_asymptotic_rate(DECOYS, gains, errors, 1.16)
    assert 0.5 * two < three.bits_per_pulse <= two
    one = DecoySetting((0.5, 0.1), (0.8, 0.2), 0.8, "active")
    assert 0.0 < decoy_asymptotic_rate(one, *laser_gains(one, 0.01, 1e-6, 0.01), 1.16).bits_per_pulse


# ----------------------------------------------------------------------------------------- what may decide a live key length


@pytest.mark.parametrize(
    ("protocol", "name"),
    [
        ("bb84", "bb84-single-photon"),
        ("three-state", "three-state-single-photon"),
        ("bb84-decoy", "bb84-decoy"),
        ("three-state-decoy", "three-state-decoy"),
    ],
)
def test_every_protocol_has_a_composable_proof_and_paper_ones_beside_it(protocol, name):
    proof = require_composable(protocol, name)
    assert isinstance(proof, ComposableProof)
    assert proof.assumptions
    first, *others = proofs_of(protocol)
    assert first == proof
    assert others
    assert all(isinstance(other, PaperProof) and other.lacks for other in others)


def test_proofs_of_publications_are_refused_where_key_is_made():
    assert find_proof("bb84", "niedersachsen").status == "paper"
    with pytest.raises(ConfigurationError, match=r"security.proof = 'niedersachsen' reproduces a publication.*choose bb84-single-photon"):
        require_composable("bb84", "niedersachsen")


def test_a_proof_that_does_not_fit_the_protocol_is_refused_by_name():
    with pytest.raises(ConfigurationError, match=r"security.proof = 'bb84-decoy' does not fit protocol = 'bb84'"):
        require_composable("bb84", "bb84-decoy")
    with pytest.raises(ConfigurationError, match="protocol = 'b92'"):
        find_proof("b92", "bb84-decoy")


def test_values_of_publications_are_refused_by_type():
    """Every ``type: ignore`` here is one the type checker asks for: without it ``make check`` fails."""
    gamma = yin_gamma(1000, 10, 1000, 1e-10)
    assert isinstance(gamma, PaperValue)
    with pytest.raises(ConfigurationError, match="phase_errors"):
        BasisEstimate("Z", 1000, 1000, 0, 1000, gamma)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="probability_multi_photon"):
        replace(STATES, probability_multi_photon=gamma)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="count"):
        compensator_upper_bound(gamma, 1e-3)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        gamma + 1  # type: ignore[operator]
    length = single_photon_paper.hbn_length(10**6, 10**6, 0.05, 0.985, 0.5)
    with pytest.raises(ConfigurationError, match="PaperKeyLength"):
        length_of(length, {"Z": BasisCounts()}, Leakage(), BUDGET, ("phase errors Z",))  # type: ignore[arg-type]


def test_the_shares_of_every_proof_add_up_to_the_budget():
    passive = replace(STATES, basis_choice="passive", states=QubitStates(uncertainty=0.01))
    one = DecoySetting((0.5, 0.1), (0.8, 0.2), 0.8, "passive")
    for events in (
        three_state.events(STATES),
        three_state.events(passive),
        decoy_bb84.events(DECOYS),
        decoy_bb84.events(one),
        three_state_decoys.events(DECOYS, replace(STATES, probability_multi_photon=0.0)),
    ):
        items = BUDGET.itemised(events)
        assert sum(value for name, value in items.items() if name.startswith("estimation, ")) == pytest.approx(items["estimation"])
    assert len(decoy_bb84.events(DECOYS)) == 13
    with pytest.raises(ConfigurationError, match="listed once"):
        BUDGET.itemised(("a", "a"))
    assert PaperEpsilons(1e-10, 1e-11, 1e-15).sum(4) == pytest.approx(4.11001e-10, rel=1e-6)


# --------------------------------------------------------------------------------------------------- zero where it must be


def test_intercept_and_resend_leaves_no_three_state_key():
    counts, setting, _ = three_state_block(5.0)
    table = [list(row) for row in counts.table]
    table[2][2] = table[2][3] = (table[2][2] + table[2][3]) // 2
    known = three_state.estimate(replace(counts, table=tuple(map(tuple, table))), setting, BUDGET)
    assert known.reason is AbortReason.PHASE_ERROR_BOUND


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"z": BasisCounts()}, AbortReason.NO_CLICKS),
        ({"pulses": 10**14}, AbortReason.MULTI_PHOTON_BOUND),
        ({"z": BasisCounts(key=10**6)}, AbortReason.RECONCILIATION_FAILED),
    ],
)
def test_a_three_state_block_without_key_says_why(changes, reason):
    counts, setting, _ = three_state_block(5.0)
    assert three_state.estimate(replace(counts, **changes), setting, BUDGET).reason is reason


def test_uncounted_cross_clicks_leave_a_passive_receiver_without_key():
    counts, setting, _ = three_state_block(5.0)
    passive = replace(setting, basis_choice="passive")
    assert three_state.estimate(replace(counts, cross_clicks=-1), passive, BUDGET).reason is AbortReason.MISSING_CROSS_CLICKS
    lost = replace(COUNTS, cross_clicks=-1)
    assert decoy_bb84.estimate(lost, replace(DECOYS, basis_choice="passive"), BUDGET).reason is AbortReason.MISSING_CROSS_CLICKS


def test_split_photon_numbers_leave_no_decoy_key():
    """Clicks that grow with the square of the intensity, as if single photons never arrived."""
    split = DecoyCounts((400_000, 6_000, 30), 406_030, (100_000, 1_500, 5), (1_000, 15, 0))
    assert decoy_bb84.estimate(split, DECOYS, BUDGET).reason is AbortReason.MULTI_PHOTON_BOUND
    assert decoy_length(split, DECOYS, 0.0, 1e-9, 1e-15).bits == 0.0
    assert decoy_bb84.estimate(replace(COUNTS, key=(0, 0, 0), kept=0), DECOYS, BUDGET).reason is AbortReason.NO_CLICKS


def test_composable_and_published_decoy_lengths_stand_side_by_side():
    """Spread and exact sampling gain, the squared budget and the empty pulses given away cost; values of the explanation."""
    known = decoy_bb84.estimate(COUNTS, DECOYS, BUDGET)
    leaked = int(0.09 * 430_200)
    ours = length_of(known, {"Z": BasisCounts(430_200, 430_200)}, Leakage({"reconciliation": leaked}), BUDGET, decoy_bb84.events(DECOYS))
    paper = decoy_length(COUNTS, DECOYS, leaked, 1e-10, 1e-15)
    assert ours.secret_bits == 122_577
    assert paper.bits == pytest.approx(25_312.5, abs=1)
    assert set(paper.terms) >= {"empty pulses", "single-photon bits", "phase errors"}


def test_three_state_decoy_lengths_exist_in_both_modes():
    setting = ThreeStateSetting(0.0, 0.9, 0.8, "active", 0.0, 1)
    mixed = tuple(int(n * 0.9 / 0.1 / 4) for n in COUNTS.tested)
    right = tuple(n - wrong for n, wrong in zip(COUNTS.tested, COUNTS.errors, strict=True))
    clicks = {("X0", 0): right, ("X0", 1): COUNTS.errors} | {(state, bit): mixed for state in ("Z0", "Z1") for bit in (0, 1)}
    key = tuple(36 * n for n in COUNTS.tested)
    block = ThreeStateDecoyCounts(key, sum(key), clicks)
    assert three_state_decoys.estimate(block, DECOYS, setting, BUDGET).reason is None
    assert three_state_decoy_length(block, DECOYS, setting, 100_000.0, PaperEpsilons(1e-11, 1e-11, 1e-15)).bits > 0
    with pytest.raises(LocalProtocolError, match="lack the clicks"):
        three_state_decoys.estimate(replace(block, clicks={}), DECOYS, setting, BUDGET)
    with pytest.raises(ConfigurationError, match="probability_multi_photon"):
        three_state_decoys.estimate(block, DECOYS, replace(setting, probability_multi_photon=1e-3), BUDGET)


# --------------------------------------------------------------------------------------------------------- nonsense is refused


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: single_photon_clicks(0.1, 0.02, -1.0, 0.5, 1e-6, 0.01), "channel.loss_db"),
        (lambda: single_photon_clicks(0.1, 1.2, 5.0, 0.5, 1e-6, 0.01), "source.g2"),
        (lambda: single_photon_clicks(3.0, 0.02, 5.0, 0.5, 1e-6, 0.01), "source.mean_photon_number"),
        (lambda: single_photon_clicks(0.1, 0.02, 5.0, 1.5, 1e-6, 0.01), "receiver.efficiency"),
        (lambda: DecoySetting((0.5, 0.1), (0.8, 0.3), 0.5, "active"), "source.probability_intensity"),
        (lambda: DecoySetting((0.5, 0.1), (1.0, 0.0), 0.5, "active"), "source.probability_intensity"),
        (lambda: DecoySetting((0.1, 0.5), (0.8, 0.2), 0.5, "active"), "source.intensities"),
        (lambda: DecoySetting((0.5, 0.4, 0.2), (0.5, 0.3, 0.2), 0.5, "active"), "source.intensities"),
        (lambda: DecoySetting((0.5, 0.0), (0.8, 0.2), 0.5, "active"), "source.intensities"),
        (lambda: DecoySetting((0.5,), (1.0,), 0.5, "active"), "source.intensities"),
        (lambda: DecoySetting((0.5, 0.1), (0.8, 0.2), 0.0, "active"), "receiver.probability_z"),
        (lambda: DecoySetting((0.5, 0.1), (0.8, 0.2), 0.5, "both"), "basis_choice"),  # type: ignore[arg-type]
        (lambda: replace(STATES, probability_z_alice=1.0), "probability_z_alice"),
        (lambda: replace(STATES, maximum_frames=0), "maximum_frames"),
        (lambda: replace(STATES, basis_choice="none"), "basis_choice"),  # type: ignore[arg-type]
        (lambda: QubitStates((0.0, pi, pi)), "one line"),
        (lambda: QubitStates(uncertainty=-0.1), "state uncertainty"),
        (lambda: yin_gamma(10, 11, 10, 1e-3), "errors_tested"),
        (lambda: yin_gamma(0, 0, 10, 1e-3), "count_tested"),
        (lambda: yin_gamma(10, 1, 10, 2.0), "epsilon"),
        (lambda: fung_gamma(10, 1.5, 10, 1e-3), "ratio"),
        (lambda: fung_gamma(10, 0.5, 10, 0.0), "epsilon"),
        (lambda: hoeffding_margin(-1.0, 1e-3), "count"),
        (lambda: hoeffding_margin(1.0, 1.0), "epsilon"),
        (lambda: mean_upper_bound(5, 4, 1e-3), "count"),
        (lambda: probability_upper_bound(1, 4, 0.0), "epsilon"),
        (lambda: kato_upper(0, 0.0, 1e-3), "count_trials"),
        (lambda: kato_upper(10, 11.0, 1e-3), "predicted"),
        (lambda: least_one_way_leakage(0, 0.1, 1e-3), "count"),
        (lambda: least_one_way_leakage(100, 0.6, 1e-3), "qber"),
        (lambda: PaperEpsilons(0.0, 1e-3, 1e-3), "epsilon of event"),
        (lambda: single_photon_paper.asymptotic_rate(0.1, 0.0, 0.6, 1.1), "qber"),
        (lambda: single_photon_paper.asymptotic_rate(0.1, 0.0, 0.1, 0.9), "efficiency"),
        (lambda: single_photon_paper.hbn_length(10, 10, 0.1, 0.0, 0.5), "single_share"),
        (lambda: three_state_paper.asymptotic_rate(0.1, -0.1, 0.1, 1.1), "multi-photon"),
        (lambda: decoy_length(COUNTS, DECOYS, -1.0, 1e-10, 1e-15), "leakage_bits"),
        (lambda: decoy_asymptotic_rate(DECOYS, (0.1, 0.1), (0.0, 0.0), 1.1), "gains"),
        (lambda: laser_gains(DECOYS, 2.0, 0.0, 0.0), "transmission"),
        (lambda: decoy_bb84.estimate(COUNTS, DecoySetting((0.5, 0.1), (0.8, 0.2), 0.5, "active"), BUDGET), "intensities"),
        (lambda: three_state_decoy_asymptotic_rate(DecoySetting((0.5, 0.1), (0.8, 0.2), 0.5, "active"), (), (), 1.1), "source.intensities"),
    ],
)
def test_nonsense_is_refused_with_the_name_of_the_parameter(call, name):
    with pytest.raises((ConfigurationError, LocalProtocolError), match=name):
        call()


@pytest.mark.parametrize(
    "changes", [{"errors": (1, 2)}, {"tested": (1, 2, 3)}, {"kept": 10**9}, {"errors": (-1, 0, 0)}, {"key_errors": (10**9, 0, 0)}]
)
def test_decoy_counts_that_contradict_each_other_are_our_own_mistake(changes):
    with pytest.raises(LocalProtocolError):
        replace(COUNTS, **changes)


def test_a_three_state_block_needs_its_table():
    counts, setting, _ = three_state_block(5.0)
    with pytest.raises(LocalProtocolError, match="table"):
        three_state.estimate(replace(counts, table=()), setting, BUDGET)
    with pytest.raises(LocalProtocolError, match="contradict"):
        three_state.estimate(replace(counts, frames=99), setting, BUDGET)


def test_one_decoy_needs_the_errors_of_the_key():
    one = DecoySetting((0.5, 0.1), (0.8, 0.2), 0.8, "active")
    counts = DecoyCounts((400_000, 30_000), 430_000, (100_000, 8_000), (1_000, 100))
    with pytest.raises(ConfigurationError, match="key_errors"):
        decoy_bb84.estimate(counts, one, BUDGET)
    with pytest.raises(ConfigurationError, match="key_errors"):
        decoy_length(counts, one, 0.0, 1e-10, 1e-15)
    known = decoy_bb84.estimate(replace(counts, key_errors=(4_000, 350)), one, BUDGET)
    assert known.reason is None
