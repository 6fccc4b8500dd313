"""The three processes of a demonstration: fibre, Bob and Alice, started as anybody would start them, and stopped whatever happens.

Each writes to a log of its own. One that ends by itself is an error that names it and its log. None is ever left behind: a normal end and
an error stop them one by one, and if we are killed they are killed with us (``tied``).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, TracebackType
from typing import IO, Self

from common.errors import AuthenticationError, ConfigurationError, QkdError, TransportError

MODULES = {"fibre": "common.emulator", "bob": "bob", "alice": "alice"}
"""Modules that ``qkd-fibre``, ``qkd-bob`` and ``qkd-alice`` run, in the order in which they start."""

STOP_SECONDS = 8.0
"""How long a process may take to stop when asked; it promises five."""

_ERRORS: dict[int, type[QkdError]] = {2: ConfigurationError, 5: AuthenticationError}
"""What an exit status stands for; any other is a peer that failed."""


class LinkProcesses:
    """Fibre, Bob and Alice; use them in a ``with`` statement.

    Parameters
    ----------
    nodes : Path
        Folder of a provisioned link.
    logs : Path
        Gets a log for each.
    """

    def __init__(self, nodes: Path, logs: Path) -> None:
        self._nodes = nodes
        self._logs = logs
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def config(self, name: str) -> Path:
        """Return the configuration file of ``name``."""
        return self._nodes / name / "config.toml"

    def log(self, name: str) -> Path:
        """Return the log of ``name``."""
        return self._logs / f"{name}.log"

    def start(self) -> None:
        """Start all three."""
        self._logs.mkdir(exist_ok=True)
        for name, module in MODULES.items():
            with self.log(name).open("wb") as log:
                self._running[name] = started(module, "--config", str(self.config(name)), log=log)

    def check(self) -> None:
        """Look whether all of them still run.

        Raises
        ------
        QkdError
            If one has ended: what it said, and where its log is.
        """
        for name, process in self._running.items():
            status = process.poll()
            if status is not None:
                how = f"killed by {_signal_name(-status)}" if status < 0 else f"exit status {status}"
                said = self._last_words(name)
                raise _ERRORS.get(status, TransportError)(f"qkd-{name} has ended ({how}){said}; its log is {self.log(name)}")

    def stop(self, *names: str) -> None:
        """Stop processes; whoever does not stop in time is killed.

        Parameters
        ----------
        names : str
            Which; none for all of them.
        """
        stopping = {name: self._running.pop(name) for name in (names or tuple(MODULES)) if name in self._running}
        try:
            for process in stopping.values():
                process.terminate()
            until = time.monotonic() + STOP_SECONDS
            for process in stopping.values():
                try:
                    process.wait(max(0.1, until - time.monotonic()))
                except subprocess.TimeoutExpired:
                    continue
        finally:
            for process in stopping.values():
                if process.poll() is None:
                    process.kill()
                    process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def _last_words(self, name: str) -> str:
        """Return the one line in which a service says why it does not run, if it wrote one."""
        lines = self.log(name).read_text(encoding="utf-8", errors="replace").splitlines()
        said = [line for line in lines[-5:] if line.startswith(f"qkd-{name}: ")]
        return f": {said[-1].removeprefix(f'qkd-{name}: ')}" if said else ""


def started(module: str, *arguments: str, log: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start a module of ours as a process that ends when we do, in a session of its own: a terminal's Ctrl-C is for us to pass on.

    Parameters
    ----------
    module : str
        Run as with ``python -m``.
    arguments : str
        Its command line.
    log : file
        Gets what it writes.

    Returns
    -------
    subprocess.Popen
        The process.
    """
    command = [sys.executable, "-P", "-m", "common.cli.tied", str(os.getpid()), module, *arguments]
    return subprocess.Popen(  # noqa: S603 - our own interpreter on our own modules
        command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
    )


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the body as Ctrl-C does, so that whatever it started is stopped; what is ignored (``nohup``) stays so.

    Yields
    ------
    None
        Once it is so.
    """

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():  # only the main thread may say what signals do
        yield
        return
    heeded = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, interrupt) for number in heeded}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _signal_name(number: int) -> str:
    return signal.Signals(number).name
