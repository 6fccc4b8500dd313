"""Many points at once: a function of a link profile, over many profiles, on whatever executor there is.

A curve or a map is a list of profiles and one function, ``rate_point`` or an optimisation. In this process, on the cores of this machine
or on a dask cluster the result is the same list in the same order. Profiles and functions travel pickled, so the other end needs
this very software.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Executor, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from itertools import islice
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any, TypeVar

from common.errors import ConfigurationError, QkdError, TransportError
from common.planning.settings import entries
from common.profiles.link import LinkProfile

if TYPE_CHECKING:
    from distributed import Client

T = TypeVar("T")

MOST_IN_FLIGHT = 128
"""Points handed to an executor and not yet back: enough for a cluster, and little to cancel."""

WORKERS_PER_CORE = 4
"""Processes on this machine at most; more only fill its memory."""

CONNECT_SECONDS = 10.0
"""How long a cluster may take to answer."""


def sweep(
    profiles: Sequence[LinkProfile],
    evaluate: Callable[[LinkProfile], T],
    executor: Executor | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[T]:
    """Evaluate a function at every profile.

    Parameters
    ----------
    profiles : sequence of LinkProfile
        The points.
    evaluate : callable
        Gives the result of one; for other processes a function of a module, or a ``functools.partial`` of one.
    executor : Executor | None
        Where to; None evaluates here. It stays open.
    progress : callable | None
        Called with points done and points in all, after every one.

    Returns
    -------
    list
        Results in the order of ``profiles``.

    Raises
    ------
    QkdError
        The first error of a point, naming the point; other exceptions carry the point as a note. Whatever was not begun is cancelled,
        also when the sweep is interrupted.
    TransportError
        If workers went away.
    """
    results: list[Any] = [None] * len(profiles)
    count_done = 0

    def take(index: int, result: Callable[[], T]) -> None:
        nonlocal count_done
        with _named(profiles, index):
            results[index] = result()
        count_done += 1
        if progress:
            progress(count_done, len(profiles))

    if executor is None:
        for index, profile in enumerate(profiles):
            take(index, lambda profile=profile: evaluate(profile))  # type: ignore[misc]
        return results
    waiting: dict[Future[T], int] = {}
    remaining = iter(range(len(profiles)))
    try:
        while True:
            for index in islice(remaining, MOST_IN_FLIGHT - len(waiting)):
                with _named(profiles, index):
                    waiting[executor.submit(evaluate, profiles[index])] = index
            if not waiting:
                return results
            done, _ = wait(waiting, return_when=FIRST_COMPLETED)
            for future in done:
                take(waiting.pop(future), future.result)
    finally:
        for future in waiting:
            future.cancel()


def process_executor(workers: int, begin: Callable[[], object] | None = None) -> ProcessPoolExecutor:
    """Open an executor on this machine; use it in a ``with`` statement.

    Parameters
    ----------
    workers : int
        Processes, 1 or more.
    begin : callable | None
        What every worker does first.

    Returns
    -------
    ProcessPoolExecutor
        Its processes start afresh instead of inheriting threads and locks, and Ctrl-C ends them without a word.

    Raises
    ------
    ConfigurationError
        If there is to be no worker, or far more of them than cores.
    """
    cores = os.cpu_count() or 1
    if workers < 1:
        raise ConfigurationError(f"workers = {workers}: at least one has to work")
    if workers > WORKERS_PER_CORE * cores:
        raise ConfigurationError(f"workers = {workers}: this machine has {cores} cores, ask for at most {WORKERS_PER_CORE * cores}")
    return ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_begin, initargs=(begin,))


def _begin(begin: Callable[[], object] | None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if begin is not None:
        begin()


@contextmanager
def dask_executor(address: str, connect_seconds: float = CONNECT_SECONDS) -> Iterator[Executor]:
    """Join a dask cluster for the time of a ``with`` statement.

    Parameters
    ----------
    address : str
        Of the scheduler, such as ``tcp://127.0.0.1:8786``. Whoever can reach it can run code on the workers, so it belongs on a
        loopback or a trusted network, or behind the TLS of dask's own configuration.
    connect_seconds : float
        How long scheduler and first worker may take to be there.

    Yields
    ------
    Executor
        Every worker of the cluster.

    Raises
    ------
    ConfigurationError
        If dask is missing or the address is none.
    TransportError
        If nobody answers, or the cluster has no worker.
    """
    try:
        from distributed import Client
    except ImportError:
        raise ConfigurationError("a sweep on a cluster needs dask: install the extra with pip install 'qkdlink[cluster]'") from None
    try:
        asyncio.run(_greet(address, connect_seconds))
        client = Client(address, timeout=connect_seconds, set_as_default=False)
    except ValueError as invalid:
        raise ConfigurationError(f"dask cluster {address!r}: {invalid}; give an address such as tcp://127.0.0.1:8786") from None
    except OSError:  # a timeout is one too
        raise TransportError(f"dask cluster {address!r}: no scheduler answers within {connect_seconds:g} s; start one") from None
    with client:
        try:
            client.wait_for_workers(1, timeout=connect_seconds)
        except TimeoutError:
            raise TransportError(f"dask cluster {address!r}: no worker is there within {connect_seconds:g} s; start some") from None
        yield _Cluster(client)


class _Cluster(Executor):
    """A dask client as an executor. Its own one reports every future that is cancelled as an error on the terminal."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        remote = self._client.submit(fn, *args, **kwargs, pure=False)
        future: Future[T] = Future()

        def arrived(_remote: object) -> None:
            if not future.set_running_or_notify_cancel():
                return
            if remote.status == "finished":
                future.set_result(remote.result())
            elif remote.status == "error":
                future.set_exception(remote.exception())
            else:
                future.set_exception(TransportError("the cluster went away"))

        def left(abandoned: Future[T]) -> None:
            if abandoned.cancelled():
                remote.cancel()

        future.add_done_callback(left)
        remote.add_done_callback(arrived)
        return future


async def _greet(address: str, seconds: float) -> None:
    """Shake hands and leave: a client that meets a silent port waits without end, and one that found nobody is hard to close."""
    from distributed.comm import connect
    from distributed.security import Security

    async with asyncio.timeout(seconds):
        greeted = await connect(address, **Security().get_connection_args("client"))
        await greeted.close()


@contextmanager
def _named(profiles: Sequence[LinkProfile], index: int) -> Iterator[None]:
    """Say at which point an error happened."""
    try:
        yield
    except (BrokenExecutor, CancelledError) as lost:
        raise TransportError(f"{_point(profiles, index)}: the worker went away{f' ({lost})' if str(lost) else ''}") from lost
    except QkdError as error:
        raise type(error)(f"{_point(profiles, index)}: {error}") from error
    except Exception as error:
        error.add_note(f"at {_point(profiles, index)}")
        raise


def _point(profiles: Sequence[LinkProfile], index: int) -> str:
    """Describe a point by what is not the same at all of them."""
    here, others = entries(profiles[index]), [entries(profile) for profile in profiles]
    differing = [name for name, value in here.items() if any(other[name] != value for other in others)]
    values = ", ".join(f"{name} = {here[name]}" for name in differing)
    return f"point {index + 1} of {len(profiles)}" + (f" ({values})" if values else "")
