"""No byte of key is anywhere it does not belong: planted and handed-out secrets are hunted for in all that running daemons leave behind.

Files, logs, audit trails, answers, the process listing, core dumps, and the memory as another process of the same user may read it. The
hunter itself is shown to find what is there in ``tests/unit/test_hunting.py``, and what is hunted for in a daemon's own memory.
"""

import contextlib
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import zmq
from zmq.utils import z85

from common.errors import QkdError
from common.service.unix_path import reachable
from tests.integration.live.processes import MODULES, LiveLink
from tests.support.hunting import Hunter
from tests.unit.service.nodes import key_pair

NODES = ("alice", "bob")
BELONGS = ("authentication.secret", "renewal.secret", "master.key", "channel.key", "node.key", "ca.key")
MASTER = "QKD_TEST_MASTER"


class Hunted:
    """A link that has made key, the secrets that are known of it, and copies of its stores from before any key was handed out."""

    def __init__(self, folder: Path) -> None:
        self.link = LiveLink(folder)
        self.secrets: dict[str, bytes] = {}
        self.answers: dict[str, bytes] = {}
        for name in NODES:
            home = folder / name
            key = (home / "channel.key").read_bytes().strip()
            self.secrets |= {f"{name}'s channel key": key, f"{name}'s channel key, decoded": z85.decode(key)}
            self.secrets[f"{name}'s master key"] = (home / "master.key").read_bytes()
        self.secrets["authentication secret"] = (folder / "alice" / "authentication.secret").read_bytes()
        self.link.replace("bob", '"master.key"', f'"env:{MASTER}"')

    def start(self) -> None:
        self.link.start("fibre")
        self.link.wait_until(lambda live: '"event": "ready"' in live.log("fibre"), "fibre")
        self.secrets["expander key"] = bytes.fromhex(json.loads(self._first_line())["key"])
        self.link.environment[MASTER] = self.secrets["bob's master key"].hex()
        self.link.start("bob")
        del self.link.environment[MASTER]
        self.link.start("alice")
        self.link.wait_for_blocks(3)

    def _first_line(self) -> bytes:
        with socket.socket(socket.AF_UNIX) as stream, reachable(self.link.folder / "fibre" / "run" / "alice.sock") as address:
            stream.connect(address)
            with stream.makefile("rb") as lines:
                return lines.readline()

    def take(self) -> None:
        """Copy the stores as they stand, then have most of that key handed out at both ends."""
        for name in NODES:
            passing = shutil.ignore_patterns("*.new")  # written beside a file to take its place, and gone the next moment
            shutil.copytree(self.link.folder / name / "state", self.link.folder / f"copy of {name}", ignore=passing)
        for pool, first, other in (("keys export", "alice", "bob"), ("keys export", "bob", "alice"), ("pad", "alice", "bob")):
            if pool == "pad":
                named, ours = self.link.take_pad(first, 800)
                _, theirs = self.link.follow_pad(other, named["pieces"])
            else:
                named, ours = self.link.ask(first, pool, yes=True, count_bytes=800)
                _, theirs = self.link.ask(other, pool, yes=True, pieces=named["pieces"])
            assert ours == theirs
            self.secrets[f"{pool} of {first}"] = bytes(ours)
            self.answers[f"answer to {pool} at {first}"] = json.dumps(named).encode()

    def annoy(self) -> None:
        """Provoke what errors can be provoked from outside; what they say is hunted through as well."""
        wrong = ({"pieces": [[1, 0, 10]]}, {"pieces": [[99, 0, 10]]}, {"count_bytes": 10**12}, {"pieces": "x"}, {"count_bytes": -1})
        for name in NODES:
            for fields in wrong:
                for command in ("pad reserve", "pad follow", "pad return", "keys export", "nonsense"):
                    with contextlib.suppress(QkdError):
                        answer, key = self.link.ask(name, command, yes=True, **fields)
                        self.secrets |= {f"{command} of {name} {fields}": bytes(key)} if key else {}
                        self.answers[f"{name} {command} {fields}"] = json.dumps(answer).encode()
            for command in ("status", "keys status", "keys audit"):
                self.answers[f"{name} {command}"] = json.dumps(self.link.ask(name, command)[0]).encode()
        public, secret = key_pair()
        context = zmq.Context()
        with context.socket(zmq.DEALER) as stranger:
            stranger.curve_secretkey, stranger.curve_publickey = secret, public
            stranger.curve_serverkey = (self.link.folder / "bob" / "channel.pub").read_bytes().strip()
            stranger.connect(f"tcp://127.0.0.1:{self.link.port}")
            stranger.send(b"let me in")
            time.sleep(0.5)
            stranger.close(linger=0)
        context.destroy(linger=0)

    def hunter(self) -> Hunter:
        return Hunter(self.secrets)

    def files(self):
        for path in sorted(self.link.folder.rglob("*")):
            if path.is_file() and path.name not in BELONGS and path.parent.name not in {"ca", "sae"}:
                yield str(path.relative_to(self.link.folder)), path.read_bytes()

    def process_listing(self):
        for name, process in self.link.processes.items():
            for entry in ("cmdline", "environ", "comm", "status", "maps"):
                yield f"{name} /proc/{entry}", Path(f"/proc/{process.pid}/{entry}").read_bytes()


