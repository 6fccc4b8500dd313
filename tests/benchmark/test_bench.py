import json
import os

import pytest

from common.cli.bench import STAGES
from common.cli.benchmarks import distance, live, reconciliation
from common.cli.benchmarks.measurement import Measurement, Request
from common.cli.main import run

CONTRACT = {"stage", "qber", "block_bits", "efficiency", "frame_error_ratio", "cores", "peer", "ratio_to_peer", "method"}
EVENT_STAGES = {"sifting", "simulation", "timetags"}
QUICK = ["--quick", "--qber", "0.02", "--json"]


@pytest.fixture(scope="module", params=sorted(STAGES))
def stage(request):
    return request.param


def printed(capsys, *arguments):
    capsys.readouterr()
    assert run(["bench", *arguments]) == 0
    return json.loads(capsys.readouterr().out)


def test_every_stage_prints_the_fields_of_the_contract(stage, capsys):
    records = printed(capsys, stage, *QUICK)

    assert records
    for record in records:
        assert set(record) >= CONTRACT | {"mbit_per_second", "mevents_per_second"}
        assert record["stage"] == stage
        assert record["cores"] == (os.cpu_count() if "daemons" in record["method"] else 1)
        counts_events = stage in EVENT_STAGES or record["method"].startswith("announcement")
        unit, other = ("mevents", "mbit") if counts_events else ("mbit", "mevents")
        assert record[f"{unit}_per_second"] > 0.0
        assert record[f"{other}_per_second"] is None
        assert (record["peer"] is None) == (record["ratio_to_peer"] is None)


@pytest.fixture
def without_slow_peer(monkeypatch):
    monkeypatch.setattr(reconciliation, "installed", lambda _name: None)


@pytest.mark.usefixtures("without_slow_peer")
def test_reconciliation_counts_bits_and_frames_of_both_methods(capsys):
    records = printed(capsys, "reconciliation", *QUICK)

    assert {record["method"].split(",")[0] for record in records} == {"cascade", "ldpc", "ldpc fast", "ldpc thorough"}
    for record in records:
        assert record["qber"] == 0.02
        assert record["efficiency"] > 1.0
        assert 0.0 <= record["frame_error_ratio"] <= 1.0
        if "both halves" in record["method"]:
            assert record["frame_error_ratio"] == 0.0


def test_the_pipeline_reconciles_and_says_how_much_key_it_made(capsys):
    for record in printed(capsys, "pipeline", *QUICK):
        assert record["secret_bits"] >= 0
        assert record["efficiency"] > 1.0
        assert record["count_segments"] > 0


@pytest.mark.usefixtures("without_slow_peer")
def test_block_lengths_and_qbers_are_those_asked_for(capsys):
    lengths = printed(capsys, "amplification", "--block-bits", "10000", "--block-bits", "12345", "--quick", "--json")
    qbers = printed(capsys, "reconciliation", "--block-bits", "65536", "--qber", "0.01", "--qber", "0.03", "--quick", "--json")

    assert {record["block_bits"] for record in lengths} == {10000, 12345}
    assert {record["qber"] for record in qbers} == {0.01, 0.03}


def test_the_table_names_stage_speed_and_peer(capsys):
    assert run(["bench", "amplification", "--quick"]) == 0
    shown = capsys.readouterr()

    assert "amplification" in shown.out
    assert "Mbit/s" in shown.out
    assert "numpy FFT" in shown.out
    assert "measuring amplification" in shown.err


def test_at_every_distance_the_chosen_method_is_measured_and_the_other_one(monkeypatch):
    asked = []

    def distilled(_request, qber, block_bits, seconds, method="auto"):
        asked.append((seconds, method))
        name = method if method != "auto" else "cascade" if seconds < 0.04 else "ldpc"
        said = f"two daemons, TCP, {name}, {1000 * seconds:g} ms apart"
        return Measurement(stage="pipeline", method=said, qber=qber, block_bits=block_bits, mbit_per_second=1.0, note="secret bits")

    monkeypatch.setattr(live, "distilled", distilled)
    found = list(distance.measure(Request(qbers=(0.02, 0.05))))

    assert [seconds for seconds, method in asked if method == "auto"] == list(distance.ROUND_TRIP_SECONDS)
    assert (0.02, "ldpc") in asked
    assert (0.05, "cascade") in asked
    assert len(asked) == len(found) == 2 * len(distance.ROUND_TRIP_SECONDS)
    far = [line for line in found if line.round_trip_ms == 50.0]
    assert [line.method for line in far] == ["two daemons, TCP, ldpc", "two daemons, TCP, cascade"]
    assert [line.note.partition(";")[0] for line in far] == ["chosen", "instead of the one chosen"]
    assert {(line.stage, line.qber) for line in found} == {("distance", 0.02)}


def test_an_unknown_stage_is_wrong_usage(capsys):
    assert run(["bench", "polishing"]) == 2
    assert "polishing" in capsys.readouterr().err
