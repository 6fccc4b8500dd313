"""The kernels of the receiver against their slow references."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bob.kernels import COUNT_COUNTERS, COUNT_DEAD_ROUNDS, COUNT_DOUBLES, FLAG_DOUBLE, count_phases, detect_clicks, locate_slots
from bob.reading import Reading
from tests.reference.receiver import slow_count_phases, slow_detect_clicks, slow_detect_time_bins, slow_locate_slots, slow_quiet_slots

LIMITS = np.iinfo(np.int64)
lock_ends = st.none() | st.integers(0, 59)
READING = Reading.of_polarisation({"H": 0, "V": 1, "D": 2, "A": 3})


def lock_end(t_ps, last_locked):
    """Time of the last tag of which the clock knows."""
    return LIMITS.max if last_locked is None else int(t_ps[last_locked % t_ps.size])


@given(
    t_ps=st.lists(st.integers(-(10**6), 10**16), max_size=40).map(sorted),
    knot_times=st.lists(st.integers(-(10**6), 10**16), min_size=1, max_size=5, unique=True).map(sorted),
    seed=st.integers(0, 2**32 - 1),
)
def test_slots_are_exact_and_phases_good_to_a_picosecond_after_hours(t_ps, knot_times, seed):
    generator = np.random.default_rng(seed)
    count = len(knot_times)
    slots, fractions = generator.integers(-(10**15), 10**15, count), generator.uniform(-0.5, 0.5, count)
    slopes = generator.uniform(2.2e-4, 2.4e-4, count)
    found, phase = np.zeros(len(t_ps), np.int64), np.zeros(len(t_ps))

    locate_slots(np.array(t_ps, np.int64), np.array(knot_times, np.int64), slots, fractions, slopes, found, phase)
    knots = list(zip(knot_times, slots.tolist(), fractions.tolist(), slopes.tolist(), strict=True))
    expected, expected_phase = slow_locate_slots(t_ps, knots)

    for slot, place, true_slot, true_place in zip(found.tolist(), phase.tolist(), expected, expected_phase, strict=True):
        period = 1.0 / slopes.mean()
        assert abs((slot - true_slot) * period + place - true_place) < 0.1 * period  # which of two slots a border belongs to is open
        assert slot == true_slot or abs(abs(true_place) - 0.5 * period) < 0.1 * period


@given(
    phases=st.lists(st.floats(-500.0, 500.0, exclude_max=True), max_size=50),
    seed=st.integers(0, 2**32 - 1),
    bins=st.integers(1, 20),
)
def test_the_phase_histogram_counts_each_detector_tag_once(phases, seed, bins):
    channel = np.random.default_rng(seed).integers(0, 6, len(phases)).astype(np.uint8)
    rows = np.full(256, 255, np.uint8)
    rows[:4] = [2, 0, 3, 1]
    counts = np.zeros((4, bins), np.int64)

    count_phases(np.array(phases, np.float64), channel, rows, 1000.0, counts)

    assert counts.tolist() == slow_count_phases(phases, channel.tolist(), rows.tolist(), 1000.0, 4, bins)


@given(
    tags=st.lists(st.tuples(st.integers(-800, 800), st.integers(0, 4)), min_size=1, max_size=60).map(sorted),
    low_ps=st.sampled_from([-64, -40, 0, 30]),
    width_ps=st.sampled_from([1, 20, 64, 128]),
    dead_time_ps=st.sampled_from([0, 1, 50, 200, 1000]),
    before_ps=st.integers(0, 300),
    last_locked=lock_ends,
    quiet=st.tuples(st.integers(0, 127), st.integers(0, 128)),
)
def test_detections_are_those_of_a_round_by_round_account(tags, low_ps, width_ps, dead_time_ps, before_ps, last_locked, quiet):
    """A period of 128 ps and a slope of 2^-7 make every border exact, so that the two must agree on it. The lock may end."""
    period_ps = 128
    t_ps, channel = np.array([t for t, _ in tags], np.int64), np.array([c for _, c in tags], np.uint8)
    outcomes = np.full(256, 255, np.uint8)
    outcomes[:4] = np.arange(4)
    n = t_ps.size
    slot, outcome, flags, cross = np.zeros(n, np.int64), np.zeros(n, np.uint8), np.zeros(n, np.uint8), np.zeros(n, np.int64)
    quiet_slot = np.zeros(n, np.int64)
    counters = np.zeros(COUNT_COUNTERS, np.int64)
    detector_tags = [(t, c) for t, c in tags if c < 4]
    # the last tag before the stream must lie before the gate that the first round belongs to
    previous_ps = int(t_ps[0]) - period_ps - before_ps
    zero, locked_to_ps = np.zeros(1, np.int64), lock_end(t_ps, last_locked)

    kept, crossed, quieted = detect_clicks(
        t_ps, channel, outcomes[np.newaxis], READING.outcome_of_pattern, READING.flags_of_pattern, 0.0,
        zero, zero, np.zeros(1), np.array([1.0 / period_ps]), np.array([LIMITS.min]), np.array([locked_to_ps]),
        float(low_ps), float(width_ps), float(quiet[0]), float(quiet[1]), float(period_ps),
        dead_time_ps, previous_ps, slot, outcome, flags, cross, quiet_slot, counters,
    )  # fmt: skip
    rounds, crosses, dead = slow_detect_clicks(detector_tags, period_ps, low_ps, width_ps, dead_time_ps, previous_ps, locked_to_ps)

    assert cross[:crossed].tolist() == crosses
    located = [t for t, _ in detector_tags if t <= locked_to_ps]
    assert quiet_slot[:quieted].tolist() == slow_quiet_slots(located, period_ps, low_ps, quiet[0], quiet[1], period_ps)
    assert counters[COUNT_DEAD_ROUNDS] == dead
    assert slot[:kept].tolist() == [r[0] for r in rounds]
    assert (outcome[:kept] >> 1).tolist() == [r[1] for r in rounds]
    assert (flags[:kept] == FLAG_DOUBLE).tolist() == [len(r[2]) == 2 for r in rounds]
    assert counters[COUNT_DOUBLES] == sum(len(r[2]) == 2 for r in rounds)
    assert (outcome[:kept] & 1).tolist() == [min(r[2]) for r in rounds]


@given(
    tags=st.lists(st.tuples(st.integers(-3000, 3000), st.integers(0, 2)), min_size=1, max_size=60).map(sorted),
    low_ps=st.sampled_from([-150, -100, 0, 30]),
    width_ps=st.sampled_from([32, 64, 80]),
    dead_time_ps=st.sampled_from([0, 50, 100, 300, 1000]),
    before_ps=st.integers(0, 2000),
    last_locked=lock_ends,
    quiet=st.tuples(st.integers(0, 79), st.integers(0, 80)),
)
def test_time_bins_are_read_as_the_reference_reads_them(tags, low_ps, width_ps, dead_time_ps, before_ps, last_locked, quiet):
    period_ps, pitch_ps = 256, 80
    reading = Reading.of_time_bins({"M": 1, "P": 0}, pitch_ps)
    t_ps, channel = np.array([t for t, _ in tags], np.int64), np.array([number for _, number in tags], np.uint8)
    slot, cross, quiet_slot = np.empty(t_ps.size, np.int64), np.empty(t_ps.size, np.int64), np.empty(t_ps.size, np.int64)
    outcome, flags, counters = np.empty(t_ps.size, np.uint8), np.empty(t_ps.size, np.uint8), np.zeros(COUNT_COUNTERS, np.int64)
    zero, previous_ps = np.zeros(1, np.int64), int(t_ps[0]) - period_ps - before_ps
    locked_to_ps = lock_end(t_ps, last_locked)

    kept, crossed, quieted = detect_clicks(
        t_ps, channel, reading.click_of_channel, reading.outcome_of_pattern, reading.flags_of_pattern, float(pitch_ps),
        zero, zero, np.zeros(1), np.array([1.0 / period_ps]), np.array([LIMITS.min]), np.array([locked_to_ps]),
        float(low_ps), float(width_ps), float(quiet[0]), float(quiet[1]), float(pitch_ps),
        dead_time_ps, previous_ps, slot, outcome, flags, cross, quiet_slot, counters,
    )  # fmt: skip
    detector_tags = [tag for tag in tags if tag[1] < 2]
    singles, crosses, dead = slow_detect_time_bins(
        detector_tags, period_ps, low_ps, width_ps, pitch_ps, dead_time_ps, previous_ps, locked_to_ps
    )

    assert cross[:crossed].tolist() == crosses
    located = [t for t, _ in detector_tags if t <= locked_to_ps]
    assert quiet_slot[:quieted].tolist() == slow_quiet_slots(located, period_ps, low_ps, quiet[0], quiet[1], pitch_ps)
    assert counters[COUNT_DEAD_ROUNDS] == dead
    assert list(zip(slot[:kept].tolist(), outcome[:kept].tolist(), strict=True)) == singles
    assert not flags[:kept].any()
    assert counters[COUNT_DOUBLES] == 0
