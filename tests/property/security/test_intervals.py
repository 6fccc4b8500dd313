"""Binomial, entropic, Kato and martingale bounds against fifty digits, and the order they stand in."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.security.bounds import binomial_lower_bound, binomial_upper_bound
from common.security.inequalities import chernoff_expectation_upper
from common.security.intervals import mean_lower_bound, mean_upper_bound, probability_lower_bound, probability_upper_bound
from common.security.kato import kato_lower, kato_upper
from common.security.martingales import compensator_lower_bound, compensator_upper_bound, count_upper_bound
from common.security.one_way_leakage import least_one_way_leakage
from common.security.paper import fung_gamma, yin_gamma
from tests.reference import security_bounds_mpmath as reference

EPSILONS = st.floats(-30.0, -0.5).map(lambda exponent: 10.0**exponent)


@st.composite
def counted(draw, most):
    trials = draw(st.integers(1, most))
    return draw(st.integers(0, trials)), trials


@given(st.integers(0, 300), st.floats(0.001, 0.999), EPSILONS)
@settings(max_examples=60)
def test_the_lower_binomial_bound_is_the_largest_that_holds(trials, probability, epsilon):
    bound = binomial_lower_bound(trials, probability, epsilon)
    assert bound == reference.binomial_lower_quantile(trials, probability, epsilon)
    assert bound <= max(0, trials - binomial_upper_bound(trials, 1 - probability, epsilon)) + 1


@given(counted(80), EPSILONS)
@settings(max_examples=10)
def test_probabilities_agree_with_the_exact_tails(pair, epsilon):
    count, trials = pair
    assert probability_upper_bound(count, trials, epsilon) == pytest.approx(
        float(reference.probability_upper(count, trials, epsilon)), rel=1e-9
    )
    assert probability_lower_bound(count, trials, epsilon) == pytest.approx(
        float(reference.probability_lower(count, trials, epsilon)), rel=1e-8, abs=1e-25
    )


@given(counted(10**9), EPSILONS)
@settings(max_examples=60)
def test_means_agree_with_the_exponent(pair, epsilon):
    count, trials = pair
    upper, lower = mean_upper_bound(count, trials, epsilon), mean_lower_bound(count, trials, epsilon)
    assert lower <= count <= upper
    # an error of 1e-9 is meant of the margin's source, the exponent: the margin itself may be large against a tiny bound
    assert upper == pytest.approx(float(reference.mean_upper(count, trials, epsilon)), rel=1e-9)
    assert lower == pytest.approx(float(reference.mean_lower(count, trials, epsilon)), rel=1e-8, abs=1e-9)
    assert upper <= chernoff_expectation_upper(count, epsilon) * (1 + 1e-9)


@given(st.integers(10, 10**12), st.floats(0, 1), EPSILONS, st.sampled_from([1, -1]))
@settings(max_examples=25)
def test_kato_takes_the_best_parameter(trials, share, epsilon, direction):
    predicted = trials * share**3
    kato = (kato_upper if direction == 1 else kato_lower)(trials, predicted, epsilon)
    margin = (kato.b + kato.a * (2 * predicted / trials - 1)) * trials**0.5
    best = float(reference.kato_margin(trials, predicted, epsilon, direction))
    assert margin == pytest.approx(best, rel=1e-9, abs=1e-9 * (predicted + 1)) or margin <= best
    assert kato.b >= abs(kato.a)


@given(st.floats(0, 1e12), EPSILONS)
@settings(max_examples=80)
def test_martingale_lines_agree_and_never_fall(value, epsilon):
    for fast, slow in (
        (compensator_upper_bound, reference.compensator_upper),
        (compensator_lower_bound, reference.compensator_lower),
        (count_upper_bound, reference.count_upper),
    ):
        assert fast(value, epsilon) == pytest.approx(float(slow(value, epsilon)), rel=1e-9, abs=1e-9)
        assert fast(value + 1, epsilon) >= fast(value, epsilon)
        assert fast(2 * value, epsilon) >= fast(value, epsilon)


@pytest.mark.parametrize("count", [1e3, 1e5, 1e7])
def test_kato_and_the_martingale_come_close_to_chernoff_where_few_trials_count(count):
    epsilon, trials = 1e-22, 10**10
    chernoff = chernoff_expectation_upper(count, epsilon) - count
    kato = kato_upper(trials, count, epsilon).expectation(count) - count
    martingale = compensator_upper_bound(count, epsilon) - count
    assert kato == pytest.approx(chernoff, rel=0.08)
    assert martingale == pytest.approx(chernoff, rel=0.08)


@given(st.integers(1, 10**8), st.floats(0.001, 0.499), st.integers(1, 10**8), EPSILONS)
@settings(max_examples=60)
def test_the_gammas_of_publications_agree(tested, share, untested, epsilon):
    errors = max(1, int(tested * share))
    if errors < tested:
        expected = reference.yin_gamma(tested, errors, untested, epsilon)
        if expected.imag == 0:
            assert yin_gamma(tested, errors, untested, epsilon).value == pytest.approx(float(expected), rel=1e-9)
        expected = reference.fung_gamma(tested, share, untested, epsilon)
        if expected.imag == 0:
            assert fung_gamma(tested, share, untested, epsilon).value == pytest.approx(float(expected), rel=1e-9)


@given(st.integers(100, 20_000), st.floats(0.005, 0.2), st.sampled_from([1e-3, 1e-10]))
@settings(max_examples=15)
def test_the_least_one_way_leakage_agrees(count, qber, epsilon):
    assert least_one_way_leakage(count, qber, epsilon) == pytest.approx(
        max(0.0, float(reference.one_way_leakage(count, qber, epsilon))), rel=1e-9
    )
