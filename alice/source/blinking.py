"""Blinking: how long a source stays bright and dark, from how its coincidences fall with the delay.

While a source is bright, a photon now makes another soon more likely. Between two detectors the coincidences of neighbouring pulses
therefore stand above those of far delays, and fall to them as the source forgets its state. The height of the excess tells the share of
time the source is bright; the slope it starts with tells the mean bright time, whatever the law of switching, since a bright source
stays so for a short time t but for a share t over the mean bright time. The excess is fitted with one exponential, which it is for a
source that switches at random, and with two or three where one does not do; how well they fit is told with them.

Coincidences are counted in blocks of delays spaced by equal factors, the zero-delay peak left out. Slots come from a pulse clock, the
result goes to the report.

References
----------
Santori et al. 2004, New J. Phys. 6, 89, section 4 (blinking of pulsed quantum dots); Davanço et al. 2014, Phys. Rev. B 89, 161303.
Status: planning (an estimate with its standard deviation).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from alice.source.correlation import FAR_DELAYS_S, count_coincidences
from alice.source.fitting import Fit, fit_counts
from common.errors import StreamError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

DELAYS: Final = 60
"""Delays at which the envelope is looked at."""

BLOCK_SHARE: Final = 0.1
"""Width of a block of delays over its delay."""

MOST_PAIRS: Final = 200_000
"""Coincidences of a block at far delays: more would not tell more than 0.2 %, and take time."""


GOOD_ENOUGH: Final = 2.0
"""Deviance ratio below which no further exponential is tried."""

MOST_EXPONENTIALS: Final = 3
"""Time scales of switching that are told apart."""


@dataclass(frozen=True, slots=True, eq=False)
class Blinking:
    """How a source switches.

    Attributes
    ----------
    on_fraction, on_fraction_uncertainty : float
        Share of time the source is bright, and one standard deviation; 1 where nothing shows that it blinks.
    correlation_ns, correlation_uncertainty_ns : tuple[float, ...]
        Time constants of the excess, nanoseconds, and one standard deviation of each; empty where it does not blink.
    excess : tuple[float, ...]
        Height of the excess that decays with each.
    bright_ns, dark_ns : float | None
        Mean bright and dark times, nanoseconds; None where it does not blink.
    deviance_ratio : float
        About 1 where the exponentials describe the envelope; above also where the recording is so bright that the chance in the
        switching itself, and not that in the counts, decides.
    delay_ns : float64[k]
        Delays.
    level : float64[k]
        Coincidences over those of far delays.
    level_uncertainty : float64[k]
        One standard deviation of each.
    fitted : float64[k]
        The fit.
    """

    on_fraction: float
    on_fraction_uncertainty: float
    correlation_ns: tuple[float, ...]
    correlation_uncertainty_ns: tuple[float, ...]
    excess: tuple[float, ...]
    bright_ns: float | None
    dark_ns: float | None
    deviance_ratio: float
    delay_ns: NDArray[np.float64]
    level: NDArray[np.float64]
    level_uncertainty: NDArray[np.float64]
    fitted: NDArray[np.float64]


def measure_blinking(first: NDArray[np.int64], second: NDArray[np.int64], clock_hz: float, skew_slots: int) -> Blinking:
    """Measure the envelope of the coincidences of two detectors.

    Parameters
    ----------
    first, second : int64[n], int64[m]
        Slots of the arrivals at each detector, ascending.
    clock_hz : float
        Pulses a second.
    skew_slots : int
        Whole slots by which the second detector lags.

    Returns
    -------
    Blinking
        Values with their uncertainties.

    Raises
    ------
    StreamError
        If the coincidences do not determine the envelope.
    """
    span = int(min(first[-1] - first[0], second[-1] - second[0]))
    longest = min(max(FAR_DELAYS_S) * clock_hz, 0.25 * span)
    delays = np.unique(np.rint(np.geomspace(1.0, longest, DELAYS)).astype(np.int64))
    pairs_a_slot = max(1e-9, first.size * second.size / span)
    widths = np.clip((BLOCK_SHARE * delays).astype(np.int64), 1, max(1, int(MOST_PAIRS / pairs_a_slot)))
    counts = np.empty(delays.size, np.int64)
    exposure = np.empty(delays.size, np.float64)
    for index, (delay, width) in enumerate(zip(delays, widths, strict=True)):
        both = [
            count_coincidences(first, second, start, int(width)) for start in (skew_slots + int(delay), skew_slots - int(delay + width) + 1)
        ]
        counts[index] = sum(int(part.sum()) for part in both)
        exposure[index] = 2.0 * width * (1.0 - (delay + width / 2.0) / span)  # the recording ends, so long delays have fewer chances
    delay_s = (delays + (widths - 1) / 2.0) / clock_hz

    def model(parameters: NDArray[np.float64]) -> NDArray[np.float64]:
        excess = sum(height * np.exp(-delay_s / time_s) for height, time_s in parameters[1:].reshape(-1, 2))
        return np.asarray(parameters[0] * exposure * (1.0 + excess))

    fit = _fit(model, _start(counts, exposure, delay_s), counts)
    level, excess, times_s = fit.values[0], fit.values[1::2], fit.values[2::2]
    # heights of several exponentials lean on each other, their sum is what the first delays say: the fit's share of their statistics
    height, spread = sum(excess), (1.0 + sum(excess)) * float(max(1.0, fit.deviance_ratio) / counts[: DELAYS // 4].sum()) ** 0.5
    blinks = height > 3.0 * spread
    on = 1.0 / (1.0 + height) if blinks else 1.0
    bright_ns = 1e9 * (1.0 + height) / sum(part / time_s for part, time_s in zip(excess, times_s, strict=True)) if blinks else None
    return Blinking(
        on_fraction=on,
        on_fraction_uncertainty=on * on * spread,
        correlation_ns=tuple(time_s * 1e9 for time_s in times_s) if blinks else (),
        correlation_uncertainty_ns=tuple(sigma_s * 1e9 for sigma_s in fit.uncertainties[2::2]) if blinks else (),
        excess=tuple(excess) if blinks else (),
        bright_ns=bright_ns,
        dark_ns=bright_ns * (1.0 - on) / on if bright_ns is not None else None,
        deviance_ratio=fit.deviance_ratio,
        delay_ns=delay_s * 1e9,
        level=counts / exposure / level,
        level_uncertainty=np.sqrt(np.maximum(counts, 1)) / exposure / level,
        fitted=model(np.array(fit.values)) / exposure / level,
    )


def _start(counts: NDArray[np.int64], exposure: NDArray[np.float64], delay_s: NDArray[np.float64]) -> tuple[float, float, float]:
    """Level of far delays, height of the excess, and where it has fallen to half."""
    rate, few = counts / exposure, max(3, counts.size // 6)
    far = max(float(counts[-few:].sum()), 1.0) / float(exposure[-few:].sum())
    height = max(1e-3, float(counts[:few].sum()) / float(exposure[:few].sum()) / far - 1.0)
    over = np.flatnonzero(rate > far * (1.0 + 0.5 * height))
    return far, height, float(delay_s[over[-1]]) if over.size else float(np.sqrt(delay_s[0] * delay_s[-1]))


def _fit(model: Callable[[NDArray[np.float64]], NDArray[np.float64]], start: tuple[float, float, float], counts: NDArray[np.int64]) -> Fit:
    """Fit one exponential, and more of them, a few times apart, while those there are do not do and another is better."""
    best = fit_counts(model, start, counts)
    level, height, time_s = best.values
    for terms in range(2, MOST_EXPONENTIALS + 1):
        if best.deviance_ratio < GOOD_ENOUGH:
            break
        apart = [4.0 ** (index - 0.5 * (terms - 1)) for index in range(terms)]
        try:
            tried = fit_counts(model, (level, *(value for factor in apart for value in (height / terms, factor * time_s))), counts)
        except StreamError:
            break
        if not tried.deviance_ratio < best.deviance_ratio:
            break
        best = tried
    return best
