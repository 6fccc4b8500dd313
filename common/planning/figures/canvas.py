"""How every figure looks: colours that colour-blind eyes tell apart, line styles and markers besides, caption below, files that repeat.

Colours are those of Okabe and Ito; maps use cividis. Published numbers are filled markers with a dark edge, ours are lines and open
markers. Files carry title and caption in their metadata and no date, so that the same numbers give the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from common.planning.figures.data import FigureData

INK, QUIET = "#22272e", "#8a929c"
BLACK, ORANGE, SKY, GREEN, BLUE, VERMILLION, PURPLE = "#000000", "#e69f00", "#56b4e9", "#009e73", "#0072b2", "#d55e00", "#cc79a7"
"""Okabe and Ito, without the yellow, which is too light for lines."""

COLOURS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY)
MARKERS = ("o", "s", "D", "^", "v", "P")
DASHED = (0, (4, 2.2))

MAP = "cividis"

PUBLISHED: dict[str, Any] = {"markeredgecolor": INK, "markeredgewidth": 1.1, "markersize": 7.5, "linestyle": "none", "zorder": 5}
"""Marker of a published number."""

_STYLE: Any = {  # matplotlib types its keys one by one
    "font.family": "DejaVu Sans",
    "font.size": 10.0,
    "axes.titlesize": 10.5,
    "axes.edgecolor": QUIET,
    "axes.labelcolor": INK,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": QUIET,
    "grid.alpha": 0.22,
    "grid.linewidth": 0.7,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
    "legend.fontsize": 8.6,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.hashsalt": "qkdlink",
}

_CAPTION_POINTS = 8.6
_CHARACTERS_PER_INCH = 16.0
_LINE_INCHES = 0.165
_MARGIN_INCHES = 0.12


def save(data: FigureData, draw: Callable[[FigureData, Figure], None], size_inches: tuple[float, float], folder: Path) -> list[Path]:
    """Write a figure as PNG, SVG and CSV.

    Parameters
    ----------
    data : FigureData
        What it shows.
    draw : callable
        Draws it on an empty figure.
    size_inches : tuple[float, float]
        Width and height without the caption.
    folder : Path
        Where to; must exist.

    Returns
    -------
    list[Path]
        The three files.
    """
    paths = [folder / f"{data.name}.{suffix}" for suffix in ("png", "svg", "csv")]
    with mpl.rc_context(_STYLE):
        figure = _figure(data, size_inches)
        draw(data, figure)
        described = {"Title": data.title, "Description": data.caption}
        figure.savefig(paths[0], dpi=150, metadata={**described, "Software": None})
        figure.savefig(paths[1], metadata={**described, "Date": None, "Creator": "qkdlink"})
    paths[2].write_text(data.to_csv(), encoding="utf-8")
    return paths


def plain_figure(size_inches: tuple[float, float], title: str) -> Figure:
    """Return an empty figure of ``size_inches`` under a ``title``; to be drawn on and saved within ``styled``."""
    figure = Figure(figsize=size_inches, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=11.5, fontweight="bold")
    return figure


def styled() -> AbstractContextManager[None]:
    """Return the context in which all that is drawn looks alike."""
    return mpl.rc_context(_STYLE)


def key_rate_axis(axes: Axes, label: str = "secret bits per pulse") -> None:
    """Make the vertical axis of ``axes`` logarithmic and name it ``label``."""
    axes.set_yscale("log")
    axes.set_ylabel(label)


def plot_positive(axes: Axes, data: FigureData, across: str, name: str, **style: Any) -> None:
    """Draw a column as a line where it is above 0: on a logarithmic axis a line ends where there is no key.

    Parameters
    ----------
    axes : Axes
        Where to.
    data : FigureData
        Holds the columns.
    across, name : str
        Columns of the horizontal and of the vertical axis.
    **style : Any
        Of the line.
    """
    pairs = [(x, y) for x, y in zip(*data.points(across, name), strict=True) if y > 0.0]
    axes.plot([x for x, _ in pairs], [y for _, y in pairs], **style)


def _figure(data: FigureData, size_inches: tuple[float, float]) -> Figure:
    """Return an empty figure with title and caption, the room between them left to the drawing."""
    width, height = size_inches
    sentences = (f"Published: {data.published}", f"Ours: {data.ours}")
    lines = [line for sentence in sentences for line in wrap(sentence, round(_CHARACTERS_PER_INCH * (width - 2 * _MARGIN_INCHES)))]
    below = _LINE_INCHES * len(lines) + 2 * _MARGIN_INCHES
    figure = Figure(figsize=(width, height + below), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    share = below / (height + below)
    figure.get_layout_engine().set(rect=(0.0, share, 1.0, 1.0 - share))  # type: ignore[union-attr,call-arg]
    figure.suptitle(data.title, fontsize=11.5, fontweight="bold")
    figure.text(
        _MARGIN_INCHES / width, _MARGIN_INCHES / (height + below), "\n".join(lines), fontsize=_CAPTION_POINTS, va="bottom", linespacing=1.35
    )
    return figure
