"""``qkd figures``: lists, draws, prints the table, and refuses what makes no sense."""

import json
import sys

import pytest

from common.cli.figures import table
from common.cli.main import run
from common.planning.figures.catalogue import FIGURES


def test_the_list_names_every_figure(capsys):
    assert run(["figures", "--list"]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in FIGURES)
    assert run(["figures", "--list", "--json", "power"]) == 0
    assert [entry["name"] for entry in json.loads(capsys.readouterr().out)] == ["power"]


def test_figures_asked_for_are_written_and_described(capsys, tmp_path):
    out = tmp_path / "figures"
    assert run(["figures", "ideal-bounds", "temperature", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "ideal-bounds.{png,svg,csv}" in printed
    assert sorted(path.name for path in out.iterdir()) == sorted(
        f"{name}.{suffix}" for name in ("ideal-bounds", "temperature") for suffix in ("csv", "png", "svg")
    )


def test_what_was_drawn_is_told_as_json(capsys, tmp_path):
    points = tmp_path / "points.csv"
    points.write_text("name,loss_db,bits_per_second\nElsewhere,12,3400\n", encoding="utf-8")
    assert run(["figures", "comparison", "--out", str(tmp_path), "--points", str(points), "--json"]) == 0
    (drawn,) = json.loads(capsys.readouterr().out)
    assert drawn["name"] == "comparison"
    assert drawn["published"]
    assert "given by the user" in drawn["ours"]
    assert "Elsewhere,12" in (tmp_path / "comparison.csv").read_text(encoding="utf-8")


def test_the_table_is_printed_for_people_and_for_programs(capsys):
    assert run(["figures", "--table", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert set(rows[0]) == {"system", "what", "unit", "relation", "published", "formula", "composable", "reason"}
    text = table(rows)
    lines = text.splitlines()
    assert len({len(line) for line in lines[: len(rows) + 2]}) == 1
    assert "| 4.8e-5 " in text
    assert "| 33176 " in text
    numbers = {entry["reason"] for entry in rows if entry["reason"]}
    assert sum(line.startswith("[") for line in lines) == len(numbers)


def test_without_matplotlib_the_extra_is_named(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "common.planning.figures.catalogue", None)
    assert run(["figures", "--list"]) == 2
    assert "pip install 'qkdlink[planning]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nope"], "figure 'nope': unknown; choose among niedersachsen-loss"),
        (["--table", "power"], "--table prints all published figures"),
        (["ideal-bounds", "--points", "POINTS"], "the file is for figure comparison"),
        (["ideal-bounds", "--measured", "MEASURED"], "the file is for figure power"),
        (["ideal-bounds", "--workers", "0"], "workers = 0"),
        (["ideal-bounds", "--workers", "1", "--dask", "tcp://127.0.0.1:1"], "--workers and --dask"),
    ],
    ids=["unknown", "table with a name", "points unused", "measured unused", "no worker", "two places"],
)
def test_what_makes_no_sense_is_refused(capsys, tmp_path, arguments, message):
    files = {"POINTS": "name,loss_db,bits_per_second\na,1,2\n", "MEASURED": "power_nw,mean_photon_number,g2\n1,0.1,0\n"}
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    given = [str(tmp_path / argument) if argument in files else argument for argument in arguments]
    assert run(["figures", *given, "--out", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err
