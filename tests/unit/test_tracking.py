"""The clock of a stream: what happens when light, lock or tagger go and come back."""

from itertools import pairwise

import numpy as np
import pytest

from bob.clock_recovery import clock_from_reference
from bob.reading import outcomes_by_channel
from bob.tracking import Acquired, ClockTracker, LockLost, Piece
from common.errors import StreamError
from tests.support.pulse_tags import photon_tags, reference_tags

CHANNELS = {"H": 0, "V": 1, "D": 2, "A": 3, "sync": 4}
DIVIDER = 1000


def tracker(divider=DIVIDER):
    return ClockTracker(228e6, CHANNELS, divider, outcomes_by_channel(CHANNELS))


def with_detections(t_ps, seed=1):
    """Sync tags and three times as many detector tags at any time: enough for a gate, and the tracker looks at sync alone."""
    generator = np.random.default_rng(seed)
    other = generator.integers(t_ps[0], t_ps[-1], 3 * t_ps.size)
    order = np.argsort(np.concatenate([t_ps, other]), kind="stable")
    channel = np.concatenate([np.full(t_ps.size, 4), generator.integers(0, 4, other.size)]).astype(np.uint8)
    return np.concatenate([t_ps, other])[order], channel[order]


def steps(following, t_ps, channel, *, size=20_000, ends=True):
    found = []
    for begin in range(0, t_ps.size, size):
        following.feed(t_ps[begin : begin + size], channel[begin : begin + size])
        while (step := following.step()) is not None:
            found.append(step)
    if ends:
        following.finish()
        while (step := following.step()) is not None:
            found.append(step)
    return found


def kinds(found):
    return [type(step) for step in found]


def pieces(found):
    return [step for step in found if isinstance(step, Piece)]


def test_pieces_hold_every_tag_once_and_number_slots_without_a_break():
    sync, slots = reference_tags(1, divider=DIVIDER, rate_hz=2e4, seconds=4.0, spurious=0.0)
    t_ps, channel = with_detections(sync)

    found = steps(tracker(), t_ps, channel)

    assert kinds(found) == [Acquired, *[Piece] * (len(found) - 1)]
    assert len(found) > 8
    joined = np.concatenate([piece.t_ps for piece in pieces(found)])
    assert np.array_equal(joined, t_ps[t_ps.size - joined.size :])
    assert joined.size > 0.7 * t_ps.size
    numbered = np.concatenate([piece.clock.slots_and_phases(piece.t_ps[piece.channel == 4])[0] for piece in pieces(found)])
    true = slots[slots.size - numbered.size :]
    assert np.unique(numbered - true).size == 1
    through = [piece.through_slot for piece in pieces(found)]
    assert through == sorted(through)


def test_window_by_window_the_clock_is_that_of_the_recording():
    sync, _ = reference_tags(2, divider=DIVIDER, rate_hz=2e4, seconds=3.0, wander=1e-9)
    t_ps, channel = with_detections(sync)
    whole = clock_from_reference(sync, 228e6, DIVIDER)

    for piece in pieces(steps(tracker(), t_ps, channel)):
        at_ps = piece.t_ps[::100]
        at_ps = at_ps[at_ps < sync[-1]]
        apart_ps = piece.clock.slots_and_phases(at_ps)[1] - whole.slots_and_phases(at_ps)[1]
        apart_ps -= np.rint(apart_ps / whole.period_ps) * whole.period_ps
        assert np.abs(apart_ps).max() < 60.0


