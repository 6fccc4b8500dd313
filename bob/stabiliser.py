"""Drift compensation: disclosed errors in, positions of plates or shifter out.

Each actuator changes the error rate by a short Fourier series in its angle: a half-wave plate by the fourth harmonic, a quarter-wave plate
by the second and the fourth, the shifter of an interferometer by the first. So a few equally spaced points show a whole turn of it. To
acquire, one actuator after the other is scanned and put where its series is least (coordinate descent; of an interferometer it is the
four-phase scan); to track, each is turned a little to both sides and follows the difference. Sizes come from counts. Nothing is disclosed
for this: it looks at rounds that the protocol discloses anyway. No socket and no clock here: counts come from ``StepReport`` by way of
``bob.stabilising``, which turns the actuators as well.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from math import gcd, hypot, inf, pi, remainder, sqrt
from typing import Final, Literal, TypeAlias

import numpy as np

GRID_POINTS: Final = 720
"""Places at which a fitted series is looked at for its least value: half a degree or less, finer than counts tell."""

CERTAIN_DEVIATIONS: Final = 2.0
"""Standard deviations by which a cost has to differ before it counts as another one."""

LEAST_DITHER, LARGEST_DITHER = 0.1, 0.2
"""Radians of the fastest harmonic an actuator is turned to either side: larger costs errors, smaller tells nothing."""

LEAST_CURVATURE: Final = 0.05
"""Second derivative of the error rate by the phase of the fastest harmonic, at least: a tenth of that of perfect light."""

WORTHWHILE: Final = 0.7
"""A search goes on from where it is if all scans together brought the error rate below this part of what it was."""

RESTART_TURNS: Final = (0.618034, 0.754878, 0.569840)
"""Parts of its period by which each actuator is moved when a search got stuck: powers of the golden and of the plastic number, so that no
place is tried twice."""

State: TypeAlias = Literal["acquiring", "tracking"]


@dataclass(frozen=True, slots=True)
class Knob:
    """An actuator, and how the error rate depends on it.

    Attributes
    ----------
    name : str
        As the actuators' server knows it.
    orders : tuple[int, ...]
        Harmonics of its angle, ascending, beside the constant.
    """

    name: str
    orders: tuple[int, ...]

    @property
    def period_rad(self) -> float:
        """Turn after which everything repeats, radians."""
        return 2.0 * pi / gcd(*self.orders)

    @property
    def count_points(self) -> int:
        """Points of a scan: one more than the series has terms."""
        return 2 * len(self.orders) + 2


@dataclass(frozen=True, slots=True)
class Layout:
    """What is stabilised.

    Attributes
    ----------
    knobs : tuple[Knob, ...]
        In the order in which they are scanned.
    bases : tuple[int, ...]
        Bases whose error rates are averaged, Z=0 X=1.
    count_places : int
        Beginnings of a search before it takes the best place it has seen; 1 where a scan is the whole search.
    """

    knobs: tuple[Knob, ...]
    bases: tuple[int, ...]
    count_places: int


LAYOUTS: Final = {
    "polarisation": Layout((Knob("plate1", (2, 4)), Knob("plate2", (4,)), Knob("plate3", (2, 4))), (0, 1), 4),
    "time-bin": Layout((Knob("phase", (1,)),), (1,), 1),
}
"""By encoding: quarter-, half- and quarter-wave plate, or the shifter of the interferometer, which Z does not meet."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is looked at, and what is good.

    Attributes
    ----------
    acquire_bits, track_bits : int
        Disclosed bits of each basis at each point of a scan, and at each side of a dither.
    gain : float
        Share of the distance found that is gone.
    good_qber : float
        Error rate with which a search is content at once.
    lost_qber : float
        Error rate above which tracking gives up, and a search that ends above it begins elsewhere.
    """

    acquire_bits: int
    track_bits: int
    gain: float
    good_qber: float
    lost_qber: float


@dataclass(frozen=True, slots=True)
class Disclosed:
    """Rounds disclosed in a stretch of the link.

    Attributes
    ----------
    tested, errors : tuple[int, int]
        Rounds in matching bases and errors among them, Z and X.
    first_seconds, last_seconds : float
        When the stretch began and ended, on the clock of ``Stabiliser.settled``.
    """

    tested: tuple[int, int]
    errors: tuple[int, int]
    first_seconds: float
    last_seconds: float


@dataclass(frozen=True, slots=True)
class Cost:
    """Mean error rate of the bases, and one standard deviation of it: sqrt(Q (1-Q) / n)."""

    qber: float
    sigma: float


@dataclass(frozen=True, slots=True)
class _Series:
    """Least place of a fitted Fourier series, and its curvature there."""

    place_rad: float
    curvature: float


@dataclass(slots=True)
class StabiliserCounts:
    """What it took.

    Attributes
    ----------
    bits, unused_bits : int
        Disclosed bits of its bases that were looked at; and those that came while an actuator was turning.
    points : int
        Positions at which the error rate was taken.
    acquisitions, restarts, losses : int
        Searches that ended; beginnings elsewhere; times tracking gave up.
    """

    bits: int = 0
    unused_bits: int = 0
    points: int = 0
    acquisitions: int = 0
    restarts: int = 0
    losses: int = 0


_Steps: TypeAlias = Generator[None, Disclosed, None]


@dataclass(slots=True)
class _Tally:
    tested: list[int] = field(default_factory=lambda: [0, 0])
    errors: list[int] = field(default_factory=lambda: [0, 0])

    def add(self, disclosed: Disclosed) -> None:
        for basis in (0, 1):
            self.tested[basis] += disclosed.tested[basis]
            self.errors[basis] += disclosed.errors[basis]

    def cost(self, bases: tuple[int, ...]) -> Cost:
        ratios = [self.errors[basis] / self.tested[basis] for basis in bases]
        smoothed = [(self.errors[basis] + 0.5) / (self.tested[basis] + 1.0) for basis in bases]  # none of few is not none at all
        variance = sum(q * (1.0 - q) / self.tested[basis] for q, basis in zip(smoothed, bases, strict=True))
        return Cost(sum(ratios) / len(bases), sqrt(variance) / len(bases))


class Stabiliser:
    """Says where the actuators should stand.

    Whoever turns them hands in what was disclosed (``note``), turns what has changed, and says from when on it stands (``settled``);
    rounds from before are not looked at.

    Parameters
    ----------
    layout : Layout
        Actuators and bases.
    sizes : Sizes
        Counts and levels.
    positions : dict[str, float] | None, radians
        Where the actuators stand at the beginning; None for all at 0.

    Attributes
    ----------
    positions : dict[str, float], radians
        Where they should stand now.
    state : str
        ``acquiring`` or ``tracking``.
    decision : str
        The latest one, for people.
    cost : Cost | None
        Error rate of late: around the middle while tracking, at the last point of a search before.
    counts : StabiliserCounts
        Since the beginning.
    """

    def __init__(self, layout: Layout, sizes: Sizes, positions: dict[str, float] | None = None) -> None:
        self.positions = {knob.name: (positions or {}).get(knob.name, 0.0) for knob in layout.knobs}
        self.state: State = "acquiring"
        self.decision = "begin to search"
        self.cost: Cost | None = None
        self.counts = StabiliserCounts()
        self._layout = layout
        self._sizes = sizes
        self._centre = dict(self.positions)
        self._curvature = {knob.name: LEAST_CURVATURE * knob.orders[-1] ** 2 for knob in layout.knobs}
        self._acts_from_seconds = inf
        self._steps = self._run()
        next(self._steps)

    @property
    def waits_for_actuators(self) -> bool:
        """Whether ``positions`` have changed since ``settled`` was called."""
        return self._acts_from_seconds == inf

    def settled(self, seconds: float) -> None:
        """Hear that the actuators have stood at ``positions`` since ``seconds``."""
        self._acts_from_seconds = seconds

    def unsettled(self) -> None:
        """Hear that nobody knows where the actuators stand, until ``settled`` says so again."""
        self._acts_from_seconds = inf

    def note(self, disclosed: Disclosed) -> bool:
        """Take in what was disclosed.

        Parameters
        ----------
        disclosed : Disclosed
            Of a stretch that ended after those before.

        Returns
        -------
        bool
            Whether the actuators should now be turned to ``positions``.
        """
        count = sum(disclosed.tested[basis] for basis in self._layout.bases)
        if disclosed.first_seconds < self._acts_from_seconds:
            self.counts.unused_bits += count
            return False
        self.counts.bits += count
        before = self.positions
        self._steps.send(disclosed)
        return self.positions is not before

    def _run(self) -> _Steps:
        while True:
            self.state = "acquiring"
            yield from self._acquire()
            self.counts.acquisitions += 1
            self.state = "tracking"
            yield from self._track()
            self.counts.losses += 1

    def _acquire(self) -> _Steps:
        """Scan all actuators in turn until the error rate is good; begin elsewhere a few times, then take the best place there was."""
        best, previous, count_places = inf, inf, 1
        best_place = dict(self._centre)
        while True:
            for knob in self._layout.knobs:
                yield from self._scan(knob)
            found = yield from self._measured(self._centre, self._sizes.acquire_bits)
            if found.qber < best:
                best, best_place = found.qber, dict(self._centre)
            if found.qber <= self._sizes.good_qber:
                self.decision = f"found: QBER {found.qber:.3f}"
                return
            if found.qber > WORTHWHILE * previous:
                if count_places >= self._layout.count_places and best < self._sizes.lost_qber:
                    self._centre = best_place
                    self.decision = f"as good as it gets: QBER {best:.3f}"
                    return
                self._begin_elsewhere(found)
                count_places += 1
                previous = inf
            else:
                previous = found.qber

    def _begin_elsewhere(self, stuck: Cost) -> None:
        self.counts.restarts += 1
        for knob, turn in zip(self._layout.knobs, RESTART_TURNS, strict=False):
            self._centre[knob.name] = _wrapped(self._centre[knob.name] + turn * knob.period_rad, knob)
        self.decision = f"begin elsewhere: stuck at QBER {stuck.qber:.3f}"

    def _scan(self, knob: Knob) -> _Steps:
        """Turn one actuator through its period, and put it where its series is least."""
        costs: list[float] = []
        first_rad = self._centre[knob.name]
        for point in range(knob.count_points):
            place_rad = first_rad + point * knob.period_rad / knob.count_points
            costs.append((yield from self._measured_at(knob, place_rad, self._sizes.acquire_bits)).qber)
        least = _least(knob, first_rad, costs)
        self._centre[knob.name] = least.place_rad
        self._curvature[knob.name] = max(least.curvature, LEAST_CURVATURE * knob.orders[-1] ** 2)
        self.decision = f"scanned {knob.name}: {least.place_rad:.3f} rad"

    def _track(self) -> _Steps:
        """Turn one actuator after the other to both sides, and follow the lower error rate; until it is too high for that."""
        while True:
            for knob in self._layout.knobs:
                curvature = self._curvature[knob.name]
                dither_rad = self._dither_rad(knob, curvature)
                centre_rad = self._centre[knob.name]
                below = yield from self._measured_at(knob, centre_rad - dither_rad, self._sizes.track_bits)
                above = yield from self._measured_at(knob, centre_rad + dither_rad, self._sizes.track_bits)
                self.cost = Cost(0.5 * (below.qber + above.qber), 0.5 * hypot(below.sigma, above.sigma))
                if self.cost.qber - CERTAIN_DEVIATIONS * self.cost.sigma > self._sizes.lost_qber:
                    self.decision = f"lost: QBER {self.cost.qber:.3f}"
                    return
                distance_rad = (below.qber - above.qber) / (2.0 * curvature * dither_rad)
                step_rad = max(-2.0 * dither_rad, min(2.0 * dither_rad, self._sizes.gain * distance_rad))
                self._centre[knob.name] = _wrapped(centre_rad + step_rad, knob)
                self.decision = f"turned {knob.name} by {step_rad:+.3f} rad"

    def _dither_rad(self, knob: Knob, curvature: float) -> float:
        """Choose how far to turn to either side: so far that counting tells the distance to the best place about as well.

        Around it the error rate is Q + c x^2 / 2: the difference of two sides d away shows a distance e as 2 c d e, with the standard
        deviation sqrt(2) sigma. That of e is d where d^2 = sigma / (sqrt(2) c).
        """
        qber = min(0.5, max(self.cost.qber, 0.005)) if self.cost else self._sizes.good_qber
        sigma = sqrt(qber * (1.0 - qber) / (self._sizes.track_bits * len(self._layout.bases)))
        fastest = knob.orders[-1]
        return min(LARGEST_DITHER / fastest, max(LEAST_DITHER / fastest, sqrt(sigma / (sqrt(2.0) * curvature))))

    def _measured_at(self, knob: Knob, place_rad: float, bits: int) -> Generator[None, Disclosed, Cost]:
        return (yield from self._measured(self._centre | {knob.name: _wrapped(place_rad, knob)}, bits))

    def _measured(self, positions: dict[str, float], bits: int) -> Generator[None, Disclosed, Cost]:
        """Wait until so many bits of each basis were disclosed with the actuators at ``positions``."""
        if positions != self.positions:
            self.positions = dict(positions)
            self._acts_from_seconds = inf
        tally = _Tally()
        while any(tally.tested[basis] < bits for basis in self._layout.bases):
            tally.add((yield))
        self.counts.points += 1
        cost = tally.cost(self._layout.bases)
        if self.state == "acquiring":
            self.cost = cost
        return cost


def _least(knob: Knob, first_rad: float, costs: list[float]) -> _Series:
    """Fit the series of an actuator to its equally spaced costs."""
    angles = first_rad + np.arange(knob.count_points) * knob.period_rad / knob.count_points
    grid = np.arange(GRID_POINTS) * knob.period_rad / GRID_POINTS
    orders = np.array(knob.orders)
    values = np.array(costs)
    cosines, sines = (2.0 / knob.count_points * (wave(np.outer(orders, angles)) @ values) for wave in (np.cos, np.sin))
    terms = cosines[:, None] * np.cos(np.outer(orders, grid)) + sines[:, None] * np.sin(np.outer(orders, grid))
    best = int(terms.sum(axis=0).argmin())
    return _Series(_wrapped(float(grid[best]), knob), float(-(orders**2) @ terms[:, best]))


def _wrapped(place_rad: float, knob: Knob) -> float:
    """Bring an angle into the period around 0, so that nothing is turned further than it has to be."""
    return remainder(place_rad, knob.period_rad)
