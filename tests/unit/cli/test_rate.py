"""``qkd rate``: what it prints, what it writes, and what it refuses by name."""

import csv
import json
import math
import os
import subprocess
import sys

import pytest

from common.cli.main import run
from common.planning.rate import rate_point
from common.planning.settings import with_entries
from common.profiles.link import load_profile
from tests.support.tree import ROOT

SWEEP = "--sweep=channel.loss_db=5:25:3"


def answered(capsys, *arguments):
    assert run(["rate", "--json", *arguments]) == 0
    return json.loads(capsys.readouterr().out)


def printed(capsys, *arguments):
    assert run(["rate", *arguments]) == 0
    return capsys.readouterr().out


def refused(capsys, *arguments):
    assert run(["rate", *arguments]) == 2
    return capsys.readouterr().err


def test_json_is_the_point_of_the_planner(capsys):
    found = answered(capsys, "--link", "hbn", "--loss-db", "12", "--block-bits", "100000", "--set", "channel.misalignment=0.03")
    profile = load_profile("hbn", ["channel.loss_db=12", "channel.misalignment=0.03"])
    assert found == json.loads(json.dumps(rate_point(profile, block_bits=100000).to_json()))
    assert (found["loss_db"], found["block_bits"]) == (12.0, 100000)


def test_an_endless_block_has_no_length_and_no_bits(capsys):
    found = answered(capsys, "--link", "hefei", "--asymptotic")
    assert (found["block_bits"], found["secret_bits"], found["pulses"]) == (None, None, None)
    assert found["secret_bits_per_pulse"] > 0.0


@pytest.mark.parametrize(
    ("link", "proof", "name", "mode"),
    [
        ("niedersachsen", "paper", "niedersachsen", "paper"),
        ("niedersachsen", "composable", "bb84-single-photon", "composable"),
        ("niedersachsen", "hbn", "hbn", "paper"),
        ("hbn", "bb84-single-photon", "bb84-single-photon", "composable"),
    ],
)
def test_a_proof_is_named_by_its_kind_or_its_name(capsys, link, proof, name, mode):
    found = answered(capsys, "--link", link, "--proof", proof)
    assert (found["proof"], found["mode"]) == (name, mode)


def test_settings_come_on_top_of_another_source(capsys):
    arguments = ("--link", "niedersachsen", "--source", "decoy")
    found = answered(capsys, *arguments, "--set", "source.intensities=[0.5, 0.1, 0.001]")
    assert (found["source"], found["protocol"]) == ("decoy", "bb84-decoy")
    assert found["parameters"]["source.intensities"] == [0.5, 0.1, 0.001]
    assert answered(capsys, "--link", "decoy", "--source", "decoy") == answered(capsys, "--link", "decoy")


def test_people_read_units_ledger_and_notes(capsys):
    text = printed(capsys, "--link", "niedersachsen")
    for part in ("secret bits a pulse", "QBER", "sifted key bits", "multi-photon Z", "privacy amplification", "blinking not included"):
        assert part in text
    assert "no key" not in text


def test_no_key_is_an_answer_that_names_the_bound(capsys):
    text = printed(capsys, "--link", "niedersachsen", "--loss-db", "40")
    assert "no key: multi-photon bound: " in text
    assert "not distilled" in text


def test_two_proofs_stand_side_by_side_on_the_same_counts(capsys):
    text = printed(capsys, "--link", "hbn", "--compare")
    assert "the same expected counts for both, each with its own leakage" in text
    assert "bb84-single-photon" in text.splitlines()[2]
    assert "Most of the difference: reconciliation; the composable proof gains" in text
    found = answered(capsys, "--link", "hbn", "--compare")
    for mode in ("composable", "paper"):
        column = math.fsum(term[mode] for term in found["terms"].values())
        assert column == pytest.approx(found[mode]["secret_bits"], abs=1e-3)
    assert found["composable"]["qber"] == found["paper"]["qber"]
    assert found["decisive_term"] == "reconciliation"


def test_every_item_of_every_ledger_has_its_row(capsys):
    for link in ("decoy", "hbn", "hefei", "niedersachsen", "timebin-120km"):
        for end in ((), ("--asymptotic",)):
            found = answered(capsys, "--link", link, "--compare", *end)
            for mode in ("composable", "paper"):
                ledger = math.fsum(found[mode]["ledger"].values())
                assert math.fsum(term[mode] for term in found["terms"].values()) == pytest.approx(ledger, rel=1e-9)


