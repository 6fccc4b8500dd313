"""Kernels of the emulator against their event-by-event references."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from common.emulator.kernels import live_clicks, measure_states, telegraph_states
from tests.reference.emulator import reference_live_clicks, reference_measure_states, reference_telegraph_states

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


@given(photons=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 1), draws), max_size=60), misalignment=st.floats(0, 0.5))
def test_a_measurement_keeps_the_bit_in_the_right_basis_and_tosses_a_coin_in_the_other(photons, misalignment):
    state = np.array([photon[0] for photon in photons], np.uint8)
    basis = np.array([photon[1] for photon in photons], np.uint8)
    uniform = np.array([photon[2] for photon in photons], np.float64)
    outcome = np.empty(len(photons), np.uint8)

    measure_states(state, basis, uniform, misalignment, outcome)

    assert outcome.tolist() == reference_measure_states(state.tolist(), basis.tolist(), uniform.tolist(), misalignment)


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
