"""The yardstick: the same work for every measurement, none of it ours, timed right before and behind each.

Seconds of two runs say little about each other: another machine, another clock rate, something else beside it. A stage that has a peer is
compared by its ratio to the peer; the others by how much they do in the time that the yardstick takes. It exercises what the stages do:
branches (compression), registers (sorting) and memory (copying), about a third each, by libraries that change rarely.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from common.cli.benchmarks.measurement import Measurement, Request

ROUNDS, QUICK_ROUNDS = 5, 2
"""Rounds of which the fastest counts."""

_COMPRESSED_BYTES = 1 << 18
_SORTED_NUMBERS = 1 << 18
_COPIED_BYTES = 1 << 25


def yardstick_seconds(rounds: int = ROUNDS) -> float:
    """Time the yardstick.

    Parameters
    ----------
    rounds : int
        Rounds of which the fastest counts, positive.

    Returns
    -------
    float
        Seconds, some hundredths.
    """
    text, numbers, copied = _material()
    best = float("inf")
    for _ in range(rounds):
        start = time.perf_counter()
        zlib.compress(text, 6)
        np.sort(numbers)
        copied[1] = copied[0]
        best = min(best, time.perf_counter() - start)
    return best


@cache
def _material() -> tuple[bytes, NDArray[np.uint64], NDArray[np.uint8]]:
    """Draw what is compressed, sorted and copied: always the same."""
    rng = np.random.default_rng(12)
    letters = (rng.geometric(0.15, _COMPRESSED_BYTES) % 64).astype(np.uint8)
    return letters.tobytes(), rng.integers(0, 1 << 63, _SORTED_NUMBERS, np.uint64), np.ones((2, _COPIED_BYTES), np.uint8)


def beside_yardstick(request: Request, measurements: Iterator[Measurement]) -> Iterator[Measurement]:
    """Time the yardstick before and behind every measurement.

    Parameters
    ----------
    request : Request
        Whether few rounds have to do.
    measurements : iterator of Measurement
        Measured as they are asked for.

    Yields
    ------
    Measurement
        The same, each with the faster of the two.
    """
    rounds = QUICK_ROUNDS if request.quick else ROUNDS
    before = yardstick_seconds(rounds)
    for measurement in measurements:
        behind = yardstick_seconds(rounds)
        yield replace(measurement, yardstick_seconds=min(before, behind))
        before = behind
