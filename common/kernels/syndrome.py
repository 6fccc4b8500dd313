"""Syndromes of a quasi-cyclic code: each base entry adds one rotated lane of bits to one lane of checks; and bits put in their places.

A *lane* is the stretch of ``lift`` bits (or checks) that belongs to one base column (or row). The edge from base row ``r`` to
base column ``c`` with shift ``s`` joins check ``i`` of the row to bit ``(i + s) mod lift`` of the column. Used by both halves
of reconciliation through ``common.distillation.reconciliation.ldpc_frames``.
"""

import numpy as np
from numpy.typing import NDArray

from common.kernels.jit import kernel


@kernel
def add_syndromes(
    lanes: NDArray[np.uint8],
    row_starts: NDArray[np.int64],
    edge_columns: NDArray[np.int64],
    edge_shifts: NDArray[np.int64],
    syndromes: NDArray[np.uint8],
) -> None:
    """Add the syndrome of every segment to what ``syndromes`` holds, modulo 2.

    Parameters
    ----------
    lanes : uint8[segments, columns, lift], values 0/1
        Bits of the codewords.
    row_starts : int64[rows + 1]
        Edges of base row ``r`` are ``row_starts[r]`` to ``row_starts[r + 1] - 1``.
    edge_columns, edge_shifts : int64[edges]
        Base column and circulant shift, ``0 <= shift < lift``, of each edge.
    syndromes : uint8[segments, rows, lift], values 0/1
        Changed in place.
    """
    lift = lanes.shape[2]
    for segment in range(lanes.shape[0]):
        for row in range(row_starts.size - 1):
            checks = syndromes[segment, row]
            for edge in range(row_starts[row], row_starts[row + 1]):
                bits = lanes[segment, edge_columns[edge]]
                shift = edge_shifts[edge]
                before_wrap = lift - shift
                head = bits[shift:]
                tail = bits[:shift]
                for i in range(before_wrap):
                    checks[i] ^= head[i]
                after = checks[before_wrap:]
                for i in range(shift):
                    after[i] ^= tail[i]


@kernel
def put_bits(words: NDArray[np.uint8], positions: NDArray[np.int64], bits: NDArray[np.uint8]) -> None:
    """Write bits to given positions of every word; several times as fast as NumPy's indexing.

    Parameters
    ----------
    words : uint8[segments, n]
        Changed in place.
    positions : int64[k]
        Where in each word, 0 to n - 1.
    bits : uint8[segments, k]
        What to write.
    """
    for segment in range(words.shape[0]):
        word, given = words[segment], bits[segment]
        for k in range(positions.size):
            word[np.uint64(positions[k])] = given[k]


@kernel
def add_bits_at(bits: NDArray[np.uint8], words: NDArray[np.uint8], positions: NDArray[np.int64], chosen: NDArray[np.bool_]) -> None:
    """Add to bits, modulo 2, what stands at given positions of words.

    Parameters
    ----------
    bits : uint8[segments, k]
        Changed in place.
    words : uint8[segments, n]
        What to add.
    positions : int64[k]
        Where in each word, 0 to n - 1.
    chosen : bool[segments]
        The segments to add to.
    """
    for segment in range(words.shape[0]):
        if chosen[segment]:
            word, given = words[segment], bits[segment]
            for k in range(positions.size):
                given[k] ^= word[np.uint64(positions[k])]
