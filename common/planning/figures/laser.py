"""Single photons against optimised laser light with decoys: rates against loss, and maps over photon number and g2.

Laser light in the link of ``hefei``: same clock, channel and receiver, three states, signal, decoy and vacuum, as in the
publication's comparison; intensities, their probabilities and the bias are chosen anew at every loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from math import nan
from typing import TYPE_CHECKING

import numpy as np

from common.planning.composable_link import point_for_detections
from common.planning.figures import canvas
from common.planning.figures.data import Column, Fact, FigureData, Inputs, grid
from common.planning.lengths import Mode
from common.planning.optimisation import optimise
from common.planning.published import BLOCK_DETECTIONS, HEFEI_POINTS, hefei_composable, hefei_link, hefei_paper
from common.planning.rate import RatePoint, rate_point
from common.planning.settings import with_entries, with_source
from common.planning.single_photon_link import SinglePhotonLink, optimised
from common.planning.sweeps import sweep
from common.profiles.link import LinkProfile, load_profile
from common.security.proofs.single_photon_channel import coherent_light_limit

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIZE_INCHES = (7.6, 6.4)
MAPS_SIZE_INCHES = (8.4, 7.2)

MAP_LOSSES_DB = (0.17, 5.11, 14.6, 20.0)

_RATIOS, _WIDTHS = (0.5, 1.0, 2.0), (1.0, 2.2, 1.0)
"""Lines of the maps."""

_SIGNAL_DECOY_VACUUM = {"source.intensities": [0.45, 0.1, 0.0], "source.probability_intensity": [0.7, 0.2, 0.1]}
"""Where the search begins."""

_CHOSEN = ("source.probability_z", "source.intensities", "source.probability_intensity")
_COMPOSABLE_STEP_DB = 4.0
"""A composable search takes ten times as long as one by the publication's formula."""


def best_laser(profile: LinkProfile, mode: Mode = "paper") -> RatePoint:
    """Choose the laser light of a link for a block of 1e8 detections.

    Parameters
    ----------
    profile : LinkProfile
        The link; its receiver stays as it is.
    mode : str
        ``paper`` or ``composable``.

    Returns
    -------
    RatePoint
        With the best bias, intensities and probabilities of them.

    References
    ----------
    :func:`common.planning.optimisation.optimise`; status: planning.
    """
    return optimise(profile, _CHOSEN, mode=mode, block_bits=round(BLOCK_DETECTIONS), starts=1, evaluate=_by_detections).point


def laser_link(loss_db: float) -> LinkProfile:
    """Put laser light with signal, decoy and vacuum into the link of ``hefei`` at a steady loss of ``loss_db``."""
    steady = {"channel.loss_db": loss_db, "channel.fading_sigma_db": 0.0}
    return with_entries(with_source(load_profile("hefei"), "decoy"), steady | _SIGNAL_DECOY_VACUUM)


def laser_data(inputs: Inputs, losses_db: Sequence[float] | None = None) -> FigureData:
    """Compute rates of single photons and of laser light against loss.

    Parameters
    ----------
    inputs : Inputs
        Executor and progress.
    losses_db : sequence of float | None
        Where to; None for 0 to 32 dB.

    Returns
    -------
    FigureData
        Columns by source and formula.

    References
    ----------
    [Zhang2025], summary read; status: paper, and composable lengths beside.
    """
    losses = grid(0.0, 32.0, 17, (point[0] for point in HEFEI_POINTS)) if losses_db is None else sorted(losses_db)
    published = {loss: rate for loss, rate, _ in HEFEI_POINTS}
    links = [laser_link(loss) for loss in losses]
    laser = sweep(links, best_laser, inputs.executor, inputs.progress)
    coarse = [link for link in links if link.channel.loss_db in published or not link.channel.loss_db % _COMPOSABLE_STEP_DB]
    bounded = sweep(coarse, partial(best_laser, mode="composable"), inputs.executor, inputs.progress)
    composable = {link.channel.loss_db: at.secret_bits_per_pulse for link, at in zip(coarse, bounded, strict=True)}
    single, paper = [hefei_paper(loss) for loss in losses], [at.secret_bits_per_pulse for at in laser]
    arriving = [10.0 ** (-loss / 10.0) * hefei_link(loss).receiver for loss in losses]
    ratio = [one / other if other else None for one, other in zip(single, paper, strict=True)]
    columns = (
        Column("loss_db", "dB", "ours", "loss of the channel", tuple(losses)),
        Column("single_paper", "bit/pulse", "ours", "single photons, publication's formula", tuple(single)),
        Column("single_composable", "bit/pulse", "ours", "single photons, composable", tuple(map(hefei_composable, losses))),
        Column("laser_paper", "bit/pulse", "ours", "laser light, publication's formula", tuple(paper)),
        Column("laser_composable", "bit/pulse", "ours", "laser light, composable", tuple(composable.get(loss) for loss in losses)),
        Column("laser_signal", "", "ours", "photons per pulse of the signal, publication's formula", tuple(_intensity(laser, 0))),
        Column("laser_decoy", "", "ours", "photons per pulse of the decoy, publication's formula", tuple(_intensity(laser, 1))),
        Column("ideal_single", "bit/pulse", "ours", "one photon in every pulse, no errors", tuple(arriving)),
        Column(
            "ideal_laser", "bit/pulse", "ours", "laser light, perfectly known photon numbers", tuple(map(coherent_light_limit, arriving))
        ),
        Column("ratio", "", "ours", "single photons over laser light, publication's formula", tuple(ratio)),
        Column("published", "bit/pulse", "published", "single photons, 1e8 detections", tuple(published.get(loss) for loss in losses)),
    )
    return FigureData(
        "laser-comparison",
        "Single photons against optimised laser light with decoys",
        "the three markers (single photons).",
        "all lines: hefei's clock, channel and receiver, loss that does not fluctuate, blocks of 1e8 detections. At every loss bias and"
        " attenuation of the single photons, and bias, intensities and their probabilities of the laser, are chosen for the line itself."
        " Formula: textbook channel. Composable: full link model; the passive 9:1 receiver stays, where bright light makes cross clicks;"
        " their bound costs the laser much at low loss, where its best light is dim. Composable laser light is computed every 4 dB and at"
        " the published losses. Ideal lines: no noise, no g2, endless block, receiver included.",
        columns,
    )


