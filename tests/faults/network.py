"""Hours of a link between two hosts whose network is slow, lossy, narrow or cut at random, and how the link took it.

``python -m tests.faults.network --hours 10 --seed 7`` runs Alice's and Bob's nodes at two hosts (``tests.support.two_hosts``) until so many
hours of link were distilled and so many faults were had. The emulated fibre stays whole, and emulates as fast as it is read. Two
applications take and follow key all the while. What is wrong in the end is listed, and the exit status is 1 where anything is: key lost,
split or used twice; a session that ended or a block that was given up without a fault nearby; a process that grew; a link that does not
go on.
"""

import argparse
import contextlib
import json
import signal
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median

from common.errors import TransportError
from common.keystore import check
from tests.faults.applications import Application, Handed
from tests.faults.link_kills import levels_apart
from tests.faults.logs import FollowedLog, moment
from tests.faults.network_faults import Fault, schedule
from tests.faults.residents import MOST_GROWTH, Residents
from tests.integration.live.processes import LiveLink
from tests.support.namespaces import lacking
from tests.support.numba_cache import choose_numba_cache
from tests.support.two_hosts import ADDRESSES, HOSTS, TwoHosts

CHANNEL_PORT = 7701

LOOK_SECONDS = 0.1
SAMPLE_SECONDS = 2.0

RECOVERY_SECONDS = 45.0
"""From healing to the next block at both ends: twice the longest pause between two attempts of any part, and a group of blocks."""

PATIENCE_SECONDS = 180.0
"""Beyond, the link counts as stuck and the run ends."""

ECHO_SECONDS = 15.0
"""How long after healing a fault may still end a session: the time until silence is noticed, and as much again for what waits on it."""

LONG_RUN_HOURS = 8.0
"""From here on every process has to have had a life that was long enough to say whether it grows."""

MOST_REST_SECONDS = 0.5
"""Of the applications between two requests."""


class LinkOverNetwork(LiveLink):
    """A link of 500 kHz, emulated hundreds of times as fast as it would be, whose nodes are at two hosts."""

    PROFILE = "hbn"
    SETTINGS = ("channel.loss_db=6", "security.block_bits=60000", "security.frame_pulses=1000000", "security.epsilon_secrecy=1e-8")

    def __init__(self, folder: Path, hosts: TwoHosts, *settings: str) -> None:
        super().__init__(folder, *settings)
        self.hosts = hosts
        self.replace("alice", f"tcp://127.0.0.1:{self.port}", f"tcp://{ADDRESSES['bob']}:{CHANNEL_PORT}")
        self.replace("bob", f"tcp://127.0.0.1:{self.port}", f"tcp://{ADDRESSES['bob']}:{CHANNEL_PORT}")

    def command(self, name: str) -> list[str]:
        command = super().command(name)
        return self.hosts.command(name, command) if name in HOSTS else command


@dataclass
class Outcome:
    """What came of a fault: Unix times, blocks kept at both ends meanwhile, sessions that ended at either."""

    kind: str
    fault: str
    began: float
    healed: float = 0.0
    recovery_seconds: float | None = None
    blocks_meanwhile: int = 0
    sessions_ended: int = 0


