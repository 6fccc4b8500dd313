"""Slow and obvious LDPC: a dense parity-check matrix, and layered decoding one check at a time with plain integers.

Stands for ``add_syndromes``, ``put_bits``, ``add_bits_at``, and, with ``decode_segment``, ``doubt`` and ``level_of``, for
``decode_segments`` and what it is made of: ``update_layer_portable``, ``layer_agrees_portable``, ``doubt_of``, ``level_of_sum``, and the
same layers in ``ldpc_vectors`` (``update_layer_in``).
"""

import math

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


def put_bits(words, positions, bits):
    """Words as lists, with bits written to the positions."""
    return [
        [dict(zip(positions, row, strict=True)).get(i, bit) for i, bit in enumerate(word)] for word, row in zip(words, bits, strict=True)
    ]


def add_bits_at(bits, words, positions, chosen):
    """Bits as lists, with what stands at the positions of a chosen word added to its row."""
    return [
        [bit ^ (word[position] if is_chosen else 0) for bit, position in zip(row, positions, strict=True)]
        for row, word, is_chosen in zip(bits, words, chosen, strict=True)
    ]


def decode_segments(shifts, lift, levels, syndromes, iterations, patience, fine):
    """Posteriors and iterations used (negative: failed) of every segment, for levels [segments, n] and syndromes [segments, m]."""
    neighbours = [[int(bit) for bit in np.flatnonzero(row)] for row in parity_check_matrix(shifts, lift)]
    decoded = [
        decode_segment(neighbours, list(map(int, l)), list(map(int, s)), iterations, patience, fine)
        for l, s in zip(levels, syndromes, strict=True)
    ]
    return [posterior for posterior, _ in decoded], [used for _, used in decoded]


def doubt(level, fine):
    """What a check holds against a message of this magnitude, in units of 1/8192."""
    per_nat = 12 if fine else 6
    return 32767 if level == 0 else min(32767, round(-8192 * math.log(math.tanh(level / (2 * per_nat)))))


def level_of(total, fine):
    """Magnitude that is left when doubts sum to ``total``: that of the middle of the step it lies in."""
    per_nat, limit = (12, 127) if fine else (6, 63)
    if total <= 1:
        return limit
    total = min(total, 32767)
    ends = {64: 1, 512: 8, 4096: 64, 32768: 512} if fine else {128: 2, 2048: 32, 32768: 512}
    step = next(step for end, step in ends.items() if total < end)
    low = total // step * step
    middle = math.sqrt(max(low, 1) * (low + step))
    return min(limit, round(-per_nat * math.log(math.tanh(middle / 16384))))


def decode_segment(neighbours, posterior, syndrome, iterations, patience, fine):
    """One segment; checks of one base row touch different bits, so one after another is the same as all at once."""
    messages = [dict.fromkeys(bits, 0) for bits in neighbours]
    fewest, waited = len(syndrome) + 1, 0
    for iteration in range(iterations):
        unsatisfied = 0
        for check, bits in enumerate(neighbours):
            incoming = {bit: posterior[bit] - messages[check][bit] for bit in bits}
            unsatisfied += (sum(value < 0 for value in incoming.values()) + syndrome[check]) % 2
            magnitudes = {bit: min(abs(value), 127 if fine else 63) for bit, value in incoming.items()}
            least = min(magnitudes.values())
            total = min(65535, sum(doubt(magnitude, fine) for magnitude in magnitudes.values()))
            for bit in bits:
                hears_others = fine or magnitudes[bit] == least
                magnitude = level_of(total - doubt(magnitudes[bit], fine) if hears_others else total, fine)
                is_negative = (sum(incoming[other] < 0 for other in bits if other != bit) + syndrome[check]) % 2
                messages[check][bit] = -magnitude if is_negative else magnitude
                posterior[bit] = incoming[bit] + messages[check][bit]
        if all(sum(posterior[bit] < 0 for bit in bits) % 2 == s for bits, s in zip(neighbours, syndrome, strict=True)):
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
