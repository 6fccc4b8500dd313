"""Two real daemons over loopback distil key from an emulated fibre, and go on whatever is done to them."""

import json

import pytest
import zmq

from common.cli.status import summary
from tests.integration.live.processes import LiveLink
from tests.unit.service.nodes import key_pair


@pytest.fixture(scope="module")
def link(tmp_path_factory):
    live = LiveLink(tmp_path_factory.mktemp("live") / "n")
    live.start()
    try:
        live.wait_for_blocks(2)
        yield live
    finally:
        live.close()


def exported(link, count_bytes):
    """The same delivery key, taken at Alice's and followed at Bob's."""
    named, ours = link.ask("alice", "keys export", yes=True, count_bytes=count_bytes)
    _, theirs = link.ask("bob", "keys export", yes=True, pieces=named["pieces"])
    return bytes(ours), bytes(theirs)


def test_both_stores_hold_the_same_key(link):
    ours, theirs = exported(link, 400)

    assert len(ours) == 400
    assert ours == theirs


def test_a_message_pad_taken_at_one_end_is_found_at_the_other_and_only_once(link):
    named, ours = link.take_pad("bob", 500)
    _, theirs = link.follow_pad("alice", named["pieces"])

    assert ours == theirs
    with pytest.raises(Exception, match=r"(?i)before|taken|already"):
        link.follow_pad("alice", named["pieces"])


def test_the_status_says_how_the_link_does(link):
    link.wait_until(lambda live: all(live.status(name)["pace"]["round_trip_ms"] is not None for name in ("alice", "bob")), "round trip")
    status = {name: link.status(name) for name in ("alice", "bob")}

    for name, said in status.items():
        assert said["node"] == name
        assert said["session"]["state"] == "distilling"
        assert 0 < said["qber"]["Z"] < 0.05
        assert said["rates"]["secret_bits_per_second"] > 0
        assert said["authentication_reserve"]["pairs"] > 0
        assert said["pace"]["method"] == "cascade"
        assert said["pace"]["effort"] is None
        assert 0 < said["pace"]["working_qber"] < 0.05
        assert 0 <= said["pace"]["round_trip_ms"] < 1000
        assert said["pace"]["groups_under_way"] <= said["pace"]["groups_in_flight"]
        assert "reconciled by cascade, prepared for a QBER of" in summary(said)
    assert status["bob"]["stream"]["clock"]["offset_ppm"] == pytest.approx(3.0, abs=0.01)
    arrivals = status["bob"]["stream"]["arrivals"]
    assert sorted(arrivals["counts"]) == ["A", "D", "H", "V"]
    assert all(sum(row) > 0 for row in arrivals["counts"].values())
    assert arrivals["gate_ps"]


def test_a_stranger_is_refused_logged_and_counted(link):
    public, secret = key_pair()
    context = zmq.Context()
    stranger = context.socket(zmq.DEALER)
    stranger.curve_secretkey, stranger.curve_publickey = secret, public
    stranger.curve_serverkey = (link.folder / "bob" / "channel.pub").read_bytes().strip()
    stranger.connect(f"tcp://127.0.0.1:{link.port}")
    stranger.send(b"\x01let me in")
    link.wait_until(lambda live: live.status("bob")["refused"]["strangers"] > 0, "refusal")
    context.destroy(linger=0)

    assert '"event": "stranger refused"' in link.log("bob")
    link.wait_for_blocks(link.status("bob")["blocks_kept"] + 1)


@pytest.mark.parametrize("name", ["alice", "bob"])
def test_a_node_that_was_killed_comes_back_and_the_link_goes_on(link, name):
    link.kill(name)
    link.start(name)
    link.wait_until(lambda live: live.status(name)["blocks_kept"] >= 2, f"blocks after {name} came back")
    ours, theirs = exported(link, 400)

    assert ours == theirs


def test_no_byte_of_key_is_in_a_log_or_in_the_audit_trail(link):
    key, _ = exported(link, 64)
    texts = [path.read_bytes() for path in link.folder.rglob("*.log")] + [path.read_bytes() for path in link.folder.rglob("audit.jsonl")]

    assert not any(needle in text for text in texts for needle in (key[:16], key[:16].hex().encode()))


def test_both_nodes_stop_within_five_seconds(link):
    for name in ("alice", "bob"):
        status, seconds = link.stop(name)

        assert status == 0, link.log(name)[-1500:]
        assert seconds < 5
    events = [json.loads(line)["event"] for line in (link.folder / "alice" / "state" / "audit.jsonl").read_text().splitlines()]
    assert (events[0], events[-1]) == ("service started", "service stopped")
