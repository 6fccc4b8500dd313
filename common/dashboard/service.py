"""Looks at a node every few seconds, raises and clears its alarms, remembers what is drawn, and serves what was seen last.

Whatever is asked for over HTTP is written from one report of the node, which is made anew once a second at most: however often somebody
asks, the key store is not asked more often.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from common.dashboard.page import SHOWN_BLOCKS, Seen, trend_values
from common.dashboard.trend import Trend
from common.dashboard.web import Web
from common.distillation.steps import StepReport
from common.distillation.values import BlockOutcome
from common.errors import ConfigurationError, QkdError
from common.observability.alarms import AlarmBoard
from common.observability.logs import SparingLogger, logger
from common.observability.metrics import Status, measured
from common.planning.link_model import link_model
from common.profiles.link import LinkProfile
from common.service.node import Node
from common.service.settings import DashboardSection

LOOK_SECONDS = 5.0
"""How often alarms are looked at."""

FRESH_SECONDS = 1.0
"""How long a report answers requests."""

ALIVE_SECONDS = 5.0
"""How long a report may take of a node that counts as alive."""


class Dashboard:
    """Shows a node.

    Parameters
    ----------
    node : Node
        Which.
    settings : DashboardSection
        Where.
    """

    def __init__(self, node: Node, settings: DashboardSection) -> None:
        self._node = node
        self._settings = settings
        self._board = AlarmBoard()
        self._trend = Trend()
        self._planned_qber: dict[str, float] = {}
        self._seen: Status = {}
        self._seen_at = -FRESH_SECONDS
        self._looking = asyncio.Lock()
        host, _, port = settings.bind.rpartition(":")
        self._web = Web(host.strip("[]"), int(port), self, settings.names)
        self._watcher: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen.

        Raises
        ------
        ConfigurationError
            If the address cannot be had.
        """
        self._planned_qber = await self._node.workers.compute(planned_qber, self._node.profile)
        try:
            await self._web.start()
        except OSError as refused:
            raise ConfigurationError(
                f"dashboard.bind {self._settings.bind}: {refused.strerror}; choose another address or stop what uses it"
            ) from None
        self._watcher = asyncio.create_task(self._watch())
        logger("dashboard").info("metrics and health are served", address=self._settings.bind)

    async def stop(self) -> None:
        """Serve nobody any more."""
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.gather(self._watcher, return_exceptions=True)
        await self._web.stop()

    async def reload(self) -> None:
        """Nothing here comes from files that change."""

    def note_step(self, step: StepReport) -> None:
        """Leave a ``step`` alone: the node's history has it."""

    def note_block(self, outcome: BlockOutcome) -> None:
        """Leave a block, ``outcome``, alone: the node's history has it."""

    def report(self) -> dict[str, Any]:
        """Say for the status what is raised, and what the link should give."""
        alarms = [{"name": alarm.name, "severity": alarm.severity, "meaning": alarm.meaning} for alarm in self._board.raised()]
        return {"address": self._settings.bind, "alarms": alarms, "planned_qber": self._planned_qber}

    async def status(self) -> Status:
        """Return a report of the node that is at most ``FRESH_SECONDS`` old.

        Raises
        ------
        QkdError
            If the store cannot be asked.
        """
        async with self._looking:
            if time.monotonic() - self._seen_at > FRESH_SECONDS:
                self._seen = await self._node.commands.report()
                self._seen_at = time.monotonic()
        return self._seen

    async def trouble(self) -> list[str]:
        """Return why the node counts as dead, in words; nothing where it is alive."""
        try:
            async with asyncio.timeout(ALIVE_SECONDS):
                await self.status()
        except TimeoutError:
            return [f"the key store gives no answer for {ALIVE_SECONDS:g} s"]
        except QkdError as failed:
            return [f"the key store fails: {failed}"]
        return []

    async def obstacles(self) -> list[str]:
        """Return why the node makes no key at present, in words; nothing where it does, or has as much as it may keep."""
        if trouble := await self.trouble():
            return trouble
        session, critical = self._seen["session"], [alarm for alarm in self._board.raised() if alarm.severity == "critical"]
        reasons = [] if session["peer_present"] else ["the other node gives no sign of life"]
        if session["state"] != "distilling" and not self._seen["store"]["full"]:
            reasons.append(f"no key is distilled: session {session['state']}")
        return reasons + [f"{alarm.name}: {alarm.meaning}" for alarm in critical]

    async def seen(self) -> Seen:
        """Return all that the page shows."""
        status, blocks = await self.status(), self._node.history.newest_blocks(SHOWN_BLOCKS)
        return Seen(status, blocks, self._board.raised(), self._trend, time.monotonic())

    async def _watch(self) -> None:
        log, sparing = logger("alarms"), SparingLogger("alarms")
        while True:
            try:
                status, now = await self.status(), time.monotonic()
                self._trend.add(now, trend_values(status))
                changes = self._board.look(now, measured(status))
            except QkdError as failed:
                sparing.warning("node cannot be looked at", error=failed)
                changes = []
            for change in changes:
                said = {"alarm": change.alarm.name, "severity": change.alarm.severity, "meaning": change.alarm.meaning}
                if change.is_raised:
                    log.warning("alarm raised", **said, advice=change.alarm.advice)
                else:
                    log.info("alarm cleared", **said)
            await asyncio.sleep(LOOK_SECONDS)


def planned_qber(profile: LinkProfile) -> dict[str, float]:
    """Return the error rate that a link should have.

    Parameters
    ----------
    profile : LinkProfile
        The link.

    Returns
    -------
    dict[str, float]
        By basis; a basis without key bits or tested ones is missing.
    """
    model = link_model(profile)
    return {name: basis.qber for name, basis in (("Z", model.z), ("X", model.x)) if basis.qber > 0.0}
