"""Density evolution of our own decoder, and the column degrees that it asks for.

Density evolution follows the probability distribution of the decoder's messages from one iteration to the next on a graph
without cycles. The highest QBER at which the error dies out is the threshold of a degree distribution; a hill climb over the
number of base columns of each degree looks for the highest threshold. What is followed is the decoder in use, min-sum
with corrected magnitudes, so the degrees suit it and not an ideal decoder. Called by ``code_design`` only.

References
----------
[Richardson2001] density evolution; [Chung2001] the discretised form; [Chen2002] section III, the distribution of a minimum and
its correction; [Elkouss2009] degree distributions for the binary symmetric channel in key distribution. Status: planning.
"""

from __future__ import annotations

from math import ceil, floor, inf, isinf, log

import numpy as np
from numpy.typing import NDArray

from common.distillation.reconciliation.code_matrix import LEVELS_PER_NAT, channel_level
from common.kernels.ldpc import MESSAGE_LIMIT

COUNT_FLOODING_ITERATIONS = 100
"""Iterations allowed to density evolution; the layered decoder needs about half as many."""

RESIDUAL_ERROR = 1e-6
"""Message error probability at which decoding counts as done; below it convergence is certain and fast."""

_COUNT_BINS = 8192  # of the circular convolution: columns of degree up to 32 stay clear of wrapping


