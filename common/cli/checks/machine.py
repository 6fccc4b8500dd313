"""Checks of the machine: processor, entropy, clock, memory, disk, what may leak key to disk, limits, recordings."""

from __future__ import annotations

import ctypes
import os
import resource
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from common.cli.benchmarks.measurement import processor, usable_cores
from common.cli.checks.finding import Check, Finding, fail, ok, warn

GIBIBYTE = 1 << 30

LEAST_MEMORY_BYTES = GIBIBYTE // 2
ENOUGH_MEMORY_BYTES = 2 * GIBIBYTE
"""Memory below which a block of 1e6 bits does not fit, and from which one of 1e7 does with room to spare (both ends in one process)."""

ENOUGH_DISK_BYTES = GIBIBYTE
"""An hour of tags of a fast link."""

ENOUGH_FILES = 1024

STEADY_CLOCKS = ("tsc", "kvm-clock", "arch_sys_counter", "hyperv_clocksource_tsc_page")
"""Clock sources that are read without entering the kernel."""

TIME_ERROR = 5
"""What ``ntp_adjtime`` returns where nothing disciplines the clock."""

TIMEX_BYTES = 256
"""Room for ``struct timex`` (208 bytes on 64-bit Linux)."""

EARLIEST_SECONDS = 1_735_689_600
"""1 January 2025; a clock before it was never set."""


def machine_checks() -> tuple[Check, ...]:
    """Return the checks of this module.

    Returns
    -------
    tuple[callable, ...]
        In the order in which they are printed.
    """
    return (
        check_processor,
        check_entropy,
        check_clock,
        check_memory,
        check_disk,
        check_core_dumps,
        check_swap,
        check_files,
        check_recordings,
    )


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def check_processor() -> Iterator[Finding]:
    """Check which instructions hashing and amplification can use.

    Yields
    ------
    Finding
        The processor, and its carry-less multiplication.
    """
    from common.kernels.carry_less import LANES

    yield ok("processor", f"{processor()}, {usable_cores()} usable cores")
    if LANES == 0:
        yield warn(
            "vector instructions",
            "no carry-less multiplication: hashing and amplification take the portable path",
            "results are the same; expect amplification to be many times slower, or run on x86-64 with PCLMULQDQ",
        )
        return
    widths = {8: "VPCLMULQDQ on 512-bit registers", 4: "VPCLMULQDQ on 256-bit registers", 2: "PCLMULQDQ on 128-bit registers"}
    fallback = "" if LANES == 8 else "; wider registers would be faster, results are the same"
    yield ok("vector instructions", widths[LANES] + fallback)


def check_entropy() -> Iterator[Finding]:
    """Check that the system's generator of random bytes is seeded."""
    try:
        os.getrandom(32, os.GRND_NONBLOCK)
    except BlockingIOError:
        yield fail(
            "entropy", "the system's generator is not seeded yet", "wait, or give the machine an entropy source (virtio-rng, rng-tools)"
        )
        return
    hardware = _text("/sys/class/misc/hw_random/rng_current")
    sources = [name for name, there in (("rdrand", " rdrand" in _text("/proc/cpuinfo")), (hardware, hardware not in {"", "none"})) if there]
    yield ok("entropy", f"the system's generator is seeded; hardware sources: {', '.join(sources) or 'none visible'}")


def check_clock() -> Iterator[Finding]:
    """Check the clock that measures and the clock that tells the time.

    Yields
    ------
    Finding
        One for each clock.
    """
    source = _text("/sys/devices/system/clocksource/clocksource0/current_clocksource")
    resolution = time.get_clock_info("monotonic").resolution
    if source and source not in STEADY_CLOCKS:
        yield warn("monotonic clock", f"source {source}: slow to read", "choose tsc as clock source; only timings of qkd bench suffer")
    else:
        yield ok("monotonic clock", f"source {source or 'unknown'}, resolution {resolution:.0e} s")
    if time.time() < EARLIEST_SECONDS:
        yield fail("time of day", "the clock was never set", "set it: certificates and logs depend on it")
    elif _disciplined() is False:
        yield warn(
            "time of day",
            "nothing synchronises the clock",
            "run chrony or systemd-timesyncd; keys do not depend on it, logs and certificates do",
        )
    else:
        yield ok("time of day", "synchronised" if _disciplined() else "set; whether it is synchronised cannot be seen")


