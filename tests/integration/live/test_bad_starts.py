"""A start that cannot succeed says what, where and what to do, in one line and with the documented status; nothing is left half-started."""

import os
import socket

import pytest

from common.channel.authentication import ChannelSecrets
from common.randomness import SystemRandomness
from common.service.credentials import secrets_to_bytes
from tests.integration.live.processes import LiveLink, run_once


@pytest.fixture
def link(tmp_path):
    live = LiveLink(tmp_path / "n")
    yield live
    live.close()


def test_a_secret_that_others_can_read(link):
    (link.folder / "alice" / "authentication.secret").chmod(0o644)

    status, line = run_once(link, "alice")

    assert status == 2
    assert "authentication.secret: others may read it (mode 0644); run chmod 600" in line


def test_a_setting_that_does_not_exist(link):
    link.replace("bob", "[admin]", "[admin]\ncolour = 1")

    assert run_once(link, "bob") == (2, f"qkd-bob: configuration {link.config('bob')}: admin.colour: Extra inputs are not permitted")


def test_a_port_that_is_in_use(link):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", link.port))
        taken.listen()

        status, line = run_once(link, "bob")

    assert status == 2
    assert f"channel.bind tcp://127.0.0.1:{link.port}: Address already in use; choose another address" in line
    assert not (link.folder / "bob" / "run" / "admin.sock").exists()


def test_a_file_that_is_not_there(link):
    (link.folder / "alice" / "peer.pub").unlink()

    status, line = run_once(link, "alice")

    assert status == 2
    assert "peer.pub: No such file" in line


def test_a_package_of_another_project(link):
    foreign = link.folder / "elsewhere" / "common"
    foreign.mkdir(parents=True)
    (foreign / "__init__.py").write_text("")

    status, line = run_once(link, "alice", PYTHONPATH=os.pathsep.join([str(foreign.parent)]))

    assert status == 2
    assert f"package 'common' comes from {foreign}" in line


def test_other_secrets_at_the_two_ends_are_an_authentication_failure_at_both(link):
    other = secrets_to_bytes(ChannelSecrets.draw(SystemRandomness(), 4))
    (link.folder / "alice" / "authentication.secret").write_bytes(other)
    link.start()

    assert {name: link.wait_for_exit(name) for name in ("alice", "bob")} == {"alice": 5, "bob": 5}
    assert "compare authentication.secret of both ends" in link.log("alice").splitlines()[-1]


def test_other_parameters_at_the_two_ends_are_a_failure_of_the_peer(link):
    profile = link.folder / "bob" / "link.toml"
    profile.write_text(profile.read_text().replace("epsilon_secrecy = 1e-10", "epsilon_secrecy = 1e-09"))
    link.start()

    assert {name: link.wait_for_exit(name) for name in ("alice", "bob")} == {"alice": 3, "bob": 3}
    assert "other parameters" in link.log("bob").splitlines()[-1]
