"""``qkd keys`` on stores that hold key: exported once, checked, and put under a fresh master key."""

import asyncio
import contextlib
import json
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from types import SimpleNamespace
from typing import cast

import pytest

from common.channel.codec import Party
from common.cli import keys
from common.cli.main import run
from common.keystore.interface import UseKind
from common.observability.audit import AuditTrail
from common.service.admin import AdminServer
from common.service.commands import NodeCommands
from common.service.credentials import read_secrets
from common.service.node import Node
from common.service.settings import NodeSettings, load_settings
from common.service.store import open_store
from common.service.workers import Workers
from tests.support.keystores import greet
from tests.support.pads import fill

BITS = 200_000


@pytest.fixture
def configs(tmp_path):
    """Configurations of two stopped nodes with two blocks of key."""
    assert run(["provision", "--link", "niedersachsen", "--out", str(tmp_path / "nodes")]) == 0
    found = [tmp_path / "nodes" / name / "config.toml" for name in ("alice", "bob")]
    fill(found, BITS, BITS)
    return found


@pytest.fixture
def stores(configs):
    return [config.parent / "state" / "store.sqlite" for config in configs]


@contextlib.contextmanager
def running(configs):
    """Both nodes as far as ``qkd keys`` knows them: a store behind an admin socket."""
    settings = [load_settings(config, NodeSettings) for config in configs]
    opened = [
        open_store(each, party, read_secrets(each.resolved(each.channel.secret))) for party, each in zip(Party, settings, strict=True)
    ]
    greet(opened)
    ready, stopping, loop = threading.Event(), asyncio.Event(), asyncio.new_event_loop()

    async def serve():
        workers = Workers(1)
        servers = []
        for party, each, store in zip(Party, settings, opened, strict=True):

            async def read_levels(store=store):
                return store.levels()

            each.resolved(each.admin.socket).parent.mkdir(exist_ok=True)
            node = SimpleNamespace(
                kind=SimpleNamespace(party=party),
                pad_id=b"",
                workers=workers,
                store=store,
                audit=AuditTrail(each.resolved(each.node.state) / "audit.jsonl"),
                read_levels=read_levels,
                settings=each,
                counters=SimpleNamespace(rates=lambda: {"secret_bits_per_wall_second": None}),
            )
            servers.append((AdminServer(each.resolved(each.admin.socket), NodeCommands(cast("Node", node)).handlers), node.audit))
        for server, _ in servers:
            await server.start()
        ready.set()
        await stopping.wait()
        for server, trail in servers:
            await server.stop()
            trail.close()
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(others)
        workers.stop()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert ready.wait(10)
    try:
        yield opened
    finally:
        loop.call_soon_threadsafe(stopping.set)
        thread.join(20)
        loop.close()
        for store in opened:
            store.close()


def edit(path, sql):
    with closing(sqlite3.connect(path)) as connection, connection:
        return connection.execute(sql).fetchall()


