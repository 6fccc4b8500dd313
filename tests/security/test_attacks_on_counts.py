"""Eavesdroppers of every strength on links that are planned but not emulated: three states and decoys.

Clicks are drawn pulse class by pulse class: photon number, Alice's state, what Eve does, what Bob finds. Each proof then sees what would
have been counted, and has to charge more than Eve knows from what she did. That it fails has a probability below 1e-18 in all: each of
some thousand blocks fails with at most 6e-22.
"""

from dataclasses import dataclass, replace
from itertools import product
from math import exp, sqrt
from typing import Literal

import numpy as np
import pytest

from common.blocks import BasisCounts, BlockCounts
from common.leakage import Leakage
from common.security.entropy import binary_entropy
from common.security.epsilons import EpsilonBudget
from common.security.key_length import KeyLength, length_of
from common.security.proofs import decoy_bb84, three_state, three_state_decoys
from common.security.proofs.decoy_setting import DecoyCounts, DecoySetting
from common.security.proofs.estimate import Estimate
from common.security.proofs.three_state_decoys import ThreeStateDecoyCounts
from common.security.proofs.three_state_setting import STATES, ThreeStateSetting
from tests.physics.statistics import SIGMAS

BUDGET = EpsilonBudget(1e-10, 1e-15, 1e-15)
STRENGTHS = (0.0, 0.05, 0.1, 0.2, 0.5, 1.0)
SEEDS = range(3)

P_Z = Q_Z = 0.8
ETA, DARK, MISALIGNMENT = 0.03, 1e-6, 0.005

TWO_COPIES = np.array([[1.0, 0.0, 0.5], [0.0, 1.0, 0.5], [0.5, 0.5, 1.0]])
"""Squared overlaps of the three states: linearly independent where a pulse holds two photons, so they can be told apart for certain."""

DISCRIMINATED = float(np.linalg.eigvalsh(TWO_COPIES)[0])
"""Probability, 1 - 1/sqrt(2), that two photons tell which of the three states they are in, equally for each."""


@dataclass(frozen=True)
class Attack:
    """What Eve does.

    Attributes
    ----------
    resent : float
        Share of the pulses measured in a basis drawn by a coin and sent on.
    bright : float
        Share of them measured in Z and sent on as three photons that are bound to be detected.
    split : float
        Share of the multi-photon pulses that she takes care of, at Bob's door; single photons are stopped so that the gain stays.
    delivered : float
        Share of those that she sends on, knowing what they are.
    """

    resent: float = 0.0
    bright: float = 0.0
    split: float = 0.0
    delivered: float = 1.0


ATTACKS = {
    "intercept and resend": lambda strength: Attack(resent=strength),
    "photon-number splitting": lambda strength: Attack(split=strength),
    "unambiguous discrimination": lambda strength: Attack(split=strength, delivered=DISCRIMINATED),
    "splitting and resending": lambda strength: Attack(resent=strength / 2, split=strength),
    "bright pulses": lambda strength: Attack(bright=strength / 20),
}


@dataclass(frozen=True)
class Pulses:
    """How many pulses of how many photons, row by row an intensity: 0, 1, 2 or more."""

    probabilities: tuple[tuple[float, float, float], ...]
    count: int = 1_000_000_000


SINGLE = Pulses(((0.8, 0.2 - 2e-4, 2e-4),))
DIM = 1e-9
Light = tuple[tuple[float, ...], tuple[float, ...]]
Receiver = Literal["active", "passive"]
TWO_DECOYS: Light = ((0.5, 0.1, DIM), (0.7, 0.2, 0.1))
ONE_DECOY: Light = ((0.5, 0.15), (0.7, 0.3))


def laser(intensities, probabilities):
    rows = [(p * exp(-k), p * k * exp(-k), p * (1 - (1 + k) * exp(-k))) for k, p in zip(intensities, probabilities, strict=True)]
    return Pulses(tuple(rows))


@dataclass
class Drawn:
    """Counts by intensity; errors and Eve's knowledge among the key bits."""

    key: list[int]
    key_errors: list[int]
    known: int
    clicks: dict[tuple[str, int], list[int]]
    cross: int


