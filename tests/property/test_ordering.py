"""Tags put in order piece by piece are what one sort of them all would give, whatever the pieces."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import StreamError
from common.timetags.ordering import Ordering
from common.timetags.raw_records import read_events_chunks
from common.timetags.reading import Reading
from tests.reference.ordering import slow_order
from tests.support.recordings import event_words, write_events

HELD = 12

written = st.lists(st.tuples(st.integers(0, 40), st.integers(-6, 6), st.integers(0, 2)), min_size=1, max_size=80)
"""Steps of time, how far each tag is written from its place, and channels."""


def ordered(tags, cuts):
    reading = Reading("text")
    ordering = Ordering(Path("tags.txt"), reading, HELD)
    t_ps, channel = np.array([t for t, _ in tags], np.int64), np.array([c for _, c in tags], np.uint8)
    given_out: list = []
    for begin, end in pairwise([0, *cuts, len(tags)]):
        given_out += zip(*(part.tolist() for part in ordering.push(t_ps[begin:end], channel[begin:end])), strict=True)
    given_out += zip(*(part.tolist() for part in ordering.finish()), strict=True)
    return given_out, reading


@given(steps=written, cuts=st.lists(st.integers(0, 80), max_size=6).map(sorted))
def test_pieces_in_order_are_one_sort(steps, cuts):
    times = np.cumsum([step for step, _, _ in steps]).tolist()
    places = sorted(range(len(steps)), key=lambda place: (place + steps[place][1], place))
    tags = [(times[place], steps[place][2]) for place in places]
    expected = slow_order(tags, HELD)
    assert expected is not None

    got, reading = ordered(tags, [min(cut, len(tags)) for cut in cuts])

    assert got == expected[0]
    assert reading.count_reordered == expected[1]
    assert reading.count_duplicates == expected[2]


@given(before=st.integers(HELD + 1, 60), after=st.integers(0, 30), cuts=st.lists(st.integers(0, 90), max_size=4).map(sorted))
def test_a_tag_later_than_is_held_back_is_refused_wherever_the_cuts_are(before, after, cuts):
    tags = [(100 + place, 0) for place in range(before)] + [(5, 0)] + [(1000 + place, 0) for place in range(after)]
    assert slow_order(tags, HELD) is None

    with pytest.raises(StreamError, match="time runs backwards"):
        ordered(tags, [min(cut, len(tags)) for cut in cuts])


@given(
    steps=st.lists(st.integers(1, (1 << 53) - 1), min_size=1, max_size=30),
    start=st.integers(0, (1 << 54) - 1),
    layout=st.sampled_from(["a0", "a1", "a2"]),
)
def test_a_counter_of_54_bits_goes_on_through_any_number_of_rollovers(tmp_path_factory, steps, start, layout):
    ticks = [start]
    for step in steps:
        ticks.append(ticks[-1] + step)
    if ticks[-1] > 1 << 61:
        ticks = ticks[:60]
    path = write_events(tmp_path_factory.mktemp("events") / "a.ts", event_words(ticks, [1] * len(ticks)), layout)
    reading = Reading("s-fifteen")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("common.timetags.raw_records._upper_comes_first", lambda *_: layout == "a2")
        t_ps = np.concatenate([part for part, _ in read_events_chunks(path, reading)])

    assert t_ps.tolist() == [(tick * 125 * 2 + 32) // 64 for tick in ticks]
    assert reading.count_rollovers == ticks[-1] // (1 << 54)
