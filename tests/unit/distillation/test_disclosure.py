"""Disclosure: counts at both ends, and counts that cannot be."""

import dataclasses
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
    cut = len(rounds) // 3
    mine, yours = ([sifted_batch(bits[:cut], bases[:cut]), sifted_batch(bits[cut:], bases[cut:])] for bits in (sent, seen))
    counted, theirs, said = rehearse(tally(mine, BB84), disclose(yours, BB84))
    first, ours = counted

    assert [type(message) for message in said] == [messages.TestDisclosure, messages.TestCounts]
    assert [first.table, ours.table] == [batch.table for batch in theirs]
    assert sum(map(sum, first.table)) == cut
    ours = dataclasses.replace(ours, table=added_tables([first.table, ours.table]))
    assert sum(map(sum, ours.table)) == len(rounds)
    for basis, (tested, errors) in enumerate(errors_by_basis(ours.table, BB84)):
        chosen = [row for row in rounds if row[0] == basis]
        assert (tested, errors) == (len(chosen), sum(row[1] != row[2] for row in chosen))


def answered(table, bits=(0, 1, 1), bases=(0, 0, 1)):
    half: Any = disclose([sifted_batch(bits, bases)], BB84)
    next(half)
    next(half)

    def counted():
        effect = half.send(messages.TestCounts(tuple(table)))
        effect.function(*effect.arguments)

    with pytest.raises(RemoteProtocolError) as refused:
        counted()
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


def test_a_table_that_adds_up_only_where_sums_wrap_is_refused():
    wrapping = np.zeros((4, 4), object)
    wrapping[:, 0] = 2**62
    wrapping[0, 0] += 0
    wrapping[1, 1] = wrapping[3, 3] = 1

    assert "does not add up" in answered(wrapping.reshape(-1).tolist(), bits=(1, 1), bases=(0, 1))


@pytest.mark.parametrize(("count", "data"), [(2, b"\0"), (3, b"\0\0"), (3, b""), (3, b"\x08")])
def test_a_disclosure_of_another_length_or_with_padding_set_is_refused(count, data):
    half: Any = tally([sifted_batch((0, 1, 1), (0, 0, 1))], BB84)
    next(half)
    with pytest.raises(RemoteProtocolError):
        half.send(messages.TestDisclosure(count, data))


def test_tables_add_cell_by_cell():
    assert added_tables([((1, 2), (3, 4)), ((10, 20), (30, 40))]) == ((11, 22), (33, 44))
