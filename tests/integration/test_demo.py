"""``qkd demo`` from the first photon to the page: three real processes, two stores, a picture, and nothing left behind."""

import json
import math
import os
import re
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.cli.demonstration import OVERHEAD_BITS, RECORDING
from common.cli.example_picture import example_picture
from common.cli.main import run
from common.keystore.check import faults
from tests.support.runs import SHORT_DECOY, SHORT_HBN, SHORT_HEFEI, SHORT_NIEDERSACHSEN, SHORT_TIMEBIN

CONTRACT = {
    "link",
    "link_seconds",
    "pulses",
    "detections",
    "sifted_bits",
    "qber",
    "blocks_kept",
    "blocks_discarded",
    "reconciliation",
    "epsilon",
    "ledger",
    "secret_bits",
    "secret_bits_per_pulse",
    "clock",
    "picture",
}

SHORT = [part for setting in SHORT_NIEDERSACHSEN for part in ("--set", setting)]

ENDLESS = [*SHORT, "--secret-bits", "1000000000"]

PATIENCE_SECONDS = 240.0
"""Two busy cores that compile every kernel for the first time; warm, it takes seconds."""


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """One run of a short link with a small picture, in a folder whose name is too long for sockets; looked at by several tests."""
    folder = tmp_path_factory.mktemp("demo") / ("x" * 100)
    folder.mkdir()
    picture = folder / "photo.png"
    Image.fromarray(example_picture()[::3, ::3]).save(picture)
    status = run(["demo", *SHORT, "--seed", "1", "--image", str(picture), "--out", str(folder / "out")])
    return status, folder / "out", json.loads((folder / "out" / "report.json").read_text(encoding="utf-8"))


def processes_of(folder: Path) -> dict[int, str]:
    """Processes whose command line names the folder, by number."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if any(str(folder / "nodes") in word for word in words):
            found[int(path.parent.name)] = " ".join(words)
    return found


def wait_until(condition, what):
    until = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < until, f"no {what}"
        time.sleep(0.05)


@pytest.fixture
def running(tmp_path):
    """A demonstration that would go on for ever, its three processes up."""
    out = tmp_path / "out"
    heeding = ["env", "--default-signal=INT"]  # whoever runs the tests in the background has it ignored
    command = [*heeding, sys.executable, "-m", "common.cli.main", "demo", *ENDLESS, "--out", str(out)]
    with (tmp_path / "said").open("wb") as said:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
    try:
        wait_until(lambda: b"three processes are up" in (tmp_path / "said").read_bytes() or process.poll() is not None, "three processes")
        assert process.poll() is None, (tmp_path / "said").read_text()
        yield process, out, tmp_path / "said"
    finally:
        process.kill()
        process.wait()


def test_the_picture_arrives(shown):
    status, out, report = shown

    assert status == 0
    assert report["picture"]["identical"] is True
    with Image.open(out / "decrypted.png") as seen, Image.open(out / "encrypted.png") as noise:
        assert np.array_equal(np.asarray(seen), example_picture()[::3, ::3])
        assert noise.size == seen.size
        assert np.mean(np.asarray(noise) == np.asarray(seen)) < 0.05


def test_the_report_keeps_its_contract(shown):
    _, _, report = shown

    assert report.keys() >= CONTRACT
    assert math.fsum(report["ledger"].values()) == report["secret_bits"]
    assert report["secret_bits"] >= report["picture"]["bits"] + OVERHEAD_BITS
    assert report["picture"]["bits"] == 14 * 17 * 24
    assert report["picture"]["share_of_key"] == report["picture"]["key_bits_spent"] / report["secret_bits"]
    assert report["randomness"] == "system"
    assert report["clock"]["offset_ppm"] == pytest.approx(3.0, abs=0.01)


@pytest.mark.parametrize(
    ("link", "settings"), [("hbn", SHORT_HBN), ("hefei", SHORT_HEFEI), ("decoy", SHORT_DECOY), ("timebin-120km", SHORT_TIMEBIN)]
)
def test_every_link_runs_live_with_the_error_rate_that_the_planner_expects(link, settings, tmp_path):
    """Seeded physics; five standard deviations of the key bits' errors, so chance fails one run of 1.7 million."""
    Image.fromarray(example_picture()[::8, ::8]).save(tmp_path / "small.png")
    chosen = [part for setting in settings for part in ("--set", setting)]
    status = run(["demo", "--link", link, *chosen, "--seed", "1", "--image", str(tmp_path / "small.png"), "--out", str(tmp_path / "out")])
    report = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    expected, count_bits = report["expected"]["qber"]["Z"], sum(block["counts"]["Z"]["key"] for block in report["blocks"])

    assert status == 0
    assert report["picture"]["identical"] is True
    assert report["stores"]["agree"] is True
    assert abs(report["qber"]["Z"] - expected) < 5 * math.sqrt(expected * (1 - expected) / count_bits)


