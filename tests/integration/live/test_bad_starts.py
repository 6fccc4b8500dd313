"""A start that cannot succeed says what, where and what to do, in one line and with the documented status; nothing is left half-started.

What every service says is read from ``docs/reference/errors.md``: each row of it is brought about here, and nothing else is.
"""

import contextlib
import fcntl
import os
import re
import signal
import socket
import subprocess
import sys

import pytest

from common.channel.authentication import ChannelSecrets
from common.channel.codec import Party
from common.keystore.sealing import MasterKey
from common.keystore.sqlite import SqliteKeyStore
from common.randomness import SystemRandomness
from common.service.credentials import secrets_to_bytes
from tests.docs.test_commands import as_pattern
from tests.integration.live.processes import MODULES, PATIENCE_SECONDS, LiveLink
from tests.support.tree import ROOT
from tests.unit.service.nodes import key_pair

ROW = re.compile(r"^\| qkd-(\w+) \| (.+?) \| `(.+)` \| (\d) \|$", re.MULTILINE)
PAGE = (ROOT / "docs" / "reference" / "errors.md").read_text(encoding="utf-8")
ROWS = {what: (node, says, int(status)) for node, what, says, status in ROW.findall(PAGE)}
PEER_SAYS = dict(re.findall(r"^\| (other .+?) \| `(.+)` \| \d \|$", PAGE, re.MULTILINE))


@pytest.fixture
def link(tmp_path):
    live = LiveLink(tmp_path / "n")
    yield live
    live.close()


def setting(name, old, new):
    return lambda link: link.replace(name, old, new)


def written(path, content):
    def change(link):
        (link.folder / path).write_bytes(content)
        (link.folder / path).chmod(0o600)

    return change


def without(path):
    return lambda link: (link.folder / path).unlink()


def folder(path):
    def change(link):
        (link.folder / path).unlink(missing_ok=True)
        (link.folder / path).mkdir(parents=True)

    return change


def store_of(name, party, master=None):
    """A store at ``name`` that belongs to ``party``, sealed with the node's own master key or another one."""

    def change(link):
        key = MasterKey((link.folder / name / "master.key").read_bytes() if master is None else master)
        SqliteKeyStore(link.folder / name / "state" / "store.sqlite", party, key).close()

    return change


def rotated_by_others(link):
    store_of("bob", Party.BOB, bytes(range(32)))(link)
    written("bob/master.key.new", bytes(range(1, 33)))(link)


def pipe(link):
    path = link.folder / "alice" / "authentication.secret"
    path.unlink()
    os.mkfifo(path, 0o600)


def pointing_nowhere(link):
    path = link.folder / "bob" / "authentication.secret"
    path.unlink()
    path.symlink_to("nowhere")


def cut_short(link):
    os.truncate(link.folder / "bob" / "authentication.secret", 50)


def state_is_a_file(link):
    (link.folder / "alice" / "state").rmdir()
    (link.folder / "alice" / "state").touch()


def store_for_all(link):
    path = link.folder / "bob" / "state" / "store.sqlite"
    path.touch()
    path.chmod(0o644)


def foreign_package(link):
    foreign = link.folder / "elsewhere" / "common"
    foreign.mkdir(parents=True)
    (foreign / "__init__.py").write_text("")
    return {"PYTHONPATH": str(foreign.parent)}


def socket_is_a_file(link):
    (link.folder / "fibre" / "run").mkdir()
    (link.folder / "fibre" / "run" / "alice.sock").touch()


@contextlib.contextmanager
def port_taken(link):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", link.port))
        taken.listen()
        yield


def already_running(name):
    @contextlib.contextmanager
    def running(link):
        link.start(name)
        link.wait_until(lambda live: '"event": "ready"' in live.log(name), "first process")
        yield

    return running


CASES = {
    "no configuration file": without("alice/config.toml"),
    "configuration that is not TOML": written("alice/config.toml", b"\xff\xfe[["),
    "a setting that does not exist": setting("bob", "[admin]", "[admin]\ncolour = 1"),
    "a setting that is missing": setting("alice", 'address = "unix:../fibre/run/alice.sock"', ""),
    "Bob's settings at Alice": setting("alice", "connect =", "bind ="),
    "a port that is none": setting("alice", 'connect = "tcp://127.0.0.1:', 'connect = "tcp://127.0.0.1:9'),
    "a file name with a zero in it": setting("alice", 'key = "channel.key"', r'key = "channel\u0000key"'),
    "no link profile": without("alice/link.toml"),
    "a link profile of other bytes": written("bob/link.toml", b"\xff\xfe"),
    "a folder that is a file": state_is_a_file,
    "another project's common": foreign_package,
    "a stream address that is none": setting("alice", "unix:../fibre/run/alice.sock", "tcp://127.0.0.1:99999"),
    "a secret that others can read": lambda link: (link.folder / "alice" / "authentication.secret").chmod(0o644),
    "a secret that is a folder": folder("alice/authentication.secret"),
    "a secret that is a pipe": pipe,
    "a secret that points nowhere": pointing_nowhere,
    "a secret cut short": cut_short,
    "no key of the peer": without("alice/peer.pub"),
    "a key of the peer that is none": written("bob/peer.pub", b"~" * 40),
    "a credential without systemd": setting("alice", 'key = "channel.key"', 'key = "credential:channel.key"'),
    "no master key": without("alice/master.key"),
    "the store of the other end": store_of("alice", Party.BOB),
    "another master key": store_of("bob", Party.BOB, bytes(range(32))),
    "a rotation of the master key with two keys of others": rotated_by_others,
    "a store that is no store": written("alice/state/store.sqlite", bytes(range(256)) * 100),
    "a store that others can read": store_for_all,
    "a lock that is a folder": folder("alice/state/store.sqlite.lock"),
    "a second daemon on one folder": already_running("bob"),
    "a port in use": port_taken,
    "an admin socket that is a folder": folder("alice/run/admin.sock"),
    "a setting of the fibre that does not exist": setting("fibre", "[fibre]", "[fibre]\ncolour = 1"),
    "an eavesdropper nobody knows": setting("fibre", "[fibre]", "[fibre]\neve = 'nobody'"),
    "no profile of the fibre": without("fibre/link.toml"),
    "a recording that is not there": setting("fibre", "[serve]", "[arrivals]\nemission = 'e.h5'\ntags = 't.h5'\n[serve]"),
    "a socket that is a file": socket_is_a_file,
    "a second fibre on one folder": already_running("fibre"),
}


