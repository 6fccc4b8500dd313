"""``qkd wireguard`` at both ends of tunnels: in step, in several tunnels, and where no key comes."""

import base64
import itertools
import json
import os
import secrets
import subprocess
import time
from pathlib import Path

import pytest

from tests.integration.tunnels.ends import End, has, public_key, wait_until
from tests.support.certificates import issued_by
from tests.support.key_nodes import KeyNodes
from tests.unit.service.nodes import free_port

ALICE, BOB, THIRD = (public_key(number) for number in (1, 2, 3))


@pytest.fixture
def nodes(tmp_path):
    serving = KeyNodes(tmp_path / "nodes")
    yield serving
    serving.close()


@pytest.fixture
def ends(tmp_path, nodes):
    """Two ends of a tunnel, Alice's ordering and Bob's holding; the tests start them."""
    port = free_port()
    alice, bob = End(tmp_path / "alice", nodes, "alice"), End(tmp_path / "bob", nodes, "bob")
    alice.stand_in(BOB)
    bob.stand_in(ALICE)
    common = {"interface": "wg0", "allowed_ips": ["10.9.0.0/24"], "when_short": "keep"}
    alice.peer("sae-bob", connect=f"localhost:{port}", public_key=BOB, **common)
    bob.peer("sae-alice", public_key=ALICE, **common)
    bob.tables["agreement"]["bind"] = f"127.0.0.1:{port}"
    yield alice, bob
    alice.kill()
    bob.kill()


def same(alice, bob, count):
    """Whether both ends have had so many keys, the same in the same order."""
    ours, theirs = alice.installed(), bob.installed()
    return len(ours) >= count and ours[:count] == theirs[:count]


def test_both_ends_change_to_the_same_keys_one_after_the_other(ends):
    alice, bob = ends
    bob.start()
    alice.start()
    said: list[dict] = []

    def settled():
        said.append(alice.status()["sae-bob"])
        return said[-1]["settled"]

    wait_until(lambda: same(alice, bob, 3) and settled(), "three keys at both ends, and an end that knows", alice, bob)
    status = said[-1]

    assert len(set(alice.installed())) == len(alice.installed())
    assert {len(base64.b64decode(key)) for key in alice.installed()} == {32}
    for call in alice.calls() + bob.calls():
        assert call["arguments"][:5] in (["set", "wg0", "peer", peer, "preshared-key"] for peer in (ALICE, BOB))
        assert call["arguments"][5:] == ["/dev/stdin", "allowed-ips", "10.9.0.0/24"]
        assert call["given"].strip() not in " ".join(call["arguments"])
    assert status["half"] == "orders"
    assert status["state"] == "open"
    assert not status["in_doubt"]
    assert status["key_age_seconds"] < 6
    for end in ends:
        assert end.stop()[0] == 0
        shown = end.log()
        assert not any(key in shown or base64.b64decode(key).hex() in shown for key in end.installed())


def test_a_stop_ends_within_five_seconds_and_leaves_both_ends_with_the_same_key(ends):
    alice, bob = ends
    alice.tables["peer.sae-bob"]["renew_seconds"] = 0.1
    bob.start()
    alice.start()
    wait_until(lambda: same(alice, bob, 2), "two keys at both ends", alice, bob)
    status, seconds = alice.stop()
    assert status == 0
    assert seconds < 5.0
    assert alice.installed()[-1] == bob.installed()[-1]
    status, seconds = bob.stop()
    assert status == 0
    assert seconds < 5.0


def test_the_status_says_how_old_each_key_is(ends):
    alice, bob = ends
    bob.start()
    alice.start()
    wait_until(lambda: same(alice, bob, 1), "a key at both ends", alice, bob)

    said = alice.run("status")
    assert said.returncode == 0
    assert "sae-bob: open, key" in said.stdout
    assert "s old" in said.stdout
    told = json.loads(bob.run("status", "--json").stdout)["tunnels"]
    assert told[0]["peer"] == "sae-alice"
    assert told[0]["half"] == "holds"
    assert told[0]["key_id"]
    assert told[0]["proven"] is False


def test_an_end_that_was_killed_is_given_a_fresh_key_when_it_is_back(ends):
    alice, bob = ends
    bob.start()
    alice.start()
    wait_until(lambda: same(alice, bob, 1), "a key at both ends", alice, bob)
    for end in (bob, alice):
        end.kill()
        before = len(end.installed())
        end.start()
        wait_until(lambda end=end, before=before: len(end.installed()) > before, "a key at the end that is back", alice, bob)
        wait_until(lambda: alice.status()["sae-bob"]["settled"], "agreement", alice, bob)
        wait_until(lambda: alice.installed()[-1] == bob.installed()[-1], "the same key", alice, bob)