@pytest.fixture(scope="module")
def hunted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hunt") / "n"
    before = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (before[1], before[1]))  # what the services forbid themselves must not be forbidden already
    with pytest.MonkeyPatch.context() as patch:
        made = Hunted(folder)
        (folder / "temporary").mkdir()
        patch.setenv("TMPDIR", str(folder / "temporary"))
        try:
            made.start()
            made.take()
            made.annoy()
            yield made
        finally:
            made.link.close()
            resource.setrlimit(resource.RLIMIT_CORE, before)


def test_no_file_of_the_nodes_holds_key_that_does_not_belong_there(hunted):
    files = dict(hunted.files())

    assert not hunted.hunter().found_among(files.items())
    assert any(name.startswith("copy of alice/store.sqlite") for name in files)
    assert any(name.endswith("audit.jsonl") for name in files)
    assert {"alice.log", "bob.log", "fibre.log"} <= set(files)


def test_no_answer_about_the_state_holds_key(hunted):
    assert len(hunted.answers) > 8
    assert not hunted.hunter().found_among(hunted.answers.items())


def test_the_process_listing_shows_no_key_not_even_one_that_came_in_the_environment(hunted):
    listing = dict(hunted.process_listing())

    assert MASTER.encode() in listing["bob /proc/environ"], "the environment could not be looked at"
    assert not hunted.hunter().found_among(listing.items())


def memory_of(pid):
    """All memory that can be read of a process, region by region."""
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            region, access = line.split()[:2]
            low, high = (int(place, 16) for place in region.split("-"))
            if access.startswith("rw") and high - low < 1 << 28:
                with contextlib.suppress(OSError):
                    memory.seek(low)
                    yield memory.read(high - low)


def test_what_is_hunted_for_is_what_a_daemon_holds_in_its_memory(hunted):
    try:
        regions = memory_of(hunted.link.processes["alice"].pid)
        assert any(hunted.secrets["authentication secret"][:32] in region for region in regions)
    except PermissionError:
        pytest.skip("only root may look into a daemon")


READER = """
import ctypes, sys
pid, found = int(sys.argv[1]), []
for name in ("mem", "environ", "auxv"):
    try:
        with open(f"/proc/{pid}/{name}", "rb") as file:
            name == "mem" or file.read(1)
        found.append(name)
    except OSError:
        pass
library = ctypes.CDLL(None, use_errno=True)
if library.ptrace(16, pid, 0, 0) == 0:
    found.append("ptrace")
    library.ptrace(17, pid, 0, 0)
print(",".join(found))
"""
"""Tries what a debugger or gcore would; 16 and 17 are PTRACE_ATTACH and PTRACE_DETACH."""


def unprivileged():
    """What to put in front of a command so that it has no capabilities; the user stays the same."""
    if os.geteuid() != 0:
        return []
    prefix = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
    if shutil.which("setpriv") is None or subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode:
        pytest.skip("root cannot give up its capabilities here (setpriv)")
    return prefix


def test_another_process_of_the_same_user_cannot_read_or_trace_a_daemon(hunted, tmp_path):
    prefix = unprivileged()
    home = shutil.copytree(hunted.link.folder / "alice", tmp_path / "alice", ignore=shutil.ignore_patterns("state", "run"))
    commands = {
        "daemon": [sys.executable, "-m", MODULES["alice"], "--config", str(home / "config.toml")],
        "control": [sys.executable, "-c", "import time; print('ready', flush=True); time.sleep(60)"],
    }
    can = {}
    for name, command in commands.items():
        log = tmp_path / f"{name}.log"
        with log.open("wb") as out:
            process = subprocess.Popen([*prefix, *command], stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        try:
            while b"ready" not in log.read_bytes():
                assert process.poll() is None, log.read_text()
                time.sleep(0.05)
            read = subprocess.run([*prefix, sys.executable, "-c", READER, str(process.pid)], capture_output=True, text=True, check=True)
            can[name] = read.stdout.strip()
        finally:
            process.kill()
            process.wait()

    if "mem" not in can["control"]:
        pytest.skip("this machine lets no process look into another anyway")
    assert can["daemon"] == ""


def killed_by(process, number):
    """End a process by a signal that dumps core; whether the kernel says it did."""
    process.send_signal(number)
    _, status = os.waitpid(process.pid, 0)
    assert os.WTERMSIG(status) == number
    return os.WCOREDUMP(status)


def test_a_crash_leaves_no_core_dump(hunted, tmp_path):
    control = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], cwd=tmp_path)
    time.sleep(0.2)
    dumps_here = killed_by(control, signal.SIGABRT)
    control.returncode = -signal.SIGABRT

    for name, number in (("alice", signal.SIGABRT), ("bob", signal.SIGSEGV), ("fibre", signal.SIGBUS)):
        process = hunted.link.processes.pop(name)
        assert not killed_by(process, number)
        process.returncode = -number
    left = {path.name for path in hunted.link.folder.rglob("*core*") if path.is_file()}
    assert not left
    assert not hunted.hunter().found_among((name, data) for name, data in hunted.files() if name.endswith(".log"))
    if not dumps_here:
        pytest.skip("this machine dumps no core of anything, so the services' own ban was not put to the test")
