"""Lets applications in: TLS 1.2 or later, with a certificate of our authority or not at all; who is refused is counted and logged.

The handshake is done here and not by the server behind, which would refuse in silence. Authority, certificate and list of revoked
certificates are read again on request; connections that are open then stay so, and every request on them is judged anew.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from common.errors import ConfigurationError
from common.observability.logs import SparingLogger

CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""What TLS 1.2 may use: forward secrecy and authenticated encryption; TLS 1.3 has nothing else."""

HANDSHAKE_SECONDS = 5.0
"""How long a handshake may take."""

MOST_CONNECTIONS = 512
"""Connections at a time."""

BACKLOG = 256


def tls_context(certificate: Path, key: Path, authority: Path, revoked: Path | None) -> ssl.SSLContext:
    """Make what handshakes are judged by.

    Parameters
    ----------
    certificate, key : Path
        The node's, PEM.
    authority : Path
        Issues the certificates of applications, PEM.
    revoked : Path | None
        List of revoked certificates of that authority (CRL), PEM.

    Returns
    -------
    ssl.SSLContext
        For a server.

    Raises
    ------
    ConfigurationError
        If a file cannot be read, or certificate and key do not belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_TICKET | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.num_tickets = 0  # nobody resumes what has been revoked meanwhile
    context.set_ciphers(CIPHERS)
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as refused:
        raise ConfigurationError(f"delivery.certificate {certificate}, delivery.key {key}: {_reason(refused)}") from None
    for entry, path in (("authority", authority), ("revoked", revoked)):
        if path is not None:
            try:
                context.load_verify_locations(path)
            except (OSError, ssl.SSLError) as refused:
                raise ConfigurationError(f"delivery.{entry} {path}: {_reason(refused)}") from None
    if revoked is not None:
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    return context


class Door:
    """Listens, shakes hands, and hands connections on.

    Parameters
    ----------
    host, port : str, int
        Where.
    context : callable
        Returns what handshakes are judged by, as of now.
    receive : callable
        Makes the protocol that serves a connection; it is given what to call when that has ended.
    """

    def __init__(
        self, host: str, port: int, context: Callable[[], ssl.SSLContext], receive: Callable[[Callable[[], None]], asyncio.Protocol]
    ) -> None:
        self.count_refused = 0
        self.count_crowded = 0
        self._host, self._port = host, port
        self._context = context
        self._receive = receive
        self._count_open = 0
        self._listening: list[socket.socket] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._log = SparingLogger("delivery")

    async def start(self) -> None:
        """Listen.

        Raises
        ------
        ConfigurationError
            If the address cannot be had.
        """
        try:
            found = await asyncio.get_running_loop().getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            for family, _, _, _, address in dict.fromkeys(found):
                self._listening.append(socket.create_server(address[:2], family=family, backlog=BACKLOG))
                self._listening[-1].setblocking(False)
        except OSError as refused:
            await self.stop()
            raise ConfigurationError(
                f"delivery.bind {self._host}:{self._port}: {refused.strerror}; choose another address or stop what uses it"
            ) from None
        for listening in self._listening:
            self._begin(self._accept(listening))

    async def stop(self) -> None:
        """Listen no more; handshakes under way are broken off."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for listening in self._listening:
            listening.close()

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, address = await loop.sock_accept(listening)
            except OSError as refused:  # no more descriptors, or gone already
                self._log.warning("connection not accepted", error=refused)
                await asyncio.sleep(0.1)
                continue
            if self._count_open >= MOST_CONNECTIONS:
                self.count_crowded += 1
                self._log.warning("too many connections", refused=self.count_crowded)
                connection.close()
                continue
            self._count_open += 1
            self._begin(self._shake_hands(connection, str(address[0])))

    async def _shake_hands(self, connection: socket.socket, address: str) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: self._receive(self._left),
                connection,
                ssl=self._context(),
                ssl_handshake_timeout=HANDSHAKE_SECONDS,
                ssl_shutdown_timeout=1.0,
            )
        except (OSError, ssl.SSLError) as refused:
            self._left()
            self.count_refused += 1
            self._log.warning(
                "application refused at the door",
                address=address,
                reason=_reason(refused),
                refused=self.count_refused,
                advice="it needs a certificate of the authority in delivery.authority that is valid now, and TLS 1.2 or later",
            )
            connection.close()

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _left(self) -> None:
        self._count_open -= 1


def _reason(refused: OSError) -> str:
    """Say in a few words what OpenSSL or the system did not like."""
    if isinstance(refused, ssl.SSLCertVerificationError):
        return str(refused.verify_message)
    if isinstance(refused, ssl.SSLError) and refused.reason:
        return str(refused.reason).lower().replace("_", " ")
    return refused.strerror or type(refused).__name__
