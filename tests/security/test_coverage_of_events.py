"""Do the bounds of probabilities, dependent events, photon numbers and phase errors fail as rarely as they promise?

Enumerated where possible, simulated where not; seeds are fixed and each simulation states its false-alarm probability. The gammas of
publications are here too: they fail more often than they promise, which is why no key rests on them.
"""

from itertools import product
from math import exp, inf

import numpy as np
import pytest

from common.security.bounds import binomial_lower_bound, binomial_upper_bound
from common.security.intervals import mean_lower_bound, mean_upper_bound, probability_lower_bound, probability_upper_bound
from common.security.kato import kato_lower, kato_upper
from common.security.martingales import compensator_lower_bound, compensator_upper_bound, count_upper_bound
from common.security.paper import fung_gamma, yin_gamma
from common.security.proofs.decoy_bb84 import vacuum_clicks_upper
from common.security.proofs.decoy_bounds import single_lower_one_decoy, single_lower_two_decoys, single_upper, vacuum_errors_upper
from common.security.proofs.decoy_setting import DecoySetting, Entropic, scaled
from common.security.proofs.three_state import phase_error_bound
from common.security.proofs.three_state_setting import ThreeStateSetting
from common.security.tails import log_binomial_mass, log_hypergeometric_lower_tail

EPSILONS = (0.3, 0.05, 1e-4)


def masses(trials, probability):
    return [exp(log_binomial_mass(k, trials, probability)) for k in range(trials + 1)]


@pytest.mark.parametrize("epsilon", EPSILONS)
def test_binomial_and_probability_bounds_cover_up_to_thirty_trials(epsilon):
    for trials, probability in product((1, 7, 30), (0.001, 0.2, 0.5, 0.93)):
        mass = masses(trials, probability)
        assert sum(mass[: binomial_lower_bound(trials, probability, epsilon)]) <= epsilon
        above = sum(mass[k] for k in range(trials + 1) if probability_upper_bound(k, trials, epsilon) < probability)
        below = sum(mass[k] for k in range(trials + 1) if probability_lower_bound(k, trials, epsilon) > probability)
        assert max(above, below) <= epsilon


@pytest.mark.parametrize("epsilon", EPSILONS)
def test_means_cover_trials_of_unequal_probability(epsilon):
    for probabilities in ([0.1] * 5 + [0.9] * 10, [0.02, 0.5, 1.0] * 6, list(np.linspace(0, 1, 25)), [1e-3] * 12):
        mass = np.array([1.0])
        for p in probabilities:
            mass = np.convolve(mass, [1.0 - p, p])
        mean, trials = float(np.sum(probabilities)), len(probabilities)
        missed_above = sum(mass[k] for k in range(trials + 1) if mean_upper_bound(k, trials, epsilon) < mean * (1 - 1e-9))
        missed_below = sum(mass[k] for k in range(trials + 1) if mean_lower_bound(k, trials, epsilon) > mean * (1 + 1e-9))
        assert max(missed_above, missed_below) <= epsilon


@pytest.mark.parametrize("predicted_share", [0.5, 1.0, 3.0])
def test_kato_covers_whatever_was_predicted(predicted_share):
    """Exact for independent trials: the failing counts are summed."""
    for trials, probability in product((50, 400), (0.01, 0.1, 0.5)):
        mass, mean = masses(trials, probability), trials * probability
        predicted = min(trials, predicted_share * mean)
        for epsilon in EPSILONS:
            upper, lower = kato_upper(trials, predicted, epsilon), kato_lower(trials, predicted, epsilon)
            assert sum(mass[k] for k in range(trials + 1) if upper.expectation(k) < mean * (1 - 1e-12)) <= epsilon
            assert sum(mass[k] for k in range(trials + 1) if lower.expectation(k) > mean * (1 + 1e-12)) <= epsilon
            assert sum(mass[k] for k in range(trials + 1) if lower.count(mean) < k) <= epsilon
            assert sum(mass[k] for k in range(trials + 1) if upper.count(mean) > k) <= epsilon