def test_a_sweep_is_a_table_a_list_and_a_file(capsys, tmp_path):
    file = tmp_path / "rate.csv"
    text = printed(capsys, "--link", "niedersachsen", SWEEP, "--csv", str(file))
    assert len(text.splitlines()) == 4
    points = answered(capsys, "--link", "niedersachsen", SWEEP)
    assert [point["swept"]["channel.loss_db"] for point in points] == [5.0, 15.0, 25.0]
    rows = list(csv.DictReader(file.read_text(encoding="utf-8").splitlines()))
    for row, point, loss in zip(rows, points, (5.0, 15.0, 25.0), strict=True):
        expected = rate_point(with_entries(load_profile("niedersachsen"), {"channel.loss_db": loss}))
        assert float(row["secret_bits_per_pulse"]) == point["secret_bits_per_pulse"] == expected.secret_bits_per_pulse
        assert float(row["channel.loss_db"]) == loss


def test_blocks_are_swept_in_ratios(capsys):
    points = answered(capsys, "--link", "hbn", "--sweep", "security.block_bits=1e5:1e7:3:log")
    assert [point["block_bits"] for point in points] == [10**5, 10**6, 10**7]
    rates = [point["secret_bits_per_pulse"] for point in points]
    assert rates == sorted(rates)


def test_processes_give_the_same_sweep(capsys):
    alone = answered(capsys, "--link", "niedersachsen", SWEEP)
    assert answered(capsys, "--link", "niedersachsen", SWEEP, "--workers", "1") == alone


def test_the_best_settings_say_what_was_searched(capsys):
    arguments = ("--link", "niedersachsen", "--proof", "paper", "--asymptotic")
    plain = answered(capsys, *arguments)
    best = answered(capsys, *arguments, "--optimise", "--over", "source.pre_attenuation=0.1:1", "--starts", "1")
    assert best["secret_bits_per_pulse"] >= plain["secret_bits_per_pulse"]
    assert best["optimised"]["over"] == {"source.pre_attenuation": [0.1, 1.0]}
    assert best["optimised"]["evaluations"] > 0
    assert best["optimised"]["starts"] == 1
    chosen = best["optimised"]["parameters"]["source.pre_attenuation"]
    assert best["parameters"]["source.pre_attenuation"] == chosen
    text = printed(capsys, *arguments, "--optimise", "--over", "source.pre_attenuation=0.1:1", "--starts", "1")
    assert "best source.pre_attenuation" in text
    assert "source.pre_attenuation 0.1 to 1" in text


def test_what_is_swept_is_not_chosen_as_well(capsys):
    sweep = ("--sweep", "source.probability_z=0.5:0.9:2", "--proof", "paper", "--asymptotic", "--optimise", "--starts", "1")
    for z, point in zip((0.5, 0.9), answered(capsys, "--link", "niedersachsen", *sweep), strict=True):
        assert point["parameters"]["source.probability_z"] == z
        assert list(point["optimised"]["parameters"]) == ["source.pre_attenuation"]


def test_progress_is_told_beside_the_json_and_only_for_what_can_be_done(capsys):
    arguments = ["rate", "--json", "--link", "hbn", "--proof", "paper", "--asymptotic", "--optimise", "--starts", "1", "--over"]
    assert run([*arguments, "source.probability_z=0.9:0.1"]) == 2
    assert "choosing" not in capsys.readouterr().err
    assert run([*arguments, "source.pre_attenuation=0.1:1"]) == 0
    said = capsys.readouterr()
    assert "choosing the best settings" in said.err
    assert json.loads(said.out)["optimised"]["starts"] == 1


