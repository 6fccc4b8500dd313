"""Kills the nodes of a running pair while many applications order and fetch keys at both, and says how the keys took it.

Between kills the channel is cut in one direction and the clocks on the wall are set by an hour, forth and back.
``python -m tests.faults.delivery_kills --seconds 600 --kills 20`` is the long run; the test of the suite is a short one. What applications
were given is kept in memory, outside of what is killed; at the end the checker compares both ledgers.
"""

import argparse
import os
import random
import sys
import tempfile
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from common.keystore import check
from tests.integration.delivery.links import PEER, DeliveryLink, named
from tests.support.certificates import issued_by
from tests.support.relay import BACKWARD, FORWARD, Relay
from tests.support.stepped_clock import SteppedClock

SIZES = (8, 128, 256, 1024)
NUMBERS = (1, 1, 1, 2, 5)
GIVE_UP_SECONDS = 60.0
"""How long an application tries to fetch keys that it was told of, once the killing is over."""


@dataclass
class Report:
    """What a run came to."""

    kills: Counter = field(default_factory=Counter)
    counts: Counter = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def lines(self) -> list[str]:
        kills = ", ".join(f"{name} {count}" for name, count in sorted(self.kills.items()))
        counts = ", ".join(f"{what} {count}" for what, count in sorted(self.counts.items()))
        return [f"{sum(self.kills.values())} kills ({kills}) in {self.seconds:.0f} s", counts, *(self.faults or ["no fault"])]


class Handed:
    """Every key that applications were given, by number and end."""

    def __init__(self) -> None:
        self.given: dict[str, dict[str, str]] = {"alice": {}, "bob": {}}
        self.faults: list[str] = []
        self._lock = threading.Lock()

    def give(self, end: str, keys: dict[str, str]) -> None:
        with self._lock:
            for key_id, key in keys.items():
                if self.given[end].setdefault(key_id, key) != key:
                    self.faults.append(f"{end}: {key_id} was given with different bits")

    def verdict(self) -> list[str]:
        ours, theirs = self.given["alice"], self.given["bob"]
        differing = [key_id for key_id in ours.keys() & theirs.keys() if ours[key_id] != theirs[key_id]]
        repeated = [key for end in self.given.values() for key, count in Counter(end.values()).items() if count > 1 and len(key) >= 24]
        return [
            *self.faults,
            *(f"{key_id} differs between the ends" for key_id in differing),
            *(f"{len(repeated)} keys of 16 bytes and more were given under two numbers" for _ in repeated[:1]),
        ]


class Application(threading.Thread):
    """Orders at one node and fetches at the other, as a pair of programs that trust each other would."""

    def __init__(self, link: DeliveryLink, node: str, name: str, handed: Handed, seed: int) -> None:
        super().__init__(name=name, daemon=True)
        self.counts: Counter = Counter()
        self.failure: BaseException | None = None
        self.stopping = threading.Event()
        self._here, self._there, self._sae, self._handed = node, PEER[node], name, handed
        certificate = issued_by(link.folder / "ca", link.folder, name)
        self._orders, self._fetches = link.client(node, certificate), link.client(self._there, certificate)
        self._dice = random.Random(f"{seed} {name}")
        self._waiting: deque[dict[str, str]] = deque()

    @property
    def count_waiting(self) -> int:
        return sum(map(len, self._waiting))

    def run(self) -> None:
        try:
            while not self.stopping.is_set():
                if self._dice.random() < 0.6:
                    self._order()
                if self._waiting and self._dice.random() < 0.7:
                    self._fetch()
                self.stopping.wait(self._dice.uniform(0.0, 0.1))
            until = time.monotonic() + GIVE_UP_SECONDS
            while self._waiting and time.monotonic() < until:
                if not self._fetch():
                    time.sleep(0.1)
        except BaseException as failure:  # noqa: BLE001 - whatever it is, the test has to hear of it
            self.failure = failure
        finally:
            self._orders.close()
            self._fetches.close()

    def _order(self) -> None:
        asked = {"number": self._dice.choice(NUMBERS), "size": self._dice.choice(SIZES)}
        try:
            reply = self._orders.ask_again("POST", f"/api/v1/keys/{self._sae}/enc_keys", asked)
        except OSError:
            self.counts["orders without an answer"] += 1
            return
        except Exception as broken:  # noqa: BLE001 - http.client's own errors where a node died over its answer
            self.counts[f"orders: {type(broken).__name__}"] += 1
            return
        if reply.status != 200:
            self.counts[f"orders refused: {reply.status} {reply.body['message']}"] += 1
            return
        self._handed.give(self._here, reply.keys)
        self._waiting.append(reply.keys)
        self.counts["keys ordered"] += len(reply.keys)

    def _fetch(self) -> bool:
        """Fetch the oldest keys; a lost answer is asked for again, by the very same request."""
        keys = self._waiting[0]
        try:
            reply = self._fetches.ask_again("POST", f"/api/v1/keys/{self._sae}/dec_keys", named(*keys))
        except Exception as broken:  # noqa: BLE001 - likewise
            self.counts[f"fetches: {type(broken).__name__}"] += 1
            return False
        if reply.status == 503:
            self.counts["fetches put off"] += 1
            return False
        self._waiting.popleft()
        if reply.status != 200:
            self._handed.faults.append(f"{self._there}: keys that {self._here} gave are refused: {reply.status} {reply.body}")
            return True
        self._handed.give(self._there, reply.keys)
        if reply.keys != keys:
            self._handed.faults.append(f"keys differ between the ends: {list(keys)}")
        self.counts["keys fetched"] += len(reply.keys)
        return True


