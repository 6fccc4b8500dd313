"""Every figure by name: how its numbers are computed, and how they are drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from common.errors import ConfigurationError
from common.planning.figures import canvas, clock_rates, excitation, hbn_ratio, ideal_bounds, laser, loss, systems

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from common.planning.figures.data import FigureData, Inputs


@dataclass(frozen=True, slots=True)
class Entry:
    """One figure.

    Attributes
    ----------
    about : str
        A line for people.
    compute : callable
        From ``Inputs`` to ``FigureData``.
    draw : callable
        Draws the data on an empty figure.
    size_inches : tuple[float, float]
        Without the caption.
    """

    about: str
    compute: Callable[[Inputs], FigureData]
    draw: Callable[[FigureData, Figure], None]
    size_inches: tuple[float, float]

    def save(self, data: FigureData, folder: Path) -> list[Path]:
        """Write ``data`` as PNG, SVG and CSV into ``folder`` and return the files."""
        return canvas.save(data, self.draw, self.size_inches, folder)


FIGURES = {
    "niedersachsen-loss": Entry(
        "key rate and QBER against loss, blocks, tolerable loss",
        lambda _inputs: loss.niedersachsen_data(),
        loss.draw_niedersachsen,
        loss.SIZE_INCHES,
    ),
    "hefei-loss": Entry(
        "the same for three states, with the published points", lambda _inputs: loss.hefei_data(), loss.draw_hefei, loss.SIZE_INCHES
    ),
    "power": Entry(
        "key rate against excitation power, from photon number and g2",
        partial(excitation.excitation_data, quantity=excitation.POWER),
        excitation.draw_excitation,
        excitation.SIZE_INCHES,
    ),
    "temperature": Entry(
        "key rate against temperature, from photon number and g2",
        partial(excitation.excitation_data, quantity=excitation.TEMPERATURE),
        excitation.draw_excitation,
        excitation.SIZE_INCHES,
    ),
    "clock-rates": Entry(
        "four clock rates with the g2 measured there",
        lambda _inputs: clock_rates.clock_rates_data(),
        clock_rates.draw_clock_rates,
        clock_rates.SIZE_INCHES,
    ),
    "comparison": Entry("all systems, and other experiments", systems.comparison_data, systems.draw_comparison, systems.SIZE_INCHES),
    "laser-comparison": Entry(
        "single photons against optimised laser light with decoys", laser.laser_data, laser.draw_laser, laser.SIZE_INCHES
    ),
    "source-maps": Entry(
        "advantage over laser light by photon number and g2", laser.source_maps_data, laser.draw_source_maps, laser.MAPS_SIZE_INCHES
    ),
    "ideal-bounds": Entry(
        "sources that beat ideal laser light without loss",
        lambda _inputs: ideal_bounds.ideal_bounds_data(),
        ideal_bounds.draw_ideal_bounds,
        ideal_bounds.SIZE_INCHES,
    ),
    "hbn-ratio": Entry(
        "secret over raw bits by security level and QBER",
        lambda _inputs: hbn_ratio.hbn_ratio_data(),
        hbn_ratio.draw_hbn_ratio,
        hbn_ratio.SIZE_INCHES,
    ),
    "block-size": Entry(
        "composable beside published lengths, by block", systems.block_size_data, systems.draw_block_size, systems.BLOCKS_SIZE_INCHES
    ),
}
"""In the order in which they are drawn."""


def chosen(names: Sequence[str]) -> dict[str, Entry]:
    """Look figures up.

    Parameters
    ----------
    names : sequence of str
        None of them means all.

    Returns
    -------
    dict[str, Entry]
        In the order of ``FIGURES``.

    Raises
    ------
    ConfigurationError
        If a name is unknown; the message lists those there are.

    References
    ----------
    Nothing is computed here; status: planning.
    """
    for name in names:
        if name not in FIGURES:
            raise ConfigurationError(f"figure {name!r}: unknown; choose among {', '.join(FIGURES)}")
    return {name: entry for name, entry in FIGURES.items() if not names or name in names}
