"""Disclosure: counts at both ends, and counts that cannot be."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.channel import messages
from common.conversation.rehearsal import rehearse
from common.distillation.disclosure import added_tables, disclose, errors_by_basis, tally
from common.errors import RemoteProtocolError
from common.protocols.protocol import BB84
from tests.support.blocks import sifted_batch

ROUNDS = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1), st.integers(0, 1)), max_size=80)


@given(ROUNDS)
def test_both_ends_hold_the_same_table_and_it_counts_every_round(rounds):
    bases, sent, seen = ([row[i] for row in rounds] for i in range(3))
    (ours,), (theirs,), said = rehearse(tally([sifted_batch(sent, bases)], BB84), disclose([sifted_batch(seen, bases)], BB84))

    assert [type(message) for message in said] == [messages.TestDisclosure, messages.TestCounts]
    assert ours.table == theirs.table
    assert sum(map(sum, ours.table)) == len(rounds)
    for basis, (tested, errors) in enumerate(errors_by_basis(ours.table, BB84)):
        mine = [row for row in rounds if row[0] == basis]
        assert (tested, errors) == (len(mine), sum(row[1] != row[2] for row in mine))


@given(st.lists(ROUNDS, min_size=1, max_size=6))
def test_every_announcement_has_a_table_of_its_own(many):
    columns = [[[row[i] for row in rounds] for i in range(3)] for rounds in many]
    sent = [sifted_batch(ours, bases) for bases, ours, _ in columns]
    seen = [sifted_batch(theirs, bases) for bases, _, theirs in columns]
    ours, theirs, said = rehearse(tally(sent, BB84), disclose(seen, BB84))

    assert [type(message) for message in said] == [messages.TestDisclosure, messages.TestCounts]
    assert [batch.table for batch in ours] == [batch.table for batch in theirs]
    for batch, rounds in zip(ours, many, strict=True):
        (alone,), _, _ = rehearse(*halves_of(rounds))
        assert batch.table == alone.table


def halves_of(rounds):
    bases, sent, seen = ([row[i] for row in rounds] for i in range(3))
    return tally([sifted_batch(sent, bases)], BB84), disclose([sifted_batch(seen, bases)], BB84)


def taken(half, message):
    """Say ``message`` to a half and compute what it makes of it."""
    effect = half.send(message)
    return effect.function(*effect.arguments)


def answered(table, *batches):
    half: Any = disclose([sifted_batch(bits, bases) for bits, bases in batches or [((0, 1, 1), (0, 0, 1))]], BB84)
    next(half)
    half.send(None)
    with pytest.raises(RemoteProtocolError) as refused:
        taken(half, messages.TestCounts(tuple(table)))
    return str(refused.value)


def test_a_table_that_does_not_add_up_is_refused():
    right = np.zeros((4, 4), int)
    right[0, 0] = right[1, 1] = right[3, 3] = 1
    for row, column in np.ndindex(4, 4):
        wrong = right.copy()
        wrong[row, column] += 1
        assert "does not add up" in answered(wrong.reshape(-1).tolist())
    assert "tables of 15 counts" in answered(right.reshape(-1)[:15].tolist())
    assert "tables of 0 counts" in answered(())
    assert "tables of 32 counts" in answered(right.reshape(-1).tolist() * 2)


def test_a_round_counted_in_the_table_of_another_announcement_is_refused():
    batches = ((0, 1), (0, 0)), ((1,), (0,))
    table = np.zeros((2, 4, 4), int)
    table[0, 0, 0] = table[0, 1, 1] = table[1, 1, 1] = 1
    moved = table.copy()
    moved[0, 1, 1], moved[1, 1, 1] = 0, 2

    assert "does not add up" in answered(moved.reshape(-1).tolist(), *batches)


def test_a_table_that_adds_up_only_where_sums_wrap_is_refused():
    wrapping = np.zeros((4, 4), object)
    wrapping[:, 0] = 2**62
    wrapping[0, 0] += 0
    wrapping[1, 1] = wrapping[3, 3] = 1

    assert "does not add up" in answered(wrapping.reshape(-1).tolist(), ((1, 1), (0, 1)))


@pytest.mark.parametrize(("count", "data"), [(2, b"\0"), (3, b"\0\0"), (3, b""), (3, b"\x08")])
def test_a_disclosure_of_another_length_or_with_padding_set_is_refused(count, data):
    half: Any = tally([sifted_batch((0,), (0,)), sifted_batch((1, 1), (0, 1))], BB84)
    next(half)
    with pytest.raises(RemoteProtocolError):
        half.send(messages.TestDisclosure(count, data))


def test_tables_add_cell_by_cell():
    assert added_tables([((1, 2), (3, 4)), ((10, 20), (30, 40))]) == ((11, 22), (33, 44))
