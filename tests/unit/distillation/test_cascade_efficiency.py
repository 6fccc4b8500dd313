"""The measured efficiency of Cascade: what the planner and the gate expect is what our own two halves charge."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.distillation.reconciliation import cascade_measurement
from common.distillation.reconciliation.cascade_efficiency import EfficiencyTable, cascade_efficiency, shipped_table
from common.distillation.reconciliation.cascade_measurement import QBERS, SEGMENT_BITS, main, measured_efficiency


@pytest.mark.parametrize(("qber", "segment_bits"), [(QBERS[8], 65_536), (QBERS[27], 65_536), (QBERS[36], 16_384), (QBERS[36], 1024)])
def test_a_fresh_measurement_gives_the_shipped_value(qber, segment_bits):
    """Other errors, a quarter of the bits: efficiencies of single runs scatter by less than a per cent, 4 % would be another program."""
    again = measured_efficiency(qber, segment_bits, 1 << 20, seed=2)

    assert again == pytest.approx(shipped_table().at(qber, segment_bits), rel=0.04)


@pytest.mark.parametrize(("qber", "most"), [(0.01, 1.065), (0.02, 1.075), (0.05, 1.07)])
def test_an_endless_block_is_expected_to_cost_what_long_segments_cost(qber, most):
    assert 1.04 < cascade_efficiency(qber) < most
    assert cascade_efficiency(qber, 1_000_000) == pytest.approx(cascade_efficiency(qber), abs=0.002)
    assert cascade_efficiency(qber, 5000) > 1.02 * cascade_efficiency(qber)
    assert cascade_efficiency(qber, 1_000_000, 5000) == pytest.approx(cascade_efficiency(qber, 5000), rel=0.01)


def test_the_table_holds_the_grid_that_its_command_measures():
    table = shipped_table()

    assert (table.segment_bits, table.qbers) == (SEGMENT_BITS, QBERS)
    assert len(table.efficiency) == len(SEGMENT_BITS)
    assert all(len(row) == len(QBERS) and min(row) > 1.0 for row in table.efficiency)


@given(st.floats(0.0, 0.5), st.floats(1.0, 1e7))
def test_between_grid_points_the_value_lies_between_theirs_and_beyond_the_grid_on_its_border(qber, segment_bits):
    table = EfficiencyTable((1000, 2000, 4000), (0.01, 0.02), ((1.4, 1.3), (1.3, 1.2), (1.2, 1.1)))
    value = table.at(qber, segment_bits)

    assert 1.1 <= value <= 1.4 + 1e-12
    assert table.at(0.02, 2000) == pytest.approx(1.2)
    assert table.at(0.02**0.5 * 0.01**0.5, 1000) == pytest.approx(1.35)
    assert table.at(0.0, 10.0) == 1.4
    assert table.at(0.5, 1e9) == pytest.approx(1.1)


def test_the_command_prints_points_and_writes_a_table(tmp_path, capsys, monkeypatch):
    main(["--qber", "0.05", "--bits", "1024", "--measured-bits", "8192"])
    assert "1024" in capsys.readouterr().out

    monkeypatch.setattr(cascade_measurement, "SEGMENT_BITS", (1024, 2048))
    monkeypatch.setattr(cascade_measurement, "QBERS", (0.02, 0.05))
    main(["--out", str(tmp_path / "table.json"), "--measured-bits", "4096"])
    written = json.loads((tmp_path / "table.json").read_text(encoding="utf-8"))

    assert written["segment_bits"] == [1024, 2048]
    assert [len(row) for row in written["efficiency"]] == [2, 2]