@pytest.mark.parametrize("away", ["other end", "key"])
def test_closed_where_that_was_chosen_and_open_again_with_the_next_key(ends, nodes, away):
    alice, bob = ends
    bob.start("--when-short", "close")
    alice.start("--when-short", "close")
    wait_until(lambda: same(alice, bob, 1), "a key at both ends", alice, bob)
    if away == "other end":
        bob.kill()
    else:
        nodes.refusal["alice"] = (503, "not enough key")
    try:
        wait_until(lambda: alice.status()["sae-bob"]["state"] == "closed", "closed tunnel", alice)
        wait_until(lambda: alice.calls()[-1]["arguments"][5:] == ["/dev/stdin", "allowed-ips", ""], "closing call", alice)
        closing = alice.calls()[-1]
        assert closing["given"].strip() not in alice.installed() + bob.installed()
        assert alice.status()["sae-bob"]["short"]
        assert alice.status()["sae-bob"]["last_problem"]
        count = len(alice.installed())
    finally:
        if away == "other end":
            bob.start("--when-short", "close")
        else:
            del nodes.refusal["alice"]
    wait_until(lambda: len(alice.installed()) > count and alice.status()["sae-bob"]["state"] == "open", "open tunnel", alice, bob)
    for end in ends:
        assert end.stop()[0] == 0
        assert end.calls()[-1]["arguments"][-1] == ""


def test_closed_before_the_first_key_for_nobody_knows_how_old_the_one_before_is(ends):
    alice, _ = ends
    alice.start("--when-short", "close")

    wait_until(alice.calls, "closed tunnel", alice)
    assert alice.calls()[0]["arguments"][-1] == ""
    assert alice.installed() == []


def test_kept_where_that_was_chosen(ends):
    alice, bob = ends
    bob.start()
    alice.start()
    wait_until(lambda: same(alice, bob, 1), "a key at both ends", alice, bob)
    bob.kill()
    wait_until(lambda: alice.status()["sae-bob"]["short"], "key that is too old", alice)

    assert alice.status()["sae-bob"]["state"] == "open"
    assert all(call["arguments"][-1] != "" for call in alice.calls())
    assert alice.stop()[0] == 0
    assert all(call["arguments"][-1] != "" for call in alice.calls())


def test_several_tunnels_each_with_keys_of_its_own(ends, nodes, tmp_path):
    alice, bob = ends
    issued_by(nodes.folder / "ca", tmp_path, "sae-third", serves=True)
    (tmp_path / "sae-third.key").chmod(0o600)
    third, port = End(tmp_path / "third", nodes, "bob", sae="sae-third"), free_port()
    third.stand_in(ALICE)
    third.peer("sae-alice", public_key=ALICE, interface="wg0", allowed_ips=["10.9.0.0/24"], when_short="keep")
    third.tables["agreement"]["bind"] = f"127.0.0.1:{port}"
    alice.peer("sae-third", public_key=THIRD, interface="wg0", allowed_ips=["10.9.1.0/24"], when_short="close", connect=f"localhost:{port}")
    (alice.folder / "peers").write_text(f"{BOB}\n{THIRD}\n")
    try:
        for end in (bob, third, alice):
            end.start()
        wait_until(lambda: len(third.installed()) >= 2 and len(bob.installed()) >= 2, "two keys in each tunnel", alice, bob, third)
        bob.kill()
        count = len(third.installed())
        wait_until(lambda: len(third.installed()) >= count + 2, "keys in a tunnel beside one whose other end is away", alice, third)
        by_peer = {peer: [call["given"] for call in alice.calls() if call["arguments"][3] == peer] for peer in (BOB, THIRD)}

        assert not set(by_peer[BOB]) & set(by_peer[THIRD])
        assert {key + "\n" for key in third.installed()[:-1]} <= set(by_peer[THIRD])
        assert alice.status()["sae-third"]["state"] == "open"
    finally:
        third.kill()


def test_an_interface_without_the_peer_is_said_and_nothing_is_made(ends):
    alice, bob = ends
    (alice.folder / "peers").write_text("")
    bob.start()
    alice.start()

    wait_until(lambda: "has no peer" in str(alice.status()["sae-bob"]["last_problem"]), "problem", alice, bob)
    assert alice.calls() == []


def test_strangers_of_the_same_authority_are_refused_at_both_ends(ends):
    alice, bob = ends
    bob.tables["peer.sae-alice"]["names"] = ["somebody-else"]
    bob.start()
    alice.start()
    wait_until(lambda: "a certificate that is no peer's" in bob.log(), "refusal", alice, bob)
    assert "without an answer" in alice.status()["sae-bob"]["last_problem"]
    alice.kill()
    alice.tables["peer.sae-bob"]["names"] = ["somebody-else"]
    alice.start()
    wait_until(lambda: "not the one of this peer" in str(alice.status()["sae-bob"]["last_problem"]), "refusal", alice, bob)
    assert alice.installed() == bob.installed() == []


