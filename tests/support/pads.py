"""Both ends of a link that has key already: two stores, each behind the admin socket of its node, without sessions or physics."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from common.channel.codec import Party
from common.errors import KeyExhaustedError
from common.keystore import check
from common.keystore.ownership import OwnershipRule, Pool
from common.keystore.sqlite import SqliteKeyStore
from common.observability.audit import AuditTrail
from common.onetimepad.files import decrypt_file, encrypt_file
from common.onetimepad.served import ServedPad
from common.service.admin import AdminServer
from common.service.admin_client import AdminClient
from common.service.credentials import read_secrets
from common.service.pads import PadCommands
from common.service.settings import NodeSettings, load_settings
from common.service.shortage import explained
from common.service.store import open_store
from common.service.workers import Workers
from tests.support.keystores import distil, greet, opened

PAD_ID = b"the link"
RULE = OwnershipRule(reserve_target_pairs=0, alice_delivery=0, bob_delivery=0)
"""All key goes to the two pads, half and half."""


class PadNode:
    """A store and its admin socket, as a node has them; runs in a thread of its own."""

    def __init__(self, folder: Path, party: Party, store: SqliteKeyStore) -> None:
        self.socket = folder / f"{party.name.lower()}.sock"
        self.store = store
        self._audit = AuditTrail(folder / f"{party.name.lower()}.jsonl")
        self.commands: PadCommands
        self._party = party
        self._loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()
        ready = threading.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._run(ready),))
        self._thread.start()
        assert ready.wait(10)

    async def _run(self, ready: threading.Event) -> None:
        workers = Workers(1)
        self.commands = PadCommands(self._party, PAD_ID, workers, lambda: self.store, self._audit, self._explained)
        server = AdminServer(self.socket, self.commands.handlers)
        await server.start()
        ready.set()
        await self._stopping.wait()
        await server.stop()
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(others)
        workers.stop()

    @staticmethod
    def _explained(_pool: Pool, short: KeyExhaustedError) -> KeyExhaustedError:
        return explained(short, 12.5)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(20)
        self._loop.close()
        self._audit.close()


class ServedEnds:
    """Two nodes that hold the same key."""

    def __init__(self, folder: Path, *blocks_bits: int) -> None:
        self.folder = folder
        self.stores = {party: opened(self._path(party), party, rule=RULE) for party in Party}
        greet(list(self.stores.values()))
        for count_bits in blocks_bits:
            distil(list(self.stores.values()), count_bits)
        self.nodes = {party: PadNode(folder, party, store) for party, store in self.stores.items()}

    def _path(self, party: Party) -> Path:
        return self.folder / f"{party.name.lower()}.sqlite"

    @contextlib.contextmanager
    def pad(self, party: Party) -> Iterator[ServedPad]:
        with AdminClient(self.nodes[party].socket) as client:
            yield ServedPad(client)

    def send(self, message: bytes, name: str = "message", sender: Party = Party.ALICE, pad_to: int | None = None) -> Path:
        (self.folder / name).write_bytes(message)
        with self.pad(sender) as pad:
            encrypt_file(pad, self.folder / name, self.folder / f"{name}.otp", pad_to)
        return self.folder / f"{name}.otp"

    def receive(self, encrypted: Path, receiver: Party = Party.BOB) -> bytes:
        target = encrypted.with_suffix(f".{receiver.name.lower()}")
        target.unlink(missing_ok=True)
        with self.pad(receiver) as pad:
            decrypt_file(pad, encrypted, target)
        return target.read_bytes()

    def levels(self, party: Party) -> int:
        """Bits left in Alice's pad, as the store of ``party`` counts them."""
        return self.stores[party].levels().pool_bits[Pool.ALICE_PAD]

    def restart(self, party: Party) -> None:
        """Stop a node and start it anew on the same store; the peer is met again."""
        self.nodes[party].stop()
        self.stores[party].close()
        self.stores[party] = opened(self._path(party), party, rule=RULE)
        greet(list(self.stores.values()))
        self.nodes[party] = PadNode(self.folder, party, self.stores[party])

    def close(self) -> None:
        for party, node in self.nodes.items():
            node.stop()
            self.stores[party].close()

    def faults(self) -> list[str]:
        """What the checker finds, once closed."""
        return check.faults(*(self._path(party) for party in Party))

    def ask(self, party: Party, command: str, **fields: Any) -> tuple[dict[str, Any], bytearray]:
        with AdminClient(self.nodes[party].socket) as client:
            return client.ask_for_key(command, **fields)


def fill(configs: Sequence[Path], *blocks_bits: int) -> None:
    """Put blocks of key into the stores of two nodes that are not running, as if their link had made them."""
    stores = []
    for party, config in zip(Party, configs, strict=True):
        settings = load_settings(config, NodeSettings)
        stores.append(open_store(settings, party, read_secrets(settings.resolved(settings.channel.secret))))
    greet(stores)
    for count_bits in blocks_bits:
        distil(stores, count_bits)
    for store in stores:
        store.close()
