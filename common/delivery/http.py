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

from common.delivery.connection import HEADERS, JSON, Connection
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
    judged,
    key_ids,
    key_request,
    not_found,
    target_of,
    wrong_method,
)
from common.errors import QkdError
from common.keystore.orders import Collection
from common.observability.logs import SparingLogger, logger

BODY_SECONDS = 5.0
"""How long a body may take to arrive."""

DESCRIPTION_PATH = "/api/v1/openapi.json"

MOST_OF_ONE = 64
"""Connections at a time of one application, and of all certificates together that stand for none."""

PUT_OFF_SECONDS = 0.5
"""How long the answer to a request waits that is one too many, so that asking again at once gains nothing."""

KEYS_OF_A_REQUEST = 32
"""So many keys, each counted once for everybody who gets it, are as much work as a request without any, and count as one."""


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
        self._open: Counter[str | None] = Counter()

    def connection(self, left: Callable[[], None]) -> Connection:
        """Make what serves one connection, and calls ``left`` when it has ended."""
        self._server = self._server or web.Server(self.handle)  # belongs to the loop that runs now
        return Connection(self._server, self._arrived, left, loop=asyncio.get_running_loop())

    def _arrived(self, certificate: Certificate | None) -> Callable[[], None] | None:
        """Count a connection of whom a ``certificate`` stands for; return what is called when it ends, or None if it is one too many."""
        sae = self._identities().sae_of(certificate) if certificate is not None else None
        if self._open[sae] >= MOST_OF_ONE:
            self._log.warning("too many connections of one application", sae=sae)
            return None
        self._open[sae] += 1

        def ended() -> None:
            self._open[sae] -= 1
            if not self._open[sae]:
                del self._open[sae]

        return ended

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
        except QkdError as failed:
            self._log.warning("request failed", error=failed)
            status, body, headers = 503, json.dumps(unavailable("no answer can be given at present").body).encode(), {}
        except Exception as bug:  # noqa: BLE001 - a mistake of ours is one answer, never the service
            logger("delivery").error("request failed on a mistake of ours", error=bug)
            status, body, headers = 503, json.dumps(unavailable("mistake of ours").body).encode(), {}
        finally:
            if isinstance(connection, Connection):
                connection.is_answered()
        self.counts[str(status)] += 1
        response = web.Response(status=status, body=body, content_type=JSON, headers=headers | HEADERS)
        if status in {413, 408} or "Connection" in headers or (request.can_read_body and not request.content.is_eof()):
            response.force_close()
        return response

    async def _answer(self, request: web.BaseRequest) -> bytes:
        sae, fingerprint = self._asker(request)
        await self._count(sae, 1.0)
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
            wanted = key_request(target, request.method, query, body, self._limits)
            await self._count(sae, wanted.number * (1 + len(wanted.slaves)) / KEYS_OF_A_REQUEST - 1.0)
            if wanted.epsilon is not None or wanted.epsilon_wished is not None:
                wanted = judged(wanted, await self._desk.worst_epsilon())
            return await self._encryption_keys(sae, wanted)
        asked = key_ids(request.method, query, body, self._limits)
        await self._count(sae, len(asked) / KEYS_OF_A_REQUEST - 1.0)
        digest = hashlib.sha256(b"\0".join((fingerprint.encode(), target.sae.encode(), b"".join(asked)))).digest()
        keys = await self._desk.collect(Collection(sae, target.sae, asked, digest))
        return container(list(zip(asked, keys, strict=True)))

    async def _count(self, sae: str, cost: float) -> None:
        """Take what a request costs from the rate of ``sae``; a refusal is a while in coming."""
        if cost <= 0.0 or self._rates.allow(sae, cost):
            return
        self._log.warning("application asks too often", sae=sae)
        await asyncio.sleep(PUT_OFF_SECONDS)
        refusal = unavailable("too many requests of this SAE", per_second=self._rates.per_second, keys_counted_as_one=KEYS_OF_A_REQUEST)
        refusal.headers = {"Retry-After": "1"}
        raise refusal

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
            refusal = unauthorised("the certificate stands for no SAE of this KME")
            refusal.headers = {"Connection": "close"}
            raise refusal
        return sae, certificate.fingerprint

    async def _status(self, sae: str, target: Target) -> dict[str, Any]:
        size = self._limits.key_size
        deliverable, quota = await self._desk.deliverable_bytes(), await self._desk.left_of_quota_bytes(sae)
        extension = {}
        if quota is not None:
            deliverable = min(deliverable, quota[1])
            extension = {"status_extension": {"quota_bits": 8 * quota[0], "quota_left_bits": 8 * quota[1]}}
        return {
            "source_KME_ID": self._names.source,
            "target_KME_ID": self._names.target,
            "master_SAE_ID": sae,
            "slave_SAE_ID": target.sae,
            "key_size": size,
            "stored_key_count": _int32(8 * deliverable // size),
            "max_key_count": _int32(8 * self._most_stored_bytes // size),
            "max_key_per_request": self._limits.max_key_per_request,
            "max_key_size": self._limits.max_key_size,
            "min_key_size": self._limits.min_key_size,
            "max_SAE_ID_count": self._limits.max_sae_id_count,
            **extension,
        }

    async def _encryption_keys(self, sae: str, asked: KeyRequest) -> bytes:
        delivered = await self._desk.order(sae, asked.slaves, asked.number, asked.size_bits // 8)
        extensions = None
        if asked.provenance:
            try:
                extensions = await self._extensions(delivered, asked.size_bits // 8)
            except (QkdError, ValueError) as failed:  # the keys are spent: better without than lost
                self._log.warning("provenance not found", error=failed)
        return container(delivered.keys, extensions, extension_message(asked))

    async def _extensions(self, delivered: Delivered, count_bytes: int) -> list[dict[str, Any]]:
        """Say for each key from which blocks it comes."""
        blocks = [delivered.blocks_of(index, count_bytes) for index in range(len(delivered.keys))]
        known = await self._provenance(sorted({block for each in blocks for block in each}))
        return [{"provenance": [known[block] for block in each if block in known]} for each in blocks]


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