@dataclass
class Report:
    """What a run came to."""

    seed: int
    seconds: float = 0.0
    link_hours: float = 0.0
    blocks: int = 0
    secret_bits: int = 0
    discarded: dict[str, dict[str, int]] = field(default_factory=dict)
    outcomes: list[Outcome] = field(default_factory=list)
    bytes_handed_out: dict[str, int] = field(default_factory=dict)
    applications: dict[str, int] = field(default_factory=dict)
    packets: dict[str, dict] = field(default_factory=dict)
    memory: list[dict] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        said = [
            f"{self.link_hours:.2f} hours of link in {self.seconds:.0f} s, seed {self.seed}, {len(self.outcomes)} faults",
            f"{self.blocks} blocks with {self.secret_bits} bits committed at both ends; given up: {self.discarded}",
            "applications were handed " + ", ".join(f"{count} bytes at {end}'s end" for end, count in self.bytes_handed_out.items()),
            "  " + ", ".join(f"{what}: {count}" for what, count in sorted(self.applications.items())),
            *(f"packets from {sender}: {counts}" for sender, counts in self.packets.items()),
            "",
            f"{'fault':82} {'blocks':>7} {'sessions':>9} {'recovery':>10}",
            f"{'':82} {'kept':>7} {'ended':>9} {'s':>10}",
        ]
        said += [
            f"{f'{place}. {had.kind}: {had.fault}':82} {had.blocks_meanwhile:7} {had.sessions_ended:9} {_seconds(had.recovery_seconds):>10}"
            for place, had in enumerate(self.outcomes, 1)
        ]
        by_kind = defaultdict(list)
        for had in self.outcomes:
            by_kind[had.kind].append(PATIENCE_SECONDS if had.recovery_seconds is None else had.recovery_seconds)
        said += ["", f"{'recovery by kind':20} {'faults':>7} {'median s':>10} {'longest s':>10}"]
        said += [f"{kind:20} {len(took):7} {median(took):10.1f} {max(took):10.1f}" for kind, took in sorted(by_kind.items())]
        said += ["", f"{'resident memory':20} {'life s':>8} {'link h':>7} {'first MiB':>10} {'last MiB':>10} {'growth':>8}"]
        for life in self.memory:
            sizes = (
                f"{life['first_mib']:10} {life['last_mib']:10} {life['growth']:8.1%}"
                if life["growth"] is not None
                else "too short to judge"
            )
            said.append(f"{life['process']:20} {life['seconds']:8} {life['hours']:7} {sizes}")
        well = "nothing lost, split or used twice; every session that ended and every block that was given up is explained"
        return [*said, "", *(self.faults or [well])]


def _seconds(seconds: float | None) -> str:
    return "none" if seconds is None else f"{seconds:.1f}"


