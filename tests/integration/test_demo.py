"""``qkd demo`` from the first photon to the page."""

import json
import math
import re
import stat

import numpy as np
import pytest
from PIL import Image

from common.cli.demonstration import OVERHEAD_BITS, RECORDING, Expectation, next_length, prepare_folder, prepare_picture
from common.cli.example_picture import example_picture
from common.cli.link_series import expected_seconds, expected_secret_bits
from common.cli.main import run
from common.errors import ConfigurationError
from common.profiles.link import load_profile

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


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """One run of a short link with a small picture, looked at by several tests."""
    folder = tmp_path_factory.mktemp("demo")
    picture = folder / "photo.png"
    Image.fromarray(example_picture()[::3, ::3]).save(picture)
    status = run(["demo", "--seed", "1", "--image", str(picture), "--out", str(folder / "out")])
    return status, folder / "out", json.loads((folder / "out" / "report.json").read_text(encoding="utf-8"))


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
    assert report["randomness"] == "system"


def test_expected_and_obtained_are_near_each_other(shown):
    """Seeded physics: the obtained length scatters by a few per cent around the planner's for a block of this size."""
    _, _, report = shown

    assert report["secret_bits"] == pytest.approx(report["expected"]["secret_bits"], rel=0.35)


def test_everything_is_left_in_the_folder(shown):
    _, out, _ = shown

    names = {path.name for path in out.iterdir()}
    assert names >= {"report.json", "report.html", "original.png", "encrypted.png", "decrypted.png", "overview.png"}
    assert names >= {"qber-and-key-rate.png", "qber-and-key-rate.svg"}
    for name in ("alice.key", "bob.key", "alice.key.ledger", "bob.key.ledger"):
        assert stat.S_IMODE((out / name).stat().st_mode) == 0o600
    assert (out / "alice.key").read_bytes() == (out / "bob.key").read_bytes()


def test_the_page_asks_nobody_for_anything(shown):
    _, out, report = shown
    page = (out / "report.html").read_text(encoding="utf-8")

    assert not re.findall(r'(?:src|href|srcset)\s*=\s*"(?!data:)', page)
    assert not re.findall(r"url\(|@import|<script|<link", page)
    assert page.count("<img") == page.count(" alt=") == 4
    assert "prefers-color-scheme: dark" in page
    for item in report["ledger"]:
        assert item in page


def test_the_series_covers_the_run_and_ends_at_the_key(shown):
    _, _, report = shown
    series = report["over_link_time"]

    assert series["end_s"] == sorted(series["end_s"])
    assert series["end_s"][-1] == pytest.approx(report["link_seconds"])
    assert len({len(series[name]) for name in ("end_s", "secret_bits", "expected_secret_bits", "sifted_bits_per_second")}) == 1
    assert series["secret_bits"][-1] == pytest.approx(report["secret_bits"], abs=0.01 * report["secret_bits"])
    assert series["qber"]["X"][-1] < 0.05


def test_a_second_run_replaces_the_first_and_a_stranger_key_is_left_alone(shown, tmp_path):
    _, out, _ = shown
    prepare_folder(out.parent / "copy")
    (tmp_path / "alice.key").write_bytes(b"precious")

    with pytest.raises(ConfigurationError, match="--out"):
        prepare_folder(tmp_path)
    assert (tmp_path / "alice.key").read_bytes() == b"precious"


def test_an_eavesdropper_leaves_no_key_and_no_picture(tmp_path, capsys):
    status = run(["demo", "--seed", "1", "--eve", "intercept-resend", "--max-link-seconds", "4", "--out", str(tmp_path / "out"), "--json"])
    report = json.loads(capsys.readouterr().out)

    assert status == 4
    assert report["secret_bits"] == 0
    assert report["failed_bound"]
    assert report["picture"]["identical"] is False
    assert not (tmp_path / "out" / "encrypted.png").exists()
    assert not (tmp_path / "out" / "alice.key").exists()
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


def test_an_eavesdropper_cannot_listen_to_a_recording(tmp_path):
    (tmp_path / "recording.ptu").touch()
    arguments = ["demo", "--arrivals", str(tmp_path / "recording.ptu"), "--eve", "intercept-resend", "--out", str(tmp_path / "out")]

    assert run(arguments) == 2


def test_a_large_photo_is_made_smaller(tmp_path):
    Image.new("RGB", (640, 480), (200, 100, 50)).save(tmp_path / "photo.jpg")
    picture, remark = prepare_picture(tmp_path / "photo.jpg", tmp_path, 48_000)

    assert 40_000 < 24 * picture.width * picture.height <= 48_000
    assert "640 × 480" in remark


def test_the_planner_finds_the_shortest_time():
    profile = load_profile("niedersachsen")
    seconds = expected_seconds(profile, 48_320)
    frame_s = profile.security.frame_pulses / profile.source.clock_hz

    assert seconds is not None
    assert expected_secret_bits(profile, round(seconds * profile.source.clock_hz)) >= 48_320
    assert expected_secret_bits(profile, round((seconds - frame_s) * profile.source.clock_hz)) < 48_320


def test_a_hopeless_link_is_known_to_be_one():
    assert expected_seconds(load_profile("niedersachsen", ["channel.loss_db=60"]), 48_320, most_seconds=100.0) is None


def gave(secret_bits, qber=0.005):
    return {"secret_bits": secret_bits, "qber": {"Z": qber, "X": qber}}


def test_attempts_end_at_once_where_no_run_of_any_length_would_give_key():
    expected = Expectation(48_320, 20.0, 60.0)

    assert next_length(load_profile("niedersachsen"), expected, 20.0, gave(0, qber=0.25)) is None


def test_attempts_grow_up_to_the_limit():
    profile = load_profile("niedersachsen")
    expected = Expectation(48_320, 20.0, 60.0)
    first = next_length(profile, expected, 0.0)

    assert first is not None
    assert 20.0 < first < 30.0
    assert next_length(profile, expected, first, gave(0)) == 60.0
    assert first < (next_length(profile, expected, first, gave(40_000)) or 0.0) < 60.0
    assert next_length(profile, expected, 60.0, gave(40_000)) is None
