"""One connection of whoever looks at a node: few at a time, none for long, so that nobody who may reach the page can use up the node.

The oldest one that is not being answered makes room for the next: who asks is answered, however many others only hold a place.
"""

from __future__ import annotations

import asyncio

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

MOST_CONNECTIONS = 64
"""Connections at a time."""

KEEP_SECONDS = 15.0
"""How long a connection may be quiet between requests."""

LIFE_SECONDS = 60.0
"""How long a connection lasts, whatever is done with it; browsers and Prometheus make another."""

ANSWER_SECONDS = 5.0
"""How much longer an answer may take that is under way then."""

HEADERS = {
    "Server": "qkdlink",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
}
"""Of every answer; the page loads from the node alone, and no script but the file."""


class Connection(RequestHandler):
    """Serves one connection.

    Parameters
    ----------
    server : web.Server
        Answers.
    opened : dict[Connection, None]
        All that are open, oldest first; it enters itself.
    loop : asyncio.AbstractEventLoop
        Runs it.
    """

    __slots__ = ("_end", "_opened")

    def __init__(self, server: web.Server, opened: dict[Connection, None], *, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(
            server,
            loop=loop,
            keepalive_timeout=KEEP_SECONDS,
            access_log=None,  # type: ignore[arg-type]  # none is what the server itself passes for no log
            lingering_time=1.0,
        )
        self._opened = opened
        self._end: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a place, somebody else's if there is none left.

        Parameters
        ----------
        transport : asyncio.BaseTransport
            Of the connection.
        """
        super().connection_made(transport)
        self._opened[self] = None
        self._end = asyncio.get_running_loop().call_later(LIFE_SECONDS, self._finish)
        if len(self._opened) > MOST_CONNECTIONS:
            next(other for other in self._opened if other is self or not other.is_answering).abort()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Give the place back; ``exc`` says what broke the connection."""
        self._opened.pop(self, None)
        if self._end is not None:
            self._end.cancel()
        super().connection_lost(exc)

    @property
    def is_answering(self) -> bool:
        """Whether an answer is being made."""
        return self._current_request is not None

    def abort(self) -> None:
        """End at once; what has not been taken in is not sent."""
        self._opened.pop(self, None)
        if self.transport is not None:
            self.transport.abort()

    def _finish(self) -> None:
        """Answer no further request."""
        if self.is_answering:
            self.close()
            self._end = asyncio.get_running_loop().call_later(ANSWER_SECONDS, self.abort)
        else:
            self.abort()

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """Answer what is no request, or failed on a mistake of ours.

        Parameters
        ----------
        request : web.BaseRequest
            What could be read of it.
        status : int
            HTTP status.
        exc, message : Exception | None, str | None
            What was wrong; not shown, for it may quote what was sent.

        Returns
        -------
        web.StreamResponse
            With the headers of every answer.
        """
        answer = super().handle_error(request, status, exc, message and "not a request that can be understood")
        answer.headers.update(HEADERS)
        return answer
