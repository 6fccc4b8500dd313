"""The HTTP side: the page, ``/metrics`` for Prometheus, ``/healthz`` and ``/readyz`` for whoever restarts or routes.

GET only; nothing is kept of who asks. On loopback it answers by the names of this machine alone: a page from elsewhere, open in a browser
here, could else have its own name turned to this address and read what the node shows.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import re
from collections.abc import Sequence
from importlib import resources
from typing import Protocol

from aiohttp import web
from aiohttp.typedefs import Handler

from common.dashboard.connection import HEADERS, Connection
from common.dashboard.page import Seen, content, page
from common.dashboard.trend import SPANS
from common.errors import QkdError
from common.observability.metrics import CONTENT_TYPE, Status, exposition

FILES = {"page.css": "text/css", "page.js": "text/javascript", "icon.svg": "image/svg+xml"}
"""What lies in ``static``."""

STOP_SECONDS = 1.0
"""How long requests under way may take once we stop."""

_PORT = re.compile(r":[0-9]*$")

_OTHER_NAME = "this node goes by another name: see dashboard.names"


class Shown(Protocol):
    """What is shown of a node."""

    async def status(self) -> Status:
        """Return its latest report."""

    async def trouble(self) -> list[str]:
        """Return why it counts as dead."""

    async def obstacles(self) -> list[str]:
        """Return why it makes no key."""

    async def seen(self) -> Seen:
        """Return all that the page shows."""


class Web:
    """Serves it.

    Parameters
    ----------
    host, port : str, int
        Where.
    shown : Shown
        What.
    names : sequence of str
        Under which it is reached beside those of this machine; where it is for others as well, any unless some are given.
    """

    def __init__(self, host: str, port: int, shown: Shown, names: Sequence[str] = ()) -> None:
        self.port = port
        self._host = host
        self._shown = shown
        self._names = {name.lower() for name in names} if names or _is_loopback(host) else None
        self._runner: web.AppRunner | None = None
        self._listening: asyncio.Server | None = None
        self._opened: dict[Connection, None] = {}

    @property
    def count_open(self) -> int:
        """Connections at present."""
        return len(self._opened)

    async def start(self) -> None:
        """Listen.

        Raises
        ------
        OSError
            If the address cannot be had.
        """
        application = web.Application(middlewares=[self._guarded])
        application.router.add_get("/", self._page)
        application.router.add_get("/content", self._content)
        application.router.add_get("/metrics", self._metrics)
        application.router.add_get("/healthz", self._healthz)
        application.router.add_get("/readyz", self._readyz)
        for name, kind in FILES.items():
            application.router.add_get(f"/{name}", _file(name, kind))
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=STOP_SECONDS)
        await self._runner.setup()
        server, loop = self._runner.server, asyncio.get_running_loop()
        if server is None:
            raise RuntimeError("the runner was set up and has no server")
        self._listening = await loop.create_server(lambda: Connection(server, self._opened, loop=loop), self._host, self.port)

    async def stop(self) -> None:
        """Listen no more."""
        if self._listening is not None:
            self._listening.close()
        if self._runner is not None:
            await self._runner.cleanup()

    @web.middleware
    async def _guarded(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer whatever goes wrong in JSON, and with the same headers."""
        try:
            answer = await handler(request) if self._is_meant(request.headers.get("Host")) else _json({"message": _OTHER_NAME}, 421)
        except web.HTTPException as refused:
            answer = _json({"message": refused.reason}, refused.status)
        except QkdError as failed:
            answer = _json({"message": str(failed)}, 503)
        answer.headers.update(HEADERS)
        return answer

    def _is_meant(self, host: str | None) -> bool:
        """Whether a request names us; one that names nobody comes from no browser."""
        if self._names is None or host is None:
            return True
        name = host.lower().rpartition(":")[0] if _PORT.search(host) else host.lower()
        return name in self._names or name == "localhost" or name.endswith(".localhost") or _is_address(name)

    async def _page(self, request: web.Request) -> web.StreamResponse:
        return _html(page(await self._shown.seen(), _span(request)))

    async def _content(self, request: web.Request) -> web.StreamResponse:
        return _html(content(await self._shown.seen(), _span(request)))

    async def _metrics(self, _request: web.Request) -> web.StreamResponse:
        return web.Response(body=exposition(await self._shown.status()), headers={"Content-Type": CONTENT_TYPE})

    async def _healthz(self, _request: web.Request) -> web.StreamResponse:
        trouble = await self._shown.trouble()
        return _json({"alive": not trouble, "reasons": trouble}, 503 if trouble else 200)

    async def _readyz(self, _request: web.Request) -> web.StreamResponse:
        obstacles = await self._shown.obstacles()
        return _json({"ready": not obstacles, "reasons": obstacles}, 503 if obstacles else 200)


def _file(name: str, kind: str) -> Handler:
    """Return what answers with a file of ours."""
    text = resources.files("common.dashboard").joinpath("static", name).read_text(encoding="utf-8")

    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.Response(text=text, content_type=kind, charset="utf-8")

    return answer


def _is_loopback(host: str) -> bool:
    return host == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)


def _is_address(name: str) -> bool:
    """Whether a name is an address, in brackets or not: nobody can turn that elsewhere."""
    try:
        ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


def _span(request: web.Request) -> str:
    """Return how far back the charts shall reach; what is no span of ours is the shortest."""
    asked = request.query.get("span", "")
    return asked if asked in SPANS else next(iter(SPANS))


def _html(text: str) -> web.Response:
    return web.Response(text=text, content_type="text/html", charset="utf-8")


def _json(body: dict[str, object], status: int) -> web.Response:
    return web.Response(body=json.dumps(body).encode(), status=status, content_type="application/json")
