"""Every command shown in the documentation runs.

A fenced block of kind ``console`` is executed: lines that begin with ``$ `` are commands, lines that begin with ``> `` continue one, the
lines below are what it prints, ``…`` standing for anything. A command without lines below is only asked for its exit status, which is 0
unless a line ``# exit N`` stands directly below it. A command that ends with ``&`` runs until the end of the page, where it is asked to
stop and has to end well. Blocks of one page run in order in one empty folder, with the commands of the environment in front on the path.
What cannot run here (installing, cloning, hardware) stands in blocks of kind ``sh`` or ``text``.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.tree import ROOT, project_files

FENCE = re.compile(r"^(`{3,})console[^\n]*\n(.*?)^\1[ \t]*$", flags=re.MULTILINE | re.DOTALL)
SECONDS = 300
FOREIGN_TOOLS = ("curl", "openssl", "wg", "wireguard-go", "swanctl", "charon-systemd")
"""Programs beside ours and the usual ones that pages use; ``.ci/run`` installs them."""
PRIVILEGED_TOOLS = ("wireguard-go", "charon-systemd")
"""Those that only root can run, where there is a device for networks in user space."""
STOP_SECONDS = 30


@dataclass
class Command:
    """A command of a page, with the output and the exit status the page shows."""

    text: str
    shown: list[str] = field(default_factory=list)
    status: int = 0


def commands(page: str) -> list[Command]:
    found: list[Command] = []
    for _, block in FENCE.findall(page):
        for line in block.splitlines():
            if line.startswith("> "):
                found[-1].text += "\n" + line[2:]
            elif line.startswith("$ "):
                found.append(Command(line[2:]))
            elif exit_status := re.fullmatch(r"# exit (\d+)", line):
                found[-1].status = int(exit_status.group(1))
            elif line.strip():
                found[-1].shown.append(line)
    return found


def as_pattern(shown: list[str]) -> re.Pattern[str]:
    """What the page shows, ``…`` matching anything, runs of blanks matching one another."""
    text = " ".join(" ".join(shown).split())
    return re.compile(".*".join(re.escape(part) for part in text.split("…")), flags=re.DOTALL)


def pages() -> list[Path]:
    return [
        path for path in project_files() if path.suffix == ".md" and path.parts[0] in {"docs", "README.md"} and "_build" not in path.parts
    ]


def pages_with_commands() -> list[Path]:
    return [path for path in pages() if commands((ROOT / path).read_text(encoding="utf-8"))]


@pytest.mark.parametrize("page", pages_with_commands(), ids=str)
def test_the_commands_of_a_page_run_and_print_what_it_shows(page):
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "COLUMNS": "120",
        "NO_COLOR": "1",
    }
    shown = commands((ROOT / page).read_text(encoding="utf-8"))
    for tool in FOREIGN_TOOLS:
        if any(re.search(rf"(?<![\w-]){tool} ", command.text) for command in shown):
            if shutil.which(tool) is None:
                pytest.skip(f"{tool} is not installed")
            if tool in PRIVILEGED_TOOLS and (os.geteuid() != 0 or not Path("/dev/net/tun").exists()):
                pytest.skip(f"{tool} needs root and /dev/net/tun")
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="page-")))  # short: the path of a socket has 107 bytes
        services: list[Service] = []
        for command in shown:
            if command.text.endswith("&"):
                log = folder / f".{len(services)}.log"
                services.append(stack.enter_context(service(command.text.removesuffix("&"), log, environment)))
                continue
            status, printed = run(command.text, services, folder, environment)

            assert status == command.status, f"{command.text}\n{printed[-2000:]}"
            printed = " ".join(printed.split())
            assert as_pattern(command.shown).search(printed), f"{command.text}\nshown: {command.shown}\nprinted: {printed[-2000:]}"


@dataclass(frozen=True)
class Service:
    """A command that runs in the background, and where it writes."""

    text: str
    running: subprocess.Popen[bytes]
    log: Path


def run(text, services, folder, environment):
    """Exit status of a command and what it printed; it waits for nothing that a service which has ended could still bring."""
    running = subprocess.Popen(
        ["bash", "-c", text],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    until = time.monotonic() + SECONDS
    while True:
        try:
            out, err = running.communicate(timeout=1)
        except subprocess.TimeoutExpired:
            ended = [service.text for service in services if service.running.poll() is not None]
            if ended or time.monotonic() > until:
                os.killpg(running.pid, signal.SIGKILL)
                running.communicate()
                logs = "\n".join(f"{service.text}\n{service.log.read_text()[-3000:]}" for service in services)
                pytest.fail(f"{text}\ndoes not end within {SECONDS} s, or waits for one of {ended}\n{logs}")
        else:
            return running.returncode, out + err


@contextlib.contextmanager
def service(text, log, environment):
    """Run a command in the folder of its log; it has to run still when the page ends, and to end well when it is asked to stop."""
    with log.open("wb") as output:
        running = subprocess.Popen(["bash", "-c", f"exec {text}"], cwd=log.parent, env=environment, stdout=output, stderr=output)
    try:
        yield Service(text, running, log)
        assert running.poll() is None, f"{text}: ended by itself\n{log.read_text()[-2000:]}"
        running.terminate()
        assert running.wait(STOP_SECONDS) == 0, f"{text}\n{log.read_text()[-2000:]}"
    finally:
        running.kill()
        running.wait()


def test_blocks_are_read_as_commands_with_their_output():
    page = "text\n```console\n$ echo one \\\n> two\none two\n$ false\n# exit 1\n```\n```sh\nmake demo\n```\n"

    assert commands(page) == [Command("echo one \\\ntwo", ["one two"]), Command("false", [], 1)]


def test_an_ellipsis_matches_anything():
    assert as_pattern(["took … seconds", "done"]).search("it took 3.2 seconds done")
    assert not as_pattern(["took … seconds"]).search("it took 3.2 minutes")
