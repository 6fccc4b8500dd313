"""A network between two hosts as a program: carries packets from one TUN device to another, each way as well or badly as it is told to.

``python -m tests.support.packet_link`` is started by ``two_hosts``, which tells it on standard input, a JSON line at a time, what either
way is like from now on, and is answered with what was carried so far. It ends with its standard input, and its devices with it. What a way
does to packets is ``Way``, which knows no clock and no device. Linux has ``tc netem`` for this where the kernel was built with it; this
needs no more than TUN devices.
"""

import argparse
import fcntl
import json
import os
import random
import selectors
import struct
import sys
import time
from collections import deque
from dataclasses import asdict, dataclass, field
from typing import BinaryIO

from tests.support.namespaces import in_network_of

MTU_BYTES = 1500

MOST_BYTES_UNDER_WAY = 32 << 20
"""On a way without a rate, so that what is under way is bounded by more than how fast anybody sends."""

PACKETS_AT_A_TIME = 64
"""Packets read from one device before the other one is looked at."""

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
"""linux/if_tun.h"""


@dataclass(frozen=True, slots=True)
class Conditions:
    """What one way is like.

    ``delay_seconds`` and ``jitter_seconds``: every packet takes the first and up to the second more, and none overtakes another.
    ``loss_ratio``: share of packets lost, each by itself. ``bits_per_second``: rate, 0 for none; packets that would have to wait behind
    more than ``queue_bytes`` are lost. ``is_cut``: nothing arrives, and what was under way is lost.
    """

    delay_seconds: float = 0.0
    jitter_seconds: float = 0.0
    loss_ratio: float = 0.0
    bits_per_second: float = 0.0
    queue_bytes: int = 64 << 10
    is_cut: bool = False


@dataclass(slots=True)
class Carried:
    """Packets that a way has delivered, and lost for which reason; and the bytes delivered."""

    delivered: int = 0
    delivered_bytes: int = 0
    lost: int = 0
    overflowed: int = 0
    cut: int = 0


class Way:
    """One direction: takes packets, and gives them back when they have arrived. ``dice`` decides on loss and jitter."""

    def __init__(self, dice: random.Random) -> None:
        self.carried = Carried()
        self.conditions = Conditions()
        self._dice = dice
        self._free_at = 0.0
        self._latest = 0.0
        self._under_way: deque[tuple[float, bytes]] = deque()
        self._bytes_under_way = 0

    def change(self, conditions: Conditions) -> None:
        """Be like this from now on; packets under way arrive when they would have, unless the way is cut."""
        self.conditions = conditions
        self._free_at = 0.0
        if conditions.is_cut:
            self.carried.cut += len(self._under_way)
            self._under_way.clear()
            self._bytes_under_way = 0

    def take(self, packet: bytes, now: float) -> None:
        """Send a packet on its way, or lose it."""
        conditions = self.conditions
        if conditions.is_cut:
            self.carried.cut += 1
            return
        if conditions.loss_ratio and self._dice.random() < conditions.loss_ratio:
            self.carried.lost += 1
            return
        sent_at = now
        if conditions.bits_per_second:
            begins = max(now, self._free_at)
            if (begins - now) * conditions.bits_per_second / 8 > conditions.queue_bytes:
                self.carried.overflowed += 1
                return
            sent_at = self._free_at = begins + 8 * len(packet) / conditions.bits_per_second
        elif self._bytes_under_way + len(packet) > MOST_BYTES_UNDER_WAY:
            self.carried.overflowed += 1
            return
        jitter = self._dice.uniform(0.0, conditions.jitter_seconds) if conditions.jitter_seconds else 0.0
        self._latest = max(self._latest, sent_at + conditions.delay_seconds + jitter)
        self._under_way.append((self._latest, packet))
        self._bytes_under_way += len(packet)

    def arrived(self, now: float) -> list[bytes]:
        """Packets that have arrived by now, in order."""
        packets = []
        while self._under_way and self._under_way[0][0] <= now:
            packets.append(self._under_way.popleft()[1])
            self._bytes_under_way -= len(packets[-1])
        self.carried.delivered += len(packets)
        self.carried.delivered_bytes += sum(map(len, packets))
        return packets

    @property
    def next_arrival(self) -> float | None:
        """When the next packet arrives; None while none is under way."""
        return self._under_way[0][0] if self._under_way else None


@dataclass
class PacketLink:
    """Carries packets between two devices, ``descriptors``, by two ways: the first from the first device to the second."""

    descriptors: tuple[int, int]
    ways: tuple[Way, Way]
    commands: BinaryIO
    answers: BinaryIO
    _unread: bytes = field(default=b"")

    def run(self) -> None:
        """Carry packets until the commands end."""
        selector = selectors.DefaultSelector()
        for place, descriptor in enumerate(self.descriptors):
            selector.register(descriptor, selectors.EVENT_READ, place)
        selector.register(self.commands, selectors.EVENT_READ, None)
        while True:
            arrivals = [way.next_arrival for way in self.ways if way.next_arrival is not None]
            ready = selector.select(max(0.0, min(arrivals) - time.monotonic()) if arrivals else None)
            for key, _ in ready:
                if key.data is not None:
                    self._read(key.data)
                elif not self._obey():
                    return
            now = time.monotonic()
            for place, way in enumerate(self.ways):
                for packet in way.arrived(now):
                    os.write(self.descriptors[1 - place], packet)

    def _read(self, place: int) -> None:
        for _ in range(PACKETS_AT_A_TIME):
            try:
                packet = os.read(self.descriptors[place], MTU_BYTES)
            except BlockingIOError:
                return
            self.ways[place].take(packet, time.monotonic())

    def _obey(self) -> bool:
        """Carry out commands that have come; whether there may be more."""
        data = os.read(self.commands.fileno(), 1 << 16)
        *lines, self._unread = (self._unread + data).split(b"\n")
        for line in lines:
            for place, conditions in json.loads(line).items():
                self.ways[int(place)].change(Conditions(**conditions))
            self.answers.write(json.dumps([asdict(way.carried) for way in self.ways]).encode() + b"\n")
            self.answers.flush()
        return bool(data)


def open_device(process: int, name: str) -> int:
    """A fresh TUN device ``name`` in the network namespace of a process; it goes when its descriptor is closed."""

    def opened() -> int:
        descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
        return descriptor

    return in_network_of(process, opened)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.support.packet_link", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--seed", required=True, help="decides which packets are lost")
    parser.add_argument("--device", default="link", help="what it is called at both hosts")
    parser.add_argument("hosts", nargs=2, type=int, metavar="PROCESS", help="process in the network namespace of a host")
    chosen = parser.parse_args(arguments)
    first, second = (open_device(process, chosen.device) for process in chosen.hosts)
    ways = Way(random.Random(f"{chosen.seed} there")), Way(random.Random(f"{chosen.seed} back"))
    sys.stdout.buffer.write(b"ready\n")
    sys.stdout.buffer.flush()
    PacketLink((first, second), ways, sys.stdin.buffer, sys.stdout.buffer).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
