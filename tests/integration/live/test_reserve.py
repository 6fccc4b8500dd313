"""The authentication reserve in service: refilled by the link itself, empty, renewed by hand; a hash key given up; an old copy put back."""

import shutil
import sqlite3
from contextlib import closing

import pytest

from common.channel.pairs import is_hash_key
from common.cli.provisioning import renew
from common.cli.status import summary
from common.keystore import check
from common.keystore.masks import GENERATION_PAIRS
from tests.integration.live.processes import LiveLink

NODES = ("alice", "bob")
SECRETS_BYTES = 64
"""What stands before the masks in the authentication secret."""


def provisioned(folder, count_pairs, target=None):
    """A link whose ends were given few pairs."""
    live = LiveLink(folder)
    for name in NODES:
        secret = folder / name / "authentication.secret"
        secret.write_bytes(secret.read_bytes()[: SECRETS_BYTES + 32 * count_pairs])
        if target is not None:
            live.replace(name, 'master_key = "master.key"', f'master_key = "master.key"\nreserve_target_pairs = {target}')
    return live


def stores(link):
    return [link.folder / name / "state" / "store.sqlite" for name in NODES]


def reserves(link):
    return [link.status(name)["authentication_reserve"] for name in NODES]


def test_an_empty_reserve_is_said_keeps_the_link_from_key_and_is_renewed_while_it_runs(tmp_path):
    link = provisioned(tmp_path / "n", 3, target=0)
    try:
        link.start()
        link.wait_until(
            lambda live: all(live.status(name)["blocks_discarded"].get("masks-exhausted", 0) >= 2 for name in NODES), "blocks without masks"
        )
        for name in NODES:
            status = link.status(name)
            assert status["blocks_kept"] >= 3  # a pair of masks serves a group of blocks
            assert status["authentication_reserve"]["empty"]
            assert "EMPTY: give both nodes fresh masks: qkd provision --renew DIR" in summary(status)
            assert '"event": "authentication reserve empty: no block can be authenticated"' in link.log(name)
        assert link.status("alice")["store"]["pools"] == link.status("bob")["store"]["pools"]

        kept = {name: link.status(name)["blocks_kept"] for name in NODES}
        assert renew(link.folder) == 1
        link.wait_until(lambda live: all(live.status(name)["blocks_kept"] >= kept[name] + 2 for name in NODES), "blocks after the renewal")
        for name, reserve in zip(NODES, reserves(link), strict=True):
            assert reserve["cursor"] > GENERATION_PAIRS
            assert not reserve["empty"]
            assert '"event": "renewed masks taken in"' in link.log(name)
            assert '"masks renewed"' in (link.folder / name / "state" / "audit.jsonl").read_text()
        for name in NODES:
            link.stop(name)
        assert check.faults(*stores(link)) == []
    finally:
        link.close()


@pytest.fixture(scope="module")
def link(tmp_path_factory):
    live = provisioned(tmp_path_factory.mktemp("reserve") / "n", 9)
    live.start()
    try:
        live.wait_for_blocks(2)
        yield live
    finally:
        live.close()


def test_the_reserve_is_refilled_from_the_links_own_key_before_anybody_gets_any(link):
    for name in NODES:
        status = link.status(name)
        reserve = status["authentication_reserve"]
        assert reserve["target_pairs"] - reserve["pairs"] <= 3, "one pair a block, brought back by the same block"
        assert status["store"]["pools"]["authentication-reserve"] > 100 * 256
        assert not reserve["low"]
        assert reserve["hash_key"] == 0


def test_a_hash_key_that_one_end_has_given_up_is_replaced_at_both_ends(link):
    link.stop("bob")
    with closing(sqlite3.connect(stores(link)[1])) as connection, connection:
        connection.execute("UPDATE hash_key SET least = 1")
    link.start("bob")
    link.wait_until(lambda live: live.status("bob")["blocks_kept"] >= 1, "blocks under another hash key")

    numbers = {reserve["hash_key"] for reserve in reserves(link)}
    assert len(numbers) == 1
    assert all(is_hash_key(number) for number in numbers)
    link.kill("alice")
    link.start("alice")
    link.wait_until(lambda live: live.status("alice")["blocks_kept"] >= 1, "blocks after a restart")
    assert {reserve["hash_key"] for reserve in reserves(link)} == numbers, "it is kept, sealed, until a tag is wrong"


def taken_pad(link, name):
    return bytes(link.take_pad(name, 256)[1])


@pytest.mark.parametrize(("name", "with_note"), [("alice", True), ("bob", False)])
def test_a_store_put_back_from_an_old_copy_hands_nothing_out_twice(link, name, with_note, tmp_path):
    """Stopped, copied, run on, stopped, put back, started: the copy knows nothing of what was handed out since."""
    peer = next(other for other in NODES if other != name)
    link.stop(name)
    state = link.folder / name / "state"
    kept = [path for path in state.glob("store.sqlite*") if not path.name.endswith(".lock") and (with_note or "handouts" not in path.name)]
    for path in kept:
        shutil.copy2(path, tmp_path)
    link.start(name)
    link.wait_until(lambda live: live.status(name)["blocks_kept"] >= 1, "a block the copy knows nothing of")
    taken = [taken_pad(link, name) for _ in range(4)]
    before = link.status(name)["authentication_reserve"]
    link.stop(name)
    for path in state.glob("store.sqlite*"):
        if path.name.endswith(("-wal", "-shm")):
            path.unlink()
    for path in tmp_path.glob("store.sqlite*"):
        shutil.copy2(path, state)
    link.start(name)
    link.wait_until(lambda live: live.status(name)["blocks_kept"] >= 1, "a block after the old copy was put back")

    reserve = link.status(name)["authentication_reserve"]
    assert reserve["cursor"] > before["cursor"], "masks go on behind those of the other end"
    assert reserve["hash_key"] > before["hash_key"], "the copy may not know which hash keys it gave up"
    again = [taken_pad(link, name) for _ in range(4)]
    chunks = [key[start : start + 16] for key in taken + again for start in range(0, len(key), 16)]
    assert len(set(chunks)) == len(chunks), "key was handed out twice"
    named, ours = link.take_pad(name, 100)
    _, theirs = link.follow_pad(peer, named["pieces"])
    assert ours == theirs
    named, theirs = link.take_pad(peer, 100)
    _, ours = link.follow_pad(name, named["pieces"])
    assert ours == theirs


def test_both_ledgers_agree_after_all_of_it(link):
    for name in NODES:
        link.stop(name)
    assert check.faults(*stores(link)) == []
