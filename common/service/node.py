"""A node: everything one end of a live link consists of, put together, started in order and stopped in order.

Which end it is comes in from ``alice`` and ``bob``: a party, halves of the conversations, and a source for its side of the quantum channel.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any, ParamSpec, Protocol

from common.channel.authentication import ChannelSecrets, GreetingSeal
from common.channel.codec import Party
from common.conversation.session import SessionState
from common.distillation.link_session import Greeting, LinkSession
from common.distillation.pace import Pace
from common.distillation.playbook import Playbook
from common.distillation.recipe import Recipe
from common.distillation.reporting import failed_monitors
from common.distillation.steps import StepReport
from common.distillation.values import BlockOutcome
from common.errors import AuthenticationError, KeyStoreError
from common.kernels.loading import load_kernels
from common.kernels.polynomial_hash import compile_hash
from common.keystore.interface import KeyStore, Levels
from common.observability.audit import AuditTrail
from common.observability.logs import SparingLogger, logger
from common.profiles.link import LinkProfile
from common.service.admin import AdminServer
from common.service.commands import NodeCommands
from common.service.counters import LagCounter, LinkCounters
from common.service.credentials import read_channel_keys, read_secrets
from common.service.driver import SessionDriver, SessionEnd
from common.service.greetings import GreetingDesk
from common.service.history import LinkHistory
from common.service.notify import notify, tell_of_life
from common.service.pads import pad_id
from common.service.reserve import ReserveWatch
from common.service.room import DiskRoom
from common.service.settings import NodeSettings
from common.service.startup import check_folder, read_link, settle_memory, version
from common.service.store import open_store
from common.service.supervisor import Supervisor
from common.service.transport import Transport
from common.service.workers import Workers

P = ParamSpec("P")

LAG_SAMPLE_SECONDS = 0.05
"""How often the lag of the event loop is measured."""

HOUSEKEEPING_SECONDS = 5.0
"""How often the store is asked for its levels, and old key is destroyed."""

STOP_SECONDS = 2.0
"""How long each part may take to stop; all of them together stay below five."""


class Source(Protocol):
    """A node's half of the quantum channel: recorded, emulated or live."""

    async def start(self) -> None:
        """Begin to read; return at once."""

    async def wait_ready(self) -> None:
        """Wait until a session can be opened on it."""

    def open(self, pace: Pace) -> Playbook:
        """Return the halves of a new session at a ``pace``, played on what comes from now on."""

    def abandon(self) -> None:
        """Let computations of the session that has ended fail at once, where they wait for the stream."""

    def statistics(self) -> dict[str, Any]:
        """Say what came in, and what was measured on it."""

    async def close(self) -> None:
        """Stop reading; computations that wait for the stream fail at once."""


class Application(Protocol):
    """What a node runs beside its link, such as key delivery; the mains bring it."""

    async def start(self) -> None:
        """Begin; the store is open and the channel listens."""

    async def stop(self) -> None:
        """End."""

    async def reload(self) -> None:
        """Read files again that may have changed."""

    def note_block(self, outcome: BlockOutcome) -> None:
        """A block has ended."""

    def note_step(self, step: StepReport) -> None:
        """A step of a block was told of."""

    def report(self) -> dict[str, Any]:
        """Say for the status how it does."""


@dataclass(frozen=True, slots=True)
class NodeKind:
    """What makes a node the one or the other end.

    Attributes
    ----------
    name : str
        Of its service, for people: ``qkd-alice``.
    party : Party
        Which end it is.
    package : module
        Its package, checked to be ours.
    settings : type[NodeSettings]
        What its configuration has to hold.
    greeting : Greeting
        Its half of the greeting.
    open_source : callable
        Makes its source.
    applications : Mapping[str, callable]
        Make what it runs beside its link, by the names under which the status reports it; None for what is not configured.
    """

    name: str
    party: Party
    package: ModuleType
    settings: type[NodeSettings]
    greeting: Greeting
    open_source: Callable[[NodeSettings, LinkProfile, Recipe], Source]
    applications: Mapping[str, Callable[[Node], Application | None]] = dataclasses.field(default_factory=dict)


