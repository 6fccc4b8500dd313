"""The checker finds every way in which two ledgers can disagree, each made by hand here."""

import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

from common.channel.codec import Party
from common.conversation.operations import OpenBlock, StageKeys, TakeMask
from common.keystore import check
from common.keystore.ownership import Pool
from tests.support.keystores import distil, greet, opened, secret


@pytest.fixture
def paths(tmp_path):
    """Two stores that agree, with key spent in every way."""
    paths = [tmp_path / "alice.sqlite", tmp_path / "bob.sqlite"]
    with closing(opened(paths[0])) as alice, closing(opened(paths[1], Party.BOB)) as bob:
        greet((alice, bob))
        for _ in range(3):
            distil((alice, bob), 9001)
        for pool, giver, follower in ((Pool.ALICE_PAD, alice, bob), (Pool.BOB_PAD, bob, alice)):
            for count_bytes in (200, 300, 500):
                taken = giver.take(pool, count_bytes, "letter")
            got = follower.expect(pool, taken.pieces, "letter")
            follower.burn(got.handout)
        for count_bytes in (7, 5):
            move = alice.offer_move(count_bytes)
            assert move is not None
            alice.settle_move(move, is_accepted=bob.accept_move(move))
        for store in (alice, bob):
            store.apply(TakeMask(18))
            store.apply(OpenBlock(9))
        alice.apply(StageKeys({9: secret(9, 100)}))
    return paths


def edit(path, sql):
    with closing(sqlite3.connect(path)) as connection, connection:
        return connection.execute(sql).rowcount


def test_stores_that_agree_have_no_faults(paths):
    assert check.faults(*paths) == check.faults(*reversed(paths)) == []


@pytest.mark.parametrize(
    ("end", "sql", "says"),
    [
        (0, "UPDATE uses SET first_byte = first_byte - 1 WHERE use = (SELECT use FROM uses WHERE first_byte = 200)", "used twice"),
        (0, "UPDATE uses SET count_bytes = 99999 WHERE use = (SELECT MAX(use) FROM uses WHERE pool = 'alice-pad')", "beyond its end"),
        (0, "DELETE FROM uses WHERE use = 1", "do not add up"),
        (1, "UPDATE parts SET left_bytes = left_bytes - 1 WHERE block = 3 AND pool = 'bob-pad'", "do not add up"),
        (0, "DELETE FROM piece_keys WHERE piece = (SELECT piece FROM pieces WHERE block = 3 AND pool = 'alice-delivery')", "are lost"),
        (0, "DELETE FROM pieces WHERE block = 3 AND pool = 'bob-pad'", "are lost"),
        (1, "UPDATE blocks SET state = 'erased' WHERE block = 2", "does not hold it"),
        (1, "UPDATE blocks SET count_bits = count_bits + 1 WHERE block = 2", "9001 bits at one end and 9002"),
        (1, "UPDATE blocks SET count_bits = count_bits + 8 WHERE block = 2", "its parts"),
        (1, "UPDATE parts SET first_bit = first_bit + 8 WHERE block = 2 AND pool = 'bob-pad'", "belong to nobody"),
        (1, "UPDATE parts SET pool = 'x' WHERE block = 2 AND pool = 'bob-pad'", "shared out otherwise"),
        (1, "UPDATE blocks SET reserve_first = reserve_first + 1 WHERE block = 1", "shared out otherwise"),
        (1, "UPDATE blocks SET reserve_pairs = 9 WHERE block = 1", "not its 9 mask pairs"),
        (1, "UPDATE blocks SET reserve_first = 16 WHERE block = 2", "same mask pairs"),
        (1, "UPDATE uses SET first_byte = first_byte + 1 WHERE kind = 'received' AND pool = 'alice-pad'", "never handed out"),
        (0, "UPDATE state SET next_block = 2", "never opened"),
        (0, "UPDATE uses SET kind = 'hash-key' WHERE kind = 'mask'", "pair 18 was used as a hash-key"),
        (0, "UPDATE blocks SET reserve_first = reserve_first + 5 WHERE block = 1", "pair 23 was used as a mask"),
        (1, "UPDATE state SET mask_cursor = 3", "the cursor stands at 3"),
        (0, "UPDATE uses SET pool = 'bob-delivery', block = 77 WHERE use = 1", "a part that is none"),
        (0, "UPDATE uses SET kind = 'taken' WHERE kind = 'moved'", "moved by the ledger alone, or by the moves alone"),
        (1, "UPDATE moves SET from_byte = from_byte + 1", "moved by the ledger alone, or by the moves alone"),
        (1, "UPDATE moves SET to_byte = to_byte + 1", "where byte"),
        (1, "UPDATE moves SET to_pool = 'x'", "key moved to a part that is none"),
        (1, "UPDATE moves SET count_bytes = count_bytes - 1 WHERE count_bytes = 5", "shared out otherwise"),
        (1, "UPDATE moves SET handout = handout + 100", "was altered"),
        (0, "UPDATE moves SET state = 'refused'", "alice.sqlite did not give it"),
        (0, "DELETE FROM moves WHERE count_bytes = 5", "alice.sqlite did not give it"),
        (1, "DELETE FROM moves WHERE count_bytes = 5", "bob.sqlite did not take it over"),
    ],
)
def test_a_fault_is_found(paths, end, sql, says):
    assert edit(paths[end], sql) >= 1
    assert any(says in fault for fault in check.faults(*paths)), check.faults(*paths)


def test_two_stores_of_one_end_are_no_pair(paths):
    assert check.faults(paths[0], paths[0]) == ["alice.sqlite and alice.sqlite belong to the same end"]


def test_the_command_says_so_and_exits_accordingly(paths, capsys):
    assert check.main([str(path) for path in paths]) == 0
    assert "agree" in capsys.readouterr().out
    edit(paths[0], "UPDATE state SET next_block = 2")
    assert check.main([str(path) for path in paths]) == 1
    assert "never opened" in capsys.readouterr().out
    assert check.main([str(paths[0]), "missing.sqlite"]) == 2
    assert "missing.sqlite" in capsys.readouterr().err


def test_a_file_that_is_no_store_or_too_new_is_refused(paths, tmp_path, capsys):
    (tmp_path / "text").write_text("no database, but long enough to be looked at " * 100)
    assert check.main([str(paths[0]), str(tmp_path / "text")]) == 2
    edit(paths[1], "PRAGMA user_version = 99")
    assert check.main([str(path) for path in paths]) == 2
    assert "newer version" in capsys.readouterr().err


def test_it_runs_as_a_module(paths):
    ran = subprocess.run([sys.executable, "-m", "common.keystore.check", *paths], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


def test_it_reads_what_a_killed_process_left_in_the_log(paths, tmp_path):
    with closing(opened(paths[0])) as alice:
        distil_number = 10
        alice.apply(OpenBlock(distil_number))
        alice.apply(StageKeys({distil_number: secret(distil_number, 100)}))
        for file in list(tmp_path.iterdir()):
            if file.name.startswith("alice.sqlite"):
                (tmp_path / f"copy-{file.name}").write_bytes(file.read_bytes())
    assert distil_number in check.LedgerFile.read(tmp_path / "copy-alice.sqlite").blocks
