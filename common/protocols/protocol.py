"""Protocols as data.

A setting is what Alice prepared, an outcome what Bob saw; both are numbered, basis first. Everything that
distinguishes one protocol from another is in these records, so that sifting, disclosure and the counts read them
instead of asking which protocol runs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from common.errors import ConfigurationError

OUTCOMES = ("Z0", "Z1", "X0", "X1")
"""Outcomes of a detection; the code is the index, its second bit the basis (0 for Z), its lowest bit the key bit."""

OUTCOME_ANGLES_DEG = (0.0, 180.0, 90.0, 270.0)
"""Angles on the Bloch sphere that the outcomes stand for, and the settings of the same names."""

INTENSITIES = ("signal", "decoy", "vacuum")
"""Names of the intensities of weak coherent light, brightest first; the last one need not be quite dark."""


@dataclass(frozen=True, slots=True)
class Protocol:
    """One protocol.

    Attributes
    ----------
    name : str
        As in the link profile.
    settings : tuple[str, ...]
        What Alice may prepare; the index is the code in the emission record.
    setting_bases, setting_bits : tuple[int, ...]
        Basis (0 for Z, 1 for X) and key bit of each setting.
    source : str
        Kind of source it is made for: ``single-photon``, or ``weak-coherent`` light of several intensities.
    counts_all_x : bool
        Whether every click in X is disclosed, whatever was sent; otherwise only rounds in matching bases are of use.
    setting_intensities : tuple[int, ...]
        Intensity of each setting, index into ``INTENSITIES``.
    """

    name: str
    settings: tuple[str, ...]
    setting_bases: tuple[int, ...]
    setting_bits: tuple[int, ...]
    source: Literal["single-photon", "weak-coherent"]
    counts_all_x: bool = False
    setting_intensities: tuple[int, ...] = (0, 0, 0, 0)

    @property
    def count_intensities(self) -> int:
        """How many intensities the settings tell apart."""
        return max(self.setting_intensities) + 1

    def with_intensities(self, count: int) -> Protocol:
        """Return the protocol with settings that name state and intensity, as the emission record of such light does.

        Parameters
        ----------
        count : int
            Intensities; up to 1 leaves the settings as they are.

        Returns
        -------
        Protocol
            Settings like ``Z0/signal``, intensity by intensity within each state.
        """
        if count <= 1:
            return self
        named = INTENSITIES[:count]
        return replace(
            self,
            settings=tuple(f"{state}/{intensity}" for state in self.settings for intensity in named),
            setting_bases=tuple(basis for basis in self.setting_bases for _ in named),
            setting_bits=tuple(bit for bit in self.setting_bits for _ in named),
            setting_intensities=tuple(index for _ in self.settings for index in range(len(named))),
        )

    def probabilities(self, probability_z: float, probability_intensity: tuple[float, ...] = (1.0,)) -> tuple[float, ...]:
        """Return how often each setting is sent: states of a basis equally often, intensities apart from them.

        Parameters
        ----------
        probability_z : float
            Probability that Alice prepares in Z.
        probability_intensity : tuple[float, ...]
            Probability of each intensity.

        Returns
        -------
        tuple[float, ...]
            One for each setting.
        """
        in_basis = probability_z, 1.0 - probability_z
        chances = [probability_intensity[intensity] for intensity in self.setting_intensities]
        shares = [sum(chance for chance, other in zip(chances, self.setting_bases, strict=True) if other == basis) for basis in (0, 1)]
        return tuple(in_basis[basis] * chance / shares[basis] for basis, chance in zip(self.setting_bases, chances, strict=True))

    def bases_of(self, settings: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the basis of each setting: uint8[n] of codes in, uint8[n] of 0 and 1 out."""
        return np.array(self.setting_bases, np.uint8)[settings]

    def bits_of(self, settings: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the key bit of each setting: uint8[n] of codes in, uint8[n] of 0 and 1 out."""
        return np.array(self.setting_bits, np.uint8)[settings]


BB84 = Protocol(
    name="bb84",
    settings=("Z0", "Z1", "X0", "X1"),
    setting_bases=(0, 0, 1, 1),
    setting_bits=(0, 1, 0, 1),
    source="single-photon",
)
"""Four states in two bases [Bennett1984]."""

THREE_STATE = Protocol(
    name="three-state",
    settings=("Z0", "Z1", "X0"),
    setting_bases=(0, 0, 1),
    setting_bits=(0, 1, 0),
    source="single-photon",
    counts_all_x=True,
    setting_intensities=(0, 0, 0),
)
"""Two states for the key, one for the test; all clicks in X count, whatever was sent [Tamaki2014]."""

BB84_DECOY = replace(BB84, name="bb84-decoy", source="weak-coherent")
"""BB84 with laser light of two or three intensities, each chosen apart from basis and bit [Lim2014]."""

THREE_STATE_DECOY = replace(THREE_STATE, name="three-state-decoy", source="weak-coherent")
"""The three states with laser light of three intensities."""

_PROTOCOLS = {protocol.name: protocol for protocol in (BB84, THREE_STATE, BB84_DECOY, THREE_STATE_DECOY)}


def find_protocol(name: str) -> Protocol:
    """Look a protocol up.

    Parameters
    ----------
    name : str
        As in the link profile.

    Returns
    -------
    Protocol
        Its record.

    Raises
    ------
    ConfigurationError
        If there is none of this name.
    """
    try:
        return _PROTOCOLS[name]
    except KeyError:
        raise ConfigurationError(f"protocol {name!r}: unknown; choose one of {', '.join(sorted(_PROTOCOLS))}") from None
