"""The trend keeps means, in bounded memory, and says where nothing was measured."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.dashboard.trend import SPANS, Trend


def test_a_point_is_the_mean_over_its_step():
    trend = Trend()
    for second, value in ((0, 1.0), (5, 2.0), (10, 6.0), (15, 10.0)):
        trend.add(float(second), {"qber": value})

    assert trend.line("1h", "qber", 20.0) == [(20.0, 3.0), (5.0, 10.0)]
    assert trend.line("10m", "qber", 20.0) == [(20.0, 1.0), (15.0, 2.0), (10.0, 6.0), (5.0, 10.0)]


def test_what_was_not_measured_interrupts_the_line():
    trend = Trend()
    trend.add(0.0, {"qber": 1.0})
    trend.add(5.0, {})

    assert trend.line("10m", "qber", 5.0) == [(5.0, 1.0), (0.0, None)]
    assert trend.line("10m", "other", 5.0) == [(5.0, None), (0.0, None)]


@pytest.mark.parametrize("span", SPANS)
@given(gaps=st.lists(st.floats(0.1, 1e5), max_size=200))
def test_no_line_is_longer_than_its_span_however_samples_come(span, gaps):
    trend, now = Trend(), 0.0
    for gap in gaps:
        now += gap
        trend.add(now, {"x": 1.0})
    reach, step = SPANS[span]
    ages = [age for age, _ in trend.line(span, "x", now)]

    assert ages == sorted(ages, reverse=True)
    assert all(0.0 <= age <= reach for age in ages)
    assert len(ages) <= reach / step
    assert all(older - newer >= 0.99 * step for older, newer in itertools.pairwise(ages))