def draw_laser(data: FigureData, figure: Figure) -> None:
    """Draw the comparison.

    Parameters
    ----------
    data : FigureData
        From ``laser_data``.
    figure : Figure
        Empty; the drawing fills it.
    """
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(2.4, 1.0))
    for name, colour, style, label in (
        ("ideal_single", canvas.SKY, ":", "ideal single photons"),
        ("single_paper", canvas.BLUE, "-", "single photons, formula"),
        ("single_composable", canvas.BLUE, canvas.DASHED, "single photons, composable"),
        ("ideal_laser", canvas.ORANGE, ":", "ideal laser light, η/e"),
        ("laser_paper", canvas.VERMILLION, "-", "laser, two decoys, formula"),
        ("laser_composable", canvas.VERMILLION, canvas.DASHED, "laser, two decoys, composable"),
    ):
        canvas.plot_positive(above, data, "loss_db", name, color=colour, linestyle=style, label=label)
    above.plot(*data.points("loss_db", "published"), marker="o", color=canvas.GREEN, label="published, single photons", **canvas.PUBLISHED)
    canvas.key_rate_axis(above)
    above.set_ylim(1e-8, 1.0)
    above.legend(loc="lower left")
    canvas.plot_positive(below, data, "loss_db", "ratio", color=canvas.BLACK, marker=".")
    below.axhline(1.0, color=canvas.QUIET, linestyle=":", linewidth=1.2)
    below.set(xlabel="loss of the channel (dB)", ylabel="single photons /\nlaser, formula", xlim=(-0.4, max(data.numbers("loss_db"))))
    below.set_ylim(bottom=0.0)


def source_maps_data(
    inputs: Inputs,
    losses_db: Sequence[float] = MAP_LOSSES_DB,
    means: Sequence[float] | None = None,
    g2: Sequence[float] | None = None,
) -> FigureData:
    """Compute how much more key a source gives than laser light, over photon number and g2, at several losses.

    Parameters
    ----------
    inputs : Inputs
        Executor and progress.
    losses_db : sequence of float
        One map each.
    means, g2 : sequence of float | None
        Axes of the maps, evenly spaced in their logarithms.

    Returns
    -------
    FigureData
        One row a point of a map.

    References
    ----------
    [Zhang2025], summary read; status: paper.
    """
    across = [float(mean) for mean in np.geomspace(0.02, 1.0, 25)] if means is None else list(means)
    up = [float(value) for value in np.geomspace(1e-3, 0.5, 25)] if g2 is None else list(g2)
    panels = sweep([laser_link(loss) for loss in losses_db], partial(source_map, means=across, g2=up), inputs.executor, inputs.progress)
    rows = [
        (loss, mean, value, rate, laser, rate / laser if laser else None)
        for loss, (laser, rates) in zip(losses_db, panels, strict=True)
        for (value, mean), rate in zip(((value, mean) for value in up for mean in across), rates, strict=True)
    ]
    meanings = (
        ("loss_db", "dB", "loss of the channel"),
        ("mean_photon_number", "", "photons a pulse in the channel, before attenuation"),
        ("g2", "", "second-order correlation"),
        ("single_photons", "bit/pulse", "publication's formula, 1e8 detections, bias and attenuation optimised"),
        ("laser", "bit/pulse", "publication's formula, optimised laser light with two decoys"),
        ("ratio", "", "single photons over laser light"),
    )
    columns = tuple(
        Column(name, unit, "ours", meaning, tuple(row[index] for row in rows)) for index, (name, unit, meaning) in enumerate(meanings)
    )
    source = load_profile("hefei").source
    return FigureData(
        "source-maps",
        "How much more key than optimised laser light, by source",
        "the marker: photon number and g2 of the source.",
        "all colours and lines: hefei's clock, channel and receiver, 1e8 detections, publication's formula; bias and attenuation of the"
        " single photons, to a hundredth of a decade, and everything about the laser are chosen at every point. White lines: half as much"
        " key as laser light (dashed), as much (bold), twice as much. Grey: no key.",
        columns,
        (
            Fact("mean photon number in the channel", "1", "published", source.mean_photon_number),
            Fact("g2", "1", "published", source.g2),
        ),
    )


