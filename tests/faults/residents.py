"""Whether the processes of a link stay as large as they are: resident memory, life by life, over hours of link."""

from dataclasses import dataclass, field
from statistics import median

from tests.integration.live.measurements import MEBIBYTE, Usage
from tests.integration.live.processes import LiveLink

WARM_UP_HOURS = 0.5
"""Of link, from the start of a process: kernels are loaded, buffers have grown to what blocks need. No link, no warming up."""

LEAST_HOURS = 0.5
"""Of link behind the warm-up; a shorter life says nothing."""

MOST_GROWTH = 0.05
"""From the first to the last quarter of what lies behind the warm-up."""


@dataclass
class Life:
    """Samples of one process, with the hours of link and the seconds at which they were taken."""

    usage: Usage = field(default_factory=Usage)
    hours: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def told(self, name: str) -> dict:
        hours, seconds = self.hours[-1] - self.hours[0], self.seconds[-1] - self.seconds[0]
        curve = [[round(at, 3), round(size / MEBIBYTE, 1)] for at, size in zip(self.hours, self.usage.bytes_resident, strict=True)]
        said = {"process": name, "seconds": round(seconds, 1), "hours": round(hours, 2), "samples": curve}
        if hours < WARM_UP_HOURS + LEAST_HOURS:
            return said | {"first_mib": None, "last_mib": None, "growth": None}
        samples = zip(self.hours, self.usage.bytes_resident, strict=True)
        warm = [size / MEBIBYTE for at, size in samples if at - self.hours[0] >= WARM_UP_HOURS]
        quarter = max(1, len(warm) // 4)
        first, last = median(warm[:quarter]), median(warm[-quarter:])
        return said | {"first_mib": round(first, 1), "last_mib": round(last, 1), "growth": round(last / first - 1, 4)}


class Residents:
    """Samples of all lives of all processes."""

    def __init__(self) -> None:
        self._lives: dict[tuple[str, int], Life] = {}

    def sample(self, link: LiveLink, hours: float, now: float) -> None:
        """Look at every process that runs, at so many hours of link and a time in seconds."""
        for name, process in link.processes.items():
            life = self._lives.setdefault((name, process.pid), Life())
            life.usage.sample(process.pid)
            life.hours.append(hours)
            life.seconds.append(now)

    def lives(self) -> list[dict]:
        """Each life: process, seconds, hours, samples of hours and MiB; MiB in the first and last quarter behind the warm-up, and growth.

        The last three are None where it was too short.
        """
        return [life.told(name) for (name, _), life in self._lives.items()]
