"""Design of the shipped LDPC codes: ``python -m common.distillation.reconciliation.code_design``.

Four steps a code: column degrees by density evolution, edges by progressive edge growth, punctured columns chosen so that their
bits are independent, then the working points of ``code_measurement``. Edges come from SHAKE-256 streams and are the same everywhere
for the same degrees; the measurements depend on NumPy's generator and on chance within their statistics. Takes about an hour for all
codes and rewrites the files under ``codes/``; after a change of the decoder run it with ``--measure`` to keep the matrices and renew
the measurements.

References
----------
[Hu2005], [Li2004] edge growth; [Elkouss2012] untainted puncturing. Status: planning.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from math import comb
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from common.distillation.reconciliation.code_matrix import Code
from common.distillation.reconciliation.code_measurement import measured, reconciled_blindly
from common.distillation.reconciliation.codes import (
    CODE_RATES,
    LONG_BITS,
    LONGEST_BITS,
    SHIPPED_RATES,
    SHORT_BITS,
    SUFFIX,
    THOROUGH_BITS,
    choose_code,
    from_bytes,
    name_of,
    to_bytes,
)
from common.distillation.reconciliation.density_evolution import COUNT_FLOODING_ITERATIONS, best_degrees, threshold_qber
from common.distillation.reconciliation.edge_growth import Draws, grown_graph
from common.distillation.reconciliation.effort import EFFORTS, STANDARD, Effort
from common.security.entropy import binary_entropy

SHIPPED = Path(__file__).parent / "codes"
"""Folder of the shipped codes."""

DEGREES = {
    SHORT_BITS: (2, 3, 4, 5, 6, 8, 12, 16),
    LONG_BITS: (2, 3, 4, 6, 8, 12, 16),
    LONGEST_BITS: (2, 3, 4, 5, 6, 8, 12, 16, 20, 28),
}
"""Column degrees to choose from; codes of high code rate have no room for large ones."""

DEGREE_TWO_SHARE = {SHORT_BITS: 0.6, LONG_BITS: 0.8, LONGEST_BITS: 0.9}
"""Columns of degree 2 allowed, per row. All below 1 avoids cycles among them; short codes need a wider margin against codewords of
low weight."""

THOROUGH_DEGREES = {
    0.576: {2: 168, 3: 200, 4: 1, 6: 51, 8: 30, 12: 18, 20: 1, 30: 31},
    0.696: {2: 143, 3: 198, 4: 22, 6: 12, 8: 81, 12: 3, 20: 1, 30: 40},
    0.85: {2: 195, 3: 457, 8: 204, 10: 33, 20: 57, 25: 16, 60: 38},
}
"""Base columns by degree of the codes of ``THOROUGH_BITS``: the first two found by ``best_degrees`` with 250 iterations, the third by
``degree_search``."""

MOST_RATE_OF_FEW_THOROUGH_ROWS = 0.7
"""Code rate beyond which the codes of ``THOROUGH_BITS`` take twice as many base rows and half the lift."""

MOST_RATE_OF_FEW_ROWS = 0.9
"""Code rate beyond which the codes of ``LONGEST_BITS`` take twice as many base rows and half the lift."""

REPORTED_QBERS = (0.01, 0.02, 0.05, 0.06, 0.08)
"""QBERs of the report."""

PUNCTURED_SHARE = 0.1
"""Share of the codeword that may be punctured, where that many columns have a row of their own."""


def lift_of(count_bits: int, code_rate: float) -> int:
    """Return how many copies of its base matrix a code consists of.

    Parameters
    ----------
    count_bits : int
        Codeword length, a key of ``SHIPPED_RATES``.
    code_rate : float
        One of those shipped in this length.

    Returns
    -------
    int
        A multiple of 64, to fill vector registers, that leaves room to avoid short cycles, and at least ten base rows.
    """
    if count_bits == LONGEST_BITS:
        return 512 if code_rate <= MOST_RATE_OF_FEW_ROWS else 256
    if count_bits == THOROUGH_BITS:
        return 2048 if code_rate <= MOST_RATE_OF_FEW_THOROUGH_ROWS else 1024
    return {SHORT_BITS: 64, LONG_BITS: 256}[count_bits]


def designed_matrix(count_bits: int, code_rate: float) -> tuple[NDArray[np.int16], tuple[int, ...]]:
    """Design a base matrix.

    Parameters
    ----------
    count_bits : int
        Codeword length, a key of ``SHIPPED_RATES``.
    code_rate : float
        One of those shipped in this length.

    Returns
    -------
    tuple[int16[rows, columns], tuple[int, ...]]
        Circulant shifts, -1 for none, and the columns that may be punctured.
    """
    lift = lift_of(count_bits, code_rate)
    count_columns = count_bits // lift
    count_rows = round(count_columns * (1.0 - code_rate))
    name = name_of(count_bits, code_rate)
    if count_bits == THOROUGH_BITS:
        counts = THOROUGH_DEGREES[code_rate]
    else:
        degrees = tuple(degree for degree in DEGREES[count_bits] if _leaves_room(degree, count_columns, count_rows, lift))
        counts = best_degrees(count_columns, count_rows, int(DEGREE_TWO_SHARE[count_bits] * count_rows), degrees)
    column_degrees = [degree for degree, count in counts.items() for _ in range(count)]
    if count_bits == THOROUGH_BITS:
        column_degrees = shuffled(column_degrees, Draws(f"qkdlink ldpc {name} order"))
    graph = grown_graph(column_degrees, count_rows, lift, Draws(f"qkdlink ldpc {name}"))
    shifts = np.full((count_rows, count_columns), -1, np.int16)
    for column, entries in enumerate(graph.edges):
        for row, shift in entries.items():
            shifts[row, column] = shift
    thorough = count_bits == THOROUGH_BITS
    threshold = threshold_qber(counts, count_rows, 2 * COUNT_FLOODING_ITERATIONS if thorough else COUNT_FLOODING_ITERATIONS, fine=thorough)
    efficiency = count_rows / count_columns / binary_entropy(threshold)
    _say(f"{name}: columns by degree {counts}, girth {graph.girth()}, threshold {threshold:.5f}, f {efficiency:.3f}")
    return shifts, untainted_columns(shifts, int(PUNCTURED_SHARE * count_columns))


def _leaves_room(degree: int, count_columns: int, count_rows: int, lift: int) -> bool:
    """Say whether a third of the columns may have ``degree``: two rows sharing more than ``lift`` columns close a cycle of length 4."""
    if degree > count_rows:
        return False
    shared_columns = count_columns / 3 * comb(degree, 2) / comb(count_rows, 2)
    return degree <= 3 or shared_columns <= lift / 3  # a third, since edges are placed one by one and never moved


def shuffled(degrees: list[int], draws: Draws) -> list[int]:
    """Put column degrees in random order behind those of degree 2, which stay first.

    Edge growth gives every next edge to a row with few edges. In order of degree, every row so gets its share of each degree, which
    density evolution, where edges are independent, does not foresee: for rows of a dozen edges it costs 3 % of efficiency near the
    threshold. In random order rows still come out equally long, but differ in what they meet. Columns of degree 2 need the empty graph:
    a short cycle among them alone is a codeword of low weight.

    Parameters
    ----------
    degrees : list[int]
        Of all base columns.
    draws : Draws
        Random numbers.

    Returns
    -------
    list[int]
        The same degrees.
    """
    twos = [degree for degree in degrees if degree == 2]
    mixed = [degree for degree in degrees if degree != 2]
    for last in range(len(mixed) - 1, 0, -1):
        other = draws.below(last + 1)
        mixed[last], mixed[other] = mixed[other], mixed[last]
    return twos + mixed


def untainted_columns(shifts: NDArray[np.int16], most: int) -> tuple[int, ...]:
    """Choose columns to puncture, each with a row in which no other chosen column appears.

    Such a row determines the punctured bit from its other neighbours after one iteration, and makes the chosen columns of the
    parity-check matrix linearly independent.

    Parameters
    ----------
    shifts : int16[rows, columns]
        Circulant shifts, -1 for none.
    most : int
        Columns wanted.

    Returns
    -------
    tuple[int, ...]
        At most ``most`` columns, those of degree 3 first: degree 2 decodes poorly when punctured, and high degrees take many rows.
    """
    present = shifts >= 0
    degrees = present.sum(axis=0)
    chosen: list[int] = []
    for column in sorted(range(present.shape[1]), key=lambda index: (degrees[index] < 3, degrees[index], index)):
        trial = [*chosen, column]
        rows = present[:, trial]
        if (rows & (rows.sum(axis=1) == 1)[:, None]).any(axis=0).all():
            chosen = trial
        if len(chosen) == most:
            break
    return tuple(chosen)


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def report(lengths: list[int], segments: int, effort: Effort) -> None:
    """Print what blind reconciliation with the shipped codes comes to.

    Parameters
    ----------
    lengths : list[int]
        Codeword lengths.
    segments : int
        Segments simulated for each line.
    effort : Effort
        With which to choose codes.
    """
    sys.stdout.write("code           qber  punctured shortened       f  with increment  increments  iterations  wrong\n")
    for count_bits in lengths:
        for qber in REPORTED_QBERS:
            choice = choose_code(qber, count_bits, effort=effort)
            outcome = reconciled_blindly(choice, qber, segments, seed=5)
            sys.stdout.write(
                f"{choice.code.name:13s} {qber:5.2f} {choice.count_punctured:10d} {choice.count_shortened:9d} {outcome.efficiency:7.3f}"
                f" {outcome.frame_error_ratio:15.2f} {outcome.mean_increments:11.2f} {outcome.mean_iterations:11.1f}"
                f" {outcome.count_wrong:6d}\n"
            )


def main(arguments: list[str] | None = None) -> None:
    """Design and measure codes and write their files.

    Parameters
    ----------
    arguments : list[str] | None
        Command line; None for the process's own.
    """
    parser = ArgumentParser(prog="python -m common.distillation.reconciliation.code_design", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=SHIPPED, help="folder for the files")
    parser.add_argument("--bits", type=int, choices=sorted(SHIPPED_RATES), action="append", help="codeword length (default: all)")
    parser.add_argument("--rate", type=float, choices=CODE_RATES, action="append", help="code rate (default: all)")
    parser.add_argument("--segments", type=int, default=200, help="segments simulated a step (default: 200)")
    parser.add_argument("--measure", action="store_true", help="keep the matrices, renew the measurements")
    parser.add_argument("--report", action="store_true", help="change nothing, show blind reconciliation with the shipped codes")
    parser.add_argument("--effort", choices=sorted(EFFORTS), default=STANDARD.name, help="of the report (default: standard)")
    options = parser.parse_args(arguments)
    if options.report:
        effort = EFFORTS[options.effort]
        report(options.bits or [bits for bits in sorted(SHIPPED_RATES) if bits <= effort.most_bits], options.segments, effort)
        return
    for count_bits in options.bits or sorted(SHIPPED_RATES):
        for code_rate in options.rate or SHIPPED_RATES[count_bits]:
            name = name_of(count_bits, code_rate)
            path = options.out / f"{name}{SUFFIX}"
            if options.measure:
                code = from_bytes(path.read_bytes())
            else:
                shifts, punctured = designed_matrix(count_bits, code_rate)
                code = Code.of(name, lift_of(count_bits, code_rate), shifts, punctured, ())
            code = measured(code, options.segments)
            path.write_bytes(to_bytes(code))
            for point in code.working_points:
                payload = code.count_bits - point.count_punctured - point.count_shortened
                efficiency = (code.count_checks - point.count_punctured) / payload / binary_entropy(point.qber)
                _say(f"{name}: {point}, f {efficiency:.3f}")


if __name__ == "__main__":
    main()
