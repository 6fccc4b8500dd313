"""Key delivery of a pair of nodes: requests a second over keep-alive mutual TLS, every key durable at both ends before it is answered.

Both stores are filled beforehand and full, so that the nodes meet and distil nothing; the load comes from this process, on the same cores.
Each of its applications asks for two keys at its own node and fetches one of them at the other, again and again: a third of all requests is
``dec_keys``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import ssl
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen

import numpy as np
import uvloop

from common.bits import Bits, SecretBits
from common.channel.codec import Party
from common.channel.pairs import next_mask
from common.cli.benchmarks.live import SETTINGS
from common.cli.benchmarks.measurement import Measurement, Request, require_equal
from common.cli.processes import started
from common.cli.provisioning import Choices, Hosts, provision
from common.conversation.operations import CommitKeys, MeetPeer, OpenBlock, StageKeys, TakeMask
from common.errors import TransportError
from common.profiles.link import load_profile
from common.service.admin_client import AdminClient
from common.service.credentials import read_secrets
from common.service.settings import NodeSettings, load_settings
from common.service.store import open_store

MODULE = "common.cli.benchmarks.prepared"

NODES = ("alice", "bob")

SHARES = {"alice_pad": 0, "bob_pad": 0, "alice_delivery": 1, "bob_delivery": 1}

READY_SECONDS = 120.0
"""How long the nodes may take until they deliver."""

APPLICATIONS = 32
"""Applications that ask at a time, half of them at each node; each waits for its answer before it asks again."""

WARM_SECONDS = 1.0
"""What is not counted at the beginning."""

KEY_BITS = 256


def measure(request: Request) -> Iterator[Measurement]:
    """Measure a pair of nodes.

    Parameters
    ----------
    request : Request
        Says whether a short while has to do.

    Yields
    ------
    Measurement
        One line.
    """
    seconds = 1.5 if request.quick else 15.0
    count_bits = request.size(120_000_000, 16_000_000)
    with tempfile.TemporaryDirectory(prefix="qkd-bench-") as folder:
        nodes = Path(folder)
        ports = _provisioned(nodes, count_bits)
        with _running(nodes) as processes:
            load = Load(nodes, ports)
            _wait_ready(nodes, processes)
            before = {name: _cpu_seconds(process.pid) for name, process in processes.items()} | {"load": time.process_time()}
            began = time.monotonic()
            uvloop.run(load.run(4 if request.quick else APPLICATIONS, seconds))
            took = time.monotonic() - began
            after = {name: _cpu_seconds(process.pid) for name, process in processes.items()} | {"load": time.process_time()}
    latencies = np.sort(np.concatenate([load.seconds["enc_keys"], load.seconds["dec_keys"]])) * 1e3
    p50, p99 = (float(np.quantile(latencies, share)) for share in (0.5, 0.99))
    dec_p99 = float(np.quantile(np.array(load.seconds["dec_keys"]), 0.99)) * 1e3
    rate = latencies.size / load.counted_seconds
    shares = ", ".join(f"{name} {(after[name] - before[name]) / took:.2f}" for name in before)
    yield Measurement(
        stage="delivery",
        method="two daemons, ETSI GS QKD 014, mutual TLS",
        block_bits=KEY_BITS,
        cores=os.cpu_count() or 1,
        mbit_per_second=len(load.seconds["enc_keys"]) * KEY_BITS / load.counted_seconds / 1e6,
        requests_per_second=rate,
        latency_p99_ms=p99,
        note=f"{rate:.0f} requests/s, {len(load.seconds['dec_keys']) / latencies.size:.2f} of them dec_keys; answered after {p50:.1f} ms "
        f"(median), {p99:.1f} ms (p99), dec_keys {dec_p99:.1f} ms (p99); {load.count_refused} refused; of a core: {shares}",
    )


@dataclass(slots=True)
class Load:
    """Applications at work.

    Attributes
    ----------
    nodes : Path
        Folder of the link.
    ports : dict[str, int]
        Where each node delivers.
    seconds : dict[str, list[float]]
        How long each answer took.
    counted_seconds : float
        Over how long these were counted.
    count_refused : int
        Answers that were no keys.
    """

    nodes: Path
    ports: dict[str, int]
    seconds: dict[str, list[float]] = field(default_factory=lambda: {"enc_keys": [], "dec_keys": []})
    counted_seconds: float = 0.0
    count_refused: int = 0
    _counts: bool = False

    async def run(self, count: int, seconds: float) -> None:
        """Let ``count`` applications ask for so many ``seconds``."""
        stopping = asyncio.Event()
        working = [asyncio.create_task(self._work(NODES[number % 2], NODES[1 - number % 2], stopping)) for number in range(count)]
        await asyncio.sleep(WARM_SECONDS)
        self._counts, began = True, time.monotonic()
        await asyncio.sleep(seconds)
        self._counts, self.counted_seconds = False, time.monotonic() - began
        stopping.set()
        await asyncio.gather(*working)

    async def _work(self, here: str, there: str, stopping: asyncio.Event) -> None:
        ours, theirs = await self._connected(here), await self._connected(there)
        encryption = _request(f"/api/v1/keys/sae-{there}/enc_keys")
        while not stopping.is_set():
            await self._timed("enc_keys", ours, encryption)
            asked = await self._timed("enc_keys", ours, encryption)
            if asked is None:
                continue
            (key,) = json.loads(asked)["keys"]
            fetched = await self._timed("dec_keys", theirs, _request(f"/api/v1/keys/sae-{here}/dec_keys?key_ID={key['key_ID']}"))
            if fetched is not None:
                require_equal(json.loads(fetched)["keys"][0]["key"] == key["key"], "keys at both ends")
        for _, writer in (ours, theirs):
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _timed(self, action: str, to: tuple[asyncio.StreamReader, asyncio.StreamWriter], request: bytes) -> bytes | None:
        reader, writer = to
        began = time.perf_counter()
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.partition(b"Content-Length: ")[2].split(b"\r\n", 1)[0])
        body = await reader.readexactly(length)
        took = time.perf_counter() - began
        if not head.startswith(b"HTTP/1.1 200"):
            self.count_refused += self._counts
            return None
        if self._counts:
            self.seconds[action].append(took)
        return body

    async def _connected(self, node: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        context = ssl.create_default_context(cafile=str(self.nodes / "ca" / "ca.crt"))
        context.load_cert_chain(self.nodes / "sae" / f"sae-{node}.crt", self.nodes / "sae" / f"sae-{node}.key")
        return await asyncio.open_connection("127.0.0.1", self.ports[node], ssl=context)


def _request(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


def _provisioned(nodes: Path, count_bits: int) -> dict[str, int]:
    """Write a link whose stores are full of key; return where its nodes deliver."""
    channel, *ports = (_free_port() for _ in range(3))
    delivery_ports = dict(zip(NODES, ports, strict=True))
    provision(
        load_profile("niedersachsen", [*SETTINGS, "security.frame_pulses=1000"]),
        nodes,
        Hosts(),
        Choices(channel, shares=SHARES, delivery_ports=delivery_ports, dashboard_ports=None),
    )
    for node in NODES:
        config = nodes / node / "config.toml"
        text = config.read_text(encoding="utf-8")
        text = text.replace("[delivery]", "[delivery]\nrequests_per_second = 1e6\nrequests_at_once = 1e6")
        config.write_text(text.replace("[store]", "[store]\ncapacity_bits = 1"), encoding="utf-8")
    key = np.random.default_rng(3).integers(0, 1 << 63, count_bits // 64, np.uint64)
    for node, party in zip(NODES, Party, strict=True):
        settings = load_settings(nodes / node / "config.toml", NodeSettings)
        store = open_store(settings, party, read_secrets(settings.resolved(settings.channel.secret)))
        store.apply(MeetPeer(1, 0, 0))
        store.apply(OpenBlock(1))
        store.apply(TakeMask(next_mask(0)))
        store.apply(StageKeys({1: SecretBits(Bits(key.copy(), 64 * key.size))}))
        store.apply(CommitKeys((1,)))
        store.close()
    return delivery_ports


@contextmanager
def _running(nodes: Path) -> Iterator[dict[str, Popen[bytes]]]:
    processes: dict[str, Popen[bytes]] = {}
    try:
        for name in reversed(NODES):
            with (nodes / f"{name}.log").open("wb") as log:
                processes[name] = started(MODULE, name, str(nodes / name / "config.toml"), log=log)
        yield processes
    finally:
        for process in processes.values():
            process.terminate()
        for process in processes.values():
            process.wait()


def _wait_ready(nodes: Path, processes: dict[str, Popen[bytes]]) -> None:
    until = time.monotonic() + READY_SECONDS
    while time.monotonic() < until:
        for name, process in processes.items():
            if process.poll() is not None:
                raise TransportError(f"benchmark: {name} has ended: {(nodes / f'{name}.log').read_text(encoding='utf-8')[-800:]}")
        try:
            if all(_hears_peer(nodes / name / "config.toml") for name in NODES):
                return
        except TransportError:
            pass
        time.sleep(0.1)
    raise TransportError(f"benchmark: the nodes are not ready after {READY_SECONDS:g} s")


def _hears_peer(config: Path) -> bool:
    with AdminClient.of(config) as client:
        return bool(client.ask("status")["delivery"]["peer_ready"])


def _cpu_seconds(pid: int) -> float:
    """Seconds of processor time a process has taken, its threads included."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
