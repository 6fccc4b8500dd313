"""Three adversaries between two real daemons: one outside the encryption, one with the channel keys, one with the message keys as well.

None of them brings about a wrong key; what is refused is counted and logged, and the link goes on once he lets go. Alice reaches Bob by
way of a relay all the time, straight or through the man in the middle. ``QKD_STORM_SECONDS`` lets the noise on the wire last longer.
"""

import contextlib
import dataclasses
import os
import time

import pytest
import zmq

from common.channel import messages
from common.channel.codec import Party
from common.channel.messages import ParityReply, SiftingReply, ToeplitzSeed
from common.keystore.check import LedgerFile, faults
from common.service.credentials import read_secrets
from tests.integration.live.processes import LiveLink
from tests.support.adversaries import with_bit_flipped
from tests.support.middle import Editor, Intruder, Middle, Thief
from tests.support.noise import Storm
from tests.support.relay import Relay
from tests.unit.service.nodes import key_pair

NODES = ("alice", "bob")
STORM_SECONDS = float(os.environ.get("QKD_STORM_SECONDS", "5"))
STORM_BYTES = 150_000
PATIENT = "[channel]\nheartbeat_seconds = 0.5\nsilence_seconds = 4.0\nreceive_seconds = 4.0"
"""A peer that says nothing is given up sooner than usual, for the sake of the test's length."""


class Wire:
    """A link whose channel runs through a relay, and what may sit on it."""

    def __init__(self, folder):
        self.link = LiveLink(folder)
        self.storm = Storm(seed=20260101, every_bytes=STORM_BYTES)
        self.relay = Relay(self.link.port, self.storm)
        for name in NODES:
            self.link.replace(name, "[channel]", PATIENT)

    def start(self):
        self.link.replace("alice", f":{self.link.port}", f":{self.relay.port}")
        self.link.start()
        self.link.wait_for_blocks(1)

    @contextlib.contextmanager
    def middle(self, script):
        """The man in the middle at work, until the block is left."""
        with Middle(self.link.folder, self.link.port) as middle:
            middle.script = script
            self._lead_to(middle.port)
            try:
                yield middle
            finally:
                self._lead_to(self.link.port)

    def _lead_to(self, port):
        self.relay.target_port = port
        self.relay.drop_connections()

    def refused(self):
        return {name: self.link.status(name)["refused"] for name in NODES}

    def goes_on(self, blocks=1):
        """Wait for so many more blocks at both ends; then both hold the same key."""
        before = {name: self.link.status(name)["blocks_kept"] for name in NODES}
        self.link.wait_until(
            lambda link: all(link.status(name)["blocks_kept"] >= before[name] + blocks for name in NODES), "blocks after the adversary"
        )
        named, ours = self.link.ask("alice", "keys export", yes=True, count_bytes=64)
        _, theirs = self.link.ask("bob", "keys export", yes=True, pieces=named["pieces"])
        assert ours == theirs

    def ledgers(self):
        return [LedgerFile.read(self.link.folder / name / "state" / "store.sqlite") for name in NODES]


@pytest.fixture(scope="module")
def wire(tmp_path_factory):
    live = Wire(tmp_path_factory.mktemp("adversaries") / "n")
    with live.relay:
        try:
            live.start()
            yield live
        finally:
            live.link.close()


def test_noise_on_the_wire_makes_no_wrong_key_and_the_link_comes_back(wire):
    before = wire.refused()
    wire.storm.on = True
    until = time.monotonic() + STORM_SECONDS
    while time.monotonic() < until or len(wire.storm.deeds) < 4:
        time.sleep(0.1)
    wire.storm.on = False

    wire.goes_on(blocks=2)
    after = wire.refused()
    assert sum(after[name]["handshakes"] for name in NODES) > sum(before[name]["handshakes"] for name in NODES), wire.storm.deeds
    assert all(after[name]["transcript_tags"] == 0 for name in NODES)
    assert any('"event": "handshake failed"' in wire.link.log(name) for name in NODES)


def test_what_the_holder_of_the_channel_keys_puts_in_is_refused_and_costs_nothing(wire):
    intruder = Intruder(seed=7)
    with wire.middle(intruder):
        wire.goes_on()  # the session behind the change of ways has begun
        sessions = {name: wire.link.status(name)["session"]["sessions"] for name in NODES}
        made = sum(intruder.made.values())
        wire.goes_on(blocks=2)
        assert {name: wire.link.status(name)["session"]["sessions"] for name in NODES} == sessions
        assert sum(intruder.made.values()) > made
        assert set(intruder.made) >= set(Intruder.KINDS) - {"old notice"}
        refused = wire.refused()

    for name in NODES:
        assert refused[name]["messages"] > 10
        assert refused[name]["greetings"] > 0
        assert refused[name]["notices"] > 0
        assert refused[name]["transcript_tags"] == 0
        for event in ("message refused", "greeting refused", "notice refused"):
            assert 0 < wire.link.log(name).count(f'"event": "{event}"') < 20
    assert refused["bob"]["repeated_greetings"] > 0
    wire.goes_on()


