"""Encodings as data: which detectors Bob has, when they are opened, and what a click in each of them means.

Polarisation has a detector for every outcome and one window a slot. Time bins pass one unbalanced interferometer with two ports: light
that takes the short arm early or the long arm late tells the bin, and what meets itself in between tells the superposition.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Encoding:
    """One encoding.

    Attributes
    ----------
    name : str
        As in the link profile.
    detectors : tuple[str, ...]
        Channel names of Bob's detectors.
    windows : tuple[int, ...]
        When a slot's gates open, in time bins from the middle of the slot, in order.
    outcomes : tuple[tuple[int, ...], ...]
        Outcome code of a click, by window and detector.
    """

    name: str
    detectors: tuple[str, ...]
    windows: tuple[int, ...]
    outcomes: tuple[tuple[int, ...], ...]


POLARISATION = Encoding("polarisation", ("H", "V", "D", "A"), (0,), ((0, 1, 2, 3),))
"""H V are Z0 Z1, D A (or R L) are X0 X1."""

TIME_BIN = Encoding("time-bin", ("P", "M"), (-1, 0, 1), ((0, 0), (2, 3), (1, 1)))
"""Early is Z0 and late is Z1 on either port; in the middle port P is X0 and port M is X1."""

ENCODINGS = {encoding.name: encoding for encoding in (POLARISATION, TIME_BIN)}
"""By name."""
