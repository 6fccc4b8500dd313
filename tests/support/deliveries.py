"""Key delivery of both ends of a link that has key already: real stores, TLS, HTTP and line between the nodes; no sessions, no physics."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar, cast

from common.api.keys import KeyClient
from common.channel.authentication import ChannelSecrets
from common.channel.codec import Party
from common.cli.certificates import LOOPBACK, Authority
from common.delivery.service import KeyDelivery
from common.keystore import check
from common.keystore.ownership import OwnershipRule
from common.keystore.sqlite import SqliteKeyStore
from common.service.node import Node
from common.service.settings import DeliverySection, StoreSection
from common.service.wire import DELIVERY
from common.service.workers import Workers
from tests.support.keystores import distil, greet, opened
from tests.unit.service.nodes import free_port

RULE = OwnershipRule(reserve_target_pairs=0, alice_pad=0, bob_pad=0)
"""All key goes to applications, half and half."""

SECRETS = ChannelSecrets(bytes(range(32)), bytes(32), bytes(32))

RATE = 1000.0
"""Secret bits a second that the nodes claim to make."""

_T = TypeVar("_T")


class MemoryWire:
    """Carries frames to the other end at once."""

    def __init__(self) -> None:
        self.heard_delivery: Callable[[bytes], None] | None = None
        self.other: MemoryWire | None = None

    async def send(self, frame: bytes) -> None:
        if self.other is not None and self.other.heard_delivery is not None:
            self.other.heard_delivery(frame[len(bytes((DELIVERY,))) :])

    async def wait_present(self) -> None:
        await asyncio.sleep(0)

    async def wait_absent(self) -> None:
        await asyncio.Event().wait()


class DeliveringEnds:
    """Two nodes that deliver, in a thread of their own."""

    def __init__(
        self, folder: Path, *blocks_bits: int, applications: str = "", clock: Callable[[], float] | None = None, **delivery: Any
    ) -> None:
        self.folder = folder
        self.addresses: dict[str, str] = {}
        self.stores: dict[Party, SqliteKeyStore] = {}
        self._clock = {} if clock is None else {"clock": clock}
        self._settings = delivery
        authority = Authority("test")
        (folder / "ca.crt").write_bytes(authority.certified.certificate)
        for party in Party:
            name = party.name.lower()
            (folder / name).mkdir()
            for who, issued in ((name, authority.issue(name, LOOPBACK, serves=True)), (f"sae-{name}", authority.issue(f"sae-{name}"))):
                (folder / f"{who}.crt").write_bytes(issued.certificate)
                (folder / f"{who}.key").touch(mode=0o600)
                (folder / f"{who}.key").write_bytes(issued.key)
            (folder / name / "applications.toml").write_text(f'[sae.sae-{name}]\ncommon_names = ["sae-{name}"]\n{applications}')
        self.start()
        for count_bits in blocks_bits:
            distil(list(self.stores.values()), count_bits)
        self.wait_ready()

    def start(self) -> None:
        """Open both stores, and serve."""
        self.stores = {party: opened(self._path(party), party, rule=RULE, **self._clock) for party in Party}
        greet(list(self.stores.values()))
        self._loop = asyncio.new_event_loop()
        self._workers = Workers(1)
        wires = MemoryWire(), MemoryWire()
        wires[0].other, wires[1].other = wires[1], wires[0]
        self.deliveries = [KeyDelivery(self._node(party, wire), self._delivery(party)) for party, wire in zip(Party, wires, strict=True)]
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        for delivery in self.deliveries:
            self.run(delivery.start())

    def wait_ready(self) -> None:
        """Wait until each node knows what the other can deliver."""
        for delivery in self.deliveries:
            self._loop.call_soon_threadsafe(delivery._desk.tell_state)
        self.wait(lambda: all(delivery._peer.is_ready and delivery._peer.state.our_pool_bytes for delivery in self.deliveries))

    def _path(self, party: Party) -> Path:
        return self.folder / f"{party.name.lower()}.sqlite"

    def _delivery(self, party: Party) -> DeliverySection:
        name, port = party.name.lower(), free_port()
        self.addresses[name] = f"https://localhost:{port}"
        names: dict[str, Any] = {"kme_id": f"kme-{name}", "peer_kme_id": f"kme-{party.peer.name.lower()}"}
        files: dict[str, Any] = {
            "certificate": Path(f"{name}.crt"),
            "key": Path(f"{name}.key"),
            "applications": Path(name) / "applications.toml",
        }
        return DeliverySection(bind=f"localhost:{port}", **files, **names, **self._settings)

    def _node(self, party: Party, wire: MemoryWire) -> Node:
        rates = {"secret_bits_per_wall_second": RATE}
        shares = {"alice_pad": 0, "bob_pad": 0, "alice_delivery": 1, "bob_delivery": 1}
        node = SimpleNamespace(
            workers=self._workers,
            transport=wire,
            secrets=SECRETS,
            kind=SimpleNamespace(party=party),
            profile=SimpleNamespace(security=SimpleNamespace(epsilon_secrecy=1e-10)),
            settings=SimpleNamespace(store=StoreSection.model_validate({"shares": shares}), resolved=lambda path: self.folder / path),
            store=self.stores[party],
            counters=SimpleNamespace(rates=lambda: rates),
        )
        return cast("Node", node)

    def run(self, work: Awaitable[_T]) -> _T:
        async def waited() -> _T:
            return await work

        return asyncio.run_coroutine_threadsafe(waited(), self._loop).result(60)

    def wait(self, condition: Callable[[], bool]) -> None:
        until = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < until
            time.sleep(0.01)

    def client(self, name: str, as_node: str | None = None, **options: Any) -> KeyClient:
        """The application at an end; with ``as_node`` that of the other one."""
        shown = self.folder / f"sae-{as_node or name}.crt", self.folder / f"sae-{as_node or name}.key"
        files = {"certificate": shown[0], "key": shown[1], "authority": self.folder / "ca.crt"} | options
        return KeyClient(self.addresses[name], **files)

    def stop(self) -> None:
        """End both nodes as they end well; ``start`` begins anew on the same stores."""
        for delivery in self.deliveries:
            self.run(delivery.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(20)
        self._loop.close()
        self._workers.stop()
        for store in self.stores.values():
            store.close()

    def faults(self) -> list[str]:
        """What the checker finds, once stopped."""
        return check.faults(*(self._path(party) for party in Party))
