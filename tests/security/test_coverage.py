"""Do the bounds fail as rarely as they promise? Enumerated where possible, simulated where not; seeds are fixed.

Simulated tests count failures of a bound with a large epsilon and compare with the quantile of the binomial distribution that a
bound failing with exactly epsilon would be allowed; each states its false-alarm probability.
"""

from itertools import product

import numpy as np
import pytest

from common.security.bounds import binomial_upper_bound, untested_error_bound, untested_error_bound_closed_form
from common.security.inequalities import chernoff_count_lower, chernoff_count_upper, serfling_margin
from common.security.multi_photon import multi_click_bound
from tests.reference.security_mpmath import coverage_of_sampling

SMALL_EPSILONS = (0.3, 0.05, 1e-3, 1e-6)


@pytest.mark.parametrize("bound", [untested_error_bound, untested_error_bound_closed_form])
@pytest.mark.parametrize("epsilon", SMALL_EPSILONS)
def test_the_sampling_bound_covers_every_population_up_to_twenty_rounds(bound, epsilon):
    for total in range(1, 21):
        for tested in range(total + 1):
            bounds = [bound(tested, shown, total - tested, epsilon) for shown in range(tested + 1)]
            for errors in range(total + 1):
                failing, of = coverage_of_sampling(bounds.__getitem__, total, errors, tested)
                assert failing <= epsilon * of, (total, tested, errors)


def test_the_sampling_bound_covers_when_a_random_number_is_tested():
    """Each round is disclosed with probability 0.3: conditioned on how many, the sample is still uniform."""
    rounds, epsilon = 12, 0.05
    bounds = {(k, m): untested_error_bound(k, m, rounds - k, epsilon) for k in range(rounds + 1) for m in range(k + 1)}
    for errors in range(rounds + 1):
        failure = 0.0
        for disclosed in product((0, 1), repeat=rounds):
            shown = sum(disclosed[:errors])
            tested = sum(disclosed)
            if errors - shown > bounds[tested, shown]:
                failure += 0.3**tested * 0.7 ** (rounds - tested)
        assert failure <= epsilon


@pytest.mark.parametrize("ratio", [1e-4, 0.01, 0.2])
def test_the_sampling_bound_covers_large_samples(ratio):
    """False alarm at most 1e-6: 20000 draws, each failing with probability at most 0.01."""
    generator = np.random.default_rng(20240817)
    tested, untested, epsilon, draws = 40_000, 60_000, 0.01, 20_000
    errors = int(ratio * (tested + untested))
    shown = generator.hypergeometric(errors, tested + untested - errors, tested, draws)
    bounds = {int(m): untested_error_bound(tested, int(m), untested, epsilon) for m in np.unique(shown)}
    failures = sum(errors - int(m) > bounds[int(m)] for m in shown)
    assert failures <= binomial_upper_bound(draws, epsilon, 1e-6)
    assert failures >= 0.3 * epsilon * draws  # and it is not idle: a discrete tail wastes some of epsilon, not most of it


def test_the_exact_bound_is_below_serfling_where_errors_are_few():
    tested, untested, errors, epsilon = 100_000, 100_000, 1000, 1e-22
    serfling = (errors / tested + serfling_margin(tested, untested, epsilon)) * untested
    assert untested_error_bound(tested, errors, untested, epsilon) < serfling / 2


@pytest.mark.parametrize("expectation", [0.1, 1.0, 30.0, 1e4])
def test_chernoff_bounds_cover_poisson_counts(expectation):
    """False alarm at most 1e-6 each: 1e5 draws, each failing with probability at most 0.01."""
    counts = np.random.default_rng(7).poisson(expectation, 100_000)
    most = binomial_upper_bound(100_000, 0.01, 1e-6)
    assert int((counts > chernoff_count_upper(expectation, 0.01)).sum()) <= most
    assert int((counts < chernoff_count_lower(expectation, 0.01)).sum()) <= most


def test_a_block_that_closes_when_it_likes_is_covered_by_the_share_of_each_frame():
    """The eavesdropper ends the block after the luckiest of five frames; exact, by recursion over (frame, count)."""
    frames, frame_pulses, probability, epsilon = 5, 20, 0.1, 0.2
    single = np.array([1.0])
    for _ in range(frame_pulses):
        single = np.convolve(single, [1.0 - probability, probability])
    alive, failed = np.array([1.0]), 0.0
    for frame in range(1, frames + 1):
        alive = np.convolve(alive, single)
        bound = binomial_upper_bound(frame * frame_pulses, probability, epsilon / frames)
        failed += float(alive[bound + 1 :].sum())
        alive[bound + 1 :] = 0.0
    assert 0.0 < failed <= epsilon


@pytest.mark.parametrize("probability_z", [0.5, 0.1, 0.93])
@pytest.mark.parametrize("epsilon", [0.5, 0.9])
def test_the_multi_click_bound_holds_against_every_stopping_rule(probability_z, epsilon):
    """Exact: the best adversary sends pairs and stops once ahead; P[ever ahead] over 1500 pairs, by recursion over counts."""
    cross = 2.0 * probability_z * (1.0 - probability_z)
    pairs = 1500
    boundary = [multi_click_bound(n, probability_z, epsilon) for n in range(pairs + 1)]
    weights, ahead = np.array([1.0]), 0.0  # weights[n]: probability of n cross clicks so far, never ahead
    for sent in range(1, pairs + 1):
        weights = np.convolve(weights, [1.0 - cross, cross])
        beyond = np.array([sent - n > boundary[n] for n in range(sent + 1)])
        ahead += float(weights[beyond].sum())
        weights[beyond] = 0.0
    assert ahead <= epsilon
    assert ahead > 0.0 or epsilon < 0.9 or probability_z != 0.5


@pytest.mark.parametrize("probability_z", [0.5, 0.2])
def test_the_multi_click_bound_holds_against_an_adaptive_sender(probability_z):
    """False alarm at most 1e-6: 4000 runs, each ahead at some time with probability at most 0.5.

    The sender looks at the counts after every slot and sends the number of photons least likely to cross: two while behind,
    a burst of five where she has nothing to lose.
    """
    generator, epsilon, runs, slots = np.random.default_rng(11), 0.5, 4000, 800
    boundary = np.array([multi_click_bound(n, probability_z, epsilon) for n in range(slots + 1)])
    inside, crossed = np.zeros(runs, np.int64), np.zeros(runs, np.int64)
    ahead = np.zeros(runs, np.bool_)
    for _ in range(slots):
        photons = np.where(boundary[crossed] - inside > 60, 5, 2)
        stays = probability_z**photons + (1.0 - probability_z) ** photons
        single = generator.random(runs) < stays
        inside, crossed = inside + single, crossed + ~single
        ahead |= inside > boundary[crossed]
    assert int(ahead.sum()) <= binomial_upper_bound(runs, epsilon, 1e-6)
