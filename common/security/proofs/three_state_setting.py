"""What is fixed about a three-state block before it begins: source bound, probabilities, and the states themselves.

Alice sends ``Z0``, ``Z1`` or ``X0``. Only what she *would* have sent had she measured her half of a key pair in X matters for the
phase errors, and that state is a combination of the three she does send. The coefficients come from here; used by ``three_state``
and ``three_state_decoys``.

References
----------
[Tamaki2014], derived again in ``docs/explanation/three-state``. Status: rigorous given the states.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import pi, sin
from typing import Literal

from common.errors import ConfigurationError
from common.security.checks import check_number
from common.security.multi_photon import both_ports_probability, cross_probability

STATES = ("Z0", "Z1", "X0")
"""What Alice sends, in the order of the rows of ``BlockCounts.table``."""

_ROUNDING = 1e-12
"""Half-width added to every sine and cosine of a measured angle."""

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class QubitStates:
    """The three states as pure qubit states in one plane of the Bloch sphere.

    Attributes
    ----------
    angles : tuple[float, float, float]
        Angle from Z0 of the states Z0, Z1, X0 on the Bloch sphere, radians; ideally 0, pi, pi/2 (on the Poincaré sphere: twice the
        angle of a linear polarisation).
    uncertainty : float
        Every angle of every pulse lies within this of the given one, radians. It may vary from pulse to pulse, as long as no pulse
        depends on the settings of others.

    Raises
    ------
    ConfigurationError
        If an angle is no number, the uncertainty is negative, or the states may lie on one line.
    """

    angles: tuple[float, float, float] = (0.0, pi, pi / 2.0)
    uncertainty: float = 0.0

    def __post_init__(self) -> None:
        for angle in self.angles:
            check_number("state angle", angle, -2.0 * pi, 2.0 * pi)
        check_number("state uncertainty", self.uncertainty, 0.0, pi / 4.0)
        low, high = self._determinant()
        if low <= 0.0 <= high:
            raise ConfigurationError(f"state angles {self.angles}, uncertainty {self.uncertainty}: the three states may lie on one line")

    @property
    def is_ideal(self) -> bool:
        """Whether these are exactly the states of the textbook."""
        return self.angles == (0.0, pi, pi / 2.0) and self.uncertainty == 0.0

    def coefficients(self, sign: Literal[1, -1]) -> tuple[Interval, Interval, Interval]:
        """Write the state sent with Alice's virtual X outcome as a combination of the three states.

        Parameters
        ----------
        sign : int
            1 for the outcome +, -1 for -.

        Returns
        -------
        tuple of three (low, high)
            Bounds of the coefficients of Z0, Z1, X0; the state has the probability of the outcome, about 1/2, as its trace.
        """
        plus = self._plus()
        if sign == 1:
            return plus
        half = (0.5, 0.5, 0.0)  # both outcomes together are an even mixture of Z0 and Z1
        return tuple((share - high, share - low) for share, (low, high) in zip(half, plus, strict=True))  # type: ignore[return-value]

    def _plus(self) -> tuple[Interval, Interval, Interval]:
        """Solve for (Z0 + Z1)/4 + G/4 with G = |Z0><Z1| + |Z1><Z0|, by Cramer's rule in intervals."""
        if self.is_ideal:
            return (0.0, 0.0), (0.0, 0.0), (0.5, 0.5)
        zero, one = self.angles[0] / 2.0, self.angles[1] / 2.0
        # all three components of G/2 in the basis (identity, Z, X); half angles vary by half the uncertainty each
        goal = (_cosine(one - zero, self.uncertainty), _cosine(one + zero, self.uncertainty), _sine(one + zero, self.uncertainty))
        rows = self._rows()
        below = _determinant(rows)
        found = []
        for column in range(3):
            replaced = [[goal[row] if entry == column else rows[row][entry] for entry in range(3)] for row in range(3)]
            low, high = _times((0.5, 0.5), _over(_determinant(replaced), below))
            share = 0.25 if column < 2 else 0.0
            found.append((share + low - _ROUNDING, share + high + _ROUNDING))
        return found[0], found[1], found[2]

    def _rows(self) -> list[list[Interval]]:
        width = self.uncertainty
        return [
            [(1.0, 1.0)] * 3,
            [_cosine(angle, width) for angle in self.angles],
            [_sine(angle, width) for angle in self.angles],
        ]

    def _determinant(self) -> Interval:
        return _determinant(self._rows())


