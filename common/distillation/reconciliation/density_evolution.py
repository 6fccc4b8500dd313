"""Density evolution of our own decoder, and the column degrees that it asks for.

Density evolution follows the probability distribution of the decoder's messages from one iteration to the next on a graph
without cycles. The highest QBER at which the error dies out is the threshold of a degree distribution; a hill climb over the
number of base columns of each degree looks for the highest threshold. What is followed is sum-product with the levels of
the decoder in use, which comes close to it. Called by ``code_design`` only.

Magnitudes are levels ``0 .. _MESSAGE_LIMIT``. Through a column they add; through a row their *doubts* ``-ln tanh(x/2)`` add and
their signs multiply. Both are convolutions, done by Fourier transforms on a grid fine enough to split every value
between two neighbours without moving its mean.

References
----------
[Richardson2001] density evolution; [Chung2001] the discretised form; [Elkouss2009] degree distributions for the binary
symmetric channel in key distribution. Status: planning.
"""

from __future__ import annotations

from math import ceil, floor, inf, isinf, log
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.kernels.ldpc_tables import COARSE, DOUBT_UNITS
from common.security.entropy import binary_entropy

COUNT_FLOODING_ITERATIONS = 200
"""Iterations allowed to density evolution; the layered decoder needs about half as many."""

RESIDUAL_ERROR = 0.005
"""Message error probability, as a share of the QBER, at which decoding counts as done. Below it convergence is certain and fast; far below
it, messages of bounded magnitude along chains of columns of degree 2 stay wrong where decisions no longer are."""

CLIMB_AT = 0.99
"""QBER, as a share of the threshold, at which the hill climb counts iterations: near enough that fewer of them mean a higher threshold."""

_COUNT_PATIENT_ITERATIONS = 5  # before a standstill counts: where columns of degree 3 prevail, the first iterations change no decision
_COUNT_SUM_BINS = 4096  # of the circular convolution of levels: columns of degree up to 31 stay clear of wrapping
_COUNT_DOUBT_BINS = 8192  # of that of doubts, up to 16 nats: what lies beyond is rare, worth nothing, and may wrap
_DOUBT_BINS_PER_NAT = 512
_DOUBT_OF_LEVEL, _LEVELS_PER_NAT, _MESSAGE_LIMIT = COARSE.doubt_of_level, COARSE.levels_per_nat, COARSE.message_limit


def iterations_needed(columns_by_degree: dict[int, int], count_rows: int, qber: float, most: float = COUNT_FLOODING_ITERATIONS) -> float:
    """Return how many flooding iterations bring the message error below ``RESIDUAL_ERROR`` of the QBER.

    Parameters
    ----------
    columns_by_degree : dict[int, int]
        Number of base columns of each degree.
    count_rows : int
        Base rows; their degrees are taken as equal as possible.
    qber : float
        Error probability of the binary symmetric channel.
    most : float
        Iterations after which to stop.

    Returns
    -------
    float
        Iterations, interpolated between two so that small improvements show; infinite when the error is stuck or not yet gone
        after ``most``.
    """
    count_edges = sum(degree * count for degree, count in columns_by_degree.items())
    edge_share = {degree: degree * count / count_edges for degree, count in columns_by_degree.items() if count}
    row_shares = _row_edge_shares(count_edges, count_rows)
    levels = np.arange(-_MESSAGE_LIMIT, _MESSAGE_LIMIT + 1, dtype=np.float64)
    level = min(_MESSAGE_LIMIT, _LEVELS_PER_NAT * log((1.0 - qber) / qber))
    to_row = (1.0 - qber) * _triangle(levels - level) + qber * _triangle(levels + level)
    channel = _spectrum(to_row)
    previous, residual = 1.0, RESIDUAL_ERROR * qber
    for iteration in range(ceil(most)):
        spectrum = _spectrum(_from_rows(to_row, row_shares))
        total = channel * sum(share * _power(spectrum, degree - 1) for degree, share in edge_share.items())
        centre = _COUNT_SUM_BINS // 2
        sums = np.maximum(np.roll(np.fft.irfft(total, _COUNT_SUM_BINS), centre), 0.0)
        to_row = sums[centre - _MESSAGE_LIMIT : centre + _MESSAGE_LIMIT + 1].copy()
        to_row[0] += sums[: centre - _MESSAGE_LIMIT].sum()
        to_row[-1] += sums[centre + _MESSAGE_LIMIT + 1 :].sum()
        error = float(to_row[:_MESSAGE_LIMIT].sum() + 0.5 * to_row[_MESSAGE_LIMIT])
        if error < residual:
            return iteration + log(previous / residual) / log(previous / max(error, 1e-30))
        if iteration >= _COUNT_PATIENT_ITERATIONS and error > previous * (1.0 - 1e-4):  # stuck at a fixed point
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


