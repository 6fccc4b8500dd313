"""What the store on disk does besides the contract: it lasts, it is sealed, it names what it cannot read."""

import sqlite3
import stat
from contextlib import closing

import pytest

from common.channel.codec import Party
from common.conversation.operations import MOST_LISTED_BLOCKS, CommitKeys, MeetPeer, OpenBlock, ReadLedger, StageKeys, TakeMask
from common.errors import BlockAborted, ConfigurationError, KeyAlreadyTakenError, KeyExhaustedError, KeyStoreError
from common.keystore import check, shelf
from common.keystore.interface import Piece, UseKind
from common.keystore.masks import ProvisionedMasks
from common.keystore.ownership import OwnershipRule, Pool
from common.keystore.sealing import MasterKey, unseal
from common.keystore.shelf import DamagedPieceError
from common.keystore.sqlite import SqliteKeyStore
from tests.support.keystores import MASTER, distil, greet, key_bytes, ledger_of, opened, secret

RULE = OwnershipRule(reserve_target_pairs=0)
PARTIES = list(Party)


@pytest.fixture
def paths(tmp_path):
    return [tmp_path / f"{party.name.lower()}.sqlite" for party in Party]


@pytest.fixture
def ends(paths):
    """Both ends; ``reopen`` closes one and opens it again."""
    stores = [opened(path, party, rule=RULE) for path, party in zip(paths, Party, strict=True)]
    greet(stores)
    yield stores
    for store in stores:
        store.close()


def reopen(ends, paths, index, **options):
    ends[index].close()
    ends[index] = opened(paths[index], PARTIES[index], **({"rule": RULE} | options))
    return ends[index]


def edit(path, sql, *values):
    with closing(sqlite3.connect(path)) as connection, connection:
        return connection.execute(sql, values).fetchall()


def everything_on_disk(path):
    return b"".join(file.read_bytes() for file in path.parent.iterdir() if file.name.startswith(path.name))


def test_what_was_done_is_there_after_opening_again(ends, paths):
    distil(ends, 4000)
    taken = ends[0].take(Pool.ALICE_PAD, 10, "letter")
    before, ledger, audit = ends[0].levels(), ends[0].apply(ReadLedger()), ends[0].audit()
    store = reopen(ends, paths, 0)

    assert store.apply(ReadLedger()) == ledger
    assert store.audit() == audit
    assert store.levels().pool_bits == before.pool_bits
    store.apply(MeetPeer(2, 1))
    assert store.take(Pool.ALICE_PAD, 10, "letter").pieces == (Piece(1, taken.pieces[0].end_byte, 10),)


def test_opening_again_asks_for_the_peer_again(ends, paths):
    distil(ends, 4000)
    with pytest.raises(KeyStoreError, match="met"):
        reopen(ends, paths, 0).take(Pool.ALICE_PAD, 1, "letter")


def test_the_ledger_is_on_disk_before_key_is_read(ends, paths, monkeypatch):
    distil(ends, 4000)
    seen = []

    def watched(*arguments):
        seen.append(edit(paths[0], "SELECT kind, first_byte, count_bytes FROM uses"))
        return unseal(*arguments)

    monkeypatch.setattr(shelf, "unseal", watched)
    ends[0].take(Pool.ALICE_PAD, 10, "letter")
    assert seen == [[("taken", 0, 10)]]


def test_every_commit_waits_for_the_disk(ends):
    assert ends[0]._database.integer("PRAGMA synchronous") == 2
    assert ends[0]._database.rows("PRAGMA journal_mode") == [("wal",)]
    distil(ends, 4000)
    ends[0].take(Pool.ALICE_PAD, 10, "letter")
    assert ends[0]._database.integer("PRAGMA synchronous") == 2
    assert ends[0]._database.integer("PRAGMA secure_delete") == 1


def test_no_key_lies_open_on_disk(ends, paths):
    distil(ends, 8 * 4000)
    ends[0].apply(StageKeys({7: secret(7, 8 * 4000)}))
    ends[0].take(Pool.ALICE_PAD, 100, "letter")
    key = key_bytes(1, 8 * 4000) + key_bytes(7, 8 * 4000)
    written = everything_on_disk(paths[0])

    assert not any(key[at : at + 8] in written for at in range(0, len(key) - 8, 8))