def test_expected_and_obtained_are_near_each_other(shown):
    """Seeded physics: the obtained length scatters by some per cent around the planner's for blocks of this size."""
    _, _, report = shown

    assert report["secret_bits"] == pytest.approx(report["expected"]["secret_bits"], rel=0.35)


def test_three_processes_ran_and_both_stores_agree(shown):
    _, out, report = shown

    assert [process["name"] for process in report["processes"]] == ["qkd-fibre", "qkd-bob", "qkd-alice"]
    for process in report["processes"]:
        assert '"event": "ready"' in (out / process["log"]).read_text(encoding="utf-8")
    assert report["stores"]["agree"] is True
    assert report["stores"]["alice"] == report["stores"]["bob"]
    assert faults(*(out / "nodes" / end / "state" / "store.sqlite" for end in ("alice", "bob"))) == []
    assert report["event_loop_lag"].keys() == {"alice", "bob"}


def test_nothing_runs_on(shown):
    _, out, _ = shown

    assert processes_of(out) == {}


def test_everything_is_left_in_the_folder(shown):
    _, out, _ = shown

    names = {path.name for path in out.iterdir()}
    assert names >= {"report.json", "report.html", "original.png", "encrypted.png", "decrypted.png", "overview.png", "nodes", "logs"}
    assert names >= {"qber-and-key-rate.png", "qber-and-key-rate.svg"}
    assert stat.S_IMODE((out / "nodes").stat().st_mode) == 0o700
    for end in ("alice", "bob"):
        assert stat.S_IMODE((out / "nodes" / end / "state" / "store.sqlite").stat().st_mode) == 0o600


def test_the_page_asks_nobody_for_anything(shown):
    _, out, report = shown
    page = (out / "report.html").read_text(encoding="utf-8")

    assert not re.findall(r'(?:src|href|srcset)\s*=\s*"(?!data:)', page)
    assert not re.findall(r"url\(|@import|<script|<link", page)
    assert page.count("<img") == page.count(" alt=") == 4
    assert "prefers-color-scheme: dark" in page
    for item in (*report["ledger"], "alice-pad", "qkd-fibre"):
        assert item in page


def test_the_series_is_finer_than_blocks_and_ends_at_the_key(shown):
    _, _, report = shown
    series = report["over_link_time"]

    assert series["end_s"] == sorted(series["end_s"])
    assert series["end_s"][-1] == pytest.approx(report["link_seconds"])
    assert len(series["end_s"]) >= len(report["blocks"])
    assert len({len(series[name]) for name in ("end_s", "secret_bits", "expected_secret_bits", "sifted_bits_per_second")}) == 1
    assert series["secret_bits"][-1] == report["secret_bits"]
    assert 0 < series["qber"]["X"][-1] < 0.05
    assert 0 < series["qber"]["Z"][-1] < 0.05


