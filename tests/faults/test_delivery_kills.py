"""Twenty applications ask both nodes while these are killed, parted and their clocks set: each key ends at both or at neither, none twice.

A short run; ``QKD_DELIVERY_KILLS_SECONDS=600`` makes it the long one, with a kill every twenty seconds on average.
"""

import os
import tempfile
from pathlib import Path

import pytest

from tests.faults.delivery_kills import disturbed, run
from tests.integration.delivery.links import DeliveryLink

SECONDS = float(os.environ.get("QKD_DELIVERY_KILLS_SECONDS", "24"))
KILLS = max(4, round(SECONDS / 20))
SEED = 5


@pytest.fixture
def link():
    with tempfile.TemporaryDirectory(prefix="qkd-") as folder:  # short: the path of a unix socket has at most 107 bytes
        made = DeliveryLink(Path(folder) / "nodes")
        yield made
        made.close()


@pytest.mark.parametrize("asked", [("alice", "bob"), ("alice",)])
def test_keys_of_many_applications_outlive_kills_at_both_ends_or_at_neither(link, asked):
    """Where all ask at one node, the other gives it key of its pool, and is killed over that."""
    with disturbed(link) as disturbances:
        report = run(link, disturbances, seconds=SECONDS, kills=KILLS, applications=20, seed=SEED, asked=asked)

    assert report.faults == [], "\n".join(report.lines())
    assert sum(report.kills.values()) >= KILLS
    assert report.counts["keys fetched"] > 100, "\n".join(report.lines())
    assert len(asked) > 1 or report.counts["moves between pools"], "\n".join(report.lines())
