"""A whole link is killed at random instants and goes on: nothing is lost after commitment, split otherwise or used twice.

``QKD_LINK_KILLS`` asks for more kills than the few that fit into the suite; ``python -m tests.faults.link_kills`` shows them as they come.
"""

import os
from contextlib import closing

import pytest

from tests.faults.applications import Handed
from tests.faults.link_kills import PAUSE_SECONDS, KillRun
from tests.integration.live.processes import LiveLink

KILLS = os.environ.get("QKD_LINK_KILLS")
QUICK_KILLS, QUICK_PAUSE_SECONDS = 6, (0.5, 3.0)
SEED = int(os.environ.get("QKD_LINK_KILLS_SEED", "11"))


def test_a_link_whose_processes_are_killed_goes_on_and_its_stores_agree(tmp_path):
    with closing(LiveLink(tmp_path / "n")) as link:
        link.start()
        link.wait_for_blocks(1)
        run = KillRun(link, SEED, PAUSE_SECONDS if KILLS else QUICK_PAUSE_SECONDS, say=print)
        report = run.run(int(KILLS or QUICK_KILLS))

    print("\n".join(report.lines()))  # noqa: T201 - shown where the test fails, or with -s
    assert report.faults == []
    assert report.blocks > 0
    assert min(report.bytes_handed_out.values()) > 0


@pytest.mark.parametrize(
    ("second", "fault"),
    [
        (("alice", 0, b"abcd"), "handed out twice"),
        (("alice", 3, b"dx"), "byte 3 was handed out twice"),
        (("bob", 0, b"abxx"), "2 bytes differ between the ends"),
        (("bob", 2, b"xd"), "1 bytes differ between the ends"),
    ],
)
def test_key_that_an_application_got_twice_or_otherwise_would_be_noticed(second, fault):
    handed = Handed()
    end, first, key = second
    handed.give("alice", "alice-pad", ((7, 0, 4),), b"abcd")
    assert handed.verdict() == []

    handed.give(end, "alice-pad", ((7, first, len(key)),), key)

    assert [fault in found for found in handed.verdict()] == [True]
