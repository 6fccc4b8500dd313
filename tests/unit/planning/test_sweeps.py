"""Sweeps: order, progress, few points in flight, errors that name their point, and the same answer wherever it is computed."""

import os
import signal
import socket
import sys
import time
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from functools import partial

import pytest

from common.errors import ConfigurationError, TransportError
from common.planning import sweeps
from common.planning.rate import rate_point
from common.planning.settings import with_entries
from common.planning.sweeps import dask_executor, process_executor, sweep
from common.profiles.link import load_profile

LINKS = [with_entries(load_profile("hbn"), {"channel.loss_db": float(loss)}) for loss in range(8)]


def loss(profile):
    return profile.channel.loss_db


def refuse_three(profile):
    if loss(profile) == 3.0:
        raise ConfigurationError("channel.loss_db: three is too many")
    return loss(profile)


def slow_at_first(profile):
    time.sleep(0.002 * (8 - loss(profile)))
    return loss(profile)


def divide(profile):
    return 1.0 / (loss(profile) - 3.0)


def die(_profile):
    os._exit(1)


class Prompt(Executor):
    """Does everything at once, and remembers what it was given."""

    def __init__(self):
        self.submitted = []

    def submit(self, fn, /, *args, **kwargs):
        future: Future = Future()
        future.set_result(fn(*args, **kwargs))
        self.submitted.append(future)
        return future


def test_results_keep_the_order_of_the_profiles_and_progress_counts_them():
    seen = []
    assert sweep(LINKS, loss, progress=lambda done, total: seen.append((done, total))) == list(range(8))
    assert seen == [(done, 8) for done in range(1, 9)]
    with ThreadPoolExecutor(3) as executor:
        seen.clear()
        backwards = sweep(LINKS, slow_at_first, executor, lambda done, total: seen.append((done, total)))
    assert backwards == list(range(8))
    assert seen == [(done, 8) for done in range(1, 9)]


def test_no_profiles_give_no_results():
    with ThreadPoolExecutor(1) as executor:
        assert sweep([], loss, executor) == sweep([], loss) == []


def test_few_points_are_in_flight(monkeypatch):
    monkeypatch.setattr(sweeps, "MOST_IN_FLIGHT", 3)
    outstanding = []
    executor = Prompt()
    sweep(LINKS, loss, executor, lambda done, _total: outstanding.append(len(executor.submitted) - done))
    assert max(outstanding) <= 3
    assert len(executor.submitted) == 8


@pytest.mark.parametrize("open_executor", [lambda: None, lambda: ThreadPoolExecutor(2)], ids=["here", "threads"])
def test_an_error_names_its_point(open_executor):
    executor = open_executor()
    with pytest.raises(ConfigurationError, match=r"point 4 of 8 \(channel.loss_db = 3.0\): channel.loss_db: three"):
        sweep(LINKS, refuse_three, executor)
    with pytest.raises(ZeroDivisionError) as caught:
        sweep(LINKS, divide, executor)
    assert caught.value.__notes__ == ["at point 4 of 8 (channel.loss_db = 3.0)"]
    if executor:
        executor.shutdown()


def test_an_interruption_cancels_what_was_not_begun():
    started = []

    def begin(profile):
        started.append(loss(profile))
        time.sleep(0.05)

    def interrupt(_done, _total):
        raise KeyboardInterrupt

    with ThreadPoolExecutor(1) as executor, pytest.raises(KeyboardInterrupt):
        sweep(LINKS, begin, executor, interrupt)
    assert len(started) < 4


def test_processes_find_what_this_process_finds():
    how = partial(rate_point, mode="paper")
    with process_executor(1) as executor:
        assert sweep(LINKS[:3], how, executor) == sweep(LINKS[:3], how)
        assert executor.submit(signal.getsignal, signal.SIGINT).result() == signal.SIG_DFL
        with pytest.raises(TransportError, match="point 1 of 1: the worker went away"):
            sweep(LINKS[:1], die, executor)


def test_somebody_has_to_work():
    with pytest.raises(ConfigurationError, match="workers = 0"):
        process_executor(0)


def test_without_dask_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ConfigurationError, match=r"qkdlink\[cluster\]"), dask_executor("tcp://127.0.0.1:8786"):
        pass


@pytest.mark.parametrize("address", ["", "somewhere", "nonsense://127.0.0.1:1"])
def test_an_address_that_is_none_is_refused(address):
    with pytest.raises(ConfigurationError, match=r"dask cluster .*tcp://127.0.0.1:8786"), dask_executor(address, 0.5):
        pass


def test_a_port_that_is_closed_or_silent_is_given_up_in_time():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(TransportError, match=r"no scheduler answers within 0\.5 s"), dask_executor(f"tcp://127.0.0.1:{port}", 0.5):
            pass
    with pytest.raises(TransportError, match="no scheduler answers"), dask_executor(f"tcp://127.0.0.1:{port}", 0.5):
        pass
