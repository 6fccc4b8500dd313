"""Density evolution of our own decoder, and the column degrees that it asks for.

Density evolution follows the probability distribution of the decoder's messages from one iteration to the next on a graph
without cycles. The highest QBER at which the error dies out is the threshold of a degree distribution; a hill climb over the
number of base columns of each degree looks for the highest threshold. What is followed is sum-product with the levels of
the decoder in use, which comes close to it. Called by ``code_design`` only.

Magnitudes are levels from 0 to the scale's ``message_limit``. Through a column they add; through a row their *doubts*
``-ln tanh(x/2)`` add and their signs multiply. Both are convolutions, done by Fourier transforms on a grid fine enough to split
every value between two neighbours without moving its mean.

References
----------
[Richardson2001] density evolution; [Chung2001] the discretised form; [Elkouss2009] degree distributions for the binary
symmetric channel in key distribution. Status: planning.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import islice
from math import ceil, floor, inf, isinf, log
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.kernels.ldpc_tables import COARSE, DOUBT_UNITS, FINE
from common.security.entropy import binary_entropy

COUNT_FLOODING_ITERATIONS = 200
"""Iterations allowed to density evolution; the layered decoder needs about half as many."""

RESIDUAL_ERROR = 0.005
"""Message error probability, as a share of the QBER, at which decoding counts as done. Below it convergence is certain and fast; far below
it, messages of bounded magnitude along chains of columns of degree 2 stay wrong where decisions no longer are."""

CLIMB_AT = 0.99
"""QBER, as a share of the threshold, at which the hill climb counts iterations: near enough that fewer of them mean a higher threshold."""

_COUNT_PATIENT_ITERATIONS = 5  # before a standstill counts: where columns of degree 3 prevail, the first iterations change no decision
_COUNT_DOUBT_BINS = 8192  # of the circular convolution of doubts, up to 16 nats: what lies beyond is rare, worth nothing, and may wrap
_DOUBT_BINS_PER_NAT = 512


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """What is followed: levels of one scale of the decoder, and how doubts and levels fall between the bins of the other.

    Attributes
    ----------
    levels_per_nat, message_limit : int
        Of the scale.
    count_sum_bins : int
        Bins of the circular convolution of levels: no sum over a column wraps.
    doubt_below, doubt_share : int64[message_limit + 1], float64[message_limit + 1]
        Bin below the doubt of each level, and the share that goes to the bin above.
    level_below, level_share : int64[bins], float64[bins]
        The same for the level of each doubt.
    """

    levels_per_nat: float
    message_limit: int
    count_sum_bins: int
    doubt_below: NDArray[np.int64]
    doubt_share: NDArray[np.float64]
    level_below: NDArray[np.int64]
    level_share: NDArray[np.float64]


@cache
def grid_of(*, fine: bool, most_degree: int = 31) -> Grid:
    """Lay out the bins for the ``fine`` scale or the coarse one, and columns of at most ``most_degree``."""
    scale = FINE if fine else COARSE
    limit, per_nat = scale.message_limit, scale.levels_per_nat
    sums = np.maximum(np.arange(_COUNT_DOUBT_BINS) / _DOUBT_BINS_PER_NAT, 1e-9)
    levels = np.minimum(-per_nat * np.log(np.tanh(sums / 2)), float(limit))
    bins = 1 << (2 * limit * (most_degree + 1)).bit_length()
    doubts = _split(scale.doubt_of_level * (_DOUBT_BINS_PER_NAT / DOUBT_UNITS), _COUNT_DOUBT_BINS)
    return Grid(per_nat, limit, bins, *doubts, *_split(levels, limit + 1))


@dataclass(frozen=True, slots=True, eq=False)
class Iteration:
    """What one flooding iteration did.

    Attributes
    ----------
    before, error : float
        Message error probability before and after it.
    channel, from_rows : complex128[bins]
        Fourier transforms of what the channel and the rows say; a column of degree d answers with ``channel * from_rows ** (d - 1)``.
    """

    before: float
    error: float
    channel: NDArray[np.complex128]
    from_rows: NDArray[np.complex128]


def iterations(shares: Mapping[int, float], edges_a_row: float, qber: float, grid: Grid) -> Iterator[Iteration]:
    """Follow the messages from one flooding iteration to the next, without end.

    Parameters
    ----------
    shares : mapping of int to float
        Share of the edges at columns of each degree.
    edges_a_row : float
        On average; rows are taken as equal as possible.
    qber : float
        Error probability of the binary symmetric channel.
    grid : Grid
        Of the decoder's scale.

    Yields
    ------
    Iteration
        One after the other.
    """
    row_shares, limit = _row_edge_shares(edges_a_row), grid.message_limit
    levels = np.arange(-limit, limit + 1, dtype=np.float64)
    level = min(limit, grid.levels_per_nat * log((1.0 - qber) / qber))
    to_row = (1.0 - qber) * _triangle(levels - level) + qber * _triangle(levels + level)
    channel = _spectrum(to_row, grid)
    previous, centre = 1.0, grid.count_sum_bins // 2
    while True:
        spectrum = _spectrum(_from_rows(to_row, row_shares, grid), grid)
        total = channel * sum(share * power(spectrum, degree - 1) for degree, share in shares.items() if share)
        sums = np.maximum(np.roll(np.fft.irfft(total, grid.count_sum_bins), centre), 0.0)
        to_row = sums[centre - limit : centre + limit + 1].copy()
        to_row[0] += sums[: centre - limit].sum()
        to_row[-1] += sums[centre + limit + 1 :].sum()
        error = float(to_row[:limit].sum() + 0.5 * to_row[limit])
        yield Iteration(previous, error, channel, spectrum)
        previous = error


def iterations_needed(
    columns_by_degree: Mapping[int, float], count_rows: int, qber: float, most: float = COUNT_FLOODING_ITERATIONS, *, fine: bool = False
) -> float:
    """Return how many flooding iterations bring the message error below ``RESIDUAL_ERROR`` of the QBER.

    Parameters
    ----------
    columns_by_degree : mapping of int to float
        Number of base columns of each degree.
    count_rows : int
        Base rows; their degrees are taken as equal as possible.
    qber : float
        Error probability of the binary symmetric channel.
    most : float
        Iterations after which to stop.
    fine : bool
        Whether to follow the levels of the fine scale.

    Returns
    -------
    float
        Iterations, interpolated between two so that small improvements show; infinite when the error is stuck or not yet gone
        after ``most``.
    """
    count_edges = sum(degree * count for degree, count in columns_by_degree.items())
    shares = {degree: degree * count / count_edges for degree, count in columns_by_degree.items()}
    grid = grid_of(fine=fine, most_degree=max(31, *columns_by_degree))
    residual = RESIDUAL_ERROR * qber
    for number, step in enumerate(islice(iterations(shares, count_edges / count_rows, qber, grid), ceil(most))):
        if step.error < residual:
            return number + log(step.before / residual) / log(step.before / max(step.error, 1e-30))
        if number >= _COUNT_PATIENT_ITERATIONS and step.error > step.before * (1.0 - 1e-4):  # stuck at a fixed point
            return inf
    return inf


def _row_edge_shares(mean: float) -> dict[int, float]:
    low, high = floor(mean), ceil(mean)
    if low == high:
        return {low: 1.0}
    share_high = (mean - low) * high / mean
    return {low: 1.0 - share_high, high: share_high}


def _triangle(distances: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of a value that falls to a level at this distance: both neighbours get some, and the mean stays."""
    return np.maximum(1.0 - np.abs(distances), 0.0)


