"""What the logs of a link under faults tell: how long it took from a kill until both ends kept a block of a session that began after it,
and whatever else is read while it runs.
"""

import json
from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from tests.integration.live.processes import LiveLink


def moment(event: dict) -> float:
    """When a line was logged, Unix time in seconds."""
    return datetime.fromisoformat(event["timestamp"]).timestamp()


class FollowedLog:
    """A log that is read as it grows; a line that a kill cut off counts for nothing."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read_bytes = 0

    def new(self) -> list[dict]:
        """Events since the last call."""
        with self._path.open("rb") as log:
            log.seek(self._read_bytes)
            whole = log.read().rpartition(b"\n")[0]
        self._read_bytes += len(whole) + bool(whole)
        lines = whole.decode(errors="replace").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]


@dataclass
class Recoveries:
    """Kills with the time the link took to go on, where no other kill came in between."""

    found: list[tuple[tuple[str, ...], float]]
    overtaken: int

    @classmethod
    def of(cls, link: LiveLink, kills: list[tuple[float, tuple[str, ...]]]) -> "Recoveries":
        agreed, kept = {}, {}
        for name in ("alice", "bob"):
            events = link.events(name)
            agreed[name] = [moment(event) for event in events if event.get("state") == "synchronising"]
            kept[name] = [moment(event) for event in events if event["event"] == "block ended" and event.get("secret_bits")]
        recoveries = cls([], 0)
        for (at, targets), until in zip(kills, [at for at, _ in kills[1:]] + [float("inf")], strict=True):
            ends = [_next(kept[name], _next(agreed[name], at)) for name in kept]
            if max(ends) < until:
                recoveries.found.append((targets, max(ends) - at))
            else:
                recoveries.overtaken += 1
        return recoveries

    def by_target(self) -> dict[str, list[float]]:
        gathered = defaultdict(list)
        for targets, seconds in self.found:
            gathered[" and ".join(targets)].append(seconds)
        return dict(gathered)


def _next(moments: list[float], after: float) -> float:
    place = bisect_right(moments, after)
    return moments[place] if place < len(moments) else float("inf")
