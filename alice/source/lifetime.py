"""Lifetime of a pulsed emitter: an exponential decay, seen through an instrument and repeated with every pulse, fitted to arrival phases.

Everything repeats with the pulse period, so the decay and the instrument's response are Fourier series, and the decay as it is seen is
their product: no grid of a convolution, and light that outlasts a period is where it belongs. The response is a Gaussian of known or
fitted width, or a measured one (the laser itself, recorded with the same detector). Phases come from a pulse clock or from a T3
recording; the result goes to the report and, as ``source.lifetime_ps``, into a link profile.

References
----------
O'Connor and Phillips 1984, Time-correlated Single Photon Counting, ch. 6 (reconvolution). Status: planning (an estimate with its
standard deviation).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from alice.source.fitting import fit_counts
from common.errors import StreamError

if TYPE_CHECKING:
    from numpy.typing import NDArray

BINS: Final = 512
"""Bins of the histogram over a pulse period."""

HARMONICS: Final = 4 * BINS
"""Harmonics of the series: four to a bin, so that the decay's sharp rise does not ring."""

CLEAR_DECAY: Final = 60.0
"""Deviance a decay must explain: steady light reaches it once in a million times, with the best of five parameters."""

FEWEST_ARRIVALS: Final = 1000
"""Arrivals below which no fit is tried."""

FWHM_PER_SIGMA: Final = 2.0 * math.sqrt(2.0 * math.log(2.0))
"""Full width at half maximum of a Gaussian, in standard deviations."""

_LEAD: Final = 0.25
"""Where the histogram's highest bin is put, in periods, so that the rise is not cut in two."""


@dataclass(frozen=True, slots=True, eq=False)
class Decay:
    """A decay as it was seen, and what was fitted to it.

    Attributes
    ----------
    lifetime_ps, lifetime_uncertainty_ps : float
        Time constant of the exponential, and one standard deviation.
    instrument_fwhm_ps : float | None
        Full width at half maximum of the Gaussian response; None where a measured one was used.
    instrument_fitted : bool
        Whether that width was fitted too, for lack of a measured one.
    background_ratio : float
        Share of the arrivals that is spread evenly.
    deviance_ratio : float
        About 1 where one exponential describes the data; above, the uncertainty has been widened.
    bin_ps : float
        Width of a bin.
    counts : int64[BINS]
        Arrivals by phase, highest bin a quarter of a period after the first.
    expected : float64[BINS]
        The fit.
    """

    lifetime_ps: float
    lifetime_uncertainty_ps: float
    instrument_fwhm_ps: float | None
    instrument_fitted: bool
    background_ratio: float
    deviance_ratio: float
    bin_ps: float
    counts: NDArray[np.int64]
    expected: NDArray[np.float64]


