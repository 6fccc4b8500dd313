"""The best settings of a link: basis bias, attenuation, gate and intensities with which a block yields most key.

Global search by differential evolution, from several starts, then a simplex that needs no gradient. Where a block makes no key the
landscape would be flat; there a setting is the better, the smaller the block with which it makes some, and where not even an endless one
does, the less is missing. What is optimised is always the
planner's expectation, before a block: choosing settings from the block they are used for would void its proof. Takes a profile and
names of its entries, serves ``rate`` and ``figures``.

References
----------
[Storn1997]; stands for the genetic search of [Zhang2025]; status: planning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from common.errors import ConfigurationError
from common.planning.rate import RatePoint, rate_point
from common.planning.search_space import default_over, search_space
from common.planning.settings import entries

if TYPE_CHECKING:
    from types import ModuleType

    from numpy.typing import NDArray

    from common.planning.search_space import SearchSpace
    from common.profiles.link import LinkProfile

LARGEST_BLOCK_BITS = 200_000_000
"""Largest block asked about where smaller ones make no key; as in the profile."""

_EDGE = 1e-3
"""So near to a bound, in units of the distance between the bounds, the bound decides."""

_GENERATIONS = 12
_POPULATION = 6
"""Members of the population for each axis."""

_SIMPLICES = (0.1, 0.02)
"""Edges of the simplices that finish a search; one that got stuck is freed by a fresh one."""

_STEPS = 50
"""Points of a simplex at most, for each axis."""


@dataclass(frozen=True, slots=True)
class Optimum:
    """The best found.

    Attributes
    ----------
    profile : LinkProfile
        With the best settings in place.
    point : RatePoint
        What it yields.
    parameters : dict[str, float | tuple[float, ...]]
        The chosen entries, by name.
    over : dict[str, tuple[float, float]]
        Bounds of every axis that was searched, by name.
    at_bound : tuple[str, ...]
        Axes on which a bound decides: beyond it there may be more.
    starts, evaluations : int
        Searches from different beginnings, and points computed in all of them.
    spread : float
        How much less the worst start found than the best one, relative; 0 where all agree, 1 where one found no key.
    """

    profile: LinkProfile
    point: RatePoint
    parameters: dict[str, float | tuple[float, ...]]
    over: dict[str, tuple[float, float]]
    at_bound: tuple[str, ...]
    starts: int
    evaluations: int
    spread: float

    def to_json(self) -> dict[str, Any]:
        """Return everything but profile and point, for ``--json``."""
        return {
            "over": {name: list(bounds) for name, bounds in self.over.items()},
            "parameters": {name: list(value) if isinstance(value, tuple) else value for name, value in self.parameters.items()},
            "at_bound": list(self.at_bound),
            "starts": self.starts,
            "evaluations": self.evaluations,
            "spread": self.spread,
        }


def optimise(
    profile: LinkProfile,
    over: Sequence[str] | None = None,
    *,
    mode: Literal["composable", "paper"] = "composable",
    asymptotic: bool = False,
    block_bits: int | None = None,
    starts: int = 2,
    seed: int = 1,
    evaluate: Callable[..., RatePoint] = rate_point,
) -> Optimum:
    """Find the settings with most secret bits a pulse, which at a given clock are most a second.

    Parameters
    ----------
    profile : LinkProfile
        The link; its own settings are where the first start begins.
    over : sequence of str | None
        Entries to choose, ``name`` or ``name=low:high``; None takes ``default_over``.
    mode : str
        ``composable`` or ``paper``.
    asymptotic : bool
        For an endless block.
    block_bits : int | None
        Size of the block, bits; None takes the profile's.
    starts : int
        Independent searches, 1 or more.
    seed : int
        Of the search; the same seed gives the same answer.
    evaluate : callable
        Gives a point; called like ``rate_point``.

    Returns
    -------
    Optimum
        Never less than the profile's own settings yield, if those lie within the bounds.

    Raises
    ------
    ConfigurationError
        If an entry cannot be chosen on this link, ``starts`` is below 1, or scipy is missing.

    References
    ----------
    [Storn1997]; compared with brute force in the tests; status: planning.
    """
    if starts < 1:
        raise ConfigurationError(f"starts = {starts}: search at least once")
    space = search_space(profile, default_over(profile, mode) if over is None else over, mode)
    blocks = () if asymptotic else _larger_blocks(profile.security.block_bits if block_bits is None else block_bits)

    def points(at: LinkProfile) -> Iterator[RatePoint]:
        """Yield the point in question, then those that tell settings without key apart."""
        yield evaluate(at, mode=mode, asymptotic=asymptotic, block_bits=block_bits)
        for larger in blocks:
            yield evaluate(at, mode=mode, asymptotic=False, block_bits=larger)
        if not asymptotic:
            yield evaluate(at, mode=mode, asymptotic=True, block_bits=None)

    seeds = np.random.SeedSequence(seed).spawn(starts)
    found = [_Search(space, points).run(own, from_profile=number == 0) for number, own in enumerate(seeds)]
    best = max(found, key=lambda search: search.score)
    worst = min(search.score for search in found)
    return Optimum(
        best.profile,
        best.point,
        {name: entries(best.profile)[name] for name in space.names},
        {axis.name: (axis.low, axis.high) for axis in space.axes},
        tuple(axis.name for axis, unit in zip(space.axes, best.units, strict=True) if min(unit, 1.0 - unit) < _EDGE),
        starts,
        sum(search.evaluations for search in found),
        1.0 - max(0.0, worst) / best.score if best.score > 0.0 else 0.0,
    )


class _Search:
    """One search; remembers the best point it has seen."""

    def __init__(self, space: SearchSpace, points: Callable[[LinkProfile], Iterator[RatePoint]]) -> None:
        self._space = space
        self._points = points
        self.evaluations = 0
        self.score = -np.inf
        self.units: tuple[float, ...] = space.start
        self.profile = space.profile
        self.point: RatePoint

    def run(self, seed: np.random.SeedSequence, *, from_profile: bool) -> _Search:
        """Search the whole space, then around the best of it."""
        search = _scipy()
        count = len(self._space.axes)
        cube = [(0.0, 1.0)] * count
        search.differential_evolution(
            self._cost,
            cube,
            popsize=_POPULATION,
            maxiter=_GENERATIONS,
            tol=1e-3,
            init="latinhypercube",
            x0=self._space.start if from_profile else None,
            polish=False,
            rng=np.random.default_rng(seed),
        )
        for edge in _SIMPLICES:
            best = np.array(self.units)
            corners = np.vstack([best, best + np.diag(np.where(best < 0.5, edge, -edge))])
            tolerances = {"xatol": 1e-4, "fatol": 1e-6 * abs(self.score), "maxfev": _STEPS * count, "initial_simplex": corners}
            search.minimize(self._cost, best, method="Nelder-Mead", bounds=cube, options=tolerances)
        return self

    def _cost(self, units: NDArray[np.float64]) -> float:
        at = tuple(float(unit) for unit in units)
        profile = self._space.profile_at(at)
        score, points = 0.0, []
        for point in self._points(profile):
            self.evaluations += 1
            points.append(point)
            if point.secret_bits_per_pulse > 0.0:
                score += point.secret_bits_per_pulse
                break
            score -= 1.0
        else:
            score -= _shortfall(points[-1])
        if score > self.score:
            self.score, self.units, self.profile, self.point = score, at, profile, points[0]
        return -score


def _larger_blocks(block_bits: int) -> tuple[int, ...]:
    """Blocks ten times larger each, up to the largest."""
    larger = []
    while block_bits < LARGEST_BLOCK_BITS:
        block_bits = min(10 * block_bits, LARGEST_BLOCK_BITS)
        larger.append(block_bits)
    return tuple(larger)


def _shortfall(point: RatePoint) -> float:
    """Bits that are missing before there is key, over sifted bits."""
    sifted = point.ledger.get("sifted key bits", 0.0)
    return max(0.0, point.ledger.get("not distilled", 0.0)) / sifted if sifted else 1.0


def peak(function: Callable[[float], float], low: float, high: float) -> float:
    """Maximise a function with one peak.

    Parameters
    ----------
    function : callable
        Takes and gives a float.
    low, high : float
        Where the peak lies, both included.

    Returns
    -------
    float
        The place, to a hundredth; the upper end where that is as good.

    Raises
    ------
    ConfigurationError
        If scipy is missing.

    References
    ----------
    Brent's bounded search of scipy; status: planning.
    """
    found = _scipy().minimize_scalar(lambda place: -function(place), bounds=(low, high), method="bounded", options={"xatol": 0.01})
    return high if function(high) >= -found.fun else float(found.x)


def _scipy() -> ModuleType:
    """Return ``scipy.optimize``; only those who optimise wait for its import."""
    try:
        import scipy.optimize
    except ImportError:
        raise ConfigurationError("optimising needs scipy: install the extra with pip install 'qkdlink[planning]'") from None
    return scipy.optimize  # type: ignore[no-any-return]