def _spectrum(messages: NDArray[np.float64], grid: Grid) -> NDArray[np.complex128]:
    """Fourier transform of a distribution over levels ``-message_limit .. message_limit``."""
    wrapped = np.zeros(grid.count_sum_bins)
    wrapped[: grid.message_limit + 1] = messages[grid.message_limit :]
    wrapped[-grid.message_limit :] = messages[: grid.message_limit]
    return np.fft.rfft(wrapped)


def power(base: NDArray[np.complex128], exponent: int) -> NDArray[np.complex128]:
    """Return ``base ** exponent`` by squaring, ten times as fast as the general power."""
    result = np.ones_like(base)
    while exponent:
        if exponent & 1:
            result = result * base
        base = base * base
        exponent >>= 1
    return result


def _split(values: NDArray[np.floating[Any]], count_bins: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Bin below each value, and the share of it that goes to the bin above."""
    below = np.minimum(values, count_bins - 2).astype(np.int64)
    return below, np.clip(values - below, 0.0, 1.0)


def _doubt_spectrum(by_magnitude: NDArray[np.float64], grid: Grid) -> NDArray[np.complex128]:
    bins = np.bincount(grid.doubt_below, by_magnitude * (1.0 - grid.doubt_share), _COUNT_DOUBT_BINS)
    bins += np.bincount(grid.doubt_below + 1, by_magnitude * grid.doubt_share, _COUNT_DOUBT_BINS)
    return np.fft.rfft(bins)


def _from_rows(to_row: NDArray[np.float64], row_shares: dict[int, float], grid: Grid) -> NDArray[np.float64]:
    """Distribution of what rows send: doubts add, signs multiply, hence sum and difference of right and wrong transform alike."""
    limit = grid.message_limit
    right, wrong = to_row[limit:].copy(), to_row[limit::-1].copy()
    right[0] = wrong[0] = right[0] / 2.0
    transformed = [
        np.fft.irfft(sum(share * power(spectrum, degree - 1) for degree, share in row_shares.items()), _COUNT_DOUBT_BINS)
        for spectrum in (_doubt_spectrum(right + wrong, grid), _doubt_spectrum(right - wrong, grid))
    ]
    result = np.zeros(2 * limit + 1)
    for sign in (1, -1):
        mass = np.maximum((transformed[0] + sign * transformed[1]) / 2.0, 0.0)
        result += np.bincount(limit + sign * grid.level_below, mass * (1.0 - grid.level_share), result.size)
        result += np.bincount(limit + sign * (grid.level_below + 1), mass * grid.level_share, result.size)
    total: NDArray[np.float64] = result / result.sum()
    return total


def inverse_entropy(bits: float) -> float:
    """Return the QBER whose binary entropy is ``bits``.

    Parameters
    ----------
    bits : float
        From 0 to 1.

    Returns
    -------
    float
        From 0 to 1/2.
    """
    low, high = 0.0, 0.5
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if binary_entropy(middle) < bits else (low, middle)
    return low


def threshold_qber(
    columns_by_degree: Mapping[int, float],
    count_rows: int,
    most: float = COUNT_FLOODING_ITERATIONS,
    *,
    fine: bool = False,
    precision: float = 0.002,
) -> float:
    """Return the highest QBER at which density evolution converges, looking from efficiency 4 to 1.

    Parameters
    ----------
    columns_by_degree : mapping of int to float
        Number of base columns of each degree.
    count_rows : int
        Base rows.
    most : float
        Iterations allowed.
    fine : bool
        Whether to follow the levels of the fine scale.
    precision : float
        Of the result, relative.

    Returns
    -------
    float
        Threshold, between 0 and 1/2.
    """
    syndrome_rate = count_rows / sum(columns_by_degree.values())
    low, high = inverse_entropy(syndrome_rate / 4.0), inverse_entropy(syndrome_rate)
    while high - low > precision * low:
        middle = 0.5 * (low + high)
        if isinf(iterations_needed(columns_by_degree, count_rows, middle, most, fine=fine)):
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
    qber = threshold_qber(counts, count_rows) * CLIMB_AT
    fewest = iterations_needed(counts, count_rows, qber)
    step = max(1, count_columns // 20)
    while step >= max(1, count_columns // 250):
        improved = False
        for source in degrees:
            for target in degrees:
                moved = dict(counts)
                moved[source] -= step
                moved[target] += step
                if source == target or moved[source] < 0 or moved[2] > most_degree_two:
                    continue
                needed = iterations_needed(moved, count_rows, qber, min(fewest, COUNT_FLOODING_ITERATIONS))
                if needed < fewest - 0.05:
                    counts, fewest, improved = moved, needed, True
        if improved:  # the same iterations now reach further: climb on from the new threshold
            qber = max(qber, threshold_qber(counts, count_rows) * CLIMB_AT)
            fewest = iterations_needed(counts, count_rows, qber)
        else:
            step //= 2
    return {degree: count for degree, count in sorted(counts.items()) if count}
