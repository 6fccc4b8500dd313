"""A disk that fills up under a key store: the node says so once, hands out nothing that it cannot record, loses nothing, and goes on."""

import json
import os
import subprocess
import sys

import pytest

from tests.support.tree import ROOT

MOUNTING = ["unshare", "--user", "--map-root-user", "--mount"]
"""Gives a process a view of the file system of its own, in which it may mount."""


def may_mount() -> bool:
    try:
        tried = subprocess.run([*MOUNTING, "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, check=False)
    except FileNotFoundError:
        return False
    return tried.returncode == 0


@pytest.mark.skipif(not may_mount(), reason="this machine lets nobody mount a file system")
def test_a_full_disk_is_named_once_and_costs_nothing(tmp_path):
    command = [*MOUNTING, sys.executable, "-m", "tests.faults.full_disk", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)

    assert said["refused while it only fills up"] == []
    assert len(said["refused while it is full"]) == 3
    assert all("the disk is full" in line for line in said["refused while it is full"])
    events = [line["event"] for line in said["lines"]]
    assert events.count("disk nearly full: distillation waits") == 2  # once for each of the two times
    assert events.count("session failed") <= 1
    assert said["taken"] >= 2
    assert said["equal"]
    assert said["status"] == {"alice": 0, "bob": 0}
    assert said["faults"] == []
    assert said["mistakes"] == []