def adaptive_run(generator, runs, rounds, high, low):
    """Events of an adversary who looks: as long as fewer happened than probabilities promise she sends many, else few."""
    count, total = np.zeros(runs), np.zeros(runs)
    history = []
    for _ in range(rounds):
        p = np.where(count < total, high, low)
        total = total + p
        count = count + (generator.random(runs) < p)
        history.append((count, total))
    return history


def test_kato_and_martingale_bounds_hold_against_an_adaptive_adversary():
    """False alarm at most 1e-6 each: 4000 runs, each failing with probability at most 0.2 (at any time, for the martingale)."""
    epsilon, runs, rounds = 0.2, 4000, 300
    history = adaptive_run(np.random.default_rng(5), runs, rounds, 0.3, 0.02)
    most = binomial_upper_bound(runs, epsilon, 1e-6)
    count, total = history[-1]
    upper, lower = kato_upper(rounds, 25.0, epsilon), kato_lower(rounds, 25.0, epsilon)
    assert sum(upper.expectation(c) < s for c, s in zip(count, total, strict=True)) <= most
    assert sum(lower.expectation(c) > s for c, s in zip(count, total, strict=True)) <= most
    above = np.array([compensator_upper_bound(float(k), epsilon) for k in range(rounds + 1)])
    below = np.array([compensator_lower_bound(float(k), epsilon) for k in range(rounds + 1)])
    grid = np.linspace(0, rounds, 2001)
    counted = np.array([count_upper_bound(float(s), epsilon) for s in grid])
    failed = np.zeros((3, runs), np.bool_)
    for events, expected in history:
        seen = events.astype(int)
        failed[0] |= above[seen] < expected
        failed[1] |= below[seen] > expected
        failed[2] |= np.interp(expected, grid, counted) < events - 0.2
    assert max(failed.sum(axis=1)) <= most


def true_failure(gamma, tested, untested, errors):
    """Probability that the untested errors exceed what ``gamma`` says, at this many errors in all; exact."""

    def exceeded(shown):
        return errors - shown > untested * (shown / tested + gamma(shown))

    low, high = -1, min(errors, tested)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if exceeded(middle) else (low, middle)
    return exp(log_hypergeometric_lower_tail(low, tested + untested, errors, tested)) if low >= 0 else 0.0


def test_the_gamma_of_a_point_mass_fails_more_often_than_it_promises():
    tested = untested = 10_000
    worst = max(true_failure(lambda m: yin_gamma(tested, m, untested, 1e-10).value, tested, untested, errors) for errors in range(700, 760))
    assert 1.5e-10 < worst < 6e-10


def test_the_gamma_used_with_decoys_fails_by_orders_of_magnitude_at_few_errors():
    tested = untested = 1000

    def failure(shown):
        """At the number of errors in all that is just beyond what a sample of ``shown`` errors is said to allow."""
        bound = untested * (shown / tested + fung_gamma(tested, shown / tested, untested, 1e-10).value)
        return true_failure(
            lambda m: fung_gamma(tested, m / tested, untested, 1e-10).value if m else inf, tested, untested, int(bound) + 1 + shown
        )

    assert failure(10) > 50 * 1e-10
    assert failure(3) > 1e4 * 1e-10


TWO = DecoySetting((0.5, 0.1, 0.01), (0.5, 0.3, 0.2), 0.5, "active")
ONE = DecoySetting((0.5, 0.15), (0.6, 0.4), 0.5, "active")


