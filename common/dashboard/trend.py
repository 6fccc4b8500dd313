"""What became of a few numbers in the last hour, day and week: means over steps of seconds, minutes and ten minutes, in bounded memory.

Comes from the node's reports, a few seconds apart; goes to the charts of the page. It begins anew with the node.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

SPANS: dict[str, tuple[float, float]] = {"10m": (600.0, 5.0), "1h": (3600.0, 15.0), "1d": (86_400.0, 300.0), "7d": (604_800.0, 1800.0)}
"""How far back, and over how long each point is a mean; seconds."""


@dataclass(slots=True)
class _Step:
    """One point as it comes about: sums and counts by name."""

    began_seconds: float
    sums: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def add(self, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
            self.counts[name] = self.counts.get(name, 0) + 1

    def mean(self, name: str) -> float | None:
        return self.sums[name] / self.counts[name] if name in self.counts else None


class Trend:
    """Means by span."""

    def __init__(self) -> None:
        self._steps: dict[str, deque[_Step]] = {name: deque(maxlen=round(reach / step)) for name, (reach, step) in SPANS.items()}

    def add(self, now_seconds: float, values: Mapping[str, float]) -> None:
        """Add what was measured at a moment.

        Parameters
        ----------
        now_seconds : float
            Monotonic.
        values : dict[str, float]
            By name; what was not measured is missing.
        """
        for name, (_, step_seconds) in SPANS.items():
            steps = self._steps[name]
            if not steps or now_seconds - steps[-1].began_seconds >= step_seconds:
                steps.append(_Step(now_seconds))
            steps[-1].add(values)

    def line(self, span: str, name: str, now_seconds: float) -> list[tuple[float, float | None]]:
        """Return the points of one number.

        Parameters
        ----------
        span : str
            One of ``SPANS``.
        name : str
            Which number.
        now_seconds : float
            Monotonic.

        Returns
        -------
        list[tuple[float, float | None]]
            Seconds ago, oldest first, and the mean; None where nothing was measured.
        """
        reach, _ = SPANS[span]
        return [(age, step.mean(name)) for step in self._steps[span] if (age := now_seconds - step.began_seconds) <= reach]
