"""The record of one measurement, and the stopwatch all stages share.

The fastest of several runs is taken: on a machine with other work to do every disturbance makes a run slower, none makes it
faster. A first run, which compiles and fills caches, is never counted. Where there is a peer its runs alternate with ours, so that
both meet the same disturbances and their ratio means more than either figure.
"""

from __future__ import annotations

import dataclasses
import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from common.errors import LocalProtocolError

REPETITIONS = 5
"""Runs of which the fastest counts."""

MOST_SECONDS = 6.0
"""Time after which a measurement makes do with the runs it has, seconds."""

DEFAULT_QBERS = (0.01, 0.02, 0.05, 0.08)
"""Shares of differing bits at which reconciliation is measured."""


@dataclass(frozen=True, slots=True)
class Request:
    """What to measure.

    Attributes
    ----------
    qbers : tuple[float, ...]
        Shares of differing bits, for the stages that depend on them.
    block_bits : tuple[int, ...] | None
        Block lengths in place of each stage's own.
    quick : bool
        Small inputs and two runs each: shows that everything works, and little about speed.
    """

    qbers: tuple[float, ...] = DEFAULT_QBERS
    block_bits: tuple[int, ...] | None = None
    quick: bool = False

    def lengths(self, usual: tuple[int, ...], quick: tuple[int, ...]) -> tuple[int, ...]:
        """Return the block lengths to measure: those asked for, else the stage's ``usual`` or ``quick`` ones."""
        return self.block_bits or (quick if self.quick else usual)

    def size(self, usual: int, quick: int) -> int:
        """Return the stage's ``usual`` size of input or its ``quick`` one."""
        return quick if self.quick else usual


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One line of the table; what does not apply is None.

    Attributes
    ----------
    stage, method : str
        Stage of the distillation, and what exactly ran.
    qber : float | None
        Share of differing bits.
    block_bits : int | None
        Bits processed together.
    mbit_per_second, mevents_per_second : float | None
        Speed: 10^6 bits, or 10^6 tags, detections or emulated clicks a second.
    efficiency : float | None
        Bits charged over ``n h(e)``, with ``e`` the share of bits that really differed.
    frame_error_ratio : float | None
        Share of the segments that were given up.
    count_segments : int | None
        Segments behind that share.
    cores : int
        Cores in use.
    peer : str | None
        Whom ``ratio_to_peer`` compares with.
    ratio_to_peer : float | None
        Our speed over the peer's in the same run.
    secret_bits : int | None
        Secret key made, where key was made.
    requests_per_second, latency_p99_ms : float | None
        Requests of applications, and after how many milliseconds 99 in 100 of them are answered.
    note : str
        What a reader has to know.
    round_trip_ms : float | None
        How far apart the two ends are, where that matters.
    yardstick_seconds : float | None
        Time of the same work on this machine at that moment, from ``yardstick``: what speeds without a peer are compared by.
    repetition : int
        Which of several runs of the whole stage, from 0.
    load_average : float
        The machine's load over the minute before; about 1 is our own.
    """

    stage: str
    method: str
    qber: float | None = None
    block_bits: int | None = None
    mbit_per_second: float | None = None
    mevents_per_second: float | None = None
    efficiency: float | None = None
    frame_error_ratio: float | None = None
    count_segments: int | None = None
    cores: int = 1
    peer: str | None = None
    ratio_to_peer: float | None = None
    secret_bits: int | None = None
    requests_per_second: float | None = None
    latency_p99_ms: float | None = None
    note: str = ""
    round_trip_ms: float | None = None
    yardstick_seconds: float | None = None
    repetition: int = 0
    load_average: float = dataclasses.field(default_factory=lambda: round(os.getloadavg()[0], 2))

    def fields(self) -> dict[str, Any]:
        """Return the entries of the JSON record, numbers rounded to four digits."""
        return {name: _rounded(value) for name, value in dataclasses.asdict(self).items()}


def _rounded(value: object) -> object:
    return float(f"{value:.4g}") if isinstance(value, float) else value


def fastest(request: Request, *actions: Callable[[], object], repetitions: int = REPETITIONS) -> tuple[float, ...]:
    """Time actions in turn and return the fastest run of each.

    Parameters
    ----------
    request : Request
        Says whether two runs have to do.
    *actions : callable
        Ours first, then peers; each does the same work at every call.
    repetitions : int
        Runs that count, fewer where they take longer than ``MOST_SECONDS``.

    Returns
    -------
    tuple[float, ...]
        Seconds, one for each action.
    """
    for action in actions:
        action()
    best = [float("inf")] * len(actions)
    begin = time.perf_counter()
    for repetition in range(2 if request.quick else repetitions):
        if repetition and time.perf_counter() - begin > MOST_SECONDS:
            break
        for index, action in enumerate(actions):
            start = time.perf_counter()
            action()
            best[index] = min(best[index], time.perf_counter() - start)
    return tuple(best)


def require_equal(equal: bool, what: str) -> None:
    """Refuse to compare the speed of two programs that disagree on the result.

    Parameters
    ----------
    equal : bool
        Whether they agree.
    what : str
        Who disagrees with whom.

    Raises
    ------
    LocalProtocolError
        If they do not.
    """
    if not equal:
        raise LocalProtocolError(f"benchmark: {what} differ in their result, so their speeds cannot be compared")


def installed(distribution: str) -> str | None:
    """Return the version of ``distribution``, or None where it is not installed."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def machine() -> str:
    """Describe processor, cores and the versions that speed depends on, in a line that names no host."""
    parts = [f"{processor()}, {usable_cores()} cores", f"Python {platform.python_version()}"]
    parts += [f"{name} {installed(name)}" for name in ("numba", "numpy", "cryptography")]
    return "; ".join(parts)


def processor() -> str:
    """Return the processor's model name, or the architecture where the system does not say."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "Model")))
    return next(names, "") or platform.machine()


def usable_cores() -> int:
    """Return the cores this process may run on."""
    return len(os.sched_getaffinity(0))
