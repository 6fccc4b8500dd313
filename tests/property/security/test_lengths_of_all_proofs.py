"""Every composable length by the same knobs: where it may only fall, where it must be zero, what it never exceeds, and what papers add.

Counts are the expected ones of a simple link, rounded, so that nothing is left to chance.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import exp, log2

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.blocks import BasisCounts, BlockCounts
from common.errors import AbortReason
from common.leakage import Leakage
from common.security.bounds import untested_error_bound
from common.security.entropy import binary_entropy
from common.security.epsilons import EpsilonBudget
from common.security.key_length import KeyLength, key_length, length_of
from common.security.paper import fung_gamma, yin_gamma
from common.security.proofs import decoy_bb84, three_state, three_state_decoys
from common.security.proofs.bb84_setting import Bb84Setting
from common.security.proofs.decoy_paper import decoy_length, three_state_decoy_length
from common.security.proofs.decoy_setting import DecoyCounts, DecoySetting
from common.security.proofs.paper_length import PaperEpsilons, PaperKeyLength
from common.security.proofs.single_photon_paper import niedersachsen_length
from common.security.proofs.three_state_decoys import ThreeStateDecoyCounts
from common.security.proofs.three_state_paper import three_state_length
from common.security.proofs.three_state_setting import ThreeStateSetting

PAPER = PaperEpsilons(1e-10 / 6, 1e-10 / 6, 1e-15)
P_Z = Q_Z = 0.7


@dataclass(frozen=True)
class Link:
    """The knobs.

    Attributes
    ----------
    pulses : int
        Pulses of the block.
    transmission : float
        From channel to click.
    error : float
        Probability of an error.
    pairs : float
        Of a hundred clicks so many stem from more than one photon: by the bound of a single-photon source, by what decoys show of laser
        light.
    cross : int
        Cross clicks; counted by passive receivers only, negative where they were not counted.
    leaked : float
        Bits of reconciliation for each key bit.
    kept : float
        Share of the key bits that were reconciled.
    epsilon : float
        Secrecy.
    """

    pulses: int = 10**9
    transmission: float = 0.01
    error: float = 0.01
    pairs: float = 1.0
    cross: int = 5
    leaked: float = 0.1
    kept: float = 1.0
    epsilon: float = 1e-10

    @property
    def budget(self) -> EpsilonBudget:
        return EpsilonBudget(self.epsilon, 1e-15, 1e-15)


@dataclass(frozen=True)
class Lengths:
    """What a proof and the publication beside it make of a link, and the most there could be.

    Attributes
    ----------
    composable : KeyLength
        The length that may decide a key.
    paper : PaperKeyLength or None
        The publication's; None where there is none.
    single : float
        Key bits that really stem from single photons.
    leaked : int
        Bits leaked.
    """

    composable: KeyLength
    paper: PaperKeyLength | None
    single: float
    leaked: int


def account(bits: int, link: Link) -> Leakage:
    return Leakage({"reconciliation": int(bits * link.leaked), "verification tag": 128, "verification verdict": 1})


def basis(bits: float, link: Link, tested: float = 0.0) -> BasisCounts:
    key, disclosed = round(bits), round(tested)
    return BasisCounts(key, round(key * link.kept), disclosed, min(disclosed, round(disclosed * link.error)))


def bb84(receiver, bases):
    def lengths(link: Link) -> Lengths:
        clicks, share = 0.2 * link.pulses * link.transmission, 0.5 if bases == "both" else 0.0
        setting = Bb84Setting(min(1.0, link.pairs / 100 * 0.2 * link.transmission), P_Z, Q_Z, receiver, bases, share, share or 1.0, 10)
        matched = {name: clicks * setting.probability_matched(name) for name in "ZX"}
        z = basis(matched["Z"] * (1 - share), link, matched["Z"] * share)
        x = basis(matched["X"] * share, link, matched["X"] * (1 - share if share else 1.0))
        counts = BlockCounts(link.pulses, 1, round(clicks), link.cross, z, x)
        leakage = account(z.key + x.key, link)
        paper = niedersachsen_length(counts, setting, leakage.total_bits, PAPER) if bases == "z" else None
        length = key_length(counts, leakage, setting, link.budget)
        return Lengths(length, paper, (z.key + x.key) * max(0.0, 1 - link.pairs / 100), leakage.total_bits)

    return lengths


def in_x(clicks, errors):
    """X clicks by state and bit, of all clicks and the wrong ones among them."""
    mixed, matched = clicks * (1 - Q_Z) * P_Z / 4, (1 - Q_Z) * (1 - P_Z)
    wrong = round(errors * matched)
    shown = {("X0", 0): round(clicks * matched) - wrong, ("X0", 1): wrong}
    return shown | {(state, bit): round(mixed) for state in ("Z0", "Z1") for bit in (0, 1)}


def three_states(receiver):
    def lengths(link: Link) -> Lengths:
        clicks = 0.2 * link.pulses * link.transmission
        setting = ThreeStateSetting(min(1.0, link.pairs / 100 * 0.2 * link.transmission), P_Z, Q_Z, receiver, 0.0, 10)
        shown = in_x(clicks, clicks * link.error)
        table = tuple((0, 0, shown[state, 0], shown[state, 1]) for state in ("Z0", "Z1", "X0"))
        counts = BlockCounts(link.pulses, 1, round(clicks), link.cross, basis(clicks * P_Z * Q_Z, link), BasisCounts(), table)
        leakage = account(counts.z.key, link)
        known = three_state.estimate(counts, setting, link.budget)
        length = length_of(known, {"Z": counts.z}, leakage, link.budget, three_state.events(setting))
        paper = three_state_length(counts, setting, leakage.total_bits, PAPER)
        return Lengths(length, paper, counts.z.key * max(0.0, 1 - link.pairs / 100), leakage.total_bits)

    return lengths


def laser(link: Link, intensities, probabilities):
    """Clicks by intensity: of single photons, of any, and wrong ones; the signal's do not depend on how many photons they stem from."""
    arriving = [link.pulses * link.transmission * p * k * exp(-k) for k, p in zip(intensities, probabilities, strict=True)]
    empty = [link.pulses * EMPTY * link.transmission * p * exp(-k) for k, p in zip(intensities, probabilities, strict=True)]
    share = min(1.0, link.pairs / 100)
    single = [(1 - share) * clicks for clicks in arriving]
    several = [share * clicks * k / intensities[0] for clicks, k in zip(arriving, intensities, strict=True)]
    wrong = [(one + more) * link.error + none / 2 for one, more, none in zip(single, several, empty, strict=True)]
    return single, [sum(parts) for parts in zip(single, several, empty, strict=True)], wrong


