"""What a node remembers of its link."""

import json
from typing import Any

from common.distillation.steps import StepReport
from common.distillation.values import BlockOutcome
from common.errors import AbortReason
from common.service.history import MOST_BLOCKS, MOST_ENTRIES, LinkHistory


def ended(number):
    return BlockOutcome(number, 0, AbortReason.NO_CLICKS, None, None)


def test_blocks_are_read_on_from_where_one_was():
    history = LinkHistory()
    for number in range(1, 6):
        history.add_block(ended(number))

    assert [block["number"] for block in history.blocks(0)] == [1, 2, 3, 4, 5]
    assert [block["number"] for block in history.blocks(3)] == [4, 5]
    assert history.blocks(5) == history.blocks(99) == []
    assert json.loads(json.dumps(history.blocks(0)))[0]["entry"] == 1


def test_an_answer_is_bounded_and_only_the_newest_are_kept():
    history = LinkHistory()
    for number in range(1, MOST_BLOCKS + 11):
        history.add_block(ended(number))

    known: list[dict[str, Any]] = []
    while new := history.blocks(known[-1]["entry"] if known else 0):
        assert len(new) <= MOST_ENTRIES
        known += new
    assert [block["number"] for block in known] == list(range(11, MOST_BLOCKS + 11))


def test_steps_are_remembered_and_anything_else_is_left_alone():
    history = LinkHistory()
    history.watch("whatever")
    history.watch(StepReport(1, 0, 2, 3, 0, (1, 0), (0, 1), (0, 0)))

    (step,) = history.steps(0)
    assert (step["entry"], step["block"], step["frames"]) == (1, 1, 2)
