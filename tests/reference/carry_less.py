"""Polynomials over GF(2) as Python integers, and packed bits as lists, bit by bit.

Stands for ``multiply_portable``, ``multiply_toeplitz_portable`` and ``product_offset`` of ``common.kernels.carry_less`` and for
``compress_word`` and ``range_parity`` of ``common.kernels.bit_operations``.
"""


def product(a, b):
    """Product of two polynomials, school method."""
    result = 0
    while b:
        if b & 1:
            result ^= a
        a <<= 1
        b >>= 1
    return result


def toeplitz_products(diagonals, vector):
    """Sum over b of ``diagonals[k - b + n - 1] (x) vector[b]`` for every k: n integers of up to 127 bits."""
    count = len(vector)
    sums = [0] * count
    for k in range(count):
        for b in range(count):
            sums[k] ^= product(diagonals[k - b + count - 1], vector[b])
    return sums


def lane_offsets(count, lanes):
    """Where product k lies: in groups of ``lanes``, first the even ones, then the odd ones, two words each."""
    order = []
    for first in range(0, count, lanes):
        group = range(first, first + lanes)
        order += [k for k in group if k % 2 == 0] + [k for k in group if k % 2 == 1]
    return {k: 2 * place for place, k in enumerate(order)}


def compressed(word, mask):
    """Bits of ``word`` chosen by ``mask``, closed up to the low end."""
    chosen = [word >> i & 1 for i in range(64) if mask >> i & 1]
    return sum(bit << i for i, bit in enumerate(chosen))


def number(value):
    """The number itself: what ``signed`` must leave alone."""
    return int(value)


def parity(flags, low, high):
    """Parity of the flags from ``low`` to ``high - 1``."""
    return sum(int(flag) for flag in flags[low:high]) % 2
