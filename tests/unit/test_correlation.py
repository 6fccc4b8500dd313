"""g2 and on-fraction of synthetic recordings whose values are known."""

import numpy as np
import pytest

from alice.source.correlation import count_coincidences, measure_correlation
from common.errors import StreamError

CLOCK_HZ = 1e7


def emitter(rng, *, slots, on_fraction, switch_slots, probability, pair_probability, skew):
    """Two detectors behind a beam splitter; dark and bright stretches of random length."""
    lengths = rng.exponential([switch_slots * on_fraction, switch_slots * (1 - on_fraction)], (slots // switch_slots * 2, 2)) + 1
    edges = np.cumsum(lengths.ravel().astype(np.int64))
    bright = np.searchsorted(edges, np.arange(slots)) % 2 == 0
    single = np.flatnonzero(bright & (rng.random(slots) < probability))
    to_first = rng.random(single.size) < 0.5
    pairs = np.flatnonzero(bright & (rng.random(slots) < pair_probability))
    first = np.unique(np.concatenate([single[to_first], pairs]))
    second = np.unique(np.concatenate([single[~to_first], pairs])) + skew
    return first, second


def test_blinking_and_pairs_are_both_measured():
    """2 % pairs to neighbours and 30 % on-fraction, each within 6 standard deviations of their counts (about 3 %)."""
    rng = np.random.default_rng(1)
    first, second = emitter(
        rng, slots=20_000_000, on_fraction=0.3, switch_slots=20_000, probability=0.1, pair_probability=0.02 * 0.05**2, skew=5
    )
    found = measure_correlation(first, second, CLOCK_HZ)

    assert found.skew_slots == 5
    assert found.g2_bright == pytest.approx(0.02, abs=6 * found.g2_bright_uncertainty)
    assert found.on_fraction == pytest.approx(0.3, rel=0.1)
    assert found.g2_far == pytest.approx(found.g2_bright / found.on_fraction, rel=1e-9)


def test_coincidences_are_what_counting_by_hand_gives():
    rng = np.random.default_rng(2)
    first, second = (np.unique(rng.integers(0, 500, 80)) for _ in range(2))
    by_hand = [sum(1 for a in first for b in second if b - a == delay) for delay in range(-7, 8)]

    assert count_coincidences(first, second, -7, 15).tolist() == by_hand


def test_too_few_coincidences_are_no_measurement():
    with pytest.raises(StreamError, match="too few coincidences"):
        measure_correlation(np.arange(0, 1000, 100), np.arange(50, 1000, 100), CLOCK_HZ)
