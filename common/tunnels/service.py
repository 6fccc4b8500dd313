"""Runs the tunnels of a host: ``qkd wireguard run`` and ``qkd strongswan run`` until they are told to stop, with a socket for their status.

Which half an end plays for a peer is chosen here, once: with ``connect`` it orders, without it holds.
"""

from __future__ import annotations

import asyncio
import functools
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import uvloop

from common.errors import ConfigurationError, QkdError
from common.observability.logs import configure_logs, logger
from common.service.admin import AdminServer, Answer
from common.service.exits import exit_status
from common.service.notify import notify
from common.service.startup import check_packages, harden
from common.tunnels.keys import KeyNode
from common.tunnels.line import Credentials, Listener, Peers, ask
from common.tunnels.messages import Question, Reply
from common.tunnels.settings import TunnelSettings
from common.tunnels.upkeep import Holding, Ordering, Tunnel, Upkeep

ENDING_SECONDS = 4.0
"""How long a change that is under way may take to its end when we are told to stop."""


class TunnelService:
    """All tunnels of a host.

    Parameters
    ----------
    settings : TunnelSettings
        The file.
    tunnels : dict[str, Tunnel]
        What carries the tunnel, by peer.

    Raises
    ------
    ConfigurationError
        If the file leaves something open that has to be chosen, or a file it names is missing or wrong.
    """

    def __init__(self, settings: TunnelSettings, tunnels: Mapping[str, Tunnel]) -> None:
        peers = settings.peer
        self._peers = Peers(peers)
        self._credentials = Credentials(settings.application, settings.resolved)
        self._seconds = settings.agreement.answer_seconds
        self._node = KeyNode(settings.application.node, self._credentials.to_node, self._seconds)
        self._ordering = {
            name: Ordering(name, peer, tunnels[name], self._node, functools.partial(self._ask, name, peer.connect))
            for name, peer in peers.items()
            if peer.connect is not None
        }
        self._holding = {name: Holding(name, peer, tunnels[name], self._node) for name, peer in peers.items() if peer.connect is None}
        if self._holding and settings.agreement.bind is None:
            raise ConfigurationError(
                f"agreement.bind has to be given, for {', '.join(self._holding)} order the keys; or give their tables connect"
            )
        bind = settings.agreement.bind if self._holding else None
        self._listener = None if bind is None else Listener(bind, self._credentials.of_peers, self._peers, self._answer)
        self._admin = AdminServer(settings.resolved(settings.admin.socket), {"status": self._status})
        self._log = logger("tunnels")

    async def run(self, stopping: asyncio.Event) -> Exception | None:
        """Run until told to stop.

        Parameters
        ----------
        stopping : asyncio.Event
            Set when it is time.

        Returns
        -------
        Exception | None
            What ended it otherwise.
        """
        every: tuple[Upkeep, ...] = (*self._ordering.values(), *self._holding.values())
        async with self._node:
            try:
                if self._listener is not None:
                    await self._listener.start()
                await self._admin.start()
            except ConfigurationError as refused:
                await self._stop_listening()
                return refused
            watching = [asyncio.create_task(upkeep.watch()) for upkeep in every]
            renewing = [asyncio.create_task(upkeep.renew(stopping)) for upkeep in self._ordering.values()]
            self._log.info("ready", orders_for=list(self._ordering), holds_for=list(self._holding))
            notify("READY=1")
            told = asyncio.create_task(stopping.wait())
            ended, _ = await asyncio.wait({told, *watching, *renewing}, return_when=asyncio.FIRST_COMPLETED)
            stopping.set()
            notify("STOPPING=1")
            failure = next((task.exception() for task in ended if task is not told), None)
            if renewing:
                await asyncio.wait(renewing, timeout=ENDING_SECONDS)
            for task in (*watching, *renewing, told):
                task.cancel()
            await asyncio.gather(*watching, *renewing, told, return_exceptions=True)
            await self._stop_listening()
            for upkeep in every:
                await upkeep.stop()
            await self._admin.stop()
        return failure if isinstance(failure, Exception) else None

    async def _stop_listening(self) -> None:
        if self._listener is not None:
            await self._listener.stop()

    async def _ask(self, name: str, address: str, question: Question) -> Reply:
        return await ask(question, name, address, self._credentials.to_peer, self._peers, self._seconds)

    async def _answer(self, name: str, question: Question) -> Reply | None:
        if (holding := self._holding.get(name)) is None:
            self._log.warning("both ends order keys: leave out connect in the table of one of them", peer=name)
            return None
        return await holding.answer(question)

    async def _status(self, _request: Mapping[str, Any]) -> Answer:
        tunnels = [upkeep.report() for upkeep in (*self._ordering.values(), *self._holding.values())]
        return Answer({"tunnels": tunnels, "refused_connections": 0 if self._listener is None else self._listener.count_refused})


def run_tunnels(settings: TunnelSettings, make: Callable[[], TunnelService]) -> int:
    """Run the tunnels of a host until told to stop.

    Parameters
    ----------
    settings : TunnelSettings
        The file.
    make : callable
        Makes the service once logs are set up.

    Returns
    -------
    int
        0 stopped as asked, 2 configuration, 1 anything else.
    """
    try:
        harden()
        check_packages()
        configure_logs(settings.log.level, settings.log.format)
        failure: Exception | None = uvloop.run(_until_told(make))
    except QkdError as refused:
        failure = refused
    if failure is None:
        logger("tunnels").info("stopped")
        return 0
    sys.stderr.write(f"qkd: {failure}\n")
    return exit_status(failure)


async def _until_told(make: Callable[[], TunnelService]) -> Exception | None:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    return await make().run(stopping)


async def close_all(tunnels: Mapping[str, Tunnel]) -> dict[str, str | None]:
    """Close tunnels by hand.

    Parameters
    ----------
    tunnels : dict[str, Tunnel]
        By peer.

    Returns
    -------
    dict[str, str | None]
        By peer, why it could not be closed, or None.
    """

    async def closed(closing: Awaitable[None]) -> str | None:
        try:
            await closing
        except QkdError as refused:
            return str(refused)
        return None

    return {name: await closed(tunnel.close()) for name, tunnel in tunnels.items()}
