"""Sifting: what is refused."""

import numpy as np
import pytest

from common.bits import Bits
from common.errors import LocalProtocolError
from common.kernels.sifting import count_table, select_bits, select_bytes

FOUR = np.array([0, 1, 2, 3], np.uint8)


def test_a_setting_or_outcome_that_does_not_exist_is_refused():
    for settings, outcomes in ((FOUR, FOUR), (FOUR % 3, FOUR + 1)):
        with pytest.raises(LocalProtocolError, match="setting"):
            count_table(settings, outcomes.astype(np.uint8), np.ones(4, np.uint8), 3)


def test_arrays_of_different_lengths_are_refused():
    words = np.zeros(2, np.uint64)
    with pytest.raises(LocalProtocolError):
        count_table(FOUR, FOUR, FOUR[:3], 4)
    with pytest.raises(LocalProtocolError):
        select_bits(words, words[:1])
    with pytest.raises(LocalProtocolError):
        select_bytes(FOUR, Bits.from_flags(np.ones(3, np.uint8)))
