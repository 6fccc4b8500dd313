"""Limits of the composable proofs: finite lengths tend to them from below, and they are nothing where the proofs give nothing."""

from dataclasses import replace
from math import log10

import pytest

from common.blocks import BasisCounts, BlockCounts
from common.errors import AbortReason, ConfigurationError
from common.leakage import Leakage
from common.security.epsilons import EpsilonBudget
from common.security.key_length import key_length, length_of
from common.security.proofs import decoy_bb84, limits, three_state, three_state_decoys
from common.security.proofs.bb84_setting import Bb84Setting
from common.security.proofs.decoy_setting import DecoyCounts, DecoySetting
from common.security.proofs.limits import BasisShare
from common.security.proofs.three_state_decoys import ThreeStateDecoyCounts
from common.security.proofs.three_state_setting import QubitStates, ThreeStateSetting

BUDGET = EpsilonBudget(1e-10, 1e-15, 1e-15)
PULSES = (10**9, 10**11, 10**13)
SHARE = BasisShare(key=1e-3, tested=1e-3, errors=1e-5)
CROSS = 1e-5
MIXED, RIGHT, WRONG = 1e-4, 5e-5, 1e-6
CLICKS = {("X0", 0): RIGHT, ("X0", 1): WRONG} | {(state, bit): MIXED for state in ("Z0", "Z1") for bit in (0, 1)}
INTENSITIES = (0.5, 0.1, 0.01)
PROBABILITIES = (0.6, 0.25, 0.15)


def bb84(basis_choice="active", key_bases="z"):
    fraction = 0.5 if key_bases == "both" else 0.0
    return Bb84Setting(1e-5, 0.5, 0.5, basis_choice, key_bases, fraction, fraction or 1.0, 1)


def three_states(basis_choice="active", multi=1e-6, states=None):
    return ThreeStateSetting(multi, 0.8, 0.5, basis_choice, 0.0, 1, states or QubitStates())


def decoys(count=3, basis_choice="active"):
    shares = PROBABILITIES if count == 3 else (0.75, 0.25)
    return DecoySetting(INTENSITIES[:count], shares, 0.5, basis_choice)


def by_intensity(setting, transmission, share):
    """Clicks of laser light through a lossy link, dark ones included."""
    return tuple(share * p * (transmission * k + 1e-6) for k, p in zip(setting.intensities, setting.probabilities, strict=True))


def counted(shares, pulses):
    return tuple(round(pulses * share) for share in shares)


def basis_counts(share, pulses):
    key, tested, errors = counted((share.key, share.tested, share.errors), pulses)
    return BasisCounts(key, key, tested, errors)


def bb84_pair(setting):
    both = setting.key_bases == "both"
    z, x = (SHARE, SHARE) if both else (BasisShare(2e-3, 0.0, 0.0), BasisShare(0.0, 2e-3, 2e-5))

    def finite(pulses):
        of_z, of_x = (basis_counts(share, pulses) for share in (z, x))
        return key_length(BlockCounts(pulses, 1, 0, round(CROSS * pulses), of_z, of_x), Leakage(), setting, BUDGET).secret_bits

    return limits.bb84_limit(z, x, CROSS, setting), finite


def three_state_pair(setting):
    def finite(pulses):
        def seen(state, bit):
            return round(pulses * CLICKS[state, bit])

        key = round(pulses * 2e-3)
        table = tuple((0, 0, seen(state, 0), seen(state, 1)) for state in ("Z0", "Z1", "X0"))
        counts = BlockCounts(pulses, 1, 0, round(1e-7 * pulses), BasisCounts(key, key), BasisCounts(), table)
        known = three_state.estimate(counts, setting, BUDGET)
        return length_of(known, {"Z": counts.z}, Leakage(), BUDGET, three_state.events(setting)).secret_bits

    return limits.three_state_limit(2e-3, CLICKS, 1e-7, setting), finite


def decoy_pair(setting):
    key, key_errors = by_intensity(setting, 0.01, 0.5), by_intensity(setting, 1e-4, 0.25)
    tested, errors = by_intensity(setting, 0.01, 0.2), by_intensity(setting, 1e-4, 0.1)

    def finite(pulses):
        seen = counted(key, pulses)
        counts = DecoyCounts(
            seen,
            sum(seen),
            counted(tested, pulses),
            counted(errors, pulses),
            counted(key_errors, pulses),
            round(1e-6 * pulses),
        )
        known = decoy_bb84.estimate(counts, setting, BUDGET)
        keys = {"Z": BasisCounts(sum(seen), sum(seen))}
        return length_of(known, keys, Leakage(), BUDGET, decoy_bb84.events(setting)).secret_bits

    return limits.decoy_limit(key, key_errors, tested, errors, 1e-6, setting), finite


