"""A store under a fresh master key holds all it held, and the old master key opens nothing of it."""

import contextlib
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from common.channel.codec import Party
from common.channel.pairs import next_hash_key
from common.conversation.operations import MeetPeer, OpenBlock, StageKeys
from common.errors import ConfigurationError, KeyStoreError
from common.keystore import check
from common.keystore.database import Database
from common.keystore.interface import Piece
from common.keystore.orders import Announcement, Collection, Order, Round
from common.keystore.ownership import OwnershipRule, Pool
from common.keystore.rotation import Rotation, finish, rotate
from common.keystore.sealing import MasterKey
from common.keystore.shelf import DamagedPieceError
from common.keystore.sqlite import SqliteKeyStore
from tests.support.keystores import MASKS, distil, greet, key_bytes, ledger_of, secret

RULE = OwnershipRule(reserve_target_pairs=20)
OLD_KEY = bytes(range(32))
HELD = Order((bytes(range(16)),), 32, "alice-app", ("bob-app",))
BITS = 20_000


def opened(path, owner=Party.BOB):
    key = (path.parent / "master.key").read_bytes()
    return SqliteKeyStore(path, owner, MasterKey(key), masks=MASKS, rule=RULE)


@pytest.fixture
def store(tmp_path):
    """Bob's, with everything a master key seals: parts of blocks, a staged block, a held key and a hash key."""
    (tmp_path / "master.key").write_bytes(OLD_KEY)
    (tmp_path / "master.key").chmod(0o600)
    path = tmp_path / "store.sqlite"
    with closing(opened(path)) as bob, closing(opened(tmp_path / "alice.sqlite", Party.ALICE)) as alice:
        greet((alice, bob))
        for _ in range(2):
            distil((alice, bob), BITS)
        allotted = alice.serve(Round(orders=(HELD,))).allotment
        assert bob.serve(Round(announcements=(Announcement(allotted.handout.pieces, (HELD,)),))).held == (None,)
        allotted.wipe()
        bob.apply(MeetPeer(3, 2, next_hash_key(ledger_of(bob).mask_cursor)))
        bob.apply(OpenBlock(3))
        bob.apply(StageKeys({3: secret(3, BITS)}))
    return path


def edit(path, sql, *values):
    with closing(sqlite3.connect(path)) as connection, connection:
        return connection.execute(sql, values).fetchall()


def wraps(path):
    tables = ("piece_keys", "held_keys", "hash_key")
    found = [wrap for table in tables for (wrap,) in edit(path, f"SELECT wrapped FROM {table} WHERE wrapped IS NOT NULL")]
    return found + [check for (check,) in edit(path, "SELECT master_check FROM state")]


def everything_on_disk(folder):
    return b"".join(file.read_bytes() for file in folder.iterdir() if file.name != "alice.sqlite")


def what_it_holds(path):
    """Key of every kind, read to the end; two stores that tell the same hold the same."""
    with closing(opened(path)) as store:
        number = ledger_of(store).hash_key
        hash_key = store.hash_key_of(number)
        store.apply(MeetPeer(4, 3, number))
        given = store.serve(Round(collections=(Collection("bob-app", "alice-app", HELD.key_ids, bytes(32)),))).collected
        pads = [store.take(Pool.BOB_PAD, 1500, "letter").key]
        return hash_key, given, pads, ledger_of(store).lengths


def test_all_that_was_there_is_there_under_the_fresh_key(store, tmp_path):
    for copy in ("store.sqlite", "store.sqlite.handouts", "master.key"):
        (tmp_path / "before").mkdir(exist_ok=True)
        (tmp_path / "before" / copy).write_bytes((tmp_path / copy).read_bytes())
        (tmp_path / "before" / copy).chmod(0o600)
    count = len(wraps(store)) - 1  # one is the mark by which the store knows its master key
    assert rotate(store, tmp_path / "master.key") == Rotation(count, ())

    assert (tmp_path / "master.key").read_bytes() != OLD_KEY
    assert (tmp_path / "master.key").stat().st_mode & 0o777 == 0o600
    assert not (tmp_path / "master.key.new").exists()
    assert what_it_holds(store) == what_it_holds(tmp_path / "before" / "store.sqlite")
    assert not check.faults_within(check.LedgerFile.read(store))