def arrival(pulses: Pulses, attack: Attack) -> tuple[float, float, float]:
    """Probability of a click by photon number; the brightest intensity clicks as often as without Eve."""
    brightest = pulses.probabilities[0]
    one, several = (share / sum(brightest) for share in brightest[1:])
    honest = 1 - (1 - ETA) ** 2
    gain = one * ETA + several * honest
    multi = min((1 - attack.split) * honest + attack.split * attack.delivered, gain / several)
    return DARK, max(0.0, gain - several * multi) / one + DARK, min(1.0, multi + DARK)


def found(state: str, photons: int, attack: Attack, passive: bool) -> dict[tuple[str, int], float]:
    """What becomes of a click: ("key", 2 known + wrong), ("X", bit) or ("cross", 0), with its probability."""
    q, in_z = Q_Z, state != "X0"
    wrong = 0.5 if photons == 0 else MISALIGNMENT
    resent, bright = (0.0, 0.0) if photons == 0 else (attack.resent, attack.bright)
    usual, seen = 1 - resent - bright, photons > 1
    alone = (q**3, (1 - q) ** 3) if passive else (q, 1 - q)
    outcomes: dict[tuple[str, int], float] = {("cross", 0): bright * (1 - sum(alone))}

    def add(kind, bit, probability):
        outcomes[kind, bit] = outcomes.get((kind, bit), 0.0) + probability

    if in_z:
        for share, known, error in (
            (usual * q, seen, wrong),
            (resent * q / 2, True, wrong),  # her basis was right
            (resent * q / 2, seen, 0.5),
            (bright * alone[0], True, wrong),
        ):
            add("key", 2 * known + 1, share * error)
            add("key", 2 * known, share * (1 - error))
        for bit in (0, 1):  # a Z state gives either X bit, whatever she did
            add("X", bit, ((usual + resent) * (1 - q) + bright * alone[1]) / 2)
    else:
        for share, error in (
            (usual * (1 - q), wrong),
            (resent * (1 - q) / 2, wrong),
            (resent * (1 - q) / 2, 0.5),
            (bright * alone[1], 0.5),
        ):
            add("X", 1, share * error)
            add("X", 0, share * (1 - error))
    return outcomes


def drawn(pulses: Pulses, attack: Attack, passive: bool, seed: int) -> Drawn:
    generator = np.random.default_rng(seed)
    result = Drawn([], [], 0, {(state, bit): [] for state in STATES for bit in (0, 1)}, 0)
    yields = arrival(pulses, attack)
    for row in pulses.probabilities:
        key = errors = 0
        clicks = dict.fromkeys(result.clicks, 0)
        for photons in range(3):
            arrived = generator.binomial(generator.binomial(pulses.count, row[photons]), yields[photons])
            for state, count in zip(STATES, generator.multinomial(arrived, [P_Z / 2, P_Z / 2, 1 - P_Z]), strict=True):
                outcomes = found(state, photons, attack, passive)
                rest = max(0.0, 1 - sum(outcomes.values()))
                for (kind, bit), many in zip(outcomes, generator.multinomial(count, [*outcomes.values(), rest])[:-1], strict=True):
                    if kind == "key":
                        key += int(many)
                        errors += int(many) * (bit & 1)
                        result.known += int(many) * (bit >> 1)
                    elif kind == "X":
                        clicks[state, bit] += int(many)
                    else:
                        result.cross += int(many)
        result.key.append(key)
        result.key_errors.append(errors)
        for entry, many in clicks.items():
            result.clicks[entry].append(many)
    return result


def by_three_states(block: Drawn, receiver: Receiver) -> tuple[Estimate, tuple[str, ...]]:
    (row,) = SINGLE.probabilities
    setting = ThreeStateSetting(row[2], P_Z, Q_Z, receiver, 0.0, 1)
    table = tuple((0, 0, *(block.clicks[state, bit][0] for bit in (0, 1))) for state in STATES)
    counts = BlockCounts(SINGLE.count, 1, sum(block.key), block.cross, BasisCounts(block.key[0], block.key[0]), BasisCounts(), table)
    return three_state.estimate(counts, setting, BUDGET), three_state.events(setting)


