"""What the service's tests share: channel keys, settings on a free port, a pair of connected transports, and a session without physics."""

import asyncio
import contextlib
import socket

import zmq

from common.channel.authentication import ChannelSecrets, GreetingSeal
from common.channel.codec import Party
from common.service.credentials import ChannelKeys
from common.service.greetings import GreetingDesk
from common.service.settings import ChannelSection
from common.service.transport import Transport


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def key_pair() -> tuple[bytes, bytes]:
    return zmq.curve_keypair()


def sections(port: int, **more) -> tuple[ChannelSection, ChannelSection]:
    address = f"tcp://127.0.0.1:{port}"
    beats = {"heartbeat_seconds": 0.1, "silence_seconds": 1.0} | more
    return ChannelSection(connect=address, **beats), ChannelSection(bind=address, **beats)


@contextlib.asynccontextmanager
async def connected(**more):
    """A connecting and a listening transport that see each other."""
    (ours, our_secret), (theirs, their_secret) = key_pair(), key_pair()
    joining, listening = sections(free_port(), **more)
    ends = Transport(joining, ChannelKeys(our_secret, theirs)), Transport(listening, ChannelKeys(their_secret, ours))
    for end in reversed(ends):
        await end.start()
    try:
        await asyncio.wait_for(asyncio.gather(*(end.wait_present() for end in ends)), 5)
        yield ends
    finally:
        for end in ends:
            await end.stop()


def desks(secrets: ChannelSecrets) -> dict[Party, GreetingDesk]:
    return {party: GreetingDesk(GreetingSeal(secrets), party) for party in Party}


class MemoryChannel:
    """One end of a channel in memory; ``alter`` sees every frame sent from this end and says what arrives."""

    def __init__(self) -> None:
        self.peer_busy = False
        self.is_present = True
        self.sent: list[bytes] = []
        self.alter = lambda frame: [frame]
        self._inbox: asyncio.Queue[bytes] = asyncio.Queue()
        self._absent = asyncio.Event()
        self._peer: MemoryChannel = self

    @classmethod
    def pair(cls) -> dict[Party, "MemoryChannel"]:
        ends = {party: cls() for party in Party}
        for party, end in ends.items():
            end._peer = ends[party.peer]
        return ends

    @property
    def busy(self) -> bool:
        return self._peer.peer_busy

    @busy.setter
    def busy(self, busy: bool) -> None:
        self._peer.peer_busy = busy

    async def send(self, frame: bytes) -> None:
        self.sent.append(frame)
        for arriving in self.alter(frame):
            self._peer.deliver(arriving)

    def deliver(self, frame: bytes) -> None:
        self._inbox.put_nowait(frame)

    async def receive(self) -> bytes:
        return await self._inbox.get()

    async def wait_absent(self) -> None:
        await self._absent.wait()

    def lose(self) -> None:
        self.is_present = False
        self._absent.set()
