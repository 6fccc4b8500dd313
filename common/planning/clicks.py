"""From light at the detectors to what Bob announces: which detectors click, and what becomes of every pattern of clicks.

A receiver is a list of detectors, with time bins one for each port and window; photons of a pulse find their way independently. The
generating function of the photon number then gives the probability that a set of detectors stays silent, inclusion and exclusion the
probability of each pattern, and the rules of the receiver its outcome: both bits of one basis become a fair coin, both bases a cross
click, and so does any second click where detectors are opened in several windows, be it between two of them. Nothing is neglected,
neither pairs nor coincidences with noise. Serves ``link_model``.

References
----------
``docs/explanation/link-model``; status: planning.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import inf
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from common.protocols.protocol import OUTCOMES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from common.planning.light import Light

CROSS = len(OUTCOMES)
"""Column of cross clicks, behind those of the outcomes."""

DOUBLE = CROSS + 1
"""Column of same-basis doubles; each of them stands in the columns of its outcomes as well, where its random bit puts it."""

BETWEEN = -1
"""In place of an outcome: a click between two gates of a slot, which says nothing by itself but is a second click beside another."""


@dataclass(frozen=True, slots=True)
class Detectors:
    """Detectors of one setting of the receiver; one that is opened in several windows is listed once for each.

    Attributes
    ----------
    outcome : tuple[int, ...]
        Outcome each announces, index into ``OUTCOMES``, or ``BETWEEN``.
    port : tuple[int, ...]
        The piece of hardware: windows of one port share its dead time.
    window : tuple[float, ...]
        Time bin in which each is opened: -1 early, 0 middle, 1 late; -0.5 and 0.5 between them.
    """

    outcome: tuple[int, ...]
    port: tuple[int, ...]
    window: tuple[float, ...]

    @property
    def is_between(self) -> NDArray[np.bool_]:
        """Which of them stand for a gap between two gates, bool[detectors]."""
        return np.asarray(np.array(self.outcome) == BETWEEN, np.bool_)

    @property
    def ports(self) -> NDArray[np.float64]:
        """Which detector is which port, float64[detectors, ports] of 0 and 1."""
        return np.asarray(np.array(self.port)[:, None] == np.unique(self.port), np.float64)


PASSIVE = Detectors((0, 1, 2, 3), (0, 1, 2, 3), (0, 0, 0, 0))
"""A beam splitter and a detector for every outcome."""

ACTIVE = tuple(Detectors((2 * basis, 2 * basis + 1), (0, 1), (0, 0)) for basis in (0, 1))
"""A modulator sets the basis Z or X; one detector for each bit."""

TIME_BINS = Detectors((0, 0, 1, 1, 2, 3), (0, 1, 0, 1, 0, 1), (-1, -1, 1, 1, 0, 0))
"""Two ports of one interferometer in three windows: outer ones are Z on either port, the middle one is X."""

TIME_BINS_AND_GAPS = Detectors(
    (*TIME_BINS.outcome, *[BETWEEN] * 4), (*TIME_BINS.port, 0, 1, 0, 1), (*TIME_BINS.window, -0.5, -0.5, 0.5, 0.5)
)
"""The same with gates that do not fill the bins: what clicks between them is seen, too."""


def announced(
    detectors: Detectors, light: Sequence[Light], efficiencies: NDArray[np.float64], noise: NDArray[np.float64], dead_windows: float
) -> NDArray[np.float64]:
    """Probability of every announcement while all ports are live.

    Parameters
    ----------
    detectors : Detectors
        The receiver.
    light : sequence of Light
        One for each intensity.
    efficiencies : float64[nodes, settings, detectors]
        Probability that one photon is detected there.
    noise : float64[nodes, detectors]
        Mean number of noise clicks there; Poissonian.
    dead_windows : float
        Dead time of a port in time bins: a click at once hides what follows on the same port within it.

    Returns
    -------
    float64[nodes, intensities, settings, 6]
        Outcomes Z0 Z1 X0 X1, cross clicks, and which of the outcomes were same-basis doubles.

    References
    ----------
    Inclusion and exclusion over P(none of S) = g(1 - sum of efficiencies) exp(-sum of noise); status: planning.
    """
    members, verdicts = _rules(detectors, min(dead_windows, 3.0))
    transmission = efficiencies @ members.T
    by_light = np.stack([pulse.detected(transmission) for pulse in light], axis=1)
    by_noise = -np.expm1(-(noise @ members.T))[:, None, None, :]
    any_click = by_light + by_noise - by_light * by_noise
    return np.maximum(0.0, any_click @ verdicts)


@lru_cache(maxsize=64)
def _rules(detectors: Detectors, dead_windows: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Subsets of the detectors (rows of 0 and 1), and what a click in each subset counts towards every announcement.

    P(exactly T) is the sum over U within T of (-1)^|U| P(none of U and of all outside T); clicks in place of silence change the sign.
    """
    count = len(detectors.outcome)
    members = np.array([[subset >> which & 1 for which in range(count)] for subset in range(1 << count)], np.float64)
    everything = (1 << count) - 1
    verdicts = np.zeros((1 << count, DOUBLE + 1))
    for pattern in range(1, 1 << count):
        verdict = _verdict(detectors, pattern, dead_windows)
        part = pattern
        while True:
            verdicts[(everything ^ pattern) | part] -= (-1.0) ** part.bit_count() * verdict
            if part == 0:
                break
            part = (part - 1) & pattern
    return members, verdicts


def _verdict(detectors: Detectors, pattern: int, dead_windows: float) -> NDArray[np.float64]:
    """Distribution over the announcements of one pattern of clicks."""
    last: dict[int, float] = {}
    outcomes: set[int] = set()
    count_clicks = 0
    for which in sorted(range(len(detectors.outcome)), key=lambda which: detectors.window[which]):
        window, port = detectors.window[which], detectors.port[which]
        if pattern >> which & 1 and window - last.get(port, -inf) >= dead_windows:
            last[port] = window
            outcomes |= {detectors.outcome[which]} - {BETWEEN}
            count_clicks += 1
    shares_ports = len(set(detectors.port)) < len(detectors.port)  # then two clicks say nothing, whatever their outcomes
    verdict = np.zeros(DOUBLE + 1)
    if not outcomes:
        return verdict
    if len({outcome >> 1 for outcome in outcomes}) == 2 or (shares_ports and count_clicks > 1):
        verdict[CROSS] = 1.0
    else:
        verdict[list(outcomes)] = 1.0 / len(outcomes)
        verdict[DOUBLE] = float(len(outcomes) == 2)
    return verdict
