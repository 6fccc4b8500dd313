"""The numbers of every figure: what they must do with loss and block, where they come from, and that they are those of the table."""

import csv
from dataclasses import replace
from itertools import pairwise
from math import isnan

import pytest
from PIL import Image

from common.errors import ConfigurationError
from common.planning.figures import clock_rates, excitation, hbn_ratio, ideal_bounds, laser, loss, systems
from common.planning.figures.catalogue import FIGURES, chosen
from common.planning.figures.data import Column, Fact, FigureData, Inputs, grid, read_rows
from common.planning.published import RUNS, hefei_composable, hefei_paper, niedersachsen_link

NOTHING = Inputs()


def tiny(name):
    """The figure's numbers on a small grid."""
    return {
        "niedersachsen-loss": lambda: loss.niedersachsen_data((10.0, 25.49, 29.0)),
        "hefei-loss": lambda: loss.hefei_data((0.17, 14.6, 34.0)),
        "power": lambda: excitation.excitation_data(NOTHING, excitation.POWER),
        "temperature": lambda: excitation.excitation_data(NOTHING, excitation.TEMPERATURE),
        "clock-rates": lambda: clock_rates.clock_rates_data((10.0, 20.0, 25.49)),
        "comparison": lambda: systems.comparison_data(NOTHING, (5.0, 15.0)),
        "laser-comparison": lambda: laser.laser_data(NOTHING, (14.6,)),
        "source-maps": lambda: laser.source_maps_data(NOTHING, (14.6,), (0.05, 0.3, 0.9), (0.001, 0.007, 0.4)),
        "ideal-bounds": lambda: ideal_bounds.ideal_bounds_data((0.0, 0.3, 0.6)),
        "hbn-ratio": lambda: hbn_ratio.hbn_ratio_data((10**4, 10**5, 10**6)),
        "block-size": lambda: systems.block_size_data(NOTHING, (100_000, 10_000_000)),
    }[name]()


@pytest.fixture(scope="module")
def figures():
    return {name: tiny(name) for name in FIGURES}


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_written_three_times_and_says_whose_its_numbers_are(figures, name, tmp_path):
    data = figures[name]
    png, svg, table = FIGURES[name].save(data, tmp_path)
    assert {path.name for path in (png, svg, table)} == {f"{name}.png", f"{name}.svg", f"{name}.csv"}
    assert data.caption == f"Published: {data.published} Ours: {data.ours}"
    with Image.open(png) as image:
        assert image.width > 800
        assert image.info["Description"].split() == data.caption.split()
    assert "Published:" in svg.read_text(encoding="utf-8")
    lines = table.read_text(encoding="utf-8").splitlines()
    comments = [line for line in lines if line.startswith("#")]
    for column in data.columns:
        assert any(line.startswith(f"# {column.name} [") and column.origin in line for line in comments)
    rows = list(csv.DictReader([line for line in lines if not line.startswith("#")]))
    for column in data.columns:
        for row, value in zip(rows, column.values, strict=True):
            written = row[column.name]
            assert written == ("" if value is None else value) if not isinstance(value, float) else float(written) == pytest.approx(value)


@pytest.mark.parametrize("name", ["ideal-bounds", "source-maps"])
def test_the_same_numbers_give_the_same_bytes(figures, name, tmp_path):
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
        FIGURES[name].save(figures[name], folder)
    for suffix in ("png", "svg", "csv"):
        one, two = ((folder / f"{name}.{suffix}").read_bytes() for folder in folders)
        assert one == two


def test_rates_fall_with_loss_and_end_beyond_the_tolerable_one(figures):
    data = figures["niedersachsen-loss"]
    for name in ("asymptotic", "paper_1e9", "composable_1e9", "paper_1e12", "composable_1e12"):
        values = data.numbers(name)
        assert values == sorted(values, reverse=True)
        assert values[-1] == 0.0
    qber = data.numbers("qber")
    assert qber == sorted(qber)
    assert data.fact("tolerable loss by the formula, 1e9 pulses") < data.fact("tolerable loss by the formula, endless block") < 28.11
    assert figures["hefei-loss"].numbers("paper_1e8")[-1] == 0.0