@dataclass(frozen=True, slots=True)
class ThreeStateSetting:
    """What is fixed before a block begins.

    Attributes
    ----------
    probability_multi_photon : float
        Bound of the probability of two photons or more in a pulse, given all earlier pulses; 0 where decoys bound them.
    probability_z_alice, probability_z_bob : float
        Probability that Alice sends Z0 or Z1 (half each), and that Bob measures a photon in Z.
    basis_choice : str
        ``passive`` (a beam splitter chooses) or ``active``.
    test_fraction_z : float
        Share of the Z bits that is disclosed; all clicks in X are.
    maximum_frames : int
        Frames a block can have at most.
    states : QubitStates
        As measured, or the ideal ones.
    windows_share_ports : bool
        Whether both bases are read on the same detectors at different times, as with time bins; then every second click of a slot counts
        as a cross click.
    probability_excess_noise : float
        Probability that a pulse meets a noise click in Z beyond those which Z has in common with X.

    Raises
    ------
    ConfigurationError
        If a value is out of range; the message names it.
    """

    probability_multi_photon: float
    probability_z_alice: float
    probability_z_bob: float
    basis_choice: Literal["passive", "active"]
    test_fraction_z: float
    maximum_frames: int
    states: QubitStates = field(default_factory=QubitStates)
    windows_share_ports: bool = False
    probability_excess_noise: float = 0.0

    def __post_init__(self) -> None:
        check_number("probability_excess_noise", self.probability_excess_noise, 0.0, 1.0)
        check_number("probability_multi_photon", self.probability_multi_photon, 0.0, 1.0)
        check_number("test_fraction_z", self.test_fraction_z, 0.0, 1.0)
        for name in ("probability_z_alice", "probability_z_bob"):
            check_number(name, getattr(self, name), 0.0, 1.0, open_ends=True)
        if self.basis_choice not in {"passive", "active"}:
            raise ConfigurationError(f"basis_choice = {self.basis_choice!r} is passive or active")
        if self.maximum_frames < 1:
            raise ConfigurationError(f"maximum_frames = {self.maximum_frames}: a block has at least one frame")

    @property
    def least_cross_probability(self) -> float:
        """Least probability that a slot with several photons at Bob is counted as a cross click, in a passive receiver."""
        found = both_ports_probability if self.windows_share_ports else cross_probability
        return found(self.probability_z_bob)

    @property
    def probability_noisy_key(self) -> float:
        """Probability that a pulse meets excess noise and may become a key bit."""
        return self.probability_z_alice * (1.0 - self.test_fraction_z) * self.probability_excess_noise

    def probability_of_state(self, state: str) -> float:
        """Probability that Alice sends ``state``."""
        return 1.0 - self.probability_z_alice if state == "X0" else 0.5 * self.probability_z_alice

    def weights(self) -> dict[float, tuple[tuple[str, int], ...]]:
        """Write the probability of a phase error in a key round as a combination of probabilities of what is counted.

        Returns
        -------
        dict[float, tuple of (state, outcome)]
            Classes of clicks (Alice's state, Bob's X bit) by the weight they count with, largest first; those of equal weight are
            counted together, those of weight 0 left out. A weight of an uncertain state is the largest it may have.
        """
        key = self.probability_z_alice * self.probability_z_bob * (1.0 - self.test_fraction_z)
        grouped: dict[float, list[tuple[str, int]]] = {}
        for sign, outcome in ((1, 1), (-1, 0)):  # a virtual + should have given 0
            for state, (_, high) in zip(STATES, self.states.coefficients(sign), strict=True):  # type: ignore[arg-type]
                weight = key * high / (self.probability_of_state(state) * (1.0 - self.probability_z_bob))
                if weight != 0.0:
                    grouped.setdefault(weight, []).append((state, outcome))
        return {weight: tuple(grouped[weight]) for weight in sorted(grouped, reverse=True)}


def _sine(angle: float, width: float) -> Interval:
    """Bounds of the sine within ``width`` of the angle: its slope is at most 1."""
    middle = sin(angle)
    return max(-1.0, middle - width - _ROUNDING), min(1.0, middle + width + _ROUNDING)


def _cosine(angle: float, width: float) -> Interval:
    return _sine(angle + pi / 2.0, width)


def _times(one: Interval, other: Interval) -> Interval:
    products = [a * b for a in one for b in other]
    return min(products), max(products)


def _minus(one: Interval, other: Interval) -> Interval:
    return one[0] - other[1], one[1] - other[0]


def _plus(one: Interval, other: Interval) -> Interval:
    return one[0] + other[0], one[1] + other[1]


def _over(one: Interval, other: Interval) -> Interval:
    return _times(one, (1.0 / other[1], 1.0 / other[0]))


def _determinant(rows: list[list[Interval]]) -> Interval:
    def minor(first: int, second: int) -> Interval:
        return _minus(_times(rows[1][first], rows[2][second]), _times(rows[1][second], rows[2][first]))

    total = _minus(_times(rows[0][0], minor(1, 2)), _times(rows[0][1], minor(0, 2)))
    return _plus(total, _times(rows[0][2], minor(0, 1)))
