"""Delta coding of slots: how close to the entropy, and what is refused."""

from math import log2

import numpy as np
import pytest

from common.errors import LocalProtocolError, RemoteProtocolError
from common.kernels.gaps import decode_gaps, encode_gaps

SLOTS = np.array([5, 6, 9, 40, 41, 1000], np.int64)


@pytest.mark.parametrize("probability", [0.4, 0.1, 1e-2, 1e-3, 1e-5])
def test_geometric_gaps_cost_at_most_five_percent_above_their_entropy(probability):
    """Seeded; the mean of 50,000 gaps lies within 0.5 % of its expectation, far inside the margin of 1 %, so chance does not decide."""
    slots = np.cumsum(np.random.default_rng(1).geometric(probability, 50_000))
    entropy = (-probability * log2(probability) - (1 - probability) * log2(1 - probability)) / probability

    assert 8 * encode_gaps(slots, 1).size / slots.size < 1.05 * entropy


def test_no_slots_are_no_bytes():
    assert encode_gaps(SLOTS[:0], 0).size == 0
    assert decode_gaps(b"", 0, 0, 10).size == 0


def test_a_single_slot_at_either_end_of_the_range_is_decoded():
    for slot in (-7, 2**61 - 1):
        data = encode_gaps(np.array([slot], np.int64), -7)
        assert decode_gaps(data, 1, -7, 2**61).tolist() == [slot]


@pytest.mark.parametrize("slots", [[3, 3], [4, 3], [-1, 3], [0, 2**62], [*range(255), 2**62 + 254, 300], [5, -(2**63), 9]])
def test_slots_that_do_not_increase_from_the_first_are_refused(slots):
    with pytest.raises(LocalProtocolError):
        encode_gaps(np.array(slots, np.int64), 0)


def test_a_range_too_wide_for_the_code_is_refused():
    with pytest.raises(LocalProtocolError, match="span"):
        decode_gaps(b"\0", 1, 0, 2**62)


@pytest.mark.parametrize(
    ("change", "count", "limit"),
    [
        (lambda data: data, 6, 1000),  # the last slot is at the limit
        (lambda data: data, 5, 1001),  # a slot is left over
        (lambda data: data, 7, 1001),  # a slot is missing
        (lambda data: data, 10**9, 2**61),  # more slots than bits: refused before anything is allocated
        (lambda data: data, -1, 1001),
        (lambda data: data[:-1], 6, 1001),
        (lambda data: data + b"\0", 6, 1001),
        (lambda data: data[:-1] + bytes([data[-1] | 0x80]), 6, 1001),  # a padding bit
        (lambda data: bytes([data[0] | 0x3F]) + data[1:], 6, 1001),  # parameter 63
        (lambda data: bytes(len(data)), 6, 1001),  # a unary quotient without end
        (lambda _: b"", 6, 1001),
    ],
)
def test_anything_but_the_one_encoding_is_refused(change, count, limit):
    data = encode_gaps(SLOTS, 5).tobytes()
    assert data[-1] < 0x80  # so that the padding bit above is one

    with pytest.raises(RemoteProtocolError):
        decode_gaps(change(data), count, 5, limit)


def test_an_encoding_under_a_parameter_that_costs_more_is_refused():
    # Slot 0 under parameter 1: header 1 (six bits), remainder 0, quotient 0 (a one).
    with pytest.raises(RemoteProtocolError, match="parameter"):
        decode_gaps(bytes([0b10_000001]), 1, 0, 10)
    assert decode_gaps(bytes([0b01_000000]), 1, 0, 10).tolist() == [0]
