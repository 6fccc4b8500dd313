"""How speed and efficiency go with the distance: two daemons over a relay, by the method they choose themselves and by the other one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from common.cli.benchmarks import live
from common.cli.benchmarks.measurement import Measurement, Request
from common.distillation.recipe import METHOD_NAMES

ROUND_TRIP_SECONDS = (0.0, 0.005, 0.02, 0.05, 0.1)
"""From one rack to the other side of an ocean."""

QUICK_ROUND_TRIP_SECONDS = (0.01,)


def measure(request: Request) -> Iterator[Measurement]:
    """Measure both daemons at every distance.

    Parameters
    ----------
    request : Request
        What to measure; of several QBERs the first.

    Yields
    ------
    Measurement
        First with the method that ``auto`` chooses, then with the other.
    """
    for block_bits in request.lengths((1_000_000,), (30_000,)):
        for seconds in QUICK_ROUND_TRIP_SECONDS if request.quick else ROUND_TRIP_SECONDS:
            found = live.distilled(request, request.qbers[0], block_bits, seconds)
            chosen = next(name for name in METHOD_NAMES if name in found.method)
            yield _apart(found, chosen, seconds, "chosen")
            for other in METHOD_NAMES:
                if other != chosen:
                    found = live.distilled(request, request.qbers[0], block_bits, seconds, other)
                    yield _apart(found, other, seconds, "instead of the one chosen")


def _apart(found: Measurement, method: str, seconds: float, how: str) -> Measurement:
    return replace(found, stage="distance", method=f"two daemons, TCP, {method}", round_trip_ms=1000 * seconds, note=f"{how}; {found.note}")
