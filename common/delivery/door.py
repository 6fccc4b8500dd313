"""Lets applications in: TLS 1.2 or later, with a certificate of our authority or not at all; who is refused is counted and logged.

The handshake is done here and not by the server behind, which would refuse in silence. Authority, certificate and list of revoked
certificates are read again on request; connections that are open then stay so, and every request on them is judged anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from pathlib import Path

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
        Makes the protocol that serves a connection.
    """

    def __init__(self, host: str, port: int, context: Callable[[], ssl.SSLContext], receive: Callable[[], asyncio.Protocol]) -> None:
        self.count_refused = 0
        self.count_crowded = 0
        self._host, self._port = host, port
        self._context = context
        self._receive = receive
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Transport] = set()
        self._shaking: set[asyncio.Task[None]] = set()
        self._log = SparingLogger("delivery")

    async def start(self) -> None:
        """Listen.

        Raises
        ------
        ConfigurationError
            If the address cannot be had.
        """
        try:
            self._server = await asyncio.get_running_loop().create_server(
                lambda: _Arrival(self), self._host, self._port, backlog=BACKLOG, reuse_address=True
            )
        except OSError as refused:
            raise ConfigurationError(
                f"delivery.bind {self._host}:{self._port}: {refused.strerror}; choose another address or stop what uses it"
            ) from None

    async def stop(self) -> None:
        """Listen no more, and hang up."""
        if self._server is not None:
            self._server.close()
        for task in self._shaking:
            task.cancel()
        await asyncio.gather(*self._shaking, return_exceptions=True)
        for transport in tuple(self._open):
            transport.abort()

    def arrived(self, transport: asyncio.Transport) -> None:
        """Take a connection that has just been made, ``transport``."""
        if len(self._open) >= MOST_CONNECTIONS:
            self.count_crowded += 1
            self._log.warning("too many connections", refused=self.count_crowded)
            transport.abort()
            return
        self._open.add(transport)
        task = asyncio.create_task(self._shake_hands(transport))
        self._shaking.add(task)
        task.add_done_callback(self._shaking.discard)

    def left(self, transport: asyncio.Transport) -> None:
        """Forget the connection of ``transport``."""
        self._open.discard(transport)

    async def _shake_hands(self, transport: asyncio.Transport) -> None:
        loop = asyncio.get_running_loop()
        address = transport.get_extra_info("peername")
        early = _Early(lambda: self.left(transport))
        try:
            secured = await loop.start_tls(
                transport, early, self._context(), server_side=True, ssl_handshake_timeout=HANDSHAKE_SECONDS, ssl_shutdown_timeout=1.0
            )
            if secured is None or early.is_lost:
                raise ConnectionResetError
        except (OSError, ssl.SSLError) as refused:
            self.count_refused += 1
            self._log.warning(
                "application refused at the door",
                address=address[0] if address else "",
                reason=_reason(refused),
                refused=self.count_refused,
                advice="it needs a certificate of the authority in delivery.authority that is valid now, and TLS 1.2 or later",
            )
            transport.abort()
            self.left(transport)
            return
        early.hand_over(secured, self._receive())


class _Arrival(asyncio.Protocol):
    """A connection before the handshake."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._transport: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        if isinstance(transport, asyncio.Transport) or hasattr(transport, "write"):
            self._door.arrived(transport)  # type: ignore[arg-type]  # uvloop's transports are none by class

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        if self._transport is not None:
            self._door.left(self._transport)  # type: ignore[arg-type]


class _Early(asyncio.Protocol):
    """Keeps what arrives between the end of the handshake and the server's first look, and stays to say when the connection ends."""

    def __init__(self, left: Callable[[], None]) -> None:
        self.is_lost = False
        self._left = left
        self._kept: list[bytes] = []
        self._next: asyncio.Protocol | None = None

    def hand_over(self, transport: asyncio.Transport, protocol: asyncio.Protocol) -> None:
        """Let ``protocol`` serve ``transport`` from its first byte on."""
        self._next = protocol
        protocol.connection_made(transport)
        for data in self._kept:
            protocol.data_received(data)
        self._kept.clear()

    def data_received(self, data: bytes) -> None:
        if self._next is not None:
            self._next.data_received(data)
        else:
            self._kept.append(data)

    def eof_received(self) -> bool | None:
        return self._next.eof_received() if self._next is not None else None

    def pause_writing(self) -> None:
        if self._next is not None:
            self._next.pause_writing()

    def resume_writing(self) -> None:
        if self._next is not None:
            self._next.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True
        self._left()
        if self._next is not None:
            with contextlib.suppress(ConnectionError):
                self._next.connection_lost(exc)


def _reason(refused: OSError) -> str:
    """Say in a few words what OpenSSL or the system did not like."""
    if isinstance(refused, ssl.SSLCertVerificationError):
        return str(refused.verify_message)
    if isinstance(refused, ssl.SSLError) and refused.reason:
        return str(refused.reason).lower().replace("_", " ")
    return refused.strerror or type(refused).__name__
