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
    """

    name: str
    settings: tuple[str, ...]
    setting_bases: tuple[int, ...]
    setting_bits: tuple[int, ...]
    source: Literal["single-photon", "weak-coherent"]

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
