"""What lies sealed in a store file opens with its master key, and with no other; what does not is named."""

import sqlite3
from contextlib import closing

import pytest

from common.channel.codec import Party
from common.conversation.operations import OpenBlock, StageKeys
from common.errors import ConfigurationError, KeyStoreError
from common.keystore.database import Database
from common.keystore.inventory import damaged, inventory, is_sealed_with
from common.keystore.sealing import DamagedSealError, MasterKey
from tests.support.keystores import MASKS, MASTER, distil, greet, key_bytes, opened, secret

BITS = 9001


@pytest.fixture
def store(tmp_path):
    path = tmp_path / "store.sqlite"
    with closing(opened(path)) as alice, closing(opened(tmp_path / "peer.sqlite", Party.BOB)) as bob:
        greet((alice, bob))
        distil((alice, bob), BITS)
        alice.apply(OpenBlock(2))
        alice.apply(StageKeys({2: secret(2, BITS)}))
    return path


def edit(path, sql):
    with closing(sqlite3.connect(path)) as connection, connection:
        return connection.execute(sql).fetchall()


def test_all_of_a_whole_store_opens(store):
    assert damaged(store, MASTER) == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("UPDATE pieces SET sealed = zeroblob(length(sealed)) WHERE pool = 'bob-pad'", "block 1, bob-pad, bytes 0 to "),
        (
            "UPDATE piece_keys SET wrapped = x'00' WHERE piece = (SELECT piece FROM pieces WHERE pool = 'staged')",
            "block 2, staged, bytes 0 to 1126",
        ),
        ("UPDATE pieces SET first_byte = 1 WHERE pool = 'bob-pad'", "block 1, bob-pad, bytes 1 to "),
        ("UPDATE blocks SET mask_cursor = mask_cursor + 1 WHERE block = 2", "block 2, staged, bytes 0 to 1126"),
    ],
)
def test_what_does_not_open_is_named(store, change, says):
    edit(store, change)
    (lost,) = damaged(store, MASTER)

    assert lost.name.startswith(says)
    assert lost.block == int(says[6])


def test_another_master_key_and_a_file_that_is_no_store_are_refused(store, tmp_path):
    with pytest.raises(ConfigurationError, match="not the one this store was sealed with"):
        damaged(store, MasterKey.draw())
    with pytest.raises(ConfigurationError, match="no such key store"):
        damaged(tmp_path / "missing", MASTER)
    (tmp_path / "text").write_text("no database, but long enough to be looked at " * 100)
    with pytest.raises(KeyStoreError, match="text"):
        damaged(tmp_path / "text", MASTER)


def test_a_copy_without_its_master_key_gives_nothing_away(store):
    stranger = MasterKey.draw()
    with closing(Database(store)) as database:
        ((store_id,),) = database.rows("SELECT store_id FROM state")
        assert isinstance(store_id, bytes)
        sealed = list(inventory(database.rows, store_id))
        assert len(sealed) > 5
        assert not is_sealed_with(database.rows, stranger)
        for one in sealed:
            with pytest.raises(DamagedSealError):
                stranger.unwrap(one.wrapped, one.context)
    copy = b"".join(file.read_bytes() for file in store.parent.iterdir())
    key = key_bytes(1, BITS) + key_bytes(2, BITS)
    secrets = [key[at : at + 8] for at in range(0, len(key) - 8, 8)] + [MASKS.masks[at : at + 16] for at in range(0, len(MASKS.masks), 16)]
    assert not any(part in copy for part in secrets)
