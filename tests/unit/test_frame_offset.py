"""The frame-offset search: the right slot, sure of itself, and silent where it cannot be."""

import numpy as np
import pytest

from alice.frame_offset import MOST_DETECTIONS, find_frame_offset, gains_bits
from common.errors import ConfigurationError, StreamError

SETTINGS = ["Z0", "Z1", "X0", "X1"]
FIRST = 7_000_000_000
COUNT = 3_000_000


def record(seed):
    return np.random.default_rng(seed).integers(0, 4, COUNT).astype(np.uint8)


def disclosed(settings, seed, offset, *, count=600, qber=0.05, start=0, span=200_000):
    """Slots and outcomes of a passive receiver whose slot 0 is Alice's ``offset``."""
    generator = np.random.default_rng(seed)
    slot = np.sort(generator.choice(span, count, replace=False)).astype(np.int64) + start
    sent = settings[slot + offset - FIRST]
    basis = generator.integers(0, 2, count)
    bit = np.where(basis == sent >> 1, (sent & 1) ^ (generator.random(count) < qber), generator.integers(0, 2, count))
    return slot, (2 * basis + bit).astype(np.uint8)


def search(settings, slot, outcome, **changed):
    asked = []

    def window(first, count):
        assert first >= FIRST
        assert first + count <= FIRST + COUNT
        asked.append(count)
        return settings[first - FIRST : first - FIRST + count]

    arguments = {"expected_offset": FIRST, "reach_slots": 2_500_000} | changed
    found = find_frame_offset(window, SETTINGS, FIRST, COUNT, slot, outcome, **arguments)
    return found, max(asked, default=0)


@pytest.mark.parametrize(
    ("seed", "shift", "qber"), [(1, 0, 0.05), (2, 3, 0.02), (3, -2000, 0.11), (4, 1_234_567, 0.08), (5, 2_400_001, 0.0)]
)
def test_the_offset_is_found_wherever_it_lies(seed, shift, qber):
    settings = record(seed)
    slot, outcome = disclosed(settings, seed, FIRST + shift, qber=qber, start=300_000 if shift < 0 else 0)

    found, _ = search(settings, slot, outcome)

    assert found.offset == FIRST + shift
    assert found.score_bits > np.log2(found.candidates) + 30.0
    assert found.runner_up_bits < found.score_bits - 20.0


@pytest.mark.parametrize("beside", [-2, 0, 1])
def test_with_a_divider_only_its_multiples_and_their_neighbours_are_tried(beside):
    settings = record(6)
    true = FIRST // 1000 * 1000 + 1_000_000 + beside
    slot, outcome = disclosed(settings, 6, true)

    found, _ = search(settings, slot, outcome, stride=1000)

    assert found.offset == true
    assert found.candidates <= 5 * 5000


@pytest.mark.parametrize(("seed", "qber", "count"), [(11, 0.02, 600), (12, 0.11, 600), (13, 0.2, 2000), (14, 0.05, 300)])
def test_fetching_only_the_settings_that_are_asked_for_finds_the_same_offset(seed, qber, count):
    settings = record(seed)
    true = FIRST // 256 * 256 + 256 * (5000 + seed) + 1
    slot, outcome = disclosed(settings, seed, true, qber=qber, count=count)
    asked = []

    def lookup(slots):
        assert FIRST <= slots.min()
        assert slots.max() < FIRST + COUNT
        asked.append(slots.size)
        return settings[slots - FIRST]

    dense, _ = search(settings, slot, outcome, stride=256)
    sparse, _ = search(settings, slot, outcome, stride=256, lookup=lookup)

    assert dense.offset == sparse.offset == true
    assert sparse.score_bits == pytest.approx(dense.score_bits)
    assert sum(asked) < 120 * sparse.candidates
    noise = np.random.default_rng(seed).integers(0, 4, count).astype(np.uint8)
    with pytest.raises(StreamError, match="not found"):
        search(settings, slot, noise, stride=256, lookup=lookup)


def test_neighbouring_slots_do_not_pass_for_the_right_one():
    settings = record(7)
    slot, outcome = disclosed(settings, 7, FIRST + 100_003)

    with pytest.raises(StreamError, match="frame offset not found"):
        search(settings, slot, outcome, expected_offset=FIRST + 100_000, reach_slots=2)
    assert search(settings, slot, outcome, expected_offset=FIRST + 100_000, reach_slots=3)[0].offset == FIRST + 100_003


def test_detections_far_apart_are_searched_in_rows_of_bounded_size(monkeypatch):
    monkeypatch.setattr("alice.frame_offset.WINDOW_SLOTS", 300_000)
    settings = record(8)
    slot, outcome = disclosed(settings, 8, FIRST + 1500, span=2_000_000, count=400)

    found, largest = search(settings, slot, outcome, reach_slots=5000)

    assert found.offset == FIRST + 1500
    assert largest <= 300_000 // 400


def test_more_detections_than_needed_are_cut_to_the_middle():
    settings = record(9)
    slot, outcome = disclosed(settings, 9, FIRST + 17, count=5 * MOST_DETECTIONS)
    outcome[:100] ^= 1  # a frame that began badly does not matter

    assert search(settings, slot, outcome)[0].offset == FIRST + 17


@pytest.mark.parametrize("count", [0, 1, 40])
def test_too_few_detections_are_no_proof(count):
    settings = record(10)
    slot, outcome = disclosed(settings, 10, FIRST, count=count)

    with pytest.raises(StreamError, match="sacrifice more detections"):
        search(settings, slot, outcome, reach_slots=1000)


def test_chance_is_not_taken_for_agreement():
    """Random outcomes; the search would accept one with probability below 1e-9."""
    settings = record(11)
    generator = np.random.default_rng(11)
    slot = np.sort(generator.choice(200_000, 600, replace=False)).astype(np.int64)

    with pytest.raises(StreamError, match="frame offset not found"):
        search(settings, slot, generator.integers(0, 4, 600).astype(np.uint8), reach_slots=200_000)


def test_gains_follow_the_bases_and_ignore_intensities():
    gains = gains_bits(["Z0/signal", "X1"], 0.25)

    assert gains == pytest.approx(np.array([[np.log2(1.5), -1.0, 0.0, 0.0], [0.0, 0.0, -1.0, np.log2(1.5)], [0.0] * 4]))
    with pytest.raises(ConfigurationError, match="Y0"):
        gains_bits(["Y0"])
    with pytest.raises(ConfigurationError, match="QBER"):
        gains_bits(SETTINGS, 0.5)
    with pytest.raises(ConfigurationError, match="stride"):
        search(record(1), np.arange(3), np.zeros(3, np.uint8), stride=0)
