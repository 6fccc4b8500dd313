"""The three services as units of a real systemd, installed by the commands of docs/howto/systemd.md and by nothing else.

One machine goes through what an operator does with it, test by test: it is installed, watched, disturbed, changed, upgraded, emptied.
"""

import json
import subprocess
import sys
import time

import pytest

from tests.deploy.pages import scripts
from tests.deploy.test_analysis import MOST_EXPOSURE_TENTHS, UNITS
from tests.support.tree import ROOT

pytestmark = pytest.mark.deploy

PAGE = scripts("systemd.md")
NODES = ("alice", "bob")
SECRETS = ("authentication.secret", "channel.key", "master.key", "node.key")
KEY_SECONDS = 420
"""Two busy cores that compile every kernel of three services at once; warm, it takes seconds."""
RESTART_SECONDS = 150
"""A sign of life that stays away for thirty seconds, five of rest, and a start on two busy cores."""


def qkd(node, *words):
    return f"/opt/qkdlink/bin/qkd {' '.join(words)} --config /etc/qkdlink/{node}/config.toml"


def states(machine):
    return {unit: machine.shown(unit, "ActiveState") for unit in UNITS}


def main_processes(machine):
    return {unit: machine.shown(unit, "MainPID") for unit in UNITS}


def wait_for_key(machine, pool="alice-pad", bits=1024):
    """Wait until both ends hold so much key of a pool."""
    for node in NODES:
        held = f"""/opt/qkdlink/bin/python -c 'import json, sys; sys.exit(json.load(sys.stdin)["pools"]["{pool}"] < {bits})'"""
        machine.wait(f"set -o pipefail; {qkd(node, 'keys', 'status', '--json')} | {held}", KEY_SECONDS)


def wait_for_restart(machine, before):
    """Wait until every unit runs again, in another process."""
    for unit, process in before.items():
        again = f"[ $(systemctl show --value -p MainPID {unit}) != {process} ] && systemctl is-active {unit}"
        machine.wait(again, RESTART_SECONDS)


@pytest.fixture(scope="module")
def machine(booted_machine):
    """A machine on which the page was followed down to the start."""
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(booted_machine.root / "root")]
    subprocess.run(build, cwd=ROOT, capture_output=True, check=True)
    _, install = PAGE["Install"]
    for script in (install, *PAGE["Provision"], *PAGE["Start"]):
        booted_machine.run(script, seconds=600)
    return booted_machine


def test_every_unit_is_ready_at_its_first_start(machine):
    assert set(states(machine).values()) == {"active"}
    assert {machine.shown(unit, "NRestarts") for unit in UNITS} == {"0"}
    for node in NODES:
        assert '"event": "ready"' in machine.run(f"journalctl --no-pager -u qkd-{node} -o cat")


def test_no_unit_exposes_more_than_it_says(machine):
    for unit in UNITS:
        machine.run(f"systemd-analyze security --no-pager --threshold={MOST_EXPOSURE_TENTHS} {unit}.service")


def test_each_service_runs_as_its_own_user_without_capabilities(machine):
    for unit, process in main_processes(machine).items():
        status = machine.run(f"cat /proc/{process}/status")

        assert f"Uid:\t{machine.run(f'id -u {unit}').strip()}\t" in status
        assert "CapEff:\t0000000000000000\n" in status
        assert "NoNewPrivs:\t1\n" in status
        assert "Seccomp:\t2\n" in status


@pytest.mark.parametrize("node", NODES)
def test_secrets_are_shown_to_their_own_service_alone(machine, node):
    for name in SECRETS:
        shown, kept = f"/run/credentials/qkd-{node}.service/{name}", f"/etc/qkdlink/{node}/{name}"
        machine.run(f"cmp {shown} {kept} && runuser -u qkd-{node} -- cat {shown} > /dev/null")
        for user in {"nobody", "qkd-alice", "qkd-bob", "qkd-fibre"} - {f"qkd-{node}"}:
            assert "Permission denied" in machine.run(f"runuser -u {user} -- cat {shown}", status=1)
        for user in ("nobody", "qkd-alice", "qkd-bob", "qkd-fibre"):
            assert "Permission denied" in machine.run(f"runuser -u {user} -- cat {kept}", status=1)


def test_no_service_sees_folders_and_sockets_of_another(machine):
    for path in ("/var/lib/qkd-alice", "/var/cache/qkd-alice", "/run/qkd-alice", "/etc/qkdlink/alice"):
        assert "Permission denied" in machine.run(f"runuser -u qkd-bob -- ls {path}", status=2)
    assert machine.run("stat -c '%U %a' /run/qkd-fibre/alice.sock /run/qkd-fibre/bob.sock") == "qkd-alice 600\nqkd-bob 600\n"


