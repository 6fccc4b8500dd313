"""Protocols as data.

A setting is what Alice prepared, an outcome what Bob saw; both are numbered, basis first. Everything that
distinguishes one protocol from another is in these records, so that sifting, disclosure and the counts read them
instead of asking which protocol runs.
"""

from __future__ import annotations

from dataclasses import dataclass

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
    proof : str
        The proof that bounds its key length.
    """

    name: str
    settings: tuple[str, ...]
    setting_bases: tuple[int, ...]
    setting_bits: tuple[int, ...]
    proof: str

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
    proof="bb84-single-photon",
)
"""Four states in two bases [Bennett1984]."""

_PROTOCOLS = {protocol.name: protocol for protocol in (BB84,)}


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
