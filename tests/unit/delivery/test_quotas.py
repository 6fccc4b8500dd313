"""Quotas as applications meet them: over HTTP, with the stores of real nodes, across a restart and a new map."""

import pytest

from common.delivery.identities import Identities, SaeFile
from common.errors import ConfigurationError, KeyExhaustedError, QuotaExhaustedError
from tests.support.deliveries import DeliveringEnds

MAP = 'quota_bits_per_day = 1024\n[sae.free]\ncommon_names = ["nobody"]\n'
"""Of the application at each end, and of another one."""


@pytest.fixture
def ends(tmp_path):
    both = DeliveringEnds(tmp_path, 80_000, applications=MAP)
    yield both
    both.stop()
    assert both.faults() == []


def test_what_is_beyond_the_quota_is_refused_with_what_is_left_and_when_there_is_more(ends):
    with ends.client("alice") as alice, ends.client("bob") as bob:
        ours = alice.take_many("sae-bob", 3, 256)
        with pytest.raises(QuotaExhaustedError, match="used up; asked bits: 512; quota bits: 1024; left bits: 256") as over:
            alice.take_many("sae-bob", 2, 256)
        theirs = bob.fetch_many("sae-alice", [key.key_id for key in ours])
        more = bob.take_many("sae-alice", 4, 256)
        stock = alice.stock("sae-bob")

    assert over.value.missing_bits == 256
    assert 86_400 < (over.value.wait_seconds or 0) <= 87_000
    assert isinstance(over.value, KeyExhaustedError)
    assert [key.secret for key in theirs] == [key.secret for key in ours], "fetching counts for nobody"
    assert len(more) == 4, "each end counts its own"
    assert (stock.count_stored, stock.quota_bits, stock.quota_left_bits) == (1, 1024, 256)


def test_a_restart_of_the_node_resets_nothing(ends):
    with ends.client("alice") as alice:
        alice.take("sae-bob", 1024)
    ends.stop()
    ends.start()
    ends.wait_ready()
    with ends.client("alice") as alice, pytest.raises(QuotaExhaustedError) as over:
        alice.take("sae-bob", 8)

    assert over.value.missing_bits == 8


def test_a_new_map_holds_at_once_and_the_status_shows_it(ends):
    with ends.client("alice") as alice:
        alice.take("sae-bob", 1024)
        path = ends.folder / "alice" / "applications.toml"
        path.write_text(path.read_text().replace("= 1024", "= 2048"))
        ends.run(ends.deliveries[0].reload())
        alice.take("sae-bob", 1024)
        with pytest.raises(QuotaExhaustedError):
            alice.take("sae-bob", 8)
    ends.wait(lambda: ends.deliveries[0].report()["drawn_bits"] == {"sae-alice": 2048})
    report = ends.deliveries[0].report()

    assert report["quotas"] == {"sae-alice": {"quota_bits": 2048, "left_bits": 0}}
    assert report["orders_over_quota"] == 1
    assert ends.deliveries[1].report()["quotas"] == {"sae-bob": {"quota_bits": 1024, "left_bits": 1024}}


@pytest.mark.parametrize("quota", ["-1", "1.5", '"many"', "true", str(1 << 51)])
def test_a_quota_that_is_none_is_refused(tmp_path, quota):
    (tmp_path / "map.toml").write_text(f"[sae.one]\nquota_bits_per_day = {quota}\n")
    with pytest.raises(ConfigurationError, match=r"sae\.one\.quota_bits_per_day"):
        Identities.read(tmp_path / "map.toml")


def test_without_a_quota_nothing_limits():
    assert Identities(SaeFile.model_validate({"sae": {"one": {}, "two": {"quota_bits_per_day": 17}}})).quotas == {"two": 2}
