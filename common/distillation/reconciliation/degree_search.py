"""Column degrees near the Shannon limit, by linear programs: ``python -m common.distillation.reconciliation.degree_search``.

For given messages from the rows, the error of what columns answer is a sum over their degrees, each with a weight. So the degrees that
move every iteration of a run furthest, and stay near those of that run, are the solution of a linear program; its solution is followed
anew, until nothing is gained. That reaches further than the hill climb of ``density_evolution`` and takes a minute or two. It found the
degrees of codes that ``code_design`` keeps. The only part of the distillation that needs SciPy; nothing else imports it.

References
----------
[Chung2001] section III. Status: planning.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from itertools import islice
from math import inf, isinf

import numpy as np
from numpy.typing import NDArray

from common.distillation.reconciliation.density_evolution import (
    RESIDUAL_ERROR,
    grid_of,
    iterations,
    iterations_needed,
    power,
    threshold_qber,
)
from common.security.entropy import binary_entropy

DEGREES = (2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 25, 30, 40, 50, 60)
"""Degrees to choose from."""

DEGREE_TWO_A_ROW = 1.3
"""Columns of degree 2 for each row at most. Above 1 there are cycles among them; lifted a thousandfold these are so long that the
codewords they make have more errors to cover than ever occur together. It gains 1 to 2 % at code rates of 0.85 and above."""

COUNT_ITERATIONS = 400
"""Flooding iterations allowed: more than the layered decoder needs for the same."""

WORKED_AT = 0.998
"""QBER at which the iterations are counted, as a share of the threshold."""

_FIRST_STEP, _LAST_STEP = 0.03, 5e-4
_EDGE_STEPS = (0.99, 0.997, 1.0, 1.003, 1.01)
_SKIPPED_ITERATIONS = 3
_PRECISION = 5e-4

Shares = NDArray[np.float64]


def searched_degrees(count_columns: int, count_rows: int, most_steps: int = 60) -> dict[int, int]:
    """Search column degrees with a high threshold on the fine scale of the decoder.

    Parameters
    ----------
    count_columns, count_rows : int
        Size of the base matrix.
    most_steps : int
        Linear programs at most.

    Returns
    -------
    dict[int, int]
        Number of base columns of each degree used, ascending.
    """
    degrees = np.array([degree for degree in DEGREES if degree <= count_rows], np.int64)
    shares = _beginning(degrees, count_rows / count_columns)
    qber = _threshold(degrees, shares, count_columns, count_rows)
    step = _FIRST_STEP
    for _ in range(most_steps):
        better = _improved(degrees, shares, count_columns, count_rows, qber * WORKED_AT, step)
        if better is None:
            step /= 2.0
            if step < _LAST_STEP:
                break
            continue
        shares = better
        reached = _threshold(degrees, shares, count_columns, count_rows)
        qber = max(qber, reached)
        sys.stderr.write(f"threshold {reached:.6f}, f {count_rows / count_columns / binary_entropy(reached):.4f}\n")
    return _rounded(degrees, shares, count_columns)


def _beginning(degrees: NDArray[np.int64], syndrome_rate: float) -> Shares:
    """A plain mixture that converges, far from the limit."""
    twos = 0.93 * syndrome_rate
    mixture = {2: twos, 6: 0.05, 8: 0.17, 12: 0.11, 30: 0.08}
    mixture[3] = 1.0 - sum(mixture.values())
    return np.array([mixture.get(degree, 0.0) for degree in degrees.tolist()])


def _as_columns(degrees: NDArray[np.int64], shares: Shares, count_columns: int) -> dict[int, float]:
    return {degree: count_columns * share for degree, share in zip(degrees.tolist(), shares.tolist(), strict=True)}


def _threshold(degrees: NDArray[np.int64], shares: Shares, count_columns: int, count_rows: int) -> float:
    columns = _as_columns(degrees, shares, count_columns)
    return threshold_qber(columns, count_rows, COUNT_ITERATIONS, fine=True, precision=_PRECISION)


def _needed(degrees: NDArray[np.int64], shares: Shares, count_columns: int, count_rows: int, qber: float) -> float:
    return iterations_needed(_as_columns(degrees, shares, count_columns), count_rows, qber, COUNT_ITERATIONS, fine=True)


def _improved(degrees: NDArray[np.int64], shares: Shares, count_columns: int, count_rows: int, qber: float, step: float) -> Shares | None:
    """Solve a linear program for each of a few numbers of edges and return the shares that need fewest iterations; None without a gain."""
    from scipy.optimize import linprog

    fewest = _needed(degrees, shares, count_columns, count_rows, qber)
    if isinf(fewest):
        return None
    errors, before = _followed(degrees, shares, count_columns, count_rows, qber, int(fewest) + 1)
    ceilings = np.where(degrees == 2, DEGREE_TWO_A_ROW * count_rows / count_columns, 1.0)
    bounds = [(max(0.0, share - step), min(most, share + step)) for share, most in zip(shares, ceilings, strict=True)] + [(None, None)]
    best: tuple[float, Shares | None] = (fewest - 0.01, None)
    for factor in _EDGE_STEPS:
        edges = factor * float(shares @ degrees)
        # unknown: the shares, and by how much of itself every error shrinks at least, which is to be large
        solved = linprog(
            np.append(np.zeros(degrees.size), -1.0),
            A_ub=np.column_stack([errors * degrees / edges / before[:, None], np.ones(before.size)]),
            b_ub=np.ones(before.size),
            A_eq=np.array([[1.0] * degrees.size + [0.0], [*degrees.tolist(), 0.0]]),
            b_eq=np.array([1.0, edges]),
            bounds=bounds,
        )
        if solved.status == 0:
            found: Shares = solved.x[:-1]
            needed = _needed(degrees, found, count_columns, count_rows, qber)
            if needed < best[0]:
                best = (needed, found)
    return best[1]


def _followed(
    degrees: NDArray[np.int64], shares: Shares, count_columns: int, count_rows: int, qber: float, count: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Error that columns of each degree answer with, float64[iterations, degrees], and the error before, float64[iterations]."""
    edges = float(shares @ degrees)
    by_edge = dict(zip(degrees.tolist(), (shares * degrees / edges).tolist(), strict=True))
    grid = grid_of(fine=True, most_degree=max(31, int(degrees[-1])))
    half = grid.count_sum_bins // 2
    errors, before = [], []
    for done in islice(iterations(by_edge, edges * count_columns / count_rows, qber, grid), _SKIPPED_ITERATIONS, count):
        answers = (np.fft.irfft(done.channel * power(done.from_rows, degree - 1), grid.count_sum_bins) for degree in degrees.tolist())
        errors.append([float(answer[half:].sum() + 0.5 * answer[0]) for answer in answers])  # the upper half are the negative sums
        before.append(done.before)
        if done.error < RESIDUAL_ERROR * qber:
            break
    return np.array(errors), np.array(before)


