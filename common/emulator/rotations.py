"""Rotations of the Poincaré sphere: what a fibre does to every state alike, and the wave plates that undo it.

Axes are the Z basis, the X basis, and the circular one: a state at the angle a of a profile points to (cos a, sin a, 0). Used by ``drift``
and ``optics``; matrices are float64[3, 3] and act on columns.
"""

from __future__ import annotations

from math import cos, pi, sin
from typing import Final

import numpy as np
from numpy.typing import NDArray

QUARTER: Final = pi / 2
HALF: Final = pi
"""Retardance of a quarter-wave and of a half-wave plate, radians."""

RETARDANCES: Final = (QUARTER, HALF, QUARTER)
"""Of the plates in front of Bob's receiver, in the order in which light meets them: three of these reach every rotation."""


def rotation(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the rotation about an axis, by Rodrigues' formula.

    Parameters
    ----------
    vector : float64[3]
        Along the axis, as long as the angle in radians.

    Returns
    -------
    float64[3, 3]
        Orthogonal, with determinant 1.
    """
    angle = float(np.linalg.norm(vector))
    if angle == 0.0:
        return np.eye(3)
    x, y, z = vector / angle
    across = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.asarray(np.eye(3) + sin(angle) * across + (1.0 - cos(angle)) * (across @ across))


def wave_plate(angle_rad: float, retardance_rad: float) -> NDArray[np.float64]:
    """Return the rotation that a wave plate makes: about the place of its fast axis on the equator, by its retardance.

    Parameters
    ----------
    angle_rad : float, radians
        Of the fast axis, from that of Z0; on the sphere it counts twice.
    retardance_rad : float, radians
        ``QUARTER`` or ``HALF``.

    Returns
    -------
    float64[3, 3]
        Lower right block of the plate's Mueller matrix.

    References
    ----------
    [Simon1990] a quarter-, a half- and a quarter-wave plate make any rotation.
    """
    return rotation(retardance_rad * np.array([cos(2.0 * angle_rad), sin(2.0 * angle_rad), 0.0]))


def wave_plates(angles_rad: tuple[float, ...]) -> NDArray[np.float64]:
    """Return the rotation of the plates in front of Bob's receiver; all at 0 they leave every state as it is.

    Parameters
    ----------
    angles_rad : tuple[float, ...], radians
        One for each of ``RETARDANCES``.

    Returns
    -------
    float64[3, 3]
        Their product.
    """
    first, second, third = (wave_plate(angle, retardance) for angle, retardance in zip(angles_rad, RETARDANCES, strict=True))
    return np.asarray(third @ second @ first)


def random_rotation(rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw a rotation, all of them alike.

    Parameters
    ----------
    rng : numpy.random.Generator
        Drives the draw.

    Returns
    -------
    float64[3, 3]
        From a unit quaternion, which is uniform on its sphere.
    """
    scalar, *vector = rng.standard_normal(4)
    length = float(np.linalg.norm(vector))
    return rotation(2.0 * np.arctan2(length, scalar) * np.array(vector) / length)
