"""Polynomials over GF(2) as Python integers, and packed bits as lists, bit by bit.

Stands for ``multiply_portable`` of ``common.kernels.carry_less``, for ``compress_portable``, ``list_ones_portable`` and
``range_parity`` of ``common.kernels.bit_operations`` and for ``shift_bits`` of ``common.kernels.toeplitz``.
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


def shifted(number, start_bit):
    """Bits of ``number`` from ``start_bit`` on, which may be negative."""
    return number >> start_bit if start_bit >= 0 else number << -start_bit


def compressed(word, mask):
    """Bits of ``word`` chosen by ``mask``, closed up to the low end."""
    chosen = [word >> i & 1 for i in range(64) if mask >> i & 1]
    return sum(bit << i for i, bit in enumerate(chosen))


def ones(word):
    """Places of the ones of ``word``, lowest first."""
    return [i for i in range(64) if word >> i & 1]


def number(value):
    """The number itself: what ``signed`` must leave alone."""
    return int(value)


def parity(flags, low, high):
    """Parity of the flags from ``low`` to ``high - 1``."""
    return sum(int(flag) for flag in flags[low:high]) % 2
