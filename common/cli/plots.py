"""The plot of ``qkd demo``: QBER and key rate over link time, in light and in dark, as PNG and SVG; and all of it on one picture.

Colours are those of Okabe and Ito, told apart by eyes that see red and green alike; lines are labelled where they end.
"""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from itertools import cycle, pairwise
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, SubFigure
from matplotlib.image import imread

from common.cli.link_series import LinkSeries

NAME = "qber-and-key-rate"
"""Name of the plot's files, before their suffix."""

OVERVIEW = "overview.png"
"""Name of the one picture that shows it all."""

_WIDTH_INCHES, _HEIGHT_INCHES = 7.6, 4.6

_MOST_MARKED = 200
"""Points of a line that are marked one by one."""

_LONG_SECONDS = ((3.0 * 3600.0, 3600.0, "h"), (600.0, 60.0, "min"), (0.0, 1.0, "s"))
"""From which length on link time is drawn in which unit, and that in seconds."""

_USUAL_SHARE, _MOST_TIMES_USUAL = 0.85, 3.0
"""The QBER's axis reaches no further than so many times what this share of the steps stays below: a search goes to 100 %."""

_KNOB_STYLES = ("-", (0, (4, 2)), (0, (1, 1.5)))
"""Lines of actuators, told apart without colour."""

_RELAXATIONS = 40
"""Times that labels too near to each other are moved apart."""

_STYLE: Any = {  # matplotlib types its keys one by one
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "svg.hashsalt": "qkdlink",
    "axes.spines.top": False,
    "axes.spines.right": False,
}


@dataclass(frozen=True, slots=True)
class Theme:
    """Colours of a plot.

    Attributes
    ----------
    ink, quiet, paper : str
        Text, axes and grid, background.
    z, x, key : str
        QBER of the two bases, key rate.
    """

    ink: str
    quiet: str
    paper: str
    z: str
    x: str
    key: str


LIGHT = Theme(ink="#22272e", quiet="#8a929c", paper="#ffffff", z="#0072b2", x="#d55e00", key="#00805c")
DARK = Theme(ink="#e6e9ee", quiet="#7f8894", paper="#171b21", z="#56b4e9", x="#e69f00", key="#2fd0a0")


def save_plot(series: LinkSeries, folder: Path) -> None:
    """Write the plot as PNG and SVG.

    Parameters
    ----------
    series : LinkSeries
        What is shown.
    folder : Path
        Gets ``qber-and-key-rate.png`` and ``.svg``.
    """
    with mpl.rc_context(_STYLE):
        figure = _drawn(series, LIGHT)
        figure.savefig(folder / f"{NAME}.png", dpi=170, metadata={"Software": None})
        figure.savefig(folder / f"{NAME}.svg", metadata={"Date": None})


def svg_plot(series: LinkSeries, theme: Theme) -> bytes:
    """Draw the plot for the page.

    Parameters
    ----------
    series : LinkSeries
        What is shown.
    theme : Theme
        In which colours.

    Returns
    -------
    bytes
        SVG, text drawn as outlines.
    """
    written = BytesIO()
    with mpl.rc_context(_STYLE):
        _drawn(series, theme).savefig(written, format="svg", metadata={"Date": None})
    return written.getvalue()


def save_overview(series: LinkSeries, folder: Path) -> None:
    """Write the three pictures and the plot as one.

    Parameters
    ----------
    series : LinkSeries
        What is shown.
    folder : Path
        Holds ``original.png encrypted.png decrypted.png``; gets ``overview.png``.
    """
    with mpl.rc_context(_STYLE):
        figure = _figure(LIGHT, _HEIGHT_INCHES + 2.55)
        upper, lower = np.asarray(figure.subfigures(2, 1, height_ratios=(2.55, _HEIGHT_INCHES)))
        shown = (("original", "what Alice sends"), ("encrypted", "what crosses the open line"), ("decrypted", "what Bob sees"))
        for axes, (name, title) in zip(upper.subplots(1, 3), shown, strict=True):
            axes.imshow(imread(folder / f"{name}.png"), interpolation="nearest")
            axes.set_title(title, color=LIGHT.ink, fontsize=10.5, fontweight="bold")
            axes.set_axis_off()
        _draw(lower, series, LIGHT)
        figure.savefig(folder / OVERVIEW, dpi=150, metadata={"Software": None})


