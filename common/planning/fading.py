"""A loss that fluctuates, as a few losses with weights.

The loss in decibels is normally distributed around the profile's; no fibre and no telescope amplifies, so what would be negative counts
as none. What is averaged over these losses are probabilities, never decibels. Serves ``link_model``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_REACH = 6.0
"""Standard deviations to either side; 2e-9 of the distribution lies beyond."""

_NODES = 121
"""Losses of a fading channel. The trapezoidal rule is exact to rounding for smooth integrands under a Gaussian from step 0.5 on."""


def fading(loss_db: float, sigma_db: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return losses of the channel and how often each of them holds.

    Parameters
    ----------
    loss_db, sigma_db : float
        Mean and standard deviation of the loss, decibels.

    Returns
    -------
    (float64[n], float64[n])
        Transmissions 10^(-loss/10), and weights that add up to 1; a single one without fading.

    References
    ----------
    Trapezoidal rule under a Gaussian; status: planning.
    """
    if sigma_db == 0.0:
        return np.array([10.0 ** (-loss_db / 10.0)]), np.ones(1)
    deviations = np.linspace(-_REACH, _REACH, _NODES)
    weights = np.exp(-0.5 * deviations**2)
    return 10.0 ** (-np.maximum(0.0, loss_db + sigma_db * deviations) / 10.0), weights / weights.sum()