def test_a_jump_in_time_is_a_loss_of_lock_and_the_clock_is_found_again():
    sync, slots = reference_tags(3, divider=DIVIDER, rate_hz=2e4, seconds=4.0, spurious=0.0)
    jumped = sync.copy()
    jumped[sync.size // 2 :] += 1_000_000_000  # a millisecond, and no multiple of the reference's period
    t_ps, channel = with_detections(jumped)

    following = tracker()
    found = steps(following, t_ps, channel)

    assert kinds(found).count(LockLost) == 1
    assert kinds(found).count(Acquired) == 2
    lost = kinds(found).index(LockLost)
    for part in (pieces(found[:lost]), pieces(found[lost:])):
        joined = np.concatenate([piece.t_ps[piece.channel == 4] for piece in part])
        numbered = np.concatenate([piece.clock.slots_and_phases(piece.t_ps[piece.channel == 4])[0] for piece in part])
        true = slots[np.searchsorted(jumped, joined)]
        assert np.unique(numbered - true).size == 1


@pytest.mark.parametrize(("seconds", "count_losses"), [(0.1, 0), (30.0, 1)], ids=["short", "long"])
def test_a_pause_is_bridged_or_a_loss(seconds, count_losses):
    sync, _ = reference_tags(4, divider=DIVIDER, rate_hz=2e4, seconds=2.0, spurious=0.0)
    later = sync.copy()
    period_ps = 1e15 / 228e6 * (1 + 50e-6)
    later[sync.size // 2 :] += round(round(seconds * 1e12 / period_ps) * period_ps)
    t_ps, channel = with_detections(later)
    lit = (t_ps <= later[sync.size // 2 - 1]) | (t_ps >= later[sync.size // 2])

    found = steps(tracker(), t_ps[lit], channel[lit])

    assert kinds(found).count(LockLost) == count_losses
    assert kinds(found)[-1] is Piece


def test_the_photons_alone_are_followed():
    t_ps, channel, slots = photon_tags(5, seconds=3.0, rate_hz=3e4, lifetime_ps=200.0, skew_ps=(0, 900, -700, 1500))

    found = steps(ClockTracker(228e6, {"H": 0, "V": 1, "D": 2, "A": 3}, 0, outcomes_by_channel(CHANNELS)), t_ps, channel)

    assert LockLost not in kinds(found)
    assert len(pieces(found)) >= 3
    last = pieces(found)[-1]
    assert last.clock.offset_ppm == pytest.approx(50.0, abs=0.01)
    assert np.all(np.diff(last.t_ps) >= 0)
    assert slots.size == t_ps.size


def test_noise_is_never_taken_for_a_clock_and_does_not_pile_up():
    """False-alarm probability 1e-9 an attempt; the seed is fixed."""
    t_ps = np.sort(np.random.default_rng(6).integers(0, 40 * 10**12, 80_000))
    following = tracker()

    assert not steps(following, t_ps, np.zeros(t_ps.size, np.uint8) + np.uint8(4), ends=False)
    assert following.problem
    assert following._t_ps.size < 40_000


def test_time_that_runs_backwards_between_batches_is_refused():
    following = tracker()
    following.feed(np.array([5, 9], np.int64), np.zeros(2, np.uint8))

    with pytest.raises(StreamError, match="set back"):
        following.feed(np.array([8], np.int64), np.zeros(1, np.uint8))


def test_many_tags_are_handed_out_in_small_pieces_that_hold_the_same(monkeypatch):
    sync, _ = reference_tags(1, divider=DIVIDER, rate_hz=2e4, seconds=2.0, spurious=0.0)
    t_ps, channel = with_detections(sync)
    large = pieces(steps(tracker(), t_ps, channel))
    monkeypatch.setattr("bob.tracking.PIECE_TAGS", 500)

    small = pieces(steps(tracker(), t_ps, channel))

    assert len(small) > 10 * len(large)
    assert np.array_equal(np.concatenate([piece.t_ps for piece in small]), np.concatenate([piece.t_ps for piece in large]))
    assert np.array_equal(np.concatenate([piece.channel for piece in small]), np.concatenate([piece.channel for piece in large]))
    assert {piece.through_slot for piece in large} <= {piece.through_slot for piece in small}
    for before, piece in pairwise(small):
        assert piece.through_slot > before.through_slot
        slots = piece.clock.slots_and_phases(piece.t_ps)[0]
        assert before.through_slot < slots[0] + 1
        assert slots[-1] - 1 < piece.through_slot + 1
        assert piece.previous_ps == before.t_ps[before.channel < 4][-1]
