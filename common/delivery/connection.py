"""One connection of an application: what HTTP it speaks, how long it may take over anything, and when it ends.

``common.delivery.door`` has shaken hands before; ``common.delivery.http`` answers the requests.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestHandler

from common.delivery.identities import Certificate
from common.delivery.refusals import bad_request, unavailable

HEADER_SECONDS = 10.0
"""How long the headers of a request may take, from the first byte of it or the handshake on."""

IDLE_SECONDS = 75.0
"""How long a connection may be quiet between requests."""

ANSWER_SECONDS = 10.0
"""How long a client may take to take in an answer."""

MOST_HEADER_BYTES = 8190
"""Longest line of a request, and longest header."""

MOST_HEADERS = 64

JSON = "application/json"
"""What every answer is."""

HEADERS = {"Server": "qkdlink", "Cache-Control": "no-store"}
"""Say no versions; nothing on the way may keep an answer."""


class Connection(RequestHandler):
    """Serves one connection, and hangs up where a client dawdles.

    Parameters
    ----------
    server : web.Server
        Answers.
    arrived : callable
        Given the certificate once it is known; returns what is called when the connection ends, or None where it is one too many.
    left : callable
        Called when the connection has ended.
    loop : asyncio.AbstractEventLoop
        Runs it.
    """

    __slots__ = ("_arrived", "_deadline", "_ended", "_left", "certificate")

    def __init__(
        self,
        server: web.Server,
        arrived: Callable[[Certificate | None], Callable[[], None] | None],
        left: Callable[[], None],
        *,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        super().__init__(
            server,
            loop=loop,
            keepalive_timeout=IDLE_SECONDS,
            access_log=None,  # type: ignore[arg-type]  # none is what the server itself passes for no log
            max_line_size=MOST_HEADER_BYTES,
            max_field_size=MOST_HEADER_BYTES,
            max_headers=MOST_HEADERS,
            lingering_time=1.0,
            auto_decompress=False,
        )
        self.certificate: Certificate | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._arrived = arrived
        self._ended: Callable[[], None] | None = None
        self._left = left

    @property
    def is_open(self) -> bool:
        """Whether it serves, or will."""
        return self.transport is not None and not self.transport.is_closing()

    def finish(self) -> None:
        """End once the request that is being answered is; at once where there is none."""
        if self.current_request is None:
            self.force_close()
        else:
            self.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Look at the certificate that was shown; the handshake has verified it.

        Parameters
        ----------
        transport : asyncio.BaseTransport
            Of the connection.
        """
        super().connection_made(transport)
        secured = transport.get_extra_info("ssl_object")
        encoded = secured.getpeercert(binary_form=True) if secured is not None else None
        if encoded is not None:
            try:
                self.certificate = Certificate.of(encoded)
            except ValueError:
                self.certificate = None  # stands for nobody
        self._ended = self._arrived(self.certificate)
        if self._ended is None:
            self.force_close()
            return
        self._expect()

    def data_received(self, data: bytes) -> None:
        """Take in ``data``; the headers of a request have to come soon after its first byte."""
        if self._deadline is None and self.current_request is None:
            self._expect()
        super().data_received(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget the deadline; ``exc`` says what broke the connection."""
        self.is_asked()
        if self._ended is not None:
            self._ended()
            self._ended = None
        self._left()
        super().connection_lost(exc)

    def is_asked(self) -> None:
        """The headers of a request are there."""
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def is_answered(self) -> None:
        """A request has been answered; what comes next may take as long as it likes to begin."""
        self.is_asked()

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send an answer; whoever does not take it in is hung up on.

        Parameters
        ----------
        request : web.BaseRequest
            What is answered.
        resp : web.StreamResponse
            The answer.
        start_time : float | None
            For the server's own log, which is off.

        Returns
        -------
        tuple[web.StreamResponse, bool]
            The answer, and whether the client has gone.
        """
        transport = self.transport
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await super().finish_response(request, resp, start_time)
        except TimeoutError:
            if transport is not None:
                transport.abort()
            return resp, True

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """Answer what is no request, in JSON.

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
            Closes the connection.
        """
        del message
        if request.writer.output_size > 0:
            raise ConnectionError("an answer was begun before") from exc
        said = exc.message.split("\n")[0][:80] if isinstance(exc, HttpProcessingError) else "the request is not HTTP that can be understood"
        refusal = bad_request("bad request", reason=said) if status < 500 else unavailable("mistake of ours")
        response = web.Response(status=refusal.status, body=json.dumps(refusal.body).encode(), content_type=JSON, headers=HEADERS)
        response.force_close()
        return response

    @property
    def current_request(self) -> web.BaseRequest | None:
        """The request that is being answered."""
        return self._current_request

    def _expect(self) -> None:
        self._deadline = asyncio.get_running_loop().call_later(HEADER_SECONDS, self.force_close)
