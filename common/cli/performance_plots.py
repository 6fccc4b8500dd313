"""The plots of the page on performance: speed and f by QBER, block and distance; and how cost grows with the block.

A panel whose series a run does not hold says so, so that older runs and runs of single stages are drawn as well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log
from pathlib import Path
from typing import TYPE_CHECKING

from common.cli.benchmarks.records import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PLOT = Path("docs/_static/performance.svg")
GROWTH_PLOT = Path("docs/_static/performance-growth.svg")

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Growth:
    """How the cost of a bit grew over the blocks of a series.

    Attributes
    ----------
    what : str
        What ran.
    sizes : tuple[int, ...]
        Bits or detections of a block, ascending.
    nanoseconds : tuple[float, ...]
        Of one bit or detection, for each size.
    """

    what: str
    sizes: tuple[int, ...]
    nanoseconds: tuple[float, ...]

    @property
    def factor(self) -> float:
        """Cost of a bit in the longest block over that in the cheapest of the shorter half, where fixed costs no longer count."""
        return self.nanoseconds[-1] / min(self.nanoseconds[: max(1, len(self.sizes) // 2)])

    @property
    def allowed(self) -> float:
        """The same factor if the cost of a block grew as n log n from the shortest on."""
        return log(self.sizes[-1]) / log(self.sizes[0])


def growths(records: Sequence[Record]) -> list[Growth]:
    """Find the series over blocks.

    Parameters
    ----------
    records : sequence of dict
        All records.

    Returns
    -------
    list[Growth]
        Of the stages ``scaling`` and ``amplification``, each with two sizes or more.
    """
    found: dict[str, dict[int, float]] = {}
    for record in records:
        if record["stage"] in {"scaling", "amplification"}:
            what = f"{record['stage']}: {record['method']}" if record["stage"] == "amplification" else record["method"]
            found.setdefault(what, {})[record["block_bits"]] = 1e3 / (record["mbit_per_second"] or record["mevents_per_second"])
    return [
        Growth(what, tuple(sorted(costs)), tuple(costs[size] for size in sorted(costs))) for what, costs in found.items() if len(costs) > 1
    ]


def draw(records: Sequence[Record], path: Path, growth_path: Path) -> None:
    """Draw both plots.

    Parameters
    ----------
    records : sequence of dict
        All records.
    path, growth_path : Path
        SVG files, replaced: speed and f, and the growth of cost.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.hashsalt": "qkdlink", "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(11, 6.4), layout="constrained")
        panels = figure.subplots(2, 3, sharex="col", squeeze=False)
        for column, (title, log_scale, chosen, place) in enumerate(_COLUMNS):
            _panel(panels[0][column], [record for record in records if chosen(record)], place, _speed, "sifted Mbit/s", log_scale)
            _panel(panels[1][column], [record for record in records if chosen(record)], place, _efficiency, "f", log_scale)
            panels[0][column].set_yscale("log")
            panels[1][column].set_xlabel(title)
            if panels[1][column].get_legend_handles_labels()[0]:
                panels[1][column].legend(fontsize=7, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.22))
        _mark_choice(panels[0][2], [record for record in records if record["stage"] == "distance"])
        _save(figure, path)
        figure = Figure(figsize=(11, 3.8), layout="constrained")
        left, right = figure.subplots(1, 2)
        _draw_amplification(left, [record for record in records if record["stage"] == "amplification"])
        _draw_growth(right, growths(records))
        _save(figure, growth_path)


def _speed(record: Record) -> float | None:
    value: float | None = record["mbit_per_second"]
    return value


def _efficiency(record: Record) -> float | None:
    value: float | None = record["efficiency"]
    return value


def _qber_percent(record: Record) -> float:
    return 100.0 * float(record["qber"])


def _block_bits(record: Record) -> float:
    return float(record["block_bits"])


def _milliseconds(record: Record) -> float:
    return float(record["round_trip_ms"])


def _by_qber(record: Record) -> bool:
    return str(record["stage"]) in {"reconciliation", "pipeline"} and "apart" not in str(record["method"])


