"""Packed outcomes and settings against lists."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import LocalProtocolError
from common.kernels.matching import look_up_settings, look_up_settings_kernel, split_outcomes, split_outcomes_kernel
from tests.reference import matching as slow

pytestmark = pytest.mark.kernels

TABLES = st.integers(1, 64).flatmap(
    lambda count: st.tuples(*(st.lists(st.integers(0, 1), min_size=count, max_size=count).map(tuple) for _ in range(2)))
)


def flags(bits):
    return bits.to_flags().tolist()


@given(st.lists(st.integers(0, 3), max_size=200))
def test_outcomes_are_split_as_by_lists(outcomes):
    bases, bits = split_outcomes(np.array(outcomes, np.uint8))

    assert (flags(bases), flags(bits)) == slow.split_outcomes(outcomes)


@given(TABLES, st.data())
def test_settings_are_looked_up_as_in_lists(tables, data):
    settings = data.draw(st.lists(st.integers(0, len(tables[0]) - 1), max_size=200))
    bases, bits = look_up_settings(np.array(settings, np.uint8), *tables)

    assert (flags(bases), flags(bits)) == slow.look_up_settings(settings, *tables)


@given(TABLES, st.integers(0, 255))
def test_a_code_that_names_no_setting_is_refused(tables, code):
    if code >= len(tables[0]):
        with pytest.raises(LocalProtocolError, match="not below"):
            look_up_settings(np.array([0] * 70 + [code], np.uint8), *tables)


def test_tables_that_do_not_fit_are_refused():
    for tables in (((), ()), ((0,), (0, 1)), ((0,) * 65, (0,) * 65)):
        with pytest.raises(LocalProtocolError, match="at most 64"):
            look_up_settings(np.zeros(1, np.uint8), *tables)


def test_the_kernels_write_whole_words_and_say_the_highest_code():
    words = [np.full(2, 2**64 - 1, np.uint64) for _ in range(2)]
    split_outcomes_kernel(np.full(65, 3, np.uint8), *words)
    assert [word.tolist() for word in words] == [[2**64 - 1, 1]] * 2
    assert look_up_settings_kernel(np.array([2, 7, 1], np.uint8), np.uint64(4), np.uint64(0), words[0][:1], words[1][:1]) == 7
    assert words[0][0] == 1
