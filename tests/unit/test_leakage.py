"""The leakage account only grows, and its total is the sum of its items."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.leakage import Leakage

ITEMS = st.dictionaries(st.sampled_from(["parities", "syndromes", "segment tags"]), st.integers(0, 10**6))


@given(ITEMS, ITEMS)
def test_merging_adds_item_by_item(first, second):
    merged = Leakage(first).merged(Leakage(second))

    assert merged.total_bits == sum(first.values()) + sum(second.values())
    assert merged.items == {item: first.get(item, 0) + second.get(item, 0) for item in {**first, **second}}


def test_charging_leaves_the_earlier_account_alone():
    before = Leakage({"parities": 5})
    after = before.charged("parities", 3)

    assert (before.total_bits, after.total_bits) == (5, 8)


def test_nothing_is_ever_taken_back():
    with pytest.raises(ValueError, match="only grows"):
        Leakage().charged("parities", -1)