def sockets(link):
    return {path for path in link.folder.rglob("*") if path.is_socket()}


def lock_is_free(path):
    if not path.is_file():
        return True
    with path.open("rb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
    return True


def run_once(link, name, environment):
    """Start a service that should refuse to: status, what it said, and whether any process of its own is left."""
    command = [sys.executable, "-m", MODULES[name], "--config", str(link.config(name))]
    process = subprocess.Popen(
        command,
        cwd=link.folder,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=PATIENCE_SECONDS)
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
    assert not out
    return process.returncode, err


def test_every_row_of_the_page_is_tried_and_nothing_else():
    assert set(ROWS) == set(CASES)


@pytest.mark.parametrize("what", CASES)
def test_it_says_what_the_page_says_and_leaves_nothing_behind(link, what):
    name, says, status = ROWS[what]
    made = CASES[what](link)
    with made if hasattr(made, "__exit__") else contextlib.nullcontext():
        running = bool(link.processes)
        before = sockets(link)
        found, said = run_once(link, name, made if isinstance(made, dict) else {})

        assert sockets(link) == before
        assert running or lock_is_free(link.folder / name / "state" / "store.sqlite.lock")

    assert said.count("\n") == 1, said
    assert as_pattern([f"qkd-{name}: {says}"]).fullmatch(" ".join(said.split())), said
    assert found == status
    assert not list(link.folder.rglob(".writable-*"))


def test_other_secrets_at_the_two_ends_are_an_authentication_failure_at_both(link):
    other = secrets_to_bytes(ChannelSecrets.draw(SystemRandomness(), 4))
    (link.folder / "alice" / "authentication.secret").write_bytes(other)
    link.start()

    assert {name: link.wait_for_exit(name) for name in ("alice", "bob")} == {"alice": 5, "bob": 5}
    assert as_pattern(["qkd-alice: " + PEER_SAYS["other authentication secrets"]]).fullmatch(link.log("alice").splitlines()[-1])


@pytest.mark.parametrize(
    ("old", "new"), [("epsilon_secrecy = 1e-10", "epsilon_secrecy = 1e-09"), (r"clock_hz = (\S+)", r"clock_hz = 7.0e7")]
)
def test_other_parameters_at_the_two_ends_are_a_failure_of_the_peer(link, old, new):
    profile = link.folder / "bob" / "link.toml"
    text = re.sub(old, new, profile.read_text())
    assert text != profile.read_text()
    profile.write_text(text)
    link.start()

    assert {name: link.wait_for_exit(name) for name in ("alice", "bob")} == {"alice": 3, "bob": 3}
    assert as_pattern(["qkd-bob: " + PEER_SAYS["other parameters, a clock rate for example"]]).fullmatch(link.log("bob").splitlines()[-1])


@pytest.mark.parametrize(("wrong", "event_at_bob"), [("alice", "handshake failed"), ("bob", "stranger refused")])
def test_a_wrong_key_of_the_peer_is_said_at_both_ends_and_mended_by_the_right_one(link, wrong, event_at_bob):
    path = link.folder / wrong / "peer.pub"
    right = path.read_bytes()
    path.write_bytes(key_pair()[0])
    link.start("bob", "alice")
    link.wait_until(lambda live: live.status("alice")["refused"]["handshakes"] > 0, "refusal at Alice")
    link.wait_until(lambda live: any(event["event"] == event_at_bob for event in live.events("bob")), "refusal at Bob")

    for name, event in (("alice", "handshake failed"), ("bob", event_at_bob)):
        line = next(line for line in link.events(name) if line["event"] == event)
        assert line["level"] == "warning"
        assert "peer.pub" in line["advice"]
        assert "channel.pub" in line["advice"]
        assert not link.status(name)["session"]["peer_present"]
    path.write_bytes(right)
    assert link.stop(wrong)[0] == 0
    link.start(wrong)
    link.wait_until(lambda live: all(live.status(name)["session"]["peer_present"] for name in ("alice", "bob")), "peer")


def test_what_is_missing_is_said_and_waited_for(link):
    link.start("alice")
    for event in ("peer does not answer", "no emission stream"):
        link.wait_until(lambda live, event=event: any(line["event"] == event for line in live.events("alice")), event)

    assert link.stop("alice")[0] == 0
