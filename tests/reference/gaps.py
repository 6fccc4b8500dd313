"""The adaptive Rice code with lists of bits.

Stands for ``choose_parameters``, ``write_gaps`` and ``read_gaps`` of ``common.kernels.gaps``.
"""

CHUNK = 256


def gaps_of(slots, first):
    """Empty slots before every slot."""
    return [slot - previous - 1 for previous, slot in zip([first - 1, *slots[:-1]], slots, strict=True)]


def parameter_of(gaps):
    """Logarithm, rounded down, of 0.484 times twice the mean gap and one, computed in whole numbers."""
    doubled = (2 * sum(gaps) + len(gaps)) // len(gaps)
    return max(0, (doubled // 2 - doubled // 64).bit_length() - 1)


def encoded(slots, first):
    """Bits of the encoding: all remainders of a chunk, then all its quotients in unary (zeros, then a one)."""
    gaps = gaps_of(slots, first)
    bits = []
    for begin in range(0, len(gaps), CHUNK):
        chunk = gaps[begin : begin + CHUNK]
        parameter = parameter_of(chunk)
        bits += [parameter >> i & 1 for i in range(6)]
        for gap in chunk:
            bits += [gap >> i & 1 for i in range(parameter)]
        for gap in chunk:
            bits += [0] * (gap >> parameter) + [1]
    return bits
