"""What the clicks of Bob's receiver mean: which of them belong to which outcome, and what a round with several of them says.

With polarisation both detectors of one basis become a random bit, and detectors of both bases make a cross click. With time bins two
detectors, the ports of the interferometer, are open in three windows, and *any* second click makes a cross click, also one between the
windows: bright light would make both ports click early and hide that it would have clicked in the middle too
(``docs/explanation/multi-photons``). Names of channels come from the recording or the stream; ``detection`` and ``gating`` read by what
comes out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from bob.kernels import CROSS, FLAG_DOUBLE, NO_ROUND, NOT_A_DETECTOR
from common.errors import ConfigurationError
from common.protocols.encoding import ENCODINGS, TIME_BIN

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from common.profiles.link import LinkProfile

OUTCOME_OF_DETECTOR = {"H": 0, "V": 1, "D": 2, "A": 3, "R": 2, "L": 3}
"""Outcome code of each polarisation detector: H V are Z0 Z1; D A, or R L in their place, are X0 X1."""

DETECTORS = (*OUTCOME_OF_DETECTOR, *TIME_BIN.detectors)
"""Names of all detectors there are."""

_POLARISATION_OUTCOMES = (0, 0, 1, 0, 2, CROSS, CROSS, CROSS, 3, CROSS, CROSS, CROSS, 2, CROSS, CROSS, CROSS)
_POLARISATION_FLAGS = (0, 0, 0, FLAG_DOUBLE, 0, 0, 0, 0, 0, 0, 0, 0, FLAG_DOUBLE, 0, 0, 0)
"""Verdict and flags of a round by the set of outcomes that clicked, Z0 the lowest bit; the bit of a double is drawn afterwards."""


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """How rounds are read.

    Attributes
    ----------
    click_of_channel : uint8[windows, 256]
        Number of a click by window and channel, or ``NOT_A_DETECTOR``.
    outcome_of_pattern, flags_of_pattern : uint8[2^clicks], with several windows uint8[2^(clicks + 1)]
        Verdict on a round by the set of its clicks, and its flags; with several windows the highest bit stands for clicks between them.
    pitch_ps : float, picoseconds
        From one window to the next; 0 where there is one.
    """

    click_of_channel: NDArray[np.uint8]
    outcome_of_pattern: NDArray[np.uint8]
    flags_of_pattern: NDArray[np.uint8]
    pitch_ps: float = 0.0

    @classmethod
    def of(cls, profile: LinkProfile, channels: Mapping[str, int]) -> Self:
        """Read the channels of a link's receiver.

        Parameters
        ----------
        profile : LinkProfile
            Encoding, and distance of its time bins.
        channels : mapping of str to int
            Channel number by name.

        Returns
        -------
        Reading
            By the rules of the encoding.

        Raises
        ------
        ConfigurationError
            If the names do not fit.
        """
        if len(ENCODINGS[profile.encoding].windows) == 1:
            return cls.of_polarisation(channels)
        return cls.of_time_bins(channels, profile.receiver.time_bin_separation_ps)

    @classmethod
    def of_polarisation(cls, channels: Mapping[str, int]) -> Self:
        """Read polarisation detectors.

        Parameters
        ----------
        channels : mapping of str to int
            ``H V D A`` or ``H V R L``, and names that are no detectors.

        Returns
        -------
        Reading
            One window.

        Raises
        ------
        ConfigurationError
            As in ``outcomes_by_channel``.
        """
        clicks = outcomes_by_channel(channels)[np.newaxis]
        return cls(clicks, np.array(_POLARISATION_OUTCOMES, np.uint8), np.array(_POLARISATION_FLAGS, np.uint8))

    @classmethod
    def of_time_bins(cls, channels: Mapping[str, int], separation_ps: float) -> Self:
        """Read the ports of an interferometer.

        Parameters
        ----------
        channels : mapping of str to int
            ``P`` and ``M``, and names that are no detectors.
        separation_ps : float, picoseconds
            From one time bin to the next.

        Returns
        -------
        Reading
            Three windows.

        Raises
        ------
        ConfigurationError
            If a port is missing, has a number out of range, or both have the same.
        """
        count_windows, ports = len(TIME_BIN.windows), TIME_BIN.detectors
        numbers = [channels.get(name, -1) for name in ports]
        if len(set(numbers)) != len(ports) or not all(0 <= number < 256 for number in numbers):
            raise ConfigurationError(
                f"channels: {dict(channels)} must name the interferometer's ports {' and '.join(ports)} by two numbers from 0 to 255"
            )
        clicks = np.full((count_windows, 256), NOT_A_DETECTOR, np.uint8)
        between_gates = 1 << count_windows * len(ports)
        verdicts = np.full(2 * between_gates, CROSS, np.uint8)
        verdicts[between_gates] = NO_ROUND
        for window, outcomes in enumerate(TIME_BIN.outcomes):
            for port, outcome in enumerate(outcomes):
                click = window * len(ports) + port
                clicks[window, numbers[port]] = click
                verdicts[1 << click] = outcome
        return cls(clicks, verdicts, np.zeros_like(verdicts), separation_ps)

    @property
    def row_of_channel(self) -> NDArray[np.uint8]:
        """Row of each channel in a histogram of detectors, uint8[256], or ``NOT_A_DETECTOR``."""
        return np.asarray(self.click_of_channel[0])


def outcomes_by_channel(channels: Mapping[str, int]) -> NDArray[np.uint8]:
    """Outcome code of every channel number.

    Parameters
    ----------
    channels : mapping of str to int
        Channel number by name: ``H V D A`` or ``H V R L``, and names that are no detectors.

    Returns
    -------
    uint8[256]
        Code 0 to 3, or ``NOT_A_DETECTOR``.

    Raises
    ------
    ConfigurationError
        If no name is a detector's, a number is out of range, or two detectors share a number or an outcome.
    """
    outcomes = np.full(256, NOT_A_DETECTOR, np.uint8)
    taken: dict[int, str] = {}
    for name, number in channels.items():
        if name not in OUTCOME_OF_DETECTOR:
            continue
        if not 0 <= number < 256:
            raise ConfigurationError(f"channels: {name} has number {number}; a channel number is 0 to 255")
        code = OUTCOME_OF_DETECTOR[name]
        if outcomes[number] != NOT_A_DETECTOR:
            raise ConfigurationError(f"channels: {name} shares number {number} with another detector")
        if code in taken:
            raise ConfigurationError(f"channels: {name} and {taken[code]} are detectors of the same outcome; name D A or R L, not both")
        outcomes[number] = code
        taken[code] = name
    if not taken:
        raise ConfigurationError(f"channels: none of {', '.join(channels) or 'no names'} is a polarisation detector (H V D A, or H V R L)")
    return outcomes
