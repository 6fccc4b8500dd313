"""Layered decoding of quasi-cyclic codes in the error domain: which of my bits differ from the reference half's?

One base row is one layer: its ``lift`` checks touch different bits, so they are updated together, many lanes at a time. Posteriors are
int16 and lie in order, each base column followed by a copy of its first lanes, so that a stretch of lanes read at any rotation
meets no wrap; messages are int8.

What a check tells its neighbours is nearly what the sum-product rule says. A check adds up its neighbours' doubts (``ldpc_tables``).
The neighbour least sure of itself hears what the others say, exactly; to the rest the check says what all say together, itself
included, which is hardly less, since it is not the others' doubt that decides. So two magnitudes a check are enough, as in min-sum,
and yet decoding needs half the iterations.

Where the processor has the instructions of ``lanes``, a layer is emitted as vectors; elsewhere the same is done by plain loops.
Input comes from ``common.distillation.reconciliation.ldpc_frames``, which also interprets the result.

References
----------
[Hocevar2004] layered decoding; [Jones2003] the rule of checks, there A-min*. Status: planning: the decoder only proposes, and
verification decides.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from common.kernels.jit import kernel
from common.kernels.lanes import COUNT_LANES, REGISTER_BITS
from common.kernels.ldpc_tables import COARSE, COUNT_STEPS, FINE, LARGEST_DOUBT

_OF_CHECKS = 5  # rows of the work space for what belongs to checks: doubts, least, signs, and the two magnitudes to send
_DOUBTS, _FINE_DOUBTS = COARSE.doubt_of_level, FINE.doubt_of_level
_LEVELS, _FINE_LEVELS = COARSE.level_of_step, FINE.level_of_step
_SHIFTS, _FINE_SHIFTS = COARSE.step_shifts, FINE.step_shifts
_LIMIT, _FINE_LIMIT = COARSE.message_limit, FINE.message_limit


@kernel
def doubt_of(value: int, fine: bool) -> int:
    """Return the doubt about an incoming message.

    Parameters
    ----------
    value : int
        Levels, of either sign and any size.
    fine : bool
        On which scale.

    Returns
    -------
    int
        Units.
    """
    if fine:
        return int(_FINE_DOUBTS[np.uint32(min(np.int32(abs(value)), np.int32(_FINE_LIMIT)))])
    return int(_DOUBTS[np.uint32(min(np.int32(abs(value)), np.int32(_LIMIT)))])


@kernel
def level_of_sum(doubt: int, fine: bool) -> int:
    """Return the magnitude that a sum of doubts leaves.

    Parameters
    ----------
    doubt : int
        Units, 0 to 65535.
    fine : bool
        On which scale.

    Returns
    -------
    int
        Levels: the entry of the finest table of ``level_of_step`` that goes so far.
    """
    within = min(np.int32(doubt), np.int32(LARGEST_DOUBT))
    if fine:
        for table in range(len(_FINE_SHIFTS)):
            step = within >> _FINE_SHIFTS[table]
            if step < COUNT_STEPS:
                return int(_FINE_LEVELS[table, np.uint32(step)])
    last = len(_SHIFTS) - 1  # its table reaches the largest doubt
    for table in range(last):
        step = within >> _SHIFTS[table]
        if step < COUNT_STEPS:
            return int(_LEVELS[table, np.uint32(step)])
    return int(_LEVELS[last, np.uint32(within >> _SHIFTS[last])])


@kernel
def _take_neighbour(
    posteriors: NDArray[np.int16], messages: NDArray[np.int8], sums: NDArray[np.int32], checks: NDArray[np.int32], fine: bool
) -> None:
    """Take one neighbour into a layer: remove the check's last message, add the doubt, track the least magnitude and the sign.

    Parameters
    ----------
    posteriors : int16[lanes]
        Of the neighbour's bits, in the order of the checks.
    messages : int8[lanes]
        What the checks sent to these bits last time.
    sums : int32[lanes]
        Out: posteriors without these messages.
    checks : int32[5, lanes]
        Sum of doubts, least magnitude, and sign of the product of incoming messages (in the top bit); updated.
    fine : bool
        On which scale.
    """
    doubts, least, signs = checks[0], checks[1], checks[2]
    for i in range(sums.size):
        value = np.int32(np.int32(posteriors[i]) - np.int32(messages[i]))
        sums[i] = value
        least[i] = min(least[i], np.int32(abs(value)))
        signs[i] ^= value
    for i in range(sums.size):  # apart, since a table keeps the compiler from making vectors
        doubts[i] = min(np.int32(65535), np.int32(doubts[i] + doubt_of(sums[i], fine)))


@kernel
def _choose_magnitudes(checks: NDArray[np.int32]) -> None:
    """Turn doubts into the magnitudes to send on the coarse scale, to all but the weakest neighbour and to the weakest.

    Parameters
    ----------
    checks : int32[5, lanes]
        From ``_take_neighbour``; the last two rows are written.
    """
    for i in range(checks.shape[1]):
        checks[3, i] = level_of_sum(checks[0, i], False)
        checks[4, i] = level_of_sum(checks[0, i] - doubt_of(checks[1, i], False), False)


@kernel
def _tell_neighbour(
    posteriors: NDArray[np.int16], messages: NDArray[np.int8], sums: NDArray[np.int32], checks: NDArray[np.int32], fine: bool
) -> None:
    """Send a layer's new messages to one neighbour and add them to its posteriors.

    Parameters
    ----------
    posteriors : int16[lanes]
        Out: posteriors of the neighbour's bits.
    messages : int8[lanes]
        Out: what the checks send now.
    sums : int32[lanes]
        Posteriors without the old messages, from ``_take_neighbour``.
    checks : int32[5, lanes]
        From ``_take_neighbour`` and, on the coarse scale, ``_choose_magnitudes``.
    fine : bool
        On which scale, and so by which rule.
    """
    least, signs, to_others, to_weakest = checks[1], checks[2], checks[3], checks[4]
    for i in range(sums.size):
        value = sums[i]
        if fine:
            magnitude = np.int32(level_of_sum(checks[0, i] - doubt_of(value, True), True))
        else:
            is_least = min(np.int32(abs(value)), np.int32(_LIMIT)) == least[i]
            magnitude = to_weakest[i] if is_least else to_others[i]
        flip = np.int32(np.int32(signs[i] ^ value) >> 31)  # 0, or -1 where the message is negative
        message = np.int32(np.int32(magnitude ^ flip) - flip)
        messages[i] = np.int8(message)
        posteriors[i] = np.int16(value + message)


@kernel
def update_layer_portable(
    posteriors: NDArray[np.int16],
    messages: NDArray[np.int8],
    work: NDArray[np.int32],
    syndrome: NDArray[np.uint8],
    edge_columns: NDArray[np.int64],
    edge_shifts: NDArray[np.int64],
    first: int,
    last: int,
    fine: bool,
) -> int:
    """Update the checks of one base row and the posteriors of their bits, by plain loops.

    Parameters
    ----------
    posteriors : int16[columns, lift + lanes]
        Posteriors, the first ``lanes`` of each column again at its end; changed in place. ``lanes`` divides ``lift``.
    messages : int8[edges, lift]
        What checks sent last; changed in place.
    work : int32[5 + most edges of a row, lanes]
        Scratch.
    syndrome : uint8[lift], values 0/1
        Of the base row.
    edge_columns, edge_shifts : int64[edges]
        The code, as in ``common.kernels.syndrome``.
    first, last : int
        Edges of the base row.
    fine : bool
        Whether messages are counted on the fine scale and every neighbour hears exactly what the others say; else the scale is coarse
        and only the least sure one does.

    Returns
    -------
    int
        Checks that disagreed with the signs they were told.
    """
    lift = messages.shape[1]
    lanes = work.shape[1]
    checks = work[:_OF_CHECKS]
    count_unsatisfied = 0
    for start in range(0, lift, lanes):
        for i in range(lanes):
            checks[0, i] = 0
            checks[1, i] = _LIMIT
            checks[2, i] = -np.int32(syndrome[start + i])
        for turn in range(2):
            if turn == 1 and not fine:
                _choose_magnitudes(checks)
            for edge in range(first, last):
                at = (edge_shifts[edge] + start) % lift
                bits = posteriors[edge_columns[edge], at : at + lanes]
                sent = messages[edge, start : start + lanes]
                if turn == 0:
                    _take_neighbour(bits, sent, work[_OF_CHECKS + edge - first], checks, fine)
                else:
                    _tell_neighbour(bits, sent, work[_OF_CHECKS + edge - first], checks, fine)
        for i in range(lanes):
            count_unsatisfied += int(checks[2, i] < 0)
    for edge in range(first, last):
        column = posteriors[edge_columns[edge]]
        passed = edge_shifts[edge] % lanes  # so many lanes were last written behind the end, the others in front
        for i in range(passed):
            column[i] = column[lift + i]
        for i in range(passed, lanes):
            column[lift + i] = column[i]
    return count_unsatisfied


@kernel
def layer_agrees_portable(
    posteriors: NDArray[np.int16],
    syndrome: NDArray[np.uint8],
    edge_columns: NDArray[np.int64],
    edge_shifts: NDArray[np.int64],
    first: int,
    last: int,
) -> bool:
    """Say whether the hard decisions (negative: error) have the syndrome in all checks of one base row.

    Parameters
    ----------
    posteriors : int16[columns, >= lift]
        Posteriors.
    syndrome : uint8[lift], values 0/1
        Of the base row.
    edge_columns, edge_shifts : int64[edges]
        The code, as in ``common.kernels.syndrome``.
    first, last : int
        Edges of the base row.

    Returns
    -------
    bool
        Whether they have.
    """
    lift = syndrome.size
    for i in range(lift):
        parity = np.int64(syndrome[i]) << 63
        for edge in range(first, last):
            parity ^= np.int64(posteriors[edge_columns[edge], (edge_shifts[edge] + i) % lift])
        if parity < 0:
            return False
    return True


if REGISTER_BITS:
    from common.kernels.ldpc_vectors import layer_agrees_vectors, update_layer_in

    update_layer_vectors, update_layer_finely = (update_layer_in(REGISTER_BITS, fine) for fine in (False, True))
else:
    layer_agrees_vectors = layer_agrees_portable


@kernel
def _update_layer(
    posteriors: NDArray[np.int16],
    messages: NDArray[np.int8],
    work: NDArray[np.int32],
    syndrome: NDArray[np.uint8],
    edge_columns: NDArray[np.int64],
    edge_shifts: NDArray[np.int64],
    first: int,
    last: int,
    fine: bool,
    use_vectors: bool,
) -> int:
    """Update one layer in the way asked for; as ``update_layer_portable``."""
    if REGISTER_BITS and use_vectors:  # the first is a constant, without which the intrinsics would be compiled
        if fine:
            return update_layer_finely(posteriors, messages, work, syndrome, edge_columns, edge_shifts, first, last)
        return update_layer_vectors(posteriors, messages, work, syndrome, edge_columns, edge_shifts, first, last)
    return update_layer_portable(posteriors, messages, work, syndrome, edge_columns, edge_shifts, first, last, fine)


@kernel
def _has_syndrome(
    posteriors: NDArray[np.int16],
    row_starts: NDArray[np.int64],
    edge_columns: NDArray[np.int64],
    edge_shifts: NDArray[np.int64],
    syndrome: NDArray[np.uint8],
    use_vectors: bool,
) -> bool:
    """Say whether the hard decisions have the syndrome; wrong ones are mostly found in the first rows.

    Parameters
    ----------
    posteriors : int16[columns, >= lift]
        Posteriors.
    row_starts, edge_columns, edge_shifts : int64
        The code, as in ``common.kernels.syndrome``.
    syndrome : uint8[rows, lift], values 0/1
        Syndrome to compare with.
    use_vectors : bool
        As for ``decode_segments``.

    Returns
    -------
    bool
        Whether all checks agree.
    """
    for row in range(row_starts.size - 1):
        first, last = row_starts[row], row_starts[row + 1]
        if use_vectors:
            agrees = layer_agrees_vectors(posteriors, syndrome[row], edge_columns, edge_shifts, first, last)
        else:
            agrees = layer_agrees_portable(posteriors, syndrome[row], edge_columns, edge_shifts, first, last)
        if not agrees:
            return False
    return True


@kernel
def _decode_segment(
    posteriors: NDArray[np.int16],
    messages: NDArray[np.int8],
    work: NDArray[np.int32],
    row_starts: NDArray[np.int64],
    edge_columns: NDArray[np.int64],
    edge_shifts: NDArray[np.int64],
    syndrome: NDArray[np.uint8],
    iterations: int,
    patience: int,
    fine: bool,
    use_vectors: bool,
) -> int:
    """Update layer after layer until the hard decisions of one segment have the syndrome.

    Parameters
    ----------
    posteriors : int16[columns, lift + lanes]
        Channel levels on entry (positive: no error), posteriors on return, whose signs are the decision.
    messages : int8[edges, lift]
        Zero on entry; last messages on return.
    work : int32[5 + most edges of a row, lanes]
        Scratch.
    row_starts, edge_columns, edge_shifts : int64
        The code, as in ``common.kernels.syndrome``.
    syndrome : uint8[rows, lift], values 0/1
        Syndrome of the error pattern.
    iterations : int
        Most iterations.
    patience : int
        Give up after so many iterations in a row without fewer unsatisfied checks than ever before.
    fine : bool
        The rule nearer to the Shannon limit, as for ``update_layer_portable``; levels are then those of the fine scale.
    use_vectors : bool
        Whether layers are updated in vectors.

    Returns
    -------
    int
        Iterations run, negative when the syndrome was not reached.
    """
    fewest, waited = syndrome.size + 1, 0
    for iteration in range(iterations):
        count_unsatisfied = 0
        for row in range(row_starts.size - 1):
            first, last = row_starts[row], row_starts[row + 1]
            count_unsatisfied += _update_layer(
                posteriors, messages, work, syndrome[row], edge_columns, edge_shifts, first, last, fine, use_vectors
            )
        if _has_syndrome(posteriors, row_starts, edge_columns, edge_shifts, syndrome, use_vectors):
            return iteration + 1
        waited = 0 if count_unsatisfied < fewest else waited + 1
        fewest = min(fewest, count_unsatisfied)
        if waited == patience:
            return -iteration - 1
    return -iterations


@kernel
def decode_segments(
    levels: NDArray[np.int16],
    known: NDArray[np.int64],
    known_levels: NDArray[np.int16],
    row_starts: NDArray[np.int64],
    edge_columns: NDArray[np.int64],
    edge_shifts: NDArray[np.int64],
    syndromes: NDArray[np.uint8],
    iterations: int,
    patience: int,
    fine: bool,
    use_vectors: bool,
    errors: NDArray[np.uint8],
    used: NDArray[np.int64],
) -> None:
    """Decode a batch of segments one after another, each until its own syndrome is reached.

    Parameters
    ----------
    levels : int16[columns, lift]
        Channel levels, the same for all segments.
    known : int64[r]
        Positions of the codeword whose level differs from segment to segment.
    known_levels : int16[segments, r]
        Levels there.
    row_starts, edge_columns, edge_shifts : int64
        The code, as in ``common.kernels.syndrome``.
    syndromes : uint8[segments, rows, lift], values 0/1
        Syndromes of the error patterns.
    iterations : int
        Most iterations.
    patience : int
        Give up after so many iterations in a row without fewer unsatisfied checks than ever before.
    fine : bool
        The rule nearer to the Shannon limit, as for ``update_layer_portable``; levels are then those of the fine scale.
    use_vectors : bool
        Whether to work in vectors, where the processor has them (``REGISTER_BITS``) and the lift is a multiple of ``COUNT_LANES``.
    errors : uint8[segments, columns, lift]
        Out: 1 where the bit is decided to be an error.
    used : int64[segments]
        Out: iterations run, negative where the syndrome was not reached.
    """
    count_columns, lift = levels.shape
    in_vectors = use_vectors and lift % COUNT_LANES == 0
    lanes = COUNT_LANES if in_vectors else lift
    most = 0
    for row in range(row_starts.size - 1):
        most = max(most, int(row_starts[row + 1] - row_starts[row]))
    work = np.empty((_OF_CHECKS + most, lanes), np.int32)
    messages = np.empty((edge_columns.size, lift), np.int8)
    padded = np.empty((count_columns, lift + lanes), np.int16)
    for segment in range(syndromes.shape[0]):
        messages[:] = 0
        for column in range(count_columns):
            for i in range(lift):
                padded[column, i] = levels[column, i]
        for index in range(known.size):
            column = known[index] // lift
            padded[column, known[index] - column * lift] = known_levels[segment, index]
        for column in range(count_columns):
            for i in range(lanes):
                padded[column, lift + i] = padded[column, i]
        used[segment] = _decode_segment(
            padded,
            messages,
            work,
            row_starts,
            edge_columns,
            edge_shifts,
            syndromes[segment],
            iterations,
            patience,
            fine,
            in_vectors,
        )
        for column in range(count_columns):
            for i in range(lift):
                errors[segment, column, i] = padded[column, i] < 0
