"""Kernels of the emulator against their event-by-event references."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from common.emulator.kernels import (
    accumulate_gaps,
    emission_times,
    live_clicks,
    measure_states,
    merge_clicks,
    tag_times,
    telegraph_states,
)
from tests.reference.emulator import (
    reference_accumulate_gaps,
    reference_emission_times,
    reference_live_clicks,
    reference_measure_states,
    reference_merge_clicks,
    reference_tag_times,
    reference_telegraph_states,
)

draws = st.floats(0, 1, exclude_max=True)


@given(
    steps=st.lists(st.tuples(st.integers(1, 10_000), draws), max_size=60),
    on_fraction=st.floats(0.01, 1),
    correlation=st.floats(0.1, 1e5),
    last_slot=st.integers(0, 2**40),
    last_on=st.sampled_from([-1, 0, 1]),
)
def test_the_telegraph_follows_the_conditional_probabilities(steps, on_fraction, correlation, last_slot, last_on):
    slots = last_slot + np.cumsum(np.array([step for step, _ in steps], np.int64))
    uniform = np.array([draw for _, draw in steps])
    on = np.empty(len(steps), np.uint8)

    telegraph_states(slots, uniform, on_fraction, correlation, last_slot, last_on, on)

    assert on.tolist() == reference_telegraph_states(slots.tolist(), uniform.tolist(), on_fraction, correlation, last_slot, last_on)


tables = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1), st.floats(0, 0.5), st.floats(0, 0.5)), min_size=1, max_size=8)


@given(states=tables, data=st.data())
def test_a_measurement_gives_the_likelier_bit_and_now_and_then_the_other(states, data):
    photons = data.draw(st.lists(st.tuples(st.integers(0, len(states) - 1), st.integers(0, 1), draws), max_size=60))
    bit, flipped = [list(row[:2]) for row in states], [list(row[2:]) for row in states]
    state, basis = (np.array([photon[part] for photon in photons], np.uint8) for part in (0, 1))
    uniform = np.array([photon[2] for photon in photons], np.float64)
    outcome = np.empty(len(photons), np.uint8)

    measure_states(state, basis, uniform, np.array(bit, np.uint8), np.array(flipped), outcome)

    assert outcome.tolist() == reference_measure_states(state.tolist(), basis.tolist(), uniform.tolist(), bit, flipped)


@given(
    clicks=st.lists(st.tuples(st.integers(0, 50), st.integers(0, 5)), max_size=80),
    dead_time=st.integers(0, 200),
    last=st.lists(st.integers(-300, -1), min_size=2, max_size=4),
)
def test_a_detector_is_blind_after_each_registered_click_only(clicks, dead_time, last):
    t_ps = np.cumsum(np.array([step for step, _ in clicks], np.int64))
    detector = np.array([which for _, which in clicks], np.uint8)
    last_ps = np.array(last, np.int64)
    live = np.empty(len(clicks), np.bool_)

    live_clicks(t_ps, detector, dead_time, last_ps, live)

    expected, expected_last = reference_live_clicks(t_ps.tolist(), detector.tolist(), dead_time, last)
    assert live.tolist() == expected
    assert last_ps.tolist() == expected_last


@given(
    exponential=st.lists(st.floats(0, 50), max_size=60),
    per_gap=st.floats(1e-3, 1e12),
    largest=st.integers(1, 2**52),
    last=st.integers(-1, 2**60),
)
def test_gaps_add_up_to_slots(exponential, per_gap, largest, last):
    slots = np.empty(len(exponential), np.int64)

    accumulate_gaps(np.array(exponential, np.float64), per_gap, float(largest), last, slots)

    assert slots.tolist() == reference_accumulate_gaps(exponential, per_gap, float(largest), last)


@given(
    photons=st.lists(st.tuples(st.integers(0, 2**32), st.floats(0, 50)), max_size=60),
    base=st.integers(0, 2**60),
    period=st.floats(100, 1e6),
    lifetime=st.one_of(st.just(0.0), st.floats(1, 1e5)),
)
def test_a_photon_leaves_after_a_decay_with_its_mean_at_the_slots_centre(photons, base, period, lifetime):
    slots = base + np.array([slot for slot, _ in photons], np.int64)
    exponential = [draw for _, draw in photons] if lifetime else []
    since_base_ps = np.empty(slots.size)

    emission_times(slots, base, period, np.array(exponential, np.float64), lifetime, since_base_ps)

    assert since_base_ps.tolist() == reference_emission_times(slots.tolist(), base, period, exponential, lifetime)


@given(
    events=st.lists(st.tuples(st.floats(-1e6, 1e14), st.floats(-8, 8)), max_size=60),
    jitter=st.one_of(st.just(0.0), st.floats(0.1, 1e4)),
    scale=st.floats(0.9999, 1.0001),
    fraction=st.floats(0, 1, exclude_max=True),
    whole=st.integers(-(2**61), 2**61),
    resolution=st.integers(1, 100_000),
)
def test_a_tag_is_the_nearest_multiple_of_the_resolution(events, jitter, scale, fraction, whole, resolution):
    since_base_ps = [since for since, _ in events]
    deviates = [deviate for _, deviate in events] if jitter else []
    t_ps = np.empty(len(events), np.int64)

    tag_times(np.array(since_base_ps), np.array(deviates, np.float64), jitter, scale, fraction, whole, resolution, t_ps)

    assert t_ps.tolist() == reference_tag_times(since_base_ps, deviates, jitter, scale, fraction, whole, resolution)


clicks = st.lists(st.tuples(st.integers(-500, 500), st.integers(0, 2**40), st.integers(0, 63)), max_size=60)


def arrays_of(side):
    columns = list(zip(*side, strict=True)) or [(), (), ()]
    return np.array(columns[0], np.int64), np.array(columns[1], np.int64), np.array(columns[2], np.uint8)


@given(many=clicks, few=clicks)
def test_merged_clicks_are_in_order_and_none_is_lost(many, few):
    count = len(many) + len(few)
    t_ps, slot, label = np.empty(count, np.int64), np.empty(count, np.int64), np.empty(count, np.uint8)
    of_many, of_few = arrays_of(many), arrays_of(sorted(few))

    assert merge_clicks(of_many[0], of_many[1], of_many[2], of_few[0], of_few[1], of_few[2], 10_000, t_ps, slot, label)

    assert np.all(np.diff(t_ps) >= 0)
    assert sorted(zip(t_ps.tolist(), slot.tolist(), label.tolist(), strict=True)) == reference_merge_clicks(many, few)


def test_a_merge_that_would_take_long_is_given_up():
    many = np.arange(100, 0, -1), np.zeros(100, np.int64), np.zeros(100, np.uint8)
    none = np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.uint8)
    merged = np.empty(100, np.int64), np.empty(100, np.int64), np.empty(100, np.uint8)

    assert not merge_clicks(*many, *none, 4000, *merged)
    assert merge_clicks(*many, *none, 4950, *merged)