def by_decoys(block: Drawn, receiver: Receiver) -> tuple[Estimate, tuple[str, ...]]:
    intensities, probabilities = TWO_DECOYS if len(block.key) == 3 else ONE_DECOY
    setting = DecoySetting(intensities, probabilities, Q_Z, receiver)
    right, wrong = (block.clicks["X0", bit] for bit in (0, 1))
    tested = tuple(a + b for a, b in zip(right, wrong, strict=True))
    counts = DecoyCounts(tuple(block.key), sum(block.key), tested, tuple(wrong), tuple(block.key_errors), block.cross)
    return decoy_bb84.estimate(counts, setting, BUDGET), decoy_bb84.events(setting)


def by_three_states_and_decoys(block: Drawn, receiver: Receiver) -> tuple[Estimate, tuple[str, ...]]:
    decoys, setting = DecoySetting(*TWO_DECOYS, Q_Z, receiver), ThreeStateSetting(0.0, P_Z, Q_Z, receiver, 0.0, 1)
    counts = ThreeStateDecoyCounts(tuple(block.key), sum(block.key), {entry: tuple(n) for entry, n in block.clicks.items()}, block.cross)
    return three_state_decoys.estimate(counts, decoys, setting, BUDGET), three_state_decoys.events(decoys, setting)


PROOFS = {
    "three states": (SINGLE, by_three_states),
    "BB84, two decoys": (laser(*TWO_DECOYS), by_decoys),
    "BB84, one decoy": (laser(*ONE_DECOY), by_decoys),
    "three states, two decoys": (laser(*TWO_DECOYS), by_three_states_and_decoys),
}


def length(block: Drawn, estimated: tuple[Estimate, tuple[str, ...]]) -> tuple[KeyLength, int]:
    bits = sum(block.key)
    leaked = round(1.16 * bits * binary_entropy(sum(block.key_errors) / bits)) + 129
    return length_of(estimated[0], {"Z": BasisCounts(bits, bits)}, Leakage({"reconciliation": leaked}), BUDGET, estimated[1]), leaked


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("receiver", ["active", "passive"])
@pytest.mark.parametrize("proof", PROOFS)
def test_eve_knows_less_than_is_charged_and_too_much_leaves_no_key(proof, receiver, attack):
    pulses, estimated = PROOFS[proof]
    for strength, seed in product(STRENGTHS, SEEDS):
        block = drawn(pulses, ATTACKS[attack](strength), receiver == "passive", seed)
        found_length, leaked = length(block, estimated(block, receiver))
        bits, secret = sum(block.key), found_length.secret_bits
        charged = -found_length.ledger["multi-photon Z"] - found_length.ledger["phase errors Z"]

        assert block.known <= charged
        assert secret <= max(0, bits - block.known - leaked)
        if strength == 0.0:
            assert secret > 0.1 * bits
        if strength == 1.0 and attack == "intercept and resend":
            assert secret == 0
        if strength == 1.0 and attack == "photon-number splitting" and "decoy" in proof:
            assert block.known > 0.99 * bits  # all she does not know are dark counts
            assert secret == 0


@pytest.mark.parametrize("proof", ["BB84, two decoys", "BB84, one decoy"])
def test_splitting_shows_in_the_decoys_and_not_in_the_signal(proof):
    """False alarm: 1e-6 for the signal's gain."""
    pulses, _ = PROOFS[proof]
    quiet, split = (drawn(pulses, Attack(split=strength), passive=False, seed=7) for strength in (0.0, 0.1))

    assert abs(quiet.key[0] - split.key[0]) < SIGMAS * sqrt(quiet.key[0] + split.key[0])
    assert split.key[1] < 0.8 * quiet.key[1]


def test_bright_pulses_would_break_the_key_if_nobody_counted_cross_clicks():
    pulses, estimated = PROOFS["BB84, two decoys"]
    block = drawn(pulses, Attack(bright=0.7), passive=True, seed=8)
    blind, leaked = length(block, estimated(replace(block, cross=0), "passive"))

    assert blind.secret_bits > sum(block.key) - block.known - leaked
    assert length(block, estimated(block, "passive"))[0].secret_bits == 0
