"""The HTTP side: the page, ``/metrics`` for Prometheus, ``/healthz`` and ``/readyz`` for whoever restarts or routes.

GET only; nothing is kept of who asks.
"""

from __future__ import annotations

import json
from importlib import resources
from typing import Protocol

from aiohttp import web
from aiohttp.typedefs import Handler

from common.dashboard.page import Seen, content, page
from common.dashboard.trend import SPANS
from common.errors import QkdError
from common.observability.metrics import CONTENT_TYPE, Status, exposition

HEADERS = {
    "Server": "qkdlink",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
}
"""Of every answer; the page loads from the node alone, and no script but the file."""

FILES = {"page.css": "text/css", "page.js": "text/javascript", "icon.svg": "image/svg+xml"}
"""What lies in ``static``."""

KEEP_SECONDS = 15.0
"""How long a connection may be quiet."""

STOP_SECONDS = 1.0
"""How long requests under way may take once we stop."""


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
    """

    def __init__(self, host: str, port: int, shown: Shown) -> None:
        self._host, self._port = host, port
        self._shown = shown
        self._runner: web.AppRunner | None = None

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
        self._runner = web.AppRunner(application, access_log=None, keepalive_timeout=KEEP_SECONDS, shutdown_timeout=STOP_SECONDS)
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, self._port).start()

    async def stop(self) -> None:
        """Listen no more."""
        if self._runner is not None:
            await self._runner.cleanup()

    @web.middleware
    async def _guarded(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer whatever goes wrong in JSON, and with the same headers."""
        try:
            answer = await handler(request)
        except web.HTTPException as refused:
            answer = _json({"message": refused.reason}, refused.status)
        except QkdError as failed:
            answer = _json({"message": str(failed)}, 503)
        answer.headers.update(HEADERS)
        return answer

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


def _span(request: web.Request) -> str:
    """Return how far back the charts shall reach; what is no span of ours is the shortest."""
    asked = request.query.get("span", "")
    return asked if asked in SPANS else next(iter(SPANS))


def _html(text: str) -> web.Response:
    return web.Response(text=text, content_type="text/html", charset="utf-8")


def _json(body: dict[str, object], status: int) -> web.Response:
    return web.Response(body=json.dumps(body).encode(), status=status, content_type="application/json")
