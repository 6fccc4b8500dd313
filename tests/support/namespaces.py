"""Network namespaces without a name: each lives as long as a process in it, so nothing is left over however a test ends."""

import ctypes
import os
import shutil
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

CLONE_NEWNET = 0x40000000
"""linux/sched.h"""

TOOLS = ("ip", "nsenter", "unshare")

TUN = Path("/dev/net/tun")


def lacking() -> str:
    """What keeps hosts with networks of their own from being made here, or nothing."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        return f"not installed: {', '.join(missing)}"
    if os.geteuid() != 0:
        return "not root"
    if not TUN.exists():
        return f"no {TUN}"
    refused = subprocess.run(["unshare", "--net", "true"], capture_output=True, text=True, check=False)
    return refused.stderr.strip() if refused.returncode else ""


class Namespace:
    """A fresh network namespace with its loopback interface up; gone once it is closed and nobody else runs in it."""

    def __init__(self) -> None:
        # It ends with its standard input, which we hold: also when we are killed.
        self._holder = subprocess.Popen(["unshare", "--net", "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
        assert self._holder.stdin is not None
        assert self._holder.stdout is not None
        self._holder.stdin.write(b"there\n")
        self._holder.stdin.flush()
        assert self._holder.stdout.readline() == b"there\n"
        self.configure("link", "set", "dev", "lo", "up")

    @property
    def process(self) -> int:
        """A process that runs in it and does nothing."""
        return self._holder.pid

    def command(self, command: list[str]) -> list[str]:
        """What runs a command in it, in the same process."""
        return ["nsenter", f"--net=/proc/{self.process}/ns/net", "--", *command]

    def configure(self, *arguments: str) -> None:
        """Run ``ip`` in it."""
        subprocess.run(self.command(["ip", *arguments]), check=True)

    def close(self) -> None:
        self._holder.communicate()


def in_network_of(process: int, function: Callable[[], T]) -> T:
    """Call a function in the network namespace of a process; sockets and devices that it opens stay there."""
    results: list[T] = []
    failures: list[BaseException] = []

    def enter() -> None:
        try:
            with Path(f"/proc/{process}/ns/net").open("rb") as namespace:
                # of this thread alone, which ends behind the call
                if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), "setns")
            results.append(function())
        except BaseException as failure:  # noqa: BLE001 - raised again in the thread that asked
            failures.append(failure)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
    return results[0]
