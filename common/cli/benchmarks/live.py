"""The whole pipeline live: two daemons on detections prepared beforehand, TCP on loopback between them, key committed in both stores.

All processes are counted. Where a distance is asked for, a relay in this process holds every byte back for half a round trip.
"""

from __future__ import annotations

import asyncio
import math
import os
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen
from typing import Any

from common.cli.benchmarks.measurement import Measurement, Request
from common.cli.processes import started
from common.cli.provisioning import Choices, Hosts, provision
from common.errors import TransportError
from common.profiles.link import LinkProfile, load_profile
from common.service.admin_client import AdminClient

MODULE = "common.cli.benchmarks.prepared"

SETTINGS = (
    "source.clock_hz=1e9",
    "source.g2=0.001",
    "source.probability_z=0.9",
    "receiver.basis_choice=active",
    "receiver.probability_z=0.9",
    "security.frame_pulses=100000",
)
"""A gigahertz link with a click in every tenth slot and biased bases: as fast as the fastest that were published."""

FAR_SECONDS = 0.02
"""Round-trip time of the distant peer."""

READY_SECONDS = 180.0
"""How long the nodes may take until they have made their first key: kernels may have to be compiled."""

RELAY_BYTES = 1 << 18
"""What the relay reads at a time."""


def measure(request: Request) -> Iterator[Measurement]:
    """Measure both daemons.

    Parameters
    ----------
    request : Request
        What to measure; ``block_bits`` are key bits of a block.

    Yields
    ------
    Measurement
        For each QBER next to each other, and for the first of them at a distance.
    """
    for block_bits in request.lengths((1_000_000,), (30_000,)):
        for number, qber in enumerate(request.qbers):
            yield distilled(request, qber, block_bits, 0.0)
            if number == 0:
                yield distilled(request, qber, block_bits, FAR_SECONDS)


def distilled(request: Request, qber: float, block_bits: int, round_trip_seconds: float, method: str = "auto") -> Measurement:
    """Run both daemons for some seconds.

    Parameters
    ----------
    request : Request
        Says whether a short while has to do.
    qber : float
        Share of differing bits.
    block_bits : int
        Key bits of a block.
    round_trip_seconds : float
        How far apart they are.
    method : str
        Of reconciliation; ``auto`` lets the nodes choose.

    Returns
    -------
    Measurement
        Sifted bits a second, in the steady state, and the share of a core that each process took.
    """
    chosen = (f"channel.misalignment={qber}", f"reconciliation.initial_qber={qber}", f"security.block_bits={block_bits}")
    profile = load_profile("niedersachsen", [*SETTINGS, *chosen, f"reconciliation.method={method}"])
    with ExitStack() as stack:
        pair = stack.enter_context(_running(profile, round_trip_seconds))
        before = pair.look(first=True)
        time.sleep(2.0 if request.quick else 12.0 + 200 * round_trip_seconds)
        after = pair.look()
        block = pair.latest_block()
    seconds = after.moment - before.moment
    sifted, secret = (after.status[name] - before.status[name] for name in ("sifted_bits", "secret_bits"))
    shares = " and ".join(f"{(after.cpu[name] - before.cpu[name]) / seconds:.2f}" for name in pair.processes)
    pace, lag = after.status["pace"], after.status["event_loop_lag"]["p99_9_ms"]
    return Measurement(
        stage="pipeline",
        method=f"two daemons, TCP, {pace['method']}" + (f", {1000 * round_trip_seconds:g} ms apart" if round_trip_seconds else ""),
        qber=qber,
        block_bits=block_bits,
        cores=os.cpu_count() or 1,
        mbit_per_second=sifted / seconds / 1e6,
        efficiency=_efficiency(block),
        frame_error_ratio=block["segments"]["failed"] / block["segments"]["count"],
        count_segments=block["segments"]["count"],
        secret_bits=secret,
        note=f"{secret / sifted:.2f} secret bits a sifted bit; {shares} of a core; loop lag p99.9 {lag:g} ms",
    )


@dataclass(frozen=True, slots=True)
class _Look:
    """What both nodes had done at a moment."""

    moment: float
    status: dict[str, Any]
    cpu: dict[str, float]


