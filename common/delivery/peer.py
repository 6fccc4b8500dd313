"""The line to the peer, kept open: greets while there is none, sends in order, asks the peer to hold keys, and answers when it asks us.

Frames come from the transport, which must not wait; what they ask for is bounded, and refused beyond.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from common.channel.authentication import ChannelSecrets
from common.channel.codec import Party
from common.channel.delivery_messages import DeliveryState, KeyMove, KeyMoved, KeyReserve, KeyReserved, KeySettle, KeySettled
from common.channel.message import Message
from common.delivery.line import Line
from common.errors import QkdError, RemoteProtocolError, TransportError
from common.keystore.interface import Piece
from common.keystore.moves import Move
from common.keystore.orders import KEY_ID_BYTES, Allotment, Announcement, Order
from common.observability.logs import SparingLogger, logger
from common.service.wire import DELIVERY

GREETING_SECONDS = 0.5
"""How long after the first greeting the peer is greeted again; then after twice as long, and so on."""

LONGEST_GREETING_SECONDS = 8.0

MOST_OUTGOING = 1024
"""Messages that wait to be sent; the line is closed where more do."""

MOST_ANNOUNCED = 64
"""Announcements of the peer that wait to be held; more are refused."""

MOST_SERVING = 4 * MOST_ANNOUNCED
"""Answers under way at a time; beyond it messages are dropped."""

HELD, NOT_HERE, TAKEN_BEFORE, NOT_READY, FAILED, FULL = range(6)
"""What ``KeyReserved`` says."""

SEPARATOR, ORDER_SEPARATOR = "\n", "\0"

_Asked = TypeVar("_Asked", int, Move)


class Wire(Protocol):
    """What frames travel over; ``Transport`` is one."""

    heard_delivery: Callable[[bytes], None] | None

    async def send(self, frame: bytes) -> None:
        """Send a frame."""

    async def wait_present(self) -> None:
        """Wait until the peer gives a sign of life."""

    async def wait_absent(self) -> None:
        """Wait until the peer is gone."""


class Host(Protocol):
    """Who answers for this end."""

    async def hold(self, announced: Announcement) -> int:
        """Hold keys, as ``announced``; return one of the answers above."""

    async def settle(self, pieces: tuple[Piece, ...]) -> None:
        """Give up what is not held of ``pieces``."""

    async def take_over(self, move: Move) -> bool:
        """Take over the key of a ``move``; tell whether it is ours now."""

    async def state(self) -> DeliveryState:
        """Say how this end stands."""

    def opened(self) -> None:
        """The line has been opened anew."""


@dataclass(frozen=True, slots=True)
class PeerState:
    """How the peer stands, as it said last.

    Attributes
    ----------
    is_ready : bool
        Whether its store hands key out.
    our_pool_bytes : int
        What is left at its end of the pool from which we serve.
    names : frozenset[str]
        Its applications.
    """

    is_ready: bool = False
    our_pool_bytes: int = 0
    names: frozenset[str] = frozenset()


class PeerLink:
    """The line to the peer.

    Parameters
    ----------
    wire : Wire
        Carries frames.
    secrets : ChannelSecrets
        The provisioned secrets.
    party : Party
        Which end this is.
    host : Host
        Answers for this end.
    """

    def __init__(self, wire: Wire, secrets: ChannelSecrets, party: Party, host: Host) -> None:
        self.line = Line(secrets, party)
        self.state = PeerState()
        self._wire = wire
        self._host = host
        self._log = SparingLogger("delivery")
        self._outgoing: asyncio.Queue[bytes] = asyncio.Queue(MOST_OUTGOING)
        self._waiting: dict[int, asyncio.Future[int]] = {}
        self._settling: dict[int, asyncio.Future[int]] = {}
        self._moving: dict[Move, asyncio.Future[int]] = {}
        self._serving: set[asyncio.Future[None]] = set()
        self._count_serving = 0
        self._helpers: list[asyncio.Task[None]] = []

    @property
    def is_ready(self) -> bool:
        """Whether the peer would hold keys now."""
        return self.line.is_open and self.state.is_ready

    def start(self) -> None:
        """Begin to greet and to listen."""
        self._wire.heard_delivery = self._heard
        self._helpers = [asyncio.create_task(self._keep_open()), asyncio.create_task(self._send())]

    async def stop(self) -> None:
        """Listen no more; what is under way fails."""
        self._wire.heard_delivery = None
        self._close()
        tasks = [*self._helpers, *self._serving]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def reserve(self, allotment: Allotment, seconds: float) -> int:
        """Ask the peer to hold the keys of an allotment.

        Parameters
        ----------
        allotment : Allotment
            Durable here.
        seconds : float
            How long to wait.

        Returns
        -------
        int
            ``HELD``, or why not.

        Raises
        ------
        TransportError
            If no answer comes: whether they are held is unknown.
        """
        pieces, orders = allotment.handout.pieces, allotment.orders
        message = KeyReserve(
            allotment.handout.number,
            *_columns(pieces),
            tuple(len(order.key_ids) for order in orders),
            tuple(order.count_bytes for order in orders),
            b"".join(key_id for order in orders for key_id in order.key_ids),
            ORDER_SEPARATOR.join(SEPARATOR.join((order.master, *order.slaves)) for order in orders).encode(),
        )
        return await self._ask(message, self._waiting, message.handout, seconds)

    async def settle(self, handout: int, pieces: tuple[Piece, ...], seconds: float) -> None:
        """Have the peer give up what it does not hold.

        Parameters
        ----------
        handout : int
            Number of the allotment.
        pieces : tuple[Piece, ...]
            Where its key lies.
        seconds : float
            How long to wait.

        Raises
        ------
        TransportError
            If no answer comes.
        """
        await self._ask(KeySettle(handout, *_columns(pieces)), self._settling, handout, seconds)

    async def move(self, move: Move, seconds: float) -> bool:
        """Have the peer take over key that was given up here.

        Parameters
        ----------
        move : Move
            Durable here.
        seconds : float
            How long to wait.

        Returns
        -------
        bool
            Whether it has it now, durably.

        Raises
        ------
        TransportError
            If no answer comes: it is to be asked again.
        """
        message = KeyMove(move.block, move.first_byte, move.count_bytes, move.target_byte)
        return bool(await self._ask(message, self._moving, move, seconds))

    async def tell_state(self) -> None:
        """Tell the peer how this end stands, if the line is open."""
        if self.line.is_open:
            self._say(await self._host.state())

    async def _ask(self, message: Message, waiting: dict[_Asked, asyncio.Future[int]], asked: _Asked, seconds: float) -> int:
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        waiting[asked] = answer
        try:
            if not self._say(message):
                raise TransportError("the peer is away")
            return await asyncio.wait_for(answer, seconds)
        except TimeoutError:
            raise TransportError(f"the peer gave no answer for {seconds:g} s") from None
        finally:
            waiting.pop(asked, None)

    def _say(self, message: Message) -> bool:
        """Queue a message; False where the line is closed, or has to be because too much waits."""
        if not self.line.is_open:
            return False
        if self._outgoing.full():
            self._close()
            return False
        self._outgoing.put_nowait(self.line.seal(message))
        return True

    async def _send(self) -> None:
        while True:
            data = await self._outgoing.get()
            try:
                await self._wire.send(bytes((DELIVERY,)) + data)
            except TransportError:
                self._close()
            except Exception as bug:  # noqa: BLE001 - what is said next has to be sent all the same
                logger("delivery").error("message not sent, on a mistake of ours", error=bug)
                self._close()

    async def _keep_open(self) -> None:
        while True:
            await self._wire.wait_present()
            gone = asyncio.create_task(self._wire.wait_absent())
            pause = GREETING_SECONDS
            try:
                while not gone.done():
                    if self.line.is_open:
                        pause = GREETING_SECONDS
                    elif not self._outgoing.full():
                        self._outgoing.put_nowait(self.line.greet())
                    await asyncio.wait({gone}, timeout=pause)
                    pause = min(2 * pause, LONGEST_GREETING_SECONDS)
            finally:
                gone.cancel()
            self._close()

    def _close(self) -> None:
        """Forget the line; nobody knows what became of what was under way."""
        self.line.close()
        self.state = PeerState()
        while not self._outgoing.empty():
            self._outgoing.get_nowait()
        self._fail_waiting("the peer is away")

    def _heard(self, data: bytes) -> None:
        """Take in a frame; called where frames arrive, so it waits for nothing and lets nothing through that would end that."""
        try:
            self._take_in(data)
        except RemoteProtocolError as broken:
            self._log.warning("peer broke the rules", error=broken)
            self._close()
        except Exception as bug:  # noqa: BLE001 - the transport has to go on receiving
            logger("delivery").error("message of the peer failed on a mistake of ours", error=bug)
            self._close()

    def _take_in(self, data: bytes) -> None:
        refused = self.line.count_refused
        heard = self.line.receive(data)
        if self.line.count_refused > refused:
            self._log.warning("message about keys refused", refused=self.line.count_refused)
        if heard.is_opened:
            self._fail_waiting("the peer was started anew")
        for reply in heard.replies:
            if not self._outgoing.full():
                self._outgoing.put_nowait(reply)
        if heard.is_opened:
            logger("delivery").info("line to the peer opened")
            self._host.opened()
            self._begin(self.tell_state())
        self._understand(heard.message)

    def _fail_waiting(self, why: str) -> None:
        for answer in (*self._waiting.values(), *self._settling.values(), *self._moving.values()):
            if not answer.done():
                answer.set_exception(TransportError(why))

    def _understand(self, message: Message | None) -> None:
        match message:
            case DeliveryState(is_ready, peer_pool_bytes, names):
                self.state = PeerState(is_ready, peer_pool_bytes, frozenset(_text(names).split(SEPARATOR)) - {""})
            case KeyReserved(handout, refusal):
                _resolve(self._waiting.get(handout), refusal)
            case KeySettled(handout):
                _resolve(self._settling.get(handout), HELD)
            case KeyMoved(block, first_byte, count_bytes, target_byte, is_accepted):
                _resolve(self._moving.get(Move(block, first_byte, count_bytes, target_byte)), int(is_accepted))
            case KeyReserve() | KeySettle() | KeyMove() if len(self._serving) >= MOST_SERVING:
                self._log.warning("the peer asks more at a time than can be served", waiting=len(self._serving))  # it asks again
            case KeyReserve():
                self._begin(self._reserve(message.handout, _announcement(message)))
            case KeyMove(block, first_byte, count_bytes, target_byte):
                self._begin(self._take_over(Move(block, first_byte, count_bytes, target_byte)))
            case KeySettle(handout):
                self._begin(self._settle(handout, _pieces(message)))
            case _:
                pass

    def _begin(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._serving.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Future[None]) -> None:
        self._serving.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger("delivery").error("an answer to the peer failed", error=error)

    async def _reserve(self, handout: int, announced: Announcement) -> None:
        if self._count_serving >= MOST_ANNOUNCED:
            self._say(KeyReserved(handout, FAILED))
            return
        self._count_serving += 1
        try:
            self._say(KeyReserved(handout, await self._host.hold(announced)))
        finally:
            self._count_serving -= 1

    async def _settle(self, handout: int, pieces: tuple[Piece, ...]) -> None:
        try:
            await self._host.settle(pieces)
        except QkdError as refused:
            self._log.warning("pieces not settled", error=refused)  # the peer asks again
        else:
            self._say(KeySettled(handout))

    async def _take_over(self, move: Move) -> None:
        try:
            is_accepted = await self._host.take_over(move)
        except QkdError as refused:
            self._log.warning("key not taken over yet", error=refused)  # the peer asks again
        else:
            self._say(KeyMoved(move.block, move.first_byte, move.count_bytes, move.target_byte, is_accepted))


def _resolve(answer: asyncio.Future[int] | None, value: int) -> None:
    if answer is not None and not answer.done():
        answer.set_result(value)


def _columns(pieces: tuple[Piece, ...]) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    return (
        tuple(piece.block for piece in pieces),
        tuple(piece.first_byte for piece in pieces),
        tuple(piece.count_bytes for piece in pieces),
    )


def _pieces(message: KeyReserve | KeySettle) -> tuple[Piece, ...]:
    if not len(message.blocks) == len(message.first_bytes) == len(message.counts):
        raise RemoteProtocolError("pieces whose columns differ in length")
    return tuple(Piece(*place) for place in zip(message.blocks, message.first_bytes, message.counts, strict=True))


def _announcement(message: KeyReserve) -> Announcement:
    """Read what is to be held; whatever does not fit together is the peer's breach."""
    listed = _text(message.names).split(ORDER_SEPARATOR)
    if not len(listed) == len(message.key_counts) == len(message.key_bytes):
        raise RemoteProtocolError("orders whose columns differ in length")
    if sum(message.key_counts) * KEY_ID_BYTES != len(message.key_ids) or 0 in message.key_counts or 0 in message.key_bytes:
        raise RemoteProtocolError("orders that do not fit their keys")
    orders, first = [], 0
    for names, count_keys, count_bytes in zip(listed, message.key_counts, message.key_bytes, strict=True):
        master, *slaves = names.split(SEPARATOR)
        if not master or not slaves or not all(slaves):
            raise RemoteProtocolError("an order of nobody, or for nobody")
        ids = (message.key_ids[KEY_ID_BYTES * at : KEY_ID_BYTES * (at + 1)] for at in range(first, first + count_keys))
        orders.append(Order(tuple(ids), count_bytes, master, tuple(dict.fromkeys(slaves))))
        first += count_keys
    return Announcement(_pieces(message), tuple(orders))


def _text(names: bytes) -> str:
    try:
        return names.decode()
    except UnicodeDecodeError:
        raise RemoteProtocolError("names that are no text") from None
