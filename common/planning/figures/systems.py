"""All systems on one page: their published key rates beside what the planner gives, and beside whatever a user adds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from common.planning.figures import canvas
from common.planning.figures.data import Cell, Column, FigureData, Inputs, grid, read_rows
from common.planning.published import FIELD_LOSS_DB, HEFEI_POINTS, RUNS
from common.planning.rate import compared, rate_point
from common.planning.settings import with_entries
from common.planning.sweeps import sweep
from common.profiles.link import LinkProfile, load_profile

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIZE_INCHES = (7.6, 5.6)
BLOCKS_SIZE_INCHES = (8.4, 6.2)

SYSTEMS = ("niedersachsen", "hefei", "timebin-120km", "hbn", "decoy")


def read_points(path: Path) -> tuple[Mapping[str, Cell], ...]:
    """Read other experiments from the CSV file ``path``: columns ``name``, ``loss_db`` and ``bits_per_second``."""
    return read_rows(path, ("name",), ("loss_db", "bits_per_second"))


def published_points() -> list[tuple[str, float, float]]:
    """List system, loss in decibels and secret bits a second of every published finite key rate.

    Returns
    -------
    list of (str, float, float)
        The losses of ``timebin-120km`` and ``hbn`` are those of our profiles, the rates of ``hbn`` follow from printed lengths.

    References
    ----------
    The publications, see ``common.planning.published``; status: paper.
    """
    loss_of = {name: load_profile(name).channel.loss_db for name in SYSTEMS}
    return [
        ("niedersachsen", FIELD_LOSS_DB, 5.35e3),
        *(("hefei", loss, per_second) for loss, _, per_second in HEFEI_POINTS),
        ("timebin-120km", loss_of["timebin-120km"], 15.0),
        *(("hbn", loss_of["hbn"], run.secret_bits * run.detections_hz / (4.0 * run.raw_bits)) for run in RUNS if run.secret_bits),
    ]


def comparison_data(inputs: Inputs, losses_db: Sequence[float] | None = None) -> FigureData:
    """Compute key rates of all systems against loss.

    Parameters
    ----------
    inputs : Inputs
        Points of other experiments, executor and progress.
    losses_db : sequence of float | None
        Where to; None for 0 to 36 dB.

    Returns
    -------
    FigureData
        Rows of curves, of published points and of given ones.

    References
    ----------
    :func:`common.planning.rate.rate_point`; status: planning.
    """
    losses = grid(0.0, 36.0, 73) if losses_db is None else sorted(losses_db)
    profiles = [with_entries(load_profile(name), {"channel.loss_db": loss}) for name in SYSTEMS for loss in losses]
    rates = sweep(profiles, key_rate, inputs.executor, inputs.progress)
    rows: list[tuple[Cell, ...]] = [
        (profile.name, profile.channel.loss_db, rate, None, None) for profile, rate in zip(profiles, rates, strict=True)
    ]
    rows += [(name, loss, None, rate, None) for name, loss, rate in published_points()]
    rows += [(point["name"], point["loss_db"], None, None, point["bits_per_second"]) for point in inputs.points]
    columns = (
        Column("system", "", "ours", "link profile, or the user's name", tuple(row[0] for row in rows)),
        Column(
            "loss_db",
            "dB",
            "ours",
            "loss; of published points published for niedersachsen and hefei, else ours; given for given points",
            tuple(row[1] for row in rows),
        ),
        Column("planned", "bit/s", "ours", "composable key rate of the profile at this loss, its own block", tuple(row[2] for row in rows)),
        Column(
            "published", "bit/s", "published", "finite key rate; hbn: printed length over time of detection", tuple(row[3] for row in rows)
        ),
        Column("given", "bit/s", "given", "other experiments", tuple(row[4] for row in rows)),
    )
    others = " Crosses: given by the user." if inputs.points else ""
    return FigureData(
        "comparison",
        "The systems beside each other",
        "filled markers, finite keys; rates of hbn are printed lengths over the time their detections take. The losses of timebin-120km and"
        " hbn are not in our references, their place on the axis is ours.",
        "lines: composable key rate of each profile with its own block, full model of the link, nothing optimised. decoy is a link of"
        f" ours, without publication. The loss of hbn contains its receiver.{others}",
        columns,
    )


def key_rate(profile: LinkProfile) -> float:
    """Return the secret bits a second of a ``profile``, by the composable proof."""
    return rate_point(profile).secret_bits_per_second


def draw_comparison(data: FigureData, figure: Figure) -> None:
    """Draw the comparison.

    Parameters
    ----------
    data : FigureData
        From ``comparison_data``.
    figure : Figure
        Empty; the drawing fills it.
    """
    axes = figure.subplots()
    planned = list(zip(data["system"], data["loss_db"], data["planned"], strict=True))
    published = list(zip(data["system"], data["loss_db"], data["published"], strict=True))
    styles = ("-", canvas.DASHED, "-.", ":", (0, (7, 2)))
    for name, colour, marker, style in zip(SYSTEMS, canvas.COLOURS, canvas.MARKERS, styles, strict=False):
        line = [(float(x), float(y)) for system, x, y in planned if system == name and x is not None and y]
        axes.plot([x for x, _ in line], [y for _, y in line], color=colour, linestyle=style, label=f"{name}, planned")
        points = [(float(x), float(y)) for system, x, y in published if system == name and x is not None and y]
        if points:
            axes.plot(
                [x for x, _ in points], [y for _, y in points], marker=marker, color=colour, label=f"{name}, published", **canvas.PUBLISHED
            )
    given = [
        (str(system), float(x), float(y))
        for system, x, y in zip(data["system"], data["loss_db"], data["given"], strict=True)
        if x is not None and y
    ]
    for name, x, y in given:
        axes.plot([x], [y], marker="x", color=canvas.INK, linestyle="none", markersize=7)
        axes.annotate(name, (x, y), xytext=(5, 4), textcoords="offset points", fontsize=8)
    canvas.key_rate_axis(axes, "secret bits per second")
    axes.set_xlabel("loss of the channel (dB)")
    axes.set_xlim(-0.6, max(data.numbers("loss_db")))
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))


def block_size_data(inputs: Inputs, blocks: Sequence[int] | None = None) -> FigureData:
    """Compute composable and paper lengths of the same counts against the size of the block, for every system.

    Parameters
    ----------
    inputs : Inputs
        Executor and progress.
    blocks : sequence of int | None
        Sifted key bits; None for 1e4 to 2e8.

    Returns
    -------
    FigureData
        One row a system and block.

    References
    ----------
    :func:`common.planning.rate.compared`; status: planning.
    """
    sizes = [round(10.0**exponent) for exponent in grid(4.0, 8.25, 18)] + [200_000_000] if blocks is None else sorted(blocks)
    profiles = [with_entries(load_profile(name), {"security.block_bits": size}) for name in SYSTEMS for size in sizes]
    rates = sweep(profiles, both_rates, inputs.executor, inputs.progress)
    endless = [rate_point(load_profile(name), asymptotic=True).secret_bits_per_pulse for name in SYSTEMS]
    limits = dict(zip(SYSTEMS, endless, strict=True))
    meanings = (
        ("composable", "composable proof, expected counts of the full link model"),
        ("paper", "publication's formula, the same counts"),
    )
    columns = (
        Column("system", "", "ours", "link profile", tuple(profile.name for profile in profiles)),
        Column(
            "block_bits", "bit", "ours", "sifted key bits of the block", tuple(float(profile.security.block_bits) for profile in profiles)
        ),
        *(
            Column(name, "bit/pulse", "ours", meaning, tuple(rate[index] for rate in rates))
            for index, (name, meaning) in enumerate(meanings)
        ),
        Column("endless", "bit/pulse", "ours", "composable proof, endless block", tuple(limits[profile.name] for profile in profiles)),
    )
    return FigureData(
        "block-size",
        "Composable and published lengths of the same counts",
        "nothing but the formulas.",
        "all lines: expected counts of the full link model of each profile, put through the composable proof (dashed) and through the"
        " publication's formula (solid; decoy: Lim and others 2014, timebin-120km: that of hefei). Leakage differs too: composable is that"
        " of the profile's method and code, the formula's 1.16 n h(QBER) or, for hbn, its code's. Steps of hbn: whole LDPC segments."
        " Dotted: composable, endless block. Where lines end flat, the profile allows no more frames.",
        columns,
    )


def both_rates(profile: LinkProfile) -> tuple[float, float]:
    """Return composable and paper secret bits a pulse of a ``profile``, from the same counts."""
    composable, paper = compared(profile)
    return composable.secret_bits_per_pulse, paper.secret_bits_per_pulse


def draw_block_size(data: FigureData, figure: Figure) -> None:
    """Draw the blocks.

    Parameters
    ----------
    data : FigureData
        From ``block_size_data``.
    figure : Figure
        Empty; the drawing fills it.
    """
    panels = figure.subplots(2, 3).ravel()
    names = [str(name) for name in data["system"]]
    for axes, system in zip(panels, dict.fromkeys(names), strict=False):
        kept = [index for index, name in enumerate(names) if name == system]
        x = [data.numbers("block_bits")[index] for index in kept]
        for name, colour, style, label in (
            ("paper", canvas.BLUE, "-", "publication's formula"),
            ("composable", canvas.VERMILLION, canvas.DASHED, "composable proof"),
        ):
            y = [data.numbers(name)[index] for index in kept]
            axes.plot(x, y, color=colour, linestyle=style, label=label)
        axes.axhline(data.numbers("endless")[kept[0]], color=canvas.VERMILLION, linestyle=":", linewidth=1.0, label="composable, endless")
        axes.set_title(system)
        axes.set_xscale("log")
        axes.set_ylim(bottom=0.0)
        axes.ticklabel_format(axis="y", style="sci", scilimits=(0, 0))
    handles, labels = panels[0].get_legend_handles_labels()
    panels[-1].set_axis_off()
    panels[-1].legend(handles, labels, loc="center", fontsize=9.5)
    for axes in panels[2:5]:
        axes.set_xlabel("sifted key bits of the block")
    for axes in panels[0:4:3]:
        axes.set_ylabel("secret bits per pulse")