def test_larger_blocks_give_more(figures):
    for figure, middle in (("niedersachsen-loss", ("1e9", "1e10", "1e12")), ("hefei-loss", ("1e6", "1e7", "1e8"))):
        for kind in ("paper", "composable"):
            columns = [figures[figure].numbers(f"{kind}_{size}") for size in middle]
            assert all(small <= large for pair in pairwise(columns) for small, large in zip(*pair, strict=True))
    data = figures["block-size"]
    for kind in ("paper", "composable"):
        values = data.numbers(kind)
        assert all(small < large for small, large in zip(values[::2], values[1::2], strict=True))


def test_figures_show_the_values_of_the_table(figures):
    data = figures["hefei-loss"]
    at = data.numbers("loss_db").index(14.6)
    assert data.numbers("paper_1e8")[at] == hefei_paper(14.6)
    assert data.numbers("composable_1e8")[at] == hefei_composable(14.6)
    assert data.points("loss_db", "published") == ([0.17, 14.6], [5.65e-2, 1.08e-3])
    single = figures["laser-comparison"]
    assert single.numbers("single_paper") == [hefei_paper(14.6)]
    assert single.numbers("single_composable") == [hefei_composable(14.6)]
    ratio = figures["hbn-ratio"]
    assert ratio.numbers("qber_7_percent")[-1] == RUNS[0].paper_bits() / 10**6
    assert ratio.numbers("published_run_1")[-1] == pytest.approx(0.033176)
    assert figures["niedersachsen-loss"].numbers("asymptotic")[1] == niedersachsen_link().asymptotic


def test_stricter_security_and_more_errors_leave_less(figures):
    data = figures["hbn-ratio"]
    for rows in zip(*(data.numbers(hbn_ratio.level_name(level)) for level in hbn_ratio.LEVELS), strict=True):
        assert list(rows) == sorted(rows, reverse=True)
    for rows in zip(*(data.numbers(hbn_ratio.qber_name(qber)) for qber in hbn_ratio.QBERS), strict=True):
        assert list(rows) == sorted(rows, reverse=True)


def test_attenuation_never_costs_key(figures):
    data = figures["clock-rates"]
    for size in ("76_mhz", "228_mhz", "608_mhz", "1063_mhz"):
        full, best = data.numbers(f"full_{size}"), data.numbers(f"attenuated_{size}")
        assert all(more >= 0.999 * less for less, more in zip(full, best, strict=True))
        assert full[-1] == 0.0  # at 25.49 dB, with g2 of raw windows


def test_brighter_and_purer_sources_give_more_and_laser_light_is_one_rate_a_map(figures):
    data = figures["source-maps"]
    rates = [data.numbers("single_photons")[row : row + 3] for row in (0, 3, 6)]
    almost = 0.999  # what the search for the best attenuation leaves undone
    assert all(more >= almost * less for row in rates for less, more in pairwise(row))
    assert all(pure >= almost * impure for column in zip(*rates, strict=True) for pure, impure in pairwise(column))
    assert len(set(data.numbers("laser"))) == 1
    single = figures["laser-comparison"]
    assert data.numbers("laser")[0] == single.numbers("laser_paper")[0]
    assert single.numbers("laser_composable")[0] < single.numbers("laser_paper")[0] < single.numbers("ideal_laser")[0]


def test_the_comparison_holds_published_points_and_those_of_the_user():
    data = systems.comparison_data(replace(NOTHING, points=({"name": "ours", "loss_db": 12.0, "bits_per_second": 7.0},)), (5.0, 15.0))
    shown = [(name, rate) for name, rate in zip(data["system"], data.numbers("published"), strict=True) if not isnan(rate)]
    assert ("niedersachsen", 5.35e3) in shown
    assert ("hefei", 82.0e3) in shown
    assert ("timebin-120km", 15.0) in shown
    assert data.numbers("given")[-1] == 7.0
    assert "given by the user" in data.ours
    planned = dict(zip(zip(data["system"], data["loss_db"], strict=True), data.numbers("planned"), strict=True))
    assert planned["hefei", 5.0] > planned["hefei", 15.0] > 0.0