def _drawn(series: LinkSeries, theme: Theme) -> Figure:
    figure = _figure(theme, _HEIGHT_INCHES)
    _draw(figure, series, theme)
    return figure


def _figure(theme: Theme, height_inches: float) -> Figure:
    figure = Figure(figsize=(_WIDTH_INCHES, height_inches), layout="constrained", facecolor=theme.paper)
    FigureCanvasAgg(figure)
    return figure


def _draw(figure: Figure | SubFigure, series: LinkSeries, theme: Theme) -> None:
    turned = any(series.watched.positions)
    panels = list(figure.subplots(2 + turned, 1, sharex=True, height_ratios=(1, 1.15, 0.8)[: 2 + turned]))
    for axes in panels:
        _set_axes(axes, theme)
    end_s = max([*series.end_s[-1:], *series.watched.link_seconds[-1:]], default=1.0)
    unit_s, unit = next((unit_s, unit) for from_s, unit_s, unit in _LONG_SECONDS if end_s >= from_s)
    _draw_qber(panels[0], series, theme, unit_s)
    _draw_key_rate(panels[1], series, theme, unit_s)
    if turned:
        _draw_actuators(panels[2], series, theme, unit_s)
    panels[-1].set_xlabel(f"link time ({unit})", color=theme.ink)
    panels[-1].set_xlim(0, end_s / unit_s * 1.12)
    figure.align_ylabels(panels)


def _set_axes(axes: Axes, theme: Theme) -> None:
    axes.set_facecolor(theme.paper)
    axes.tick_params(colors=theme.ink, length=3)
    axes.grid(visible=True, axis="y", color=theme.quiet, alpha=0.25, linewidth=0.7)
    axes.set_axisbelow(True)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(theme.quiet)


def _draw_qber(axes: Axes, series: LinkSeries, theme: Theme, unit_s: float) -> None:
    steps = [0.0, *(end / unit_s for end in series.end_s)]
    ends: list[tuple[float, str, str]] = []
    heights: list[float] = []
    for name, colour, marker in (("Z", theme.z, "o"), ("X", theme.x, "s")):
        known = [
            ((steps[i] + steps[i + 1]) / 2, 100 * value, 100 * (series.qber_deviation[name][i] or 0.0))
            for i, value in enumerate(series.qber[name])
            if value is not None
        ]
        if not known:
            continue
        middles, values, deviations = zip(*known, strict=True)
        low, high = ([v + sign * d for v, d in zip(values, deviations, strict=True)] for sign in (-1, 1))
        axes.fill_between(middles, [max(0.0, v) for v in low], high, color=colour, alpha=0.16, linewidth=0)
        axes.plot(middles, values, color=colour, marker=marker, markersize=3 if len(values) < _MOST_MARKED else 0, linewidth=1.2)
        heights += high
        ends.append((sum(values[-5:]) / len(values[-5:]), f"{name} basis", colour))
    expected = 100 * series.expected_qber["X"]
    axes.plot([0, steps[-1]], [expected, expected], color=theme.quiet, linewidth=1, linestyle=(0, (4, 3)))
    ends.append((expected, "expected", theme.quiet))
    usual = float(np.quantile(heights, _USUAL_SHARE)) if heights else 0.0
    axes.set_ylim(0, max(1.2 * min(max(heights, default=0.0), _MOST_TIMES_USUAL * usual), 2 * expected, 0.5))
    for at_s in lock_losses_s(series):
        axes.axvline(at_s / unit_s, color=theme.ink, linewidth=0.8, linestyle=(0, (1, 2)))
        axes.text(at_s / unit_s, axes.get_ylim()[1], " lock lost", color=theme.ink, fontsize=7.5, va="top")
    _label_ends(axes, steps[-1] or 1.0, ends)
    axes.set_ylabel("QBER (%)", color=theme.ink)


