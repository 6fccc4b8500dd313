"""What a node counts about its link, for ``qkd status``: blocks, errors, key, and how quickly it comes. Every number was measured."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

from common.distillation.reporting import monitor_report
from common.distillation.values import BlockOutcome

RECENT_BLOCKS = 20
"""Blocks over which the QBER and the rates of the moment are taken."""

LAG_SAMPLES = 8192
"""Samples of the event loop's lag that are kept."""


class LinkCounters:
    """Adds up blocks.

    Parameters
    ----------
    clock_hz : float
        Pulses a second of link time.
    now : callable
        Seconds.
    """

    def __init__(self, clock_hz: float, now: Callable[[], float] = time.monotonic) -> None:
        self.count_kept = 0
        self.discarded: Counter[str] = Counter()
        self.secret_bits = 0
        self.sifted_bits = 0
        self.count_detections = 0
        self.count_pulses = 0
        self._clock_hz = clock_hz
        self._now = now
        self._began = now()
        self.monitors: list[dict[str, Any]] = []
        """What our monitors made of the latest block that was closed."""
        self.monitor_alarm: str | None = None
        """Why the latest block had to be given up, if a monitor of either end said so."""
        self._recent: deque[tuple[float, BlockOutcome]] = deque(maxlen=RECENT_BLOCKS)

    def add(self, outcome: BlockOutcome) -> None:
        """Count a block that has ended.

        Parameters
        ----------
        outcome : BlockOutcome
            How it did.
        """
        self.secret_bits += outcome.secret_bits
        self.count_kept += bool(outcome.secret_bits)
        if outcome.reason is not None:
            self.discarded[outcome.reason.label] += 1
        self.monitor_alarm = outcome.reason.label if outcome.reason is not None and outcome.reason.is_monitor else None
        if outcome.block is not None:
            self.monitors = [monitor_report(reading) for reading in outcome.block.readings]
            counts = outcome.block.counts
            self.count_detections += counts.detections
            self.count_pulses += counts.pulses
            self.sifted_bits += sum(basis.key + basis.tested for basis in (counts.z, counts.x))
        self._recent.append((self._now(), outcome))

    def qber(self) -> dict[str, float | None]:
        """Return the QBER of each basis over recent blocks: errors disclosed and corrected over bits disclosed and reconciled."""
        blocks = [outcome.block for _, outcome in self._recent if outcome.block is not None]
        measured: dict[str, float | None] = {}
        for index, name in enumerate(("Z", "X")):
            bases = [(block.counts.z, block.counts.x)[index] for block in blocks]
            bits = sum(basis.tested + basis.kept for basis in bases)
            errors = sum(basis.errors for basis in bases) + sum(block.corrected[index] for block in blocks)
            measured[name] = errors / bits if bits else None
        return measured

    def rates(self) -> dict[str, float | None]:
        """Return bits a second: over recent blocks by link time, and since we started by the clock on the wall."""
        blocks = [(outcome.secret_bits, outcome.block.counts) for _, outcome in self._recent if outcome.block is not None]
        seconds = sum(counts.pulses for _, counts in blocks) / self._clock_hz
        sifted = sum(counts.z.key + counts.z.tested + counts.x.key + counts.x.tested for _, counts in blocks)
        wall = self._now() - self._began
        return {
            "sifted_bits_per_second": sifted / seconds if seconds else None,
            "secret_bits_per_second": sum(bits for bits, _ in blocks) / seconds if seconds else None,
            "secret_bits_per_wall_second": self.secret_bits / wall if wall > 0 else None,
        }

    def report(self) -> dict[str, Any]:
        """Return all of it.

        Returns
        -------
        dict
            Ready for JSON.
        """
        return {
            "qber": self.qber(),
            "rates": self.rates(),
            "blocks_kept": self.count_kept,
            "blocks_discarded": dict(self.discarded),
            "secret_bits": self.secret_bits,
            "sifted_bits": self.sifted_bits,
            "detections": self.count_detections,
            "pulses": self.count_pulses,
            "link_seconds": self.count_pulses / self._clock_hz,
            "monitors": {"alarm": self.monitor_alarm, "readings": self.monitors},
        }


class LagCounter:
    """How late the event loop is."""

    def __init__(self) -> None:
        self.worst_seconds = 0.0
        self._samples: deque[float] = deque(maxlen=LAG_SAMPLES)

    def add(self, seconds: float) -> None:
        """Count one sample of ``seconds``."""
        self._samples.append(seconds)
        self.worst_seconds = max(self.worst_seconds, seconds)

    def report(self) -> dict[str, float | None]:
        """Return median, 99.9th percentile and worst in milliseconds."""
        ordered = sorted(self._samples)

        def at(share: float) -> float | None:
            return round(1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))], 3) if ordered else None

        return {"p50_ms": at(0.5), "p99_9_ms": at(0.999), "worst_ms": round(1000 * self.worst_seconds, 3)}