class NetworkRun:
    """Faults on the network of a running link.

    ``say`` is told how it goes.
    """

    def __init__(self, link: LinkOverNetwork, seed: int, say: Callable[[str], None]) -> None:
        self.report = Report(seed)
        self._link, self._say = link, say
        self._logs = {name: FollowedLog(link.folder / f"{name}.log") for name in HOSTS}
        self._events: dict[str, list[dict]] = {name: [] for name in HOSTS}
        self._residents = Residents()
        self._handed = Handed()
        self._applications = [Application(link, giver, self._handed, str(seed), MOST_REST_SECONDS) for giver in HOSTS]
        self._link_seconds_before = self._link_seconds = 0.0
        self._began = time.time()
        self._sampled = 0.0

    def run(self, hours: float, least_faults: int, faults: Iterator[Fault], most_seconds: float = float("inf")) -> Report:
        """Have faults until there were so many of both, or time is up; a link that is stuck ends the run."""
        report = self.report
        for application in self._applications:
            application.start()
        with contextlib.suppress(StuckError):
            while len(report.outcomes) < least_faults or self._hours < hours:
                if time.time() > self._began + most_seconds:
                    break
                self._strike(next(faults))
            self._come_to_rest()
        report.seconds, report.link_hours = time.time() - self._began, self._hours
        return report

    @property
    def _hours(self) -> float:
        return (self._link_seconds_before + self._link_seconds) / 3600

    def _strike(self, fault: Fault) -> None:
        link, report = self._link, self.report
        self._watch_until(time.time() + fault.pause_seconds)
        had = Outcome(fault.kind, str(fault), time.time())
        report.outcomes.append(had)
        link.hosts.change(fault.ways)
        if fault.restarted:
            self._restart(fault.restarted)
        self._watch_until(time.time() + fault.seconds)
        link.hosts.clear()
        had.healed = time.time()
        self._watch_until(had.healed + PATIENCE_SECONDS, lambda: self._next_block(had.healed) is not None)
        had.blocks_meanwhile = min(len(self._kept(name, had.began, had.healed)) for name in HOSTS)
        had.sessions_ended = sum(had.began < at <= had.healed + ECHO_SECONDS for name in HOSTS for at in self._session_ends(name))
        next_block = self._next_block(had.healed)
        if next_block is None:
            report.faults.append(f"fault {len(report.outcomes)}, {fault}: no block within {PATIENCE_SECONDS:g} s after it was over")
            raise StuckError
        had.recovery_seconds = next_block - had.healed
        if had.recovery_seconds > RECOVERY_SECONDS:
            report.faults.append(f"fault {len(report.outcomes)}, {fault}: the next block came only after {had.recovery_seconds:.1f} s")
        self._say(
            f"{time.time() - self._began:7.1f} s  {self._hours:6.2f} h  {len(report.outcomes):3}. {fault.kind}: {fault};"
            f" next block after {had.recovery_seconds:.1f} s"
        )

    def _restart(self, name: str) -> None:
        status, _ = self._link.stop(name)
        if status:
            self.report.faults.append(f"{name} did not stop as asked: status {status}")
        if name == "bob":
            self._link_seconds_before, self._link_seconds = self._link_seconds_before + self._link_seconds, 0.0
        self._link.start(name)

    def _watch_until(self, until: float, is_over: Callable[[], bool] = lambda: False) -> None:
        """Read logs and sample memory until a time comes or something has happened."""
        while time.time() < until:
            for name, log in self._logs.items():
                self._events[name] += log.new()
            if time.time() > self._sampled + SAMPLE_SECONDS:
                self._sample()
            if is_over():
                return
            time.sleep(LOOK_SECONDS)

    def _sample(self) -> None:
        self._sampled = time.time()
        for name, process in self._link.processes.items():
            if process.poll() is not None:
                self.report.faults.append(f"{name} has ended by itself with status {process.returncode}: {self._link.log(name)[-500:]}")
                raise StuckError
        self._residents.sample(self._link, self._hours, self._sampled)
        with contextlib.suppress(TransportError, OSError):  # he may be just starting
            self._link_seconds = max(self._link_seconds, self._link.status("bob")["link_seconds"])

    def _kept(self, name: str, after: float, until: float = float("inf")) -> list[float]:
        kept = [moment(event) for event in self._events[name] if event["event"] == "block ended" and event["secret_bits"]]
        return [at for at in kept if after < at <= until]

    def _next_block(self, after: float) -> float | None:
        """When both ends have kept a block after a time."""
        kept = [self._kept(name, after) for name in HOSTS]
        return max(min(moments) for moments in kept) if all(kept) else None

    def _session_ends(self, name: str) -> list[float]:
        return [moment(event) for event in self._events[name] if event["event"] in {"session failed", "session over"}]

    def _come_to_rest(self) -> None:
        """Let the link go on, let the applications follow with all they took, stop, and compare."""
        report, link = self.report, self._link
        at = time.time()
        self._watch_until(at + PATIENCE_SECONDS, lambda: all(len(self._kept(name, at)) >= 3 for name in HOSTS))
        until = time.monotonic() + 60
        for application in self._applications:
            application.finish(lambda: time.monotonic() > until)
            report.applications = dict(Counter(report.applications) + application.counts)
            if application.failure is not None:
                report.faults.append(f"an application failed: {application.failure!r}")
            if application.count_waiting:
                report.faults.append(f"{application.count_waiting} letters can be read by nobody: key was lost after commitment")
        self._sample()
        asked_to_stop = time.time()
        for name in HOSTS:
            status, _ = link.stop(name)
            if status:
                report.faults.append(f"{name} did not stop as asked: status {status}")
            self._events[name] += self._logs[name].new()
        self._conclude(asked_to_stop)

    def _conclude(self, asked_to_stop: float) -> None:
        report, link = self.report, self._link
        ledgers = [check.LedgerFile.read(link.folder / name / "state" / "store.sqlite") for name in HOSTS]
        both = ledgers[0].committed() & ledgers[1].committed()
        report.faults += [*check.faults_within(ledgers[0]), *check.faults_within(ledgers[1]), *check.faults_between(*ledgers)]
        report.faults += [*levels_apart(*ledgers), *self._handed.verdict()]
        report.faults += [f"{name} logged a mistake of ours" for name in HOSTS if "mistake of ours" in link.log(name)]
        report.blocks, report.secret_bits = len(both), sum(ledgers[0].blocks[block][1] for block in both)
        report.bytes_handed_out = {end: self._handed.count_bytes(end) for end in HOSTS}
        report.packets = {sender: asdict(carried) for sender, carried in link.hosts.carried().items()}
        spans = [(had.began, had.healed + max(ECHO_SECONDS, had.recovery_seconds or 0.0)) for had in report.outcomes]
        for name in HOSTS:
            events = [event for event in self._events[name] if self._began < moment(event) < asked_to_stop]
            reasons = (event["reason"] for event in events if event["event"] == "block ended" and event["reason"])
            report.discarded[name] = dict(Counter(reasons))
            report.faults += [f"{name}: {fault}" for fault in unexplained(events, spans)]
        report.memory = self._residents.lives()
        report.faults += grown(report.memory, self._hours)


