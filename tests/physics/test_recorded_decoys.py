"""The decoy analysis on what a real three-state link with two decoys saw, arXiv 2505.17587.

The link's intensities differ by some percent from state to state, and its states were not told to us as angles. The proof assumes one
intensity for all states and ideal states: what it says here is what it makes of real counts, not a claim of secrecy of that link.
"""

import math
from dataclasses import replace

import numpy as np
import pytest

from common.blocks import BasisCounts
from common.errors import AbortReason
from common.leakage import Leakage
from common.security.entropy import binary_entropy
from common.security.epsilons import EpsilonBudget
from common.security.key_length import length_of
from common.security.proofs import three_state_decoys
from common.security.proofs.decoy_bounds import single_lower_two_decoys, single_upper, vacuum_lower
from common.security.proofs.decoy_setting import DecoySetting, Entropic, Exact, scaled
from common.security.proofs.three_state_decoys import ThreeStateDecoyCounts
from common.security.proofs.three_state_setting import ThreeStateSetting
from tests.support.decoy_observations import DECOY, SIGNAL_KEY, SIGNAL_TEST, WEAK, cross_clicks, read_observations, single_clicks

CAR, TABLE = "decoy/ohioDataVarsObsCarRun1Mar27.mat", "decoy/ohioDataVarsObsTableTopRun3.mat"
BUDGET = EpsilonBudget(1e-8, 1e-10, 1e-10)
R, L, H = range(3)


def observed(recordings, name):
    path = recordings / name
    if not path.is_file():
        pytest.skip(f"recording {name} is absent")
    return read_observations(path)


def by_intensity(seen, *, key_rounds):
    """Patterns by intensity and state, the signal's rounds of key and of test together where ``key_rounds``."""
    signal = seen.clicks[SIGNAL_TEST] + (seen.clicks[SIGNAL_KEY] if key_rounds else 0)
    return np.stack([signal, seen.clicks[DECOY], seen.clicks[WEAK]])


def analysed(seen, *, key_rounds):
    patterns = by_intensity(seen, key_rounds=key_rounds)
    rounds = patterns.sum(axis=(1, 2))
    z, x = single_clicks(patterns, "RL"), single_clicks(patterns, "HV")
    probability_z_bob = float(z.sum() / (z.sum() + x.sum()))
    decoys = DecoySetting(
        tuple(float(value) for value in seen.intensities.mean(axis=1)),
        tuple(float(n) for n in rounds / rounds.sum()),
        probability_z_bob,
        "passive",
    )
    share_z = float(patterns[:, [R, L]].sum() / patterns.sum())
    setting = ThreeStateSetting(0.0, share_z, probability_z_bob, "passive", 0.0, 1)
    key = tuple(int(n) for n in z[:, [R, L]].sum(axis=(1, 2)))
    clicks = {(name, bit): tuple(int(n) for n in x[:, state, bit]) for name, state in (("Z0", R), ("Z1", L), ("X0", H)) for bit in (0, 1)}
    counts = ThreeStateDecoyCounts(key, sum(key), clicks, int(cross_clicks(patterns).sum()))
    errors = int(z[:, R, 1].sum() + z[:, L, 0].sum())
    return counts, decoys, setting, errors


@pytest.mark.parametrize("name", [CAR, TABLE])
def test_shares_give_back_whole_counts_that_add_up_to_the_rounds(recordings, name):
    seen = observed(recordings, name)

    assert int(seen.clicks.sum()) == seen.total
    assert not seen.clicks[SIGNAL_KEY, H].any(), "no key is made from H"
    tested = seen.clicks[[SIGNAL_TEST, DECOY, WEAK]].sum(axis=(1, 2))
    assert tested / tested.sum() == pytest.approx(seen.probability_intensity, abs=1e-3)


def test_intensity_is_independent_of_the_state_where_all_rounds_are_taken_together(recordings):
    """What the proof needs; of the run with a car this holds with signal rounds of key and test as one, to 1 %."""
    rounds = by_intensity(observed(recordings, CAR), key_rounds=True).sum(axis=2)

    shares = rounds / rounds.sum(axis=0)
    assert shares == pytest.approx(np.repeat(shares.mean(axis=1)[:, None], 3, axis=1), rel=0.02)