def test_spent_key_cannot_be_opened_again_by_whoever_takes_file_and_master_key(ends, paths):
    distil(ends, 8 * 3_000_000)
    places = "SELECT first_byte, length(wrapped) FROM pieces JOIN piece_keys USING (piece) WHERE pool = 'alice-pad' ORDER BY first_byte"
    assert len(edit(paths[0], places)) == 2
    ends[0].take(Pool.ALICE_PAD, shelf.PIECE_BYTES, "letter")
    assert edit(paths[0], places) == [(shelf.PIECE_BYTES, 60)]
    assert edit(paths[0], "SELECT COUNT(*) FROM pieces WHERE piece NOT IN (SELECT piece FROM piece_keys)") == [(0,)]


def test_a_used_mask_leaves_nothing_behind(tmp_path):
    with closing(opened(tmp_path / "a", masks=ProvisionedMasks())) as store:
        store.apply(StageKeys({1: secret(1, 10_000)}))
        store.apply(CommitKeys((1,)))
        store.apply(TakeMask(3))
        left = edit(tmp_path / "a", "SELECT MIN(first_byte) FROM pieces WHERE pool = 'authentication-reserve'")
        assert left == [(4 * 32,)]
        assert store.mask(3, Party.ALICE) == key_bytes(1, 10_000)[96:112]


def test_masks_that_are_open_are_forgotten_with_the_process(tmp_path):
    with closing(opened(tmp_path / "a")) as store:
        store.apply(TakeMask(0))
        assert len(store.mask(0, Party.ALICE)) == 16
    with closing(opened(tmp_path / "a")) as store, pytest.raises(BlockAborted):
        store.mask(0, Party.ALICE)


def test_only_the_last_masks_stay_open(tmp_path):
    with closing(opened(tmp_path / "a")) as store:
        for index in range(7):
            store.apply(TakeMask(index))
        assert store.mask(6, Party.ALICE)
        with pytest.raises(BlockAborted):
            store.mask(0, Party.ALICE)


def test_a_crash_makes_expected_key_final(ends, paths):
    distil(ends, 4000)
    handout = ends[1].expect(Pool.ALICE_PAD, [Piece(1, 0, 10)], "letter").handout
    store = reopen(ends, paths, 1)

    assert [entry.kind for entry in store.audit()] == [UseKind.RECEIVED]
    with pytest.raises(KeyStoreError):
        store.give_back(handout)


@pytest.mark.usefixtures("ends")
def test_files_belong_to_their_owner_alone(paths):
    for file in paths[0].parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file.name


def test_a_store_that_others_may_read_is_refused(ends, paths):
    ends[0].close()
    paths[0].chmod(0o640)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        opened(paths[0])


@pytest.mark.usefixtures("ends")
def test_a_store_is_open_once(paths):
    with pytest.raises(ConfigurationError, match="open in another process"):
        opened(paths[0])


def test_another_master_key_is_refused(ends, paths):
    ends[0].close()
    with pytest.raises(ConfigurationError, match="master key"):
        SqliteKeyStore(paths[0], Party.ALICE, MasterKey.draw())


def test_the_store_of_the_other_end_is_refused(ends, paths):
    ends[0].close()
    with pytest.raises(ConfigurationError, match="other end"):
        SqliteKeyStore(paths[0], Party.BOB, MASTER)


def test_a_newer_schema_is_refused_and_left_alone(ends, paths):
    ends[0].close()
    edit(paths[0], "PRAGMA user_version = 99")
    with pytest.raises(ConfigurationError, match="newer version"):
        opened(paths[0])
    assert edit(paths[0], "PRAGMA user_version") == [(99,)]


@pytest.mark.parametrize("content", [b"not a database" * 1000, b"SQLite format 3\x00" + b"\xff" * 5000])
def test_a_file_that_is_no_store_is_refused(tmp_path, content):
    path = tmp_path / "store.sqlite"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(KeyStoreError, match=r"store\.sqlite"):
        opened(path)


def test_a_path_that_cannot_be_opened_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match="missing"):
        opened(tmp_path / "missing" / "store.sqlite")


def test_a_damaged_piece_is_named_and_passed_over(ends, paths):
    for _ in range(2):
        distil(ends, 4000)
    edit(paths[0], "UPDATE pieces SET sealed = zeroblob(length(sealed)) WHERE block = 1 AND pool = 'alice-pad'")
    with pytest.raises(DamagedPieceError, match="block 1, alice-pad"):
        ends[0].take(Pool.ALICE_PAD, 10, "letter")

    assert ends[0].take(Pool.ALICE_PAD, 10, "letter").key == key_bytes(2, 4000)[:10]
    assert ends[0].levels().damaged_blocks == (1,)
    assert {entry.kind for entry in ends[0].audit()} == {UseKind.TAKEN, UseKind.DAMAGED}
    assert ends[0].take(Pool.ALICE_DELIVERY, 10, "other pools of the block are whole").pieces == (Piece(1, 0, 10),)


