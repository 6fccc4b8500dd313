"""What applications may have in a day: counted on disk, in no 24 hours more, whatever is restarted and whatever the clock does."""

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.keystore.database import Database
from common.keystore.orders import Order, Round
from common.keystore.quotas import SLOT_SECONDS, SLOTS_COUNTED, Drawn
from tests.support.keystores import distil, greet
from tests.unit.keystore.test_delivering import Pair

DAY = 24 * 3600.0
QUOTAS = {"master": 100}


@pytest.fixture
def pair(tmp_path):
    made = Pair(tmp_path)
    made.now = 1_000_000 * SLOT_SECONDS + 1.0
    yield made
    made.close()


def asked(pair, count_bytes, master="master", quotas=QUOTAS):
    """What was served of one order, and what the quota said."""
    order = Order((os.urandom(16),), count_bytes, master, ("slave",))
    served = pair.alice.serve(Round((order,), quotas=quotas))
    return served.allotment is not None, served.over[0][1] if served.over else None


def test_a_quota_is_given_out_and_no_more(pair):
    assert asked(pair, 60) == (True, None)
    assert asked(pair, 40) == (True, None)
    given, allowance = asked(pair, 1)

    assert not given
    assert (allowance.quota_bytes, allowance.left_bytes) == (100, 0)
    assert allowance.wait_seconds == DAY + SLOT_SECONDS - 1


def test_a_refused_order_spends_nothing(pair):
    before = pair.alice.deliverable_bytes()
    asked(pair, 101)

    assert pair.alice.deliverable_bytes() == before
    assert pair.alice.drawn_bytes() == {}


def test_orders_of_one_round_are_counted_together_and_others_are_served(pair):
    orders = tuple(Order((os.urandom(16),), 40, master, ("slave",)) for master in ("master", "other", "master", "master"))
    served = pair.alice.serve(Round(orders, quotas=QUOTAS))

    assert served.allotment.orders == orders[:3]
    assert [order for order, _ in served.over] == [orders[3]]
    assert pair.alice.drawn_bytes() == {"master": 80, "other": 40}


def test_what_was_taken_without_a_quota_counts_once_there_is_one(pair):
    asked(pair, 90, quotas={})

    assert asked(pair, 20)[1].left_bytes == 10


def test_a_restart_forgets_nothing(pair):
    asked(pair, 100)
    pair.close()
    pair.open()
    greet((pair.alice, pair.bob))

    assert asked(pair, 1)[1].left_bytes == 0


def test_key_counts_for_a_day_and_the_wait_is_as_long_as_it_was_said(pair):
    asked(pair, 30)
    pair.now += 3600
    asked(pair, 70)
    _, allowance = asked(pair, 20)
    pair.now += allowance.wait_seconds - 1
    early = asked(pair, 20)
    pair.now += 1

    assert allowance.wait_seconds == DAY + SLOT_SECONDS - 1 - 3600
    assert not early[0]
    assert asked(pair, 30) == (True, None)
    assert not asked(pair, 1)[0]


def test_more_than_the_quota_is_never_enough(pair):
    assert asked(pair, 101)[1].wait_seconds is None
    assert asked(pair, 1, quotas={"master": 0})[1].wait_seconds is None


def test_a_clock_that_is_set_back_frees_nothing(pair):
    asked(pair, 100)
    pair.now -= 10 * DAY

    assert not asked(pair, 1)[0]


def test_what_counts_no_longer_is_removed(pair):
    asked(pair, 100)
    pair.now += DAY + SLOT_SECONDS - 2
    pair.alice.let_go(30.0, 1e9)
    assert pair.alice._database.integer("SELECT COUNT(*) FROM drawn") == 1
    pair.now += 1
    pair.alice.let_go(30.0, 1e9)

    assert pair.alice._database.integer("SELECT COUNT(*) FROM drawn") == 0


def test_orders_that_find_no_key_do_not_count(pair):
    left, _ = pair.alice.deliverable_bytes()
    given, allowance = asked(pair, left + 1, quotas={"master": 10 * left})

    assert (given, allowance) == (False, None)
    assert pair.alice.drawn_bytes() == {}


def test_a_store_of_the_version_before_counts_the_orders_of_its_last_day(tmp_path):
    pair = Pair(tmp_path)
    distil((pair.alice, pair.bob), 8000)
    asked(pair, 60, quotas={})
    for later in ("drawn", "moves"):
        pair.alice._database.rows(f"DROP TABLE {later}")
    pair.alice._database.rows("PRAGMA user_version = 4")
    pair.close()
    pair.open()
    greet((pair.alice, pair.bob))

    assert pair.alice.drawn_bytes() == {"master": 60}
    pair.close()


@given(
    steps=st.lists(st.tuples(st.floats(0, 2 * DAY / 3), st.integers(1, 60)), max_size=30),
    begin=st.floats(1e9, 1e9 + SLOT_SECONDS),
)
@settings(max_examples=50, deadline=None)
def test_no_24_hours_give_more_than_the_quota(steps, begin, tmp_path_factory):
    database = Database(tmp_path_factory.mktemp("drawn") / "store.sqlite")
    drawn, now, given_at = Drawn(database), begin, list[tuple[float, int]]()
    for pause, count_bytes in steps:
        now += pause
        order = Order((os.urandom(16),), count_bytes, "master", ("slave",))
        allowed, over = drawn.within([order], QUOTAS, now)
        with database.transaction(durable=False):
            drawn.note(allowed, now)
            drawn.forget(now)
        if allowed:
            given_at.append((now, count_bytes))
        else:
            recent = sum(count for at, count in given_at if at > now - SLOTS_COUNTED * SLOT_SECONDS)
            assert recent + count_bytes > QUOTAS["master"], "refused without need"
        assert bool(allowed) != bool(over)
    database.close()

    for at, _ in given_at:
        assert sum(count for other, count in given_at if at - DAY < other <= at) <= QUOTAS["master"]
