"""The hash key in a store file: sealed, kept through crashes, given up where it cannot be read."""

from contextlib import closing

import pytest

from common.channel.codec import Party
from common.conversation.operations import CommitKeys, DistrustHashKey, Ledger, MeetPeer, OpenBlock, StageKeys
from common.errors import KeyNotFoundError, KeyStoreError
from common.keystore import check
from common.keystore.interface import UseKind
from common.keystore.masks import ProvisionedMasks
from tests.support.keystores import MASKS, key_bytes, ledger_of, opened, secret
from tests.unit.keystore.test_sqlite import edit, everything_on_disk

PAIR = MASKS.masks[7 * 32 : 8 * 32]
NO_MASKS = ProvisionedMasks()


def refilled(path):
    """A store whose reserve came from a block: 20 pairs, from pair 0 on."""
    store = opened(path, masks=NO_MASKS)
    store.apply(OpenBlock(1))
    store.apply(StageKeys({1: secret(1, 10_000)}))
    store.apply(CommitKeys((1,)))
    return store


def test_it_is_there_after_opening_again_even_if_its_pair_is_not(tmp_path):
    with closing(opened(tmp_path / "a")) as store:
        store.apply(MeetPeer(1, 0, 7))
        store.apply(DistrustHashKey(0))
    with closing(opened(tmp_path / "a", masks=NO_MASKS)) as store:
        assert store.hash_key_of(7) == PAIR
        assert ledger_of(store) == Ledger(1, 8, {}, 7, 1)


def test_it_does_not_lie_open_on_disk_and_the_old_one_leaves_nothing_behind(tmp_path):
    path = tmp_path / "a"
    with closing(refilled(path)) as store:
        store.apply(MeetPeer(1, 0, 7))
        ((wrapped, sealed),) = edit(path, "SELECT wrapped, sealed FROM hash_key")
        assert store.hash_key_of(7) == key_bytes(1, 10_000)[7 * 32 : 8 * 32]
        assert store.hash_key_of(7) not in everything_on_disk(path)
        assert edit(path, "SELECT MIN(first_byte) FROM pieces JOIN piece_keys USING (piece) WHERE pool = 'authentication-reserve'") == [
            (8 * 32,)
        ]
        store.apply(MeetPeer(1, 0, 15))
    everything = everything_on_disk(path)
    assert wrapped not in everything
    assert sealed not in everything
    assert check.faults_within(check.LedgerFile.read(path)) == []


def test_one_that_does_not_open_any_more_is_not_trusted(tmp_path):
    for damage in ("sealed = x'00'", "wrapped = zeroblob(60)", "sealed = NULL"):
        path = tmp_path / str(len(damage))
        with closing(opened(path)) as store:
            store.apply(MeetPeer(1, 0, 7))
        edit(path, f"UPDATE hash_key SET {damage}")
        with closing(opened(path)) as store:
            assert ledger_of(store).least_hash_key == 8
            with pytest.raises(KeyNotFoundError):
                store.hash_key_of(7)
            store.apply(MeetPeer(1, 0, 15))
            assert len(store.hash_key_of(15)) == 32


def test_one_sealed_for_another_pair_does_not_open(tmp_path):
    path = tmp_path / "a"
    with closing(opened(path)) as store:
        store.apply(MeetPeer(1, 0, 7))
        (old,) = edit(path, "SELECT wrapped, sealed FROM hash_key")
        store.apply(MeetPeer(1, 0, 15))
    edit(path, "UPDATE hash_key SET wrapped = ?, sealed = ?", *old)
    with closing(opened(path)) as store:
        assert ledger_of(store).least_hash_key == 16


def test_a_damaged_pair_costs_that_pair_and_the_next_greeting_takes_another(tmp_path):
    path = tmp_path / "a"
    with closing(refilled(path)) as store:
        edit(path, "UPDATE pieces SET sealed = x'00' WHERE pool = 'authentication-reserve' AND first_byte = 7 * 32")
        with pytest.raises(KeyStoreError, match="the next greeting takes another"):
            store.apply(MeetPeer(1, 0, 7))
        assert ledger_of(store) == Ledger(2, 8, {1: 10_000}, 0, 8)
        assert [entry.kind for entry in store.audit()] == [UseKind.SKIPPED, UseKind.DAMAGED]
        store.apply(MeetPeer(1, 0, 15))
        assert store.hash_key_of(15) == key_bytes(1, 10_000)[15 * 32 : 16 * 32]
    assert check.faults_within(check.LedgerFile.read(path)) == []


def test_taking_one_is_all_or_nothing(tmp_path, monkeypatch):
    path = tmp_path / "a"
    with closing(refilled(path)) as store:
        before, levels = ledger_of(store), store.levels()

        def out_of_order(*_arguments):
            raise RuntimeError("the power goes")

        with monkeypatch.context() as patched:
            patched.setattr("common.keystore.reserve.seal", out_of_order)
            with pytest.raises(RuntimeError):
                store.apply(MeetPeer(1, 0, 7))
        assert ledger_of(store) == before
        assert store.levels().pool_bits == levels.pool_bits
        store.apply(MeetPeer(1, 0, 7))
        assert store.hash_key_of(7) == key_bytes(1, 10_000)[7 * 32 : 8 * 32]


def test_a_disk_that_is_full_does_not_make_it_trusted_again(tmp_path):
    with closing(opened(tmp_path / "a")) as store:
        connection = store._database._connection
        connection.execute("PRAGMA query_only = ON")
        with pytest.raises(KeyStoreError):
            store.apply(DistrustHashKey(0))
        connection.execute("PRAGMA query_only = OFF")

        assert ledger_of(store).least_hash_key == 1
        with pytest.raises(KeyStoreError, match="never used again"):
            store.apply(MeetPeer(1, 0, 0))
        store.apply(MeetPeer(1, 0, 7))
        assert edit(tmp_path / "a", "SELECT least FROM hash_key") == [(1,)], "written with the next change"


def test_a_store_of_the_first_schema_begins_with_the_provisioned_one(tmp_path):
    path = tmp_path / "a"
    opened(path, Party.BOB).close()
    for table in ("hash_key", "orders", "unsettled", "held_keys", "claims", "collections", "block_facts", "drawn", "moves"):
        edit(path, f"DROP TABLE {table}")
    edit(path, "ALTER TABLE blocks DROP COLUMN guard")
    edit(path, "PRAGMA user_version = 1")
    with closing(opened(path, Party.BOB)) as store:
        assert ledger_of(store) == Ledger(1, 0, {}, 0, 0)