def test_damage_where_key_is_awaited_spends_that_piece_only(ends, paths):
    distil(ends, 8 * 6_000_000)
    edit(paths[1], "DELETE FROM piece_keys WHERE piece = (SELECT piece FROM pieces WHERE pool = 'alice-pad' AND first_byte = ?)", 1 << 20)
    with pytest.raises(DamagedPieceError, match="alice-pad"):
        ends[1].expect(Pool.ALICE_PAD, [Piece(1, (1 << 20) - 5, 10)], "letter")

    assert ends[1].expect(Pool.ALICE_PAD, [Piece(1, 0, 10)], "letter").key == key_bytes(1, 8 * 6_000_000)[:10]
    with pytest.raises(KeyAlreadyTakenError):
        ends[1].expect(Pool.ALICE_PAD, [Piece(1, 3 << 19, 10)], "letter")


def test_a_piece_opens_in_its_place_only_even_with_its_data_key(ends, paths):
    distil(ends, 4000)
    for pool in ("alice-pad", "bob-pad"):
        edit(paths[0], "UPDATE pieces SET pool = ? WHERE pool = ?", {"alice-pad": "x", "bob-pad": "alice-pad"}[pool], pool)
    with pytest.raises(DamagedPieceError):
        ends[0].take(Pool.ALICE_PAD, 10, "letter")


def test_a_swapped_piece_does_not_open(ends, paths):
    distil(ends, 4000)
    one, other = (edit(paths[0], "SELECT piece, sealed FROM pieces WHERE pool = ?", f"{name}-pad")[0] for name in ("alice", "bob"))
    edit(paths[0], "UPDATE pieces SET sealed = ? WHERE piece = ?", other[1], one[0])
    with pytest.raises(DamagedPieceError):
        ends[0].take(Pool.ALICE_PAD, 10, "letter")


def test_a_damaged_staged_block_is_erased_and_the_peer_follows(ends, paths):
    alice, bob = ends
    for store in ends:
        store.apply(OpenBlock(1))
        store.apply(StageKeys({1: secret(1, 4000)}))
    alice.apply(CommitKeys((1,)))
    edit(paths[1], "UPDATE pieces SET sealed = zeroblob(length(sealed))")
    with pytest.raises(DamagedPieceError, match="block 1"):
        bob.apply(CommitKeys((1,)))

    assert bob.apply(ReadLedger()).lengths == {}
    assert bob.levels().damaged_blocks == (1,)
    distil((alice, bob), 4000, greet((alice, bob)))
    assert alice.apply(ReadLedger()).lengths == bob.apply(ReadLedger()).lengths == {2: 4000}
    assert not check.faults(*paths)


def test_blocks_behind_a_damaged_staged_one_are_shared_out_alike_or_not_at_all(paths):
    rule = OwnershipRule(reserve_target_pairs=40)
    with closing(opened(paths[0], rule=rule)) as alice, closing(opened(paths[1], Party.BOB, rule=rule)) as bob:
        greet((alice, bob))
        for store in (alice, bob):
            store.apply(OpenBlock(2))
            store.apply(StageKeys({1: secret(1, 4000), 2: secret(2, 9000)}))
        alice.apply(CommitKeys((1, 2)))
        edit(paths[1], "UPDATE pieces SET sealed = zeroblob(length(sealed)) WHERE block = 1")
        with pytest.raises(DamagedPieceError, match="block 1"):
            bob.apply(CommitKeys((1, 2)))

        assert bob.levels().damaged_blocks == (1,)
        distil((alice, bob), 4000, greet((alice, bob)))
        assert ledger_of(alice).lengths == ledger_of(bob).lengths == {3: 4000}
    assert not check.faults(*paths)


@pytest.mark.parametrize(
    "change",
    ["mask_cursor = mask_cursor + 1", "reserve_floor = reserve_floor + 1", "rule = replace(rule, '3', '2')", "count_bits = count_bits - 1"],
)
def test_a_staged_block_of_which_the_numbers_were_altered_is_not_shared_out(ends, paths, change):
    for store in ends:
        store.apply(OpenBlock(1))
        store.apply(StageKeys({1: secret(1, 4000)}))
    edit(paths[1], f"UPDATE blocks SET {change}")
    with pytest.raises(DamagedPieceError, match="block 1"):
        ends[1].apply(CommitKeys((1,)))


