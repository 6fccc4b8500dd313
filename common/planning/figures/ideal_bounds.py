"""Which ideal single-photon source beats ideal laser light: at least 1/e photons a pulse, g2 of at most e/4."""

from __future__ import annotations

from collections.abc import Sequence
from math import e, isfinite
from typing import TYPE_CHECKING, Any

from common.planning.figures import canvas
from common.planning.figures.data import Column, Fact, FigureData, grid
from common.planning.published import largest_g2_beyond_laser
from common.security.proofs.single_photon_channel import least_source_beyond_laser

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIZE_INCHES = (7.0, 4.8)

SOURCES = (
    ("hefei, at the source", 0.71, 0.00698),
    ("hefei, in the channel", 0.292, 0.00698),
    ("niedersachsen, first lens", 0.138, 0.0243),
)
"""Mean photon number and g2, published [Zhang2025, Yang2024]."""


def ideal_bounds_data(g2: Sequence[float] | None = None) -> FigureData:
    """Compute the least mean photon number that beats laser light against g2, at zero loss.

    Parameters
    ----------
    g2 : sequence of float | None
        Where to; None for 0 to e/4.

    Returns
    -------
    FigureData
        The boundary, and published sources as facts.

    References
    ----------
    [Zhang2025], summary read; status: planning.
    """
    largest = largest_g2_beyond_laser()
    values = grid(0.0, largest, 201) if g2 is None else sorted(g2)
    least = [least_source_beyond_laser(value) for value in values]
    columns = (
        Column("g2", "", "ours", "second-order correlation", tuple(values)),
        Column(
            "mean_photon_number", "", "ours", "from here on more key than laser light", tuple(x if isfinite(x) else None for x in least)
        ),
    )
    facts = [
        Fact("least mean photon number, g2 = 0", "1", "ours", least_source_beyond_laser(0.0)),
        Fact("least mean photon number, g2 = 0, printed as 1/e", "1", "published", 1.0 / e),
        Fact("largest g2", "1", "ours", largest),
        Fact("largest g2, printed as e/4", "1", "published", e / 4.0),
        *(Fact(f"mean photon number, {name}", "1", "published", mean) for name, mean, _ in SOURCES),
        *(Fact(f"g2, {name}", "1", "published", value) for name, _, value in SOURCES),
    ]
    return FigureData(
        "ideal-bounds",
        "Sources that beat ideal laser light, without loss",
        "the limits 1/e and e/4, and the markers: photon number and g2 of the sources.",
        "the boundary, where single-photon clicks μ − g2 μ² reach the 1/e of laser light with perfectly known photon numbers. With loss,"
        " or against the decoys of a finite block, dimmer sources win too (see source-maps).",
        columns,
        tuple(facts),
    )


def draw_ideal_bounds(data: FigureData, figure: Figure) -> None:
    """Draw the ideal bounds.

    Parameters
    ----------
    data : FigureData
        From ``ideal_bounds_data``.
    figure : Figure
        Empty; the drawing fills it.
    """
    axes = figure.subplots()
    x, y = data.points("g2", "mean_photon_number")
    axes.fill_between(x, y, 1.0, color=canvas.SKY, alpha=0.3, linewidth=0)
    axes.plot(x, y, color=canvas.BLUE)
    axes.text(0.2, 0.78, "more key than\nany laser light", ha="center", va="center")
    axes.text(0.42, 0.3, "less key than ideal laser light", ha="center", va="center")
    limits: dict[str, Any] = {"color": canvas.INK, "linestyle": ":", "linewidth": 1.2}
    axes.axhline(1.0 / e, **limits)
    axes.text(0.795, 1.0 / e + 0.012, "1/e", ha="right", va="bottom")
    axes.axvline(e / 4.0, **limits)
    axes.text(e / 4.0 + 0.006, 0.97, "e/4", ha="left", va="top")
    for (name, mean, g2), marker, colour in zip(SOURCES, canvas.MARKERS, (canvas.ORANGE, canvas.VERMILLION, canvas.GREEN), strict=False):
        axes.plot([g2], [mean], marker=marker, color=colour, clip_on=False, label=f"published: {name}", **canvas.PUBLISHED)
    axes.set(xlim=(0.0, 0.8), ylim=(0.0, 1.0), xlabel="second-order correlation g2", ylabel="photons per pulse")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 0.0))
