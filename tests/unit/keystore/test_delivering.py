"""Keys for applications in a pair of store files: allotted at one end, held and given at the other, through crashes and old copies."""

import json
import os
import shutil
import sqlite3
import time
from contextlib import closing

import pytest

from common.channel.codec import Party
from common.conversation.operations import CommitKeys, OpenBlock, ReadLedger, StageKeys
from common.errors import KeyAlreadyTakenError, KeyNotCommittedError, KeyNotFoundError, PeerNotMetError
from common.keystore import check, delivering
from common.keystore.interface import Piece
from common.keystore.orders import Announcement, Collection, HoldsTooMuchError, NotForYouError, Order, Round
from tests.support.keystores import distil, greet, opened, secret

WINDOW = 30.0


def order(count_keys=1, count_bytes=32, slaves=("slave",)):
    return Order(tuple(os.urandom(16) for _ in range(count_keys)), count_bytes, "master", slaves)


def collection(asked, slave="slave", request=b"r" * 32, master="master"):
    return Collection(slave, master, asked.key_ids, request)


class Pair:
    """Two store files with a clock of their own."""

    def __init__(self, folder):
        self.now = time.time()
        self.paths = folder / "alice.sqlite", folder / "bob.sqlite"
        self.open()
        distil((self.alice, self.bob), 80_000, greet((self.alice, self.bob)))

    def open(self):
        self.alice = opened(self.paths[0], clock=lambda: self.now)
        self.bob = opened(self.paths[1], Party.BOB, clock=lambda: self.now)

    def close(self):
        self.alice.close()
        self.bob.close()

    def deliver(self, *orders):
        """The keys as the master gets them, held for the slaves at the other end."""
        allotment = self.alice.serve(Round(orders)).allotment
        assert allotment is not None
        held = self.bob.serve(Round(announcements=(Announcement(allotment.handout.pieces, allotment.orders),))).held
        assert held == (None,)
        return allotment.keys

    def collect(self, *collections, window=WINDOW):
        return self.bob.serve(Round(collections=collections, repeat_seconds=window)).collected


@pytest.fixture
def pair(tmp_path):
    made = Pair(tmp_path)
    yield made
    made.close()
    assert check.faults(*made.paths) == []


def test_what_one_end_gives_the_other_holds_in_the_order_asked_for(pair):
    one, other = order(3, 5), order(1, 1000)
    keys = pair.deliver(one, other)
    turned = Collection("slave", "master", one.key_ids[::-1], b"q" * 32)

    assert [len(key) for key in keys[0]] == [5, 5, 5]
    assert pair.collect(turned, collection(other)) == (keys[0][::-1], keys[1])


def test_a_key_is_given_once_and_the_same_request_is_repeated_only_within_the_window(pair):
    asked = order()
    (keys,) = pair.deliver(asked)

    assert pair.collect(collection(asked)) == (keys,)
    pair.now += WINDOW - 1
    assert pair.collect(collection(asked)) == (keys,)
    (other,) = pair.collect(collection(asked, request=b"o" * 32))
    assert isinstance(other, KeyNotFoundError)
    pair.now += 2
    assert isinstance(pair.collect(collection(asked))[0], KeyNotFoundError)
    assert pair.bob.let_go(WINDOW, 1e6) == 0
    assert pair.bob._database.integer("SELECT COUNT(*) FROM held_keys") == 0


def test_without_a_window_nothing_is_repeated(pair):
    asked = order()
    pair.deliver(asked)

    first, again = pair.collect(collection(asked), collection(asked), window=0.0)

    assert not isinstance(first, Exception)
    assert isinstance(again, KeyNotFoundError)


def test_a_clock_that_was_set_back_repeats_nothing(pair):
    asked = order()
    pair.deliver(asked)
    pair.collect(collection(asked))
    pair.now -= 3600

    assert isinstance(pair.collect(collection(asked))[0], KeyNotFoundError)


def test_only_those_named_get_a_key_and_each_of_them_once(pair):
    asked = order(slaves=("one", "two"))
    (keys,) = pair.deliver(asked)

    assert isinstance(pair.collect(collection(asked, "three"))[0], NotForYouError)
    assert isinstance(pair.collect(collection(asked, "one", master="another"))[0], NotForYouError)
    assert pair.collect(collection(asked, "one"), window=0.0) == (keys,)
    assert isinstance(pair.collect(collection(asked, "one"), window=0.0)[0], KeyNotFoundError)
    assert pair.collect(collection(asked, "two"), window=0.0) == (keys,)
    assert pair.bob._database.integer("SELECT COUNT(*) FROM held_keys") == 0


