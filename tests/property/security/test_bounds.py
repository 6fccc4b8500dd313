"""The exact bounds against fifty-digit sums, and the order they stand in."""

from fractions import Fraction
from math import comb

from hypothesis import given, settings
from hypothesis import strategies as st

from common.security.bounds import binomial_upper_bound, untested_error_bound, untested_error_bound_closed_form
from common.security.inequalities import chernoff_count_upper
from common.security.multi_photon import multi_click_bound
from tests.reference import security_mpmath as reference

EPSILONS = st.floats(-60.0, -0.01).map(lambda exponent: 10.0**exponent)


@given(st.integers(0, 60), st.data(), st.integers(0, 60), EPSILONS)
@settings(max_examples=300)
def test_the_sampling_bound_is_the_largest_total_not_excluded(tested, data, untested, epsilon):
    errors = data.draw(st.integers(0, tested))
    assert untested_error_bound(tested, errors, untested, epsilon) == reference.untested_errors(tested, errors, untested, epsilon)


@given(st.integers(1, 200_000), st.floats(0, 1), st.integers(1, 200_000), EPSILONS)
@settings(max_examples=15)
def test_the_sampling_bound_agrees_at_large_counts(tested, share, untested, epsilon):
    errors = int(tested * share**4)
    assert untested_error_bound(tested, errors, untested, epsilon) == reference.untested_errors(tested, errors, untested, epsilon)


@given(st.integers(0, 10**9), st.floats(0, 1), st.integers(0, 10**9), EPSILONS)
@settings(max_examples=100)
def test_the_closed_form_is_never_below_the_exact_bound(tested, share, untested, epsilon):
    errors = int(tested * share**3)
    exact = untested_error_bound(tested, errors, untested, epsilon)
    assert 0 <= exact <= untested_error_bound_closed_form(tested, errors, untested, epsilon) <= untested


@given(st.integers(0, 60), st.floats(0, 1), EPSILONS)
@settings(max_examples=300)
def test_the_binomial_bound_is_the_smallest_that_holds(trials, probability, epsilon):
    bound = binomial_upper_bound(trials, probability, epsilon)
    assert above(bound, trials, probability) <= epsilon
    assert bound == 0 or above(bound - 1, trials, probability) > epsilon * (1 - 1e-6)


@given(st.integers(0, 10**13), st.floats(1e-12, 1e-3), EPSILONS)
@settings(max_examples=25)
def test_the_binomial_bound_agrees_at_large_counts_and_is_below_chernoff(trials, probability, epsilon):
    probability = min(probability, 3e5 / max(trials, 1))  # the reference sums term by term
    bound = binomial_upper_bound(trials, probability, epsilon)
    assert bound == reference.binomial_quantile(trials, probability, epsilon)
    assert bound <= chernoff_count_upper(trials * probability, epsilon) + 1


@given(st.integers(0, 10**12), st.floats(0.01, 0.99), EPSILONS)
@settings(max_examples=60)
def test_the_multi_click_bound_agrees_and_never_falls(cross_clicks, probability_z, epsilon):
    bound = multi_click_bound(cross_clicks, probability_z, epsilon)
    assert abs(bound - reference.multi_clicks(cross_clicks, probability_z, epsilon)) <= max(1, 1e-9 * bound)
    assert multi_click_bound(cross_clicks + 1, probability_z, epsilon) >= bound


def above(count, trials, probability):
    p = Fraction(probability)
    return sum(comb(trials, k) * p**k * (1 - p) ** (trials - k) for k in range(count + 1, trials + 1))