def _triangle(distances: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of a value that falls to a level at this distance: both neighbours get some, and the mean stays."""
    return np.maximum(1.0 - np.abs(distances), 0.0)


def _spectrum(messages: NDArray[np.float64]) -> NDArray[np.complex128]:
    """Fourier transform of a distribution over levels ``-_MESSAGE_LIMIT .. _MESSAGE_LIMIT``."""
    wrapped = np.zeros(_COUNT_SUM_BINS)
    wrapped[: _MESSAGE_LIMIT + 1] = messages[_MESSAGE_LIMIT:]
    wrapped[-_MESSAGE_LIMIT:] = messages[:_MESSAGE_LIMIT]
    return np.fft.rfft(wrapped)


def _power(base: NDArray[np.complex128], exponent: int) -> NDArray[np.complex128]:
    """``base ** exponent`` by squaring, ten times as fast as the general power."""
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


_DOUBT_BELOW, _DOUBT_SHARE = _split(_DOUBT_OF_LEVEL * (_DOUBT_BINS_PER_NAT / DOUBT_UNITS), _COUNT_DOUBT_BINS)
_SUMS = np.maximum(np.arange(_COUNT_DOUBT_BINS) / _DOUBT_BINS_PER_NAT, 1e-9)
_LEVEL_BELOW, _LEVEL_SHARE = _split(np.minimum(-_LEVELS_PER_NAT * np.log(np.tanh(_SUMS / 2)), float(_MESSAGE_LIMIT)), _MESSAGE_LIMIT + 1)


def _doubt_spectrum(by_magnitude: NDArray[np.float64]) -> NDArray[np.complex128]:
    bins = np.bincount(_DOUBT_BELOW, by_magnitude * (1.0 - _DOUBT_SHARE), _COUNT_DOUBT_BINS)
    bins += np.bincount(_DOUBT_BELOW + 1, by_magnitude * _DOUBT_SHARE, _COUNT_DOUBT_BINS)
    return np.fft.rfft(bins)


def _from_rows(to_row: NDArray[np.float64], row_shares: dict[int, float]) -> NDArray[np.float64]:
    """Distribution of what rows send: doubts add, signs multiply, hence sum and difference of right and wrong transform alike."""
    right, wrong = to_row[_MESSAGE_LIMIT:].copy(), to_row[_MESSAGE_LIMIT::-1].copy()
    right[0] = wrong[0] = right[0] / 2.0
    transformed = [
        np.fft.irfft(sum(share * _power(spectrum, degree - 1) for degree, share in row_shares.items()), _COUNT_DOUBT_BINS)
        for spectrum in (_doubt_spectrum(right + wrong), _doubt_spectrum(right - wrong))
    ]
    result = np.zeros(2 * _MESSAGE_LIMIT + 1)
    for sign in (1, -1):
        mass = np.maximum((transformed[0] + sign * transformed[1]) / 2.0, 0.0)
        result += np.bincount(_MESSAGE_LIMIT + sign * _LEVEL_BELOW, mass * (1.0 - _LEVEL_SHARE), result.size)
        result += np.bincount(_MESSAGE_LIMIT + sign * (_LEVEL_BELOW + 1), mass * _LEVEL_SHARE, result.size)
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


def threshold_qber(columns_by_degree: dict[int, int], count_rows: int) -> float:
    """Return the highest QBER at which density evolution converges, to one part in 500, looking from efficiency 4 to 1.

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
    syndrome_rate = count_rows / sum(columns_by_degree.values())
    low, high = inverse_entropy(syndrome_rate / 4.0), inverse_entropy(syndrome_rate)
    while high - low > 0.002 * low:
        middle = 0.5 * (low + high)
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
