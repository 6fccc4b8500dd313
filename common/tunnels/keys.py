"""Takes keys from our node by ETSI GS QKD 014, as any application does: over mutual TLS, with the certificate it was provisioned with."""

from __future__ import annotations

import base64
import json
import re
import ssl
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import aiohttp

from common.errors import AuthenticationError, KeyExhaustedError, KeyNotFoundError, QkdError, RemoteProtocolError, TransportError
from common.tunnels.messages import KEY_ID
from common.tunnels.settings import KEY_BYTES

MOST_ANSWER_BYTES = 1 << 16
"""Longest answer that is taken in."""


class KeyNode:
    """Our node; use it in an ``async with`` statement.

    Parameters
    ----------
    address : str
        ``HOST:PORT``.
    context : ssl.SSLContext
        With our certificate; checks the node's, its host included.
    seconds : float
        How long an answer may take.
    """

    def __init__(self, address: str, context: ssl.SSLContext, seconds: float) -> None:
        self._address = address
        self._context = context
        self._timeout = aiohttp.ClientTimeout(total=seconds)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=self._context), timeout=self._timeout)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._session is not None:
            await self._session.close()

    async def order(self, slave: str) -> tuple[str, bytearray]:
        """Order a key.

        Parameters
        ----------
        slave : str
            The application at the other end.

        Returns
        -------
        tuple[str, bytearray]
            Its id, and the key: to be wiped by whoever asked.
        """
        return await self._ask(f"{quote(slave, safe='')}/enc_keys", {"number": 1, "size": 8 * KEY_BYTES})

    async def fetch(self, master: str, key_id: str) -> bytearray:
        """Fetch a key that was ordered at the other end.

        Parameters
        ----------
        master : str
            The application that ordered it.
        key_id : str
            Which.

        Returns
        -------
        bytearray
            The key: to be wiped by whoever asked.

        Raises
        ------
        RemoteProtocolError
            If the node gives another key.
        """
        given, key = await self._ask(f"{quote(master, safe='')}/dec_keys", {"key_IDs": [{"key_ID": key_id}]})
        if given != key_id:
            key[:] = bytes(len(key))
            raise RemoteProtocolError(f"node {self._address}: gave another key than was asked for")
        return key

    async def _ask(self, path: str, body: dict[str, Any]) -> tuple[str, bytearray]:
        if self._session is None:
            raise RuntimeError("use it in an async with statement")
        try:
            async with self._session.post(f"https://{self._address}/api/v1/keys/{path}", json=body, allow_redirects=False) as answer:
                content = await answer.content.read(MOST_ANSWER_BYTES)
                while len(content) < MOST_ANSWER_BYTES and (more := await answer.content.read(MOST_ANSWER_BYTES - len(content))):
                    content += more
                status = answer.status
        except aiohttp.ClientConnectorCertificateError as refused:
            raise AuthenticationError(f"node {self._address}: its certificate is not believed: {refused.certificate_error}") from None
        except (aiohttp.ClientError, TimeoutError, OSError) as gone:
            raise TransportError(f"node {self._address}: {str(gone) or type(gone).__name__}") from None
        if status != 200:
            raise _refusal(status, content, self._address)
        return _key(content, self._address)


def _key(content: bytes, address: str) -> tuple[str, bytearray]:
    """Return the one key of a container; what was sent is never shown."""
    try:
        (entry,) = json.loads(content)["keys"]
        key_id, key = entry["key_ID"], bytearray(base64.b64decode(entry["key"], validate=True))
    except (ValueError, KeyError, TypeError, RecursionError):
        raise RemoteProtocolError(f"node {address}: answered what is no key container") from None
    if not isinstance(key_id, str) or not re.fullmatch(KEY_ID, key_id.lower()):
        key[:] = bytes(len(key))
        raise RemoteProtocolError(f"node {address}: answered a key whose number is no UUID")
    if len(key) != KEY_BYTES:
        raise RemoteProtocolError(f"node {address}: answered a key of {len(key)} bytes, asked for were {KEY_BYTES}")
    return key_id.lower(), key


def _refusal(status: int, content: bytes, address: str) -> QkdError:
    """Return what a refusal of the node means."""
    try:
        said = "".join(letter if " " <= letter <= "~" else "?" for letter in str(json.loads(content)["message"])[:200])
    except (ValueError, KeyError, TypeError, RecursionError):
        said = f"HTTP status {status}"
    text = f"node {address}: {said}"
    if status == 401:
        return AuthenticationError(text)
    if status == 400:
        return KeyNotFoundError(text)
    return KeyExhaustedError(text) if said == "not enough key" else TransportError(text)
