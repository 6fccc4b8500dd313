"""The design of LDPC codes: density evolution knows a published threshold, edge growth and puncturing keep their promises."""

import ast
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.distillation.reconciliation import code_design, code_measurement, degree_search
from common.distillation.reconciliation.code_design import shuffled, untainted_columns
from common.distillation.reconciliation.code_measurement import reconciled_blindly, wilson_interval
from common.distillation.reconciliation.codes import (
    SHORT_BITS,
    SUFFIX,
    THOROUGH_BITS,
    choose_code,
    from_bytes,
    from_json,
    load_code,
    name_of,
    to_bytes,
    to_json,
)
from common.distillation.reconciliation.density_evolution import best_degrees, iterations_needed, threshold_qber
from common.distillation.reconciliation.edge_growth import Draws, grown_graph
from common.errors import LocalProtocolError
from tests.reference import ldpc as slow


def test_density_evolution_comes_close_below_the_published_threshold_of_the_regular_code():
    """[Richardson2001] table I: the (3,6) code decodes up to 0.084 with sum-product and any number of iterations."""
    assert 0.0825 < threshold_qber({3: 100}, 50) < 0.084


def test_the_fine_scale_comes_closer_to_it():
    fine, coarse = (threshold_qber({3: 100}, 50, 400, fine=scale, precision=5e-4) for scale in (True, False))

    assert coarse < fine < 0.0842


def test_linear_programs_reach_further_than_where_they_begin(monkeypatch, capsys):
    monkeypatch.setattr(degree_search, "COUNT_ITERATIONS", 40)
    monkeypatch.setattr(degree_search, "DEGREES", (2, 3, 6, 8, 12, 30))

    degree_search.main(["--columns", "200", "--rows", "60", "--steps", "1"])
    printed = capsys.readouterr().out
    counts = ast.literal_eval(printed.partition(": threshold")[0])
    begun = {2: 56, 3: 62, 6: 10, 8: 34, 12: 22, 30: 16}

    assert sum(counts.values()) == sum(begun.values()) == 200
    assert counts[2] <= round(degree_search.DEGREE_TWO_A_ROW * 60)
    assert float(printed.split()[-3].strip(",")) > 1.005 * threshold_qber(begun, 60, 40, fine=True)


def test_the_degrees_of_the_thorough_codes_fill_their_base_matrices():
    for rate, counts in code_design.THOROUGH_DEGREES.items():
        assert sum(counts.values()) * code_design.lift_of(THOROUGH_BITS, rate) == THOROUGH_BITS


def test_iterations_grow_towards_the_threshold():
    needed = [iterations_needed({3: 100}, 50, qber) for qber in (0.02, 0.05, 0.07, 0.08)]

    assert needed == sorted(needed)
    assert iterations_needed({3: 100}, 50, 0.09) == float("inf")


def test_the_climb_beats_the_regular_code_and_keeps_its_limits():
    counts = best_degrees(40, 20, 10, (2, 3, 6))

    assert sum(counts.values()) == 40
    assert counts.get(2, 0) <= 10
    assert threshold_qber(counts, 20) > 1.05 * threshold_qber({3: 40}, 20)


@given(degrees=st.lists(st.integers(1, 4), min_size=4, max_size=12).map(sorted), seed=st.integers(0, 1000))
def test_edge_growth_places_every_edge_and_its_girth_is_that_of_the_dense_graph(degrees, seed):
    graph = grown_graph(degrees, 4, 16, Draws(str(seed)))
    shifts = np.full((4, len(degrees)), -1, np.int16)
    for column, entries in enumerate(graph.edges):
        for row, shift in entries.items():
            shifts[row, column] = shift

    assert [len(entries) for entries in graph.edges] == degrees
    assert graph.row_degrees == (shifts >= 0).sum(axis=1).tolist()
    matrix = slow.parity_check_matrix(shifts, 16).astype(np.int64)
    overlaps = matrix @ matrix.T
    np.fill_diagonal(overlaps, 0)
    assert (graph.girth() == 4) == bool((overlaps > 1).any())


@given(seed=st.integers(0, 2**32))
def test_punctured_columns_are_independent_for_any_matrix(seed):
    generator = np.random.default_rng(seed)
    shifts = np.where(generator.random((6, 12)) < 0.4, generator.integers(0, 8, (6, 12)), -1).astype(np.int16)
    chosen = untainted_columns(shifts, 4)
    columns = slow.parity_check_matrix(shifts, 8).T.reshape(12, 8, -1)[list(chosen)].reshape(8 * len(chosen), -1)

    assert len(set(chosen)) == len(chosen) <= 4
    assert slow.rank(slow.as_integers(columns)) == 8 * len(chosen)


def test_blind_reconciliation_of_simulated_segments_ends_without_error():
    outcome = reconciled_blindly(choose_code(0.05, SHORT_BITS), 0.05, 6, seed=1)

    assert outcome.count_wrong == 0
    assert 1.05 < outcome.efficiency < 1.4
    assert outcome.mean_increments >= outcome.frame_error_ratio


def test_the_command_renews_measurements_and_keeps_the_matrix(tmp_path):
    name = name_of(SHORT_BITS, 0.95)
    before = load_code(name)
    path = tmp_path / f"{name}{SUFFIX}"
    path.write_bytes(to_bytes(from_json(json.dumps(json.loads(to_json(before)) | {"working_points": []}))))

    code_design.main(["--measure", "--out", str(tmp_path), "--bits", str(SHORT_BITS), "--rate", "0.95", "--segments", "2"])

    after = from_bytes(path.read_bytes())
    assert after.digest == before.digest
    assert len(after.working_points) == 3


def test_the_report_has_a_line_for_every_qber(capsys):
    code_design.main(["--report", "--bits", str(SHORT_BITS), "--segments", "1"])

    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + len(code_design.REPORTED_QBERS)
    assert all(line.startswith("n10240-r") for line in lines[1:])


def test_frame_error_ratios_come_with_an_interval(capsys):
    code_measurement.main(["--segments", "3", "--qber", "0.05", "--margin", "0.9", "--margin", "1.3"])

    lean, safe = (line.split() for line in capsys.readouterr().out.splitlines()[1:])
    assert (lean[5], safe[5]) == ("3", "0")  # all failed, none
    assert float(lean[3]) < float(safe[3])


@pytest.mark.parametrize(("count", "trials", "low", "high"), [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (10, 100, 0.0552, 0.1744)])
def test_the_interval_is_that_of_published_tables(count, trials, low, high):
    assert wilson_interval(count, trials) == pytest.approx((low, high), abs=1e-4)


@given(degrees=st.lists(st.integers(1, 30), max_size=20), seed=st.integers(0, 1000))
def test_shuffled_degrees_are_the_same_degrees(degrees, seed):
    assert sorted(shuffled(degrees, Draws(str(seed)))) == sorted(degrees)


def test_the_command_refuses_a_length_that_it_does_not_know():
    with pytest.raises(SystemExit):
        code_design.main(["--bits", "1000"])


def test_a_column_with_more_edges_than_there_are_rows_is_refused():
    with pytest.raises(LocalProtocolError, match="column 1 asks for more edges"):
        grown_graph([2, 4], 3, 8, Draws("test"))
