"""Bounds at the values worked out in ``docs/explanation/sampling``, and what they refuse."""

import pytest

from common.errors import ConfigurationError
from common.security.bounds import binomial_upper_bound, untested_error_bound, untested_error_bound_closed_form
from common.security.entropy import binary_entropy, deviance, saturated_entropy
from common.security.inequalities import (
    chernoff_count_lower,
    chernoff_count_upper,
    chernoff_expectation_lower,
    chernoff_expectation_upper,
    serfling_margin,
)
from common.security.tails import log_binomial_mass, log_binomial_upper_tail, log_hypergeometric_lower_tail, log_hypergeometric_mass


def test_the_worked_examples_of_the_explanation_come_out():
    assert untested_error_bound(1000, 10, 1000, 1e-10) == 61
    assert untested_error_bound(10**6, 10**4, 10**6, 1e-22) == 11418
    assert untested_error_bound(5 * 10**7, 10**6, 5 * 10**7, 1.5625e-22) == 1013621
    assert binomial_upper_bound(4 * 10**10, 1e-6, 2e-27) == 42176


def test_nothing_tested_bounds_nothing():
    assert untested_error_bound(0, 0, 100, 1e-10) == 100
    assert untested_error_bound(5, 0, 100, 1e-10) == 100


def test_nothing_untested_holds_no_errors():
    assert untested_error_bound(100, 3, 0, 1e-10) == 0
    assert untested_error_bound_closed_form(100, 3, 0, 1e-10) == 0


def test_above_the_exact_limit_the_closed_form_answers():
    arguments = (6 * 10**11, 10**9, 6 * 10**11, 1e-22)
    assert untested_error_bound(*arguments) == untested_error_bound_closed_form(*arguments)


def test_certain_and_impossible_trials_are_counted_exactly():
    assert binomial_upper_bound(10**9, 0.0, 1e-10) == 0
    assert binomial_upper_bound(10**9, 1.0, 1e-10) == 10**9
    assert binomial_upper_bound(0, 0.5, 1e-10) == 0
    assert binomial_upper_bound(10, 0.5, 1e-10) == 10


@pytest.mark.parametrize("epsilon", [0.0, 1.0, -1e-3, float("nan")])
def test_an_epsilon_that_is_no_probability_is_refused(epsilon):
    for call in (
        lambda: untested_error_bound(10, 1, 10, epsilon),
        lambda: binomial_upper_bound(10, 0.5, epsilon),
        lambda: chernoff_count_upper(1.0, epsilon),
    ):
        with pytest.raises(ConfigurationError, match="epsilon"):
            call()


@pytest.mark.parametrize(("tested", "errors", "untested"), [(10, 11, 5), (10, -1, 5), (10, 1, -5), (-1, 0, 5)])
def test_counts_out_of_range_are_refused(tested, errors, untested):
    with pytest.raises(ConfigurationError):
        untested_error_bound(tested, errors, untested, 1e-3)


def test_binomial_arguments_out_of_range_are_refused():
    with pytest.raises(ConfigurationError, match="count_trials"):
        binomial_upper_bound(-1, 0.5, 1e-3)
    with pytest.raises(ConfigurationError, match="probability"):
        binomial_upper_bound(5, 1.5, 1e-3)


def test_the_inequalities_refuse_negative_counts_and_empty_samples():
    for inequality in (chernoff_count_upper, chernoff_count_lower, chernoff_expectation_upper, chernoff_expectation_lower):
        with pytest.raises(ConfigurationError):
            inequality(-1.0, 1e-3)
    with pytest.raises(ConfigurationError, match="count_tested"):
        serfling_margin(0, 5, 1e-3)


def test_chernoff_bounds_of_expectations_follow_from_those_of_counts():
    upper = chernoff_expectation_upper(100.0, 1e-10)
    assert chernoff_count_lower(upper, 1e-10) == pytest.approx(100.0)
    lower = chernoff_expectation_lower(1000.0, 1e-10)
    assert chernoff_count_upper(lower, 1e-10) <= 1000.0  # the customary lower form gives away ln(1/epsilon)
    assert chernoff_expectation_lower(3.0, 1e-10) == chernoff_count_lower(3.0, 1e-10) == 0.0


def test_entropy_saturates_in_bounds_only():
    assert binary_entropy(0.5) == 1.0
    assert binary_entropy(0.0) == binary_entropy(1.0) == 0.0
    assert binary_entropy(0.11) == pytest.approx(0.4999, abs=1e-4)
    assert saturated_entropy(0.8) == saturated_entropy(0.5) == 1.0
    assert saturated_entropy(0.11) == binary_entropy(0.11)


def test_tails_end_where_the_support_ends():
    assert log_hypergeometric_lower_tail(-1, 10, 5, 5) == float("-inf")
    assert log_hypergeometric_lower_tail(5, 10, 5, 5) == 0.0
    assert log_binomial_upper_tail(0, 10, 0.5) == 0.0
    assert log_binomial_upper_tail(11, 10, 0.5) == float("-inf")
    assert log_binomial_mass(11, 10, 0.5) == float("-inf")
    assert log_binomial_mass(10, 10, 1.0) == 0.0
    assert log_binomial_mass(9, 10, 1.0) == float("-inf")
    assert log_hypergeometric_mass(0, 10, 3, 0) == 0.0
    assert deviance(3.0, 0.0) == float("inf")
