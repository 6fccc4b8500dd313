"""``qkd simulate`` and ``qkd distil`` on the named links: what comes out is what the formulas say, to the last bit."""

import json
import math
from dataclasses import replace

import pytest

from common.blocks import BasisCounts, BlockCounts
from common.cli.main import run
from common.distillation.recipe import Recipe
from common.leakage import Leakage
from common.profiles.link import load_profile
from common.security.key_length import key_length
from tests.reference.security_mpmath import key_length as key_length_by_mpmath
from tests.support.runs import (
    SHORT_DECOY,
    SHORT_DECOY_SECONDS,
    SHORT_HBN,
    SHORT_HBN_SECONDS,
    SHORT_HEFEI,
    SHORT_HEFEI_SECONDS,
    SHORT_NIEDERSACHSEN,
    SHORT_NIEDERSACHSEN_SECONDS,
    SHORT_TIMEBIN,
    SHORT_TIMEBIN_SECONDS,
    short_hbn,
)

LINKS = [
    ("niedersachsen", SHORT_NIEDERSACHSEN, SHORT_NIEDERSACHSEN_SECONDS),
    ("hbn", SHORT_HBN, SHORT_HBN_SECONDS),
    ("hefei", SHORT_HEFEI, SHORT_HEFEI_SECONDS),
    ("decoy", SHORT_DECOY, SHORT_DECOY_SECONDS),
    ("timebin-120km", SHORT_TIMEBIN, SHORT_TIMEBIN_SECONDS),
]
BB84_LINKS = [link for link in LINKS if link[0] in {"niedersachsen", "hbn"}]


@pytest.fixture(scope="module", params=LINKS, ids=[name for name, _, _ in LINKS])
def printed(request, tmp_path_factory):
    """A run through the command line: profile, folder of keys and report."""
    link, settings, seconds = request.param
    folder = tmp_path_factory.mktemp(link)
    options = ["--link", link, *(word for setting in settings for word in ("--set", setting))]
    assert run(["simulate", *options, "--seconds", str(seconds), "--out", str(folder / "run"), "--seed", "7", "--json"]) == 0
    recordings = ["--alice", str(folder / "run/alice/emission.h5"), "--bob", str(folder / "run/bob/tags.h5")]
    assert run(["distil", *options, *recordings, "--out", str(folder / "keys"), "--json"]) == 0
    return load_profile(link, settings), folder / "keys", json.loads((folder / "keys/report.json").read_text())


def counts_of(block):
    bases = {name: BasisCounts(**block["counts"][name]) for name in ("Z", "X")}
    rest = {name: block["counts"][name] for name in ("pulses", "frames", "detections", "cross_clicks")}
    table, by_intensity = (tuple(block["counts"][name]) for name in ("table", "key_by_intensity"))
    return BlockCounts(**rest, z=bases["Z"], x=bases["X"], table=table, key_by_intensity=by_intensity)


def test_both_ends_write_the_same_key(printed):
    _, keys, report = printed
    alice, bob = (keys / "alice.key").read_bytes(), (keys / "bob.key").read_bytes()

    assert report["secret_bits"] > 1000
    assert alice == bob
    assert len(alice) == report["secret_bits"] // 8
    assert (keys / "alice.key").stat().st_mode & 0o777 == 0o600


def test_a_text_of_some_hundred_characters_crosses(printed, tmp_path):
    _, keys, _ = printed
    text = "Every photon that arrives pays for a letter. " * 8
    (tmp_path / "letter.txt").write_text(text, encoding="utf-8")

    sent = ["otp", "encrypt", "--key", str(keys / "alice.key"), "--in", str(tmp_path / "letter.txt"), "--out", str(tmp_path / "letter.otp")]
    read = ["otp", "decrypt", "--key", str(keys / "bob.key"), "--in", str(tmp_path / "letter.otp"), "--out", str(tmp_path / "read.txt")]
    assert run(sent) == run(read) == 0
    assert (tmp_path / "read.txt").read_text(encoding="utf-8") == text
    assert text.encode() not in (tmp_path / "letter.otp").read_bytes()


def test_the_length_is_what_the_bound_says_of_the_printed_counts(printed):
    profile, _, report = printed
    recipe = Recipe.of(profile)

    for block in report["blocks"]:
        computed = key_length(counts_of(block), Leakage(block["leakage"]), recipe.setting, recipe.budget)
        assert computed.secret_bits == block["secret_bits"]


@pytest.mark.parametrize("printed", BB84_LINKS, indirect=True, ids=[name for name, _, _ in BB84_LINKS])
def test_the_length_is_what_fifty_digits_say_of_the_printed_counts(printed):
    """Of BB84; the estimates of other protocols are compared with fifty digits in ``tests/property/security``."""
    profile, _, report = printed
    recipe = Recipe.of(profile)

    for block in report["blocks"]:
        exact = key_length_by_mpmath(counts_of(block), sum(block["leakage"].values()), recipe.setting, profile.security.epsilon_secrecy)
        assert exact.secret_bits == block["secret_bits"]
        for basis, bound in exact.phase_error_bound.items():
            assert block["phase_error_bound"][basis] == pytest.approx(float(bound), rel=1e-9)


def test_the_ledger_adds_up_to_the_last_bit(printed):
    _, _, report = printed

    assert math.fsum(report["ledger"].values()) == report["secret_bits"]
    for block in report["blocks"]:
        assert math.fsum(block["ledger"].values()) == block["secret_bits"]


def test_the_report_holds_every_field_of_the_contract(printed):
    _, _, report = printed
    fields = "link link_seconds pulses detections sifted_bits qber blocks_kept blocks_discarded reconciliation epsilon ledger secret_bits"

    assert set(fields.split()) | {"secret_bits_per_pulse", "clock"} <= set(report)
    assert {"method", "efficiency", "leaked_bits", "frame_error_ratio"} <= set(report["reconciliation"])
    assert {"offset_ppm", "residual_rms_ps"} <= set(report["clock"])
    assert set(report["qber"]) == {"Z", "X"}


def test_the_clock_offset_is_found(printed):
    profile, _, report = printed

    assert report["clock"]["offset_ppm"] == pytest.approx(profile.receiver.clock_offset_ppm, abs=0.01)


def test_a_seed_repeats_the_key_and_marks_the_report(tmp_path):
    options = ["--link", "hbn", *(word for setting in SHORT_HBN for word in ("--set", setting))]
    run(["simulate", *options, "--seconds", str(SHORT_HBN_SECONDS), "--out", str(tmp_path / "run"), "--seed", "3", "--json"])
    recordings = ["--alice", str(tmp_path / "run/alice/emission.h5"), "--bob", str(tmp_path / "run/bob/tags.h5")]
    for name in ("first", "second"):
        assert run(["distil", *options, *recordings, "--out", str(tmp_path / name), "--seed", "5", "--json"]) == 0

    assert (tmp_path / "first/alice.key").read_bytes() == (tmp_path / "second/alice.key").read_bytes()
    assert json.loads((tmp_path / "first/report.json").read_text())["randomness"] == "seeded"


def test_the_recipe_is_the_same_for_equal_profiles_and_differs_for_others():
    profile = short_hbn()
    other = replace(profile, channel=replace(profile.channel, loss_db=6.1))

    assert Recipe.of(profile).digest == Recipe.of(short_hbn()).digest
    assert Recipe.of(profile).digest != Recipe.of(other).digest