def source_map(profile: LinkProfile, means: Sequence[float], g2: Sequence[float]) -> tuple[float, list[float]]:
    """Compute one map at the loss of a link.

    Parameters
    ----------
    profile : LinkProfile
        The link with laser light.
    means, g2 : sequence of float
        The axes.

    Returns
    -------
    (laser, rates)
        Secret bits a pulse of optimised laser light, and of single photons row by row, one row for each g2.

    References
    ----------
    [Zhang2025], summary read; status: paper.
    """
    link = replace(SinglePhotonLink.of(load_profile("hefei")), loss_db=profile.channel.loss_db)
    rates = []
    for value in g2:
        for mean in means:
            best = optimised(replace(link, mean_photon_number=mean, g2=value), BLOCK_DETECTIONS)
            pulses = best.pulses_for(BLOCK_DETECTIONS)
            rates.append(best.paper_rate(pulses))
    return best_laser(profile).secret_bits_per_pulse, rates


def draw_source_maps(data: FigureData, figure: Figure) -> None:
    """Draw the maps.

    Parameters
    ----------
    data : FigureData
        From ``source_maps_data``.
    figure : Figure
        Empty; the drawing fills it.
    """
    losses = sorted(set(data.numbers("loss_db")))
    across, up = (np.array(sorted(set(data.numbers(name)))) for name in ("mean_photon_number", "g2"))
    axes = np.atleast_1d(figure.subplots(-(-len(losses) // 2), min(2, len(losses)), sharex=True, sharey=True)).ravel()
    ratio = np.array(data.numbers("ratio")).reshape(len(losses), len(up), len(across))
    ratio = np.where(ratio > 0.0, ratio, nan)
    for at, panel, loss in zip(axes, ratio, losses, strict=False):
        at.set_facecolor("#c9ccd1")
        image = at.pcolormesh(across, up, np.log10(panel), cmap=canvas.MAP, vmin=-1.5, vmax=1.0, shading="nearest", rasterized=True)
        at.contour(across, up, np.log10(panel), levels=np.log10(_RATIOS), colors="white", linewidths=_WIDTHS, linestyles=("--", "-", "-"))
        at.plot([data.fact("mean photon number in the channel")], [data.fact("g2")], marker="o", color=canvas.ORANGE, **canvas.PUBLISHED)
        at.set(xscale="log", yscale="log", title=f"{loss:g} dB")
        at.set(xlabel="photons per pulse, before attenuation", ylabel="second-order correlation g2")
        at.grid(visible=False)
        at.label_outer()
    bar = figure.colorbar(image, ax=list(axes), ticks=np.log10([0.03, 0.1, 0.3, 1.0, 3.0, 10.0]), extend="both", shrink=0.8)
    bar.ax.set_yticklabels(["0.03", "0.1", "0.3", "1", "3", "10"])
    bar.set_label("key of single photons over key of laser light")


def _by_detections(at: LinkProfile, *, mode: Mode, asymptotic: bool, block_bits: int | None) -> RatePoint:
    """Expect key as ``rate_point`` does, a block being measured in detections."""
    return rate_point(at, mode=mode, asymptotic=True) if asymptotic or block_bits is None else point_for_detections(at, block_bits, mode)


def _intensity(laser: Sequence[RatePoint], index: int) -> list[float]:
    """Return one of the intensities chosen at every loss."""
    return [at.parameters["source.intensities"][index] for at in laser]  # type: ignore[index,misc]
