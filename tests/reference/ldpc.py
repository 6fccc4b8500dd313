"""Slow and obvious LDPC: a dense parity-check matrix, and layered min-sum one check at a time with plain integers.

Stands for ``common.kernels.syndrome.add_syndromes`` and ``common.kernels.ldpc.decode_segments``.
"""

import numpy as np


def parity_check_matrix(shifts, lift):
    """uint8[rows lift, columns lift]: check ``i`` of a base row meets bit ``(i + shift) mod lift`` of a base column."""
    rows, columns = shifts.shape
    matrix = np.zeros((rows * lift, columns * lift), np.uint8)
    for row in range(rows):
        for column in range(columns):
            if shifts[row, column] >= 0:
                for i in range(lift):
                    matrix[row * lift + i, column * lift + (i + int(shifts[row, column])) % lift] = 1
    return matrix


def add_syndromes(shifts, lift, words, syndromes):
    """``syndromes + H words`` modulo 2, for words uint8[segments, n]."""
    return (syndromes + words.astype(np.int64) @ parity_check_matrix(shifts, lift).T.astype(np.int64)) % 2


def decode_segments(shifts, lift, levels, syndromes, factors, offsets, iterations, patience):
    """Posteriors and iterations used (negative: failed) of every segment, for levels [segments, n] and syndromes [segments, m]."""
    neighbours = [[int(bit) for bit in np.flatnonzero(row)] for row in parity_check_matrix(shifts, lift)]
    decoded = [
        decode_segment(neighbours, list(map(int, l)), list(map(int, s)), factors, offsets, iterations, patience)
        for l, s in zip(levels, syndromes, strict=True)
    ]
    return [posterior for posterior, _ in decoded], [used for _, used in decoded]


def decode_segment(neighbours, posterior, syndrome, factors, offsets, iterations, patience):
    """One segment; checks of one base row touch different bits, so one after another is the same as all at once."""
    messages = [dict.fromkeys(bits, 0) for bits in neighbours]
    steps = len(factors)
    unsatisfied = sum(syndrome)
    fewest, waited = len(syndrome) + 1, 0
    for iteration in range(iterations):
        step = min(unsatisfied * 2 * steps // len(syndrome), steps - 1)
        unsatisfied = 0
        for check, bits in enumerate(neighbours):
            unsatisfied += (sum(posterior[bit] < 0 for bit in bits) + syndrome[check]) % 2
            incoming = {bit: posterior[bit] - messages[check][bit] for bit in bits}
            for bit in bits:
                others = [incoming[other] for other in bits if other != bit]
                least = min([min(abs(value), 127) for value in others], default=127)
                magnitude = min(127, max(0, (least * factors[step] >> 4) - offsets[step]))
                is_negative = (sum(value < 0 for value in others) + syndrome[check]) % 2
                messages[check][bit] = -magnitude if is_negative else magnitude
                posterior[bit] = incoming[bit] + messages[check][bit]
        if unsatisfied == 0 and all(sum(posterior[bit] < 0 for bit in bits) % 2 == s for bits, s in zip(neighbours, syndrome, strict=True)):
            return posterior, iteration + 1
        waited = 0 if unsatisfied < fewest else waited + 1
        fewest = min(fewest, unsatisfied)
        if waited == patience:
            return posterior, -iteration - 1
    return posterior, -iterations


def rank(rows):
    """Rank over GF(2) of a list of integers, each a row of bits."""
    pivots = {}
    for row in rows:
        rest = row
        while rest:
            top = rest.bit_length()
            if top not in pivots:
                pivots[top] = rest
                break
            rest ^= pivots[top]
    return len(pivots)


def as_integers(matrix):
    """Rows of a 0/1 matrix as integers, for ``rank``."""
    return [int("".join(map(str, map(int, row))), 2) if row.size else 0 for row in matrix]