def test_both_ends_distil_the_same_key(machine):
    wait_for_key(machine)
    machine.run(f"echo 'meet me at noon' | {qkd('alice', 'otp', 'encrypt', '--in', '-', '--out', 'message.otp')}")

    assert "meet me at noon" in machine.run(qkd("bob", "otp", "decrypt", "--in", "message.otp", "--out", "-"))


def test_the_page_says_how_to_watch(machine):
    printed = machine.run(PAGE["Watch"][0])

    assert "active (running)" in printed
    assert '"event": "ready"' in printed
    assert "alice-pad" in printed


def test_a_service_that_falls_silent_is_started_again(machine):
    before = main_processes(machine)
    machine.run(f"kill -STOP {' '.join(before.values())}")

    wait_for_restart(machine, before)
    for unit in UNITS:
        assert "Watchdog timeout" in machine.run(f"journalctl --no-pager -u {unit} -o cat")
    wait_for_key(machine)


def test_services_that_are_killed_start_again_and_hold_the_same_key(machine):
    before = main_processes(machine)
    machine.run(f"kill -KILL {' '.join(before.values())}")

    wait_for_restart(machine, before)
    wait_for_key(machine)
    machine.run(f"echo 'after the storm' | {qkd('bob', 'otp', 'encrypt', '--in', '-', '--out', 'answer.otp')}")
    assert "after the storm" in machine.run(qkd("alice", "otp", "decrypt", "--in", "answer.otp", "--out", "-"))


def test_what_is_read_again_while_a_node_runs(machine):
    before = main_processes(machine)
    reload, _, renew, _ = PAGE["Change something"]
    machine.run(reload)
    machine.run(f"/opt/qkdlink/bin/qkd provision --renew nodes\n{renew}")

    for node in NODES:
        machine.wait(f"journalctl --no-pager -u qkd-{node} -o cat | grep 'renewed masks taken in'", 60)
        assert "files read again" in machine.run(f"cat /var/lib/qkd-{node}/audit.jsonl")
    assert main_processes(machine) == before


def test_a_master_key_may_be_encrypted_on_the_disk(machine):
    *_, seal = PAGE["Change something"]
    machine.run(seal)

    assert not (machine.root / "etc/qkdlink/alice/master.key").exists()
    assert machine.shown("qkd-alice", "ActiveState") == "active"
    wait_for_key(machine)


def test_a_configuration_that_is_refused_is_not_tried_again(machine):
    machine.run("sed -i 's/^level = .*/level = \"loud\"/' /etc/qkdlink/bob/config.toml")
    machine.run("systemctl restart qkd-bob", status=1)
    time.sleep(8)  # longer than the rest before a start

    assert machine.shown("qkd-bob", "ActiveState") == "failed"
    assert machine.shown("qkd-bob", "ExecMainStatus") == "2"
    assert machine.shown("qkd-bob", "NRestarts") == "0"
    assert "log.level" in machine.run("journalctl --no-pager -u qkd-bob -o cat -n 5")
    machine.run("sed -i 's/^level = .*/level = \"info\"/' /etc/qkdlink/bob/config.toml")
    _, restart, *_ = PAGE["Change something"]
    machine.run(restart)
    assert set(states(machine).values()) == {"active"}


def test_an_upgrade_throws_compiled_kernels_away_and_keeps_the_key(machine):
    compiled = "find /var/cache -name '*.nbi'"
    before = json.loads(machine.run(qkd("alice", "keys", "status", "--json")))["pools"]
    *install, clean, start = PAGE["Upgrade"][0].splitlines()
    machine.run("\n".join(install), seconds=600)
    assert machine.run(compiled) != ""
    machine.run(clean)
    assert machine.run(compiled) == ""
    machine.run(start)

    after = json.loads(machine.run(qkd("alice", "keys", "status", "--json")))["pools"]
    assert all(after[pool] >= bits for pool, bits in before.items())


def test_services_end_well_when_they_are_asked_to_stop(machine):
    machine.run(*PAGE["Stop"])

    assert {machine.shown(unit, "Result") for unit in UNITS} == {"success"}


def test_nothing_is_left_after_removal(machine):
    machine.run(*PAGE["Remove"])

    found = "find / -xdev \\( -path /proc -o -path /sys -o -path /var/log -o -path /root \\) -prune -o -name '*qkd*' -print"
    assert machine.run(found) == ""
    assert machine.run("grep qkd /etc/passwd /etc/group /etc/shadow", status=1) == ""
    assert machine.run("systemctl list-units --no-legend --no-pager 'qkd*'") == ""
