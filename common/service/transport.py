"""The classical channel between two daemons: ZeroMQ with CURVE, one peer and nobody else.

The listening end is a bound ROUTER, the other a connecting DEALER (a PAIR does not reconnect, and two DEALERs on a bound DEALER share out
the messages). Only the provisioned key of the peer gets through the handshake; everybody else is refused, counted and logged. Frames go to
and come from the session driver; signs of life stay here.

References
----------
ZeroMQ RFC 26 (CURVE), RFC 27 (ZAP).
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import zmq
import zmq.asyncio
from zmq.auth.asyncio import AsyncioAuthenticator
from zmq.utils.monitor import parse_monitor_message

from common.errors import ConfigurationError, TransportError
from common.observability.logs import SparingLogger, logger
from common.service.credentials import ChannelKeys
from common.service.loop_socket import LoopSocket
from common.service.settings import ChannelSection
from common.service.wire import ALIVE, DELIVERY, GREETING, MAXIMUM_FRAME_BYTES, Sign

PEER = b"peer"
"""Routing id of the connecting end: a new connection of the peer takes the place of a dead one."""

CURVE_OVERHEAD_BYTES = 64
"""What CURVE adds to a frame (RFC 26: 33 bytes), rounded up."""

FRAMES_IN_MEMORY = 8
"""Frames queued before the sender has to wait: here in each direction, and in ZeroMQ those to be sent."""

FRAMES_RECEIVED = 256
"""Frames that ZeroMQ queues for us: more than an honest peer ever has under way. Where this queue is full, libzmq 4.3.5 aborts the process
if the connection then breaks: it has stopped reading, notes the error, and finds it again when it reads on."""

HANDSHAKE_MILLISECONDS = 5000
"""How long a handshake may take; a stranger cannot hold a connection open for longer."""

LONGEST_RECONNECT_MILLISECONDS = 500
"""Upper end of the growing wait between attempts to connect."""

FIRST_PATIENCE_SECONDS = 2.0
LONGEST_PATIENCE_SECONDS = 10.0
"""How long the connecting end waits for a sign of the peer before it begins anew with another socket; it doubles between these."""

ROUND_TRIPS = 16
"""Round trips remembered."""

LONGEST_ROUND_TRIP_US = 60_000_000
"""A longer round trip is none: the peer's clock was set, or somebody plays."""

FAILED_HANDSHAKE = zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_AUTH


@dataclass(slots=True)
class ChannelCounts:
    """What happened on the channel so far.

    Attributes
    ----------
    strangers : int
        Connections refused because their key is not the peer's.
    failed_handshakes : int
        Handshakes that came to nothing: no CURVE, another server key, refused by the peer.
    odd_frames : int
        Frames that were no frames of ours.
    arrivals : int
        How often the peer came (back).
    received_frames, sent_frames : int
        Frames, signs of life left out.
    received_bytes, sent_bytes : int
        Their bytes, without what ZeroMQ adds.
    """

    strangers: int = 0
    failed_handshakes: int = 0
    odd_frames: int = 0
    arrivals: int = 0
    received_frames: int = 0
    sent_frames: int = 0
    received_bytes: int = 0
    sent_bytes: int = 0


class _Doorkeeper(AsyncioAuthenticator):
    """Lets in the one key of the peer (ZAP)."""

    def __init__(self, context: zmq.asyncio.Context, peer_public: bytes, counts: ChannelCounts) -> None:
        super().__init__(context)
        self._peer_public = peer_public
        self._counts = counts
        self._address = ""
        self._log = SparingLogger("transport")
        self.configure_curve_callback(domain="*", credentials_provider=self)

    async def handle_zap_message(self, msg: list[bytes]) -> None:
        """Remember whence the next key comes, then decide."""
        self._address = msg[3].decode("ascii", "replace") if len(msg) > 3 else ""
        await super().handle_zap_message(msg)

    def callback(self, _domain: str, key: bytes) -> bool:
        """Say whether ``key`` is the peer's."""
        if key == self._peer_public:
            return True
        self._counts.strangers += 1
        self._log.warning(
            "stranger refused",
            address=self._address,
            refused=self._counts.strangers,
            advice="if this should be the peer, compare its channel.pub with our peer.pub",
        )
        return False