def iterations_needed(columns_by_degree: dict[int, int], count_rows: int, qber: float) -> float:
    """Return how many flooding iterations bring the message error below ``RESIDUAL_ERROR``.

    Parameters
    ----------
    columns_by_degree : dict[int, int]
        Number of base columns of each degree.
    count_rows : int
        Base rows; their degrees are taken as equal as possible.
    qber : float
        Error probability of the binary symmetric channel.

    Returns
    -------
    float
        Iterations, interpolated between two so that small improvements show; infinite when the error is stuck or not yet gone
        after ``COUNT_FLOODING_ITERATIONS``.
    """
    count_edges = sum(degree * count for degree, count in columns_by_degree.items())
    edge_share = {degree: degree * count / count_edges for degree, count in columns_by_degree.items() if count}
    row_shares = _row_edge_shares(count_edges, count_rows)
    level = channel_level(qber)
    to_row = np.zeros(2 * MESSAGE_LIMIT + 1)
    to_row[MESSAGE_LIMIT + level], to_row[MESSAGE_LIMIT - level] = 1.0 - qber, qber
    frequencies = np.arange(_COUNT_BINS // 2 + 1) * (2.0 * np.pi * level / _COUNT_BINS)
    channel = (1.0 - qber) * np.exp(-1j * frequencies) + qber * np.exp(1j * frequencies)
    previous = 1.0
    for iteration in range(COUNT_FLOODING_ITERATIONS):
        to_column = _corrected_minimum(to_row, row_shares)
        wrapped = np.zeros(_COUNT_BINS)
        wrapped[: MESSAGE_LIMIT + 1] = to_column[MESSAGE_LIMIT:]
        wrapped[-MESSAGE_LIMIT:] = to_column[:MESSAGE_LIMIT]
        spectrum = np.fft.rfft(wrapped)
        total = channel * sum(share * spectrum ** (degree - 1) for degree, share in edge_share.items())
        sums = np.maximum(np.roll(np.fft.irfft(total, _COUNT_BINS), _COUNT_BINS // 2), 0.0)
        centre = _COUNT_BINS // 2
        to_row = sums[centre - MESSAGE_LIMIT : centre + MESSAGE_LIMIT + 1].copy()
        to_row[0] += sums[: centre - MESSAGE_LIMIT].sum()
        to_row[-1] += sums[centre + MESSAGE_LIMIT + 1 :].sum()
        error = float(to_row[:MESSAGE_LIMIT].sum() + 0.5 * to_row[MESSAGE_LIMIT])
        if error < RESIDUAL_ERROR:
            return iteration + log(previous / RESIDUAL_ERROR) / log(previous / max(error, 1e-30))
        if error > previous * (1.0 - 1e-4):  # stuck at a fixed point
            return inf
        previous = error
    return inf


def _row_edge_shares(count_edges: int, count_rows: int) -> dict[int, float]:
    mean = count_edges / count_rows
    low, high = floor(mean), ceil(mean)
    if low == high:
        return {low: 1.0}
    share_high = (mean - low) * high / mean
    return {low: 1.0 - share_high, high: share_high}


def _corrected_minimum(to_row: NDArray[np.float64], row_shares: dict[int, float]) -> NDArray[np.float64]:
    """Distribution of what a row sends: a minimum, corrected to the log-likelihood ratio that it stands for."""
    at_least = np.cumsum(to_row[::-1])[:MESSAGE_LIMIT][::-1]  # P[message >= k], k = 1 .. limit
    at_most = np.cumsum(to_row)[:MESSAGE_LIMIT][::-1]  # P[message <= -k]
    size = sum(share * (at_least + at_most) ** (degree - 1) for degree, share in row_shares.items())
    bias = sum(share * (at_least - at_most) ** (degree - 1) for degree, share in row_shares.items())
    right = np.maximum(-np.diff(np.append((size + bias) / 2.0, 0.0)), 0.0)
    wrong = np.maximum(-np.diff(np.append((size - bias) / 2.0, 0.0)), 0.0)
    magnitudes = np.arange(1, MESSAGE_LIMIT + 1)
    corrected = np.clip(LEVELS_PER_NAT * np.log((right + 1e-300) / (wrong + 1e-300)), 0.0, magnitudes)
    below = corrected.astype(np.int64)
    share_above = corrected - below
    above = np.minimum(below + 1, MESSAGE_LIMIT)
    result = np.zeros(2 * MESSAGE_LIMIT + 1)
    for sign, mass in ((1, right), (-1, wrong)):
        np.add.at(result, MESSAGE_LIMIT + sign * below, mass * (1.0 - share_above))
        np.add.at(result, MESSAGE_LIMIT + sign * above, mass * share_above)
    result[MESSAGE_LIMIT] += max(0.0, 1.0 - float(result.sum()))
    return result


def threshold_qber(columns_by_degree: dict[int, int], count_rows: int) -> float:
    """Return the highest QBER at which density evolution converges, to one part in 500.

    Parameters
    ----------
    columns_by_degree : dict[int, int]
        Number of base columns of each degree.
    count_rows : int
        Base rows.

    Returns
    -------
    float
        Threshold, between 0 and 1/2.
    """
    low, high = 1e-5, 0.25
    while high - low > 0.002 * low:
        middle = (low * high) ** 0.5 if high > 2.0 * low else 0.5 * (low + high)
        if isinf(iterations_needed(columns_by_degree, count_rows, middle)):
            high = middle
        else:
            low = middle
    return low


def best_degrees(count_columns: int, count_rows: int, most_degree_two: int, degrees: tuple[int, ...]) -> dict[int, int]:
    """Climb to column degrees with a high threshold.

    Parameters
    ----------
    count_columns, count_rows : int
        Size of the base matrix.
    most_degree_two : int
        Columns of degree 2 allowed. Fewer than rows keep them free of cycles among themselves; many of them raise the
        threshold and make codewords of low weight.
    degrees : tuple[int, ...]
        Degrees to choose from, ascending, none above ``count_rows``; must hold 3.

    Returns
    -------
    dict[int, int]
        Number of base columns of each degree used, ascending.
    """
    counts = dict.fromkeys(degrees, 0)
    counts[degrees[-1]] = count_columns // 10
    counts[2] = most_degree_two // 2
    counts[3] = count_columns - counts[2] - counts[degrees[-1]]
    qber = threshold_qber(counts, count_rows) * 0.995
    fewest = iterations_needed(counts, count_rows, qber)
    step = max(1, count_columns // 20)
    while step:
        improved = False
        for source in degrees:
            for target in degrees:
                moved = dict(counts)
                moved[source] -= step
                moved[target] += step
                if source == target or moved[source] < 0 or moved[2] > most_degree_two:
                    continue
                needed = iterations_needed(moved, count_rows, qber)
                if needed < fewest - 0.05:
                    counts, fewest, improved = moved, needed, True
        if improved:  # the same iterations now reach further: climb on from the new threshold
            qber = max(qber, threshold_qber(counts, count_rows) * 0.995)
            fewest = iterations_needed(counts, count_rows, qber)
        else:
            step //= 2
    return {degree: count for degree, count in sorted(counts.items()) if count}