def test_drift_is_compensated_and_the_actuators_are_in_the_report(tmp_path, capsys):
    drift = ["--set", "channel.drift_rate=0.001", "--set", "security.test_fraction=0.1", "--compensate-drift"]
    status = run(["demo", *SHORT, *drift, "--link-seconds", "6", "--speed", "2", "--seed", "1", "--out", str(tmp_path / "out"), "--json"])
    report = json.loads(capsys.readouterr().out)
    watched = report["over_link_time"]["watched"]

    assert status == 0
    assert report["link_seconds"] == pytest.approx(6.0, rel=0.1)  # not only as long as the picture needs
    assert report["secret_bits"] > report["expected"]["wanted_secret_bits"]
    assert watched["link_seconds"] == sorted(watched["link_seconds"])
    assert set(watched["positions"][-1]) == {"plate1", "plate2", "plate3"}
    assert set(watched["compensation"]) <= {"acquiring", "tracking"}
    assert watched["offset_ppm"][-1] == pytest.approx(3.0, abs=0.1)
    assert watched["lock_losses"][-1] == 0


def test_an_eavesdropper_leaves_no_key_and_no_picture(tmp_path, capsys):
    status = run(["demo", *SHORT, "--seed", "1", "--eve", "intercept-resend", "--out", str(tmp_path / "out"), "--json"])
    report = json.loads(capsys.readouterr().out)

    assert status == 4
    assert report["secret_bits"] == 0
    assert report["failed_bound"]
    assert report["picture"]["identical"] is False
    assert report["missing_secret_bits"] == report["expected"]["wanted_secret_bits"]
    assert not (tmp_path / "out" / "encrypted.png").exists()
    assert "No key, no picture" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_real_arrivals_carry_the_picture(recordings, tmp_path):
    recording = recordings / RECORDING
    if not recording.is_file():
        pytest.skip(f"recording {RECORDING} is absent")
    status = run(["demo", "--arrivals", str(recording), "--seed", "1", "--out", str(tmp_path / "out")])
    report = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))

    assert status == 0
    assert report["picture"]["identical"] is True
    assert report["recording"]["clock_residual_rms_ps"] < 150
    assert report["blocks"][-1]["ends_stream"] is True


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_demonstration_that_is_interrupted_stops_everything(running, number):
    process, out, said = running
    assert len(processes_of(out)) == 3

    process.send_signal(number)

    assert process.wait(PATIENCE_SECONDS) == 1
    assert processes_of(out) == {}
    assert "interrupted" in said.read_text()


def test_a_demonstration_that_is_killed_leaves_nothing_running(running):
    process, out, _ = running

    process.kill()
    process.wait()

    wait_until(lambda: processes_of(out) == {}, "end of the three processes")


def test_a_process_that_dies_is_named_with_its_log(running):
    process, out, said = running
    (number,) = [number for number, words in processes_of(out).items() if f"{out / 'nodes' / 'bob'}" in words]

    os.kill(number, signal.SIGKILL)

    assert process.wait(PATIENCE_SECONDS) == 3
    assert f"qkd: qkd-bob has ended (killed by SIGKILL); its log is {out / 'logs' / 'bob.log'}" in said.read_text()
    assert processes_of(out) == {}


def test_two_demonstrations_do_not_share_a_folder(running):
    _, out, _ = running

    assert run(["demo", *SHORT, "--out", str(out)]) == 2
    assert len(processes_of(out)) == 3


@pytest.mark.parametrize(
    "arguments", [["--eve", "intercept-resend"], ["--max-link-seconds", "3"], ["--speed", "2"], ["--compensate-drift"]]
)
def test_what_acts_on_the_emulated_fibre_does_not_go_with_a_recording(arguments, tmp_path):
    (tmp_path / "recording.ptu").touch()

    assert run(["demo", "--arrivals", str(tmp_path / "recording.ptu"), *arguments, "--out", str(tmp_path / "out")]) == 2


def test_a_second_run_replaces_the_first_and_says_what_is_missing_where_the_link_is_too_short(shown, capsys):
    _, out, _ = shown
    before = (out / "nodes" / "alice" / "authentication.secret").read_bytes()

    status = run(["demo", *SHORT, "--max-link-seconds", "0.3", "--out", str(out), "--json"])
    report = json.loads(capsys.readouterr().out)

    assert status == 4
    assert report["blocks"][-1]["ends_stream"] is True
    assert report["link_seconds"] < 0.3
    assert report["missing_secret_bits"] > 0
    assert (out / "nodes" / "alice" / "authentication.secret").read_bytes() != before
    assert not (out / "encrypted.png").exists()
