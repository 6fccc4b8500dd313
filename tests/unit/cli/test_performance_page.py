import json

import pytest

from common.cli import performance_page, performance_plots
from common.cli.benchmarks.measurement import Measurement
from common.errors import ConfigurationError
from tests.support.tree import ROOT

ABOUT = {"machine": "a processor, 2 cores", "quick": False}


def record(**fields):
    return Measurement(load_average=1.0, **fields).fields() | ABOUT


@pytest.fixture
def records():
    cascade = {"stage": "reconciliation", "method": "cascade, kernels of both halves", "block_bits": 4194304, "frame_error_ratio": 0.0}
    return [
        record(**cascade, qber=0.02, mbit_per_second=160.0, efficiency=1.064, count_segments=384),
        record(**cascade, qber=0.05, mbit_per_second=80.0, efficiency=1.074, count_segments=384),
        record(stage="amplification", method="Toeplitz", block_bits=1_000_000, mbit_per_second=300.0, peer="slow", ratio_to_peer=20.0),
        record(stage="simulation", method="source", mevents_per_second=9.0),
    ]


def test_the_page_shows_figures_and_leaves_out_empty_columns(records):
    page = performance_page.page(records)

    assert "On a processor, 2 cores." in page
    assert "| cascade, kernels of both halves | 2 % | 4,194,304 | 160 Mbit/s | 1.064 | 0 of 384 |" in page
    assert "| source | 9 M/s |" in page


def test_the_page_says_which_targets_are_reached_and_which_are_not(records):
    page = performance_page.targets(records)

    assert "| 150 Mbit/s | 160 Mbit/s, f 1.064 | yes |" in page
    assert "| 400 Mbit/s | 300 Mbit/s (to half the length) | **no** |" in page
    assert "not in this run" in page


def test_speed_at_a_worse_efficiency_reaches_nothing(records):
    target = next(target for target in performance_page.TARGETS if target.method == "cascade, kernels")

    assert performance_page.reached(target, records[0])
    assert not performance_page.reached(target, records[0] | {"efficiency": 1.07})


def test_a_busy_machine_is_said_to_have_been_busy(records):
    records[0]["load_average"] = 3.0

    assert "something else was running" in performance_page.page(records)


def test_a_quick_run_or_another_file_makes_no_page(records, tmp_path):
    quick, other = tmp_path / "quick.json", tmp_path / "other.json"
    quick.write_text(json.dumps([records[0] | {"quick": True}]), encoding="utf-8")
    other.write_text('{"results": 1}', encoding="utf-8")

    for path in (quick, other, tmp_path / "absent.json"):
        with pytest.raises(ConfigurationError, match=path.name):
            performance_page.read_records(path)


def test_page_and_plot_are_written_where_the_documentation_looks(records, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs/reference").mkdir(parents=True)
    (tmp_path / "bench.json").write_text(json.dumps(records), encoding="utf-8")

    performance_page.main(["bench.json"])

    assert (tmp_path / performance_page.PAGE).read_text(encoding="utf-8").startswith("# Performance")
    assert "<svg" in (tmp_path / performance_plots.PLOT).read_text(encoding="utf-8")


def test_the_committed_page_is_one_that_this_module_wrote():
    committed = ROOT / performance_page.PAGE

    assert committed.read_text(encoding="utf-8").startswith(performance_page.INTRODUCTION)
    assert committed.read_text(encoding="utf-8").endswith(performance_page.REGENERATING)


@pytest.fixture
def series():
    daemons = {
        "stage": "distance",
        "method": "two daemons, TCP, cascade",
        "qber": 0.01,
        "block_bits": 1_000_000,
        "note": "chosen; 0.75 secret bits",
    }
    instead = daemons | {"method": "two daemons, TCP, ldpc", "note": "instead of the one chosen; 0.70 secret bits"}
    amplified = {"stage": "amplification", "method": "Toeplitz", "peer": "slow", "ratio_to_peer": 20.0}
    return [
        *(record(**daemons, round_trip_ms=ms, mbit_per_second=30.0 - ms, efficiency=1.057) for ms in (0.0, 5.0, 20.0)),
        *(record(**instead, round_trip_ms=ms, mbit_per_second=15.0, efficiency=1.15) for ms in (0.0, 5.0, 20.0)),
        *(
            record(stage="scaling", method="hash of one half, kernel", block_bits=bits, mbit_per_second=speed)
            for bits, speed in ((10_000, 50.0), (100_000, 80.0), (1_000_000, 100.0), (10_000_000, 40.0))
        ),
        record(**amplified, block_bits=100_000, mbit_per_second=200.0),
        record(**amplified, block_bits=1_000_000, mbit_per_second=100.0),
    ]


def test_the_page_says_how_cost_grows_with_the_block_and_how_far_apart_ends_were(series):
    page = performance_page.page(series)

    assert "| hash of one half, kernel | 10,000 to 10,000,000 | 2.00× | 1.75× |" in page
    assert "| amplification: Toeplitz | 100,000 to 1,000,000 | 2.00× | 1.20× |" in page
    assert "| two daemons, TCP, ldpc | 1 % | 20 ms | 1,000,000 | 15 Mbit/s | 1.150 |" in page


def test_every_panel_is_drawn_or_says_that_its_series_is_missing(series, records, tmp_path):
    drawn = []
    for name, run in (("all", records + series), ("distance", series[:6]), ("none", records[3:])):
        paths = tmp_path / f"{name}.svg", tmp_path / f"{name}-growth.svg"
        performance_plots.draw(run, *paths)
        drawn.append("".join(path.read_text(encoding="utf-8") for path in paths))
    everything, distance, nothing = drawn

    for label in ("cascade, kernels of both halves", "two daemons, TCP, ldpc", "chosen by auto", "n log n", "round trip, ms"):
        assert label in everything
    assert "chosen by auto" in distance
    assert distance.count("not in this run") == 6  # two panels by QBER, two by block, amplification, growth
    assert nothing.count("not in this run") == 8
    assert "chosen by auto" not in nothing


def test_a_run_of_an_earlier_version_still_makes_a_page(records, tmp_path):
    for line in records:
        for later in ("round_trip_ms", "yardstick_seconds", "repetition"):
            del line[later]
    (tmp_path / "old.json").write_text(json.dumps(records), encoding="utf-8")

    page = performance_page.page(performance_page.read_records(tmp_path / "old.json"))

    assert "160 Mbit/s" in page
    assert "How cost grows with the block is not in this run" in page


def test_of_a_repeated_run_the_page_shows_the_first(records, tmp_path):
    again = [line | {"repetition": 1} for line in records]
    (tmp_path / "repeated.json").write_text(json.dumps(records + again), encoding="utf-8")

    assert performance_page.read_records(tmp_path / "repeated.json") == records
