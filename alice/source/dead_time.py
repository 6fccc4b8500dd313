"""Dead time of a detector, from how soon one click follows another.

The hazard (the rate of a next click at a given wait, among those that have waited so long) is zero while the detector is dead and its
plateau afterwards; right after the dead time it may stand above the plateau, which is afterpulsing, or climb to it slowly, as
superconducting nanowires do. Unlike the histogram of waits itself, it does not fall with the wait, so that the plateau is flat at
every rate. Taken piece by piece from a recording of any length; goes to the report and, as ``receiver.dead_time_ps``, into a profile.

References
----------
Knoll, Radiation Detection and Measurement, ch. 4, section VII (dead time, interval distributions). Status:
planning (estimates from counts).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from common.errors import StreamError

if TYPE_CHECKING:
    from numpy.typing import NDArray

BIN_PS: Final = 100
"""Width of a bin of waits, picoseconds."""

BINS: Final = 200_000
"""Bins: waits of up to 20 microseconds."""

FEWEST_WAITS: Final = 1000
"""Waits within the bins below which nothing is said."""

BLOCK_WAITS: Final = 200
"""Waits expected on the plateau in a block of bins that is looked at together: 7 % of spread."""

PLATEAU_FROM: Final = 0.5
"""The plateau is looked at behind so large a share of the waits that were counted."""


@dataclass(frozen=True, slots=True, eq=False)
class DeadTime:
    """How a detector comes back.

    Attributes
    ----------
    shortest_ps : int
        Shortest wait that was seen.
    dead_time_ps, dead_time_uncertainty_ps : float
        Wait at which the hazard steps up to its plateau, and half the width of where the step may as well be, at one standard deviation.
    plateau_hz : float
        Hazard on the plateau: the rate of clicks while the detector is alive.
    rate_hz : float
        Rate of clicks that was recorded.
    afterpulsing_probability, afterpulsing_uncertainty : float
        Clicks above the plateau between the step and the median wait, per click, and one standard deviation. Light that comes in bunches,
        as from a blinking source, counts in it.
    wait_ps, hazard_hz : float64[k]
        The hazard in blocks.
    """

    shortest_ps: int
    dead_time_ps: float
    dead_time_uncertainty_ps: float
    plateau_hz: float
    rate_hz: float
    afterpulsing_probability: float
    afterpulsing_uncertainty: float
    wait_ps: NDArray[np.float64]
    hazard_hz: NDArray[np.float64]


class WaitCounter:
    """Counts the waits of one detector, piece by piece."""

    def __init__(self) -> None:
        self._counts = np.zeros(BINS, np.int64)
        self._count_longer = 0
        self._shortest_ps: int | None = None
        self._first_ps: int | None = None
        self._last_ps: int | None = None
        self._count_clicks = 0

    def take(self, t_ps: NDArray[np.int64]) -> None:
        """Count the waits between clicks.

        Parameters
        ----------
        t_ps : int64[n]
            Times in order and behind those taken earlier, picoseconds.
        """
        if not t_ps.size:
            return
        waits = np.diff(t_ps) if self._last_ps is None else np.diff(t_ps, prepend=np.int64(self._last_ps))
        if waits.size:
            shortest = int(waits.min())
            self._shortest_ps = shortest if self._shortest_ps is None else min(self._shortest_ps, shortest)
            place = waits // BIN_PS
            self._counts += np.bincount(place[place < BINS], minlength=BINS)
            self._count_longer += int(np.count_nonzero(place >= BINS))
        self._first_ps = int(t_ps[0]) if self._first_ps is None else self._first_ps
        self._last_ps = int(t_ps[-1])
        self._count_clicks += int(t_ps.size)

    def result(self) -> DeadTime:
        """Compute what the waits say.

        Returns
        -------
        DeadTime
            Of the clicks taken.

        Raises
        ------
        StreamError
            If there are too few waits, or none behind a dead time.
        """
        within = int(self._counts.sum())
        if within < FEWEST_WAITS or self._shortest_ps is None or self._first_ps is None or self._last_ps is None:
            raise StreamError(
                f"dead time: {within} clicks follow within {BIN_PS * BINS * 1e-6:.0f} us of another, {FEWEST_WAITS} are needed: more light"
            )
        waiting = self._count_longer + within - (np.cumsum(self._counts) - self._counts)  # clicks whose wait is at least the bin's
        begin = int(np.searchsorted(np.cumsum(self._counts), PLATEAU_FROM * within))
        tail = slice(begin, None)
        plateau = float(self._counts[tail].sum()) / float(waiting[tail].sum())
        expected = plateau * np.cumsum(waiting)
        block = (expected / BLOCK_WAITS).astype(np.int64)
        seen = np.bincount(block, weights=self._counts)
        exposed = np.bincount(block, weights=waiting)
        middle = np.bincount(block, weights=np.arange(BINS) + 0.5) / np.bincount(block)
        width = np.bincount(block)
        used = exposed > 0
        hazard = seen[used] / exposed[used]
        risen = int(np.argmax(hazard >= 0.5 * plateau))
        end = int(middle[used][risen] + width[used][risen])
        dead_bins, half_width = _step(self._counts[max(0, end - 3 * int(width[used][risen])) : end])
        dead_bins += max(0, end - 3 * int(width[used][risen]))
        above = slice(int(dead_bins), begin)
        excess = float(self._counts[above].sum()) - plateau * float(waiting[above].sum())
        spread = (float(self._counts[above].sum()) + (plateau * float(waiting[above].sum())) ** 2 / float(self._counts[tail].sum())) ** 0.5
        return DeadTime(
            shortest_ps=self._shortest_ps,
            dead_time_ps=dead_bins * BIN_PS,
            dead_time_uncertainty_ps=half_width * BIN_PS,
            plateau_hz=plateau / (BIN_PS * 1e-12),
            rate_hz=(self._count_clicks - 1) / ((self._last_ps - self._first_ps) * 1e-12),
            afterpulsing_probability=excess / (within + self._count_longer),
            afterpulsing_uncertainty=spread / (within + self._count_longer),
            wait_ps=middle[used] * BIN_PS,
            hazard_hz=hazard / (BIN_PS * 1e-12),
        )


def _step(counts: NDArray[np.int64]) -> tuple[float, float]:
    """Place of a step in a rate, and half the width of where it may as well be: maximum of the Poisson likelihood of two rates."""
    places = np.arange(1, counts.size)
    before = np.cumsum(counts)[:-1].astype(np.float64)
    behind = float(counts.sum()) - before
    likelihood = _log_power(before, places) + _log_power(behind, counts.size - places)
    likelihood[behind / (counts.size - places) < before / places] = -np.inf  # the rate steps up
    good = np.flatnonzero(likelihood >= likelihood.max() - 0.5)
    return float(places[int(likelihood.argmax())]), max(0.5, 0.5 * float(good[-1] - good[0] + 1))


def _log_power(count: NDArray[np.float64], bins: NDArray[np.int64]) -> NDArray[np.float64]:
    """Logarithm of the likelihood of counts at their own mean rate, up to what does not depend on the step."""
    return np.where(count > 0.0, count * np.log(np.maximum(count, 1.0) / bins), 0.0)