def test_a_request_gets_all_of_its_keys_or_none(pair):
    asked = order(2)
    (keys,) = pair.deliver(asked)
    mixed = Collection("slave", "master", (asked.key_ids[0], os.urandom(16)), b"m" * 32)

    assert isinstance(pair.collect(mixed)[0], KeyNotFoundError)
    assert pair.collect(collection(asked)) == (keys,)


def test_held_keys_and_repeated_requests_outlive_a_restart(pair):
    given, waiting = order(), order()
    keys = pair.deliver(given, waiting)
    pair.collect(collection(given))
    pair.close()
    pair.open()
    with pytest.raises(PeerNotMetError):
        pair.collect(collection(given))
    greet((pair.alice, pair.bob))

    assert pair.collect(collection(given), collection(waiting)) == (keys[0], keys[1])


def test_keys_that_nobody_fetches_are_destroyed_after_their_time(pair):
    asked = order(2)
    pair.deliver(asked)
    pair.now += 101

    assert pair.bob.let_go(WINDOW, 100.0) == 2
    assert isinstance(pair.collect(collection(asked))[0], KeyNotFoundError)


def test_orders_beyond_what_is_left_are_short_and_smaller_ones_behind_them_are_served(pair):
    left, _ = pair.alice.deliverable_bytes()
    too_long, last = order(1, left + 1), order(1, left)

    served = pair.alice.serve(Round((too_long, last)))

    assert served.short == (too_long,)
    assert served.allotment.orders == (last,)
    assert pair.alice.deliverable_bytes()[0] == 0


def test_key_that_was_allotted_and_never_held_is_skipped_at_the_other_end(pair):
    allotment = pair.alice.serve(Round((order(1, 100),))).allotment
    pair.close()
    pair.open()
    greet((pair.alice, pair.bob))
    ((handout, pieces),) = pair.alice.unsettled()

    pair.bob.skip(pieces)
    pair.bob.skip(pieces)
    pair.alice.serve(Round(settled=(handout,)))

    assert pieces == allotment.handout.pieces
    assert pair.alice.unsettled() == []
    assert pair.alice.deliverable_bytes() == tuple(reversed(pair.bob.deliverable_bytes()))
    announced = Announcement(allotment.handout.pieces, allotment.orders)
    assert isinstance(pair.bob.serve(Round(announcements=(announced,))).held[0], KeyAlreadyTakenError)


def test_key_that_is_held_stays_held_when_the_peer_settles(pair):
    asked = order()
    allotment = pair.alice.serve(Round((asked,))).allotment
    pair.bob.serve(Round(announcements=(Announcement(allotment.handout.pieces, allotment.orders),)))

    pair.bob.skip(allotment.handout.pieces)

    assert pair.collect(collection(asked)) == tuple(allotment.keys)


@pytest.mark.parametrize("length", [31, 33])
def test_pieces_that_are_not_as_long_as_the_keys_are_refused(pair, length):
    allotment = pair.alice.serve(Round((order(),))).allotment
    (piece,) = allotment.handout.pieces
    wrong = Announcement((Piece(piece.block, piece.first_byte, length),), allotment.orders)

    assert isinstance(pair.bob.serve(Round(announcements=(wrong,))).held[0], KeyNotFoundError)


def test_an_announcement_of_more_than_any_store_holds_leaves_the_others_of_its_round_alone(pair):
    """A peer that lies costs no application of this end its answer."""
    asked = order()
    (keys,) = pair.deliver(asked)
    pieces = tuple(Piece(block, 0, 1 << 40) for block in range(1, 9))
    endless = Announcement(pieces, (Order((os.urandom(16),), 8 << 40, "master", ("slave",)),))

    served = pair.bob.serve(Round(announcements=(endless,), collections=(collection(asked),), repeat_seconds=WINDOW))
    assert isinstance(served.held[0], KeyNotFoundError)
    assert served.collected == (keys,)


def test_one_announcement_that_is_refused_leaves_the_others_of_its_round_alone(pair):
    first, second = order(), order()
    one, two = (pair.alice.serve(Round((asked,))).allotment for asked in (first, second))
    stolen = Announcement(two.handout.pieces, (Order(first.key_ids, 32, "master", ("slave",)),))
    announced = (Announcement(one.handout.pieces, one.orders), stolen, Announcement(two.handout.pieces, two.orders))

    held = pair.bob.serve(Round(announcements=announced)).held

    assert [type(refused) for refused in held] == [type(None), KeyAlreadyTakenError, type(None)]
    assert pair.collect(collection(first), collection(second)) == (one.keys[0], two.keys[0])


def seized(store):
    """All key that who takes the file, its log and the master key can read, sealed pieces opened one by one."""
    database = store._database
    places = database.rows("SELECT pool, block, first_byte, count_bytes FROM pieces JOIN piece_keys USING (piece)")
    readable = []
    for pool, *place in places:
        key = bytearray(place[-1])
        store._shelf.read(pool, Piece(*place), memoryview(key))
        readable.append(bytes(key))
    return readable


