"""A command, or a node, dies at every step of a message: no pad is used twice, nothing is shown twice, nothing lies about half written.

A killed process does not lose what the system holds in its cache; that the ledger waits for the disk is asserted in
``tests/unit/keystore``.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from common.channel.codec import Party
from common.keystore import check
from tests.support.tree import ROOT

MEMORY_DISK = Path("/dev/shm")


@pytest.mark.parametrize(
    ("who", "outcomes"),
    [
        ("command", {"sent lost", "sent readable", "received readable", "received shown"}),
        ("node", {"sent lost", "received readable", "received lost"}),
    ],
)
def test_whoever_dies_at_whatever_step_no_pad_is_used_twice(who, outcomes):
    with tempfile.TemporaryDirectory(dir=MEMORY_DISK if MEMORY_DISK.is_dir() else None) as folder:
        command = [sys.executable, "-m", "tests.faults.pad_worker", folder, who]
        ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
        assert ran.returncode == 0, ran.stderr
        assert not ran.stderr
        assert check.faults(*(Path(folder) / f"{party.name.lower()}.sqlite" for party in Party)) == []

    seen = {what.split(" ", 1)[1]: int(what.split(" ", 1)[0]) for what in ran.stdout.strip().split(", ")}
    assert sum(seen.values()) > 20, seen
    assert outcomes <= seen.keys(), seen