EMPTY = 0.002
"""Clicks of empty pulses, for each click of a pulse of one photon."""

DECOYS = {2: ((0.5, 0.1, 1e-4), (0.6, 0.25, 0.15)), 1: ((0.5, 0.1), (0.7, 0.3))}


def decoys(receiver, count):
    def lengths(link: Link) -> Lengths:
        setting = DecoySetting(*DECOYS[count], Q_Z, receiver)
        single, clicks, errors = laser(link, *DECOYS[count])

        def rounded(counts, share):
            return tuple(round(count * share) for count in counts)

        in_z, tests = P_Z * Q_Z, (1 - P_Z) * (1 - Q_Z)
        key, key_wrong, tested, wrong = rounded(clicks, in_z), rounded(errors, in_z), rounded(clicks, tests), rounded(errors, tests)
        counts = DecoyCounts(key, round(sum(key) * link.kept), tested, wrong, key_wrong, link.cross)
        leakage = account(sum(key), link)
        known = decoy_bb84.estimate(counts, setting, link.budget)
        length = length_of(known, {"Z": BasisCounts(sum(key), counts.kept)}, leakage, link.budget, decoy_bb84.events(setting))
        paper = decoy_length(counts, setting, leakage.total_bits, 1e-10, 1e-15)
        return Lengths(length, paper, sum(single) * P_Z * Q_Z, leakage.total_bits)

    return lengths


