"""Layered min-sum decoding of quasi-cyclic codes in the error domain: which of my bits differ from the reference half's?

One base row is one layer: its ``lift`` checks touch different bits, so the innermost loops run over plain contiguous lanes and
the compiler turns them into vector instructions. To keep rotated lanes contiguous too, posteriors live in *rings*: three stretches
of ``lift`` for each column, of which two, beginning where the column was last written, repeat the same lane; reading at any
rotation then meets no wrap, and each write goes to both. Posteriors are int16, because a column of degree 20 sums past an int8;
messages are int8. The magnitude sent by a check is the least magnitude among its other neighbours, corrected by an affine map,
``factors / 16`` and ``offsets``. A constant map fails at high code rates: early messages deserve little trust and late ones
much. So the map is looked up by the share of checks still unsatisfied, which tells how far decoding has come whatever the QBER;
``code_design`` measures the table for each code.

Input comes from ``common.distillation.reconciliation.ldpc_frames``, which also interprets the result.

References
----------
[Hocevar2004] layered decoding; [Chen2005] section IV, normalised and offset min-sum. Status: planning: the decoder only
proposes, and verification decides.
"""

import numpy as np
from numpy.typing import NDArray

from common.kernels.jit import kernel

MESSAGE_LIMIT = 127
"""Largest magnitude of a message, what an int8 holds."""


@kernel
def _load_layer(
    posterior: NDArray[np.int16],
    messages: NDArray[np.int8],
    sums: NDArray[np.int16],
    smallest: NDArray[np.int16],
    second: NDArray[np.int16],
    signs: NDArray[np.int16],
    parities: NDArray[np.int16],
) -> None:
    """Take one neighbour into a layer: remove the check's last message and track the two least magnitudes and the sign.

    Parameters
    ----------
    posterior : int16[k]
        Posteriors of the neighbour's bits, in the order of the checks.
    messages : int8[k]
        What the checks sent to these bits last time.
    sums : int16[k]
        Out: posterior without that message.
    smallest, second : int16[k]
        Least and second least magnitude so far; updated.
    signs, parities : int16[k]
        Sign bit of the product of incoming messages, and of hard decisions, in the top bit; updated.
    """
    for i in range(sums.size):
        before = posterior[i]
        value = np.int16(before - messages[i])
        sums[i] = value
        magnitude = min(np.int16(abs(value)), np.int16(127))
        least = smallest[i]
        second[i] = min(second[i], max(least, magnitude))
        smallest[i] = min(least, magnitude)
        signs[i] ^= value
        parities[i] ^= before


@kernel
def _correct_magnitudes(magnitudes: NDArray[np.int16], factor: int, offset: int) -> None:
    """Replace each magnitude ``x`` by ``max(0, (x factor >> 4) - offset)``, in place.

    Parameters
    ----------
    magnitudes : int16[k], values 0 .. 127
        Least magnitudes.
    factor : int
        Sixteenths, 0 .. 24.
    offset : int
        Levels, not negative.
    """
    factor_16 = np.int16(factor)
    offset_16 = np.int16(offset)
    for i in range(magnitudes.size):
        scaled = np.int16(np.int16(magnitudes[i] * factor_16) >> 4)
        magnitudes[i] = min(np.int16(127), max(np.int16(0), np.int16(scaled - offset_16)))


@kernel
def _store_layer(
    once: NDArray[np.int16],
    again: NDArray[np.int16],
    messages: NDArray[np.int8],
    sums: NDArray[np.int16],
    smallest: NDArray[np.int16],
    to_others: NDArray[np.int16],
    to_smallest: NDArray[np.int16],
    signs: NDArray[np.int16],
) -> None:
    """Send a layer's new messages to one neighbour and add them to its posteriors.

    Parameters
    ----------
    once, again : int16[k]
        Out: posteriors of the neighbour's bits in the order of the checks, twice.
    messages : int8[k]
        Out: what the checks send now.
    sums : int16[k]
        Posterior without the old message, from ``_load_layer``.
    smallest : int16[k]
        Least incoming magnitude of each check.
    to_others, to_smallest : int16[k]
        Corrected least magnitude, for all neighbours but the weakest, and corrected second least, for the weakest.
    signs : int16[k]
        Sign bit of the product of all incoming messages, in the top bit.
    """
    for i in range(sums.size):
        value = sums[i]
        others = to_others[i]
        is_smallest = np.int16(-np.int16(min(np.int16(abs(value)), np.int16(127)) == smallest[i]))
        magnitude = np.int16(others ^ np.int16(np.int16(others ^ to_smallest[i]) & is_smallest))  # a choice without a branch
        flip = np.int16(np.int16(signs[i] ^ value) >> 15)  # 0, or -1 where the message is negative
        message = np.int16(np.int16(magnitude ^ flip) - flip)
        messages[i] = np.int8(message)
        posterior = np.int16(value + message)
        once[i] = posterior
        again[i] = posterior