def _by_block(record: Record) -> bool:
    return str(record["stage"]) == "scaling" and record["qber"] is not None


def _by_distance(record: Record) -> bool:
    return str(record["stage"]) == "distance"


_COLUMNS: tuple[tuple[str, bool, Callable[[Record], bool], Callable[[Record], float]], ...] = (
    ("QBER, %", False, _by_qber, _qber_percent),
    ("block, bits", True, _by_block, _block_bits),
    ("round trip, ms", False, _by_distance, _milliseconds),
)
"""Title, whether the axis is logarithmic, which records, and where on the axis they lie."""


def _panel(
    axes: Axes,
    records: Sequence[Record],
    place: Callable[[Record], float],
    value: Callable[[Record], float | None],
    label: str,
    log_scale: bool,
) -> None:
    """Draw a line for each method."""
    axes.set_ylabel(label)
    if log_scale:
        axes.set_xscale("log")
    drawn = False
    for method in dict.fromkeys(record["method"] for record in records):
        points = sorted((place(record), value(record) or 0.0) for record in records if record["method"] == method and value(record))
        if points:
            axes.plot(*zip(*points, strict=True), marker="o", markersize=3, label=method)
            drawn = True
    if not drawn:
        axes.text(0.5, 0.5, "not in this run", transform=axes.transAxes, ha="center", va="center")


def _mark_choice(axes: Axes, records: Sequence[Record]) -> None:
    """Circle the method that the nodes choose by themselves at each distance."""
    chosen = [record for record in records if str(record["note"]).startswith("chosen")]
    if chosen:
        points = [(_milliseconds(record), _speed(record) or 0.0) for record in chosen]
        axes.plot(*zip(*points, strict=True), "o", markersize=9, fillstyle="none", color="black", label="chosen by auto")
        axes.legend(fontsize=7, frameon=False)


def _draw_amplification(axes: Axes, records: Sequence[Record]) -> None:
    """Draw ours beside the peers: speed by block."""
    axes.set(xlabel="block, bits", ylabel="amplified Mbit/s of input", xscale="log", yscale="log")
    if not records:
        axes.text(0.5, 0.5, "not in this run", transform=axes.transAxes, ha="center", va="center")
        return
    for method in dict.fromkeys(record["method"] for record in records):
        ours = {record["block_bits"]: record["mbit_per_second"] for record in records if record["method"] == method}
        axes.plot(list(ours), list(ours.values()), marker="o", markersize=3, label=method)
    plain = [record for record in records if record["method"].startswith("Toeplitz") and record["peer"]]
    for peer in dict.fromkeys(record["peer"] for record in plain):
        points = [(r["block_bits"], r["mbit_per_second"] / r["ratio_to_peer"]) for r in plain if r["peer"] == peer]
        axes.plot(*zip(*points, strict=True), marker="s", markersize=3, linestyle="--", label=peer)
    axes.legend(fontsize=7, frameon=False)


def _draw_growth(axes: Axes, series: Sequence[Growth]) -> None:
    """Draw the cost of a bit over that in the shortest block; what lies below the dashed line grows slower than n log n."""
    axes.set(xlabel="block, bits or detections", ylabel="cost of a bit, shortest block = 1", xscale="log", yscale="log")
    for growth in series:
        points = [(size, cost / growth.nanoseconds[0]) for size, cost in zip(growth.sizes, growth.nanoseconds, strict=True)]
        axes.plot(*zip(*points, strict=True), marker="o", markersize=3, label=growth.what)
    if series:
        least, most = min(growth.sizes[0] for growth in series), max(growth.sizes[-1] for growth in series)
        sizes = [least * (most / least) ** (step / 32) for step in range(33)]
        axes.plot(sizes, [log(size) / log(least) for size in sizes], color="black", linestyle="--", linewidth=1, label="n log n")
        axes.legend(fontsize=7, frameon=False)
    else:
        axes.text(0.5, 0.5, "not in this run", transform=axes.transAxes, ha="center", va="center")


def _save(figure: object, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})  # type: ignore[attr-defined]