def name_applications(link: DeliveryLink, names: list[str]) -> None:
    """Make applications known at both ends, each by the certificate of its name."""
    for node in PEER:
        path = link.folder / node / "applications.toml"
        path.write_text(path.read_text() + "".join(f'\n[sae.{name}]\ncommon_names = ["{name}"]\n' for name in names))


@contextmanager
def disturbed(link: DeliveryLink) -> Iterator["Disturbances"]:
    """Put a relay into the channel of a link that does not run yet, and give both nodes a clock that can be set."""
    clock = SteppedClock(link.folder / "clock")
    link.environment |= clock.environment
    with Relay(link.port) as relay:
        link.replace("alice", f"tcp://127.0.0.1:{link.port}", f"tcp://127.0.0.1:{relay.port}")
        yield Disturbances(relay, clock)


@dataclass
class Disturbances:
    """What is done to nodes beside killing them."""

    relay: Relay
    clock: SteppedClock

    def disturb(self, dice: random.Random, report: Report) -> None:
        """Cut the channel in one direction for a while, and set the clocks."""
        self.clock.set(dice.choice((-3600, 0, 3600)))
        self.relay.cut.add(dice.choice((FORWARD, BACKWARD)))
        time.sleep(dice.uniform(1.0, 6.0))
        self.relay.cut.clear()
        self.relay.drop_connections()  # what was swallowed is missing in them
        report.counts["cuts and clocks set"] += 1


def run(
    link: DeliveryLink,
    disturbances: Disturbances,
    *,
    seconds: float,
    kills: int,
    applications: int,
    seed: int,
    asked=("alice", "bob"),
    say=lambda _line: None,
) -> Report:
    """Kill and disturb nodes of a link that does not run yet while so many applications are at work, at the nodes that are ``asked``."""
    report, dice, handed = Report(), random.Random(seed), Handed()
    names = [f"app-{number}" for number in range(applications)]
    name_applications(link, names)
    link.start()
    link.wait_ready()
    working = [Application(link, asked[number % len(asked)], name, handed, seed) for number, name in enumerate(names)]
    began = time.monotonic()
    for application in working:
        application.start()
    while sum(report.kills.values()) < kills or time.monotonic() - began < seconds:
        pause = seconds / max(1, kills)
        time.sleep(dice.uniform(0.25 * pause, 0.75 * pause))
        disturbances.disturb(dice, report)
        time.sleep(dice.uniform(0.0, 0.5 * pause))
        targets = dice.choice([("alice",), ("bob",), ("alice", "bob")]) if sum(report.kills.values()) < kills else ()
        for name in targets:
            if link.processes[name].poll() is not None:
                report.faults.append(f"{name} had ended by itself: {link.log(name)[-800:]}")
        link.kill(*targets)
        report.kills.update(targets)
        if len(targets) == 2:
            report.faults += compare(link)
        if targets:
            link.start(*targets)
            link.wait_ready()
        count_given = sum(map(len, handed.given.values()))
        say(f"{time.monotonic() - began:6.1f} s  {sum(report.kills.values())} kills, {count_given} given")
    disturbances.clock.set(0)
    link.wait_ready()
    for application in working:
        application.stopping.set()
    for application in working:
        application.join(GIVE_UP_SECONDS + 60)
        report.counts.update(application.counts)
        if application.is_alive() or application.failure is not None:
            report.faults.append(f"{application.name} failed: {application.failure!r}")
        if application.count_waiting:
            report.faults.append(f"{application.name}: {application.count_waiting} keys can be had by nobody at the other end")
    for name in PEER:
        status, _ = link.stop(name)
        if status:
            report.faults.append(f"{name} did not stop as asked: status {status}")
    report.seconds = time.monotonic() - began
    report.counts["moves between pools"] = len(check.LedgerFile.read(link.folder / "alice" / "state" / "store.sqlite").moves)
    report.faults += handed.verdict() + compare(link)
    report.faults += [f"{name} logged a mistake of ours" for name in PEER if "mistake of ours" in link.log(name)]
    return report


def compare(link: DeliveryLink) -> list[str]:
    return check.faults(*(link.folder / name / "state" / "store.sqlite" for name in PEER))


def main() -> int:
    parser = argparse.ArgumentParser(description="Kill the nodes of a pair while applications order and fetch keys.")
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--applications", type=int, default=20)
    parser.add_argument("--asked", nargs="+", choices=tuple(PEER), default=list(PEER), help="nodes where applications order")
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(2), "big"))
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        link = DeliveryLink(Path(folder) / "nodes")
        try:
            with disturbed(link) as disturbances:
                report = run(
                    link,
                    disturbances,
                    seconds=chosen.seconds,
                    kills=chosen.kills,
                    applications=chosen.applications,
                    seed=chosen.seed,
                    asked=chosen.asked,
                    say=lambda line: sys.stderr.write(f"{line}\n"),
                )
        finally:
            link.close()
    sys.stdout.write("".join(f"{line}\n" for line in (f"seed {chosen.seed}", *report.lines())))
    return 1 if report.faults else 0


if __name__ == "__main__":
    sys.exit(main())