def test_an_export_gives_both_ends_the_same_key_for_good(configs, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(keys, "CHUNK_BYTES", 300)
    with running(configs) as opened:
        arguments = ["keys", "export", "--config", str(configs[0]), "--bits", "8000", "--out", str(tmp_path / "ours")]
        assert run(arguments) == 2
        assert "would take 8000 bits of delivery key" in capsys.readouterr().err
        assert not (tmp_path / "ours").exists()
        assert not opened[0].audit()
        assert run([*arguments, "--yes", "--json"]) == 0
        report = json.loads(capsys.readouterr().out)
        following = ["--config", str(configs[1]), "--like", str(tmp_path / "ours.json"), "--out", str(tmp_path / "theirs")]
        assert run(["keys", "export", *following]) == 2
        assert "would take 8000 bits" in capsys.readouterr().err
        assert run(["keys", "export", *following, "--yes"]) == 0

        assert run([*arguments, "--yes"]) == 2
        assert "nothing is overwritten" in capsys.readouterr().err
        assert {entry.kind for entry in opened[0].audit()} == {UseKind.TAKEN}
        assert {entry.kind for entry in opened[1].audit()} == {UseKind.RECEIVED}
        assert run(["keys", "audit", "--config", str(configs[0])]) == 0
        assert "taken     alice-delivery         block 1, bytes 0 to 299 (export)" in capsys.readouterr().out
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()
    assert report["bits"] == 8000 == 8 * len((tmp_path / "ours").read_bytes())
    assert {(tmp_path / name).stat().st_mode & 0o777 for name in ("ours", "ours.json", "theirs")} == {0o600}


def test_an_export_that_breaks_off_says_which_key_is_in_its_file(configs, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(keys, "CHUNK_BYTES", 4000)
    with running(configs):
        export = ["keys", "export", "--config", str(configs[0]), "--bits", str(2 * BITS), "--yes", "--out"]
        assert run([*export, str(tmp_path / "ours")]) == 4
        assert (
            run(
                [
                    "keys",
                    "export",
                    "--config",
                    str(configs[1]),
                    "--like",
                    str(tmp_path / "ours.json"),
                    "--out",
                    str(tmp_path / "theirs"),
                    "--yes",
                ]
            )
            == 0
        )
        assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes() != b""
        monkeypatch.setattr(keys, "CHUNK_BYTES", 1 << 20)
        assert run([*export, str(tmp_path / "more")]) == 4
        assert "bits short" in capsys.readouterr().err
        assert not list(tmp_path.glob("more*"))


@pytest.mark.parametrize("text", ["{}", "[]", "no", '{"pieces": [[1, 2]]}', '{"pieces": [["a", 0, 1]]}', '{"pieces": []}'])
def test_what_names_no_export_is_refused(configs, tmp_path, text, capsys):
    (tmp_path / "named").write_text(text)
    export = ["keys", "export", "--config", str(configs[0]), "--like", str(tmp_path / "named"), "--out", str(tmp_path / "key"), "--yes"]
    assert run(export) == 2
    assert "does not say which key was exported" in capsys.readouterr().err


def test_a_store_is_checked_by_itself_and_against_the_other(configs, stores, capsys):
    check = ["keys", "audit", "--config", str(configs[0]), "--check"]
    assert run(check) == 0
    assert capsys.readouterr().out.splitlines() == ["blocks: 2 committed", "all that is sealed opens, and the ledger adds up"]
    assert run([*check, "--against", str(stores[1])]) == 0
    assert f"and agrees with {stores[1]}" in capsys.readouterr().out
    edit(stores[1], "UPDATE blocks SET state = 'erased' WHERE block = 2")
    assert run([*check, "--against", str(stores[1]), "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["node"] == "alice"
    assert report["blocks"] == {"committed": 2}
    assert report["damaged_blocks"] == report["damage"] == []
    assert any("does not hold it" in fault for fault in report["faults"])


def test_a_check_names_the_blocks_that_are_damaged(configs, stores, capsys):
    edit(stores[0], "UPDATE pieces SET sealed = zeroblob(length(sealed)) WHERE block = 2 AND pool = 'bob-pad'")
    check = ["keys", "audit", "--config", str(configs[0]), "--check"]
    assert run(check) == 1
    text = capsys.readouterr().out
    assert "block 2, bob-pad, bytes 0 to " in text
    assert "damaged blocks: 2; the rest is served" in text
    assert run([*check, "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["damaged_blocks"] == [2]


def test_options_of_a_check_need_one(configs, stores, capsys):
    assert run(["keys", "audit", "--config", str(configs[0]), "--against", str(stores[1])]) == 2
    assert "go with --check" in capsys.readouterr().err


def test_a_master_key_is_replaced_and_the_nodes_open_their_stores(configs, stores, capsys):
    key_file = configs[0].parent / "master.key"
    old = key_file.read_bytes()
    assert run(["keys", "rotate", "--config", str(configs[0]), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["damaged_blocks"] == []
    assert report["data_keys"] == edit(stores[0], "SELECT COUNT(*) FROM piece_keys")[0][0]
    assert key_file.read_bytes() != old
    assert "master key rotated" in (configs[0].parent / "state" / "audit.jsonl").read_text()
    assert run(["keys", "audit", "--config", str(configs[0]), "--check", "--against", str(stores[1])]) == 0
    (key_file.parent / "old.key").write_bytes(old)
    (key_file.parent / "old.key").chmod(0o600)
    assert run(["keys", "audit", "--config", str(configs[0]), "--check", "--master-key", str(key_file.parent / "old.key")]) == 2
    assert "not the one this store was sealed with" in capsys.readouterr().err


def test_a_node_finishes_a_rotation_that_was_interrupted(configs):
    key_file = configs[0].parent / "master.key"
    key_file.rename(key_file.with_name("master.key.new"))
    key_file.write_bytes(bytes(32))
    key_file.chmod(0o600)
    with running(configs) as opened:
        assert opened[0].levels().count_committed == 2
    assert key_file.read_bytes() != bytes(32)
    assert not key_file.with_name("master.key.new").exists()


def test_a_running_node_keeps_its_master_key(configs, capsys):
    with running(configs):
        assert run(["keys", "rotate", "--config", str(configs[0])]) == 2
    assert "open in another process" in capsys.readouterr().err


def test_a_credential_is_rotated_in_the_file_behind_it(configs, capsys):
    configs[0].write_text(configs[0].read_text().replace('"master.key"', '"credential:store-key"'))
    assert run(["keys", "rotate", "--config", str(configs[0])]) == 2
    assert "--master-key" in capsys.readouterr().err
    assert run(["keys", "rotate", "--config", str(configs[0]), "--master-key", str(configs[0].parent / "master.key")]) == 0
    assert run(["keys", "audit", "--config", str(configs[0]), "--check", "--master-key", str(configs[0].parent / "master.key")]) == 0


def test_a_command_can_be_neither_dumped_nor_traced():
    shown = """
import atexit, ctypes, resource
from common.cli.main import main

atexit.register(lambda: print(resource.getrlimit(resource.RLIMIT_CORE), ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)))
main(["keys", "rotate"])
"""
    done = subprocess.run([sys.executable, "-c", shown], capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 2
    assert done.stdout.splitlines()[-1:] == ["(0, 0) 0"]
