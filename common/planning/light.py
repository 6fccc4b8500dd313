"""What leaves Alice: photon number statistics of a pulse, and how often each is sent.

Comes from a profile's source; ``clicks`` asks for the probability of a detection, ``dead_time`` for the correlation of detections.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import exp, expm1
from typing import TYPE_CHECKING

import numpy as np

from common.errors import ConfigurationError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from common.profiles.link import Source


@dataclass(frozen=True, slots=True)
class Light:
    """Photon numbers of the pulses of one intensity.

    Attributes
    ----------
    mean : float
        Mean photon number in the channel.
    pairs : float | None
        Probability of two photons where there are never more; None for phase-randomised laser light.
    probability : float
        Of sending this intensity.
    """

    mean: float
    pairs: float | None
    probability: float = 1.0

    def detected(self, transmission: NDArray[np.float64]) -> NDArray[np.float64]:
        """Probability that a photon at least takes a way of this ``transmission``: 1 minus the generating function at 1 minus it."""
        if self.pairs is None:
            return np.asarray(-np.expm1(-self.mean * transmission))
        return self.mean * transmission - self.pairs * transmission**2

    @property
    def probability_multi_photon(self) -> float:
        """Probability of two photons or more."""
        return -expm1(-self.mean) - self.mean * exp(-self.mean) if self.pairs is None else self.pairs

    @property
    def darkness(self) -> Light:
        """The same source while it is dark."""
        return replace(self, mean=0.0, pairs=0.0)


def light_of(source: Source) -> tuple[Light, ...]:
    """Return the light of a source, by intensity; a blinking one while it is bright.

    Parameters
    ----------
    source : Source
        The profile's source.

    Returns
    -------
    tuple[Light, ...]
        One for a single-photon source.

    Raises
    ------
    ConfigurationError
        If no statistics with at most two photons has the mean photon number and g2 of a single-photon source.

    References
    ----------
    ``mu = <n> eta_T a / beta``, ``p_2 = g2 mu^2 / 2``, ``p_1 = mu - 2 p_2``; status: planning.
    """
    if source.kind == "weak-coherent":
        pairs = zip(source.intensities, source.probability_intensity, strict=True)
        return tuple(Light(mean, None, probability) for mean, probability in pairs)
    mean = source.mean_photon_number * source.transmitter_efficiency * source.pre_attenuation / source.on_fraction
    two = source.g2 * mean**2 / 2.0
    if mean < 2.0 * two or mean - two > 1.0:
        raise ConfigurationError(
            f"source: mean photon number {mean:.4g} while bright and g2 {source.g2:.4g} need more than two photons a pulse;"
            " lower source.mean_photon_number or source.g2, or raise source.on_fraction"
        )
    return (Light(mean, two),)