def fit_decay(
    phase_ps: NDArray[np.float64],
    period_ps: float,
    *,
    instrument_fwhm_ps: float | None = None,
    response_ps: NDArray[np.float64] | None = None,
) -> Decay:
    """Fit the decay of one emitter.

    Parameters
    ----------
    phase_ps : float64[n]
        Arrival times within the period, from any origin, picoseconds.
    period_ps : float
        Pulse period, picoseconds.
    instrument_fwhm_ps : float | None
        Width of a Gaussian response; fitted too where neither this nor ``response_ps`` is given.
    response_ps : float64[m] | None
        Arrival times of the laser itself at the same detector, picoseconds.

    Returns
    -------
    Decay
        The fit.

    Raises
    ------
    StreamError
        If there are too few arrivals, or they show no decay.
    """
    if phase_ps.size < FEWEST_ARRIVALS or (response_ps is not None and response_ps.size < FEWEST_ARRIVALS):
        raise StreamError(f"too few arrivals to fit a lifetime: {FEWEST_ARRIVALS} are needed, in the response too")
    counts, bin_ps = _histogram(phase_ps, period_ps), period_ps / BINS
    omega = np.asarray(2.0 * math.pi * np.arange(HARMONICS + 1) / period_ps, np.float64)
    shape = None if response_ps is None else _characteristic(response_ps, period_ps, omega)
    fixed_sigma_ps = None if instrument_fwhm_ps is None or shape is not None else instrument_fwhm_ps / FWHM_PER_SIGMA
    free_sigma = shape is None and fixed_sigma_ps is None
    binned = np.sinc(np.arange(HARMONICS + 1) / BINS) * np.exp(-0.5j * omega * bin_ps)

    def model(parameters: NDArray[np.float64]) -> NDArray[np.float64]:
        signal, background, lifetime_ps, rise_ps = parameters[:4]
        sigma_ps = float(parameters[4]) if free_sigma else fixed_sigma_ps or 0.0
        instrument = np.exp(-0.5 * (omega * sigma_ps) ** 2) if shape is None else shape
        series = instrument * np.exp(-1j * omega * rise_ps) / (1.0 + 1j * omega * lifetime_ps) * binned.conj()
        return np.asarray(np.maximum(signal * _evaluated(series) + background / BINS, 1e-9 * counts.sum() / BINS))

    lowest = float(np.sort(counts)[: BINS // 10].mean()) * BINS
    mean_ps = max(bin_ps, float(np.clip((counts - lowest / BINS), 0, None).sum()) / max(1.0, float(counts.max()) - lowest / BINS) * bin_ps)
    start = (max(1.0, counts.sum() - lowest), max(1.0, lowest), 0.7 * mean_ps, _LEAD * period_ps) + ((0.4 * mean_ps,) if free_sigma else ())
    fit = fit_counts(model, start, counts)
    signal, background, lifetime_ps = fit.values[:3]
    expected = model(np.array(fit.values))
    # deviance that the decay explains and steady light does not
    gained = 2.0 * float((counts * np.log(expected / counts.mean()) - expected + counts.mean()).sum())
    if not lifetime_ps < 100.0 * period_ps or gained < CLEAR_DECAY:
        raise StreamError("the arrivals show no decay within the pulse period: is this the pulse rate, and was the source pulsed?")
    sigma_ps = fit.values[4] if free_sigma else fixed_sigma_ps
    return Decay(
        lifetime_ps=lifetime_ps,
        lifetime_uncertainty_ps=fit.uncertainties[2],
        instrument_fwhm_ps=None if sigma_ps is None else sigma_ps * FWHM_PER_SIGMA,
        instrument_fitted=free_sigma,
        background_ratio=background / (signal + background),
        deviance_ratio=fit.deviance_ratio,
        bin_ps=bin_ps,
        counts=counts,
        expected=expected,
    )


def _histogram(phase_ps: NDArray[np.float64], period_ps: float) -> NDArray[np.int64]:
    counts = np.bincount((np.mod(phase_ps / period_ps, 1.0) * BINS).astype(np.int64) % BINS, minlength=BINS)
    smoothed = np.fft.irfft(np.fft.rfft(counts) * np.exp(-0.5 * (np.arange(BINS // 2 + 1) / (BINS / 16)) ** 2), BINS)
    return np.roll(counts, int(_LEAD * BINS) - int(smoothed.argmax()))


def _characteristic(response_ps: NDArray[np.float64], period_ps: float, omega: NDArray[np.float64]) -> NDArray[np.complex128]:
    """Fourier series of the measured response, its origin at its highest bin; harmonics that its bins cannot show are zero."""
    counts = _histogram(response_ps, period_ps)
    counts = np.roll(counts, -int(_LEAD * BINS))
    series = np.zeros(omega.size, np.complex128)
    series[: BINS // 2] = (np.fft.rfft(counts) / counts.sum())[: BINS // 2]
    return series


def _evaluated(series: NDArray[np.complex128]) -> NDArray[np.float64]:
    """Share of each bin of a density whose Fourier series is given: harmonics beyond the bins' own fold back onto them."""
    folded = np.zeros(BINS, np.complex128)
    harmonics = np.arange(series.size)
    np.add.at(folded, harmonics % BINS, series)
    np.add.at(folded, -harmonics[1:] % BINS, series[1:].conj())
    return np.asarray(np.fft.ifft(folded).real)