@kernel
def _decode_segment(
    rings: NDArray[np.int16],
    origins: NDArray[np.int64],
    messages: NDArray[np.int8],
    work: NDArray[np.int16],
    row_starts: NDArray[np.int64],
    edge_columns: NDArray[np.int64],
    edge_shifts: NDArray[np.int64],
    syndrome: NDArray[np.uint8],
    factors: NDArray[np.int64],
    offsets: NDArray[np.int64],
    iterations: int,
    patience: int,
) -> int:
    """Run layered min-sum on one segment until its hard decisions have the syndrome.

    Parameters
    ----------
    rings : int16[columns, 3 lift]
        Channel levels on entry (positive: no error), posteriors on return, whose signs are the decision. Entry ``j`` of a ring is
        lane position ``j mod lift``, valid for ``2 lift`` entries from the column's origin on.
    origins : int64[columns]
        Where the valid part begins, at most ``lift - 1``; zero on entry.
    messages : int8[edges, lift]
        Zero on entry; last messages on return.
    work : int16[5 + most edges of a row, lift]
        Scratch.
    row_starts, edge_columns, edge_shifts : int64
        The code, as in ``common.kernels.syndrome``.
    syndrome : uint8[rows, lift], values 0/1
        Syndrome of the error pattern.
    factors, offsets : int64[steps]
        Correction by share of unsatisfied checks: entry ``k`` from ``k / (2 steps)`` on, the last from there to all.
    iterations : int
        Most iterations.
    patience : int
        Give up after so many iterations in a row without fewer unsatisfied checks than ever before.

    Returns
    -------
    int
        Iterations run, negative when the syndrome was not reached.
    """
    lift = syndrome.shape[1]
    smallest, second, to_others, signs, parities = work[0], work[1], work[2], work[3], work[4]
    count_unsatisfied = 0
    for row in range(syndrome.shape[0]):
        for i in range(lift):
            count_unsatisfied += int(syndrome[row, i])
    fewest, waited = syndrome.size + 1, 0
    for iteration in range(iterations):
        entry = min(count_unsatisfied * 2 * factors.size // syndrome.size, factors.size - 1)
        count_unsatisfied = 0
        for row in range(row_starts.size - 1):
            first = row_starts[row]
            smallest[:] = 127
            second[:] = 127
            for i in range(lift):
                signs[i] = -np.int16(syndrome[row, i])
                parities[i] = signs[i]
            for edge in range(first, row_starts[row + 1]):
                column = edge_columns[edge]
                start = _start_in_ring(edge_shifts[edge], origins[column], lift)
                lane = rings[column, start : start + lift]
                _load_layer(lane, messages[edge], work[5 + edge - first], smallest, second, signs, parities)
            to_others[:] = smallest
            _correct_magnitudes(to_others, factors[entry], offsets[entry])
            _correct_magnitudes(second, factors[entry], offsets[entry])
            for edge in range(first, row_starts[row + 1]):
                column, shift = edge_columns[edge], edge_shifts[edge]
                once, again = rings[column, shift : shift + lift], rings[column, shift + lift : shift + 2 * lift]
                _store_layer(once, again, messages[edge], work[5 + edge - first], smallest, to_others, second, signs)
                origins[column] = shift
            count_unsatisfied += _count_negative(parities)
        if count_unsatisfied == 0 and _has_syndrome(rings, origins, row_starts, edge_columns, edge_shifts, syndrome, parities):
            return iteration + 1
        waited = 0 if count_unsatisfied < fewest else waited + 1
        fewest = min(fewest, count_unsatisfied)
        if waited == patience:
            return -iteration - 1
    return -iterations


@kernel
def _start_in_ring(shift: int, origin: int, lift: int) -> int:
    """Return where in a ring the lane rotated by ``shift`` may be read.

    Parameters
    ----------
    shift, origin, lift : int
        Rotation wanted, begin of the valid part, both below ``lift``; length of a lane.

    Returns
    -------
    int
        From ``origin`` to ``origin + lift - 1``, equal to ``shift`` modulo ``lift``.
    """
    return shift if shift >= origin else shift + lift


@kernel
def _count_negative(values: NDArray[np.int16]) -> int:
    """Count negative values.

    Parameters
    ----------
    values : int16[k], k < 32768
        Any values.

    Returns
    -------
    int
        How many have their top bit set.
    """
    total = np.int16(0)
    for i in range(values.size):
        total -= np.int16(values[i] >> 15)
    return int(total)


@kernel
def _has_syndrome(
    rings: NDArray[np.int16],
    origins: NDArray[np.int64],
    row_starts: NDArray[np.int64],
    edge_columns: NDArray[np.int64],
    edge_shifts: NDArray[np.int64],
    syndrome: NDArray[np.uint8],
    parities: NDArray[np.int16],
) -> bool:
    """Say whether the hard decisions (negative: error) have the syndrome in every check.

    Parameters
    ----------
    rings, origins : int16[columns, 3 lift], int64[columns]
        Posteriors, as in ``_decode_segment``.
    row_starts, edge_columns, edge_shifts : int64
        The code, as in ``common.kernels.syndrome``.
    syndrome : uint8[rows, lift], values 0/1
        Syndrome to compare with.
    parities : int16[lift]
        Scratch.

    Returns
    -------
    bool
        Whether all checks agree.
    """
    lift = syndrome.shape[1]
    for row in range(row_starts.size - 1):
        for i in range(lift):
            parities[i] = -np.int16(syndrome[row, i])
        for edge in range(row_starts[row], row_starts[row + 1]):
            column = edge_columns[edge]
            start = _start_in_ring(edge_shifts[edge], origins[column], lift)
            lane = rings[column, start : start + lift]
            for i in range(lift):
                parities[i] ^= lane[i]
        if _count_negative(parities):
            return False
    return True


@kernel
def decode_segments(
    posteriors: NDArray[np.int16],
    row_starts: NDArray[np.int64],
    edge_columns: NDArray[np.int64],
    edge_shifts: NDArray[np.int64],
    syndromes: NDArray[np.uint8],
    factors: NDArray[np.int64],
    offsets: NDArray[np.int64],
    iterations: int,
    patience: int,
    used: NDArray[np.int64],
) -> None:
    """Decode a batch of segments one after another, each until its own syndrome is reached.

    Parameters
    ----------
    posteriors : int16[segments, columns, lift]
        Channel levels on entry, posteriors on return.
    row_starts, edge_columns, edge_shifts : int64
        The code, as in ``common.kernels.syndrome``.
    syndromes : uint8[segments, rows, lift], values 0/1
        Syndromes of the error patterns.
    factors, offsets : int64[steps]
        Correction by share of unsatisfied checks, as in ``_decode_segment``.
    iterations : int
        Most iterations.
    patience : int
        Give up after so many iterations in a row without fewer unsatisfied checks than ever before.
    used : int64[segments]
        Out: iterations run, negative where the syndrome was not reached.
    """
    count_columns, lift = posteriors.shape[1], posteriors.shape[2]
    most = 0
    for row in range(row_starts.size - 1):
        most = max(most, int(row_starts[row + 1] - row_starts[row]))
    work = np.empty((5 + most, lift), np.int16)
    messages = np.empty((edge_columns.size, lift), np.int8)
    rings = np.empty((count_columns, 3 * lift), np.int16)
    origins = np.empty(count_columns, np.int64)
    for segment in range(posteriors.shape[0]):
        messages[:] = 0
        origins[:] = 0
        for column in range(count_columns):
            rings[column, :lift] = posteriors[segment, column]
            rings[column, lift : 2 * lift] = posteriors[segment, column]
        used[segment] = _decode_segment(
            rings,
            origins,
            messages,
            work,
            row_starts,
            edge_columns,
            edge_shifts,
            syndromes[segment],
            factors,
            offsets,
            iterations,
            patience,
        )
        for column in range(count_columns):
            start = _start_in_ring(0, origins[column], lift)
            posteriors[segment, column] = rings[column, start : start + lift]