class StuckError(Exception):
    """The link does not go on, so nothing more can be learnt."""


FROM_FAULTS = frozenset({"peer-aborted"})
"""Reasons for giving a block up that a network may cause."""


def unexplained(events: list[dict], spans: list[tuple[float, float]]) -> list[str]:
    """What a node logged that no fault explains: sessions that ended, blocks given up, block numbers left out within a session.

    ``spans`` are the Unix times between which each fault may have had consequences. The emulated link is such that none of its blocks has
    to be given up for reasons of physics.
    """
    found = []
    last_number: int | None = None
    for event in events:
        at = moment(event)
        in_fault = any(began <= at <= until for began, until in spans)
        if event["event"] in {"session failed", "session over"}:
            last_number = None
            if not in_fault:
                found.append(f"a session ended at {event['timestamp']} without a fault: {event.get('error', 'stopped')}")
        elif event["event"] == "ready":
            last_number = None
        elif event["event"] == "block ended":
            number, reason = event["block"], event["reason"]
            if last_number is not None and number != last_number + 1:
                found.append(f"within a session block {number} came behind {last_number}")
            last_number = number
            if reason and not (in_fault and reason in FROM_FAULTS):
                found.append(f"block {number} was given up at {event['timestamp']} without a fault that explains it: {reason}")
    return found


def grown(memory: list[dict], hours: float) -> list[str]:
    """Processes that grew in a run of so many hours of link, and, in a long one, those of which no life was long enough to say so."""
    judged = [life for life in memory if life["growth"] is not None]
    found = [
        f"{life['process']} grew by {life['growth']:.1%} in {life['hours']} hours of link, more than {MOST_GROWTH:.0%}"
        for life in judged
        if life["growth"] > MOST_GROWTH
    ]
    missing = sorted({life["process"] for life in memory} - {life["process"] for life in judged})
    return found + [f"{name} never ran for long enough to say whether it grows" for name in missing if hours >= LONG_RUN_HOURS]


@contextlib.contextmanager
def link_over_network(folder: Path, seed: int) -> Iterator[LinkOverNetwork]:
    """Two hosts and a link that is provisioned; whatever is started is ended, and everything removed again."""
    with closing(TwoHosts(str(seed))) as hosts, closing(LinkOverNetwork(folder, hosts)) as link:
        yield link


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.network", description="Faults on a link's network; needs root.")
    parser.add_argument("--hours", type=float, default=10.0, help="hours of link that have to be distilled")
    parser.add_argument("--faults", type=int, default=24, help="faults that there have to be, however soon the hours are over")
    parser.add_argument(
        "--minutes", type=float, default=float("inf"), help="time by the clock on the wall behind which no other fault comes"
    )
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--folder", type=Path, help="where the nodes and their logs are kept; a temporary folder otherwise")
    parser.add_argument("--report", type=Path, help="file for the report, JSON")
    chosen = parser.parse_args(arguments)
    if reason := lacking():
        parser.error(f"no two hosts can be made here: {reason}")
    choose_numba_cache()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    print(f"seed {chosen.seed}", flush=True)  # noqa: T201
    with tempfile.TemporaryDirectory() as folder, link_over_network((chosen.folder or Path(folder)) / "nodes", chosen.seed) as link:
        link.start()
        link.wait_for_blocks(2)
        run = NetworkRun(link, chosen.seed, lambda line: print(line, flush=True))  # noqa: T201
        report = run.run(chosen.hours, chosen.faults, schedule(chosen.seed), 60 * chosen.minutes)
    print("\n".join(report.lines()))  # noqa: T201
    if chosen.report:
        chosen.report.write_text(json.dumps(asdict(report), indent=2) + "\n")
    return 1 if report.faults else 0


if __name__ == "__main__":
    sys.exit(main())