@pytest.mark.parametrize("change", ["reserve_first = reserve_first + 1", "reserve_pairs = 9", "state = 'dommitted'", "count_bits = 7"])
def test_a_committed_block_of_which_the_row_was_altered_is_given_up_at_both_ends(paths, change):
    ends = [opened(path, party) for path, party in zip(paths, PARTIES, strict=True)]
    greet(ends)
    for _ in range(2):
        distil(ends, 9000)
    ends[1].close()
    with closing(sqlite3.connect(paths[1])) as connection, connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.execute(f"UPDATE blocks SET {change} WHERE block = 1")
    ends[1] = opened(paths[1], Party.BOB)

    assert ends[1].levels().damaged_blocks == (1,)
    distil(ends, 9000, greet(ends))
    assert ledger_of(ends[0]).lengths == ledger_of(ends[1]).lengths == {2: 9000, 3: 9000}
    for store in ends:
        store.close()
    assert not [fault for fault in check.faults(*paths) if "block 1" not in fault]


def test_a_ledger_that_does_not_add_up_hands_out_nothing_of_that_part_again(ends, paths):
    for _ in range(2):
        distil(ends, 4000)
    ends[0].take(Pool.ALICE_PAD, 100, "letter")
    edit(paths[0], "UPDATE parts SET left_bytes = left_bytes + 8 WHERE block = 1 AND pool = 'alice-pad'")
    taken = ends[0].take(Pool.ALICE_PAD, 10, "letter")

    assert taken.pieces == (Piece(2, 0, 10),)
    assert ends[0].levels().damaged_blocks == (1,)
    edit(paths[1], "DELETE FROM uses WHERE pool = 'alice-pad'")
    edit(paths[1], "UPDATE parts SET left_bytes = left_bytes - 8 WHERE block = 2 AND pool = 'alice-pad'")
    bob = reopen(ends, paths, 1)
    greet(ends)
    assert bob.levels().damaged_blocks == (2,)
    with pytest.raises(KeyAlreadyTakenError, match="block 2"):
        bob.expect(Pool.ALICE_PAD, taken.pieces, "letter")


def test_an_index_that_went_bad_is_made_anew(ends, paths):
    distil(ends, 4000)
    ends[0].close()
    with closing(sqlite3.connect(paths[0])) as connection, connection:
        connection.execute("PRAGMA writable_schema = ON")
        whole = "CREATE INDEX blocks_by_state ON blocks (state, block)"
        connection.execute("UPDATE sqlite_master SET sql = ? WHERE name = 'blocks_by_state'", (whole + " WHERE block > 99",))
    edit(paths[0], "REINDEX blocks_by_state")
    with closing(sqlite3.connect(paths[0])) as connection, connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("UPDATE sqlite_master SET sql = ? WHERE name = 'blocks_by_state'", (whole,))
    assert edit(paths[0], "PRAGMA integrity_check(blocks)") != [("ok",)]
    ends[0] = opened(paths[0], rule=RULE)

    assert edit(paths[0], "PRAGMA integrity_check(blocks)") == [("ok",)]
    assert ends[0].levels().count_committed == 1


def test_a_damaged_mask_costs_one_block(tmp_path):
    path = tmp_path / "a"
    with closing(opened(path, masks=ProvisionedMasks())) as store:
        store.apply(StageKeys({1: secret(1, 10_000)}))
        store.apply(CommitKeys((1,)))
        edit(path, "UPDATE pieces SET sealed = x'00' WHERE pool = 'authentication-reserve' AND first_byte = 32")
        store.apply(TakeMask(1))
        with pytest.raises(BlockAborted):
            store.mask(1, Party.ALICE)
        store.apply(TakeMask(2))
        assert store.mask(2, Party.ALICE)


def test_a_block_keeps_the_rule_it_was_staged_under(ends, paths):
    for store in ends:
        store.apply(OpenBlock(1))
        store.apply(StageKeys({1: secret(1, 4000)}))
    ends[0].apply(CommitKeys((1,)))
    reopen(ends, paths, 1, rule=OwnershipRule(5, 1, 0, 0, 0), masks=ProvisionedMasks(bytes(64), 1)).apply(CommitKeys((1,)))

    assert ends[0].levels().pool_bits == ends[1].levels().pool_bits
    assert not check.faults(*paths)


