"""Key moves from one delivery pool to the other: what both ends then hold, what is refused, what a kill within a change leaves."""

import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.channel.codec import Party
from common.errors import KeyAlreadyTakenError, KeyNotCommittedError, KeyStoreError, PeerNotMetError
from common.keystore import check, rotation, shelf
from common.keystore.moves import FULLER, LEAST_MOVED_BYTES, MOST_MOVED_BYTES, Move, count_to_give
from common.keystore.orders import Announcement, Order, Round
from common.keystore.ownership import DELIVERIES
from common.keystore.sealing import MasterKey
from tests.support.keystores import distil, opened
from tests.support.moving_ends import BLOCK_BITS, PART_BYTES, RULE, MovingEnds

GIVEN = DELIVERIES[Party.ALICE].value


@pytest.fixture
def ends(tmp_path):
    made = MovingEnds(tmp_path)
    for _ in range(2):
        distil(made.both, BLOCK_BITS)
    yield made
    made.close()
    assert check.faults(*made.paths.values()) == []


def moved(ends, count_bytes, giver=Party.ALICE):
    """The whole conversation, undisturbed."""
    move = ends.stores[giver].offer_move(count_bytes)
    if move is not None:
        ends.stores[giver].settle_move(move, is_accepted=ends.stores[giver.peer].accept_move(move))
    return move


def left(ends, party):
    """Bytes left of the pool of ``party``, as each end counts them."""
    return ends.stores[party].deliverable_bytes()[0], ends.stores[party.peer].deliverable_bytes()[1]


def test_what_moves_is_delivered_by_the_other_end_and_is_the_same_there(ends):
    assert moved(ends, 3000) == Move(1, 0, 3000, PART_BYTES)

    assert left(ends, Party.ALICE) == (7000, 7000)
    assert left(ends, Party.BOB) == (13_000, 13_000)
    assert ends.deliver_all() == 20_000


def test_moves_in_both_directions_lie_one_behind_the_other(ends):
    for party, count_bytes in ((Party.ALICE, 700), (Party.BOB, 300), (Party.ALICE, 4300), (Party.BOB, 9999)):
        moved(ends, count_bytes, party)

    assert ends.deliver_all() == 20_000


def test_a_move_stays_within_a_block(ends):
    ends.deliver(Party.ALICE, 4900)

    assert moved(ends, 3000).count_bytes == 100


def test_no_key_moves_before_the_peer_was_met(tmp_path):
    store = opened(tmp_path / "alice.sqlite", rule=RULE)
    with pytest.raises(PeerNotMetError):
        store.offer_move(100)
    with pytest.raises(PeerNotMetError):
        store.accept_move(Move(1, 0, 100, PART_BYTES))
    store.close()


def test_what_is_offered_is_in_nobodys_hands_until_it_is_accepted(ends):
    ends.stores[Party.ALICE].offer_move(5000)

    assert left(ends, Party.ALICE)[0] == 5000, "no longer with the giver"
    assert left(ends, Party.BOB)[0] == 10_000, "not yet with the receiver"
    assert ends.deliver_all() == 15_000


def test_the_giver_follows_in_what_it_gave_once_it_knows_that_it_was_accepted(ends):
    alice, bob = ends.both
    move = alice.offer_move(1000)
    bob.accept_move(move)
    order = Order((bytes(16),), PART_BYTES + 500, "master", ("slave",))
    allotment = bob.serve(Round((order,))).allotment
    announced = Round(announcements=(Announcement(allotment.handout.pieces, allotment.orders),))

    (refused,) = alice.serve(announced).held
    assert isinstance(refused, KeyNotCommittedError), "the peer asks again"
    alice.settle_move(move, is_accepted=True)
    assert alice.serve(announced).held == (None,)
    bob.serve(Round(settled=(allotment.handout.number,)))


def test_a_message_that_is_repeated_changes_nothing_and_one_move_is_under_way_at_a_time(ends):
    alice, bob = ends.both
    move = alice.offer_move(1000)
    assert alice.offer_move(2000) == move
    assert [bob.accept_move(move) for _ in range(3)] == [True] * 3
    alice.settle_move(move, is_accepted=True)
    alice.settle_move(move, is_accepted=False)

    assert alice.offer_move(0) is None
    assert left(ends, Party.BOB) == (11_000, 11_000)


