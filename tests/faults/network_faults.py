"""Which faults a network comes to have, when, and for how long: an endless schedule that its seed decides."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.support.packet_link import Conditions
from tests.support.two_hosts import HOSTS

CUT = Conditions(is_cut=True)


@dataclass(frozen=True, slots=True)
class Spans:
    """How long things last, from and to, seconds: the pause before a fault, a network that is poor, one that is cut."""

    pause: tuple[float, float] = (3.0, 8.0)
    poor: tuple[float, float] = (8.0, 30.0)
    cut: tuple[float, float] = (2.0, 60.0)


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault.

    ``ways`` says what the way from each host is like for ``seconds``; ``restarted`` is a node that is stopped and started meanwhile.
    """

    kind: str
    pause_seconds: float
    seconds: float = 0.0
    ways: dict[str, Conditions] = field(default_factory=dict)
    restarted: str | None = None

    def __str__(self) -> str:
        restarted = f"{self.restarted} is started anew" if self.restarted else ""
        if not self.ways:
            return restarted
        is_cut = CUT in self.ways.values()
        network = f"no way {' nor '.join(f'from {sender}' for sender in self.ways)}" if is_cut else _described(self.ways[HOSTS[0]])
        return f"{network} for {self.seconds:.1f} s" + (f", {restarted}" if restarted else "")


def _described(conditions: Conditions) -> str:
    said = []
    if conditions.delay_seconds:
        least, most = conditions.delay_seconds, conditions.delay_seconds + conditions.jitter_seconds
        said.append(f"delay {1000 * least:.0f} to {1000 * most:.0f} ms")
    if conditions.loss_ratio:
        said.append(f"loss {100 * conditions.loss_ratio:.1f} %")
    if conditions.bits_per_second:
        said.append(f"{conditions.bits_per_second / 1e6:.2f} Mbit/s")
    return ", ".join(said) + " each way"


def schedule(seed: int, spans: Spans | None = None) -> Iterator[Fault]:
    """Faults without end: every kind once in random order, and again."""
    spans = spans or Spans()
    dice = random.Random(f"network {seed}")
    while True:
        for kind in dice.sample(KINDS, len(KINDS)):
            yield _drawn(kind, dice, spans)


CUTS = ("cut", "partition", "restart while parted")

KINDS = ("delay", "loss", "rate", "poor line", "restart", "cut", *CUTS)
"""Those of one round."""


def _drawn(kind: str, dice: random.Random, spans: Spans) -> Fault:
    pause_seconds = dice.uniform(*spans.pause)
    if kind == "restart":
        return Fault(kind, pause_seconds, restarted=dice.choice(HOSTS))
    if kind in CUTS:
        senders = (dice.choice(HOSTS),) if kind == "cut" else HOSTS
        restarted = dice.choice(HOSTS) if kind == "restart while parted" else None
        return Fault(kind, pause_seconds, dice.uniform(*spans.cut), dict.fromkeys(senders, CUT), restarted)
    conditions = {
        "delay": lambda: Conditions(delay_seconds=dice.uniform(0.02, 0.15), jitter_seconds=dice.uniform(0.0, 0.05)),
        "loss": lambda: Conditions(loss_ratio=dice.uniform(0.005, 0.05)),
        "rate": lambda: Conditions(bits_per_second=10 ** dice.uniform(5.4, 6.6)),
        "poor line": lambda: Conditions(
            delay_seconds=dice.uniform(0.01, 0.1), loss_ratio=dice.uniform(0.002, 0.02), bits_per_second=10 ** dice.uniform(5.7, 6.6)
        ),
    }[kind]()
    return Fault(kind, pause_seconds, dice.uniform(*spans.poor), dict.fromkeys(HOSTS, conditions))