def test_clicks_grow_with_the_intensity_as_a_loss_and_a_dark_rate_say(recordings):
    """Gains of three intensities and one transmission: Q = 1 - (1 - Y0) exp(-eta mu), within 5 %, for the intensities' own spread."""
    seen = observed(recordings, CAR)
    patterns = by_intensity(seen, key_rounds=True)
    gain = 1.0 - patterns[..., 0] / patterns.sum(axis=2)
    dark = float(gain[2].mean())
    eta = [-math.log((1.0 - gain[0, state]) / (1.0 - dark)) / float(seen.intensities[0, state]) for state in range(3)]

    for state in range(3):
        expected = 1.0 - (1.0 - dark) * math.exp(-eta[state] * float(seen.intensities[1, state]))
        assert gain[1, state] == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("name", [CAR, TABLE])
def test_bounds_of_photon_numbers_hold_together_on_real_counts(recordings, name):
    counts, decoys, _, _ = analysed(observed(recordings, name), key_rounds=name == CAR)
    total, ends = sum(counts.key), {}
    for label, spread in (("endless", Exact()), ("finite", Entropic(1e-11))):
        low, high = scaled(decoys, counts.key, spread)
        ends[label] = vacuum_lower(decoys, low, high), single_lower_two_decoys(decoys, low, high), single_upper(decoys, low, high)

    for vacuum, least, most in ends.values():
        assert 0.0 <= vacuum < 0.05 * total
        assert 0.0 < least <= most
        assert least < total
    assert ends["finite"][1] < ends["endless"][1] <= ends["endless"][2] < ends["finite"][2]
    single = decoys.tau(1) / sum(decoys.tau(n) * n for n in range(1, 12))  # of a channel of small transmission
    assert ends["endless"][1] / total == pytest.approx(single, rel=0.12)


def test_the_composable_proof_runs_on_the_real_counts(recordings):
    """Every bound is finite and in its place; whether key is left is for the leakage to say: f = 1 is the least any code can leak."""
    counts, decoys, setting, errors = analysed(observed(recordings, CAR), key_rounds=True)
    qber, total = errors / sum(counts.key), sum(counts.key)
    known = three_state_decoys.estimate(counts, decoys, setting, BUDGET)
    (entry,) = known.bases

    lengths = {}
    for efficiency in (1.0, 1.2):
        leakage = Leakage({"syndromes": math.ceil(efficiency * total * binary_entropy(qber))})
        keys = {"Z": BasisCounts(total, total)}
        lengths[efficiency] = length_of(known, keys, leakage, BUDGET, three_state_decoys.events(decoys, setting))

    assert known.reason is None
    assert 0.02 < qber < 0.03
    assert entry.phase_error_ratio is not None
    assert qber < entry.phase_error_ratio < 0.5, "the bound lies above the bit errors of the same link"
    assert 0.2 < entry.count_tagged / total < 0.5, "about a third of the clicks of such light is not single photons"
    assert all(math.fsum(length.ledger.values()) == length.secret_bits for length in lengths.values())
    assert lengths[1.0].secret_bits > lengths[1.2].secret_bits == 0
    assert lengths[1.2].reason is AbortReason.LEAKAGE_EXCEEDS_ENTROPY


def test_real_counts_with_the_states_of_x_mixed_up_make_no_key(recordings):
    """As if Eve had measured in Z: whatever was sent, both outcomes in X are equally likely."""
    counts, decoys, setting, _ = analysed(observed(recordings, CAR), key_rounds=True)
    mixed = {
        (state, bit): tuple(sum(counts.clicks[state, both][index] for both in (0, 1)) // 2 for index in range(3))
        for state, bit in counts.clicks
    }

    known = three_state_decoys.estimate(replace(counts, clicks=mixed), decoys, setting, BUDGET)

    assert known.reason is AbortReason.PHASE_ERROR_BOUND
