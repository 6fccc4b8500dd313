"""A command that is killed in the middle of a sweep leaves no worker behind."""

import subprocess
import sys
import time
from pathlib import Path

COMMAND = ("rate", "--link", "hefei", "--sweep", "channel.loss_db=0:20:400", "--optimise", "--workers", "2", "--json")
SECONDS = 60.0


def test_workers_end_with_the_command_that_started_them():
    with subprocess.Popen([sys.executable, "-m", "common.cli.main", *COMMAND], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as command:
        until(lambda: len(workers(command.pid)) == 2)
        started = workers(command.pid)
        command.kill()
        until(lambda: not any(Path(f"/proc/{worker}").exists() for worker in started))


def workers(parent):
    """Processes under a command, the tracker of its semaphores left out."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text(encoding="ascii").split()
    return [child for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


def until(condition):
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, "still waiting"
        time.sleep(0.05)
