"""The adaptive Rice code with lists of bits.

Stands for ``choose_parameters``, ``write_gaps`` and ``read_gaps`` of ``common.kernels.gaps``.
"""

CHUNK = 256


def gaps_of(slots, first):
    """Empty slots before every slot."""
    return [slot - previous - 1 for previous, slot in zip([first - 1, *slots[:-1]], slots, strict=True)]


def code_length(gap, parameter):
    """Bits of one gap: quotient in unary (zeros, then a one), and remainder."""
    return (gap >> parameter) + 1 + parameter


def encoded(slots, first):
    """Bits of the encoding: every chunk under its shortest parameter, the smallest of equals; all remainders, then all quotients."""
    gaps = gaps_of(slots, first)
    bits = []
    for begin in range(0, len(gaps), CHUNK):
        chunk = gaps[begin : begin + CHUNK]
        parameter = min(range(63), key=lambda k: (sum(code_length(gap, k) for gap in chunk), k))
        bits += [parameter >> i & 1 for i in range(6)]
        for gap in chunk:
            bits += [gap >> i & 1 for i in range(parameter)]
        for gap in chunk:
            bits += [0] * (gap >> parameter) + [1]
    return bits