# ----------------------------------------------------------------------------------------------------- what a user may bring


def test_a_measured_source_takes_the_place_of_the_example(tmp_path, figures):
    assert "EXAMPLE, not measured" in figures["power"].ours
    assert {column.origin for column in figures["power"].columns} == {"ours"}
    path = tmp_path / "measured.csv"
    path.write_text("# cryostat 2\npower_nw,mean_photon_number,g2,g2_uncertainty\n200,0.138,0.0243,0.001\n50,0.1,0.02,\n", encoding="utf-8")
    data = excitation.excitation_data(Inputs(measured=excitation.read_measured(path)), excitation.POWER)
    assert data["power_nw"] == (50.0, 200.0)
    assert data["g2_uncertainty"] == (None, 0.001)
    assert data.numbers("asymptotic")[1] == pytest.approx(niedersachsen_link().asymptotic)
    low, high = (data.numbers(f"asymptotic_{end}")[1] for end in ("low", "high"))
    assert low < data.numbers("asymptotic")[1] < high
    assert {column.origin for column in data.columns} == {"given", "ours"}
    assert "EXAMPLE" not in data.caption


def test_the_file_of_an_example_serves_as_a_template(tmp_path, figures):
    FIGURES["temperature"].save(figures["temperature"], tmp_path)
    again = excitation.excitation_data(Inputs(measured=excitation.read_measured(tmp_path / "temperature.csv")), excitation.TEMPERATURE)
    assert again.numbers("asymptotic") == pytest.approx(figures["temperature"].numbers("asymptotic"), rel=1e-5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("power_nw,g2\n1,2\n", "no column mean_photon_number"),
        ("mean_photon_number,g2\n0.1,0.02\n", "neither a column power_nw nor temperature_k"),
        ("power_nw,mean_photon_number,g2\n", "no rows"),
        ("power_nw,mean_photon_number,g2\n1,0.1,often\n", "line 2, g2: 'often' is no number"),
        ("power_nw,mean_photon_number,g2\n\n1,0.1,nan\n", "line 3, g2: nan is not finite"),
        ("power_nw,mean_photon_number,g2\n1,-0.1,0\n", "line 2, mean_photon_number: -0.1 is not finite and 0 or more"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused_by_line_and_column(tmp_path, text, message):
    path = tmp_path / "measured.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError, match=message):
        excitation.read_measured(path)


def test_a_source_that_cannot_be_is_refused_by_name(tmp_path):
    path = tmp_path / "measured.csv"
    path.write_text("power_nw,mean_photon_number,g2\n1,0.1,1.2\n", encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"source\.g2"):
        excitation.excitation_data(Inputs(measured=excitation.read_measured(path)), excitation.POWER)
    binary = tmp_path / "picture.csv"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigurationError, match="cannot be read as text"):
        read_rows(binary, (), ("g2",))


def test_an_unknown_figure_is_refused_with_the_names_there_are():
    assert list(chosen(())) == list(FIGURES)
    assert list(chosen(("hbn-ratio", "power"))) == ["power", "hbn-ratio"]
    with pytest.raises(ConfigurationError, match=r"figure 'nope': unknown; choose among niedersachsen-loss, hefei-loss,"):
        chosen(("nope",))


def test_columns_and_facts_are_found_by_name():
    data = FigureData("n", "t", "p.", "o.", (Column("x", "", "ours", "m", (1.0, None)),), (Fact("f", "dB", "ours", 2.0),))
    assert data["x"] == (1.0, None)
    assert data.fact("f") == 2.0
    assert "# f [dB], ours (formula): 2" in data.to_csv()
    assert grid(0.0, 1.0, 3, (0.25,)) == [0.0, 0.25, 0.5, 1.0]
