"""Tables of ``qkd bench`` for a terminal: what was measured, and how two runs differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

    from common.cli.benchmarks.comparison import Change
    from common.cli.benchmarks.measurement import Measurement


def table(measurements: list[Measurement]) -> Table:
    """Lay out measurements for a terminal.

    Parameters
    ----------
    measurements : list[Measurement]
        In order.

    Returns
    -------
    rich.table.Table
        A line for each.
    """
    titles = ("stage", "method", "QBER >", "block >", "speed >", "f >", "frame errors >", "to peer >", "peer")
    laid_out = _columns(*titles)
    previous = ""
    for line in measurements:
        laid_out.add_row(line.stage if line.stage != previous else "", *cells(line))
        previous = line.stage
    return laid_out


def cells(line: Measurement) -> tuple[str, ...]:
    """Write the columns behind the stage's name as text.

    Parameters
    ----------
    line : Measurement
        One measurement.

    Returns
    -------
    tuple[str, ...]
        Method, QBER, block, speed, f, frame errors, ratio, peer; empty where there is none.
    """
    if line.requests_per_second is not None:
        speed = f"{line.requests_per_second:,.0f} requests/s, p99 {line.latency_p99_ms:.3g} ms"
    elif line.mbit_per_second is not None:
        speed = f"{line.mbit_per_second:.4g} Mbit/s"
    else:
        speed = f"{line.mevents_per_second or 0:.4g} M/s"
    errors = "" if line.frame_error_ratio is None else f"{line.frame_error_ratio:.2g} of {line.count_segments}"
    return (
        line.method,
        "" if line.qber is None else f"{line.qber:.3g}",
        "" if line.block_bits is None else f"{line.block_bits:,}",
        speed,
        "" if line.efficiency is None else f"{line.efficiency:.3f}",
        errors,
        "" if line.ratio_to_peer is None else f"{line.ratio_to_peer:.3g}×",
        line.peer or "",
    )


def comparison_table(changes: Sequence[Change]) -> Table:
    """Lay out what changed, line by line.

    Parameters
    ----------
    changes : sequence of Change
        From ``comparison.compared``.

    Returns
    -------
    rich.table.Table
        A line for each, the worse ones marked.
    """
    laid_out = _columns("stage", "measurement", "by", "before >", "now >", "change >", "noise >", "")
    previous = ""
    for line in changes:
        figures = (_figure(line.before), _figure(line.now), _percent(line.change), _noise(line.noise))
        verdict = f"not compared: {line.reason}" if line.reason else "" if line.verdict == "same" else line.verdict
        style = "bold red" if line.is_regression else None
        laid_out.add_row(line.stage if line.stage != previous else "", line.what, line.by, *figures, verdict, style=style)
        previous = line.stage
    return laid_out


def summary_table(summaries: Sequence[dict[str, Any]]) -> Table:
    """Lay out what changed, stage by stage.

    Parameters
    ----------
    summaries : sequence of dict
        From ``comparison.stage_summaries``.

    Returns
    -------
    rich.table.Table
        A line for each stage.
    """
    laid_out = _columns("stage", "speed, all together >", "compared >", "better >", "worse >")
    for stage in summaries:
        speed = "" if stage["speed"] is None else f"{stage['speed']:.3g}×"
        laid_out.add_row(stage["stage"], speed, *(str(stage[name]) for name in ("compared", "improved", "regressed")))
    return laid_out


def _columns(*titles: str) -> Table:
    """Open a table; a title that ends in ``>`` stands over figures."""
    from rich.table import Table

    laid_out = Table(box=None, header_style="bold", pad_edge=False)
    for title in titles:
        laid_out.add_column(title.removesuffix(" >"), justify="right" if title.endswith(">") else "left")
    return laid_out


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _percent(ratio: float | None) -> str:
    return "" if ratio is None else f"{100 * ratio:+.1f} %"


def _noise(ratio: float | None) -> str:
    return "" if ratio is None else f"±{100 * ratio:.1f} %"
