"""Pools that balance themselves: an end that runs dry is given key by the other, over the line; a node told to keeps its pools."""

import time

import pytest

from common.channel.codec import Party
from common.errors import KeyExhaustedError
from common.keystore.ownership import Pool
from tests.support.deliveries import DeliveringEnds

BLOCK_BITS = 8 * (2 * 5000 + 32)


@pytest.fixture(autouse=True)
def often(monkeypatch):
    monkeypatch.setattr("common.delivery.desk.BALANCE_SECONDS", 0.05)


def levels(ends, pool):
    return [store.levels().pool_bits[pool] // 8 for store in ends.stores.values()]


def test_an_end_that_runs_dry_goes_on_with_key_of_the_other_and_it_is_the_same_there(tmp_path):
    ends = DeliveringEnds(tmp_path, BLOCK_BITS)
    count_taken, until = 0, time.monotonic() + 30
    with ends.client("alice") as alice, ends.client("bob") as bob:
        while count_taken < 8 and time.monotonic() < until:
            try:
                keys = alice.take_many("sae-bob", 1, 8000)
            except KeyExhaustedError:
                time.sleep(0.05)
                continue
            count_taken += 1
            assert [key.secret for key in bob.fetch_many("sae-alice", [key.key_id for key in keys])] == [key.secret for key in keys]
    ends.wait(lambda: levels(ends, Pool.ALICE_DELIVERY)[0] == levels(ends, Pool.ALICE_DELIVERY)[1])
    left = [levels(ends, pool)[0] for pool in (Pool.ALICE_DELIVERY, Pool.BOB_DELIVERY)]
    moved = [delivery.report()["bytes_moved"] for delivery in ends.deliveries]
    ends.stop()

    assert count_taken == 8, "more than the five thousand bytes that were Alice's"
    assert sum(left) == 10_000 - 8000
    assert moved[0] == 0
    assert moved[1] >= 3000
    assert ends.faults() == []


def test_an_answer_that_is_lost_is_asked_for_again(tmp_path, monkeypatch):
    ends = DeliveringEnds(tmp_path, BLOCK_BITS, peer_seconds=0.2)
    store = ends.stores[Party.ALICE]
    accept, calls = store.accept_move, []

    def once_in_vain(move):
        calls.append(move)
        accept(move)
        if len(calls) == 1:
            raise KeyExhaustedError("the answer is lost")
        return accept(move)

    monkeypatch.setattr(store, "accept_move", once_in_vain)
    with ends.client("alice") as alice:
        alice.take_many("sae-bob", 4, 8000)
    ends.wait(lambda: ends.deliveries[1].report()["bytes_moved"] > 0)
    ends.stop()

    assert calls[0] == calls[1]
    assert ends.faults() == []


def test_a_node_that_is_told_to_keeps_its_pools(tmp_path):
    ends = DeliveringEnds(tmp_path, BLOCK_BITS, balance_pools=False)
    with ends.client("alice") as alice:
        alice.take_many("sae-bob", 5, 7992)
    time.sleep(0.5)
    left = levels(ends, Pool.BOB_DELIVERY)
    ends.stop()

    assert left == [5000, 5000]


def test_a_node_that_refuses_all_is_given_no_more_for_a_while(tmp_path, monkeypatch):
    ends = DeliveringEnds(tmp_path, BLOCK_BITS, BLOCK_BITS)
    refused = []

    def refuse(move):
        refused.append(move)
        return False

    monkeypatch.setattr(ends.stores[Party.ALICE], "accept_move", refuse)
    with ends.client("alice") as alice:
        alice.take_many("sae-bob", 10, 8000)
    ends.wait(lambda: bool(refused))
    time.sleep(0.5)
    left = levels(ends, Pool.BOB_DELIVERY)[1]
    moved = ends.deliveries[1].report()["bytes_moved"]
    ends.stop()

    assert len(refused) == 1, "ten rounds of the balance later"
    assert (left, moved) == (5000, 0)