def _rounded(degrees: NDArray[np.int64], shares: Shares, count_columns: int) -> dict[int, int]:
    """Round to whole columns; degree 3 takes what is left."""
    counts = {degree: round(count) for degree, count in _as_columns(degrees, shares, count_columns).items()}
    counts[3] += count_columns - sum(counts.values())
    return {degree: count for degree, count in counts.items() if count}


def main(arguments: list[str] | None = None) -> None:
    """Print column degrees for a base matrix, and the threshold that density evolution finds.

    Parameters
    ----------
    arguments : list[str] | None
        Command line; None for the process's own.
    """
    parser = ArgumentParser(prog="python -m common.distillation.reconciliation.degree_search", description=main.__doc__)
    parser.add_argument("--columns", type=int, required=True, help="columns of the base matrix")
    parser.add_argument("--rows", type=int, required=True, help="its rows")
    parser.add_argument("--steps", type=int, default=60, help="linear programs at most (default: 60)")
    options = parser.parse_args(arguments)
    counts = searched_degrees(options.columns, options.rows, options.steps)
    qber = threshold_qber(counts, options.rows, COUNT_ITERATIONS, fine=True, precision=_PRECISION)
    efficiency = options.rows / options.columns / binary_entropy(qber) if qber else inf
    sys.stdout.write(f"{counts}: threshold {qber:.6f}, f {efficiency:.4f}\n")


if __name__ == "__main__":
    main()
