"""What a running link costs and how quickly it answers: read from outside, from /proc and the admin sockets."""

import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

MEBIBYTE = 1 << 20

LEAST_LINK_HOURS = 0.5
"""Below, growth an hour says nothing."""

HEARTBEAT = """
import asyncio, sys, time
async def beat(seconds, samples=[]):
    until = time.monotonic() + seconds
    while (before := time.monotonic()) < until:
        await asyncio.sleep(0.05)
        samples.append(time.monotonic() - before - 0.05)
    samples.sort()
    print(1000 * samples[int(0.999 * len(samples))])
asyncio.run(beat(float(sys.argv[1])))
"""
"""An event loop with nothing to do: what it is late, the machine is."""


@dataclass
class Usage:
    """What one process holds, sample by sample."""

    bytes_resident: list[int] = field(default_factory=list)
    count_files: list[int] = field(default_factory=list)
    count_threads: list[int] = field(default_factory=list)

    def sample(self, pid: int) -> None:
        lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        self.bytes_resident.append(1024 * int(lines["VmRSS"].split()[0]))
        self.count_threads.append(int(lines["Threads"]))
        self.count_files.append(sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir()))


@dataclass
class Measured:
    """A stretch of a link's life.

    Attributes
    ----------
    link_hours : list[float]
        Link time at each sample.
    usage : dict[str, Usage]
        By process.
    answer_seconds : dict[str, list[float]]
        How long each command took, by node and command.
    lag : dict[str, dict]
        The event loops' lag at the end, as the nodes report it.
    machine_lag_ms : float
        99.9th percentile of an idle event loop's lag meanwhile.
    """

    link_hours: list[float] = field(default_factory=list)
    usage: dict[str, Usage] = field(default_factory=dict)
    answer_seconds: dict[str, list[float]] = field(default_factory=dict)
    lag: dict[str, dict] = field(default_factory=dict)
    machine_lag_ms: float = 0.0

    def growth(self, name: str) -> float:
        """Bytes a process grew an hour of link, a straight line through the last two thirds."""
        first = len(self.link_hours) // 3
        return float(np.polyfit(self.link_hours[first:], self.usage[name].bytes_resident[first:], 1)[0])

    def lines(self) -> list[str]:
        at = np.linspace(0, len(self.link_hours) - 1, 5).astype(int)
        said = ["link hours      " + " ".join(f"{self.link_hours[i]:7.2f}" for i in at)]
        for name, usage in self.usage.items():
            curve = " ".join(f"{usage.bytes_resident[i] / MEBIBYTE:7.1f}" for i in at)
            grown = f"{self.growth(name) / MEBIBYTE:+.2f} MiB an hour of link" if self.link_hours[-1] > LEAST_LINK_HOURS else ""
            said.append(f"{name:9} MiB   {curve}   {grown}".rstrip())
        for asked, seconds in self.answer_seconds.items():
            said.append(f"{asked:18} " + ", ".join(f"p{share} {1000 * np.percentile(seconds, share):.1f} ms" for share in (50, 99)))
        said += [f"{name:9} lag {report}" for name, report in self.lag.items()]
        return [*said, f"an idle loop's lag p99.9 {self.machine_lag_ms:.1f} ms"]


def measure(link, seconds: float, interval_seconds: float = 1.0) -> Measured:
    """Watch a link that distils."""
    measured = Measured(usage={name: Usage() for name in link.processes})
    heartbeat = subprocess.Popen([sys.executable, "-c", HEARTBEAT, str(seconds)], stdout=subprocess.PIPE, text=True)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for name, usage in measured.usage.items():
            usage.sample(link.processes[name].pid)
        for name in ("alice", "bob"):
            for command in ("status", "keys status"):
                began = time.monotonic()
                answer = link.ask(name, command)[0]
                measured.answer_seconds.setdefault(f"{name} {command}", []).append(time.monotonic() - began)
                if command == "status":
                    measured.lag[name] = answer["event_loop_lag"]
                    link_seconds = answer["link_seconds"]
        measured.link_hours.append(link_seconds / 3600)
        time.sleep(max(0.0, min(interval_seconds, until - time.monotonic())))
    measured.machine_lag_ms = float(heartbeat.communicate()[0])
    return measured
