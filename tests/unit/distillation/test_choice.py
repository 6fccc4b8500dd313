"""Which method reconciles the next batch: one half chooses, the other holds it to what was agreed on."""

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.channel.messages import ReconciliationChoice
from common.conversation.rehearsal import rehearse
from common.distillation.reconciliation.choice import (
    LEAST_WORKING_QBER,
    MOST_WORKING_QBER,
    QBER_MEMORY_BITS,
    WorkingQber,
    choose,
    follow,
)
from common.errors import RemoteProtocolError
from tests.support.links import tiny_recipe

CASCADE = tiny_recipe("cascade")
OPEN = dataclasses.replace(CASCADE, method="auto")


@given(errors=st.floats(0, 1e12), bits=st.floats(1, 1e12))
def test_whatever_was_seen_the_choice_is_one_that_is_followed(errors, bits):
    ours, theirs, said = rehearse(follow(OPEN), choose(OPEN, WorkingQber(errors, bits).ratio, "ldpc"))

    assert ours == theirs
    assert ours.method == "ldpc"
    assert ours.working_qber == pytest.approx(WorkingQber(errors, bits).ratio, abs=2**-32)
    assert [type(message) for message in said] == [ReconciliationChoice]


def test_the_method_that_the_recipe_names_is_taken_whatever_is_proposed():
    ours, _, _ = rehearse(follow(CASCADE), choose(CASCADE, 0.02, "ldpc"))
    assert ours.method == "cascade"


def following(recipe, method, working_qber):
    half: Any = follow(recipe)
    next(half)
    half.send(ReconciliationChoice(method, working_qber))


UNITS = 1 << 32


@pytest.mark.parametrize(
    ("recipe", "method", "working_qber", "complaint"),
    [
        (CASCADE, 1, UNITS // 50, "not agreed on"),
        (tiny_recipe("ldpc"), 0, UNITS // 50, "not agreed on"),
        (OPEN, 2, UNITS // 50, "not agreed on"),
        (OPEN, 255, UNITS // 50, "not agreed on"),
        (OPEN, 0, 0, "none can be"),
        (OPEN, 0, 1, "none can be"),
        (OPEN, 1, round(LEAST_WORKING_QBER * UNITS) - 1, "none can be"),
        (OPEN, 1, round(MOST_WORKING_QBER * UNITS) + 1, "none can be"),
        (OPEN, 1, UNITS - 1, "none can be"),
    ],
)
def test_a_choice_that_was_not_agreed_on_is_refused(recipe, method, working_qber, complaint):
    with pytest.raises(RemoteProtocolError, match=complaint):
        following(recipe, method, working_qber)


def test_old_counts_weigh_less_where_there_are_many():
    seen = WorkingQber(0.01 * QBER_MEMORY_BITS * 10, QBER_MEMORY_BITS * 10).seen(30_000, 1_000_000)

    assert seen.bits == 2 * QBER_MEMORY_BITS
    assert seen.ratio == pytest.approx(0.02)
    assert WorkingQber.initial(CASCADE).ratio == pytest.approx(CASCADE.initial_qber)
