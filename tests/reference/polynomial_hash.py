"""The hash over GF(2^128) from its definition: integers, one bit at a time.

Stands for ``key_powers``, ``absorb_blocks``, ``absorb_groups`` and ``polynomial_hash`` of ``common.kernels.polynomial_hash``.
"""

FIELD = (1 << 128) | 0x87


def multiply(a, b):
    """Product in GF(2)[x] modulo x^128 + x^7 + x^2 + x + 1."""
    result = 0
    for i in range(128):
        if b >> i & 1:
            result ^= a << i
    for i in range(254, 127, -1):
        if result >> i & 1:
            result ^= FIELD << (i - 128)
    return result


def hash_of(bits, key):
    """Hash of a list of bits under an integer key: blocks of 128, then the length."""
    blocks = [sum(int(bit) << i for i, bit in enumerate(bits[first : first + 128])) for first in range(0, len(bits), 128)]
    state = 0
    for block in [*blocks, len(bits)]:
        state = multiply(state ^ block, key)
    return state


def bits_of(data):
    """Bits of bytes, lowest first."""
    return [byte >> i & 1 for byte in data for i in range(8)]
