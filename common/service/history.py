"""What a node remembers of the blocks and steps that its sessions told of: the newest ones, as dictionaries ready for JSON.

Comes from the session's outcomes and from what its conversations tell; the admin commands ``blocks`` and ``steps`` read it on.
"""

from __future__ import annotations

import json
from collections import deque
from typing import Any

from common.distillation.reconciliation.choice import Choice
from common.distillation.reporting import block_report, step_report
from common.distillation.steps import StepReport
from common.distillation.values import BlockOutcome

MOST_BLOCKS = 512
"""Blocks remembered."""

MOST_STEPS = 4096
"""Reports of steps remembered."""

MOST_ENTRIES = 128
"""Entries in one answer."""


class _Entries:
    """The newest reports, kept as text: a fifth of the memory that the dictionaries would take."""

    def __init__(self, most: int) -> None:
        self._texts: deque[str] = deque(maxlen=most)
        self._count = 0

    def add(self, report: dict[str, Any]) -> None:
        self._count += 1
        self._texts.append(json.dumps({"entry": self._count, **report}))

    def newest(self, most: int) -> list[dict[str, Any]]:
        return [json.loads(self._texts[index]) for index in range(max(0, len(self._texts) - most), len(self._texts))]

    def behind(self, after: int, most: int) -> list[dict[str, Any]]:
        first = max(0, after - (self._count - len(self._texts)))
        return [json.loads(self._texts[index]) for index in range(first, min(first + min(most, MOST_ENTRIES), len(self._texts)))]


class LinkHistory:
    """The newest blocks and steps, each under a running number."""

    def __init__(self) -> None:
        self._blocks = _Entries(MOST_BLOCKS)
        self._steps = _Entries(MOST_STEPS)
        self.choice: Choice | None = None
        """How the latest batch was reconciled."""

    def add_block(self, outcome: BlockOutcome) -> None:
        """Remember a block that has ended."""
        self._blocks.add(block_report(outcome))

    def watch(self, told: object) -> None:
        """Remember what a conversation ``told``, if it is a step or a choice of method."""
        if isinstance(told, StepReport):
            self._steps.add(step_report(told))
        elif isinstance(told, Choice):
            self.choice = told

    def blocks(self, after: int, most: int = MOST_ENTRIES) -> list[dict[str, Any]]:
        """Return the oldest remembered blocks behind an entry.

        Parameters
        ----------
        after : int
            Number of the last entry that is known already; 0 for none.
        most : int
            Entries at most.

        Returns
        -------
        list[dict]
            As ``block_report`` describes them, with the number of their entry.
        """
        return self._blocks.behind(after, most)

    def newest_blocks(self, most: int) -> list[dict[str, Any]]:
        """Return the newest blocks.

        Parameters
        ----------
        most : int
            How many at most.

        Returns
        -------
        list[dict]
            Oldest first, as ``blocks`` returns them.
        """
        return self._blocks.newest(most)

    def steps(self, after: int, most: int = MOST_ENTRIES) -> list[dict[str, Any]]:
        """Return the oldest remembered reports of steps behind an entry; a later report of the same step takes the place of an earlier one.

        Parameters
        ----------
        after : int
            Number of the last entry that is known already; 0 for none.
        most : int
            Entries at most.

        Returns
        -------
        list[dict]
            As ``step_report`` describes them, with the number of their entry.
        """
        return self._steps.behind(after, most)
