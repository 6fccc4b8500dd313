"""The web side of key delivery: who asks, how often, how much; then the rules, then the desk, then JSON, whatever happened.

Every answer is JSON, also where the request was none that HTTP allows. Nothing is said to a certificate that stands for no application.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestHandler

from common.delivery.desk import Delivered, Desk
from common.delivery.identities import Certificate, Identities
from common.delivery.rates import Rates
from common.delivery.refusals import RefusalError, bad_request, unauthorised, unavailable
from common.delivery.rules import (
    METHODS,
    MOST_BODY_BYTES,
    KeyRequest,
    Limits,
    Target,
    extension_message,
    key_ids,
    key_request,
    not_found,
    target_of,
    wrong_method,
)
from common.keystore.orders import Collection
from common.observability.logs import SparingLogger, logger

BODY_SECONDS = 5.0
"""How long a body may take to arrive."""

HEADER_SECONDS = 10.0
"""How long the headers of a request may take, from the first byte of it or the handshake on."""

IDLE_SECONDS = 75.0
"""How long a connection may be quiet between requests."""

MOST_HEADER_BYTES = 8190
"""Longest line of a request, and longest header."""

MOST_HEADERS = 64

DESCRIPTION_PATH = "/api/v1/openapi.json"

_JSON = "application/json"

_SERVER = {"Server": "qkdlink"}
"""Says no versions."""


@dataclass(frozen=True, slots=True)
class Names:
    """What the two key management entities are called: ``source`` here, ``target`` at the other end."""

    source: str
    target: str


class Api:
    """Answers requests of applications.

    Parameters
    ----------
    desk : Desk
        Orders and collections.
    identities : callable
        Returns the map of certificates, as of now.
    limits : Limits
        What may be asked for.
    names : Names
        For ``status``.
    rates : Rates
        How often each application may ask.
    most_stored_bytes : int
        What the store keeps at most for who asks here.
    provenance : callable
        Returns what is known of blocks, by number.
    description : dict
        The OpenAPI description.
    """

    def __init__(
        self,
        desk: Desk,
        identities: Callable[[], Identities],
        limits: Limits,
        names: Names,
        rates: Rates,
        most_stored_bytes: int,
        provenance: Callable[[Sequence[int]], Awaitable[dict[int, dict[str, Any]]]],
        description: dict[str, Any],
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._desk = desk
        self._identities = identities
        self._limits = limits
        self._names = names
        self._rates = rates
        self._most_stored_bytes = most_stored_bytes
        self._provenance = provenance
        self._description = json.dumps(description).encode()
        self._log = SparingLogger("delivery")
        self._server: web.Server | None = None

    def connection(self, left: Callable[[], None]) -> asyncio.Protocol:
        """Make what serves one connection, and calls ``left`` when it has ended."""
        self._server = self._server or web.Server(self.handle)  # belongs to the loop that runs now
        return Connection(self._server, left, loop=asyncio.get_running_loop())

    async def stop(self) -> None:
        """End all connections."""
        if self._server is not None:
            await self._server.shutdown(1.0)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request, whatever is wrong with it.

        Parameters
        ----------
        request : web.BaseRequest
            As it came.

        Returns
        -------
        web.StreamResponse
            JSON.
        """
        connection = request.protocol
        if isinstance(connection, Connection):
            connection.is_asked()
        try:
            status, body, headers = 200, await self._answer(request), {}
        except RefusalError as refusal:
            status, body, headers = refusal.status, json.dumps(refusal.body).encode(), refusal.headers
        except Exception as bug:  # noqa: BLE001 - a mistake of ours is one answer, never the service
            logger("delivery").error("request failed on a mistake of ours", error=bug)
            status, body, headers = 503, json.dumps(unavailable("mistake of ours").body).encode(), {}
        finally:
            if isinstance(connection, Connection):
                connection.is_answered()
        self.counts[str(status)] += 1
        response = web.Response(status=status, body=body, content_type=_JSON, headers=headers | _SERVER)
        if status in {413, 408} or (request.can_read_body and not request.content.is_eof()):
            response.force_close()
        return response

    async def _answer(self, request: web.BaseRequest) -> bytes:
        sae, fingerprint = self._asker(request)
        if not self._rates.allow(sae):
            self._log.warning("application asks too often", sae=sae)
            refusal = unavailable("too many requests of this SAE", per_second=self._rates.per_second)
            refusal.headers = {"Retry-After": "1"}
            raise refusal
        path = request.rel_url.raw_path
        if path == DESCRIPTION_PATH and request.method == "GET":
            return self._description
        target = target_of(path)
        if target is None:
            raise not_found(path)
        if request.method not in METHODS[target.action]:
            raise wrong_method(target.action, request.method)
        query = _query(request.rel_url.raw_query_string)
        body = await _body(request) if request.method == "POST" else b""
        if target.action == "status":
            return json.dumps(await self._status(sae, target)).encode()
        if target.action == "enc_keys":
            return await self._encryption_keys(sae, key_request(target, request.method, query, body, self._limits))
        asked = key_ids(request.method, query, body, self._limits)
        digest = hashlib.sha256(b"\0".join((fingerprint.encode(), target.sae.encode(), b"".join(asked)))).digest()
        keys = await self._desk.collect(Collection(sae, target.sae, asked, digest))
        return container(list(zip(asked, keys, strict=True)))

    def _asker(self, request: web.BaseRequest) -> tuple[str, str]:
        """Return which application asks, and by which certificate."""
        connection = request.protocol
        certificate = connection.certificate if isinstance(connection, Connection) else None
        identities = self._identities()
        sae = identities.sae_of(certificate) if certificate is not None and time.time() <= certificate.valid_through_s else None
        if sae is None or certificate is None:
            is_revoked = certificate is not None and identities.is_revoked(certificate)
            fingerprint = certificate.fingerprint if certificate is not None else None
            self._log.warning(
                "certificate refused", certificate=fingerprint, why="revoked" if is_revoked else "expired, or stands for no application"
            )
            raise unauthorised("the certificate stands for no SAE of this KME")
        return sae, certificate.fingerprint

    async def _status(self, sae: str, target: Target) -> dict[str, Any]:
        size = self._limits.key_size
        return {
            "source_KME_ID": self._names.source,
            "target_KME_ID": self._names.target,
            "master_SAE_ID": sae,
            "slave_SAE_ID": target.sae,
            "key_size": size,
            "stored_key_count": _int32(8 * await self._desk.deliverable_bytes() // size),
            "max_key_count": _int32(8 * self._most_stored_bytes // size),
            "max_key_per_request": self._limits.max_key_per_request,
            "max_key_size": self._limits.max_key_size,
            "min_key_size": self._limits.min_key_size,
            "max_SAE_ID_count": self._limits.max_sae_id_count,
        }

    async def _encryption_keys(self, sae: str, asked: KeyRequest) -> bytes:
        delivered = await self._desk.order(sae, asked.slaves, asked.number, asked.size_bits // 8)
        extensions = await self._extensions(delivered, asked.size_bits // 8) if asked.provenance else None
        return container(delivered.keys, extensions, extension_message(asked))

    async def _extensions(self, delivered: Delivered, count_bytes: int) -> list[dict[str, Any]]:
        """Say for each key from which blocks it comes."""
        blocks = [delivered.blocks_of(index, count_bytes) for index in range(len(delivered.keys))]
        known = await self._provenance(sorted({block for each in blocks for block in each}))
        return [{"provenance": [known[block] for block in each if block in known]} for each in blocks]


class Connection(RequestHandler):
    """Serves one connection, and hangs up where a client dawdles.

    Parameters
    ----------
    server : web.Server
        Answers.
    left : callable
        Called when the connection has ended.
    loop : asyncio.AbstractEventLoop
        Runs it.
    """

    __slots__ = ("_deadline", "_left", "certificate")

    def __init__(self, server: web.Server, left: Callable[[], None], *, loop: asyncio.AbstractEventLoop) -> None:
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
        self._left = left

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Look at the certificate that ``transport`` was opened with; the handshake has verified it."""
        super().connection_made(transport)
        secured = transport.get_extra_info("ssl_object")
        encoded = secured.getpeercert(binary_form=True) if secured is not None else None
        if encoded is not None:
            try:
                self.certificate = Certificate.of(encoded)
            except ValueError:
                self.certificate = None  # stands for nobody
        self._expect()

    def data_received(self, data: bytes) -> None:
        """Take in ``data``; the headers of a request have to come soon after its first byte."""
        if self._deadline is None and self.current_request is None:
            self._expect()
        super().data_received(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget the deadline; ``exc`` says what broke the connection."""
        self.is_asked()
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
        response = web.Response(status=refusal.status, body=json.dumps(refusal.body).encode(), content_type=_JSON, headers=_SERVER)
        response.force_close()
        return response

    @property
    def current_request(self) -> web.BaseRequest | None:
        """The request that is being answered."""
        return self._current_request

    def _expect(self) -> None:
        self._deadline = asyncio.get_running_loop().call_later(HEADER_SECONDS, self.force_close)


def container(
    keys: Sequence[tuple[bytes, bytes]],
    extensions: Sequence[dict[str, Any]] | None = None,
    beside: dict[str, Any] | None = None,
) -> bytes:
    """Write a key container.

    Parameters
    ----------
    keys : sequence of tuple
        Number and key of each.
    extensions : sequence of dict | None
        What is said of each key.
    beside : dict | None
        What is said of all of them.

    Returns
    -------
    bytes
        JSON.
    """
    listed: list[dict[str, Any]] = [{"key_ID": str(uuid.UUID(bytes=key_id)), "key": base64.b64encode(key).decode()} for key_id, key in keys]
    for entry, extension in zip(listed, extensions or (), strict=False):
        entry["key_extension"] = extension
    return json.dumps({"keys": listed} | ({"key_container_extension": beside} if beside else {})).encode()


async def _body(request: web.BaseRequest) -> bytes:
    if (request.content_length or 0) > MOST_BODY_BYTES:
        raise RefusalError(413, f"the body shall be at most {MOST_BODY_BYTES} bytes")
    parts = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while part := await request.content.readany():
                parts += part
                if len(parts) > MOST_BODY_BYTES:
                    raise RefusalError(413, f"the body shall be at most {MOST_BODY_BYTES} bytes")
    except TimeoutError:
        raise RefusalError(408, f"the body shall arrive within {BODY_SECONDS:g} s") from None
    except web.RequestPayloadError:
        raise bad_request("the body cannot be read") from None
    return bytes(parts)


def _query(text: str) -> list[tuple[str, str]]:
    try:
        return parse_qsl(text, keep_blank_values=True, max_num_fields=32, errors="strict") if text else []
    except ValueError:
        raise bad_request("the query cannot be read") from None


def _int32(number: int) -> int:
    """Some clients read counts into 32 bits."""
    return min(number, (1 << 31) - 1)