@pytest.mark.parametrize("is_held", [True, False])
def test_a_key_that_was_given_is_in_neither_file_and_what_is_left_is_served(pair, is_held):
    asked = [order() for _ in range(3)]
    given = []
    for one in asked:
        if is_held:
            given += pair.deliver(one)[0]
        else:
            allotment = pair.alice.serve(Round((one,))).allotment
            pair.bob.skip(allotment.handout.pieces)
            given += allotment.keys[0]
    pair.collect(*map(collection, asked), window=0.0)

    assert not any(bytes(key) in piece for store in (pair.alice, pair.bob) for piece in seized(store) for key in given)
    left, _ = pair.alice.deliverable_bytes()
    whole = order(1, left)
    assert pair.deliver(whole) == list(pair.collect(collection(whole)))
    assert pair.alice.deliverable_bytes()[0] == 0


def test_a_piece_spent_out_of_order_keeps_its_gaps_and_nothing_else(pair):
    asked = [order(1, 100) for _ in range(4)]
    allotments = [pair.alice.serve(Round((one,))).allotment for one in asked]
    announced = [Announcement(one.handout.pieces, one.orders) for one in allotments]

    assert pair.bob.serve(Round(announcements=(announced[2], announced[0]))).held == (None, None)
    held_back = [any(bytes(one.keys[0][0]) in piece for piece in seized(pair.bob)) for one in allotments]
    assert held_back == [False, True, False, True]
    assert pair.bob.serve(Round(announcements=(announced[1], announced[3]))).held == (None, None)
    assert not any(bytes(one.keys[0][0]) in piece for piece in seized(pair.bob) for one in allotments)
    assert pair.collect(*map(collection, asked)) == tuple(one.keys[0] for one in allotments)


def test_a_store_of_before_destroys_when_it_is_opened_what_it_has_given(pair, monkeypatch):
    with monkeypatch.context() as before:
        before.setattr("common.keystore.blocks.RESEALED", frozenset())
        (keys,) = pair.deliver(order())
    assert any(bytes(keys[0]) in piece for piece in seized(pair.alice))
    pair.close()
    pair.open()
    greet((pair.alice, pair.bob))

    assert not any(bytes(keys[0]) in piece for store in (pair.alice, pair.bob) for piece in seized(store))
    again = order()
    assert pair.deliver(again) == list(pair.collect(collection(again)))


def test_wrapped_keys_that_were_destroyed_are_neither_in_file_nor_log_after_tidying(pair):
    ((wrapped,),) = pair.alice._database.rows(
        "SELECT wrapped FROM piece_keys JOIN pieces USING (piece) WHERE pool = 'alice-delivery' ORDER BY block, first_byte LIMIT 1"
    )
    pair.deliver(order())
    pair.alice.let_go(WINDOW, 1e6)

    files = [path.read_bytes() for path in pair.paths[0].parent.glob("alice.sqlite*")]
    assert len(files) > 1
    assert not any(wrapped in content for content in files)


def staged_at_bob(pair, count_bits=80_000):
    """A block that Alice has committed and Bob has only staged; what was there before is allotted."""
    block = pair.alice.apply(ReadLedger()).next_block
    for store in (pair.alice, pair.bob):
        store.apply(OpenBlock(block))
        store.apply(StageKeys({block: secret(block, count_bits)}))
    pair.deliver(order(1, pair.alice.deliverable_bytes()[0]))
    pair.alice.apply(CommitKeys((block,)))
    return block


def test_key_of_a_block_that_is_staged_here_is_held_once_it_is_committed(pair):
    block, asked = staged_at_bob(pair), order()
    allotment = pair.alice.serve(Round((asked,))).allotment
    announced = Announcement(allotment.handout.pieces, allotment.orders)

    assert isinstance(pair.bob.serve(Round(announcements=(announced,))).held[0], KeyNotCommittedError)
    with pytest.raises(KeyNotCommittedError):
        pair.bob.skip(allotment.handout.pieces)
    pair.bob.apply(CommitKeys((block,)))
    assert pair.bob.serve(Round(announcements=(announced,))).held == (None,)
    assert pair.collect(collection(asked)) == tuple(allotment.keys)


def test_no_more_keys_are_held_than_may_be(pair, monkeypatch):
    monkeypatch.setattr(delivering, "MOST_HELD_KEYS", 3)
    first, second = order(2), order(2)
    pair.deliver(first)
    allotment = pair.alice.serve(Round((second,))).allotment
    announced = Round(announcements=(Announcement(allotment.handout.pieces, allotment.orders),))

    assert isinstance(pair.bob.serve(announced).held[0], HoldsTooMuchError)
    pair.collect(collection(first), window=0.0)
    pair.bob.let_go(0.0, 1e6)
    assert pair.bob.serve(announced).held == (None,)