def test_both_ends_that_order_are_told(ends):
    alice, bob = ends
    other = free_port()
    bob.tables["peer.sae-alice"]["connect"] = f"localhost:{other}"
    bob.peer("sae-other", public_key=THIRD, interface="wg0", allowed_ips=["10.9.1.0/24"], when_short="keep")
    bob.start()
    alice.start()

    wait_until(lambda: "both ends order keys" in bob.log(), "warning", alice, bob)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda end: end.tables["peer.sae-bob"].pop("when_short"), "peer.sae-bob.when_short: say what happens"),
        (lambda end: end.tables["peer.sae-bob"].update(allowed_ips=[], when_short="close"), "peer.sae-bob: allowed_ips has to be given"),
        (lambda end: end.tables["peer.sae-bob"].update(public_key="AAAA"), "peer.sae-bob.public_key: not a public key"),
        (lambda end: end.tables["peer.sae-bob"].update(names=[]), "peer.sae-bob: say with names or fingerprints"),
        (lambda end: end.tables["peer.sae-bob"].pop("connect"), "agreement.bind has to be given"),
        (lambda end: end.tables["peer.sae-bob"].update(longest_seconds=1.0), "longest_seconds must be above renew_seconds"),
        (lambda end: end.tables["application"].update(key="missing.key"), "application.key"),
        (lambda end: end.tables["application"].update(typo=1), "application.typo: there is no such setting"),
        (lambda end: end.environment.update(PATH="/nowhere"), "wg is not on the path; install wireguard-tools"),
    ],
)
def test_a_file_that_leaves_something_open_is_refused_by_name(ends, change, said):
    alice, _ = ends
    change(alice)
    done = alice.run("run")

    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_close_by_hand_closes_without_the_service(ends):
    alice, _ = ends
    done = alice.run("close")

    assert done.returncode == 0
    assert done.stdout == "sae-bob: closed\n"
    assert alice.calls()[-1]["arguments"][-1] == ""


# --------------------------------------------------------------------------------------------------------- a real WireGuard


class Interface:
    """An interface of WireGuard in user space."""

    def __init__(self, folder) -> None:
        self.name = f"wgt{secrets.token_hex(3)}"
        self.port = free_port()
        private = subprocess.run(["wg", "genkey"], capture_output=True, check=True).stdout
        self.public = subprocess.run(["wg", "pubkey"], input=private, capture_output=True, check=True).stdout.decode().strip()
        (folder / "private").write_bytes(private)
        self.running = subprocess.Popen(["wireguard-go", "--foreground", self.name], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until = time.monotonic() + 20
        while subprocess.run(["wg", "show", self.name], capture_output=True, check=False).returncode and time.monotonic() < until:
            time.sleep(0.1)
        self.wg("set", self.name, "listen-port", str(self.port), "private-key", str(folder / "private"))

    @staticmethod
    def wg(*arguments):
        return subprocess.run(["wg", *arguments], capture_output=True, check=True, text=True).stdout

    def meet(self, other, folder):
        """Make the other one a peer, with a preshared key that the other one does not have."""
        (folder / "stale").write_text(base64.b64encode(secrets.token_bytes(32)).decode())
        self.wg(
            "set", self.name, "peer", other.public, "endpoint", f"127.0.0.1:{other.port}", "persistent-keepalive", "1",
            "preshared-key", str(folder / "stale"), "allowed-ips", "10.9.0.0/24",
        )  # fmt: skip

    def preshared_key(self):
        return self.wg("show", self.name, "preshared-keys").split("\t")[1].strip()

    def handshake(self):
        return int(self.wg("show", self.name, "latest-handshakes").split("\t")[1])

    def allowed(self):
        return self.wg("show", self.name, "allowed-ips").split("\t")[1].strip()

    def close(self):
        self.running.terminate()
        self.running.wait(20)


@pytest.mark.skipif(
    not has("wg", "wireguard-go") or os.geteuid() != 0 or not Path("/dev/net/tun").exists(),
    reason="needs wg, wireguard-go, root and /dev/net/tun",
)
def test_two_real_ends_shake_hands_once_they_have_the_same_key_and_not_before(ends):
    alice, bob = ends
    interfaces = [Interface(end.folder) for end in ends]
    try:
        for (ours, theirs), end in zip(itertools.permutations(interfaces), ends, strict=True):
            ours.meet(theirs, end.folder)
            end.environment = dict(os.environ)
            (table,) = (name for name in end.tables if name.startswith("peer."))
            end.tables[table] |= {"interface": ours.name, "public_key": theirs.public, "when_short": "close"}
            end.tables[table] |= {"renew_seconds": 1000.0, "longest_seconds": 2000.0}
        time.sleep(6)
        assert [interface.handshake() for interface in interfaces] == [0, 0]
        bob.start()
        alice.start()
        wait_until(lambda: alice.status()["sae-bob"]["settled"], "agreement", alice, bob)
        assert interfaces[0].preshared_key() == interfaces[1].preshared_key() != "(none)"
        wait_until(lambda: all(interface.handshake() for interface in interfaces), "handshake", alice, bob)
        wait_until(lambda: all(end.status()[peer]["proven"] for end, peer in ((alice, "sae-bob"), (bob, "sae-alice"))), "proof", *ends)
        assert [interface.allowed() for interface in interfaces] == ["10.9.0.0/24"] * 2

        assert alice.stop()[0] == 0
        assert interfaces[0].allowed() == "(none)"
        assert interfaces[0].preshared_key() != interfaces[1].preshared_key()
    finally:
        for interface in interfaces:
            interface.close()
