"""Faults of a whole link that are no crash: a process that stands still, a channel that is cut or slow, a clock that is set.

``QKD_PAUSE_SECONDS`` asks for longer standstills and cuts than the few seconds that fit into the suite.
"""

import os
import time

import pytest

from common.keystore import check
from tests.integration.live.processes import LiveLink
from tests.support.relay import BACKWARD, FORWARD, Relay
from tests.support.stepped_clock import SteppedClock

SILENCE_SECONDS = 2.0
"""After so long without a sign of life the peer counts as gone; ten as provisioned."""

PAUSE_SECONDS = float(os.environ.get("QKD_PAUSE_SECONDS", "4"))

NODES = ("alice", "bob")


class FaultyLink(LiveLink):
    """A link with a relay in its channel, and with clocks that can be set."""

    relay: Relay
    clock: SteppedClock


@pytest.fixture(scope="module")
def link(tmp_path_factory):
    """A link whose channel goes through a relay, whose patience is short, and whose wall clocks can be set."""
    folder = tmp_path_factory.mktemp("faults")
    live = FaultyLink(folder / "n")
    for name in NODES:
        live.replace(name, "[channel]\n", f"[channel]\nheartbeat_seconds = 0.5\nsilence_seconds = {SILENCE_SECONDS}\n")
        live.replace(name, "[store]\n", "[store]\nexpiry_seconds = 7200\n")
    live.clock = SteppedClock(folder / "clock")
    live.environment = live.clock.environment
    with Relay(live.port) as relay:
        live.replace("alice", f"tcp://127.0.0.1:{live.port}", f"tcp://127.0.0.1:{relay.port}")
        live.relay = relay
        live.start()
        try:
            live.wait_for_blocks(2)
            yield live
        finally:
            live.close()


def sessions(link):
    return {name: link.status(name)["session"]["sessions"] for name in NODES}


def wait_until_it_goes_on(link, blocks=3):
    """Until both ends have made so many more blocks and hold the same key."""
    before = {name: link.status(name)["blocks_kept"] for name in NODES}
    link.wait_until(lambda live: all(live.status(name)["blocks_kept"] >= before[name] + blocks for name in NODES), "a link that goes on")
    named, ours = link.ask("alice", "keys export", yes=True, count_bytes=100)
    _, theirs = link.ask("bob", "keys export", yes=True, pieces=named["pieces"])
    assert ours == theirs


@pytest.mark.parametrize("name", ["alice", "bob", "fibre"])
def test_a_process_that_stood_still_is_missed_and_taken_back(link, name):
    before = sessions(link)
    link.pause(name)
    try:
        if name in NODES:
            other = "bob" if name == "alice" else "alice"
            link.wait_until(lambda live: not live.status(other)["session"]["peer_present"], "an end that misses its peer")
        time.sleep(PAUSE_SECONDS)
    finally:
        link.resume(name)

    wait_until_it_goes_on(link)
    after = sessions(link)
    if name in NODES:
        assert all(after[end] > before[end] for end in NODES)


@pytest.mark.parametrize("direction", [FORWARD, BACKWARD])
def test_a_channel_cut_in_one_direction_is_noticed_at_both_ends_and_mended(link, direction):
    before = sessions(link)
    link.relay.cut.add(direction)
    began = time.monotonic()
    try:
        link.wait_until(lambda live: not any(live.status(name)["session"]["peer_present"] for name in NODES), "ends that miss each other")
        noticed_seconds = time.monotonic() - began
        time.sleep(max(0.0, PAUSE_SECONDS - noticed_seconds))
    finally:
        link.relay.cut.clear()

    wait_until_it_goes_on(link)
    assert noticed_seconds < 10 * SILENCE_SECONDS
    assert all(sessions(link)[name] > before[name] for name in NODES)


def test_bytes_that_were_held_up_for_long_do_no_harm(link):
    link.relay.held.add(FORWARD)
    try:
        time.sleep(SILENCE_SECONDS + 1)
    finally:
        link.relay.held.clear()

    wait_until_it_goes_on(link)


def test_a_slow_channel_only_makes_the_link_slower(link):
    before = sessions(link)
    link.relay.delay_seconds = 0.05
    try:
        wait_until_it_goes_on(link, blocks=1)
    finally:
        link.relay.delay_seconds = 0.0

    assert sessions(link) == before


@pytest.mark.parametrize("step_seconds", [3600, -3600])
def test_a_clock_that_is_set_by_an_hour_ends_no_session_and_expires_no_key(link, step_seconds):
    before = sessions(link)
    link.clock.set(step_seconds)
    try:
        wait_until_it_goes_on(link)
        time.sleep(6)  # the store looks for key that has grown too old every five seconds
        trail = {name: link.ask(name, "keys audit", most=1)[0]["trail"] for name in NODES}
        offsets = {name: link.ask(name, "keys audit", after=0, most=1000)[0]["ledger"] for name in NODES}
    finally:
        link.clock.set(0)

    assert sessions(link) == before
    assert all(abs(trail[name][-1]["time"] - time.time() - step_seconds) < 600 for name in NODES)  # the clock was indeed set
    assert not [entry for entries in offsets.values() for entry in entries if entry["kind"] == "expired"]


def test_both_ledgers_agree_at_the_end(link):
    for name in NODES:
        assert link.stop(name)[0] == 0
    for name in NODES:
        assert "mistake of ours" not in link.log(name)
        assert "Traceback" not in link.log(name)
    assert check.faults(*(link.folder / name / "state" / "store.sqlite" for name in NODES)) == []
