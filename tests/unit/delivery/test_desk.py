"""The desk: rounds of bounded length, few deliveries at a time, and keys of a block that is about to be committed."""

import asyncio
import os
from typing import Any

from common.delivery import desk as desk_module
from common.delivery.desk import MOST_DELIVERIES, Desk
from common.delivery.peer import HELD, NOT_HERE, PeerState
from common.delivery.rounds import MOST_ROUND_KEYS
from common.errors import KeyNotCommittedError, TransportError
from common.keystore.interface import Handout, Piece
from common.keystore.orders import Allotment, Announcement, Collection, Order, Served
from common.keystore.ownership import Pool


class Workers:
    """Runs work of the store at once."""

    async def write(self, work, *arguments):
        await asyncio.sleep(0)
        return work(*arguments)


class Store:
    """Serves everything, and remembers how much was asked at a time."""

    def __init__(self, not_yet=0):
        self.rounds = []
        self.not_yet = not_yet

    def serve(self, asked):
        self.rounds.append(asked)
        held = []
        for _ in asked.announcements:
            held.append(KeyNotCommittedError("staged") if self.not_yet else None)
            self.not_yet = max(0, self.not_yet - 1)
        allotment = None
        if asked.orders:
            place = Piece(1, 0, sum(order.total_bytes for order in asked.orders))
            keys = [[bytearray(order.count_bytes) for _ in order.key_ids] for order in asked.orders]
            allotment = Allotment(Handout(len(self.rounds), Pool.ALICE_DELIVERY, (place,)), asked.orders, keys)
        collected = tuple([b""] * len(collection.key_ids) for collection in asked.collections)
        return Served(allotment, (), tuple(held), collected)

    def unsettled(self, _after=0):
        return []

    def let_go(self, *_):
        return 0

    def drawn_bytes(self):
        return {}


class Peer:
    """A peer that says when it holds keys."""

    def __init__(self):
        self.line = type("Line", (), {"is_open": True})
        self.is_ready = True
        self.state = PeerState(is_ready=True, names=frozenset({"slave"}))
        self.asked = []

    async def reserve(self, _allotment, _seconds):
        answer = asyncio.get_running_loop().create_future()
        self.asked.append(answer)
        return await answer

    async def settle(self, *_):
        raise TransportError("away")

    async def tell_state(self):
        pass


def open_desk(store):
    workers: Any = Workers()
    times: dict[str, Any] = {"repeat_seconds": 0.0, "keep_seconds": 1.0, "peer_seconds": 1.0}
    made: Any = Desk(workers, lambda: store, lambda: ("slave",), dict, **times, seconds_to_make=lambda bits: bits / 10)
    made.peer = Peer()
    made.start()
    return made


async def turns(count=200):
    for _ in range(count):
        await asyncio.sleep(0)


def ids(count):
    return tuple(os.urandom(16) for _ in range(count))


def test_orders_wait_while_as_many_deliveries_are_under_way_as_may_be():
    async def scenario():
        store = Store()
        desk = open_desk(store)
        orders = []
        for _ in range(MOST_DELIVERIES + 3):
            orders.append(asyncio.create_task(desk.order("master", ("slave",), 1, 32)))
            await turns(20)
        rounds = len(store.rounds)
        desk.peer.asked[0].set_result(HELD)
        await turns()
        after = len(store.rounds), len(store.rounds[-1].orders)
        for answer in desk.peer.asked[1:]:
            answer.set_result(HELD)
        keys = await asyncio.gather(*orders)
        await desk.stop()
        return rounds, after, len(keys)

    assert asyncio.run(scenario()) == (MOST_DELIVERIES, (MOST_DELIVERIES + 1, 3), MOST_DELIVERIES + 3)


def test_collections_and_announcements_of_a_round_are_bounded_by_their_keys():
    async def scenario():
        store = Store()
        desk = open_desk(store)
        many = ids(MOST_ROUND_KEYS // 2)
        piece = (Piece(1, 0, 32 * len(many)),)
        announced = Announcement(piece, (Order(many, 32, "master", ("slave",)),))
        collection = Collection("slave", "master", many, b"r" * 32)
        work = [desk.hold(announced) for _ in range(5)] + [desk.collect(collection) for _ in range(5)]
        await asyncio.gather(*work)
        await desk.stop()
        return [(len(asked.announcements), len(asked.collections)) for asked in store.rounds]

    assert asyncio.run(scenario()) == [(2, 2), (2, 2), (1, 1)]


def test_keys_of_a_block_that_is_about_to_be_committed_are_tried_again(monkeypatch):
    monkeypatch.setattr(desk_module, "COMMIT_SECONDS", 0.0)

    async def scenario(not_yet):
        desk = open_desk(Store(not_yet))
        said = await desk.hold(Announcement((Piece(1, 0, 32),), (Order(ids(1), 32, "master", ("slave",)),)))
        await desk.stop()
        return said

    assert asyncio.run(scenario(3)) == HELD
    assert asyncio.run(scenario(100)) == NOT_HERE
