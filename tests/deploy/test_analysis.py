"""The units as systemd reads them, without a running one: nothing unknown in them, and little that a service could do harm with."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.tree import ROOT

pytestmark = pytest.mark.deploy

UNITS = ("qkd-alice", "qkd-bob", "qkd-fibre")
FOLDER = ROOT / "deploy" / "systemd"
MOST_EXPOSURE_TENTHS = 19
"""Below 2.0 of 10, in the tenths that systemd-analyze reckons with."""


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A root folder with the units, the targets of this machine, and programs of the names that the units call."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    folder = tmp_path_factory.mktemp("root")
    shutil.copytree("/usr/lib/systemd/system", folder / "usr/lib/systemd/system", symlinks=True)
    shutil.copytree(FOLDER, folder / "etc/systemd/system")
    for program in [*(f"opt/qkdlink/bin/{unit}" for unit in UNITS), "usr/bin/kill", "usr/bin/chown"]:
        (folder / program).parent.mkdir(parents=True, exist_ok=True)
        (folder / program).touch(mode=0o755)
    return folder


def analysed(root, *arguments):
    ran = subprocess.run(
        ["systemd-analyze", "--no-pager", f"--root={root}", *arguments],
        env=os.environ | {"SYSTEMD_COLORS": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    return ran.returncode, ran.stdout + ran.stderr


@pytest.mark.parametrize("unit", UNITS)
def test_systemd_finds_nothing_wrong_with_a_unit(root, unit):
    assert analysed(root, "--man=no", "verify", f"{unit}.service") == (0, "")


@pytest.mark.parametrize("unit", UNITS)
def test_a_unit_exposes_little(root, unit):
    status, printed = analysed(root, "security", "--offline=yes", f"--threshold={MOST_EXPOSURE_TENTHS}", f"{unit}.service")

    assert status == 0, printed
    assert re.search(rf"exposure level for {unit}\.service: [01]\.\d OK", printed), printed


def test_a_unit_without_its_sandbox_would_be_found_out(root):
    bare = root / "etc/systemd/system/bare.service"
    bare.write_text("[Service]\nExecStart=/opt/qkdlink/bin/qkd-alice\nNoNewPrivilege=yes\n")

    status, printed = analysed(root, "security", "--offline=yes", f"--threshold={MOST_EXPOSURE_TENTHS}", "bare.service")
    assert status != 0, printed
    assert "Unknown key" in analysed(root, "--man=no", "verify", "bare.service")[1]