class Node:
    """One end of a live link.

    Parameters
    ----------
    kind : NodeKind
        Which end.
    settings : NodeSettings
        Its configuration.

    Raises
    ------
    ConfigurationError
        If anything it needs is missing or wrong; nothing has been started then.
    """

    def __init__(self, kind: NodeKind, settings: NodeSettings) -> None:
        self.kind = kind
        self.settings = settings
        self.profile, recipe = read_link(settings)
        self.secrets: ChannelSecrets = read_secrets(settings.resolved(settings.channel.secret))
        check_folder(settings.resolved(settings.node.state), "node.state")
        check_folder(settings.resolved(settings.node.runtime), "node.runtime")
        keys = read_channel_keys(settings.resolved(settings.channel.key), settings.resolved(settings.channel.peer_key))
        self.pad_id = pad_id(keys)
        self.audit = AuditTrail(settings.resolved(settings.node.state) / "audit.jsonl")
        self.room = DiskRoom(settings.resolved(settings.node.state))
        self._log = SparingLogger("node")
        self.workers = Workers()
        self.transport = Transport(settings.channel, keys)
        self.desk = GreetingDesk(GreetingSeal(self.secrets), kind.party)
        self.counters = LinkCounters(self.profile.source.clock_hz)
        self.history = LinkHistory()
        self.lag = LagCounter()
        self.began = time.monotonic()
        self.last_failure: dict[str, Any] | None = None
        self.count_tags_refused = 0
        self.session: LinkSession | None = None
        self.levels: Levels | None = None
        self.supervisor = Supervisor(
            self._open_session, self._before_session, self._after_session, self.desk, knock=self.transport.wait_greeting
        )
        self._store: KeyStore | None = None
        self.stopping = asyncio.Event()
        self.pace = Pace()
        self._driver: SessionDriver | None = None
        self._only_meets = False
        self._count_refused_before = 0
        self._reserve = ReserveWatch(self.secrets, settings.resolved(settings.channel.renewal))
        self.recipe = dataclasses.replace(recipe, digest=hashlib.sha256(recipe.digest + settings.store.rule.digest).digest())
        self.source = kind.open_source(settings, self.profile, self.recipe)
        made = {name: make(self) for name, make in kind.applications.items()}
        self.applications = {name: application for name, application in made.items() if application is not None}
        self.commands = NodeCommands(self)
        self.admin = AdminServer(settings.resolved(settings.admin.socket), self.commands.handlers)

    @property
    def store(self) -> KeyStore:
        """The key store; to be touched only in the writer's thread.

        Raises
        ------
        KeyStoreError
            If it is not open.
        """
        if self._store is None:
            raise KeyStoreError("the key store is not open")
        return self._store

    @property
    def count_refused(self) -> int:
        """Messages of all sessions whose code was wrong."""
        return self._count_refused_before + (self.session.count_refused if self.session else 0)

    async def run(self, stopping: asyncio.Event) -> Exception | None:
        """Run until asked to stop.

        Parameters
        ----------
        stopping : asyncio.Event
            Set by a signal or the admin socket.

        Returns
        -------
        Exception | None
            Why the start was a bad one, or None.

        Raises
        ------
        ConfigurationError
            If an address, the store or a socket cannot be opened; what was opened is closed again.
        """
        helpers: list[asyncio.Task[None]] = []
        try:
            loaded, missing = await self.workers.compute(load_kernels)
            await self.workers.compute(compile_hash)
            self._store = await self.workers.write(open_store, self.settings, self.kind.party, self.secrets)
            await self.transport.start()
            await self.admin.start()
            await self.source.start()
            for application in self.applications.values():
                await application.start()
            self.stopping = stopping
            running = (tell_of_life(), self._measure_lag(), self._keep_house(), self._stop_on(stopping))
            helpers = [asyncio.create_task(task) for task in running]
            settle_memory()
            await self._audit("service started", node=self.kind.name, link=self.profile.name)
            logger("node").info(
                "ready",
                node=self.kind.name,
                link=self.profile.name,
                version=version(),
                folder=str(self.settings.folder),
                kernels_loaded=loaded,
                kernels_to_compile=missing,
            )
            notify("READY=1")
            bad = await self.supervisor.run()
            if bad is not None:
                await self._audit("bad start", error=str(bad))
            return bad
        finally:
            notify("STOPPING=1")
            for task in helpers:
                task.cancel()
            await asyncio.gather(*helpers, return_exceptions=True)
            await self._stop_parts()

    async def _stop_on(self, stopping: asyncio.Event) -> None:
        await stopping.wait()
        logger("node").info("stopping")
        self.supervisor.stop()

    async def _stop_parts(self) -> None:
        """Stop everything, the store last of what matters; nothing may take longer than its share."""
        stops = (application.stop for application in self.applications.values())
        for stop in (*stops, self.source.close, self.admin.stop, self.transport.stop):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop(), STOP_SECONDS)
        if self._store is not None:
            with contextlib.suppress(TimeoutError, KeyStoreError):
                await self._audit("service stopped", node=self.kind.name)
                await asyncio.wait_for(self.workers.write(self._store.close), STOP_SECONDS)
        self.audit.close()
        self.workers.stop()

    async def _audit(self, event: str, **fields: Any) -> None:
        await self.workers.write(self.audit.record, event, **fields)

    async def reload(self) -> None:
        """Have everything that runs beside the link read its files again."""
        for application in self.applications.values():
            await application.reload()
        await self._audit("files read again")

    def _note(self, event: str, **fields: Any) -> None:
        """Audit what has happened already, without waiting for it."""
        self.workers.write(self.audit.record, event, **fields).add_done_callback(self._complain)

    def write_soon(self, function: Callable[P, None], *arguments: P.args, **named: P.kwargs) -> None:
        """Call a function in the store's thread without waiting for it.

        Parameters
        ----------
        function : callable
            What is called.
        arguments, named : object
            With what.
        """
        self.workers.write(function, *arguments, **named).add_done_callback(self._complain)

    def _complain(self, noted: asyncio.Future[None]) -> None:
        if not noted.cancelled() and (error := noted.exception()) is not None:
            self._log.warning("not written", error=error)

    async def _before_session(self) -> None:
        """Wait until a session makes sense."""
        await self._wait_for_room()
        if self.settings.channel.connect is not None:  # who connects speaks first, and has nobody to speak to before
            await self.transport.wait_present()
        await self.source.wait_ready()
        while await self.workers.write(self.room.is_short):  # noqa: ASYNC110 - a disk tells nobody
            await asyncio.sleep(HOUSEKEEPING_SECONDS)
        await self._take_in_masks()

    async def _wait_for_room(self) -> None:
        """Wait while the store is full, unless the peer was started anew: until both have met again, neither may hand out key."""
        gone = asyncio.create_task(self.transport.wait_absent())
        is_asked = is_said = False
        try:
            while (levels := await self.read_levels()).full and levels.met and not levels.doubted and not is_asked:
                if not is_said:
                    logger("node").info("key store full: distillation waits")
                is_said = True
                await asyncio.sleep(HOUSEKEEPING_SECONDS)
                is_asked = gone.done() or self.transport.is_greeted
            self._only_meets = levels.full and not levels.doubted
        finally:
            gone.cancel()

    async def _open_session(self) -> SessionDriver:
        self._count_refused_before = self.count_refused
        self.pace = Pace(charges_answers=self.recipe.leakage_rule == "both halves")
        playbook = self.source.open(self.pace)
        self.session = LinkSession(
            self.kind.party, self.secrets, self.recipe, self.kind.greeting, playbook, masks=self.store, pace=self.pace
        )
        self._driver = SessionDriver(
            self.session,
            self.transport,
            self.store,
            self.workers,
            self.desk,
            self.settings.channel.receive_seconds,
            self._after_step,
            self._watch,
            self.source.abandon,
        )
        return self._driver

    def _watch(self, told: object) -> None:
        """Take in what a conversation tells of how far it has come."""
        self.history.watch(told)
        if isinstance(told, StepReport):
            for application in self.applications.values():
                application.note_step(told)

    def _after_step(self) -> None:
        """Take the blocks that have ended out of the session: it would keep them for ever."""
        if self._only_meets and self.session is not None and self.session.state is SessionState.DISTILLING and self._driver is not None:
            self._driver.stop()
        self.pace.round_trip_seconds = self.transport.round_trip_seconds or 0.0
        if self.session is None or not self.session.outcomes:
            return
        ended = self.session.outcomes[:]
        self.session.outcomes.clear()
        for outcome in ended:
            before = self.counters.monitor_alarm
            self.counters.add(outcome)
            self.history.add_block(outcome)
            reason = outcome.reason.label if outcome.reason else None
            self._note_monitors(outcome, before)
            logger("node").info("block ended", block=outcome.number, secret_bits=outcome.secret_bits, reason=reason)
            for application in self.applications.values():
                application.note_block(outcome)
            if outcome.secret_bits:
                self._note("key committed", block=outcome.number, secret_bits=outcome.secret_bits)
        self.pace.sifted_bits_per_second = self.counters.rates()["sifted_bits_per_second"] or 0.0
        if self.levels is not None and self.levels.full and self._driver is not None:
            self._driver.stop()

    def _note_monitors(self, outcome: BlockOutcome, before: str | None) -> None:
        """Log that a monitor stops the key, or that it is over: each once, not for every block."""
        alarm = self.counters.monitor_alarm
        if alarm == before:
            return
        if alarm is not None:
            readings = failed_monitors(outcome) or "seen by the peer"
            logger("node").error("monitor out of range", block=outcome.number, reason=alarm, readings=readings)
            self._note("monitor out of range", block=outcome.number, reason=alarm, readings=readings)
        else:
            logger("node").info("monitors back in range", block=outcome.number, reason=before)
            self._note("monitors back in range", block=outcome.number, reason=before)

    def _after_session(self, end: SessionEnd) -> None:
        error = end.error
        if error is None:
            return
        self.last_failure = {"error": str(error), "error_class": type(error).__name__, "at": round(time.time(), 3)}
        if isinstance(error, AuthenticationError) and end.was_greeted:
            self.count_tags_refused += 1
            logger("node").error(
                "transcript tag refused", refused=self.count_tags_refused, advice="somebody holds our message keys: renew them"
            )
        self._note("session failed", error=str(error), error_class=type(error).__name__)

    async def read_levels(self) -> Levels:
        """Ask the store how full it is."""
        self.levels = await self.workers.write(self.store.levels)
        self._reserve.note(self.levels)
        return self.levels

    async def _take_in_masks(self) -> bool:
        """Look for masks that a person has renewed; say whether there were any."""
        renewed = await self.workers.write(self._reserve.take_in, self.store)
        if renewed:
            await self._audit("masks renewed", first=(await self.read_levels()).mask_cursor)
        return renewed

    async def _keep_house(self) -> None:
        while True:
            try:
                expired = await self.workers.write(self.store.expire)
                if expired:
                    await self._audit("key expired", bits=expired)
                await self.read_levels()
                renewed, is_short = await self._take_in_masks(), await self.workers.write(self.room.is_short)
                if (renewed or is_short) and self._driver is not None:
                    self._driver.stop()  # both ends come to know of new masks in the greeting of the next session
            except KeyStoreError as error:
                logger("node").error("key store", error=error)
            await asyncio.sleep(HOUSEKEEPING_SECONDS)

    async def _measure_lag(self) -> None:
        """Measure how late the loop is."""
        while True:
            before = time.monotonic()
            await asyncio.sleep(LAG_SAMPLE_SECONDS)
            self.lag.add(time.monotonic() - before - LAG_SAMPLE_SECONDS)