class _Pair:
    """Two nodes that run."""

    def __init__(self, nodes: Path, processes: dict[str, Popen[bytes]]) -> None:
        self.processes = processes
        self._nodes = nodes

    def look(self, *, first: bool = False) -> _Look:
        """Look at both; ``first``: as soon as there is key."""
        until = time.monotonic() + READY_SECONDS
        while True:
            for name, process in self.processes.items():
                if process.poll() is not None:
                    raise TransportError(f"benchmark: {name} has ended; its log is {self._nodes / name}.log")
            try:
                with self._client() as client:
                    status = client.ask("status")
            except TransportError:
                status = {"blocks_kept": 0}
            if status["blocks_kept"] or not first:
                return _Look(time.monotonic(), status, {name: _cpu_seconds(process.pid) for name, process in self.processes.items()})
            if time.monotonic() > until:
                raise TransportError(f"benchmark: no key after {READY_SECONDS:g} s; the logs are in {self._nodes}")
            time.sleep(0.1)

    def latest_block(self) -> dict[str, Any]:
        """Return the report of the latest block."""
        blocks: list[dict[str, Any]] = []
        with self._client() as client:
            while new := client.ask("blocks", after=blocks[-1]["entry"] if blocks else 0)["blocks"]:
                blocks = new
        return blocks[-1]

    def _client(self) -> AdminClient:
        return AdminClient.of(self._nodes / "alice" / "config.toml")


@contextmanager
def _running(profile: LinkProfile, round_trip_seconds: float) -> Iterator[_Pair]:
    with tempfile.TemporaryDirectory(prefix="qkd-bench-") as folder, ExitStack() as stack:
        nodes, port = Path(folder), _free_port()
        provision(profile, nodes, Hosts(), Choices(port, delivery_ports=None, dashboard_ports=None))
        if round_trip_seconds:
            near = _free_port()
            stack.enter_context(_relay(near, port, round_trip_seconds / 2))
            config = nodes / "alice" / "config.toml"
            config.write_text(config.read_text(encoding="utf-8").replace(f":{port}", f":{near}"), encoding="utf-8")
        processes: dict[str, Popen[bytes]] = {}
        try:
            for name in ("bob", "alice"):
                with (nodes / f"{name}.log").open("wb") as log:
                    processes[name] = started(MODULE, name, str(nodes / name / "config.toml"), log=log)
            yield _Pair(nodes, processes)
        finally:
            for process in processes.values():
                process.terminate()
            for process in processes.values():
                process.wait()


@contextmanager
def _relay(port: int, behind: int, delay_seconds: float) -> Iterator[None]:
    """Carry connections to ``port`` on to the port ``behind``, every byte so much later, in a thread of its own."""
    opened: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def read() -> None:
            while data := await reader.read(RELAY_BYTES):
                under_way.put_nowait((time.monotonic() + delay_seconds, data))
            under_way.put_nowait((0.0, b""))

        reading = asyncio.create_task(read())
        try:
            while (held := await under_way.get())[1]:
                await asyncio.sleep(max(0.0, held[0] - time.monotonic()))
                if writer.is_closing():  # the node behind has ended
                    return
                writer.write(held[1])
        finally:
            reading.cancel()
            writer.close()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection("127.0.0.1", behind)
        except OSError:
            writer.close()
            return
        await asyncio.gather(carry(reader, back), carry(there, writer), return_exceptions=True)

    async def serve() -> None:
        stopped = asyncio.Event()
        async with await asyncio.start_server(connected, "127.0.0.1", port):
            opened.set_result((asyncio.get_running_loop(), stopped))
            await stopped.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),), daemon=True)
    thread.start()
    loop, stopped = opened.result(timeout=5.0)
    try:
        yield
    finally:
        loop.call_soon_threadsafe(stopped.set)
        thread.join(5.0)


def _cpu_seconds(pid: int) -> float:
    """Seconds of processor time a process has taken, its threads included."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _efficiency(block: dict[str, Any]) -> float:
    """Bits charged for reconciliation over the least possible."""
    bits = sum(block["counts"][basis]["key"] for basis in ("Z", "X"))
    ratio = sum(block["corrected"].values()) / bits
    entropy = -ratio * math.log2(ratio) - (1 - ratio) * math.log2(1 - ratio)
    charged = sum(count for item, count in block["leakage"].items() if not item.startswith("verification"))
    return float(charged / (bits * entropy))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
