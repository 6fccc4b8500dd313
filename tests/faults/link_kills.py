"""Kills the processes of a whole link at random instants, restarts them, and says how the link took it.

``python -m tests.faults.link_kills --kills 200`` runs until so many processes were killed, a kill of both nodes counting as two; the same
class serves the test of the suite. Two applications take and follow key all the while. Whenever both nodes lie dead, and at the end, the
checker compares both ledgers.
"""

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from common.errors import TransportError
from common.keystore import check
from tests.faults.applications import Application, Handed
from tests.faults.logs import Recoveries
from tests.integration.live.processes import LiveLink

TARGETS = {("alice",): 3, ("bob",): 3, ("alice", "bob"): 2, ("fibre",): 2}
"""Who is killed together, and how often."""

PAUSE_SECONDS = (1.0, 8.0)
"""Between a restart and the next kill, evenly distributed."""

WAITS_FOR_START = 0.75
"""How often that time begins only when restarted nodes answer; otherwise the next kill may well come while they start."""

NODES = ("alice", "bob")


@dataclass
class KillReport:
    """What a run came to."""

    seed: int
    kills: Counter[str] = field(default_factory=Counter)
    blocks: int = 0
    secret_bits: int = 0
    seconds: float = 0.0
    bytes_handed_out: dict[str, int] = field(default_factory=dict)
    applications: Counter[str] = field(default_factory=Counter)
    checks: int = 0
    recoveries: dict[str, list[float]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        kills = ", ".join(f"{name} {count}" for name, count in sorted(self.kills.items()))
        said = [
            f"{sum(self.kills.values())} kills ({kills}) in {self.seconds:.0f} s, seed {self.seed}",
            f"{self.blocks} blocks with {self.secret_bits} bits committed at both ends; ledgers compared {self.checks} times",
            "applications were handed " + ", ".join(f"{count} bytes at {end}'s end" for end, count in self.bytes_handed_out.items()),
            "  " + ", ".join(f"{what}: {count}" for what, count in sorted(self.applications.items())),
        ]
        for target, seconds in sorted(self.recoveries.items()):
            ordered = sorted(seconds)
            at = [ordered[min(len(ordered) - 1, int(share * len(ordered)))] for share in (0.5, 0.9, 1.0)]
            said.append(
                f"kill of {target}: next block kept at both ends after {at[0]:.1f} s (median), {at[1]:.1f} s (9 of 10), {at[2]:.1f} s"
                f" (longest), from {len(ordered)} that no other kill overtook"
            )
        return [*said, *(self.faults or ["nothing lost, split otherwise or used twice; the link goes on"])]


class KillRun:
    """Kills a running link.

    ``link`` runs already. ``say`` is told of every kill.
    """

    def __init__(self, link: LiveLink, seed: int, pause_seconds=PAUSE_SECONDS, say=lambda _line: None) -> None:
        self.report = KillReport(seed)
        self._link, self._say, self._pause_seconds = link, say, pause_seconds
        self._dice = random.Random(seed)
        self._handed = Handed()
        self._applications = [Application(link, giver, self._handed, str(seed)) for giver in NODES]
        self._kills: list[tuple[float, tuple[str, ...]]] = []
        self._began = time.monotonic()

    def run(self, count_kills: int) -> KillReport:
        report = self.report
        for application in self._applications:
            application.start()
        while sum(report.kills.values()) < count_kills:
            time.sleep(self._dice.uniform(*self._pause_seconds))
            self._kill(self._dice.choices(list(TARGETS), list(TARGETS.values()))[0])
        self._come_to_rest()
        report.seconds = time.monotonic() - self._began
        return report

    def _kill(self, targets: tuple[str, ...]) -> None:
        for name in targets:
            process = self._link.processes[name]
            if process.poll() is not None:
                self.report.faults.append(f"{name} had ended by itself with status {process.returncode}: {self._link.log(name)[-500:]}")
        self._kills.append((time.time(), targets))
        self._link.kill(*targets)
        self.report.kills.update(targets)
        if set(NODES) <= set(targets):
            self._compare("while both nodes lay dead")
        self._link.start(*targets)
        if self._dice.random() < WAITS_FOR_START:
            self._wait_for_answer(targets)
        self._say(f"{time.monotonic() - self._began:7.1f} s  {sum(self.report.kills.values()):4d} kills  {' and '.join(targets)}")

    def _wait_for_answer(self, names: tuple[str, ...]) -> None:
        """Wait until nodes answer, or for ten seconds."""
        until = time.monotonic() + 10
        while time.monotonic() < until:
            try:
                for name in names:
                    if name in NODES:
                        self._link.status(name)
            except (TransportError, OSError):
                time.sleep(0.05)
            else:
                return

    def _come_to_rest(self) -> None:
        """Let the link go on, let the applications follow with all they took, stop, and compare."""
        report, link = self.report, self._link
        before = {name: self._blocks_kept(name) for name in NODES}
        link.wait_until(lambda _: all(self._blocks_kept(name) >= before[name] + 3 for name in NODES), "blocks behind the last kill")
        until = time.monotonic() + 60
        for application in self._applications:
            application.finish(lambda: time.monotonic() > until)
            report.applications.update(application.counts)
            if application.failure is not None:
                report.faults.append(f"an application failed: {application.failure!r}")
            if application.count_waiting:
                report.faults.append(f"{application.count_waiting} letters can be read by nobody: key was lost after commitment")
        for name in NODES:
            status, _ = link.stop(name)
            if status:
                report.faults.append(f"{name} did not stop as asked: status {status}")
        ledgers = self._compare("at the end")
        report.faults += self._handed.verdict() + levels_apart(*ledgers)
        report.blocks = len(ledgers[0].committed() & ledgers[1].committed())
        report.secret_bits = sum(ledgers[0].blocks[block][1] for block in ledgers[0].committed() & ledgers[1].committed())
        report.bytes_handed_out = {end: self._handed.count_bytes(end) for end in NODES}
        report.recoveries = Recoveries.of(link, self._kills).by_target()
        report.faults += [f"{name} logged a mistake of ours" for name in NODES if "mistake of ours" in link.log(name)]

    def _blocks_kept(self, name: str) -> int:
        try:
            return self._link.status(name)["blocks_kept"]
        except (TransportError, OSError):
            return 0

    def _compare(self, when: str) -> list[check.LedgerFile]:
        self.report.checks += 1
        paths = [self._link.folder / name / "state" / "store.sqlite" for name in NODES]
        ledgers = [check.LedgerFile.read(path) for path in paths]
        found = [*check.faults_within(ledgers[0]), *check.faults_within(ledgers[1]), *check.faults_between(*ledgers)]
        self.report.faults += [f"{when}: {fault}" for fault in found]
        return ledgers


def levels_apart(alice: check.LedgerFile, bob: check.LedgerFile) -> list[str]:
    """Where two ledgers that are in line do not stand at the same level."""
    found = []
    for ours, theirs in ((alice, bob), (bob, alice)):
        found += [
            f"{ours.name}: block {block} is committed and only staged at the other end" for block in ours.committed() - theirs.committed()
        ]
        kinds = Counter(kind for uses in ours.uses.values() for _, _, kind in uses)
        found += [f"{ours.name}: {kinds[kind]} uses are {kind}" for kind in ("forgone", "damaged", "erased", "expired") if kinds[kind]]
    return found


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.link_kills", description="Kill the processes of a whole link.")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--folder", type=Path, help="where the nodes and their logs are kept; a temporary folder otherwise")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change the link, as qkd provision does")
    chosen = parser.parse_args(arguments)
    print(f"seed {chosen.seed}", flush=True)  # noqa: T201
    with tempfile.TemporaryDirectory() as folder, closing(LiveLink((chosen.folder or Path(folder)) / "nodes", *chosen.set)) as link:
        link.start()
        link.wait_for_blocks(1)
        report = KillRun(link, chosen.seed, say=lambda line: print(line, flush=True)).run(chosen.kills)  # noqa: T201
    print("\n".join(report.lines()))  # noqa: T201
    return 1 if report.faults else 0


if __name__ == "__main__":
    sys.exit(main())
