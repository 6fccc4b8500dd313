"""Lines over time, and histograms, as SVG drawn by the node itself: without a script, in the page's colours, and saying what they show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import floor, log10

WIDTH, HEIGHT = 640, 190
LEFT, RIGHT, TOP, BOTTOM = 64, 8, 10, 24
"""Size of the drawing and its margins, in its own units."""

COUNT_LINES = 4
"""Steps of the vertical axis, about."""

Points = list[tuple[float, float | None]]
"""Seconds ago, and a value; None interrupts the line."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line: its ``label``, and its ``points``."""

    label: str
    points: Points


def chart(title: str, lines: list[Line], reach_seconds: float, unit: str, factor: float = 1.0) -> str:
    """Draw lines over time.

    Parameters
    ----------
    title : str
        What is shown.
    lines : list[Line]
        At most four.
    reach_seconds : float
        How far back.
    unit : str
        Of the values, once they are multiplied with ``factor``.
    factor : float
        See ``unit``.

    Returns
    -------
    str
        A figure, HTML; in words where there is nothing to draw yet.
    """
    known = [factor * value for line in lines for _, value in line.points if value is not None]
    if not known:
        return f"<figure><figcaption>{escape(title)}</figcaption><p class=quiet>nothing measured yet</p></figure>"
    top, step = _axis(max(known))
    drawn = _grid(top, step)
    for share in (1.0, 0.5, 0.0):
        anchor = "start" if share == 1.0 else "end" if share == 0.0 else "middle"
        drawn.append(_below(1.0 - share, anchor, _ago(share * reach_seconds)))
    for number, line in enumerate(lines):
        points = [(_x(1.0 - age / reach_seconds), None if value is None else _y(factor * value / top)) for age, value in line.points]
        drawn += _drawn(number, _runs(points))
    return _figure(title, unit, [line.label for line in lines], "; ".join(_said(line, unit, factor) for line in lines), drawn)


def histogram(title: str, counts: Mapping[str, Sequence[int]], period: float, bands: Sequence[tuple[float, float]], unit: str) -> str:
    """Draw how often something falls into each part of a period.

    Parameters
    ----------
    title : str
        What is shown.
    counts : mapping of str to sequence of int
        By label, at most four: counts in equal bins from ``-period / 2`` to ``period / 2``.
    period : float
        In ``unit``.
    bands : sequence of tuple[float, float]
        Stretches of it that are marked.
    unit : str
        Of the period.

    Returns
    -------
    str
        A figure, HTML.
    """
    top, step = _axis(max((max(row, default=0) for row in counts.values()), default=0))
    drawn = []
    for low, high in bands:
        begin, end = _x(low / period + 0.5), _x(high / period + 0.5)
        drawn.append(f"<rect class=band x={begin:.1f} y={TOP} width={end - begin:.1f} height={HEIGHT - TOP - BOTTOM} />")
    drawn += _grid(top, step)
    _, tick = _axis(0.5 * period)
    ticks = range(-floor(0.49 * period / tick), floor(0.49 * period / tick) + 1)
    drawn += [_below(number * tick / period + 0.5, "middle", _short(number * tick)) for number in ticks]
    words = []
    for number, (label, row) in enumerate(counts.items()):
        edges: Points = [(_x((place + side) / len(row)), _y(count / top)) for place, count in enumerate(row) for side in (0, 1)]
        drawn += _drawn(number, _runs(edges))
        fullest = max(range(len(row)), key=row.__getitem__)
        words.append(f"{label} most at {_short(((fullest + 0.5) / len(row) - 0.5) * period)} {unit}")
    marked = ", ".join(f"{_short(low)} to {_short(high)}" for low, high in bands)
    return _figure(title, unit, list(counts), "; ".join([*words, f"marked {marked} {unit}"]), drawn)


def _x(share: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * share


def _y(share: float) -> float:
    return TOP + (HEIGHT - TOP - BOTTOM) * (1.0 - share)


def _grid(top: float, step: float) -> list[str]:
    """Draw the vertical axis: lines across, and what they stand for."""
    drawn = []
    for index in range(round(top / step) + 1):
        height = _y(index * step / top)
        drawn.append(f"<line class=grid x1={LEFT} x2={WIDTH - RIGHT} y1={height:.1f} y2={height:.1f} />")
        drawn.append(f"<text x={LEFT - 8} y={height + 4:.1f} text-anchor=end>{_short(index * step)}</text>")
    return drawn


def _below(share: float, anchor: str, text: str) -> str:
    """Write under the horizontal axis."""
    return f"<text x={_x(share):.1f} y={HEIGHT - 6} text-anchor={anchor}>{text}</text>"


def _drawn(number: int, runs: list[str]) -> list[str]:
    return [f'<polyline class=line{number} points="{run}" />' for run in runs]


def _figure(title: str, unit: str, labels: Sequence[str], words: str, drawn: list[str]) -> str:
    legend = " ".join(f"<span class=line{number}>{escape(label)}</span>" for number, label in enumerate(labels))
    return (
        f"<figure><figcaption>{escape(title)}, {escape(unit)} {legend}</figcaption>"
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role=img aria-label="{escape(f"{title}: {words}")}">{"".join(drawn)}</svg></figure>'
    )


def _axis(highest: float) -> tuple[float, float]:
    """Return a round top of the axis, from 0, and its steps."""
    if highest <= 0.0:
        return 1.0, 0.5
    rough = highest / COUNT_LINES
    power = 10.0 ** floor(log10(rough))
    step = next(power * nice for nice in (1.0, 2.0, 2.5, 5.0, 10.0) if power * nice >= rough * 0.999)
    count = 1
    while count * step < highest * 0.999:
        count += 1
    return count * step, step


def _runs(points: list[tuple[float, float | None]]) -> list[str]:
    """Return stretches without interruption, as SVG writes them."""
    runs: list[list[str]] = [[]]
    for x, y in points:
        if y is None:
            runs.append([])
        else:
            runs[-1].append(f"{x:.1f},{y:.1f}")
    return [" ".join(run if len(run) > 1 else [*run, *run]) for run in runs if run]


def _said(line: Line, unit: str, factor: float) -> str:
    """Say in words where a line is and has been."""
    values = [factor * value for _, value in line.points if value is not None]
    if not values:
        return f"{line.label} not measured"
    return f"{line.label} {_short(values[-1])} {unit}, between {_short(min(values))} and {_short(max(values))}"


def _short(value: float) -> str:
    """Write a number in a few letters: 12.3 M, 4.5 k, 0.012."""
    for size, letter in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def _ago(seconds: float) -> str:
    if not seconds:
        return "now"
    for size, name in ((86_400.0, "d"), (3600.0, "h"), (60.0, "min")):
        if seconds >= size:
            return f"{seconds / size:.3g} {name} ago"
    return f"{seconds:.3g} s ago"
