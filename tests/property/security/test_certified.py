"""Estimates from counts, and how often a device in its certified range is called out of it."""

from math import inf, isfinite

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta, binom

from common.errors import ConfigurationError
from common.security.certified import UNKNOWN, Estimate, Verdict, background_rate, coincidence_factor, odds_ratio, probability

epsilons = st.floats(1e-12, 0.5)
counts = st.integers(0, 10**6)
values = st.floats(0.0, 1e6)


@given(low=values, width=values, lowest=values, room=values)
def test_a_verdict_tells_where_the_interval_lies(low, width, lowest, room):
    estimate, highest = Estimate(low + width / 2, low, low + width), lowest + room
    verdict = estimate.judged(lowest, highest)

    assert (verdict is Verdict.TOO_LOW) == (estimate.high < lowest)
    assert (verdict is Verdict.TOO_HIGH) == (estimate.low > highest)
    assert (verdict is Verdict.IN_RANGE) == (lowest <= estimate.low and estimate.high <= highest)
    if lowest <= estimate.value <= highest:
        assert verdict in {Verdict.IN_RANGE, Verdict.UNDECIDED}


@given(count=st.integers(0, 2000), more=st.integers(0, 10**9), epsilon=epsilons)
def test_intervals_of_a_probability_are_those_of_clopper_and_pearson(count, more, epsilon):
    trials = count + more
    found = probability(count, trials, epsilon)

    if not trials:
        assert (found.low, found.high) == (0.0, 1.0)
        return
    low = beta.ppf(epsilon / 2, count, more + 1) if count else 0.0
    high = beta.isf(epsilon / 2, count + 1, more) if more else 1.0
    assert found.low == pytest.approx(low, rel=1e-5, abs=1e-15)
    assert found.high == pytest.approx(high, rel=1e-5, abs=1e-15)
    assert found.low <= found.value <= found.high


@given(first=counts, second=counts, odds=st.floats(1e-3, 1e3), epsilon=epsilons)
def test_odds_are_turned_round_with_the_order(first, second, odds, epsilon):
    one, other = odds_ratio(first, second, odds, epsilon), odds_ratio(second, first, 1.0 / odds, epsilon)

    assert one.low <= one.high
    if first and second:
        assert one.value == pytest.approx(first / second / odds)
        assert one.low == pytest.approx(1.0 / other.high, rel=1e-6)
        assert one.high == pytest.approx(1.0 / other.low, rel=1e-6)


@settings(max_examples=15)
@given(singles=st.lists(st.tuples(counts, counts), min_size=1, max_size=6), share=st.floats(0.0, 1.0), epsilon=epsilons)
def test_more_coincidences_never_lower_the_factor(singles, share, epsilon):
    pulses = 10**9
    few, many = (coincidence_factor(int(share * most), singles, pulses, epsilon) for most in (100, 1000))

    assert few.low <= many.low
    assert few.high <= many.high
    if isfinite(many.value):
        assert many.low <= many.value <= many.high
    else:
        assert many == UNKNOWN


@given(quiet=counts, signals=counts, share=st.floats(0.01, 1.0), tail=st.floats(0.0, 0.1), epsilon=epsilons)
def test_the_background_is_what_the_tail_does_not_explain(quiet, signals, share, tail, epsilon):
    found = background_rate(quiet, signals, 10**8, share, (tail, tail / 2, 2 * tail), epsilon)

    assert 0.0 <= found.low <= found.value <= found.high
    assert found.value == pytest.approx(max(0.0, quiet - tail * signals) / 10**8 / share)


def test_without_counts_nothing_is_out_of_range():
    for unknown in (odds_ratio(0, 0, 1.0, 1e-6), coincidence_factor(0, [(0, 0)], 0, 1e-6), background_rate(0, 0, 0, 0.5, (0, 0, 0), 1e-6)):
        assert unknown.judged(0.9, 1.1) is Verdict.UNDECIDED


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: probability(2, 1, 0.1), "count 2"),
        (lambda: probability(0, 0, 0.0), "epsilon"),
        (lambda: odds_ratio(1, 1, 0.0, 0.1), "expected odds"),
        (lambda: odds_ratio(1, 1, inf, 0.1), "expected odds"),
        (lambda: background_rate(1, 1, 1, 0.0, (0, 0, 0), 0.1), "quiet share"),
    ],
)
def test_nonsense_is_refused(call, said):
    with pytest.raises(ConfigurationError, match=said):
        call()


RUNS = 400
EPSILON = 0.05
"""Large, so that false alarms are seen."""

MOST_ALARMS = int(binom.isf(1e-8, RUNS, EPSILON))
"""At the bound itself, 5 in 100, there would be more of them with a probability of 1e-8."""


def alarms(estimates, lowest, highest):
    return sum(estimate.judged(lowest, highest) in {Verdict.TOO_LOW, Verdict.TOO_HIGH} for estimate in estimates)


@pytest.mark.parametrize(("rate", "pulses"), [(1e-6, 10**6), (3e-4, 10**6)])
def test_a_coincidence_factor_at_the_end_of_its_range_alarms_no_more_often_than_stated(rate, pulses):
    """Two detectors with a hundredth of a click a pulse; the true factor lies at the lower end, then at the upper one."""
    generator, click = np.random.default_rng(5), 0.01
    factor = rate / click**2
    drawn = generator.binomial(pulses, [rate, click, click], (RUNS, 3)).tolist()
    found = [coincidence_factor(both, [(first, second)], pulses, EPSILON) for both, first, second in drawn]

    assert alarms(found, factor, inf) <= MOST_ALARMS
    assert alarms(found, 0.0, factor) <= MOST_ALARMS
    if rate > 1e-4:
        assert alarms(found, 2.0 * factor, inf) > 0.99 * RUNS


def test_a_ratio_of_clicks_at_the_end_of_its_range_alarms_no_more_often_than_stated():
    generator = np.random.default_rng(6)
    first, second = generator.poisson(1200.0, RUNS).tolist(), generator.poisson(1000.0, RUNS).tolist()
    found = [odds_ratio(a, b, 1.0, EPSILON) for a, b in zip(first, second, strict=True)]

    assert 0 < alarms(found, 0.0, 1.2) <= MOST_ALARMS
    assert 0 < alarms(found, 1.2, inf) <= MOST_ALARMS
    assert alarms(found, 0.9, 1.0) > 0.9 * RUNS


def test_a_background_at_the_end_of_its_range_alarms_no_more_often_than_stated():
    """Half of the clicks in the quiet quarter of a slot are tails of the light."""
    generator, pulses, background, light, tail = np.random.default_rng(7), 10**7, 4e-5, 1e-3, 0.01
    quiet = generator.binomial(pulses, 0.25 * background + tail * light, RUNS).tolist()
    signals = generator.binomial(pulses, light, RUNS).tolist()
    found = [background_rate(k, s, pulses, 0.25, (tail, tail, tail), EPSILON) for k, s in zip(quiet, signals, strict=True)]

    assert alarms(found, background, inf) <= MOST_ALARMS + RUNS // 100  # the light is taken as counted: its own spread adds a little
    assert alarms(found, 0.0, background) <= MOST_ALARMS + RUNS // 100
    assert alarms(found, 3.0 * background, inf) == RUNS