def three_states_and_decoys(receiver):
    def lengths(link: Link) -> Lengths:
        setting, source = ThreeStateSetting(0.0, P_Z, Q_Z, receiver, 0.0, 10), DecoySetting(*DECOYS[2], Q_Z, receiver)
        single, totals, errors = laser(link, *DECOYS[2])
        shown = [in_x(total, wrong) for total, wrong in zip(totals, errors, strict=True)]
        clicks = {entry: tuple(each[entry] for each in shown) for entry in shown[0]}
        key = tuple(round(total * P_Z * Q_Z) for total in totals)
        counts = ThreeStateDecoyCounts(key, round(sum(key) * link.kept), clicks, link.cross)
        leakage = account(sum(key), link)
        known = three_state_decoys.estimate(counts, source, setting, link.budget)
        events = three_state_decoys.events(source, setting)
        length = length_of(known, {"Z": BasisCounts(sum(key), counts.kept)}, leakage, link.budget, events)
        paper = three_state_decoy_length(counts, source, setting, leakage.total_bits, PAPER)
        return Lengths(length, paper, sum(single) * P_Z * Q_Z, leakage.total_bits)

    return lengths


PROOFS: dict[str, Callable[[Link], Lengths]] = {
    "BB84, active": bb84("active", "z"),
    "BB84, passive": bb84("passive", "z"),
    "BB84, active, both bases": bb84("active", "both"),
    "BB84, passive, both bases": bb84("passive", "both"),
    "three states, active": three_states("active"),
    "three states, passive": three_states("passive"),
    "two decoys, active": decoys("active", 2),
    "two decoys, passive": decoys("passive", 2),
    "one decoy, active": decoys("active", 1),
    "one decoy, passive": decoys("passive", 1),
    "three states and decoys, active": three_states_and_decoys("active"),
    "three states and decoys, passive": three_states_and_decoys("passive"),
}
PASSIVE = [name for name in PROOFS if "passive" in name]

LINKS = st.builds(
    Link,
    pulses=st.sampled_from([10**8, 10**9, 10**10]),
    transmission=st.floats(0.003, 0.1),
    error=st.floats(0.0, 0.08),
    pairs=st.floats(0.5, 40.0),
    cross=st.integers(0, 500),
    leaked=st.floats(0.0, 0.5),
    kept=st.floats(0.7, 1.0),
    epsilon=st.sampled_from([1e-6, 1e-10, 1e-14]),
)


def worth_of_an_error(length: KeyLength) -> float:
    """Errors come in whole numbers: one tagged bit more may spare one among the rest, worth log2((1 - phi)/phi) bits."""
    ratios = [max(ratio, 1e-6) for ratio in length.phase_error_bound.values() if ratio is not None and ratio < 0.5]
    return sum(log2((1 - ratio) / ratio) + 1 for ratio in ratios) + 1


@pytest.mark.parametrize("proof", PROOFS)
@given(link=LINKS, data=st.data())
@settings(max_examples=12)
def test_more_errors_leakage_multi_photons_or_promises_never_lengthen_a_key(proof, link, data):
    lengths = PROOFS[proof]
    length = lengths(link).composable
    worse = {
        "error": link.error + data.draw(st.floats(0.002, 0.2)),
        "leaked": link.leaked + data.draw(st.floats(0.001, 0.5)),
        "epsilon": link.epsilon * data.draw(st.sampled_from([0.1, 1e-3, 1e-9])),
        "pairs": link.pairs * data.draw(st.floats(1.05, 3.0)) + 2.0,  # a rounded click of a weak intensity stands for many photons
        "cross": link.cross + data.draw(st.integers(10, 1000)),
        "kept": link.kept * data.draw(st.floats(0.3, 0.99)),
    }
    for knob, value in worse.items():
        assert lengths(replace(link, **{knob: value})).composable.secret_bits <= length.secret_bits + worth_of_an_error(length), knob


@pytest.mark.parametrize("proof", PROOFS)
@given(link=LINKS)
@settings(max_examples=12)
def test_no_key_is_longer_than_its_single_photons_with_endless_statistics(proof, link):
    """What is left of the true single-photon bits after their true phase errors and the leakage."""
    lengths = PROOFS[proof](link)
    ideal = max(0.0, lengths.single * (1 - binary_entropy(min(0.5, link.error))) - lengths.leaked)

    assert lengths.composable.secret_bits <= ideal + 2  # counts are rounded
    assert lengths.composable.secret_bits <= sum(entry for entry in lengths.composable.ledger.values() if entry > 0) * link.kept + 1