def lock_losses_s(series: LinkSeries) -> list[float]:
    """Return when in the ``series`` the clock was seen to have lost its lock: seconds of link."""
    watched = series.watched
    known = list(zip(watched.link_seconds, watched.lock_losses, strict=True))
    return [seconds for (_, before), (seconds, now) in pairwise([(0.0, 0), *known]) if now > before]


def _draw_actuators(axes: Axes, series: LinkSeries, theme: Theme, unit_s: float) -> None:
    """Draw where the actuators stand; a search is shaded."""
    watched = series.watched
    seconds = [at_s / unit_s for at_s in watched.link_seconds]
    searching = [state == "acquiring" for state in watched.compensation]
    axes.fill_between(
        seconds, 0, 1, where=searching, step="post", transform=axes.get_xaxis_transform(), color=theme.quiet, alpha=0.22, linewidth=0
    )
    names = list(dict.fromkeys(name for positions in watched.positions for name in positions))
    ends = []
    for name, style, colour in zip(names, cycle(_KNOB_STYLES), cycle((theme.z, theme.x, theme.key))):
        places = [positions.get(name, np.nan) for positions in watched.positions]
        axes.step(seconds, places, where="post", color=colour, linestyle=style, linewidth=1.3)
        ends.append((places[-1], name, colour))
    axes.margins(y=0.15)
    _label_ends(axes, seconds[-1] or 1.0, ends)
    axes.set_ylabel("actuators (rad)", color=theme.ink)


def _draw_key_rate(axes: Axes, series: LinkSeries, theme: Theme, unit_s: float) -> None:
    end_units = [end / unit_s for end in series.end_s]
    obtained = [bits / end for bits, end in zip(series.secret_bits, series.end_s, strict=True)]
    curve = [(end / unit_s, bits / end) for end, bits in series.expected_curve if end > 0]
    curve_s, expected = [0.0, *(end for end, _ in curve)], [0.0, *(rate for _, rate in curve)]
    axes.plot(curve_s, expected, color=theme.quiet, linewidth=1, linestyle=(0, (4, 3)))
    axes.fill_between(end_units, obtained, color=theme.key, alpha=0.16, linewidth=0)
    axes.plot(end_units, obtained, color=theme.key, marker="D", markersize=2.6 if len(obtained) < _MOST_MARKED else 0, linewidth=1.4)
    axes.set_ylim(0, max([1.0, *obtained, *expected]) * 1.2)
    if series.end_s:
        ends = [(obtained[-1], "obtained", theme.key), (expected[-1], "expected", theme.quiet)]
        _label_ends(axes, end_units[-1], ends)
    if not any(obtained):
        axes.text(0.5, 0.5, "no secret key", transform=axes.transAxes, ha="center", va="center", color=theme.ink, fontsize=13)
    axes.set_ylabel("key rate so far (bit/s)", color=theme.ink)


def _label_ends(axes: Axes, end: float, ends: list[tuple[float, str, str]]) -> None:
    """Write the names of lines behind their ends, apart from each other."""
    low, high = axes.get_ylim()
    gap = 0.13 * (high - low)
    ends = sorted(ends)
    places = [value for value, _, _ in ends]
    for _ in range(_RELAXATIONS):
        for i in range(1, len(places)):
            apart = max(0.0, places[i - 1] + gap - places[i]) / 2
            places[i - 1], places[i] = places[i - 1] - apart, places[i] + apart
        places[0] = max(places[0], low + gap / 2)
    for place, (_, name, colour) in zip(places, ends, strict=True):
        axes.text(end * 1.012, place, name, color=colour, va="center", ha="left", fontsize=8.5, fontweight="bold")
