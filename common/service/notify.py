"""Tell systemd how we are: a few lines in place of a library. Nothing happens where nobody listens.

References
----------
sd_notify(3): datagrams of ``KEY=value`` to the socket named in ``NOTIFY_SOCKET``; ``WATCHDOG_USEC`` asks for a sign of life.
"""

from __future__ import annotations

import asyncio
import os
import socket


def notify(text: str) -> bool:
    """Send ``text``, for example ``READY=1``; return whether somebody was there to hear it."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address[:1] not in {"/", "@"}:
        return False
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
            out.connect("\0" + address[1:] if address[0] == "@" else address)
            out.sendall(text.encode())
    except OSError:
        return False  # the manager is gone: no reason for us to go as well
    return True


def watchdog_seconds() -> float | None:
    """Return how often a sign of life is due, half the time systemd waits, or None where it waits for none."""
    interval, process = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", str(os.getpid()))
    return int(interval) / 2e6 if interval.isdecimal() and int(interval) and process == str(os.getpid()) else None


async def tell_of_life() -> None:
    """Give systemd a sign of life as often as it asks for one; the loop that runs this is what the sign stands for."""
    interval = watchdog_seconds()
    while interval is not None:
        notify("WATCHDOG=1")
        await asyncio.sleep(interval)
