"""Key ratio of ``hbn`` against raw length, for several security levels and error ratios, beside the six published runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from common.planning.figures import canvas
from common.planning.figures.data import Column, FigureData, grid
from common.planning.published import CODE_RATE, RUNS, SINGLE_SHARE, composable_hbn_bits, power_of_ten
from common.security.proofs.single_photon_paper import hbn_length

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIZE_INCHES = (9.0, 4.8)

LEVELS = (1e-5, 1e-10, 1e-20)
"""Security levels, split in four as published; 1e-10 is the publication's."""

LEVEL_QBER = 0.06
QBERS = (0.03, 0.05, 0.06, 0.07, 0.08)

_PULSES_PER_RAW_BIT = 4.0 / 0.003
"""Half of the detections are sifted, half of these disclosed; 0.003 detections a pulse."""


def hbn_ratio_data(raw_bits: Sequence[int] | None = None) -> FigureData:
    """Compute secret bits over raw bits.

    Parameters
    ----------
    raw_bits : sequence of int | None
        Bits that make key, as many being disclosed; None for 1e4 to 1e9.

    Returns
    -------
    FigureData
        Columns by security level and by QBER; published runs in rows of their own length.

    References
    ----------
    The publication's eqs. (A1) and (A2), see ``hbn_length``; status: paper.
    """
    sizes = (
        sorted({round(10.0**exponent) for exponent in grid(4.0, 9.0, 61)} | {run.raw_bits for run in RUNS})
        if raw_bits is None
        else sorted(raw_bits)
    )
    columns = [Column("raw_bits", "bit", "ours", "bits that make key; as many are disclosed", tuple(float(size) for size in sizes))]
    columns += [
        Column(
            level_name(level),
            "",
            "ours",
            f"formula, security {level:g}, QBER {LEVEL_QBER:g}",
            tuple(formula_ratio(size, LEVEL_QBER, level) for size in sizes),
        )
        for level in LEVELS
    ]
    for qber in QBERS:
        name, meaning = qber_name(qber), f"security 1e-10, QBER {qber:g}"
        columns.append(Column(name, "", "ours", f"formula, {meaning}", tuple(formula_ratio(size, qber, 1e-10) for size in sizes)))
        composable = tuple(composable_hbn_bits(size, qber, round(size * _PULSES_PER_RAW_BIT)) / size for size in sizes)
        columns.append(Column(f"composable_{name}", "", "ours", f"composable, {meaning}", composable))
    ratios = {(run.raw_bits, run.number): run.secret_bits / run.raw_bits for run in RUNS}
    columns += [
        Column(
            f"published_run_{run.number}",
            "",
            "published",
            f"run {run.number}, QBER {run.qber:g}",
            tuple(ratios.get((size, run.number)) for size in sizes),
        )
        for run in RUNS
    ]
    return FigureData(
        "hbn-ratio",
        "Hexagonal boron nitride: secret over raw bits",
        "numbered markers, the six runs, in the colour of their printed QBER; runs 3 to 6 made no key.",
        "all lines: the publication's formula (solid) and, on the right, the composable proof for the same counts (dashed), code of rate"
        " 1/2. The printed lengths of runs 1 and 2 need a QBER of 0.0774 and 0.0674. Nothing is fitted.",
        tuple(columns),
    )


def formula_ratio(raw_bits: int, qber: float, level: float) -> float:
    """Compute secret over raw bits by the publication's formula.

    Parameters
    ----------
    raw_bits : int
        Bits that make key.
    qber : float
        Error ratio.
    level : float
        Security level, split in four.

    Returns
    -------
    float
        At least 0.

    References
    ----------
    The publication's eqs. (A1) and (A2); status: paper.
    """
    return hbn_length(raw_bits, raw_bits, qber, SINGLE_SHARE, CODE_RATE, level / 4.0).bits / raw_bits


def level_name(level: float) -> str:
    """Name the column of a security ``level``."""
    return f"level_{power_of_ten(level)}"


def qber_name(qber: float) -> str:
    """Name the column of a ``qber``."""
    return f"qber_{round(100 * qber)}_percent"


def draw_hbn_ratio(data: FigureData, figure: Figure) -> None:
    """Draw the ratio.

    Parameters
    ----------
    data : FigureData
        From ``hbn_ratio_data``.
    figure : Figure
        Empty; the drawing fills it.
    """
    left, right = figure.subplots(1, 2, sharey=True)
    for level, colour, style in zip(LEVELS, canvas.COLOURS, ("-", canvas.DASHED, "-."), strict=False):
        left.plot(*data.points("raw_bits", level_name(level)), color=colour, linestyle=style, label=f"security {power_of_ten(level)}")
    left.set_title(f"security levels, QBER {100 * LEVEL_QBER:g} %")
    left.legend(loc="upper left")
    for qber, colour, marker in zip(QBERS, canvas.COLOURS, canvas.MARKERS, strict=False):
        name = qber_name(qber)
        right.plot(*data.points("raw_bits", name), color=colour, label=f"QBER {100 * qber:g} %")
        right.plot(*data.points("raw_bits", f"composable_{name}"), color=colour, linestyle=canvas.DASHED, linewidth=1.0)
        for run in RUNS:
            if run.qber == qber:
                x, y = data.points("raw_bits", f"published_run_{run.number}")
                right.plot(x, y, marker=marker, color=colour, clip_on=False, **canvas.PUBLISHED)
    for text, run in (("1", RUNS[0]), ("2", RUNS[1]), ("3, 4", RUNS[2]), ("5, 6", RUNS[4])):
        place = run.raw_bits, run.secret_bits / run.raw_bits
        right.annotate(text, place, xytext=(7, 5), textcoords="offset points", fontsize=9, fontweight="bold")
    right.set_title("error ratios, security 1e-10")
    right.legend(loc="upper left")
    left.set(ylabel="secret bits per raw bit", ylim=(0.0, 0.32))
    for axes in (left, right):
        axes.set(xscale="log", xlabel="raw bits")
