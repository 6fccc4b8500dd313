"""Serves all requests of a moment together: one durable change of the store for as many as have come, then one answer of the peer for all.

A disk takes milliseconds to promise that it has written, however much; so what waits is served at once, and what comes meanwhile waits for
the next round. Orders go out as soon as the peer holds them; while it does, the next round is under way.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from common.channel.delivery_messages import DeliveryState
from common.delivery.peer import FAILED, HELD, NOT_HERE, NOT_READY, SEPARATOR, PeerLink
from common.delivery.refusals import KEYS_NOT_FOUND, RefusalError, bad_request, unauthorised, unavailable
from common.delivery.rounds import MOST_ROUND_KEYS, MOST_WAITING, NOT_YET, REFUSALS, answer_to, new_key_id, over_quota, taken, too_little
from common.errors import (
    KeyStoreError,
    PeerNotMetError,
    QkdError,
    TransportError,
)
from common.keystore.interface import Piece
from common.keystore.moves import Move, count_to_give
from common.keystore.orders import Allotment, Announcement, Collection, DeliveryStore, NotForYouError, Order, Round, Served
from common.observability.logs import SparingLogger, logger
from common.service.workers import Workers

COMMIT_SECONDS, COMMIT_TRIES = 0.25, 8
"""How often, and how many times, keys are tried to be held of a block that the peer has committed and we are about to, or of what moved."""

MOST_DELIVERIES = 4
"""Allotments at a time of which the peer has not said yet whether it holds them; orders wait meanwhile, and gather."""

MOST_ROUND_NAMES = 1 << 18
"""Letters of names in one round, for the same reason."""

_COUNTS = ("rounds", "keys_ordered", "keys_collected", "keys_held", "keys_expired", "orders_lost", "orders_over_quota", "bytes_moved")

TIDY_SECONDS = 2.0
"""How often held keys that need no longer be kept are destroyed, and the peer is told how we stand."""

BALANCE_SECONDS = 1.0
"""How often pools are compared, and the peer is told again of a move; sooner than it gives up to have us hold keys of what moved."""

REFUSED_SECONDS = 600.0
"""How long no more key is given to the peer's pool after it has refused some, which is lost: one that refuses all must not empty ours."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """Keys for an application.

    Attributes
    ----------
    keys : list[tuple[bytes, bytes]]
        Number and key of each.
    pieces : tuple[Piece, ...]
        What they were cut from, together with keys of others.
    first_byte : int
        Where in that the first of them begins.
    """

    keys: list[tuple[bytes, bytes]] = field(repr=False)
    pieces: tuple[Piece, ...] = ()
    first_byte: int = 0

    def blocks_of(self, index: int, count_bytes: int) -> list[int]:
        """Return the blocks that the key at ``index``, all of ``count_bytes``, was cut from."""
        low, reached, found = self.first_byte + index * count_bytes, 0, []
        for piece in self.pieces:
            if reached < low + count_bytes and low < reached + piece.count_bytes:
                found.append(piece.block)
            reached += piece.count_bytes
        return found


@dataclass(slots=True)
class _Waiting:
    order: Order
    answer: asyncio.Future[Delivered] = field(repr=False)


_Collections = list[tuple[Collection, "asyncio.Future[list[bytes]]"]]
_Announced = list[tuple[Announcement, "asyncio.Future[int]"]]


class Desk:
    """Orders and collections of one node.

    Parameters
    ----------
    workers : Workers
        The store's thread is theirs.
    open_store : callable
        Returns the key store.
    names, quotas : callable
        Return the applications that may be given key here, and the bytes a day of those that have a quota, as of now.
    repeat_seconds, keep_seconds, peer_seconds : float
        How long a collection may be repeated, how long keys wait for it, how long the peer may take.
    seconds_to_make : callable
        Says how long the link needs for so many bits for who asks here; None where no key comes at present.
    balances : bool
        Whether key is given to the other end's pool where that is far emptier.
    """

    def __init__(
        self,
        workers: Workers,
        open_store: Callable[[], DeliveryStore],
        names: Callable[[], tuple[str, ...]],
        quotas: Callable[[], Mapping[str, int]],
        *,
        repeat_seconds: float,
        keep_seconds: float,
        peer_seconds: float,
        seconds_to_make: Callable[[int], float | None],
        balances: bool = True,
    ) -> None:
        self.peer: PeerLink | None = None
        self.counts = dict.fromkeys(_COUNTS, 0)
        self._workers = workers
        self._open_store = open_store
        self._names, self._quotas = names, quotas
        self.drawn_bytes: dict[str, int] = {}
        self._repeat_seconds, self._keep_seconds, self._peer_seconds = repeat_seconds, keep_seconds, peer_seconds
        self._seconds_to_make = seconds_to_make
        self._balances = balances
        self._orders: list[_Waiting] = []
        self._collections: _Collections = []
        self._announced: _Announced = []
        self._settled: set[int] = set()
        self._under_way: set[int] = set()
        self._due = asyncio.Event()
        self._to_settle = asyncio.Event()
        self._has_changed = asyncio.Event()
        self._deliveries: set[asyncio.Task[None]] = set()
        self._helpers: list[asyncio.Task[None]] = []
        self._log = SparingLogger("delivery")

    def start(self) -> None:
        """Begin to serve."""
        self._helpers = [asyncio.create_task(work) for work in (self._serve(), self._settle_peer(), self._tidy(), self._keep_balance())]

    async def stop(self) -> None:
        """Serve no more; whoever waits is refused."""
        for task in (*self._helpers, *self._deliveries):
            task.cancel()
        await asyncio.gather(*self._helpers, *self._deliveries, return_exceptions=True)
        self._refuse_all(unavailable("the node is stopping"))

    async def order(self, master: str, slaves: tuple[str, ...], number: int, count_bytes: int) -> Delivered:
        """Have keys made over to an application here, once the peer holds them for others.

        Parameters
        ----------
        master : str
            Who asks.
        slaves : tuple[str, ...]
            Who may have them at the other end.
        number, count_bytes : int
            How many, and the length of each.

        Returns
        -------
        Delivered
            The keys.

        Raises
        ------
        RefusalError
            400 for applications that the peer does not know, 503 where keys cannot be had at present.
        """
        peer = self._ready_peer()
        if unknown := [slave for slave in slaves if slave not in peer.state.names]:
            raise bad_request("SAE_ID is not known at the target KME", unknown=unknown)
        if len(self._orders) >= MOST_WAITING:
            raise unavailable("too many requests wait", waiting=len(self._orders))
        answer: asyncio.Future[Delivered] = asyncio.get_running_loop().create_future()
        self._orders.append(_Waiting(Order(tuple(new_key_id() for _ in range(number)), count_bytes, master, slaves), answer))
        self._due.set()
        return await answer

    async def collect(self, collection: Collection) -> list[bytes]:
        """Give keys that are held here.

        Parameters
        ----------
        collection : Collection
            Which, and to whom.

        Returns
        -------
        list[bytes]
            In the order asked for.

        Raises
        ------
        RefusalError
            400 for keys that are not here, 401 where they are held for others, 503 where nothing is given at present.
        """
        if len(self._collections) >= MOST_WAITING:
            raise unavailable("too many requests wait", waiting=len(self._collections))
        answer: asyncio.Future[list[bytes]] = asyncio.get_running_loop().create_future()
        self._collections.append((collection, answer))
        self._due.set()
        return await answer

    async def deliverable_bytes(self) -> int:
        """Return how many bytes both ends can deliver to who asks here."""
        ours, _ = await self._workers.write(self._open_store().deliverable_bytes)
        return min(ours, self.peer.state.our_pool_bytes) if self.peer is not None and self.peer.is_ready else 0

    async def left_of_quota_bytes(self, master: str) -> tuple[int, int] | None:
        """Return what ``master`` may order in a day, and what is left of that; None where nothing limits it."""
        quota = self._quotas().get(master)
        if quota is None:
            return None
        return quota, max(0, quota - (await self._workers.write(self._open_store().drawn_bytes)).get(master, 0))

    async def worst_epsilon(self) -> float:
        """Return the highest secrecy parameter of the blocks that key for who asks here may come from."""
        return await self._workers.write(self._open_store().worst_epsilon)

    # ------------------------------------------------------------------------------------------------------- for the peer

    async def hold(self, announced: Announcement) -> int:
        """Hold keys, as ``announced`` by the peer; return one of its answers."""
        for _ in range(COMMIT_TRIES):
            answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
            self._announced.append((announced, answer))
            self._due.set()
            if (said := await answer) != NOT_YET:
                return said
            await asyncio.sleep(COMMIT_SECONDS)
        return NOT_HERE

    async def settle(self, pieces: tuple[Piece, ...]) -> None:
        """Give up what is not held of ``pieces``."""
        await self._workers.write(self._open_store().skip, pieces)

    async def take_over(self, move: Move) -> bool:
        """Take over the key of a ``move``; tell whether it is ours now."""
        is_accepted = await self._workers.write(self._open_store().accept_move, move)
        self.tell_state()
        return is_accepted

    async def state(self) -> DeliveryState:
        """Say how this end stands."""
        levels = await self._workers.write(self._open_store().levels)
        _, theirs = await self._workers.write(self._open_store().deliverable_bytes)
        return DeliveryState(levels.met and not levels.doubted, theirs, SEPARATOR.join(self._names()).encode())

    def opened(self) -> None:
        """The line has been opened: what is unsettled can be settled."""
        self._to_settle.set()

    # ------------------------------------------------------------------------------------------------------------- rounds

    def _ready_peer(self) -> PeerLink:
        if self.peer is None or not self.peer.line.is_open:
            raise unavailable("the other KME is away", advice="its service, or the classical channel, is down; try again")
        if not self.peer.state.is_ready:
            raise unavailable("the other KME hands out no key at present", advice="both ends have to meet first; try again")
        return self.peer

    async def _serve(self) -> None:
        while True:
            await self._due.wait()
            self._due.clear()
            orders = self._take_orders() if len(self._deliveries) < MOST_DELIVERIES else []
            collections = taken(self._collections, lambda waiting: len(waiting[0].key_ids))
            announced = taken(self._announced, lambda waiting: sum(len(order.key_ids) for order in waiting[0].orders))
            if self._collections or self._announced or (self._orders and len(self._deliveries) < MOST_DELIVERIES):
                self._due.set()
            if not (orders or collections or announced):
                continue
            settled = tuple(self._settled)
            asked = Round(
                tuple(waiting.order for waiting in orders),
                tuple(announcement for announcement, _ in announced),
                tuple(collection for collection, _ in collections),
                settled,
                self._repeat_seconds,
                self._quotas(),
            )
            try:
                served = await self._workers.write(self._open_store().serve, asked)
            except Exception as failed:  # noqa: BLE001 - whatever it is, the next round must be served
                self._refuse_round(orders, collections, announced, failed)
                continue
            self._settled.difference_update(settled)
            self.counts["rounds"] += 1
            for (_, held), refused in zip(announced, served.held, strict=True):
                _resolve(held, HELD if refused is None else answer_to(refused))
            self.counts["keys_held"] += sum(
                len(order.key_ids)
                for (announcement, _), refused in zip(announced, served.held, strict=True)
                if refused is None
                for order in announcement.orders
            )
            for (collection, given), found in zip(collections, served.collected, strict=True):
                self._give(collection, given, found)
            self._refuse_short(orders, served)
            if served.allotment is not None:
                self._deliver(served.allotment, orders)

    def _take_orders(self) -> list[_Waiting]:
        """Take the orders of a round; those whose asker has gone are dropped before anything is spent on them."""
        taken, count_keys, count_letters = list[_Waiting](), 0, 0
        while self._orders:
            waiting = self._orders[0]
            count_keys += len(waiting.order.key_ids)
            count_letters += 4 * (len(waiting.order.master) + sum(map(len, waiting.order.slaves)) + len(waiting.order.slaves) + 1)
            if taken and (count_keys > MOST_ROUND_KEYS or count_letters > MOST_ROUND_NAMES):
                break
            del self._orders[0]
            if not waiting.answer.done():
                taken.append(waiting)
        return taken

    def _give(self, collection: Collection, given: asyncio.Future[list[bytes]], found: list[bytes] | KeyStoreError) -> None:
        if isinstance(found, list):
            self.counts["keys_collected"] += len(found)
            _resolve(given, found)
        elif isinstance(found, NotForYouError):
            self._log.warning("key asked for that is held for others", sae=collection.slave)
            _refuse(given, unauthorised("the SAE is not authorised to be given one or more of the keys"))
        else:
            _refuse(given, bad_request(KEYS_NOT_FOUND))

    def _refuse_short(self, orders: list[_Waiting], served: Served) -> None:
        short, over = set(map(id, served.short)), {id(order): allowance for order, allowance in served.over}
        for waiting in orders:
            if (allowance := over.get(id(waiting.order))) is not None:
                self.counts["orders_over_quota"] += 1
                _refuse(waiting.answer, over_quota(waiting.order, allowance))
            if id(waiting.order) in short:
                _refuse(waiting.answer, too_little(waiting.order, served.left_bytes, self._seconds_to_make))

    def _deliver(self, allotment: Allotment, orders: list[_Waiting]) -> None:
        self._under_way.add(allotment.handout.number)
        delivery = asyncio.create_task(self._delivery(allotment, {id(waiting.order): waiting.answer for waiting in orders}))
        self._deliveries.add(delivery)
        delivery.add_done_callback(self._delivered)

    def _delivered(self, delivery: asyncio.Task[None]) -> None:
        """Let the next orders have their turn."""
        self._deliveries.discard(delivery)
        self._due.set()

    async def _delivery(self, allotment: Allotment, answers: dict[int, asyncio.Future[Delivered]]) -> None:
        """Give the keys of an allotment once the peer holds them."""
        waiting = [answers[id(order)] for order in allotment.orders]
        number = allotment.handout.number
        try:
            verdict = await self._ready_peer().reserve(allotment, self._peer_seconds)
            if verdict == HELD:
                self._settled.add(number)
                first_byte = 0
                for order, keys, answer in zip(allotment.orders, allotment.keys, waiting, strict=True):
                    self.counts["keys_ordered"] += len(keys)
                    given = [(key_id, bytes(key)) for key_id, key in zip(order.key_ids, keys, strict=True)]
                    _resolve(answer, Delivered(given, allotment.handout.pieces, first_byte))
                    first_byte += order.total_bytes
            else:
                self._lose(waiting, unavailable("the other KME could not hold the keys", refusal=REFUSALS.get(verdict, "failed")))
        except TransportError as lost:
            self._lose(waiting, unavailable("the other KME is away", reason=str(lost)))
        except RefusalError as lost:
            self._lose(waiting, lost)
        finally:
            self._lose(waiting, unavailable("the node is stopping"))
            self._under_way.discard(number)
            allotment.wipe()

    def _lose(self, waiting: list[asyncio.Future[Delivered]], refusal: RefusalError) -> None:
        """Refuse who still waits; their key is spent and given to nobody."""
        lost = [answer for answer in waiting if not answer.done()]
        if lost:
            self.counts["orders_lost"] += len(lost)
            self._log.warning("keys spent and not delivered", orders=self.counts["orders_lost"], reason=refusal.message)
            self._to_settle.set()
        for answer in lost:
            _refuse(answer, refusal)

    def _refuse_round(self, orders: list[_Waiting], collections: _Collections, announced: _Announced, failed: Exception) -> None:
        is_early = isinstance(failed, PeerNotMetError)
        if isinstance(failed, QkdError):
            self._log.warning("key store serves no application", error=failed)
        else:
            logger("delivery").error("requests failed on a mistake of ours", error=failed)
        reason = str(failed) if is_early else "the key store failed"
        refusal = unavailable("no key is handed out at present", reason=reason)
        for waiting in orders:
            _refuse(waiting.answer, refusal)
        for _, given in collections:
            _refuse(given, refusal)
        for _, held in announced:
            _resolve(held, NOT_READY if is_early else FAILED)

    def _refuse_all(self, refusal: RefusalError) -> None:
        for waiting in self._orders:
            _refuse(waiting.answer, refusal)
        for _, given in self._collections:
            _refuse(given, refusal)
        for _, held in self._announced:
            _resolve(held, NOT_READY)

    # ------------------------------------------------------------------------------------------------------------ tidying

    async def _settle_peer(self) -> None:
        """Have the peer skip what was allotted and never given, whenever the line has been opened or an order was lost."""
        while True:
            await self._to_settle.wait()
            self._to_settle.clear()
            try:
                last = 0
                while unsettled := await self._workers.write(self._open_store().unsettled, last):
                    for handout, pieces in unsettled:
                        last = handout
                        if handout not in self._under_way and handout not in self._settled and self.peer is not None:
                            await self.peer.settle(handout, pieces, self._peer_seconds)
                            self._settled.add(handout)
            except Exception as failed:  # noqa: BLE001 - whatever it is, it is tried again
                self._log.warning("not settled with the peer yet", error=failed)
                await asyncio.sleep(TIDY_SECONDS)
                if self.peer is not None and self.peer.line.is_open:
                    self._to_settle.set()

    async def _keep_balance(self) -> None:
        """Give key to the other end's pool where that is far emptier than ours, and ask again for what is under way."""
        while True:
            await asyncio.sleep(BALANCE_SECONDS)
            try:
                while self.peer is not None and self.peer.is_ready and await self._move_some(self.peer):
                    pass
            except (TransportError, PeerNotMetError):
                pass  # asked again; nothing moves before both ends have met
            except Exception as failed:  # noqa: BLE001 - whatever it is, the next time has to come
                self._log.warning("pools not balanced", error=failed)

    async def _move_some(self, peer: PeerLink) -> bool:
        """Move a stretch; tell whether there was any."""
        store = self._open_store()
        count_bytes = count_to_give(*await self._workers.write(store.deliverable_bytes)) if self._balances else 0
        move = await self._workers.write(store.offer_move, count_bytes)
        if move is None:
            return False
        is_accepted = await peer.move(move, self._peer_seconds)
        await self._workers.write(partial(store.settle_move, move, is_accepted=is_accepted))
        if is_accepted:
            self.counts["bytes_moved"] += move.count_bytes
        else:
            self._log.warning("key given up: the other end could not take it over", block=move.block, bytes=move.count_bytes)
            await asyncio.sleep(REFUSED_SECONDS)
        self.tell_state()
        return True

    def tell_state(self) -> None:
        """Tell the peer soon how we stand: something has changed."""
        self._has_changed.set()

    async def _tidy(self) -> None:
        while True:
            try:
                expired = await self._workers.write(self._open_store().let_go, self._repeat_seconds, self._keep_seconds)
                self.counts["keys_expired"] += expired
                self.drawn_bytes = await self._workers.write(self._open_store().drawn_bytes)
                if self.peer is not None:
                    await self.peer.tell_state()
            except Exception as failed:  # noqa: BLE001 - whatever it is, the next time has to come
                logger("delivery").error("key store", error=failed)
            self._has_changed.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._has_changed.wait(), TIDY_SECONDS)


def _resolve(answer: asyncio.Future[Any], value: object) -> None:
    if not answer.done():
        answer.set_result(value)


def _refuse(answer: asyncio.Future[Any], refusal: RefusalError) -> None:
    if not answer.done():
        answer.set_exception(refusal)
