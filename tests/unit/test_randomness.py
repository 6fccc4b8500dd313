"""Random bytes and biased flags."""

import numpy as np
import pytest

from common.errors import ConfigurationError
from common.randomness import SeededRandomness, SystemRandomness, biased_flags, key_from_seed, quantised_probability


class Scripted:
    """Randomness that plays back given bytes."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def draw(self, count_bytes: int) -> bytes:
        drawn, self.data = self.data[:count_bytes], self.data[count_bytes:]
        return drawn


def test_the_system_draws_fresh_bytes():
    randomness = SystemRandomness()

    assert len(randomness.draw(16)) == 16
    assert randomness.draw(16) != randomness.draw(16)


def test_equal_seeds_repeat_and_parties_do_not_share_a_stream():
    one, again, other = SeededRandomness(7, "alice"), SeededRandomness(7, "alice"), SeededRandomness(7, "bob")

    assert one.draw(10) + one.draw(22) == again.draw(32)
    assert one.draw(32) != other.draw(32)
    assert key_from_seed(7) != key_from_seed(8)


def test_a_flag_is_set_where_sixteen_bits_are_below_the_threshold():
    numbers = np.array([0, 16383, 16384, 65535], "<u2").tobytes()

    assert biased_flags(Scripted(numbers), 4, 0.25).tolist() == [1, 1, 0, 0]


@pytest.mark.parametrize(("probability", "expected"), [(0.0, 0), (1.0, 1)])
def test_certainty_stays_certain(probability, expected):
    assert set(biased_flags(SystemRandomness(), 2000, probability).tolist()) == {expected}


def test_long_draws_are_the_stream_in_order():
    count = (1 << 20) + 5
    stream = np.frombuffer(SeededRandomness(3).draw(2 * count), "<u2")

    assert np.array_equal(biased_flags(SeededRandomness(3), count, 0.1), stream < round(0.1 * 65536))


def test_the_exact_probability_is_a_multiple_of_two_to_the_minus_16():
    assert quantised_probability(0.1) == 6554 / 65536
    assert quantised_probability(1.0) == 1.0


@pytest.mark.parametrize("probability", [-0.1, 1.1, float("nan")])
def test_a_probability_out_of_range_is_refused(probability):
    with pytest.raises(ConfigurationError, match="probability"):
        biased_flags(SystemRandomness(), 1, probability)


def test_a_negative_number_of_flags_is_refused():
    with pytest.raises(ConfigurationError, match="flags"):
        biased_flags(SystemRandomness(), -1, 0.5)
