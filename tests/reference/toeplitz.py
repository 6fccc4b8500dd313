"""Toeplitz hashing from its definition, and by float64 FFT.

Stands for ``toeplitz_hash`` and ``modified_toeplitz_hash`` of ``common.kernels.toeplitz``.
"""

import numpy as np


def hash_of(bits, seed, count_out):
    """Row by row: ``T[i][j] = seed[i - j + n - 1]``. Lists of 0 and 1."""
    n = len(bits)
    return [sum(seed[i - j + n - 1] * bits[j] for j in range(n)) % 2 for i in range(count_out)]


def modified_hash_of(bits, seed, count_out):
    """Row by row: the identity, then the Toeplitz matrix of what lies behind the first ``count_out`` bits."""
    rest = bits[count_out:]
    return [bit ^ parity for bit, parity in zip(bits[:count_out], hash_of(rest, seed, count_out), strict=True)]


def hash_by_fft(bits, seed, count_out):
    """The same window of the product of two polynomials, by float64 FFT; exact while n times the machine epsilon stays far below 1/2."""
    n = bits.size
    length = 1 << int(n + seed.size - 1).bit_length()
    product = np.fft.irfft(np.fft.rfft(bits.astype(np.float64), length) * np.fft.rfft(seed.astype(np.float64), length), length)
    window = product[n - 1 : n - 1 + count_out]
    rounded = np.rint(window)
    assert np.abs(window - rounded).max(initial=0.0) < 0.1, "rounding error of the FFT near a half"
    return (rounded.astype(np.int64) & 1).astype(np.uint8)
