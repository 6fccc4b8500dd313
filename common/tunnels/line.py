"""Carries questions and answers between the two ends of a tunnel: TLS 1.3 with certificates at both ends, one question a connection.

Both ends believe one authority, and of its certificates only those that the configuration names for that peer. A connection carries one
line each way and ends; what comes late or twice is left to ``common.tunnels.agreement``.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import socket
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import cast

from common.errors import AuthenticationError, ConfigurationError, QkdError, RemoteProtocolError, TransportError
from common.observability.logs import SparingLogger, logger
from common.service.credentials import read_private
from common.tunnels.messages import MOST_BYTES, Question, Reply, encoded, question, reply
from common.tunnels.settings import ApplicationSection, PeerSection, host_and_port

HANDSHAKE_SECONDS = 5.0
"""How long a handshake may take, and a question after it."""

MOST_CONNECTIONS = 64
"""Connections at a time, handshakes included."""

MOST_HANDSHAKES_OF_ONE = 32
"""Handshakes at a time with one address."""

MOST_OF_ONE = 4
"""Questions of one peer at a time; it asks one after the other."""


class Credentials:
    """What we show, and whom we believe.

    Parameters
    ----------
    settings : ApplicationSection
        Names the files.
    resolved : callable
        Says where a file of the configuration lies.

    Raises
    ------
    ConfigurationError
        If a file is missing or wrong, or others may read the key.
    """

    def __init__(self, settings: ApplicationSection, resolved: Callable[[Path], Path]) -> None:
        self._certificate, self._key, self._authority = map(resolved, (settings.certificate, settings.key, settings.authority))
        read_private(self._key, "application.key")
        self.to_node = self._context(ssl.PROTOCOL_TLS_CLIENT)
        self.to_peer = self._context(ssl.PROTOCOL_TLS_CLIENT)
        self.to_peer.check_hostname = False  # the certificate itself is compared with what is known of the peer
        self.to_peer.minimum_version = ssl.TLSVersion.TLSv1_3
        self.of_peers = self._context(ssl.PROTOCOL_TLS_SERVER)
        self.of_peers.minimum_version = ssl.TLSVersion.TLSv1_3
        self.of_peers.num_tickets = 0

    def _context(self, protocol: int) -> ssl.SSLContext:
        context = ssl.SSLContext(protocol)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.verify_mode = ssl.CERT_REQUIRED
        try:
            context.load_cert_chain(self._certificate, self._key, password=lambda: "")
        except (OSError, ssl.SSLError) as refused:
            raise ConfigurationError(
                f"application.certificate {self._certificate}, application.key {self._key}: {_reason(refused)}"
            ) from None
        try:
            context.load_verify_locations(self._authority)
        except (OSError, ssl.SSLError) as refused:
            raise ConfigurationError(f"application.authority {self._authority}: {_reason(refused)}") from None
        return context


class Peers:
    """Whose certificate is whose.

    Parameters
    ----------
    peers : dict[str, PeerSection]
        By name.

    Raises
    ------
    ConfigurationError
        If a certificate would be two peers'.
    """

    def __init__(self, peers: Mapping[str, PeerSection]) -> None:
        self._known: dict[tuple[str, str], str] = {}
        for peer, settings in peers.items():
            for kind, listed in (("name", settings.names), ("fingerprint", settings.fingerprints)):
                for value in listed:
                    other = self._known.setdefault((kind, value), peer)
                    if other != peer:
                        raise ConfigurationError(f"peer.{peer}: {kind} {value} is that of peer.{other} as well: only one of them")

    def of(self, secured: ssl.SSLObject | ssl.SSLSocket) -> str | None:
        """Return the peer at the other end of the connection ``secured``, or None: a stranger, or two at once."""
        shown = secured.getpeercert(binary_form=True)
        described = secured.getpeercert() or {}
        if shown is None:
            return None
        alternatives = cast("tuple[tuple[str, str], ...]", described.get("subjectAltName", ()))
        names = [value for kind, value in alternatives if kind == "DNS"]
        asked = [("fingerprint", hashlib.sha256(shown).hexdigest()), *(("name", name) for name in names)]
        found = {self._known[entry] for entry in asked if entry in self._known}
        return found.pop() if len(found) == 1 else None


async def ask(asked: Question, peer: str, address: str, context: ssl.SSLContext, peers: Peers, seconds: float) -> Reply:
    """Ask another end.

    Parameters
    ----------
    asked : Question
        What.
    peer, address : str
        Whom, and where it listens.
    context : ssl.SSLContext
        With our certificate.
    peers : Peers
        Says whose certificate we are shown.
    seconds : float
        How long all of it may take.

    Returns
    -------
    Reply
        Its answer.

    Raises
    ------
    AuthenticationError
        If somebody else listens there, or our certificate is not believed.
    TransportError
        If no answer comes.
    RemoteProtocolError
        If what comes is none.
    """
    host, port = host_and_port(address)
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(seconds):
            reader, writer = await asyncio.open_connection(host, port, ssl=context, limit=MOST_BYTES)
            if peers.of(writer.get_extra_info("ssl_object")) != peer:
                raise AuthenticationError(f"peer {peer} at {address}: the certificate shown there is not the one of this peer")
            writer.write(encoded(asked))
            line = await reader.readuntil()
        return reply(line)
    except ssl.SSLError as refused:
        raise AuthenticationError(f"peer {peer} at {address}: {_reason(refused)}") from None
    except asyncio.IncompleteReadError:
        raise TransportError(f"peer {peer} at {address}: closed the connection without an answer; its log says why") from None
    except asyncio.LimitOverrunError:
        raise RemoteProtocolError(f"peer {peer} at {address}: its answer is too long") from None
    except TimeoutError:
        raise TransportError(f"peer {peer} at {address}: no answer for {seconds:g} s") from None
    except OSError as gone:
        raise TransportError(f"peer {peer} at {address}: {gone.strerror or type(gone).__name__}") from None
    finally:
        if writer is not None:
            await _hang_up(writer)


class Listener:
    """Answers the questions of peers, and of nobody else.

    Parameters
    ----------
    address : str
        Where, ``HOST:PORT``.
    context : ssl.SSLContext
        With our certificate.
    peers : Peers
        Says whose certificate we are shown.
    answer : callable
        Given the peer and its question; its answer goes back, None none.
    """

    def __init__(
        self, address: str, context: ssl.SSLContext, peers: Peers, answer: Callable[[str, Question], Awaitable[Reply | None]]
    ) -> None:
        self.count_refused = 0
        self._address = address
        self._context = context
        self._peers = peers
        self._answer = answer
        self._listening: list[socket.socket] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._count_open = 0
        self._shaking: Counter[str] = Counter()
        self._asking: Counter[str] = Counter()
        self._log = SparingLogger("tunnels")

    async def start(self) -> None:
        """Listen.

        Raises
        ------
        ConfigurationError
            If the address cannot be had.
        """
        host, port = host_and_port(self._address)
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            for family, _, _, _, address in dict.fromkeys(found):
                self._listening.append(socket.create_server(address[:2], family=family, backlog=MOST_CONNECTIONS))
                self._listening[-1].setblocking(False)
        except OSError as refused:
            await self.stop()
            raise ConfigurationError(
                f"agreement.bind {self._address}: {refused.strerror}; choose another address or stop what uses it"
            ) from None
        for listening in self._listening:
            self._begin(self._accept(listening))

    async def stop(self) -> None:
        """Listen no more; what is under way is broken off."""
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
            except OSError as refused:
                self._log.warning("connection not accepted", error=refused)
                await asyncio.sleep(0.1)
                continue
            if self._count_open >= MOST_CONNECTIONS or self._shaking[str(address[0])] >= MOST_HANDSHAKES_OF_ONE:
                self._refuse("too many connections", str(address[0]))
                connection.close()
                continue
            self._count_open += 1
            self._shaking[str(address[0])] += 1
            self._begin(self._serve(connection, str(address[0])))

    async def _serve(self, connection: socket.socket, address: str) -> None:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=MOST_BYTES)
        writer: asyncio.StreamWriter | None = None
        try:
            async with asyncio.timeout(2 * HANDSHAKE_SECONDS):
                protocol = asyncio.StreamReaderProtocol(reader)
                try:
                    transport, _ = await loop.connect_accepted_socket(
                        lambda: protocol, connection, ssl=self._context, ssl_handshake_timeout=HANDSHAKE_SECONDS, ssl_shutdown_timeout=1.0
                    )
                finally:
                    _less(self._shaking, address)
                writer = asyncio.StreamWriter(transport, protocol, reader, loop)
                peer = self._peers.of(transport.get_extra_info("ssl_object"))
                if peer is None:
                    self._refuse("a certificate that is no peer's", address)
                    return
                if self._asking[peer] >= MOST_OF_ONE:
                    self._refuse("too many questions of one peer", address)
                    return
            self._asking[peer] += 1
            try:
                await self._converse(peer, reader, writer)
            finally:
                _less(self._asking, peer)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, QkdError) as broken:
            self._refuse(_reason(broken) if isinstance(broken, OSError) else str(broken), address)
        except Exception as bug:  # noqa: BLE001 - one connection must not end the others
            logger("tunnels").error("a question failed on a mistake of ours", error=bug)
        finally:
            self._count_open -= 1
            if writer is not None:
                await _hang_up(writer)
            connection.close()

    async def _converse(self, peer: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(HANDSHAKE_SECONDS):
            asked = question(await reader.readuntil())
        if (answered := await self._answer(peer, asked)) is not None:
            writer.write(encoded(answered))
            with contextlib.suppress(OSError):  # the other end hangs up once it has read; whether it did shows in its next question
                async with asyncio.timeout(HANDSHAKE_SECONDS):
                    await reader.read(1)

    def _refuse(self, reason: str, address: str) -> None:
        self.count_refused += 1
        self._log.warning("connection refused", reason=reason, address=address, refused=self.count_refused)

    def _begin(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _less(counts: Counter[str], name: str) -> None:
    """Count ``name`` no longer, and forget it with the last one."""
    counts[name] -= 1
    if not counts[name]:
        del counts[name]


async def _hang_up(writer: asyncio.StreamWriter) -> None:
    """End a connection at once, and wait until it has."""
    writer.transport.abort()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


def _reason(refused: OSError) -> str:
    """Say in a few words what OpenSSL or the system did not like."""
    if isinstance(refused, ssl.SSLCertVerificationError):
        return str(refused.verify_message)
    if isinstance(refused, ssl.SSLError) and refused.reason:
        return str(refused.reason).lower().replace("_", " ")
    return refused.strerror or type(refused).__name__
