"""Watches a live link from outside, over the admin sockets of both nodes, until there is key enough or there never will be.

What the nodes say is all that is known here: status, blocks, steps. ``demonstration`` makes pictures and a report of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from common.cli.link_series import Watched, latest_steps
from common.cli.processes import LinkProcesses
from common.cli.progress import Moment
from common.cli.report import Findings, qber_by_basis
from common.errors import AbortReason, TransportError
from common.profiles.link import LinkProfile
from common.security.entropy import saturated_entropy
from common.service.admin_client import AdminClient

LOOK_SECONDS = 0.2
"""How often the nodes are asked."""

READY_SECONDS = 120.0
"""How long the nodes may take to answer: seconds, unless a machine is very busy."""

STILL_SECONDS = 180.0
"""A link that has not moved for so long has failed."""

MATCHING_SECONDS = 60.0
"""If slots are not matched after so long of searching, they will not be: a link that gives key takes seconds."""

SETTLE_SECONDS = 10.0
"""How long the two stores may take to agree once no more light comes."""

END_SECONDS = 60.0
"""How long the last block may take once the stream has ended, if nothing else moves."""


class Verdict(Enum):
    """Why the link was stopped."""

    COVERED = "covered"
    HOPELESS = "hopeless"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Goal:
    """When there is enough.

    Attributes
    ----------
    secret_bits : int
        Secret bits in all.
    pool, pool_bits : str, int
        And so many of them in this pool of both stores.
    to_the_end : bool
        Whether the link goes on all the same until its stream ends.
    """

    secret_bits: int
    pool: str
    pool_bits: int
    to_the_end: bool = False


@dataclass(slots=True)
class NodeView:
    """What one node has said so far.

    Attributes
    ----------
    config : Path
        Its configuration.
    status : dict
        Its latest status; empty before the first.
    blocks, steps : list[dict]
        All it told of.
    """

    config: Path
    status: dict[str, Any] = field(default_factory=dict)
    blocks: list[dict[str, Any]] = field(default_factory=list)
    steps: list[dict[str, Any]] = field(default_factory=list)
    _client: AdminClient | None = None

    def look(self) -> None:
        """Ask for everything new.

        Raises
        ------
        TransportError
            If the node does not answer.
        """
        self._client = self._client or AdminClient.of(self.config)
        self.status = self._client.ask("status")
        for name, known in (("blocks", self.blocks), ("steps", self.steps)):
            while new := self._client.ask(name, after=known[-1]["entry"] if known else 0)[name]:
                known.extend(new)

    @property
    def secret_bits(self) -> int:
        """Secret bits of all blocks."""
        return sum(block["secret_bits"] for block in self.blocks)

    def pool_bits(self, pool: str) -> int:
        """Return the level of a ``pool``."""
        return int(self.status["store"]["pools"].get(pool, 0))

    @property
    def has_closed_last_block(self) -> bool:
        """Whether the block that ended the stream has been closed."""
        return any(block["ends_stream"] for block in self.blocks)

    def close(self) -> None:
        """Hang up."""
        if self._client is not None:
            self._client.__exit__(None, None, None)
            self._client = None


class LiveRun:
    """A link that runs.

    Parameters
    ----------
    profile : LinkProfile
        The link.
    processes : LinkProcesses
        Started.
    goal : Goal
        When there is enough.
    show : callable
        Told how far the link has come, a few times a second.
    """

    def __init__(self, profile: LinkProfile, processes: LinkProcesses, goal: Goal, show: Callable[[Moment], None]) -> None:
        self.views = {name: NodeView(processes.config(name)) for name in ("alice", "bob")}
        self.ready_seconds = 0.0
        self.watched = Watched()
        self._profile = profile
        self._processes = processes
        self._goal = goal
        self._show = show
        self._ended_at: float | None = None
        self._is_unmatched = False

    def wait_ready(self) -> None:
        """Wait until both nodes answer.

        Raises
        ------
        QkdError
            If a process ends, or no answer comes.
        """
        began = time.monotonic()
        for view in self.views.values():
            while True:
                self._processes.check()
                try:
                    view.look()
                    break
                except TransportError:
                    if time.monotonic() - began > READY_SECONDS:
                        raise
                    time.sleep(LOOK_SECONDS / 4)
        self.ready_seconds = time.monotonic() - began

    def run(self) -> Verdict:
        """Watch until it is decided.

        Returns
        -------
        Verdict
            Why.

        Raises
        ------
        QkdError
            If a process ends; ``TransportError`` if the link stands still.
        """
        moved_at, moved = time.monotonic(), self._moved()
        while True:
            self.look()
            moment = self.moment()
            self.watched.add(moment.link_seconds, self.views["bob"].status)
            self._show(moment)
            verdict = self._verdict()
            if verdict is not None:
                return verdict
            if moved != self._moved():
                moved_at, moved = time.monotonic(), self._moved()
            elif self._state() == "synchronising" and time.monotonic() - moved_at > MATCHING_SECONDS:
                self._is_unmatched = True
                return Verdict.ENDED
            elif time.monotonic() - moved_at > STILL_SECONDS:
                raise TransportError(f"the link has not moved for {STILL_SECONDS:.0f} s{self._last_failures()}")
            time.sleep(LOOK_SECONDS)

    def look(self) -> None:
        """Ask both nodes.

        Raises
        ------
        QkdError
            If a process has ended, or a node does not answer.
        """
        self._processes.check()
        try:
            for view in self.views.values():
                view.look()
        except TransportError:
            time.sleep(LOOK_SECONDS)
            self._processes.check()  # most likely it has died, and this says which
            raise

    def settle(self) -> bool:
        """Wait until both stores hold the same, once no more light comes; return whether they do."""
        until = time.monotonic() + SETTLE_SECONDS
        while True:
            self.look()
            if self.agree() or time.monotonic() > until:
                return self.agree()
            time.sleep(LOOK_SECONDS)

    def agree(self) -> bool:
        """Say whether both stores hold the same, by pool, and both ends report the same key lengths."""
        levels = [view.status["store"]["pools"] for view in self.views.values()]
        lengths = [{block["number"]: block["secret_bits"] for block in view.blocks if block["secret_bits"]} for view in self.views.values()]
        return levels[0] == levels[1] and lengths[0] == lengths[1]

    def findings(self) -> Findings:
        """Say what a report needs to know beside the blocks.

        Returns
        -------
        Findings
            Bob's clock and gate, where Alice's settings came from, and what failed where no block ended.
        """
        stream = {name: view.status["stream"] for name, view in self.views.items()}
        failures = {name: view.status["session"]["last_failure"]["error"] for name, view in self._failed().items()}
        if self._is_unmatched:
            failures["link"] = f"slots not matched after {MATCHING_SECONDS:.0f} s of searching: too few clicks are photons"
        return Findings(
            clock=stream["bob"].get("clock"),
            gate=stream["bob"].get("gate"),
            settings_randomness=stream["alice"].get("settings_randomness", "recorded"),
            failures=failures if not any(view.blocks for view in self.views.values()) else {},
            reasons_before=(AbortReason.CLOCK_NOT_FOUND.label,) if self._is_unmatched else (),
        )

    def moment(self) -> Moment:
        """Say how far the link has come.

        Returns
        -------
        Moment
            From the steps that both ends told of.
        """
        steps = latest_steps(*(view.steps for view in self.views.values()))
        frame_s = self._profile.security.frame_pulses / self._profile.source.clock_hz
        qber: dict[str, float | None] = {}
        for index, name in enumerate(("Z", "X")):
            bits = sum(step["tested"][index] + step["compared"][index] for step in steps)
            errors = sum(step["errors"][index] + step["corrected"][index] for step in steps)
            qber[name] = errors / bits if bits else None
        return Moment(
            link_seconds=frame_s * sum(step["frames"] for step in steps),
            sifted_bits=sum(sum((*step["key"], *step["tested"])) for step in steps),
            qber=qber,
            secret_bits=min(view.secret_bits for view in self.views.values()),
            blocks=min(len(view.blocks) for view in self.views.values()),
            state=self._state(),
        )

    def close(self) -> None:
        """Hang up."""
        for view in self.views.values():
            view.close()

    def _verdict(self) -> Verdict | None:
        views, goal = self.views.values(), self._goal
        is_covered = all(view.secret_bits >= goal.secret_bits and view.pool_bits(goal.pool) >= goal.pool_bits for view in views)
        if goal.to_the_end:
            return None if not self._is_over() else Verdict.COVERED if is_covered else Verdict.ENDED
        if is_covered:
            return Verdict.COVERED
        if is_hopeless(self.views["bob"].blocks):
            return Verdict.HOPELESS
        return Verdict.ENDED if self._is_over() else None

    def _is_over(self) -> bool:
        """Whether the stream has ended and nothing more will come of it."""
        if all(view.has_closed_last_block for view in self.views.values()):
            return True
        if not self.views["bob"].status["stream"].get("has_ended"):
            return False
        self._ended_at = self._ended_at or time.time()
        waited = time.time() - self._ended_at
        has_failed = any(view.status["session"]["last_failure"]["at"] > self._ended_at for view in self._failed().values())
        return has_failed or waited > END_SECONDS

    def _failed(self) -> dict[str, NodeView]:
        return {name: view for name, view in self.views.items() if view.status["session"]["last_failure"]}

    def _last_failures(self) -> str:
        return "".join(f"; {name}: {view.status['session']['last_failure']['error']}" for name, view in self._failed().items())

    def _state(self) -> str:
        return str(self.views["bob"].status["session"]["state"])

    def _moved(self) -> tuple[object, ...]:
        return tuple((len(view.steps), len(view.blocks), str(view.status.get("stream"))) for view in self.views.values())


def is_hopeless(blocks: list[dict[str, Any]]) -> bool:
    """Say whether no run of any length would give key: at the QBER of ``blocks`` even an endless block of single photons gives none."""
    if not blocks or any(block["secret_bits"] for block in blocks):
        return False
    ratios = [ratio for ratio in qber_by_basis(blocks).values() if ratio is not None]
    return bool(ratios) and sum(saturated_entropy(ratio) for ratio in ratios) / len(ratios) >= 1.0 / 2.0