@pytest.mark.parametrize("other", [{"block": 99}, {"target_byte": 4999}, {"count_bytes": 1 << 50}, {"count_bytes": 0}, {"block": 1 << 62}])
def test_a_move_that_does_not_fit_is_refused_and_the_key_is_lost_to_both(ends, other):
    alice, bob = ends.both
    move = alice.offer_move(1000)
    wrong = Move(**({name: getattr(move, name) for name in Move.__slots__} | other))

    assert [bob.accept_move(wrong) for _ in range(2)] == [False, False]
    alice.settle_move(move, is_accepted=False)
    assert moved(ends, 100).block == 2, "none of a block in which one was refused"
    assert ends.deliver_all() == 19_000


def test_more_than_moves_at_a_time_is_refused_before_memory_is_asked_for(ends, monkeypatch):
    monkeypatch.setattr("common.keystore.moving.MOST_MOVED_BYTES", 100)
    assert not ends.stores[Party.BOB].accept_move(Move(1, 0, 101, PART_BYTES))


def test_a_move_to_a_place_that_is_taken_is_refused(ends):
    """As an end that was put back from an old copy of everything, the note beside the store included, would offer it."""
    moved(ends, 1000)

    assert not ends.stores[Party.BOB].accept_move(Move(1, 1000, 1000, PART_BYTES))
    assert not ends.stores[Party.BOB].accept_move(Move(1, 0, 999, PART_BYTES))
    assert ends.stores[Party.BOB].accept_move(Move(1, 0, 1000, PART_BYTES))


def test_a_block_that_is_staged_is_answered_later(ends):
    bob = ends.stores[Party.BOB]
    bob._database.rows("UPDATE blocks SET state = 'staged' WHERE block = 1")
    move = ends.stores[Party.ALICE].offer_move(1000)
    with pytest.raises(KeyNotCommittedError):
        bob.accept_move(move)
    bob._database.rows("UPDATE blocks SET state = 'committed' WHERE block = 1")

    assert bob.accept_move(move)
    ends.stores[Party.ALICE].settle_move(move, is_accepted=True)


@pytest.mark.parametrize("end", list(Party))
def test_key_that_is_damaged_on_disk_is_not_moved(ends, end):
    ends.stores[end]._database.rows("UPDATE pieces SET sealed = zeroblob(length(sealed)) WHERE block = 1 AND pool = ?", (GIVEN,))
    move = moved(ends, 1000)

    assert (move is None) is (end is Party.ALICE)
    assert moved(ends, 1000).block == 2
    ends.deliver_all(Party.BOB)


def test_what_lies_before_damaged_key_is_moved_and_what_lies_behind_it_delivered(ends, monkeypatch):
    monkeypatch.setitem(shelf._STEPS, GIVEN, 1000)
    block = distil(ends.both, BLOCK_BITS)
    ends.deliver(Party.ALICE, 2 * PART_BYTES)
    alice = ends.stores[Party.ALICE]
    alice._database.rows(
        "UPDATE pieces SET sealed = zeroblob(length(sealed)) WHERE block = ? AND pool = ? AND first_byte = 2000", (block, GIVEN)
    )

    assert moved(ends, 4000).count_bytes == 2000
    assert moved(ends, 4000) is None
    assert alice.levels().damaged_blocks == (block,)
    assert ends.deliver_all(Party.ALICE) == 2000


def test_the_giver_keeps_no_sealed_copy_where_the_key_lay(ends):
    moved(ends, 5000)

    for store in ends.both:
        assert not store._database.rows("SELECT 1 FROM pieces JOIN piece_keys USING (piece) WHERE block = 1 AND pool = ?", (GIVEN,))


@pytest.mark.parametrize("altered", ["from_byte = 1000", "to_byte = 77", "count_bytes = 999", "block = 0", "handout = 77"])
def test_a_move_whose_row_was_altered_is_not_told_and_its_block_is_listed_as_damaged(tmp_path, altered):
    ends = MovingEnds(tmp_path)
    distil(ends.both, BLOCK_BITS)
    move = ends.stores[Party.ALICE].offer_move(1000)
    assert move
    assert ends.stores[Party.BOB].accept_move(move)
    ends.stores[Party.ALICE]._database.rows("PRAGMA foreign_keys = OFF")
    ends.stores[Party.ALICE]._database.rows(f"UPDATE moves SET {altered}")
    assert ends.stores[Party.ALICE].offer_move(0) is None
    ends.reopen(Party.ALICE)

    assert ends.stores[Party.ALICE].levels().damaged_blocks == (1,)
    assert ends.stores[Party.ALICE].offer_move(1000) is None
    assert ends.deliver_all() == 2 * PART_BYTES, "what the other end has by then it keeps"
    ends.close()
    assert any("was altered" in fault for fault in check.faults(*ends.paths.values()))