@pytest.mark.parametrize("proof", PROOFS)
@pytest.mark.parametrize(
    ("knobs", "reasons"),
    [
        ({"transmission": 0.0}, {AbortReason.NO_CLICKS}),
        ({"pulses": 100_000}, {AbortReason.MULTI_PHOTON_BOUND, AbortReason.TOO_FEW_TESTED, AbortReason.PHASE_ERROR_BOUND}),
        ({"error": 0.5}, {AbortReason.PHASE_ERROR_BOUND, AbortReason.MULTI_PHOTON_BOUND}),
        ({"error": 0.25}, {AbortReason.PHASE_ERROR_BOUND, AbortReason.LEAKAGE_EXCEEDS_ENTROPY}),
        ({"pairs": 100.0}, {AbortReason.MULTI_PHOTON_BOUND, AbortReason.TOO_FEW_TESTED, AbortReason.PHASE_ERROR_BOUND}),
        ({"leaked": 1.0}, {AbortReason.LEAKAGE_EXCEEDS_ENTROPY}),
        ({"kept": 0.0}, {AbortReason.RECONCILIATION_FAILED}),
    ],
    ids=["no clicks", "few pulses", "coin", "intercepted", "all tagged", "all leaked", "nothing reconciled"],
)
def test_there_is_no_key_where_there_must_be_none(proof, knobs, reasons):
    length = PROOFS[proof](replace(Link(leaked=0.5), **knobs)).composable

    assert length.secret_bits == 0
    assert length.reason in reasons
    assert length.bound


@pytest.mark.parametrize("proof", PASSIVE)
def test_a_passive_receiver_makes_no_key_of_uncounted_or_too_many_cross_clicks(proof):
    assert PROOFS[proof](Link()).composable.secret_bits > 0
    assert PROOFS[proof](Link(cross=-1)).composable.reason is AbortReason.MISSING_CROSS_CLICKS
    assert PROOFS[proof](Link(cross=10**6)).composable.secret_bits == 0


def side_by_side(proof: str) -> dict[str, float]:
    """Composable minus published, term by term, in shares of the key bits."""
    lengths = PROOFS[proof](Link())
    ours, paper = lengths.composable, lengths.paper
    assert paper is not None
    key = ours.ledger["sifted key bits"]
    bits = {
        "single photons": key + ours.ledger["multi-photon Z"] - paper.terms["single-photon bits"],
        "empty pulses": -paper.terms.get("empty pulses", 0.0),
        "phase errors": ours.ledger["phase errors Z"] - paper.terms["phase errors"],
        "all": ours.secret_bits - paper.bits,
    }
    return {term: value / key for term, value in bits.items()}


@pytest.mark.parametrize("proof", ["BB84, active", "three states, active", "three states and decoys, active"])
def test_against_chernoff_bounds_the_phase_errors_make_the_difference(proof):
    """The squared budget costs, and so does holding for dependent events; tagged bits cost the same within two per cent."""
    difference = side_by_side(proof)

    assert difference["phase errors"] < 0.0 > difference["all"]
    assert -0.02 < difference["single photons"] <= 0.0
    assert difference["phase errors"] < 0.7 * difference["all"]


@pytest.mark.parametrize("proof", ["two decoys, active", "one decoy, active"])
def test_against_hoeffding_bounds_single_photons_and_sampling_gain_more_than_empty_pulses_cost(proof):
    difference = side_by_side(proof)

    assert difference["single photons"] > 0.0 < difference["phase errors"]
    assert difference["empty pulses"] <= 0.0 < difference["all"]


@pytest.mark.parametrize(
    ("tested", "errors", "untested", "gains_on_yin", "gains_on_fung"),
    [
        (100_000, 1000, 1_000_000, False, True),
        (10_000, 100, 100_000, True, True),
        (2_000, 10, 100_000, True, False),
        (10_000, 10, 100_000, True, False),
        (1_000_000, 5_000, 1_000_000, False, True),
    ],
)
def test_the_exact_sampling_bound_sometimes_gains_and_the_squared_budget_costs(tested, errors, untested, gains_on_yin, gains_on_fung):
    """At one failure probability; where a publication's gamma is smaller, it fails more often than it says."""
    exact = untested_error_bound(tested, errors, untested, PAPER.event) / untested
    squared = untested_error_bound(tested, errors, untested, Link().budget.probability_of_event(3)) / untested
    ratio = errors / tested

    assert (exact < ratio + yin_gamma(tested, errors, untested, PAPER.event).value) == gains_on_yin
    assert (exact < ratio + fung_gamma(tested, ratio, untested, PAPER.event).value) == gains_on_fung
    assert exact < squared
