"""What commands with many points share: where the points are computed, and how far they are."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from common.errors import ConfigurationError

if TYPE_CHECKING:
    from concurrent.futures import Executor

F = TypeVar("F", bound=Callable[..., Any])

QUIET_SECONDS = 2.0
"""A sweep that ends within this says nothing."""

PLAIN_SECONDS = 5.0
"""How often a line is written where standard error is no terminal."""


def executor_options(function: F) -> F:
    """Add ``--workers`` and ``--dask`` to the command ``function``."""
    function = click.option("--dask", "dask_address", default=None, metavar="ADDRESS", help="Compute on a dask cluster: tcp://host:8786.")(
        function
    )
    return click.option("--workers", type=int, default=None, metavar="N", help="Compute in N processes on this machine.")(function)


@contextmanager
def open_executor(workers: int | None, dask_address: str | None) -> Iterator[Executor | None]:
    """Open what the options ask for.

    Parameters
    ----------
    workers : int | None
        Processes on this machine.
    dask_address : str | None
        Of a cluster's scheduler.

    Yields
    ------
    Executor | None
        None computes in this process.

    Raises
    ------
    ConfigurationError
        If both are asked for.
    """
    import os
    from functools import partial

    from common.cli.tied import end_with
    from common.planning.sweeps import dask_executor, process_executor

    if workers is not None and dask_address is not None:
        raise ConfigurationError("--workers and --dask: choose one place to compute")
    if dask_address is not None:
        with dask_executor(dask_address) as executor:
            yield executor
    elif workers is not None:
        with process_executor(workers, partial(end_with, os.getpid())) as executor:  # a killed command leaves no worker behind
            yield executor
    else:
        yield None


@contextmanager
def point_progress(title: str, *, quiet: bool = False) -> Iterator[Callable[[int, int], None]]:
    """Say on standard error how many points are done, if they take longer than two seconds.

    Parameters
    ----------
    title : str
        What is being done, in a few words.
    quiet : bool
        Show nothing.

    Yields
    ------
    callable
        To be called with points done and points in all.
    """
    from rich.console import Console

    console = Console(stderr=True, highlight=False)
    shown = time.monotonic() + QUIET_SECONDS - PLAIN_SECONDS

    def write(done: int, total: int) -> None:
        nonlocal shown
        if quiet or time.monotonic() - shown < PLAIN_SECONDS:
            return
        shown = time.monotonic()
        console.print(f"{title}: {done} of {total} points", end="\r" if console.is_terminal and done < total else "\n")

    yield write
