"""Threads beside the event loop, so that the loop never waits: one for the session machine, some for kernels, one for the store.

The store's thread is the only one that ever touches the store, so operations are durable in the order they were asked for.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Workers:
    """All threads of a node.

    Parameters
    ----------
    count_computing : int | None
        Threads for kernels; as many as there are cores unless given, and two at least.
    """

    def __init__(self, count_computing: int | None = None) -> None:
        self._machine = ThreadPoolExecutor(1, "machine")
        self._computing = ThreadPoolExecutor(count_computing or max(2, os.cpu_count() or 2), "compute")
        self._writer = ThreadPoolExecutor(1, "store")

    def step(self, function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> asyncio.Future[T]:
        """Call a function in the machine's thread.

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
        return asyncio.get_running_loop().run_in_executor(self._machine, lambda: function(*arguments, **named))

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

    def stop(self) -> None:
        """Take no more work; what waits in a queue is dropped, what runs is not waited for."""
        for pool in (self._machine, self._computing, self._writer):
            pool.shutdown(wait=False, cancel_futures=True)