def test_a_staged_block_is_shared_out_as_it_would_have_been(store, tmp_path):
    rotate(store, tmp_path / "master.key")
    with closing(opened(store)) as bob:
        greet_alone = MeetPeer(4, 3, ledger_of(bob).hash_key)
        bob.apply(greet_alone)
        bob._settle((3,), ())
        last = bob._database.integer("SELECT first_bit FROM parts WHERE block = 3 AND pool = 'alice-pad'") // 8
        assert bob.expect(Pool.ALICE_PAD, [Piece(3, 0, 50)], "letter").key == key_bytes(3, BITS)[last : last + 50]


def test_the_old_master_key_is_refused_and_opens_no_wrap(store, tmp_path):
    rotate(store, tmp_path / "master.key")

    with pytest.raises(ConfigurationError, match="not the one this store was sealed with"):
        SqliteKeyStore(store, Party.BOB, MasterKey(OLD_KEY))


def test_no_byte_of_an_old_wrap_or_of_the_old_key_is_left_in_any_file(store, tmp_path):
    with closing(opened(store)) as bob:  # wraps come and go: their pages are freed, split and filled again
        for block in range(4, 60):
            bob.apply(OpenBlock(block))
            bob.apply(StageKeys({block: secret(block, BITS)}))
        old = {wrap for (wrap,) in bob._database.rows("SELECT wrapped FROM piece_keys")}
        for block in range(4, 50):
            bob._settle((), (block,))
    old |= set(wraps(store))
    with closing(sqlite3.connect(store)) as careless, careless:  # who overwrites nothing leaves copies in free pages
        careless.execute("PRAGMA secure_delete = OFF")
        careless.execute("CREATE TABLE copies AS SELECT * FROM piece_keys")
        careless.execute("DROP TABLE copies")
    assert sum(everything_on_disk(tmp_path).count(wrap) for wrap in wraps(store)) > len(wraps(store))
    rotate(store, tmp_path / "master.key")
    on_disk = everything_on_disk(tmp_path)

    assert all(wrap in on_disk for wrap in wraps(store))
    assert not any(wrap[at : at + 12] in on_disk for wrap in old for at in range(0, 60, 12))
    assert OLD_KEY not in on_disk


def test_what_is_written_on_the_way_lies_beside_the_store(store, tmp_path, monkeypatch):
    with closing(opened(store)) as bob:
        bob.apply(OpenBlock(4))
        bob.apply(StageKeys({4: secret(4, 64 << 20)}))  # more than fits in memory
    write_anew, seen = Database.write_anew, set[Path]()

    def look():
        with contextlib.suppress(OSError):
            seen.update(target.parent for entry in Path("/proc/self/fd").iterdir() if "etilqs" in (target := entry.readlink()).name)

    def watched(database):
        database._connection.set_progress_handler(look, 20)
        write_anew(database)

    monkeypatch.setattr(Database, "write_anew", watched)
    rotate(store, tmp_path / "master.key")
    assert seen == {tmp_path}


def test_a_store_that_is_open_is_not_touched(store, tmp_path):
    before = wraps(store)
    with closing(opened(store)), pytest.raises(ConfigurationError, match="open in another process"):
        rotate(store, tmp_path / "master.key")
    assert wraps(store) == before
    assert (tmp_path / "master.key").read_bytes() == OLD_KEY


def test_a_wrap_that_is_damaged_costs_its_block_alone_and_is_named(store, tmp_path):
    edit(
        store, "UPDATE piece_keys SET wrapped = zeroblob(60) WHERE piece = (SELECT piece FROM pieces WHERE block = 1 AND pool = 'bob-pad')"
    )
    done = rotate(store, tmp_path / "master.key")

    assert done.damaged_blocks == (1,)
    with closing(opened(store)) as bob:
        bob.apply(MeetPeer(4, 3, ledger_of(bob).hash_key))
        assert bob.levels().damaged_blocks == (1,)
        with pytest.raises(DamagedPieceError, match="block 1, bob-pad"):
            bob.take(Pool.BOB_PAD, 10, "letter")
        assert bob.take(Pool.BOB_PAD, 10, "letter").pieces == (Piece(2, 0, 10),)


def test_a_key_in_hexadecimal_digits_stays_in_hexadecimal_digits(store, tmp_path):
    (tmp_path / "master.key").write_text(OLD_KEY.hex() + "\n")
    rotate(store, tmp_path / "master.key")

    text = (tmp_path / "master.key").read_text()
    assert len(text) == 65
    SqliteKeyStore(store, Party.BOB, MasterKey(bytes.fromhex(text))).close()


