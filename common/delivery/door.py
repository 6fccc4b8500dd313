"""Lets applications in: TLS 1.2 or later, with a certificate of our authority or not at all; who is refused is counted and logged.

The handshake is done here and not by the server behind, which would refuse in silence. Authority, certificate and list of revoked
certificates are read again on request; where any of them is another, connections that were judged by the old ones end. Strangers who
dawdle over the handshake take places of their own, few for each address, and none of those whom the handshake has let in.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.delivery.connection import Connection
from common.errors import ConfigurationError
from common.observability.logs import SparingLogger

CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""What TLS 1.2 may use: forward secrecy and authenticated encryption; TLS 1.3 has nothing else."""

HANDSHAKE_SECONDS = 5.0
"""How long a handshake may take."""

MOST_CONNECTIONS = 512
"""Connections at a time that the handshake has let in."""

MOST_HANDSHAKES = 64
"""Handshakes at a time."""

MOST_HANDSHAKES_OF_ONE = 32
"""Handshakes at a time with one address."""

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
        context.load_cert_chain(certificate, key, password=lambda: "")  # a key under a password is refused; nobody sits there to type it
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


@dataclass(eq=False, slots=True)
class _Place:
    """A connection, and what its handshake was judged by."""

    context: ssl.SSLContext
    connection: Connection | None = None


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
        self, host: str, port: int, context: Callable[[], ssl.SSLContext], receive: Callable[[Callable[[], None]], Connection]
    ) -> None:
        self.count_refused = 0
        self.count_crowded = 0
        self._host, self._port = host, port
        self._context = context
        self._receive = receive
        self._shaking: Counter[str] = Counter()
        self._places: set[_Place] = set()
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

    def renew(self) -> None:
        """End connections that were judged by another context than the one that holds now, once what is under way there is answered."""
        for place in tuple(self._places):
            if place.connection is not None and place.context is not self._context():
                place.connection.finish()

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, address = await loop.sock_accept(listening)
            except OSError as refused:  # no more descriptors, or gone already
                self._log.warning("connection not accepted", error=refused)
                await asyncio.sleep(0.1)
                continue
            if crowd := self._crowd(str(address[0])):
                self.count_crowded += 1
                self._log.warning(crowd, address=str(address[0]), refused=self.count_crowded)
                connection.close()
                continue
            self._shaking[str(address[0])] += 1
            self._begin(self._shake_hands(connection, str(address[0])))

    def _crowd(self, address: str) -> str | None:
        """Say why nobody else is let in, or None."""
        if len(self._places) >= MOST_CONNECTIONS:
            return "too many connections"
        if self._shaking.total() >= MOST_HANDSHAKES or self._shaking[address] >= MOST_HANDSHAKES_OF_ONE:
            return "too many handshakes at a time"
        return None

    async def _shake_hands(self, connection: socket.socket, address: str) -> None:
        place = _Place(self._context())
        served = self._receive(lambda: self._places.discard(place))
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            transport, _ = await asyncio.get_running_loop().connect_accepted_socket(
                lambda: served,
                connection,
                ssl=place.context,
                ssl_handshake_timeout=HANDSHAKE_SECONDS,
                ssl_shutdown_timeout=1.0,
            )
        except (OSError, ssl.SSLError) as refused:
            self.count_refused += 1
            self._log.warning(
                "application refused at the door",
                address=address,
                reason=_reason(refused),
                refused=self.count_refused,
                advice="it needs a certificate of the authority in delivery.authority that is valid now, and TLS 1.2 or later",
            )
            connection.close()
        except BaseException:
            connection.close()
            raise
        else:
            if place.context is not self._context():
                transport.close()  # read again meanwhile
            elif served.is_open:
                place.connection = served
                self._places.add(place)
        finally:
            self._shaking[address] -= 1
            if not self._shaking[address]:
                del self._shaking[address]

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _reason(refused: OSError) -> str:
    """Say in a few words what OpenSSL or the system did not like."""
    if isinstance(refused, ssl.SSLCertVerificationError):
        return str(refused.verify_message)
    if isinstance(refused, ssl.SSLError) and refused.reason:
        return str(refused.reason).lower().replace("_", " ")
    return refused.strerror or type(refused).__name__
