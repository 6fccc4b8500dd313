"""The clock rates of ``niedersachsen``, each with the g2 measured there: what the second photons of a faster source cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from common.planning.figures import canvas
from common.planning.figures.data import Column, Fact, FigureData, grid
from common.planning.optimisation import peak
from common.planning.published import FIELD_G2, FIELD_LOSS_DB, niedersachsen_link
from common.planning.single_photon_link import SinglePhotonLink, tolerable_loss_db

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIZE_INCHES = (7.6, 6.0)


def clock_rates_data(losses_db: Sequence[float] | None = None) -> FigureData:
    """Compute key rates against loss at the four clock rates.

    Parameters
    ----------
    losses_db : sequence of float | None
        Where to; None for 0 to 30 dB.

    Returns
    -------
    FigureData
        Columns ``full_76_mhz`` and ``attenuated_76_mhz`` and so on, bits a second; facts by clock rate.

    References
    ----------
    [Yang2024], asymptotic formula; status: paper.
    """
    losses = grid(0.0, 30.0, 101, (FIELD_LOSS_DB,)) if losses_db is None else sorted(losses_db)
    columns = [Column("loss_db", "dB", "ours", "loss of the channel", tuple(losses))]
    facts = []
    for clock_hz, g2 in FIELD_G2.items():
        link, size = at_clock(clock_hz, g2), _name(clock_hz)
        full = tuple(clock_hz * replace(link, loss_db=loss).asymptotic for loss in losses)
        best = tuple(clock_hz * attenuated(replace(link, loss_db=loss)).asymptotic for loss in losses)
        columns.append(Column(f"full_{size}", "bit/s", "ours", f"endless block, {size}, full brightness", full))
        columns.append(Column(f"attenuated_{size}", "bit/s", "ours", f"endless block, {size}, best attenuation", best))
        facts += [
            Fact(f"g2, {size}", "1", "published", g2),
            Fact(f"tolerable loss, {size}, full brightness", "dB", "ours", tolerable_loss_db(link)),
            Fact(f"key rate at 25.49 dB, {size}, full brightness", "bit/s", "ours", clock_hz * link.asymptotic),
            Fact(f"key rate at 25.49 dB, {size}, best attenuation", "bit/s", "ours", clock_hz * attenuated(link).asymptotic),
        ]
    return FigureData(
        "clock-rates",
        "Quantum dot over deployed fibre: four clock rates",
        "clock rates and their g2 from raw windows, blinking not corrected (arXiv 2308.15922).",
        "all key rates, by the publication's asymptotic formula; brightness and dark counts a second as at 228 MHz. With the g2 of raw"
        " windows full brightness leaves no key at 25.49 dB, attenuation leaves some from 228 MHz on. The corrected g2 of the laboratory"
        " is 2.43 %.",
        tuple(columns),
        tuple(facts),
    )


def draw_clock_rates(data: FigureData, figure: Figure) -> None:
    """Draw the clock rates.

    Parameters
    ----------
    data : FigureData
        From ``clock_rates_data``.
    figure : Figure
        Empty; the drawing fills it.
    """
    above, below = figure.subplots(2, 1, height_ratios=(2.6, 1.0))
    for (clock_hz, _), colour in zip(FIELD_G2.items(), canvas.COLOURS, strict=False):
        size, label = _name(clock_hz), f"{clock_hz / 1e6:g} MHz"
        canvas.plot_positive(above, data, "loss_db", f"full_{size}", color=colour, label=f"{label}, full brightness")
        canvas.plot_positive(
            above, data, "loss_db", f"attenuated_{size}", color=colour, linestyle=canvas.DASHED, label=f"{label}, best attenuation"
        )
    above.axvline(FIELD_LOSS_DB, color=canvas.QUIET, linestyle=":", linewidth=1.2)
    above.text(FIELD_LOSS_DB - 0.2, 0.97, "field link", transform=above.get_xaxis_transform(), ha="right", va="top", fontsize=8.6)
    canvas.key_rate_axis(above, "secret bits per second, endless block")
    above.set_xlabel("loss of the channel (dB)")
    above.set_xlim(0.0, max(data.numbers("loss_db")))
    above.legend(loc="lower left", ncols=2)
    below.set_axis_off()
    names = [
        "clock rate",
        "g2, raw windows\n(published)",
        "tolerable loss\n(ours)",
        "key at 25.49 dB,\nfull (ours)",
        "key at 25.49 dB,\nattenuated (ours)",
    ]
    cells = []
    for clock_hz in FIELD_G2:
        size = _name(clock_hz)
        full, best = (data.fact(f"key rate at 25.49 dB, {size}, {how}") for how in ("full brightness", "best attenuation"))
        loss = data.fact(f"tolerable loss, {size}, full brightness")
        cells.append(
            [
                f"{clock_hz / 1e6:g} MHz",
                f"{100 * data.fact(f'g2, {size}'):.1f} %",
                f"{loss:.2f} dB",
                f"{full:.0f} bit/s",
                f"{best:.0f} bit/s",
            ]
        )
    table = below.table(cells, colLabels=names, loc="center", cellLoc="center", edges="horizontal", bbox=(0.0, 0.0, 1.0, 1.0))
    table.auto_set_font_size(False)
    table.set_fontsize(9.0)
    for (row, _), cell in table.get_celld().items():
        cell.set_edgecolor(canvas.QUIET)
        cell.set_linewidth(0.5)
        cell.set_height(2.0 if row == 0 else 1.0)


def at_clock(clock_hz: float, g2: float) -> SinglePhotonLink:
    """Return ``niedersachsen`` at another ``clock_hz`` with another ``g2``: a longer period holds more dark counts."""
    link = niedersachsen_link()
    return replace(link, clock_hz=clock_hz, g2=g2, dark=link.dark * link.clock_hz / clock_hz)


def attenuated(link: SinglePhotonLink) -> SinglePhotonLink:
    """Attenuate a ``link`` to the best asymptotic rate."""

    def dimmed(exponent: float) -> SinglePhotonLink:
        return replace(link, mean_photon_number=link.mean_photon_number * 10.0**exponent)

    def rate(exponent: float) -> float:
        at = dimmed(exponent)
        return at.asymptotic or at.clicks.click - at.clicks.multi - 1.0

    return dimmed(peak(rate, -2.0, 0.0))


def _name(clock_hz: float) -> str:
    return f"{clock_hz / 1e6:g}_mhz"
