"""Sweeps on a real dask cluster: scheduler and worker as processes of their own on loopback."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

from common.errors import ConfigurationError, TransportError
from common.planning.optimisation import optimise
from common.planning.rate import rate_point
from common.planning.settings import with_entries
from common.planning.sweeps import dask_executor, sweep
from common.profiles.link import load_profile

SECONDS = 60.0
LINKS = [with_entries(load_profile("niedersachsen"), {"channel.loss_db": float(loss)}) for loss in range(0, 30, 3)]


@contextmanager
def service(folder, *arguments):
    """One process of the cluster, ended by its id."""
    with (folder / f"{arguments[0]}.log").open("wb") as log:
        running = subprocess.Popen(
            [sys.executable, "-P", "-m", "dask", *arguments, "--no-dashboard", "--scheduler-file", str(folder / "scheduler.json")],
            cwd=folder,
            stdout=log,
            stderr=log,
        )
    try:
        yield running
    finally:
        running.kill()
        running.wait()


@contextmanager
def scheduler(folder):
    """A scheduler on a free port; its process and its address."""
    file = folder / "scheduler.json"
    with service(folder, "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-show") as running:
        until = time.monotonic() + SECONDS
        while not (file.exists() and file.read_text()):
            assert running.poll() is None, (folder / "scheduler.log").read_text()
            assert time.monotonic() < until
            time.sleep(0.05)
        yield running, json.loads(file.read_text())["address"]


def worker(folder):
    return service(folder, "worker", "--nthreads", "1", "--no-nanny", "--local-directory", str(folder))


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cluster")
    with scheduler(folder) as (_, address), worker(folder):
        yield address


def refuse_nine(profile):
    if profile.channel.loss_db == 9.0:
        raise ConfigurationError("channel.loss_db: nine is too many")
    return rate_point(profile, mode="paper")


def best(profile):
    return optimise(profile, ["source.probability_z"], mode="paper", starts=1)


def process_id(_profile):
    return os.getpid()


def test_a_cluster_finds_what_this_process_finds(address):
    seen = []
    with dask_executor(address, SECONDS) as executor:
        assert sweep(LINKS, rate_point, executor, lambda *at: seen.append(at)) == sweep(LINKS, rate_point)
        assert seen[-1] == (len(LINKS), len(LINKS))
        assert sweep(LINKS[:2], best, executor) == sweep(LINKS[:2], best)
        assert os.getpid() not in sweep(LINKS, process_id, executor)


def test_an_error_on_the_cluster_names_its_point_and_leaves_the_cluster_of_use(address):
    with dask_executor(address, SECONDS) as executor:
        with pytest.raises(ConfigurationError, match=r"point 4 of 10 \(channel.loss_db = 9.0\): channel.loss_db: nine"):
            sweep(LINKS, refuse_nine, executor)
        assert sweep(LINKS[:1], refuse_nine, executor) == [rate_point(LINKS[0], mode="paper")]


def test_a_sweep_on_the_command_line_can_use_the_cluster(address):
    command = [
        sys.executable,
        "-P",
        "-m",
        "common.cli.main",
        "rate",
        "--link",
        "niedersachsen",
        "--sweep",
        "channel.loss_db=0:20:3",
        "--json",
    ]
    here, there = (
        subprocess.run([*command, *more], capture_output=True, text=True, check=True, timeout=SECONDS).stdout
        for more in ([], ["--dask", address])
    )
    assert json.loads(here) == json.loads(there)


def test_a_cluster_without_workers_is_given_up(tmp_path):
    with (
        scheduler(tmp_path) as (_, address),
        pytest.raises(TransportError, match="no worker is there within 2 s"),
        dask_executor(address, 2.0),
    ):
        pass


def test_a_scheduler_that_dies_ends_the_sweep(tmp_path):
    with scheduler(tmp_path) as (running, address), worker(tmp_path), dask_executor(address, SECONDS) as executor:

        def kill(done, _total):
            if done == 1:
                running.send_signal(signal.SIGKILL)

        with pytest.raises(TransportError, match=r"point \d+ of 10 .*the cluster went away"):
            sweep(LINKS, lambda _link: time.sleep(0.3), executor, kill)
