"""What waits at Bob's station answers as one long sorted list would, however it came in pieces."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bob.waiting import SlotQueue

rows = st.lists(st.lists(st.tuples(st.integers(1, 50), st.integers(0, 3)), max_size=12), max_size=8)


def filled(pieces):
    """The queue, and all it holds as a list of (slot, value)."""
    queue, everything, slot = SlotQueue(), [], -100
    for piece in pieces:
        part = []
        for step, value in piece:
            slot += step
            part.append((slot, value))
        queue.append(np.array([slot for slot, _ in part], np.int64), np.array([value for _, value in part], np.uint8))
        everything += part
    return queue, everything


@given(pieces=rows, edges=st.lists(st.integers(-200, 2000), min_size=1, max_size=6).map(sorted))
def test_slots_are_counted_and_taken_as_from_one_list(pieces, edges):
    queue, everything = filled(pieces)

    slots, values = queue.between(edges[0], edges[-1])

    assert list(zip(slots.tolist(), values.tolist(), strict=True)) == [row for row in everything if edges[0] <= row[0] < edges[-1]]
    expected = [sum(low <= slot < high for slot, _ in everything) for low, high in pairwise(edges)]
    assert queue.counts(np.array(edges, np.int64)).tolist() == expected
    assert queue.size == len(everything)
    assert queue.last == (everything[-1][0] if everything else None)
    assert [queue.slot_at(place) for place in range(queue.size)] == [slot for slot, _ in everything]


@given(pieces=rows, forgotten=st.lists(st.integers(-200, 2000), max_size=4))
def test_what_is_forgotten_is_gone(pieces, forgotten):
    queue, everything = filled(pieces)

    for slot in forgotten:
        queue.forget_through(slot)
        everything = [row for row in everything if row[0] > slot]

    slots, values = queue.between(-(1 << 62), 1 << 62)
    assert list(zip(slots.tolist(), values.tolist(), strict=True)) == everything
    assert queue.size == len(everything)
