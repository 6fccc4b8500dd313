"""Threads beside the event loop, so that the loop never waits: some for kernels, one for the store.

The store's thread is the only one that ever touches the store, so operations are durable in the order they were asked for.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ParamSpec, TypeAlias, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

Report: TypeAlias = Callable[[Any, Exception | None], None]
"""Called on the loop with what a function has returned, or raised."""


class Workers:
    """All threads of a node.

    Parameters
    ----------
    count_computing : int | None
        Threads for kernels; as many as there are cores unless given, and two at least.
    """

    def __init__(self, count_computing: int | None = None) -> None:
        self._computing = ThreadPoolExecutor(count_computing or max(2, os.cpu_count() or 2), "compute")
        self._writer = ThreadPoolExecutor(1, "store")

    def compute(self, function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> asyncio.Future[T]:
        """Call a function in any thread for kernels.

        Parameters
        ----------
        function : callable
            What is called.
        arguments, named : object
            With what.

        Returns
        -------
        asyncio.Future
            What it returns or raises.
        """
        return asyncio.get_running_loop().run_in_executor(self._computing, lambda: function(*arguments, **named))

    def write(self, function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> asyncio.Future[T]:
        """Call a function in the store's thread, behind everything asked before.

        Parameters
        ----------
        function : callable
            What is called.
        arguments, named : object
            With what.

        Returns
        -------
        asyncio.Future
            What it returns or raises.
        """
        return asyncio.get_running_loop().run_in_executor(self._writer, lambda: function(*arguments, **named))

    def compute_then(self, report: Report, function: Callable[..., Any], *arguments: Any) -> None:
        """Call a function in any thread for kernels and report; cheaper than ``compute`` where many are called every second.

        Parameters
        ----------
        report : callable
            What is told how it went.
        function : callable
            What is called.
        arguments : object
            With what.
        """
        self._then(self._computing, report, function, arguments)

    def write_then(self, report: Report, function: Callable[..., Any], *arguments: Any) -> None:
        """Call a function in the store's thread, behind everything asked before, and report; ``write`` for many.

        Parameters
        ----------
        report : callable
            What is told how it went.
        function : callable
            What is called.
        arguments : object
            With what.
        """
        self._then(self._writer, report, function, arguments)

    @staticmethod
    def _then(pool: ThreadPoolExecutor, report: Report, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        loop = asyncio.get_running_loop()

        def run() -> None:
            result, error = None, None
            try:
                result = function(*arguments)
            except Exception as raised:  # noqa: BLE001 - whoever asked is told
                error = raised
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(report, result, error)

        pool.submit(run)

    def stop(self) -> None:
        """Take no more work; what waits in a queue is dropped, what runs is not waited for."""
        for pool in (self._computing, self._writer):
            pool.shutdown(wait=False, cancel_futures=True)
