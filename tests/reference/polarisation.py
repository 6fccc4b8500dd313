"""Polarisation by Jones vectors and Born's rule, in place of rotations of the sphere."""

from cmath import exp as cexp
from math import cos, pi, radians, sin


def reference_state(angle_deg):
    """cos(a/2) |0> + sin(a/2) |1>, which points to the angle a on the sphere."""
    return [cos(radians(angle_deg) / 2), sin(radians(angle_deg) / 2)]


def reference_wave_plate(angle_rad, retardance_rad):
    """Turn the axes, delay the slow one, turn back."""
    there = [[cos(angle_rad), sin(angle_rad)], [-sin(angle_rad), cos(angle_rad)]]
    back = [[cos(angle_rad), -sin(angle_rad)], [sin(angle_rad), cos(angle_rad)]]
    delay = [[cexp(-0.5j * retardance_rad), 0], [0, cexp(0.5j * retardance_rad)]]
    return product(back, product(delay, there))


def reference_interferometer(phase_rad):
    """The late time bin gains a phase against the early one."""
    return [[1, 0], [0, cexp(1j * phase_rad)]]


def product(one, other):
    return [[sum(row[k] * other[k][column] for k in range(2)) for column in range(2)] for row in one]


def applied(matrix, state):
    return [sum(matrix[row][k] * state[k] for k in range(2)) for row in range(2)]


def reference_probability(matrix, state_deg, outcome_deg):
    """Probability of an outcome, |<outcome| matrix |state>|^2."""
    outcome, arrived = reference_state(outcome_deg), applied(matrix, reference_state(state_deg))
    return abs(sum(complex(one).conjugate() * other for one, other in zip(outcome, arrived, strict=True))) ** 2


def reference_plates(angles_rad):
    """Quarter, half and quarter-wave plate, in the order in which light meets them."""
    matrix = [[1, 0], [0, 1]]
    for angle, retardance in zip(angles_rad, (pi / 2, pi, pi / 2), strict=True):
        matrix = product(reference_wave_plate(angle, retardance), matrix)
    return matrix
