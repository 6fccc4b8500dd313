import json

import pytest

from common.cli import performance_page
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
    assert "<svg" in (tmp_path / performance_page.PLOT).read_text(encoding="utf-8")


def test_the_committed_page_is_one_that_this_module_wrote():
    committed = ROOT / performance_page.PAGE

    assert committed.read_text(encoding="utf-8").startswith(performance_page.INTRODUCTION)
    assert committed.read_text(encoding="utf-8").endswith(performance_page.REGENERATING)
