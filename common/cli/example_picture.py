"""The picture that ``qkd demo`` sends where it is given none: 50 by 40 pixels of 24 bits, 48,000 bits, painted by formulas.

A quantum dot setting over a lake: sky, a glowing emitter, two mountain ridges, and its light on the water. The same bytes on every machine.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

WIDTH: Final = 50
HEIGHT: Final = 40
PICTURE_BITS: Final = WIDTH * HEIGHT * 24
"""48,000 bits: what the picture of the published one-time-pad demonstrations takes."""

_FINE: Final = 8
"""Samples a pixel in each direction, averaged: edges are smooth."""

_SHORE: Final = 0.70
"""Height of the waterline, from the top, in heights of the picture."""

_LIGHT: Final = (0.80, 0.47)
"""Place of the emitter, in heights of the picture from the upper left corner."""

_SKY: Final = (
    (0.00, (18, 22, 64)),
    (0.22, (52, 40, 112)),
    (0.40, (140, 60, 138)),
    (0.55, (232, 104, 112)),
    (0.66, (255, 178, 112)),
    (0.74, (255, 220, 160)),
)
"""Colours by height."""

_STARS: Final = ((4, 3), (9, 7), (13, 2), (17, 9), (21, 4), (26, 6), (28, 1), (33, 3), (38, 6), (43, 2), (47, 8), (6, 11))
"""Pixels, column and row."""

_Layer = NDArray[np.float64]


def example_picture() -> NDArray[np.uint8]:
    """Paint the picture.

    Returns
    -------
    uint8[40, 50, 3]
        Rows, columns, red green blue.
    """
    y, x = ((np.arange(size * _FINE) + 0.5) / (HEIGHT * _FINE) for size in (HEIGHT, WIDTH))
    down, across = np.meshgrid(y, x, indexing="ij")
    fine = _land(down, across)
    mirrored = 2 * _SHORE - down
    ripple = 0.012 * np.sin(95 * down**1.5 + 5 * np.sin(9 * across)) * (down - _SHORE) / (1 - _SHORE)
    water = _land(mirrored, across + ripple) * np.array([0.62, 0.66, 0.80]) + np.array([4, 8, 20])
    width = 0.035 + 0.22 * np.clip(down - _SHORE, 0, 1)
    path = np.exp(-(((across - _LIGHT[0] + ripple) / width) ** 2)) * (0.55 + 0.45 * np.sin(150 * down**1.3 + 2 * np.sin(20 * across)))
    water += _coloured(np.clip(path, 0, None), (150, 112, 66))
    fine = np.where((down > _SHORE)[..., None], water, fine)
    pixels = np.asarray(fine.reshape(HEIGHT, _FINE, WIDTH, _FINE, 3).mean(axis=(1, 3)))
    for column, row in _STARS:
        pixels[row, column] += 70 + 90 * ((3 * column + row) % 4 == 0)
    return np.asarray(np.clip(pixels, 0, 255), np.uint8)


def _land(down: _Layer, across: _Layer) -> _Layer:
    """Everything above the water, at places that need not be on the grid."""
    heights = [height for height, _ in _SKY]
    sky = np.stack([np.interp(down, heights, [colour[band] for _, colour in _SKY]) for band in range(3)], axis=-1)
    distance = np.hypot(across - _LIGHT[0], down - _LIGHT[1])
    sky += _coloured(np.exp(-distance / 0.16), (120, 92, 60)) + _coloured(np.exp(-distance / 0.05), (90, 90, 80))
    disc = np.clip((0.082 - distance) / 0.012, 0, 1)[..., None]
    painted: _Layer = sky * (1 - disc) + disc * np.array([255.0, 246.0, 214.0])
    far = 0.555 + 0.055 * np.sin(5.1 * across + 0.6) + 0.028 * np.sin(13.7 * across + 2.0) + 0.010 * np.sin(37 * across)
    near = 0.655 + 0.060 * np.sin(3.3 * across + 3.4) + 0.022 * np.sin(11.9 * across) + 0.008 * np.sin(47 * across + 1)
    haze = np.clip((down - far) / 0.16, 0, 1)[..., None]
    painted = np.where((down > far)[..., None], np.array([92.0, 54.0, 112.0]) * (1 - haze) + np.array([190.0, 98.0, 122.0]) * haze, painted)
    return np.where((down > near)[..., None], np.array([38.0, 28.0, 66.0]), painted)


def _coloured(strength: _Layer, colour: tuple[int, int, int]) -> _Layer:
    return np.asarray(strength[..., None] * np.array(colour, np.float64))