def test_what_is_let_go_at_a_time_is_bounded_and_all_of_it_goes(pair, monkeypatch):
    monkeypatch.setattr(delivering, "MOST_LET_GO", 2)
    given, late = order(3), order(3)
    pair.deliver(given, late)
    pair.collect(collection(given), window=0.0)
    pair.now += 101

    assert [pair.bob.let_go(0.0, 100.0) for _ in range(3)] == [2, 1, 0]
    assert pair.bob._database.integer("SELECT COUNT(*) FROM held_keys") == 0


def test_repeated_keys_behind_their_window_are_let_go_a_few_at_a_time(pair, monkeypatch):
    monkeypatch.setattr(delivering, "MOST_LET_GO", 2)
    given = order(3)
    pair.deliver(given)
    pair.collect(collection(given))
    pair.now += WINDOW + 1
    left = []
    for _ in range(2):
        pair.bob.let_go(WINDOW, 1e6)
        left.append(pair.bob._database.integer("SELECT COUNT(*) FROM held_keys"))

    assert left == [1, 0]
    assert pair.bob._database.integer("SELECT COUNT(*) FROM claims") == 0


def test_allotments_that_are_unsettled_are_listed_whole_and_page_by_page(pair, monkeypatch):
    monkeypatch.setattr(delivering, "MOST_UNSETTLED", 2)
    handouts = [pair.alice.serve(Round((order(),))).allotment.handout for _ in range(3)]

    first = pair.alice.unsettled()
    second = pair.alice.unsettled(first[-1][0])
    assert [*first, *second] == [(handout.number, handout.pieces) for handout in handouts]
    assert pair.alice.unsettled(second[-1][0]) == []
    for _, pieces in (*first, *second):
        pair.bob.skip(pieces)


def test_the_worst_epsilon_is_that_of_the_blocks_left_and_a_block_without_facts_has_none(pair):
    distil((pair.alice, pair.bob), 80_000)
    epsilons = [pair.alice.worst_epsilon()]
    for block, value in ((1, 1e-6), (2, 1e-10)):
        pair.alice.note_facts(block, json.dumps({"epsilon": {"secrecy": value}}))
        epsilons.append(pair.alice.worst_epsilon())
    ((left,),) = pair.alice._database.integers("SELECT left_bytes FROM parts WHERE block = 1 AND pool = 'alice-delivery'")
    pair.deliver(order(1, left))

    assert epsilons == [1.0, 1.0, 1e-6]
    assert pair.alice.worst_epsilon() == 1e-10


def test_an_old_copy_forgoes_what_it_held(pair, tmp_path):
    asked = order()
    pair.deliver(asked)
    pair.close()
    copy = tmp_path / "copy"
    shutil.copy(pair.paths[1], copy)
    pair.open()
    greet((pair.alice, pair.bob))
    pair.collect(collection(asked), window=0.0)
    pair.bob.close()
    shutil.copy(copy, pair.paths[1])
    pair.bob = opened(pair.paths[1], Party.BOB)
    greet((pair.alice, pair.bob))

    assert isinstance(pair.collect(collection(asked))[0], KeyNotFoundError)


def test_no_key_is_in_a_repr(pair):
    asked = order()
    allotment = pair.alice.serve(Round((asked,))).allotment

    assert bytes(allotment.keys[0][0]).hex() not in repr(allotment)
    assert repr(bytes(allotment.keys[0][0])) not in repr(allotment)
    allotment.wipe()
    assert allotment.keys == [[bytearray(32)]]


def spoil(path):
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE pieces SET sealed = zeroblob(length(sealed)) WHERE pool = 'alice-delivery' AND block = 1")


def test_key_that_went_bad_at_one_end_is_given_to_nobody_at_the_other(pair):
    spoil(pair.paths[1])
    allotment = pair.alice.serve(Round((order(),))).allotment
    (refused,) = pair.bob.serve(Round(announcements=(Announcement(allotment.handout.pieces, allotment.orders),))).held

    assert "block 1, alice-delivery" in str(refused)
    assert pair.collect(collection(allotment.orders[0]))[0].args == ("no such key is held here",)
    assert pair.bob.levels().damaged_blocks == (1,)
    spoil(pair.paths[0])
    served = pair.alice.serve(Round((order(),)))
    assert served.allotment is None
    assert len(served.short) == 1
    assert pair.alice.levels().damaged_blocks == (1,)
    distil((pair.alice, pair.bob), 80_000, greet((pair.alice, pair.bob)))
    asked = order()
    assert pair.deliver(asked) == [pair.collect(collection(asked))[0]]