def three_state_decoy_pair(basis_choice):
    light, setting = decoys(3, basis_choice), three_states(basis_choice, multi=0.0)
    key = by_intensity(light, 0.01, 0.4)
    shares = {("X0", 0): 0.0995, ("X0", 1): 0.0005} | {(state, bit): 0.1 for state in ("Z0", "Z1") for bit in (0, 1)}
    clicks = {entry: by_intensity(light, 0.01, share) for entry, share in shares.items()}

    def finite(pulses):
        seen = counted(key, pulses)
        block = ThreeStateDecoyCounts(
            seen, sum(seen), {entry: counted(values, pulses) for entry, values in clicks.items()}, round(1e-7 * pulses)
        )
        known = three_state_decoys.estimate(block, light, setting, BUDGET)
        keys = {"Z": BasisCounts(sum(seen), sum(seen))}
        return length_of(known, keys, Leakage(), BUDGET, three_state_decoys.events(light, setting)).secret_bits

    return limits.three_state_decoy_limit(key, clicks, 1e-7, light, setting), finite


PAIRS = {
    "bb84-active": lambda: bb84_pair(bb84()),
    "bb84-passive": lambda: bb84_pair(bb84("passive")),
    "bb84-both-bases": lambda: bb84_pair(bb84("active", "both")),
    "bb84-passive-both-bases": lambda: bb84_pair(bb84("passive", "both")),
    "three-state-active": lambda: three_state_pair(three_states()),
    "three-state-passive": lambda: three_state_pair(three_states("passive")),
    "three-state-measured-states": lambda: three_state_pair(three_states(states=QubitStates((0.0, 3.12, 1.60), 0.005))),
    "two-decoys": lambda: decoy_pair(decoys()),
    "two-decoys-passive": lambda: decoy_pair(decoys(3, "passive")),
    "one-decoy": lambda: decoy_pair(decoys(2)),
    "three-state-decoys": lambda: three_state_decoy_pair("active"),
    "three-state-decoys-passive": lambda: three_state_decoy_pair("passive"),
}


@pytest.mark.parametrize("name", PAIRS)
def test_finite_lengths_tend_to_the_limit_from_below(name):
    """Two orders of magnitude more pulses leave a tenth of the gap: margins grow with the square root of the counts."""
    limit, finite = PAIRS[name]()
    assert limit.reason is None
    rate = sum(limit.terms.values())
    gaps = [1.0 - finite(pulses) / pulses / rate for pulses in PULSES]
    assert all(gap > 0.0 for gap in gaps)
    assert gaps[2] < 1e-2
    slope = log10(gaps[1] / gaps[2]) / 2.0
    assert 0.4 < slope < 0.65


@pytest.mark.parametrize(
    ("limit", "reason"),
    [
        (lambda: limits.bb84_limit(BasisShare(0, 0, 0), SHARE, 0.0, bb84()), AbortReason.NO_CLICKS),
        (lambda: limits.bb84_limit(BasisShare(1e-6, 0, 0), SHARE, 0.0, bb84()), AbortReason.MULTI_PHOTON_BOUND),
        (lambda: limits.bb84_limit(SHARE, BasisShare(0, 1e-6, 0), 0.0, bb84()), AbortReason.TOO_FEW_TESTED),
        (lambda: limits.bb84_limit(SHARE, BasisShare(0, 1e-3, 5e-4), 0.0, bb84()), AbortReason.PHASE_ERROR_BOUND),
        (lambda: limits.bb84_limit(SHARE, SHARE, 1e-2, bb84("passive")), AbortReason.MULTI_PHOTON_BOUND),
        (lambda: limits.three_state_limit(2e-3, dict.fromkeys(CLICKS, 5e-4), 0.0, three_states()), AbortReason.PHASE_ERROR_BOUND),
    ],
    ids=["no-clicks", "tagged", "no-test", "errors", "cross-clicks", "random-outcomes"],
)
def test_no_limit_is_better_than_its_proof(limit, reason):
    found = limit()
    assert found.reason is reason
    assert found.bound


def test_nonsense_is_refused_with_the_name_of_the_parameter():
    with pytest.raises(ConfigurationError, match="tested share of X"):
        limits.bb84_limit(SHARE, BasisShare(0.0, 2.0, 0.0), 0.0, bb84())
    with pytest.raises(ConfigurationError, match="cross-click share"):
        limits.bb84_limit(SHARE, SHARE, -1.0, bb84())
    with pytest.raises(ConfigurationError, match="key share"):
        limits.three_state_limit(2.0, CLICKS, 0.0, three_states())
    with pytest.raises(ConfigurationError, match="two decoys"):
        limits.three_state_decoy_limit((0.1, 0.1), {}, 0.0, decoys(2), three_states(multi=0.0))


@pytest.mark.parametrize("change", [{"windows_share_ports": True}, {"probability_excess_noise": 1e-9}], ids=["time-bins", "noise"])
def test_three_states_with_decoys_make_no_key_where_nobody_proved_it(change):
    """Time bins part several photons in 3/8 of the slots, not in half of them, and noise that Z alone has is not given away."""
    light, setting = decoys(3, "passive"), replace(three_states("passive", multi=0.0), **change)
    clicks = dict.fromkeys(CLICKS, (0.01, 0.01, 0.01))

    with pytest.raises(ConfigurationError, match="covers neither time bins"):
        limits.three_state_decoy_limit((0.1, 0.1, 0.1), clicks, 0.0, light, setting)
    block = ThreeStateDecoyCounts((100, 100, 100), 300, dict.fromkeys(CLICKS, (10, 10, 10)))
    with pytest.raises(ConfigurationError, match="covers neither time bins"):
        three_state_decoys.estimate(block, light, setting, BUDGET)
