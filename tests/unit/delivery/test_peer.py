"""The line to the peer as a service: what breaks is logged, and the next message is taken in all the same."""

import asyncio
from typing import Any

import pytest

from common.channel.codec import Party
from common.delivery.peer import PeerLink
from common.service.wire import DELIVERY
from tests.unit.delivery.test_line import SECRETS


class Wire:
    """Joins two links in memory."""

    def __init__(self):
        self.heard_delivery: Any = None
        self.other: Any = None
        self.count_escaped = 0
        self.failures = 0

    async def send(self, frame):
        if self.failures:
            self.failures -= 1
            raise RuntimeError("no exception anybody expects here")
        if self.other.heard_delivery is not None:
            try:
                self.other.heard_delivery(frame[len(bytes((DELIVERY,))) :])
            except RuntimeError:
                self.count_escaped += 1  # would end the transport's task

    async def wait_present(self):
        await asyncio.sleep(0)

    async def wait_absent(self):
        await asyncio.Event().wait()


class Host:
    """Answers nothing, and fails where it is told to."""

    def __init__(self, fails):
        self.fails = fails
        self.count_opened = 0

    async def hold(self, _announced):
        raise RuntimeError("not asked here")

    async def settle(self, _pieces):
        raise RuntimeError("not asked here")

    async def take_over(self, _move):
        raise RuntimeError("not asked here")

    async def state(self):
        raise RuntimeError("a store that fails")

    def opened(self):
        self.count_opened += 1
        if self.count_opened <= self.fails:
            raise RuntimeError("a mistake of ours")


@pytest.mark.parametrize(("host_fails", "wire_fails"), [(1, 0), (0, 1)])
def test_the_line_opens_in_spite_of_a_mistake_of_ours(host_fails, wire_fails, monkeypatch):
    monkeypatch.setattr("common.delivery.peer.GREETING_SECONDS", 0.01)

    async def scenario():
        wires = Wire(), Wire()
        wires[0].other, wires[1].other = wires[1], wires[0]
        wires[0].failures = wire_fails
        links = [PeerLink(wire, SECRETS, party, Host(host_fails)) for wire, party in zip(wires, Party, strict=True)]
        for link in links:
            link.start()
        for _ in range(1000):
            if all(link.line.is_open for link in links):
                break
            await asyncio.sleep(0.005)
        opened = [link.line.is_open for link in links]
        for link in links:
            await link.stop()
        return opened, [wire.count_escaped for wire in wires]

    assert asyncio.run(scenario()) == ([True, True], [0, 0])
