"""Key rate and QBER against loss, for several blocks, with the loss up to which there is key: ``niedersachsen`` and ``hefei``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from common.planning.figures import canvas
from common.planning.figures.data import Column, Fact, FigureData, grid
from common.planning.published import (
    BLOCK_DETECTIONS,
    FIELD_LOSS_DB,
    HEFEI_POINTS,
    QBER_WITH_FILTER,
    QBER_WITHOUT_FILTER,
    hefei_composable,
    hefei_link,
    hefei_paper,
    niedersachsen_composable,
    niedersachsen_link,
    power_of_ten,
)
from common.planning.single_photon_link import tolerable_loss_db

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PULSES = (10**9, 10**10, 10**12)
"""Blocks of ``niedersachsen``: 4.4 s, 44 s and 73 min at 228 MHz."""

DETECTIONS = (1e6, 1e7, BLOCK_DETECTIONS)
"""Blocks of ``hefei``."""

_ENDLESS = 1e13
"""Detections with which statistics no longer matter."""

SIZE_INCHES = (7.6, 6.4)


def niedersachsen_data(losses_db: Sequence[float] | None = None) -> FigureData:
    """Compute key rate and QBER of ``niedersachsen`` against loss.

    Parameters
    ----------
    losses_db : sequence of float | None
        Where to; None for 0 to 30 dB.

    Returns
    -------
    FigureData
        Columns ``paper_1e9`` and ``composable_1e9`` and so on, by pulses of the block.

    References
    ----------
    [Yang2024]; status: paper, and composable lengths beside.
    """
    link = niedersachsen_link()
    tolerable = {None: tolerable_loss_db(link)} | {pulses: tolerable_loss_db(link, pulses) for pulses in PULSES}
    ends = (loss - 1e-3 for loss in tolerable.values())
    losses = grid(0.0, 30.0, 151, (FIELD_LOSS_DB, *ends)) if losses_db is None else sorted(losses_db)
    links = [replace(link, loss_db=loss) for loss in losses]
    columns = [
        Column("loss_db", "dB", "ours", "loss of the channel", tuple(losses)),
        Column("qber", "", "ours", "QBER of the textbook channel", tuple(at.clicks.qber for at in links)),
        Column("asymptotic", "bit/pulse", "ours", "endless block, both bases make key", tuple(at.asymptotic for at in links)),
    ]
    for pulses in PULSES:
        composable = [niedersachsen_composable(pulses, {"channel.loss_db": loss}) for loss in losses]
        columns += _both(pulses, "pulses", [at.paper_rate(pulses) for at in links], composable)
    measured = {
        "published_asymptotic_filter": (4.80e-5, "bit/pulse", "endless block, with filter"),
        "published_asymptotic": (4.64e-5, "bit/pulse", "endless block, without filter"),
        "published_finite_filter": (2.35e-5, "bit/pulse", "finite block, with filter"),
        "published_finite": (1.87e-5, "bit/pulse", "finite block, without filter"),
        "published_qber_filter": (QBER_WITH_FILTER, "", "QBER with filter"),
        "published_qber": (QBER_WITHOUT_FILTER, "", "QBER without filter"),
    }
    columns += [
        Column(name, unit, "published", meaning, tuple(value if loss == FIELD_LOSS_DB else None for loss in losses))
        for name, (value, unit, meaning) in measured.items()
    ]
    return FigureData(
        "niedersachsen-loss",
        "Quantum dot over deployed fibre: key rate and QBER against loss",
        "markers at 25.49 dB (field link, with and without temporal filter) and the tolerable loss of 28.11 dB, arXiv 2308.15922.",
        "all lines. Solid: the publication's formula, textbook channel with the published parameters; the endless line counts both bases,"
        " finite lines Z alone. Dashed: composable proof, full link model with the profile's passive receiver and dead time. The published"
        " parameters give 1.66 times fewer clicks than the field rates need; nothing is fitted.",
        tuple(columns),
        (
            Fact("tolerable loss, endless block", "dB", "published", 28.11),
            *(
                Fact(
                    f"tolerable loss by the formula, {f'{power_of_ten(pulses)} pulses' if pulses else 'endless block'}", "dB", "ours", loss
                )
                for pulses, loss in tolerable.items()
            ),
        ),
    )


def hefei_data(losses_db: Sequence[float] | None = None) -> FigureData:
    """Compute key rate and QBER of ``hefei`` against loss, bias and attenuation optimised at every point.

    Parameters
    ----------
    losses_db : sequence of float | None
        Where to; None for 0 to 34 dB.

    Returns
    -------
    FigureData
        Columns ``paper_1e6`` and ``composable_1e6`` and so on, by detections of the block.

    References
    ----------
    [Zhang2025]; status: paper, and composable lengths beside.
    """
    losses = grid(0.0, 34.0, 69, (point[0] for point in HEFEI_POINTS)) if losses_db is None else sorted(losses_db)
    columns = [
        Column("loss_db", "dB", "ours", "loss of the channel", tuple(losses)),
        Column("qber", "", "ours", "QBER of the textbook channel where the largest block makes key", tuple(map(_qber_of_key, losses))),
        Column("asymptotic", "bit/pulse", "ours", "endless block, settings of one of 1e13 detections", tuple(map(_endless, losses))),
    ]
    for detections in DETECTIONS:
        best = [hefei_link(loss, detections) for loss in losses]
        paper = [at.paper_rate(at.pulses_for(detections)) for at in best]
        columns += _both(detections, "detections", paper, [hefei_composable(loss, detections) for loss in losses])
    published = {loss: rate for loss, rate, _ in HEFEI_POINTS}
    columns.append(Column("published", "bit/pulse", "published", "1e8 detections", tuple(published.get(loss) for loss in losses)))
    return FigureData(
        "hefei-loss",
        "Open-cavity quantum dot, three states: key rate and QBER against loss",
        "the three markers, 1e8 detections each; the bar is the 1.1 dB by which the loss of the field link fluctuates.",
        "all lines, basis bias and pre-attenuation chosen at every loss for the line itself, to a hundredth of a decade. Solid: the"
        " publication's formula, textbook channel with the published parameters. Dashed: composable proof, full link model with the"
        " profile's passive receiver and LDPC code, loss that does not fluctuate. Nothing is fitted.",
        tuple(columns),
        (Fact("tolerable loss by the formula, endless block", "dB", "ours", _last_with_key(_endless)),),
    )


def draw_niedersachsen(data: FigureData, figure: Figure) -> None:
    """Draw ``niedersachsen``.

    Parameters
    ----------
    data : FigureData
        From ``niedersachsen_data``.
    figure : Figure
        Empty; the drawing fills it.
    """
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(2.6, 1.0))
    _draw_rates(above, data, [(power_of_ten(pulses), f"{power_of_ten(pulses)} pulses") for pulses in PULSES])
    markers = (
        ("published_asymptotic_filter", "o", canvas.BLACK, "published, endless, filter"),
        ("published_asymptotic", "s", canvas.BLACK, "published, endless, no filter"),
        ("published_finite_filter", "o", canvas.ORANGE, "published, finite, filter"),
        ("published_finite", "s", canvas.ORANGE, "published, finite, no filter"),
    )
    for name, marker, colour, label in markers:
        above.plot(*data.points("loss_db", name), marker=marker, color=colour, label=label, **canvas.PUBLISHED)
    limits = (("tolerable loss, endless block", "-", "published"), ("tolerable loss by the formula, endless block", ":", "formula"))
    for name, style, whose in limits:
        value = data.fact(name)
        above.axvline(value, color=canvas.QUIET, linestyle=style, linewidth=1.2, label=f"tolerable loss, {whose}: {value:.2f} dB")
    above.set_ylim(1e-7, 5e-2)
    above.legend(loc="lower left", ncols=2)
    _draw_qber(below, data)
    for name, marker in (("published_qber_filter", "o"), ("published_qber", "s")):
        x, y = data.points("loss_db", name)
        below.plot(x, [100.0 * value for value in y], marker=marker, color=canvas.ORANGE, **canvas.PUBLISHED)


def draw_hefei(data: FigureData, figure: Figure) -> None:
    """Draw ``hefei``.

    Parameters
    ----------
    data : FigureData
        From ``hefei_data``.
    figure : Figure
        Empty; the drawing fills it.
    """
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(2.6, 1.0))
    _draw_rates(above, data, [(power_of_ten(count), f"{power_of_ten(count)} detections") for count in DETECTIONS])
    x, y = data.points("loss_db", "published")
    if x:
        above.errorbar(x[-1:], y[-1:], xerr=1.1, color=canvas.INK, capsize=3, linewidth=1.1, zorder=4)
    above.plot(x, y, marker="o", color=canvas.ORANGE, label="published, 1e8 detections", **canvas.PUBLISHED)
    value = data.fact("tolerable loss by the formula, endless block")
    above.axvline(value, color=canvas.QUIET, linestyle=":", linewidth=1.2, label=f"tolerable loss, formula: {value:.1f} dB")
    above.set_ylim(1e-8, 2e-1)
    above.legend(loc="lower left")
    _draw_qber(below, data)


def _both(block: float, unit: str, paper: Sequence[float], composable: Sequence[float]) -> list[Column]:
    size = power_of_ten(block)
    return [
        Column(f"paper_{size}", "bit/pulse", "ours", f"publication's formula, textbook channel, {size} {unit}", tuple(paper)),
        Column(f"composable_{size}", "bit/pulse", "ours", f"composable proof, full link model, {size} {unit}", tuple(composable)),
    ]


def _endless(loss_db: float) -> float:
    return hefei_link(loss_db, _ENDLESS).asymptotic


def _qber_of_key(loss_db: float) -> float | None:
    return hefei_link(loss_db).clicks.qber if hefei_paper(loss_db) else None


def _last_with_key(rate: Callable[[float], float]) -> float:
    """Bisect for the loss at which the rate gets 0."""
    low, high = 0.0, 60.0
    while high - low > 0.01:
        middle = (low + high) / 2.0
        low, high = (middle, high) if rate(middle) > 0.0 else (low, middle)
    return low


def _draw_rates(axes: Axes, data: FigureData, blocks: Sequence[tuple[str, str]]) -> None:
    canvas.plot_positive(axes, data, "loss_db", "asymptotic", color=canvas.BLACK, label="endless block")
    for (size, label), colour in zip(reversed(blocks), canvas.COLOURS, strict=False):
        canvas.plot_positive(axes, data, "loss_db", f"paper_{size}", color=colour, label=f"{label}, formula")
        canvas.plot_positive(
            axes, data, "loss_db", f"composable_{size}", color=colour, linestyle=canvas.DASHED, label=f"{label}, composable"
        )
    canvas.key_rate_axis(axes)


def _draw_qber(axes: Axes, data: FigureData) -> None:
    axes.plot(data.numbers("loss_db"), [100.0 * value for value in data.numbers("qber")], color=canvas.BLACK)
    axes.set_ylabel("QBER (%)")
    axes.set_xlabel("loss of the channel (dB)")
    axes.set_xlim(-0.4, max(data.numbers("loss_db")))
    axes.set_ylim(bottom=0.0)
