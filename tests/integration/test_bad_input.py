"""Bad input gets one clear line, the right exit status, and loses nothing."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from common.cli.main import run
from tests.support.runs import SHORT_HBN

OPTIONS = ["--link", "hbn", *(word for setting in SHORT_HBN for word in ("--set", setting))]


@pytest.fixture(scope="module")
def recordings_of_two_runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for seed in ("1", "2"):
        assert run(["simulate", *OPTIONS, "--seconds", "20", "--out", str(folder / seed), "--seed", seed, "--json"]) == 0
    return folder


def distil(folder, out, emission_seed, tags_seed, *more):
    files = ["--alice", str(folder / emission_seed / "alice/emission.h5"), "--bob", str(folder / tags_seed / "bob/tags.h5")]
    return run(["distil", *OPTIONS, *files, "--out", str(out), *more])


def test_recordings_of_different_runs_make_no_key_and_the_summary_says_what_to_check(recordings_of_two_runs, tmp_path, capsys):
    assert distil(recordings_of_two_runs, tmp_path / "keys", "1", "2") == 0

    assert "do emission and tags belong to one run" in capsys.readouterr().out
    report = json.loads((tmp_path / "keys/report.json").read_text())
    assert report["blocks_discarded"] == {"clock-not-found": 1}
    assert report["secret_bits"] == 0


def test_keys_that_may_be_in_use_are_never_replaced(recordings_of_two_runs, tmp_path, capsys):
    assert distil(recordings_of_two_runs, tmp_path / "keys", "1", "1", "--json") == 0
    before = (tmp_path / "keys/alice.key").read_bytes()

    assert distil(recordings_of_two_runs, tmp_path / "keys", "1", "1", "--json") == 2
    assert "already holds keys" in capsys.readouterr().err
    assert (tmp_path / "keys/alice.key").read_bytes() == before


def test_an_unknown_channel_name_is_named(recordings_of_two_runs, tmp_path, capsys):
    assert distil(recordings_of_two_runs, tmp_path / "keys", "1", "1", "--channels", "H=0,Q=3") == 2
    assert "'Q'" in capsys.readouterr().err


def test_what_the_system_refuses_is_one_line_and_leaves_nothing_half_done(recordings_of_two_runs, tmp_path, capsys):
    (tmp_path / "file").write_text("not a folder", encoding="utf-8")

    assert distil(recordings_of_two_runs, tmp_path / "file" / "keys", "1", "1") == 1
    lines = capsys.readouterr().err.strip().splitlines()
    assert lines[-1].startswith("qkd: ")
    assert "Traceback" not in "".join(lines)
    assert not list(tmp_path.glob("**/*.part"))


@pytest.mark.parametrize("seconds", ["nan", "inf", "1e-12", "1e30"])
def test_an_impossible_time_of_sending_makes_no_folder(tmp_path, seconds):
    assert run(["simulate", *OPTIONS, "--seconds", seconds, "--out", str(tmp_path / "run")]) == 2
    assert not (tmp_path / "run").exists()


def test_a_full_disk_ends_in_one_line(recordings_of_two_runs, tmp_path):
    """/dev/full stands for the disk: what goes to standard output finds it full."""
    emission, tags = (recordings_of_two_runs / "1" / part for part in ("alice/emission.h5", "bob/tags.h5"))
    words = ["distil", *OPTIONS, "--alice", str(emission), "--bob", str(tags), "--out", str(tmp_path / "keys"), "--json"]
    shutil.rmtree(tmp_path / "keys", ignore_errors=True)
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "common.cli.main", *words], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )

    assert ended.returncode != 0
    assert "Traceback" not in ended.stderr