def _disciplined() -> bool | None:
    """Ask the kernel whether a time service steers the clock; None where it does not say."""
    try:
        asked = ctypes.CDLL(None).ntp_adjtime(ctypes.create_string_buffer(TIMEX_BYTES))
    except (OSError, AttributeError):
        return None
    return None if asked < 0 else asked != TIME_ERROR


def check_memory() -> Iterator[Finding]:
    """Check the memory that is free, a limit of the control group included.

    Yields
    ------
    Finding
        One.
    """
    lines = dict(line.split(":", 1) for line in _text("/proc/meminfo").splitlines() if ":" in line)
    if "MemAvailable" not in lines:
        yield warn("memory", "free memory cannot be seen", f"make sure that {ENOUGH_MEMORY_BYTES // GIBIBYTE} GiB are free")
        return
    free = int(lines["MemAvailable"].split()[0]) * 1024
    limit, used = _text("/sys/fs/cgroup/memory.max"), _text("/sys/fs/cgroup/memory.current")
    if limit.isdecimal() and used.isdecimal():
        free = min(free, int(limit) - int(used))
    found = f"{free / GIBIBYTE:.1f} GiB free"
    if free < LEAST_MEMORY_BYTES:
        yield fail("memory", found, "free at least 0.5 GiB, or choose smaller blocks (security.block_bits)")
    elif free < ENOUGH_MEMORY_BYTES:
        yield warn("memory", found, "enough for blocks of 1e6 bits; free 2 GiB for longer ones")
    else:
        yield ok("memory", found)


def check_disk() -> Iterator[Finding]:
    """Check the disk under the working directory."""
    free = shutil.disk_usage(".").free
    found = f"{free / GIBIBYTE:.1f} GiB free in the working directory"
    if free < ENOUGH_DISK_BYTES:
        yield warn("disk", found, "recordings of a fast link take about 1 GiB an hour: free some, or work on another disk")
    else:
        yield ok("disk", found)


def check_core_dumps() -> Iterator[Finding]:
    """Check whether a crash would write memory, and with it key, to disk.

    Yields
    ------
    Finding
        One.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_CORE)
    pattern = _text("/proc/sys/kernel/core_pattern")
    if pattern.startswith("|"):
        yield warn(
            "core dumps",
            "crashes are handed to a program, whatever the limit",
            "turn it off (kernel.core_pattern): a dump would contain key",
        )
    elif soft != 0:
        yield warn("core dumps", "a crash would write key to disk", "ulimit -c 0 before starting; services: LimitCORE=0")
    else:
        yield ok("core dumps", "off")


def check_swap() -> Iterator[Finding]:
    """Check whether memory, and with it key, may be written to a swap device."""
    devices = [line.split()[0] for line in _text("/proc/swaps").splitlines()[1:]]
    if devices:
        yield warn("swap", f"on {', '.join(devices)}", "key may reach the disk: swapoff -a, or encrypt swap; Python cannot promise erasure")
    else:
        yield ok("swap", "none")


def check_files() -> Iterator[Finding]:
    """Check how many files a process may open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    found = f"{soft} at most, {hard} if asked for"
    yield warn("open files", found, "ulimit -n 4096") if soft < ENOUGH_FILES else ok("open files", found)


def check_recordings() -> Iterator[Finding]:
    """Check the folder of real recordings, where one is named."""
    named = os.environ.get("QKD_RECORDINGS")
    if not named:
        yield ok("recordings", "QKD_RECORDINGS is not set: what needs a real recording is skipped")
    elif not Path(named).is_dir():
        yield warn("recordings", f"QKD_RECORDINGS={named} is no folder", "correct or unset it")
    else:
        count = sum(1 for path in Path(named).iterdir() if path.suffix == ".ptu" and os.access(path, os.R_OK))
        found = f"{count} readable .ptu files in {named}"
        yield ok("recordings", found) if count else warn("recordings", found, "put recordings there, or unset QKD_RECORDINGS")
