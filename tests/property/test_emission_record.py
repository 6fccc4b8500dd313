"""The two forms of an emission record answer alike, and so do its two questions."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from common.timetags.emission_record import EmissionHeader, EmissionRecord, setting_thresholds

BB84 = ("Z0", "Z1", "X0", "X1")

records = st.builds(
    lambda key, first, count, z: EmissionRecord(
        EmissionHeader(1e8, first, count, BB84, (z / 2, z / 2, (1 - z) / 2, (1 - z) / 2)), expander_key=key
    ),
    st.binary(min_size=32, max_size=32),
    st.integers(0, 2**50),
    st.integers(1, 2000),
    st.floats(0.01, 0.99),
)


@settings(max_examples=40)
@given(record=records, data=st.data())
def test_looking_up_scattered_slots_reads_what_a_window_shows(record, data):
    header = record.header
    places = data.draw(st.lists(st.integers(0, header.count_slots - 1), max_size=60))
    window = record.window(header.first_slot, header.count_slots)

    for form in (record, record.as_packed()):
        assert np.array_equal(form.window(header.first_slot, header.count_slots), window)
        assert np.array_equal(form.lookup(header.first_slot + np.array(places, np.int64)), window[places])


@settings(max_examples=40)
@given(record=records, cut=st.integers(0, 2000))
def test_a_window_may_be_cut_anywhere(record, cut):
    first, count = record.header.first_slot, record.header.count_slots
    left = min(cut, count)

    parts = np.concatenate([record.window(first, left), record.window(first + left, count - left)])

    assert np.array_equal(parts, record.window(first, count))


@given(weights=st.lists(st.integers(0, 1000), min_size=1, max_size=16).filter(any))
def test_thresholds_keep_every_probability_to_two_to_the_minus_31(weights):
    probabilities = tuple(weight / sum(weights) for weight in weights)

    edges = np.array([0, *setting_thresholds(probabilities).tolist(), 2**32]) / 2**32

    assert np.all(np.diff(edges) >= 0)
    assert np.allclose(np.diff(edges), probabilities, rtol=0, atol=2**-31)
