"""Polynomials over GF(2^64) in the subspace basis, from their definitions.

Stands for ``change_basis`` of ``common.kernels.subspace_basis`` and ``multiply_transposed`` of ``common.kernels.additive_transform``.
Polynomials over GF(2) are Python integers, those over GF(2^64) lists of them, the constant coefficient first.
"""

from tests.reference.carry_less import product

MODULUS = 1 << 64 | 0b11011


def field_product(a, b):
    """Product of two elements of GF(2^64)."""
    result = product(a, b)
    for degree in range(126, 63, -1):
        if result >> degree & 1:
            result ^= MODULUS << (degree - 64)
    return result


def vanishing(log_size):
    """The polynomial s_K: 0 on the first 2^K points."""
    polynomial = 0b10
    for _ in range(log_size):
        polynomial ^= product(polynomial, polynomial)
    return polynomial


def basis(log_size):
    """Element k: the product of the s_i over the set bits i of k."""
    elements = [1]
    for i in range(log_size):
        elements += [product(element, vanishing(i)) for element in elements]
    return elements


def matrix(log_size):
    """Column k holds the coefficients of element k."""
    elements = basis(log_size)
    return [[element >> power & 1 for element in elements] for power in range(len(elements))]


def product_in_basis(factor, k):
    """Coefficients of ``factor`` times element k, modulo the vanishing polynomial; all in the subspace basis."""
    log_size = len(factor).bit_length() - 1
    elements = basis(log_size)
    powers = [0] * (2 * len(factor))
    for coefficient, element in zip(factor, elements, strict=True):
        _add(powers, coefficient, product(element, elements[k]))
    for degree in range(len(powers) - 1, len(factor) - 1, -1):
        _add(powers, powers[degree], vanishing(log_size) << (degree - len(factor)))
    result = [0] * len(factor)
    for degree in range(len(factor) - 1, -1, -1):
        result[degree] = powers[degree]
        _add(powers, powers[degree], elements[degree])
    return result


def transposed_product(factor, values):
    """What the transpose of multiplying by ``factor`` makes of ``values``."""
    columns = [product_in_basis(factor, k) for k in range(len(values))]
    result = []
    for column in columns:
        total = 0
        for a, b in zip(column, values, strict=True):
            total ^= field_product(a, b)
        result.append(total)
    return result


def _add(powers, coefficient, polynomial):
    for degree in range(polynomial.bit_length()):
        if polynomial >> degree & 1:
            powers[degree] ^= coefficient
