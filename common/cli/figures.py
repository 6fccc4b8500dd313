"""``qkd figures``: the published figures from formulas, as pictures and numbers, and the table that compares them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from common.cli.options import EXISTING_FILE, FOLDER, json_option
from common.cli.sweeping import executor_options, open_executor, point_progress
from common.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from common.planning.figures.catalogue import Entry
    from common.planning.figures.data import Cell


@click.command("figures")
@click.argument("names", nargs=-1, metavar="[NAME …]")
@click.option("--out", type=FOLDER, default=Path("figures"), show_default=True, help="Folder for NAME.png, NAME.svg and NAME.csv.")
@click.option("--list", "as_list", is_flag=True, help="List the figures and draw none.")
@click.option("--table", "as_table", is_flag=True, help="Print every published figure beside the formulas' values, and draw none.")
@click.option("--points", "points_path", type=EXISTING_FILE, default=None, help="CSV of other experiments, for comparison.")
@click.option("--measured", "measured_paths", type=EXISTING_FILE, multiple=True, help="CSV of a measured source, for power or temperature.")
@executor_options
@json_option
def command(
    *,
    names: tuple[str, ...],
    out: Path,
    as_list: bool,
    as_table: bool,
    points_path: Path | None,
    measured_paths: tuple[Path, ...],
    workers: int | None,
    dask_address: str | None,
    as_json: bool,
) -> None:
    """Draw the figures of the publications from formulas; every caption says which numbers are published and which are ours.

    \b
    Example:
      qkd figures --list
      qkd figures hefei-loss hbn-ratio --out figures
      qkd figures power --measured measured.csv
      qkd figures --table
    """
    if as_table:
        if as_list or names:
            raise ConfigurationError("--table prints all published figures: leave names and --list out")
        rows = _rows()
        click.echo(json.dumps(rows, ensure_ascii=False) if as_json else table(rows))
        return
    figures = _chosen(names)
    if as_list:
        found = [{"name": name, "about": figure.about} for name, figure in figures.items()]
        wide = max(map(len, figures))
        click.echo(json.dumps(found) if as_json else "\n".join(f"{entry['name']:{wide}}  {entry['about']}" for entry in found))
        return
    drawn = _draw(figures, out, points_path, measured_paths, workers, dask_address, quiet=as_json)
    if as_json:
        click.echo(json.dumps(drawn, ensure_ascii=False))


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Lay the published figures out for a terminal.

    Parameters
    ----------
    rows : sequence of dict
        From ``PublishedFigure.to_json``.

    Returns
    -------
    str
        A table, and below it the numbered reasons for differences.
    """
    reasons = list(dict.fromkeys(row["reason"] for row in rows if row["reason"]))
    lines = [("system", "figure", "published", "formula", "composable", "unit", "why")]
    for row in rows:
        relation = "" if row["relation"] == "=" else f"{row['relation']} "
        why = f"[{reasons.index(row['reason']) + 1}]" if row["reason"] else ""
        values = (f"{relation}{_number(row['published'])}", _number(row["formula"]), _number(row["composable"]))
        lines.append((row["system"], row["what"], *values, row["unit"], why))
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    written = [f"| {' | '.join(f'{cell:{width}}' for cell, width in zip(line, widths, strict=True))} |" for line in lines]
    written.insert(1, f"|{'|'.join('-' * (width + 2) for width in widths)}|")
    written += [
        "",
        "formula: the publication's, with its published parameters in the textbook channel",
        "composable: the proof that decides keys, with the profile's own receiver in the full link model; hbn: with the counts of the run",
        *(f"[{number}] {reason}" for number, reason in enumerate(reasons, 1)),
    ]
    return "\n".join(written)


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.0f}" if value >= 1e3 else f"{value:.4g}".replace("e-0", "e-")


def _rows() -> list[dict[str, Any]]:
    from common.planning.published import published_figures

    return [figure.to_json() for figure in published_figures()]


def _chosen(names: Sequence[str]) -> dict[str, Entry]:
    try:
        from common.planning.figures.catalogue import chosen
    except ImportError:
        raise ConfigurationError("drawing needs matplotlib: install the extra with pip install 'qkdlink[planning]'") from None
    return chosen(names)


def _draw(
    figures: Mapping[str, Entry],
    out: Path,
    points_path: Path | None,
    measured_paths: Sequence[Path],
    workers: int | None,
    dask_address: str | None,
    *,
    quiet: bool,
) -> list[dict[str, Any]]:
    """Compute, draw and describe the figures one after the other."""
    from common.planning.figures.data import Inputs
    from common.planning.figures.excitation import read_measured
    from common.planning.figures.systems import read_points

    points = read_points(points_path) if points_path else ()
    measured: dict[str, tuple[Mapping[str, Cell], ...]] = {}
    for path in measured_paths:
        measured |= read_measured(path)
    for wanted, given in (("comparison", bool(points)), *((name, True) for name in measured)):
        if given and wanted not in figures:
            raise ConfigurationError(f"the file is for figure {wanted}, which is not asked for: add its name")
    out.mkdir(parents=True, exist_ok=True)
    drawn = []
    with open_executor(workers, dask_address) as executor:
        for number, (name, figure) in enumerate(figures.items(), 1):
            with point_progress(f"{name} ({number} of {len(figures)})", quiet=quiet) as progress:
                data = figure.compute(Inputs(points, measured, executor, progress))
                paths = figure.save(data, out)
            drawn.append(
                {"name": name, "title": data.title, "published": data.published, "ours": data.ours, "files": [str(path) for path in paths]}
            )
            if not quiet:
                click.echo(f"{paths[0].with_suffix('')}.{{png,svg,csv}}  {data.title}")
    return drawn