@pytest.mark.parametrize("setting", [TWO, ONE], ids=["two decoys", "one decoy"])
@pytest.mark.parametrize(
    "yields", [(1e-3, 0.02, 0.04, 0.06), (1e-3, 0.0, 0.2, 0.6), (2e-2, 0.02, 0.02, 0.02)], ids=["loss", "splitting", "noise"]
)
def test_bounds_of_photon_numbers_hold_whatever_the_eavesdropper_lets_through(setting, yields):
    """False alarm at most 1e-6 each: 1500 blocks, each bound failing with probability at most 7 or 5 times 0.01."""
    generator, epsilon, blocks, pulses = np.random.default_rng(99), 0.01, 1500, 2_000_000
    spread, failed = Entropic(epsilon), [0, 0]
    k, p = np.array(setting.intensities), np.array(setting.probabilities)
    emitted = np.array([p * np.exp(-k) * k**n for n in range(3)] + [np.zeros(len(k))])
    emitted[2] /= 2.0
    emitted[3] = p - emitted[:3].sum(axis=0)
    for _ in range(blocks):
        sent = generator.multinomial(pulses, emitted.ravel()).reshape(emitted.shape)
        clicks = generator.binomial(sent, np.array(yields)[:, None])
        wrong = generator.binomial(clicks, np.array([0.5, 0.03, 0.03, 0.03])[:, None])
        total, errors = [int(n) for n in clicks.sum(axis=0)], [int(n) for n in wrong.sum(axis=0)]
        bounds, error_bounds = scaled(setting, total, spread), scaled(setting, errors, spread)
        if setting is TWO:
            single = single_lower_two_decoys(setting, *bounds)
        else:
            empty = vacuum_clicks_upper(int(vacuum_errors_upper(setting, error_bounds[1])), sum(total), epsilon)
            single = single_lower_one_decoy(setting, *bounds, empty)
        failed[0] += single > clicks[1].sum()
        failed[1] += single_upper(setting, *error_bounds) < wrong[1].sum()
    assert failed[0] <= binomial_upper_bound(blocks, 5 * epsilon, 1e-6)
    assert failed[1] <= binomial_upper_bound(blocks, 2 * epsilon, 1e-6)


def test_three_state_phase_errors_are_bounded_whatever_the_eavesdropper_measures():
    """False alarm at most 1e-6: 400 blocks, each failing with probability at most 4 times 0.05.

    The eavesdropper measures in Z or X, or lets pulses pass, by what she has seen so far; phase errors are those Alice and Bob would
    have found had both measured their key rounds in X.
    """
    generator, epsilon, blocks, pulses = np.random.default_rng(3), 0.05, 400, 40_000
    setting = ThreeStateSetting(0.0, 0.7, 0.6, "active", 0.0, 1)
    failed = 0
    for _ in range(blocks):
        most = {(state, bit): 0 for state in ("Z0", "Z1", "X0") for bit in (0, 1)}
        phase = 0
        for stretch in range(8):  # she changes her mind seven times
            behind = phase <= 0.1 * stretch * pulses / 8 * 0.7 * 0.6
            attack = generator.choice(3, pulses // 8, p=[0.3, 0.5, 0.2] if behind else [0.8, 0.05, 0.15])  # pass, measure Z, measure X
            alice = generator.choice(4, pulses // 8, p=[0.35, 0.35, 0.3, 0.0])
            in_x = generator.random(pulses // 8) < 0.4
            key = (alice < 2) & ~in_x
            virtual = generator.random(pulses // 8) < 0.5  # Alice's X outcome in key rounds: what she would have sent is + or -
            sent_x = np.where(key, virtual, alice != 2)  # True for -, for Z states outside of key rounds it is not used
            is_x = key | (alice == 2)
            coin = generator.random(pulses // 8) < 0.5
            disturbed = (attack == 1) | ~is_x
            outcome = np.where(disturbed, coin, sent_x)
            phase += int((key & (outcome != virtual)).sum())
            for code, state in enumerate(("Z0", "Z1", "X0")):
                for bit in (0, 1):
                    most[state, bit] += int(((alice == code) & in_x & (outcome == bool(bit))).sum())
        failed += phase > phase_error_bound(setting, most, most, epsilon)
    assert failed <= binomial_upper_bound(blocks, 4 * epsilon, 1e-6)
