"""How often each application may ask, and for how much: a bucket of requests that refills steadily, one for each application."""

from __future__ import annotations

import time
from collections.abc import Callable


class Rates:
    """Buckets of all applications; their number is that of the map's names, so it is bounded.

    Parameters
    ----------
    per_second : float
        Requests a second, in the long run.
    burst : float
        Requests at once, after a pause.
    now : callable
        Seconds.
    """

    def __init__(self, per_second: float, burst: float, now: Callable[[], float] = time.monotonic) -> None:
        self.per_second = per_second
        self._burst = burst
        self._now = now
        self._buckets: dict[str, tuple[float, float]] = {}

    def allow(self, name: str, cost: float = 1.0) -> bool:
        """Take from a bucket.

        Parameters
        ----------
        name : str
            Whose.
        cost : float
            How many requests count as made; what costs more than a bucket holds is allowed where it is full.

        Returns
        -------
        bool
            Whether the bucket held as much; if not, nothing is taken.
        """
        cost = min(cost, self._burst)
        now = self._now()
        left, before = self._buckets.get(name, (self._burst, now))
        left = min(self._burst, left + (now - before) * self.per_second)
        self._buckets[name] = (left - cost if left >= cost else left, now)
        return left >= cost