class Transport:
    """One end of the channel.

    Parameters
    ----------
    settings : ChannelSection
        Where to bind or connect; intervals.
    keys : ChannelKeys
        Ours, and the peer's.

    Attributes
    ----------
    heard_delivery : callable | None
        Given what the peer says about keys for applications; must return at once.
    """

    def __init__(self, settings: ChannelSection, keys: ChannelKeys) -> None:
        self.counts = ChannelCounts()
        self.busy = False
        self.peer_busy = False
        self._settings = settings
        self._keys = keys
        self._context = zmq.asyncio.Context()
        self._doorkeeper: _Doorkeeper | None = None
        self._socket: LoopSocket | None = None
        self._monitor: LoopSocket | None = None
        self._prefix: list[bytes] = []
        self._frames: asyncio.Queue[bytes] = asyncio.Queue(FRAMES_IN_MEMORY)
        self._greeted = asyncio.Event()
        self._count_greetings = 0
        self._present = asyncio.Event()
        self._absent = asyncio.Event()
        self._absent.set()
        self._last_heard = self._alone_since = 0.0
        self._last_sign = (0, 0)
        self._round_trips_us: deque[int] = deque(maxlen=ROUND_TRIPS)
        self._patience_seconds = FIRST_PATIENCE_SECONDS
        self._is_reading = True
        self._sending = asyncio.Lock()
        self._log = SparingLogger("transport")
        self.heard_delivery: Callable[[bytes], None] | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._followers: list[asyncio.Task[None]] = []

    @property
    def is_present(self) -> bool:
        """Whether the peer gives signs of life."""
        return self._present.is_set()

    @property
    def round_trip_seconds(self) -> float | None:
        """The shortest of the latest round trips of signs of life: what lies behind other frames takes longer; None before the first."""
        return min(self._round_trips_us) / 1e6 if self._round_trips_us else None

    async def start(self) -> None:
        """Open the socket.

        Raises
        ------
        ConfigurationError
            If the address cannot be bound or is no address.
        """
        bound, connected = self._settings.bind, self._settings.connect
        if bool(bound) == bool(connected):
            raise ConfigurationError("channel: give either bind or connect")
        try:
            self._open()
        except zmq.ZMQError as refused:
            key, advice = (
                ("channel.bind", "choose another address or stop what uses it") if bound else ("channel.connect", "write tcp://HOST:PORT")
            )
            await self.stop()
            raise ConfigurationError(f"{key} {bound or connected}: {zmq.strerror(refused.errno or 0)}; {advice}") from None
        self._keeper = asyncio.create_task(self._keep_alive())

    def _open(self) -> None:
        """Open a socket and follow what comes of it."""
        bound, connected = self._settings.bind, self._settings.connect
        socket = zmq.Context(self._context).socket(zmq.ROUTER if bound else zmq.DEALER)
        self._socket = LoopSocket(socket)
        self._configure(socket)
        events = FAILED_HANDSHAKE
        if bound:
            self._doorkeeper = _Doorkeeper(self._context, self._keys.peer_public, self.counts)
            self._doorkeeper.start()
            self._prefix = [PEER]
            self._serve(socket)
        else:
            self._join(socket)
            events |= zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED
        self._monitor = LoopSocket(socket.get_monitor_socket(events))
        if bound:
            socket.bind(bound)
        else:
            socket.connect(connected or "")
        self._alone_since = time.monotonic()
        self._followers = [asyncio.create_task(self._receive(self._socket)), asyncio.create_task(self._watch(self._monitor))]

    async def _close(self) -> None:
        """Close the socket and all that follows it."""
        for follower in self._followers:
            follower.cancel()
        await asyncio.gather(*self._followers, return_exceptions=True)
        self._followers = []
        if self._socket is not None:  # ZeroMQ stops telling before we stop listening: told to nobody, an event waits for ever, and so do we
            self._socket.socket.disable_monitor()
        if self._monitor is not None:
            self._monitor.close()
            self._monitor = None
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    async def _begin_anew(self) -> None:
        """Connect with another socket: after a breach of protocol ZeroMQ tries no more, and anybody on the way can cause one."""
        self._log.warning(
            "peer does not answer", address=self._settings.connect, advice="is its service running, and can it be reached from here?"
        )
        self._patience_seconds = min(2 * self._patience_seconds, LONGEST_PATIENCE_SECONDS)
        async with self._sending:
            await self._close()
            try:
                self._open()
            except zmq.ZMQError as refused:
                self._log.warning("cannot connect", error=refused)

    def _configure(self, socket: zmq.Socket[bytes]) -> None:
        interval = round(self._settings.heartbeat_seconds * 1000)
        patience = round(self._settings.silence_seconds * 1000)
        options: dict[int, Any] = {
            zmq.CURVE_SECRETKEY: self._keys.secret,
            zmq.CURVE_PUBLICKEY: self._keys.public,
            zmq.MAXMSGSIZE: MAXIMUM_FRAME_BYTES + CURVE_OVERHEAD_BYTES,
            zmq.SNDHWM: FRAMES_IN_MEMORY,
            zmq.RCVHWM: FRAMES_RECEIVED,
            zmq.LINGER: 200,
            zmq.HEARTBEAT_IVL: interval,
            zmq.HEARTBEAT_TIMEOUT: patience,
            zmq.HEARTBEAT_TTL: patience,
            zmq.HANDSHAKE_IVL: HANDSHAKE_MILLISECONDS,
            zmq.IPV6: 1,
        }
        for option, value in options.items():
            socket.setsockopt(option, value)

    @staticmethod
    def _serve(socket: zmq.Socket[bytes]) -> None:
        socket.setsockopt(zmq.CURVE_SERVER, 1)
        socket.setsockopt(zmq.ROUTER_HANDOVER, 1)
        socket.setsockopt(zmq.ROUTER_MANDATORY, 1)  # an absent peer is an error, not silence

    def _join(self, socket: zmq.Socket[bytes]) -> None:
        socket.setsockopt(zmq.CURVE_SERVERKEY, self._keys.peer_public)
        socket.setsockopt(zmq.ROUTING_ID, PEER)
        socket.setsockopt(zmq.IMMEDIATE, 1)  # nothing is queued for a peer that is not there: it would be stale when he comes
        socket.setsockopt(zmq.RECONNECT_IVL, 100)
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, LONGEST_RECONNECT_MILLISECONDS)

    async def send(self, frame: bytes) -> None:
        """Send a frame, waiting while the peer is slow.

        Parameters
        ----------
        frame : bytes
            At most ``MAXIMUM_FRAME_BYTES``.

        Raises
        ------
        TransportError
            If the peer is gone, or takes nothing for too long.
        """
        async with self._sending:
            if self._socket is None:
                raise TransportError("the channel is closed")
            parts = [*self._prefix, frame]
            try:
                if not self._socket.send_at_once(parts):
                    await self._sent_or_lost(asyncio.create_task(self._socket.send(parts)))
            except zmq.ZMQError as gone:
                raise TransportError(f"the peer is not connected: {gone.strerror}") from None
        self.counts.sent_frames += 1
        self.counts.sent_bytes += len(frame)

    async def _sent_or_lost(self, sent: asyncio.Task[None]) -> None:
        """Wait until a frame is on its way, the peer is gone, or has taken nothing for too long."""
        lost = asyncio.create_task(self._absent.wait())
        try:
            await asyncio.wait({sent, lost}, timeout=self._settings.silence_seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            lost.cancel()
            is_sent = sent.done()
            sent.cancel()
            await asyncio.gather(lost, sent, return_exceptions=True)
        if not is_sent:
            silence = f"the peer took nothing for {self._settings.silence_seconds:g} s"
            raise TransportError("the peer is gone" if self._absent.is_set() else silence)
        sent.result()

    async def receive(self) -> bytes:
        """Return the next frame, signs of life left out."""
        frame = await self._frames.get()
        if frame[0] == GREETING:
            self._count_greetings -= 1
            if not self._count_greetings:
                self._greeted.clear()
        return frame

    @property
    def is_greeted(self) -> bool:
        """Whether a greeting is there to be received."""
        return self._greeted.is_set()

    async def wait_greeting(self) -> None:
        """Wait until a greeting is there to be received."""
        await self._greeted.wait()

    async def wait_present(self) -> None:
        """Wait until the peer gives a sign of life."""
        await self._present.wait()

    async def wait_absent(self) -> None:
        """Wait until the peer has gone or fallen silent."""
        await self._absent.wait()

    async def stop(self) -> None:
        """Close everything; frames still on their way get a fifth of a second."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        self._lost()
        await self._close()
        if self._doorkeeper is not None:
            self._doorkeeper.stop()
            self._doorkeeper = None
        self._context.destroy(linger=200)

    async def _receive(self, socket: LoopSocket) -> None:
        while True:
            parts = await socket.receive()
            frame = parts[-1]
            if parts[:-1] != self._prefix or not 0 < len(frame) <= MAXIMUM_FRAME_BYTES:
                self.counts.odd_frames += 1
                continue
            await self._heard()
            if frame[0] == ALIVE:
                await self._read_sign(frame)
                continue
            if frame[0] == DELIVERY:  # never waits behind a session that is busy, nor in its place where nobody listens
                if self.heard_delivery is not None:
                    self.heard_delivery(frame[1:])
                continue
            self.counts.received_frames += 1
            self.counts.received_bytes += len(frame)
            self._is_reading = False  # while we are the slow ones, the peer's silence is our own doing
            await self._frames.put(frame)
            if frame[0] == GREETING:
                self._count_greetings += 1
                self._greeted.set()
            self._is_reading = True
            self._last_heard = time.monotonic()

    async def _read_sign(self, frame: bytes) -> None:
        sign, now_us = Sign.read(frame), round(time.monotonic() * 1e6)
        if sign is None:
            self.counts.odd_frames += 1
            return
        self.peer_busy = sign.busy
        self._last_sign = (now_us, sign.sent_us)
        round_trip_us = now_us - sign.echoed_us - sign.held_us
        if sign.echoed_us and 0 <= round_trip_us < LONGEST_ROUND_TRIP_US:
            self._round_trips_us.append(round_trip_us)
        if sign.answer:
            await self._give_sign()

    async def _heard(self) -> None:
        self._last_heard = time.monotonic()
        if self._present.is_set():
            return
        self._patience_seconds = FIRST_PATIENCE_SECONDS
        self.counts.arrivals += 1
        self._absent.clear()
        self._present.set()
        logger("transport").info("peer present")

    def _lost(self) -> None:
        self.peer_busy = False
        self._alone_since = time.monotonic()
        self._present.clear()
        self._absent.set()

    async def _give_sign(self) -> None:
        if self._socket is None or self._sending.locked():
            return  # a frame under way is a sign of life itself
        now, (heard_us, sent_us) = time.monotonic(), self._last_sign
        held_us = round(now * 1e6) - heard_us if sent_us else 0
        sign = Sign(busy=self.busy, answer=not self._present.is_set(), sent_us=round(now * 1e6), echoed_us=sent_us, held_us=held_us)
        try:
            self._socket.send_at_once([*self._prefix, sign.frame()])
        except zmq.ZMQError as gone:
            if gone.errno == zmq.EHOSTUNREACH and self._present.is_set():  # a listening socket knows whether its peer is connected
                logger("transport").warning("peer gone", detail="the connection was closed")
                self._lost()

    async def _keep_alive(self) -> None:
        while True:
            await self._give_sign()
            await asyncio.sleep(self._settings.heartbeat_seconds)
            silent = time.monotonic() - self._last_heard
            if self._present.is_set() and self._is_reading and silent > self._settings.silence_seconds:
                logger("transport").warning("peer silent", seconds=round(silent, 1))
                self._lost()
            alone = time.monotonic() - self._alone_since
            if self._settings.connect is not None and not self._present.is_set() and alone > self._patience_seconds:
                await self._begin_anew()

    async def _watch(self, monitor: LoopSocket) -> None:
        """Follow what ZeroMQ says about connections."""
        while True:
            event = parse_monitor_message(await monitor.receive())["event"]
            if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                await self._give_sign()
            elif event == zmq.EVENT_DISCONNECTED:
                if self._present.is_set():
                    logger("transport").warning("peer gone", detail="the connection was closed")
                self._lost()
            else:
                self.counts.failed_handshakes += 1
                self._log.warning(
                    "handshake failed",
                    failed=self.counts.failed_handshakes,
                    advice="compare peer.pub at each end with channel.pub of the other, or somebody meddles with the connection",
                )
