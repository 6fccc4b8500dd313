"""Alice and Bob on two booted machines, each in a network of its own, with a slow link between them that loses packets and is cut."""

import shutil
import subprocess
import sys

import pytest

from tests.deploy import machine as machines
from tests.deploy.pages import scripts
from tests.support import namespaces
from tests.support.packet_link import Conditions
from tests.support.tree import ROOT
from tests.support.two_hosts import ADDRESSES, HOSTS, TwoHosts

pytestmark = pytest.mark.deploy

PAGE = scripts("systemd.md")
FOLDERS = {"alice": ("alice", "fibre"), "bob": ("bob",)}
FAR = Conditions(delay_seconds=0.01, loss_ratio=0.01)
KEY_SECONDS = 420
"""Kernels of three services are compiled first, on two busy cores."""


def qkd(node, *words):
    return f"/opt/qkdlink/bin/qkd {' '.join(words)} --config /etc/qkdlink/{node}/config.toml"


def pool(shown):
    """What a line of Python makes of the pool for messages from Alice, at a node whose pools are read from standard input."""
    return f"""/opt/qkdlink/bin/python -c 'import json, sys; bits = json.load(sys.stdin)["pools"]["alice-pad"]; {shown}'"""


class Apart:
    """Both machines and what lies between them."""

    def __init__(self, hosts, running):
        self.hosts = hosts
        self.running = running

    def carry(self, path, sender, receiver):
        """Carry a file or folder of root's from one machine to the other, as a person with a stick would."""
        source, target = (self.running[name].root / "root" / path for name in (sender, receiver))
        target.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if source.is_dir() else shutil.copy)(source, target)

    def wait_for_key(self, bits):
        """Wait until both ends hold so much key for messages from Alice."""
        for node, machine in self.running.items():
            machine.wait(f"set -o pipefail; {qkd(node, 'keys', 'status', '--json')} | {pool(f'sys.exit(bits < {bits})')}", KEY_SECONDS)

    def held_bits(self):
        """Key that Bob holds for messages from Alice."""
        return int(self.running["bob"].run(f"{qkd('bob', 'keys', 'status', '--json')} | {pool('print(bits)')}"))


@pytest.fixture(scope="module")
def apart():
    if reason := machines.lacking() or namespaces.lacking():
        pytest.skip(reason)
    hosts = TwoHosts("7")
    try:
        with machines.booted("alice", hosts.network("alice")) as alice, machines.booted("bob", hosts.network("bob")) as bob:
            link = Apart(hosts, {"alice": alice, "bob": bob})
            build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(alice.root / "root")]
            subprocess.run(build, cwd=ROOT, capture_output=True, check=True)
            (wheel,) = (alice.root / "root").glob("*.whl")
            link.carry(wheel.name, "alice", "bob")
            _, install = PAGE["Install"]
            for machine in link.running.values():
                machine.run(install, seconds=600)
            reached = " ".join(f"--{name}-host {ADDRESSES[name]}" for name in HOSTS)
            alice.run(f"/opt/qkdlink/bin/qkd provision --link niedersachsen --out nodes --systemd {reached}")
            link.carry("nodes/bob", "alice", "bob")
            for name, machine in link.running.items():
                folders = " ".join(f"nodes/{folder}" for folder in FOLDERS[name])
                machine.run(f"cp -r {folders} /etc/qkdlink/ && systemd-tmpfiles --create /etc/tmpfiles.d/qkdlink.conf")
            hosts.change(dict.fromkeys(HOSTS, FAR))
            alice.run("systemctl enable --now qkd-fibre qkd-alice")
            bob.run("systemctl enable --now qkd-bob")
            yield link
    finally:
        hosts.close()


def test_key_is_distilled_over_a_slow_link_that_loses_packets(apart):
    apart.wait_for_key(1024)

    carried = apart.hosts.carried()
    assert all(carried[name].lost > 0 for name in HOSTS)


def test_a_message_crosses_by_one_time_pad(apart):
    alice, bob = apart.running.values()
    alice.run(f"echo 'meet me at noon' | {qkd('alice', 'otp', 'encrypt', '--in', '-', '--out', 'message.otp')}")
    apart.carry("message.otp", "alice", "bob")

    assert "meet me at noon" in bob.run(qkd("bob", "otp", "decrypt", "--in", "message.otp", "--out", "-"))


@pytest.mark.parametrize("cut", [("alice",), HOSTS], ids="+".join)
def test_key_comes_again_once_a_cut_is_mended(apart, cut):
    apart.hosts.change({name: Conditions(is_cut=True) for name in cut})
    for node, machine in apart.running.items():
        machine.wait(f"{qkd(node, 'status')} | grep 'peer absent'", 120)
    before = apart.held_bits()
    apart.hosts.change(dict.fromkeys(HOSTS, FAR))

    apart.wait_for_key(before + 1024)


def test_both_stores_agree_when_the_services_have_stopped(apart):
    stores = []
    for name, machine in apart.running.items():
        machine.run("systemctl stop 'qkd-*'")
        assert machine.shown(f"qkd-{name}", "Result") == "success"
        stores.append(str(machine.root / f"var/lib/qkd-{name}/store.sqlite"))
    checked = subprocess.run(
        [sys.executable, "-m", "common.keystore.check", *stores], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert checked.returncode == 0, checked.stdout + checked.stderr
