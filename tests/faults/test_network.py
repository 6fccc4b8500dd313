"""A whole link between two hosts whose network fails goes on; and what the long program ``tests.faults.network`` judges by is right."""

import itertools

import pytest

from tests.faults.network import NetworkRun, grown, link_over_network, unexplained
from tests.faults.network_faults import CUT, KINDS, Fault, schedule
from tests.faults.residents import Life
from tests.integration.live.measurements import MEBIBYTE, Usage
from tests.support.namespaces import lacking
from tests.support.packet_link import Conditions
from tests.support.two_hosts import HOSTS

SILENCE_SECONDS = 2.0
"""After so long without a sign of life the peer counts as gone; ten as provisioned."""

POOR = Conditions(delay_seconds=0.03, jitter_seconds=0.02, loss_ratio=0.02, bits_per_second=4e6)

FAULTS = (
    Fault("poor line", 0.5, 4.0, dict.fromkeys(HOSTS, POOR)),
    Fault("cut", 1.0, 2 * SILENCE_SECONDS, {"alice": CUT}),
    Fault("restart while parted", 1.0, SILENCE_SECONDS, dict.fromkeys(HOSTS, CUT), "bob"),
)


@pytest.mark.skipif(bool(reason := lacking()), reason=reason)
def test_a_link_goes_on_behind_every_fault_of_its_network_and_its_stores_agree(tmp_path):
    with link_over_network(tmp_path / "n", 11) as link:
        for name in HOSTS:
            link.replace(name, "[channel]\n", f"[channel]\nheartbeat_seconds = 0.5\nsilence_seconds = {SILENCE_SECONDS}\n")
        link.start()
        link.wait_for_blocks(2)
        report = NetworkRun(link, 11, print).run(0.0, len(FAULTS), iter(FAULTS))

    print("\n".join(report.lines()))  # noqa: T201 - shown where the test fails, or with -s
    assert report.faults == []
    assert report.blocks > 0
    assert min(report.bytes_handed_out.values()) > 0
    poor, cut, restart = report.outcomes
    assert cut.sessions_ended >= 2  # at both ends, though only one of them heard nothing
    assert restart.sessions_ended >= 2
    assert poor.blocks_meanwhile > 0 or poor.sessions_ended == 0
    assert sum(way["lost"] for way in report.packets.values()) > 0
    assert all(way["cut"] > 0 for way in report.packets.values())


def test_a_seed_says_which_faults_come_and_every_kind_does():
    first, again, other = (list(itertools.islice(schedule(seed), 3 * len(KINDS))) for seed in (7, 7, 8))
    assert first == again != other
    assert {fault.kind for fault in first[: len(KINDS)]} == set(KINDS)
    for fault in first:
        assert 2.0 <= fault.seconds <= 60.0 or fault.kind == "restart"
        for conditions in fault.ways.values():
            assert conditions.delay_seconds + conditions.jitter_seconds <= 0.2
            assert conditions.loss_ratio <= 0.05
    assert len({str(fault) for fault in first if fault.kind != "restart"}) == 3 * (len(KINDS) - 1)


def event(seconds, name, **fields):
    return {"timestamp": f"2030-01-01T00:00:{seconds:02}+00:00", "event": name, **fields}


BEGAN = 1893456000.0
"""The first second of 2030."""


def block(seconds, number, reason=None):
    return event(seconds, "block ended", block=number, reason=reason, secret_bits=0 if reason else 1000)


@pytest.mark.parametrize(
    ("events", "said"),
    [
        ([block(1, 1), block(2, 2), event(12, "session failed", error="the peer is gone"), block(14, 9)], []),
        ([block(1, 1), event(12, "ready"), block(14, 9)], []),
        ([block(12, 1, "peer-aborted")], []),
        ([block(1, 1, "peer-aborted")], ["block 1 was given up"]),
        ([block(12, 1, "verification-failed")], ["verification-failed"]),
        ([block(1, 1), event(5, "session failed", error="the peer is gone")], ["without a fault: the peer is gone"]),
        ([block(1, 1), event(25, "session over", stopped=True)], ["without a fault: stopped"]),
        ([block(1, 1), block(12, 3)], ["block 3 came behind 1"]),
    ],
)
def test_what_no_fault_explains_is_told(events, said):
    found = unexplained(events, [(BEGAN + 10, BEGAN + 20)])

    assert len(found) == len(said)
    assert all(part in fault for part, fault in zip(said, found, strict=True))


def life_of(samples):
    """A life with samples of hours of link and MiB."""
    return Life(Usage([int(size * MEBIBYTE) for _, size in samples]), [at for at, _ in samples], [60.0 * at for at, _ in samples])


def test_growth_counts_from_the_warm_up_on():
    warming = [(0.01 * at, 50.0 + at) for at in range(50)]
    flat, growing = ([(0.5 + 0.01 * at, 100.0 + slope * at) for at in range(100)] for slope in (0.0, 0.2))

    assert life_of(warming).told("bob")["growth"] is None
    assert life_of(warming + flat).told("bob")["growth"] == 0.0
    assert 0.1 < life_of(warming + growing).told("bob")["growth"] < 0.2


def test_a_process_that_grows_is_told_and_so_is_one_that_never_ran_for_long():
    flat, growing = ({"process": name, "hours": 3.0, "growth": growth} for name, growth in (("alice", 0.04), ("bob", 0.06)))
    short = {"process": "fibre", "hours": 0.3, "growth": None}

    assert grown([flat], 10.0) == []
    assert grown([short, short | {"hours": 2.0, "growth": 0.0}], 10.0) == []
    assert [fault.split()[0] for fault in grown([flat, growing, short], 10.0)] == ["bob", "fibre"]
    assert [fault.split()[0] for fault in grown([flat, growing, short], 0.5)] == ["bob"]
