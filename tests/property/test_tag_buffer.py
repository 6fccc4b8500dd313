"""Tags that a tracker keeps: in order, delays taken off, whatever they are and however they came."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bob.kernels import count_chosen, order_aligned, pick_evenly
from bob.tag_buffer import TagBuffer
from tests.reference.receiver import slow_count_chosen, slow_order_aligned, slow_pick_evenly

tags = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 3)), max_size=80)
delays = st.lists(st.integers(-100, 100), min_size=4, max_size=4)


def arrived(steps):
    t_ps = np.cumsum(np.array([step for step, _ in steps], np.int64))
    return t_ps, np.array([channel for _, channel in steps], np.uint8)


def skews(delays):
    skew_ps = np.zeros(256, np.int64)
    skew_ps[:4] = delays
    return skew_ps


@given(steps=tags, delays=delays, cuts=st.lists(st.integers(0, 80), max_size=4).map(sorted), limit=st.sampled_from([0, 1, 16]))
def test_a_buffer_holds_what_one_sort_would_give(steps, delays, cuts, limit):
    t_ps, channel = arrived(steps)
    buffer = TagBuffer(skews(delays))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("bob.tag_buffer.MOST_MOVES", limit)
        for begin, end in pairwise([0, *cuts, t_ps.size]):
            buffer.append(t_ps[begin:end], channel[begin:end])

    assert list(zip(buffer.t_ps.tolist(), buffer.channel.tolist(), strict=True)) == slow_order_aligned(t_ps, channel, skews(delays))


@given(steps=tags, first=st.integers(0, 80))
def test_what_is_forgotten_leaves_the_rest_as_it_was(steps, first):
    t_ps, channel = arrived(steps)
    buffer = TagBuffer(skews([0, 0, 0, 0]))
    buffer.append(t_ps, channel)
    first = min(first, t_ps.size)

    buffer.forget(first)
    buffer.append(t_ps[:0], channel[:0])

    assert np.array_equal(buffer.t_ps, t_ps[first:])
    assert np.array_equal(buffer.channel, channel[first:])


@given(steps=tags, delays=delays)
def test_ordering_that_is_given_up_says_how_far_it_came(steps, delays):
    t_ps, channel = arrived(steps)
    aligned_ps, aligned_channel = np.empty_like(t_ps), np.empty_like(channel)

    done = order_aligned(t_ps, channel, skews(delays), 3, 0, aligned_ps, aligned_channel)

    found = list(zip(aligned_ps[:done].tolist(), aligned_channel[:done].tolist(), strict=True))
    assert found == slow_order_aligned(t_ps[:done], channel[:done], skews(delays))


@given(steps=tags, chosen=st.sets(st.integers(0, 3)), every=st.integers(1, 9), data=st.data())
def test_tags_are_picked_evenly_among_those_of_some_channels(steps, chosen, every, data):
    t_ps, channel = arrived(steps)
    is_chosen = np.isin(np.arange(256), list(chosen))
    first = data.draw(st.integers(0, every - 1))
    expected = slow_pick_evenly(list(zip(t_ps.tolist(), channel.tolist(), strict=True)), chosen, first, every)
    picked_ps, picked_channel = np.empty(len(expected), np.int64), np.empty(len(expected), np.uint8)

    pick_evenly(t_ps, channel, is_chosen, first, every, picked_ps, picked_channel)

    assert count_chosen(channel, is_chosen) == slow_count_chosen(channel.tolist(), chosen)
    assert list(zip(picked_ps.tolist(), picked_channel.tolist(), strict=True)) == expected
