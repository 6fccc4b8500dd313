"""Processes that end with whoever started them."""

import subprocess
import sys
import time
from pathlib import Path
from unittest.mock import Mock

import pytest

from common.cli.processes import LinkProcesses, started
from common.errors import AuthenticationError, ConfigurationError, TransportError

SLEEPER = "import time\ntime.sleep(600)\n"


@pytest.fixture
def sleeper(tmp_path, monkeypatch):
    """A module that does nothing for long."""
    (tmp_path / "sleeper.py").write_text(SLEEPER)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return "sleeper"


def is_gone(number):
    try:
        return Path(f"/proc/{number}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def test_a_process_is_killed_with_whoever_started_it(sleeper):
    script = (
        "import subprocess, time\nfrom common.cli.processes import started\n"
        f"print(started({sleeper!r}, log=subprocess.DEVNULL).pid, flush=True)\ntime.sleep(600)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    time.sleep(0.5)  # long enough to have said what should end it; if not, it looks for its parent first
    assert not is_gone(child)

    parent.kill()
    parent.communicate()

    until = time.monotonic() + 20
    while not is_gone(child) and time.monotonic() < until:
        time.sleep(0.02)
    assert is_gone(child)


def test_a_process_whose_parent_is_gone_already_does_not_start(sleeper):
    command = [sys.executable, "-P", "-m", "common.cli.tied", "1", sleeper]

    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 1
    assert "is gone" in done.stderr


@pytest.mark.parametrize(
    ("status", "kind", "how"),
    [(2, ConfigurationError, "exit status 2"), (5, AuthenticationError, "exit status 5"), (-9, TransportError, "killed by SIGKILL")],
)
def test_a_process_that_has_ended_is_an_error_with_its_last_words(tmp_path, status, kind, how):
    processes = LinkProcesses(tmp_path / "nodes", tmp_path)
    processes.log("bob").write_text('{"event": "starting"}\nqkd-bob: channel.bind: Address already in use\n')
    processes._running["bob"] = Mock(poll=Mock(return_value=status))

    with pytest.raises(kind) as caught:
        processes.check()

    assert str(caught.value) == f"qkd-bob has ended ({how}): channel.bind: Address already in use; its log is {tmp_path / 'bob.log'}"
    processes._running.clear()


def test_stopping_waits_until_everything_has_ended(sleeper, tmp_path):
    processes = LinkProcesses(tmp_path / "nodes", tmp_path)
    with processes.log("bob").open("wb") as log:
        processes._running["bob"] = child = started(sleeper, log=log)

    processes.stop()

    assert child.poll() is not None
