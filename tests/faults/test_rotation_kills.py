"""A rotation of the master key is killed at every step: the store opens with the one key or the other, and holds all it held."""

import re
import subprocess
import sys

from tests.support.tree import ROOT


def test_a_rotation_killed_at_any_step_leaves_a_store_that_opens_and_lacks_nothing(tmp_path):
    command = [sys.executable, "-m", "tests.faults.rotation_worker", str(tmp_path / "stores")]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert ran.returncode == 0, ran.stdout + ran.stderr
    deaths = dict(re.findall(r"(rotate|finish): (\d+) deaths", ran.stdout))
    assert int(deaths["rotate"]) > 30
    assert int(deaths["finish"]) > 10
    assert re.search(r"'old key': [1-9]", ran.stdout)
    assert re.search(r"'fresh key': [1-9]", ran.stdout)