def test_a_disk_that_is_full_leaves_the_store_as_it_was(ends, paths):
    distil(ends, 4000)
    before = ends[0].apply(ReadLedger()), ends[0].levels()
    pages = edit(paths[0], "PRAGMA page_count")[0][0]
    ends[0]._database.rows(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(KeyStoreError, match="disk is full"):
        ends[0].apply(StageKeys({2: secret(2, 8 * 1_000_000)}))
    with pytest.raises(KeyStoreError, match="disk is full"):
        take_byte_after_byte(ends[0])

    assert ends[0].apply(ReadLedger()) == before[0]
    ends[0]._database.rows("PRAGMA max_page_count = 1000000")
    taken = sum(entry.piece.count_bytes for entry in ends[0].audit())
    assert ends[0].levels().pool_bits[Pool.ALICE_PAD] == before[1].pool_bits[Pool.ALICE_PAD] - 8 * taken
    assert ends[0].take(Pool.ALICE_PAD, 1, "letter").pieces == (Piece(1, taken, 1),)
    assert not check.faults(*paths)


def take_byte_after_byte(store):
    for _ in range(180):
        store.take(Pool.ALICE_PAD, 1, "x" * 200)


def test_a_watermark_that_cannot_be_written_hands_out_nothing(ends, monkeypatch):
    distil(ends, 4000)

    def full(*_arguments):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("os.pwrite", full)
        with pytest.raises(KeyStoreError, match="No space left"):
            ends[0].take(Pool.ALICE_PAD, 10, "letter")
    assert ends[0].take(Pool.ALICE_PAD, 10, "letter").pieces == (Piece(1, 10, 10),)


def test_a_greeting_lists_the_newest_blocks_only(tmp_path):
    with closing(opened(tmp_path / "a")) as store:
        with store._database.transaction():
            for block in range(1, MOST_LISTED_BLOCKS + 11):
                store._database.rows(
                    "INSERT INTO blocks (block, state, count_bits, rule, mask_cursor, reserve_floor, staged_s) "
                    "VALUES (?, 'committed', 8, '', 0, 0, 0)",
                    (block,),
                )
        assert list(ledger_of(store).lengths) == list(range(11, MOST_LISTED_BLOCKS + 11))


def test_an_old_copy_put_back_is_noticed_when_it_is_opened(ends, paths):
    distil(ends, 4000)
    ends[0].close()
    copy = paths[0].read_bytes()
    ends[0] = opened(paths[0], rule=RULE)
    greet(ends)
    ends[0].take(Pool.ALICE_PAD, 10, "letter")
    ends[0].close()
    paths[0].write_bytes(copy)
    ends[0] = opened(paths[0], rule=RULE)
    greet(ends)

    with pytest.raises(KeyExhaustedError):
        ends[0].take(Pool.ALICE_PAD, 1, "letter")
    assert {entry.kind for entry in ends[0].audit()} == {UseKind.FORGONE}
    distil(ends, 4000, greet(ends))
    assert ends[0].take(Pool.ALICE_PAD, 10, "letter").pieces == (Piece(2, 0, 10),)
    assert not check.faults(*paths)


def test_an_old_copy_with_its_watermark_is_noticed_by_the_greeting(ends, paths):
    distil(ends, 4000)
    ends[0].close()
    copies = {file: file.read_bytes() for file in paths[0].parent.iterdir() if file.name.startswith(paths[0].name)}
    ends[0] = opened(paths[0], rule=RULE)
    greet(ends)
    gone = ends[0].take(Pool.ALICE_PAD, 10, "letter")
    distil(ends, 4000)
    ends[0].close()
    for file, content in copies.items():
        file.write_bytes(content)
    ends[0] = opened(paths[0], rule=RULE)
    settlements = greet(ends)
    for store, pool in zip(ends, (Pool.ALICE_PAD, Pool.BOB_PAD), strict=True):
        with pytest.raises(KeyStoreError, match="old copy"):
            store.take(pool, 1, "letter")
    block = distil(ends, 4000, settlements)

    assert ends[0].take(Pool.ALICE_PAD, 10, "letter").pieces == (Piece(block, 0, 10),)
    assert ends[1].take(Pool.BOB_PAD, 10, "letter").pieces == (Piece(block, 0, 10),)
    assert ends[0].apply(ReadLedger()).lengths == ends[1].apply(ReadLedger()).lengths == {1: 4000, block: 4000}
    with pytest.raises(KeyAlreadyTakenError):
        ends[1].expect(Pool.ALICE_PAD, gone.pieces, "a letter from the life that is forgotten")
    assert not check.faults(*paths)


def test_a_lost_store_is_replaced_by_an_empty_one(ends, paths):
    distil(ends, 4000)
    ends[0].close()
    for file in paths[0].parent.iterdir():
        if file.name.startswith(paths[0].name):
            file.unlink()
    ends[0] = opened(paths[0], rule=RULE)
    distil(ends, 4000, greet(ends))

    assert ends[0].apply(ReadLedger()) == ends[1].apply(ReadLedger())
    assert not check.faults(*paths)