def test_a_file_that_cannot_be_written_is_refused_before_anything_is_computed(capsys, monkeypatch):
    monkeypatch.setattr("common.planning.sweeps.sweep", lambda *_: pytest.fail("computed"))
    assert "--csv" in refused(capsys, "--link", "hbn", SWEEP, "--csv", "no/such/folder/rate.csv")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--link", "nowhere"), "link profile 'nowhere': unknown"),
        (("--link", "hbn", "--loss-db", "-1"), "channel.loss_db"),
        (("--link", "hbn", "--loss-db", "nan"), "channel.loss_db"),
        (("--link", "hbn", "--loss-db", "inf"), "channel.loss_db"),
        (("--link", "hbn", "--set", "source.g2=1.2"), "source.g2"),
        (("--link", "hbn", "--set", "source.mean_photon_number=1.5"), "source.mean_photon_number"),
        (("--link", "hbn", "--set", "source.mean_photon_number=1.5", "--proof", "paper"), "source.mean_photon_number"),
        (("--link", "hbn", "--set", "source.probability_z=1.0"), "source.probability_z"),
        (("--link", "decoy", "--set", "source.probability_intensity=[0.5, 0.2, 0.1]"), "source.probability_intensity"),
        (("--link", "hbn", "--proof", "bb84-decoy"), "security.proof = 'bb84-decoy' does not fit protocol = 'bb84'"),
        (("--link", "hbn", "--proof", "wishful"), "security.proof = 'wishful'"),
        (("--link", "hbn", "--set", "security.proof=hbn"), "security.proof = 'hbn' reproduces a publication"),
        (("--link", "hbn", "--block-bits", "0"), "security.block_bits = 0"),
        (("--link", "hbn", "--block-bits", "-5"), "security.block_bits = -5"),
        (("--link", "hbn", "--block-bits", "10", "--asymptotic"), "--block-bits and --asymptotic"),
        (("--link", "hbn", "--source", "lamp"), "lamp"),
        (("--link", "hbn", "--over", "source.probability_z"), "--over"),
        (("--link", "hbn", "--optimise", "--over", "source.g2"), "source.g2"),
        (("--link", "hbn", "--csv", "x.csv"), "--csv"),
        (("--link", "hbn", "--workers", "2"), "--workers"),
        (("--link", "hbn", "--compare", SWEEP), "--compare"),
        (("--link", "hbn", "--sweep", "channel.loss_db"), "--sweep 'channel.loss_db'"),
        (("--link", "hbn", "--sweep", "channel.loss_db=0:1:0"), "--sweep"),
        (("--link", "hbn", "--sweep", "channel.loss_db=0:1:2:3"), "--sweep"),
        (("--link", "hbn", "--sweep", "channel.loss_db=0:10:3:log"), "ratios"),
        (("--link", "hbn", "--sweep", "channel.loss_db=-5:10:3"), "channel.loss_db"),
        (("--link", "hbn", "--sweep", "channel.lost_db=0:10:3"), "channel.lost_db"),
        (("--link", "hbn", "--sweep", "security.block_bits=10:100:3", "--block-bits", "5"), "--block-bits and --sweep"),
        (("--link", "hbn", "--sweep", "security.block_bits=10:100:3", "--asymptotic"), "--asymptotic and --sweep"),
        (("--link", "hbn", "--sweep", "security.block_bits=nan:1:3"), "--sweep 'security.block_bits=nan:1:3'"),
        (("--link", "hbn", "--sweep", "security.block_bits=1:inf:3"), "--sweep 'security.block_bits=1:inf:3'"),
        (("--link", "hbn", SWEEP, "--loss-db", "3"), "--loss-db and --sweep: each decides channel.loss_db"),
        (("--link", "hbn", "--set", "channel.loss_db=2", "--loss-db", "3"), "--loss-db and --set: each decides channel.loss_db"),
        (("--link", "hbn", "--starts", "3"), "--starts"),
        (("--link", "hbn", "--optimise", "--starts", "0"), "--starts"),
        (("--link", "hbn", SWEEP, "--csv", "no/such/folder/rate.csv"), "--csv 'no/such/folder/rate.csv': No such file or directory"),
        (
            ("--link", "hbn", "--sweep", "source.probability_z=0.2:0.8:3", "--optimise", "--over", "source.probability_z"),
            "--over and --sweep: each decides source.probability_z",
        ),
        (("--link", "hbn", "--optimise", "--over", "source.probability_z=0.9:0.1"), "LOW lies below HIGH"),
        (("--link", "hbn", "--set", "source.clock_hz=1e-300"), "source.clock_hz"),
        (("--link", "decoy", "--set", "source.intensities=[1e300, 0.1, 0.002]"), "source.intensities"),
        (("--link", "hbn", "--proof", "paper", "--set", "security.epsilon_secrecy=1e-300"), "security.epsilon_secrecy"),
        (("--link", "hefei", "--set", "channel.fading_sigma_db=1e300"), "channel.fading_sigma_db"),
        (("--link", "hefei", "--set", "channel.fading_sigma_db=5"), "channel.fading_sigma_db = 5: with channel.loss_db = 14.6"),
        (("--link", "hbn", SWEEP, "--workers", "1000000"), "workers = 1000000: this machine has"),
        (("--link", "hbn", SWEEP, "--workers", "0"), "workers = 0"),
        (("--link", "hbn", SWEEP, "--workers", "1", "--dask", "tcp://127.0.0.1:1"), "--workers and --dask"),
    ],
    ids=lambda value: " ".join(value[2:]) if isinstance(value, tuple) else None,
)
def test_nonsense_is_refused_by_name(capsys, arguments, said):
    assert said in refused(capsys, *arguments)


def test_a_point_needs_no_heavy_library():
    """Neither plots nor optimiser nor compiler: that is what keeps a point under a second."""
    code = (
        "import sys; from common.cli.main import run; [run(['rate', '--link', link, '--json']) for link in ('niedersachsen', 'hefei')];"
        "print(sorted({'scipy', 'matplotlib', 'numba', 'distributed', 'rich'} & sys.modules.keys()))"
    )
    ran = subprocess.run(
        [sys.executable, "-P", "-c", code],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert ran.stdout.splitlines()[-1] == "[]"