def test_a_link_to_the_key_stays_a_link(store, tmp_path):
    (tmp_path / "keys").mkdir()
    (tmp_path / "master.key").rename(tmp_path / "keys" / "real.key")
    (tmp_path / "master.key").symlink_to(tmp_path / "keys" / "real.key")
    rotate(store, tmp_path / "master.key")

    assert (tmp_path / "master.key").is_symlink()
    opened(store).close()


def test_a_file_put_in_the_place_of_the_key_meanwhile_is_not_overwritten(store, tmp_path, monkeypatch):
    other, write_anew = tmp_path / "other", Database.write_anew
    other.write_bytes(b"nothing of ours")

    def swapped(database):
        write_anew(database)
        (tmp_path / "master.key").unlink()
        (tmp_path / "master.key").symlink_to(other)

    monkeypatch.setattr(Database, "write_anew", swapped)
    with pytest.raises(ConfigurationError, match=r"master\.key: .*master\.key\.new is to take its place"):
        rotate(store, tmp_path / "master.key")
    assert other.read_bytes() == b"nothing of ours"


def test_an_old_key_that_is_gone_keeps_no_rotation_from_its_end(store, tmp_path):
    (tmp_path / "master.key").rename(tmp_path / "master.key.new")
    finish(store, tmp_path / "master.key")

    assert (tmp_path / "master.key").read_bytes() == OLD_KEY
    opened(store).close()


def test_a_store_that_is_open_under_another_name_is_not_touched(store, tmp_path):
    (tmp_path / "link.sqlite").symlink_to(store)
    with closing(opened(store)), pytest.raises(ConfigurationError, match="open in another process"):
        rotate(tmp_path / "link.sqlite", tmp_path / "master.key")
    assert (tmp_path / "master.key").read_bytes() == OLD_KEY


@pytest.mark.parametrize("content", [b"", b"\x01" * 31, b"\x01" * 32])
def test_a_fresh_key_that_the_store_never_saw_is_taken_away(store, tmp_path, content):
    (tmp_path / "master.key.new").write_bytes(content)
    (tmp_path / "master.key.new").chmod(0o600)
    finish(store, tmp_path / "master.key")

    assert not (tmp_path / "master.key.new").exists()
    opened(store).close()


def test_a_rotation_that_was_interrupted_is_finished_with_the_fresh_key(store, tmp_path):
    (tmp_path / "master.key").rename(tmp_path / "master.key.new")
    (tmp_path / "master.key").write_bytes(b"\x01" * 32)
    (tmp_path / "master.key").chmod(0o600)
    finish(store, tmp_path / "master.key")

    assert (tmp_path / "master.key").read_bytes() == OLD_KEY
    opened(store).close()


def test_two_keys_of_other_stores_are_both_named_and_kept(store, tmp_path):
    for name in ("master.key", "master.key.new"):
        (tmp_path / name).write_bytes(b"\x01" * 32)
        (tmp_path / name).chmod(0o600)
    with pytest.raises(ConfigurationError, match=r"neither .*master\.key nor .*master\.key\.new"):
        finish(store, tmp_path / "master.key")
    assert (tmp_path / "master.key.new").exists()


def test_what_cannot_be_rotated_is_refused_before_anything_is_touched(store, tmp_path, monkeypatch):
    with pytest.raises(ConfigurationError, match="no such key store"):
        rotate(tmp_path / "nothing.sqlite", tmp_path / "master.key")
    assert not (tmp_path / "nothing.sqlite").exists()
    before = store.read_bytes()
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000})())
    with pytest.raises(KeyStoreError, match="make room for"):
        rotate(store, tmp_path / "master.key")
    (tmp_path / "master.key").write_bytes(b"\x01" * 32)
    with pytest.raises(ConfigurationError, match="not the one this store was sealed with"):
        rotate(store, tmp_path / "master.key")
    assert store.read_bytes() == before


def test_who_reads_the_store_meanwhile_is_told_to_end(store, tmp_path, monkeypatch):
    monkeypatch.setattr("common.keystore.database.BUSY_SECONDS", 0.1)
    with closing(sqlite3.connect(store)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM state").fetchall()
        with pytest.raises(KeyStoreError, match="another process reads the store"):
            rotate(store, tmp_path / "master.key")
    finish(store, tmp_path / "master.key")
    assert not (tmp_path / "master.key.new").exists()
    opened(store).close()