def test_an_end_put_back_with_all_that_belongs_to_it_splits_no_key(tmp_path):
    """From a snapshot of its machine, no block made since: nothing shows it, and it offers other key for a place that is taken."""
    ends = MovingEnds(tmp_path)
    distil(ends.both, BLOCK_BITS)
    alice, bob = ends.both
    alice._database.write_back()
    files = [ends.paths[Party.ALICE], tmp_path / "alice.sqlite.handouts"]
    snapshot = [path.read_bytes() for path in files]
    moved(ends, 1000)
    ends.kill(Party.ALICE)
    for path, content in zip(files, snapshot, strict=True):
        path.write_bytes(content)
    alice = ends.stores[Party.ALICE] = ends.opened(Party.ALICE)
    ends.greet()
    spent = ends.allot(Party.ALICE, 300)
    assert spent
    refused = ends.hold(Party.ALICE, spent)
    move = alice.offer_move(1000)
    ends.deliver(Party.BOB, PART_BYTES)
    from_what_moved = ends.allot(Party.BOB, 500)
    assert from_what_moved

    assert isinstance(refused, KeyAlreadyTakenError)
    assert move == Move(1, 300, 1000, PART_BYTES)
    assert isinstance(ends.hold(Party.BOB, from_what_moved), KeyNotCommittedError), "at the giver other key lies there"
    assert not bob.accept_move(move)
    alice.settle_move(move, is_accepted=False)
    assert isinstance(ends.hold(Party.BOB, from_what_moved), KeyAlreadyTakenError)
    ends.deliver_all()
    ends.close()


def test_a_store_that_forgoes_its_key_gives_none(tmp_path):
    ends = MovingEnds(tmp_path)
    distil(ends.both, BLOCK_BITS)
    path = ends.paths[Party.ALICE]
    ends.stores[Party.ALICE]._database.write_back()
    shutil.copy(path, tmp_path / "copy")
    moved(ends, 3000)
    ends.stores[Party.ALICE].close()
    shutil.copy(tmp_path / "copy", path)
    ends.stores[Party.ALICE] = ends.opened(Party.ALICE)
    ends.greet()

    assert ends.stores[Party.ALICE].deliverable_bytes() == (0, 0), "the note beside the store shows that it is an old copy"
    assert ends.stores[Party.ALICE].offer_move(100) is None
    ends.close()


def test_a_rotated_master_key_opens_what_moved_and_what_is_under_way(ends, tmp_path):
    moved(ends, 3000)
    move = ends.stores[Party.ALICE].offer_move(1000)
    key_file = tmp_path / "alice.key"
    key_file.touch(mode=0o600)
    key_file.write_bytes(bytes(range(32)))
    ends.stores[Party.ALICE].close()
    assert rotation.rotate(ends.paths[Party.ALICE], key_file).damaged_blocks == ()
    ends.masters[Party.ALICE] = MasterKey(key_file.read_bytes())
    ends.stores[Party.ALICE] = ends.opened(Party.ALICE)
    ends.greet()

    assert ends.stores[Party.ALICE].offer_move(0) == move
    moved(ends, 0)
    assert ends.deliver_all() == 20_000


@pytest.mark.parametrize("step", ["UPDATE parts", "INSERT INTO moves", "DELETE FROM piece_keys", "COMMIT"])
@pytest.mark.parametrize("end", list(Party))
def test_a_kill_within_a_change_leaves_it_done_or_not_begun(ends, end, step, monkeypatch):
    """The process ends just before a statement of the change; the other end asks again, and all key is given once."""
    alice, bob = ends.both
    move = alice.offer_move(3000) if end is Party.BOB else None
    store = ends.stores[end]
    rows = store._database.rows

    def until(sql, parameters=()):
        if sql.startswith(step):
            raise KeyStoreError("killed")
        return rows(sql, parameters)

    monkeypatch.setattr(store._database, "rows", until)
    with pytest.raises(KeyStoreError, match="killed"):
        alice.offer_move(3000) if move is None else bob.accept_move(move)
    ends.reopen(end)
    moved(ends, 3000)

    assert ends.deliver_all() == 20_000


@given(ours=st.integers(0, 1 << 40), theirs=st.integers(0, 1 << 40))
def test_what_is_given_leaves_the_giver_at_least_as_much_as_the_other(ours, theirs):
    count = count_to_give(ours, theirs)

    assert 0 <= count <= MOST_MOVED_BYTES
    if count:
        assert ours > FULLER * theirs
        assert count >= LEAST_MOVED_BYTES
        assert ours - count >= theirs + count
        assert not count_to_give(theirs + count, ours - count), "and it does not come back"