@pytest.mark.parametrize(
    ("deed", "victim", "index"), [("drop", Party.ALICE, 9), ("swap", Party.BOB, 4), ("flip", Party.ALICE, 0), ("cut short", Party.BOB, 12)]
)
def test_what_he_takes_away_or_spoils_costs_a_session_and_no_key(wire, deed, victim, index):
    thief = Thief(deed, victim, index)
    before = wire.refused()
    with wire.middle(thief):
        wire.link.wait_until(lambda _link: thief.done, "message to spoil")
        wire.goes_on()
        after = wire.refused()

    if deed in {"flip", "cut short"}:  # what is late or missing may end the talk before a later message shows it
        assert sum(after[name]["messages"] for name in NODES) > sum(before[name]["messages"] for name in NODES)
    assert all(after[name]["transcript_tags"] == 0 for name in NODES)


def flipped(name, bit=3):
    return lambda message: dataclasses.replace(message, **{name: with_bit_flipped(getattr(message, name), bit)})


EDITS = {
    "one bit of the seed": (ToeplitzSeed, flipped("seed"), True),
    "one error hidden": (messages.TestCounts, lambda message: dataclasses.replace(message, table=moved(message.table)), False),
    "one round swapped in sifting": (SiftingReply, flipped("kept"), False),
    "one parity": (ParityReply, flipped("parities"), False),
}
"""Message, edit, and whether nothing but the tag can see it."""


def moved(table):
    """The tables of settings by outcomes with one error turned into a right bit."""
    altered = list(table)
    for first in range(0, len(altered), 16):  # one table after the other, each of an announcement
        for setting, wrong in ((0, 1), (1, 0), (2, 3), (3, 2)):
            if altered[first + 4 * setting + wrong]:
                altered[first + 4 * setting + wrong] -= 1
                altered[first + 4 * setting + setting] += 1
                return tuple(altered)
    return tuple(altered)


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_under_a_right_code_is_stopped_by_the_transcript_tag(wire, name):
    kind, edit, needs_tag = EDITS[name]
    editor = Editor(
        read_secrets(wire.link.folder / "alice" / "authentication.secret"),
        lambda message: edit(message) if isinstance(message, kind) else None,
    )
    before = wire.refused()
    with wire.middle(editor):
        wire.link.wait_until(lambda _link: editor.block is not None, name)
        wire.goes_on()
        after = wire.refused()

    assert {node: after[node]["messages"] for node in NODES} == {node: before[node]["messages"] for node in NODES}
    for ledger in wire.ledgers():
        assert editor.block not in ledger.committed()
    tags = sum(after[node]["transcript_tags"] - before[node]["transcript_tags"] for node in NODES)
    if needs_tag:
        assert tags >= 1
        failures = [event for node in NODES for event in wire.link.events(node) if event["event"] == "session failed"]
        assert "AuthenticationError" in {failure["error_class"] for failure in failures}
        refusals = [event for node in NODES for event in wire.link.events(node) if event["event"] == "transcript tag refused"]
        assert refusals
        assert all(event["level"] == "error" for event in refusals)
    wire.goes_on()


def strangers(wire, count, counted="strangers", **own):
    """``count`` connections, each with a key of its own unless one is given; left open until they were refused."""
    context, crowd = zmq.Context(), []
    before = wire.refused()["bob"][counted]
    try:
        for number in range(count):
            public, secret = own.get("keys") or key_pair()
            stranger = context.socket(zmq.DEALER)
            crowd.append(stranger)
            stranger.curve_secretkey, stranger.curve_publickey = secret, public
            stranger.curve_serverkey = own.get("server", (wire.link.folder / "bob" / "channel.pub").read_bytes().strip())
            stranger.setsockopt(zmq.ROUTING_ID, b"peer" if number % 2 else b"other")
            stranger.connect(f"tcp://127.0.0.1:{wire.link.port}")
            stranger.send(b"\x02let me in")
        wire.link.wait_until(lambda _link: wire.refused()["bob"][counted] >= before + count, f"{count} refusals")
    finally:
        for stranger in crowd:
            stranger.close(linger=0)
        context.destroy(linger=0)


def test_a_flood_of_strangers_is_counted_refused_and_logged_in_a_few_lines(wire):
    wire.goes_on()
    before, lines = wire.refused()["bob"]["strangers"], wire.link.log("bob").count('"event": "stranger refused"')
    sessions = wire.link.status("bob")["session"]["sessions"]
    strangers(wire, 150)

    assert wire.refused()["bob"]["strangers"] >= before + 150
    assert 0 < wire.link.log("bob").count('"event": "stranger refused"') - lines <= 5
    wire.goes_on()
    assert wire.link.status("bob")["session"]["sessions"] == sessions


def test_who_has_bobs_own_key_or_takes_another_for_his_is_no_better_off(wire):
    folder = wire.link.folder
    before = wire.refused()["bob"]
    bobs = tuple((folder / "bob" / f"channel.{kind}").read_bytes().strip() for kind in ("pub", "key"))
    strangers(wire, 1, keys=bobs)
    strangers(wire, 1, "handshakes", server=key_pair()[0])
    after = wire.refused()["bob"]

    assert after["strangers"] > before["strangers"]
    assert after["handshakes"] > before["handshakes"]
    wire.goes_on()


def test_in_the_end_both_ledgers_agree(wire):
    for name in NODES:
        assert wire.link.stop(name)[0] == 0

    assert not faults(*(wire.link.folder / name / "state" / "store.sqlite" for name in NODES))
