"""Key rate against excitation power or temperature, from the photon number and g2 measured there.

The publication's own measurements are not in our references. What comes with the project is an example of ours, a saturating emitter;
a user's CSV file takes its place: a column ``power_nw`` or ``temperature_k``, ``mean_photon_number`` at the first lens, ``g2``, and if
there are any ``mean_photon_number_uncertainty`` and ``g2_uncertainty``, one standard deviation each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product
from math import exp
from pathlib import Path
from typing import TYPE_CHECKING

from common.errors import ConfigurationError
from common.planning.figures import canvas
from common.planning.figures.data import Cell, Column, FigureData, Inputs, Origin, grid, read_rows
from common.planning.published import niedersachsen_composable, niedersachsen_link
from common.planning.single_photon_link import SinglePhotonLink
from common.profiles.link import load_profile

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIZE_INCHES = (7.6, 6.6)

BLOCK_PULSES = 10**12

_SATURATION_NW = 100.0
_ACTIVATION_K = 174.0
"""The example's: 15 meV."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """What is varied.

    Attributes
    ----------
    name, column, unit, label : str
        Of the figure, in CSV files, its unit, and on the axis.
    """

    name: str
    column: str
    unit: str
    label: str


POWER = Quantity("power", "power_nw", "nW", "excitation power (nW)")
TEMPERATURE = Quantity("temperature", "temperature_k", "K", "temperature of the source (K)")


def read_measured(path: Path) -> dict[str, tuple[Mapping[str, Cell], ...]]:
    """Read a measured source.

    Parameters
    ----------
    path : Path
        CSV file, columns as above.

    Returns
    -------
    dict
        Rows, sorted, by ``power`` or ``temperature``.

    Raises
    ------
    ConfigurationError
        If columns are missing or a value makes no sense; the message names it.
    """
    uncertain = ("mean_photon_number_uncertainty", "g2_uncertainty")
    failed = None
    for quantity in (POWER, TEMPERATURE):
        try:
            rows = read_rows(path, (), (quantity.column, "mean_photon_number", "g2"), uncertain)
        except ConfigurationError as wrong:
            if f"no column {quantity.column}" not in str(wrong):
                raise
            failed = wrong
            continue
        return {quantity.name: tuple(sorted(rows, key=lambda row: _value(row, quantity.column)))}
    raise ConfigurationError(f"{path}: neither a column power_nw nor temperature_k") from failed


def excitation_data(inputs: Inputs, quantity: Quantity) -> FigureData:
    """Compute key rates of ``niedersachsen`` at 25.49 dB from photon number and g2.

    Parameters
    ----------
    inputs : Inputs
        With a measured source, or without one for the example.
    quantity : Quantity
        ``POWER`` or ``TEMPERATURE``.

    Returns
    -------
    FigureData
        One row a measurement.

    References
    ----------
    [Yang2024] for the formula; status: paper.
    """
    given = inputs.measured.get(quantity.name)
    rows = given or _example(quantity)
    origin: Origin = "given" if given else "ours"
    whose = "measured" if given else "example"
    points = [_rates(row) for row in rows]
    columns = (
        Column(quantity.column, quantity.unit, origin, f"{whose}, {quantity.label}", tuple(row[quantity.column] for row in rows)),
        *(
            Column(name, "", origin, f"{whose}, {name.replace('_', ' ')}", tuple(row.get(name) for row in rows))
            for name in ("mean_photon_number", "mean_photon_number_uncertainty", "g2", "g2_uncertainty")
        ),
        Column("asymptotic", "bit/pulse", "ours", "endless block, publication's formula", tuple(point[0] for point in points)),
        Column("asymptotic_low", "bit/pulse", "ours", "least within one uncertainty of both", tuple(point[1] for point in points)),
        Column("asymptotic_high", "bit/pulse", "ours", "most within one uncertainty of both", tuple(point[2] for point in points)),
        Column(
            "paper_1e12", "bit/pulse", "ours", "publication's formula, textbook channel, 1e12 pulses", tuple(point[3] for point in points)
        ),
        Column(
            "composable_1e12", "bit/pulse", "ours", "composable proof, full link model, 1e12 pulses", tuple(point[4] for point in points)
        ),
    )
    what = "excitation power" if quantity is POWER else "temperature"
    source = (
        "photon number and g2 are the user's."
        if given
        else "photon number and g2 too: an EXAMPLE, not measured; give measured values with --measured."
    )
    return FigureData(
        quantity.name,
        f"Key rate against {what}" + ("" if given else " (example)"),
        "loss, efficiencies and dark counts of the field link (arXiv 2308.15922); how its source was measured to behave is not in our"
        " references.",
        "key rates, by the publication's formula in the textbook channel (the endless line counts both bases, finite lines Z alone) and by"
        f" the composable proof in the full link model, passive receiver and dead time included; {source}",
        columns,
    )


def draw_excitation(data: FigureData, figure: Figure) -> None:
    """Draw a source against power or temperature.

    Parameters
    ----------
    data : FigureData
        From ``excitation_data``.
    figure : Figure
        Empty; the drawing fills it.
    """
    quantity = POWER if data.name == POWER.name else TEMPERATURE
    x = data.numbers(quantity.column)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(1.0, 1.25))
    beside = above.twinx()
    beside.grid(visible=False)
    for axes, name, scale, colour, marker, label in (
        (above, "mean_photon_number", 1.0, canvas.BLUE, "o", "photons per pulse at the first lens"),
        (beside, "g2", 100.0, canvas.VERMILLION, "s", "g2 (%)"),
    ):
        errors = [0.0 if value is None else scale * float(value) for value in data[f"{name}_uncertainty"]]
        y = [scale * value for value in data.numbers(name)]
        axes.errorbar(x, y, yerr=errors, color=colour, marker=marker, markersize=4.5, capsize=2, linestyle=":", linewidth=1.0)
        axes.set_ylabel(label, color=colour)
        axes.set_ylim(bottom=0.0)
    beside.spines["right"].set_visible(True)
    low, high = ([1e6 * value for value in data.numbers(f"asymptotic_{end}")] for end in ("low", "high"))
    below.fill_between(x, low, high, color=canvas.BLACK, alpha=0.12, linewidth=0)
    for name, style, colour, label in (
        ("asymptotic", "-", canvas.BLACK, "endless block (band: one uncertainty)"),
        ("paper_1e12", "-", canvas.GREEN, "1e12 pulses, formula"),
        ("composable_1e12", canvas.DASHED, canvas.PURPLE, "1e12 pulses, composable"),
    ):
        below.plot(x, [1e6 * value for value in data.numbers(name)], linestyle=style, color=colour, label=label, marker=".", markersize=5)
    below.set_ylabel("secret bits per million pulses")
    below.set_xlabel(quantity.label)
    below.set_ylim(bottom=0.0, top=1.45 * max(*high, 1e-3))
    below.legend(loc="upper left", ncols=3, fontsize=8.2)


def _rates(row: Mapping[str, Cell]) -> tuple[float, float, float, float, float]:
    mean, g2 = _value(row, "mean_photon_number"), _value(row, "g2")
    spread_mean, spread_g2 = _value(row, "mean_photon_number_uncertainty"), _value(row, "g2_uncertainty")
    corners = [
        _link(max(0.0, mean + a * spread_mean), min(1.0, max(0.0, g2 + b * spread_g2))).asymptotic
        for a, b in product((-1.0, 0.0, 1.0), repeat=2)
    ]
    link = _link(mean, g2)
    composable = niedersachsen_composable(BLOCK_PULSES, {"source.mean_photon_number": mean, "source.g2": g2})
    return link.asymptotic, min(corners), max(corners), link.paper_rate(BLOCK_PULSES), composable


def _link(mean: float, g2: float) -> SinglePhotonLink:
    return replace(niedersachsen_link(), mean_photon_number=mean * load_profile("niedersachsen").source.transmitter_efficiency, g2=g2)


def _value(row: Mapping[str, Cell], name: str) -> float:
    return float(row.get(name) or 0.0)


def _example(quantity: Quantity) -> tuple[Mapping[str, Cell], ...]:
    """Saturation of an emitter over a background that grows with power; quenching and a broader line with temperature. All ours."""
    source = load_profile("niedersachsen").source
    rows: list[Mapping[str, Cell]] = []
    for at in grid(10.0, 500.0, 50) if quantity is POWER else grid(4.0, 60.0, 29):
        if quantity is POWER:
            mean = source.mean_photon_number * (1.0 - exp(-at / _SATURATION_NW))
            g2 = source.g2 * (0.5 + 0.5 * at / _SATURATION_NW)
        else:
            mean = source.mean_photon_number / (1.0 + 20.0 * exp(-_ACTIVATION_K / at))
            g2 = source.g2 * (1.0 + (at / 40.0) ** 2)
        uncertain = {"mean_photon_number_uncertainty": 0.02 * mean, "g2_uncertainty": 0.05 * g2}
        rows.append({quantity.column: at, "mean_photon_number": mean, "g2": g2, **uncertain})
    return tuple(rows)
