"""The pictures of ``qkd characterise``: what was counted as points with their uncertainties, what was fitted as lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from common.cli.source_text import spoken_time
from common.planning.figures.canvas import BLUE, COLOURS, DASHED, INK, MAP, QUIET, VERMILLION, plain_figure, styled

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from matplotlib.axes import Axes

    from alice.source.blinking import Blinking
    from alice.source.dead_time import DeadTime
    from alice.source.lifetime import Decay
    from alice.source.saturation import Saturation
    from alice.source.static_states import TruthTable
    from common.cli.source_reports import Characterised

DOTS_PER_INCH = 150


def save_picture(found: Characterised, path: Path) -> None:
    """Draw what was found.

    Parameters
    ----------
    found : Characterised
        Report and curves.
    path : Path
        PNG file to write.
    """
    report = found.report
    with styled():
        match report["kind"]:
            case "hbt":
                near, far = report["normalisation"]["neighbouring"], report["normalisation"]["far_delay"]
                figure = plain_figure((9.6, 6.4), f"g2(0) = {near['g2_zero']:.4f} ± {near['uncertainty']:.4f} against neighbouring peaks")
                grid = figure.add_gridspec(2, 2)
                if found.peaks is not None:
                    levels = near["coincidences_per_slot"], far["coincidences_per_slot"]
                    _draw_peaks(figure.add_subplot(grid[0, :]), *found.peaks, *levels, 1e9 / report["clock_hz"])
                if found.blinking is not None:
                    _draw_blinking(figure.add_subplot(grid[1, 0]), found.blinking)
                _draw_decays(figure.add_subplot(grid[1, 1]), found.decays or {})
            case "lifetime":
                figure = plain_figure((7.2, 4.6), f"lifetime {report['lifetime_ps']:.1f} ± {report['lifetime_uncertainty_ps']:.1f} ps")
                _draw_decays(figure.add_subplot(), found.decays or {})
            case "dead-time":
                figure = plain_figure((7.2, 4.6), "hazard of the next click")
                _draw_hazard(figure.add_subplot(), found.dead_times or {})
            case "saturation":
                figure = plain_figure((7.2, 4.6), f"saturation at {report['saturated_rate_hz']:.4g} Hz")
                if found.saturation is not None:
                    _draw_saturation(figure.add_subplot(), found.saturation, report["power_column"])
            case _:
                figure = plain_figure((6.4, 5.2), f"mean fidelity {report['mean_fidelity']:.4f}")
                if found.table is not None:
                    _draw_table(figure.add_subplot(), found.table)
        figure.savefig(path, dpi=DOTS_PER_INCH, metadata={"Software": None})


def _draw_peaks(axes: Axes, slots: np.ndarray, counts: np.ndarray, near: float, far: float, period_ns: float) -> None:
    axes.bar(slots * period_ns, counts, width=0.7 * period_ns, color=[VERMILLION if slot == 0 else BLUE for slot in slots])
    axes.axhline(near, color=INK, linestyle=DASHED, linewidth=1.2, label="mean of the neighbouring peaks")
    axes.axhline(far, color=QUIET, linestyle=DASHED, linewidth=1.2, label="mean at far delays")
    axes.annotate(f"{counts[slots == 0][0]}", (0.0, counts[slots == 0][0]), ha="center", va="bottom", fontweight="bold", color=VERMILLION)
    axes.set_ylim(0.0, 1.25 * float(counts.max()))
    axes.legend(loc="upper right", ncols=2)
    axes.set(xlabel="delay between the detectors, from the dip (ns)", ylabel="coincidences of a slot")


def _draw_blinking(axes: Axes, blinking: Blinking) -> None:
    axes.errorbar(
        blinking.delay_ns * 1e-3,
        blinking.level,
        blinking.level_uncertainty,
        color=BLUE,
        marker="o",
        markersize=3,
        linestyle="none",
        elinewidth=0.8,
    )
    axes.plot(blinking.delay_ns * 1e-3, blinking.fitted, color=VERMILLION)
    axes.set_xscale("log")
    axes.set(xlabel="delay (µs)", ylabel="coincidences over far delays")
    axes.set_ylim(bottom=0.0)
    if blinking.bright_ns is not None and blinking.dark_ns is not None:
        axes.set_title(f"bright for {spoken_time(blinking.bright_ns)}, dark for {spoken_time(blinking.dark_ns)} on average")


def _draw_decays(axes: Axes, decays: Mapping[str, Decay]) -> None:
    for (name, decay), colour in zip(decays.items(), COLOURS, strict=False):
        time_ps = (np.arange(decay.counts.size) + 0.5) * decay.bin_ps
        axes.step(time_ps, np.maximum(decay.counts, 0.5), where="mid", color=colour, alpha=0.45, linewidth=0.9)
        axes.plot(
            time_ps, decay.expected, color=colour, label=f"channel {name}: {decay.lifetime_ps:.1f} ± {decay.lifetime_uncertainty_ps:.1f} ps"
        )
    axes.set_yscale("log")
    axes.set_ylim(bottom=0.5)
    axes.set(xlabel="time within the pulse period (ps)", ylabel="arrivals in a bin")
    if decays:
        axes.legend(loc="upper right")


def _draw_hazard(axes: Axes, found: Mapping[str, DeadTime]) -> None:
    for (name, dead), colour in zip(found.items(), COLOURS, strict=False):
        shown = dead.wait_ps < 12.0 * dead.dead_time_ps
        axes.plot(
            dead.wait_ps[shown] * 1e-3,
            dead.hazard_hz[shown] * 1e-3,
            color=colour,
            marker="o",
            markersize=3,
            label=f"channel {name}: {dead.dead_time_ps * 1e-3:.1f} ns",
        )
        axes.axvline(dead.dead_time_ps * 1e-3, color=colour, linestyle=DASHED, linewidth=1.0)
        axes.axhline(dead.plateau_hz * 1e-3, color=colour, linestyle=":", linewidth=1.0)
    axes.set(xlabel="wait since the last click (ns)", ylabel="rate of the next click (1/ms)")
    axes.set_ylim(bottom=0.0)
    axes.legend(loc="lower right")


def _draw_saturation(axes: Axes, curve: Saturation, column: str) -> None:
    power = np.linspace(0.0, 1.05 * float(curve.points[:, 0].max()), 300)
    axes.plot(power, curve.rate_at(power), color=VERMILLION)
    axes.errorbar(curve.points[:, 0], curve.points[:, 1], curve.points[:, 2], color=BLUE, marker="o", markersize=4.5, linestyle="none")
    axes.axhline(curve.rate_hz, color=QUIET, linestyle=DASHED)
    axes.axvline(curve.power, color=QUIET, linestyle=DASHED)
    axes.set(xlabel=column.replace("_", " "), ylabel="rate (Hz)", xlim=(0.0, power[-1]))
    axes.set_ylim(bottom=0.0)


def _draw_table(axes: Axes, table: TruthTable) -> None:
    states = list(table.states)
    detectors = list(dict.fromkeys(name for found in table.states.values() for name in found.shares))
    shares = np.array([[found.shares.get(name, np.nan) for name in detectors] for found in table.states.values()])
    axes.grid(visible=False)
    axes.imshow(shares, cmap=MAP, vmin=0.0, vmax=1.0, aspect="auto")
    for row, column in np.ndindex(shares.shape):
        value = shares[row, column]
        axes.text(column, row, f"{value:.3f}", ha="center", va="center", color="white" if value < 0.6 else INK)
    axes.set_xticks(range(len(detectors)), detectors)
    axes.set_yticks(range(len(states)), states)
    axes.set(xlabel="detector, share within its basis", ylabel="state sent")
