"""Sampling bounds that publications calculate with and no live key may rest on.

Their failure probabilities are larger than promised (``docs/explanation/sampling`` says by how much, a test shows it), so their
results are of a type of their own: a ``PaperValue`` is no number, and every composable function refuses it, by its signature for
whoever checks types and by name for whoever does not. ``proofs/*_paper`` modules open it to reproduce published figures.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, log, log2, pi, sqrt

from common.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class PaperValue:
    """A number that reproduces a publication and decides nothing.

    Attributes
    ----------
    value : float
        The number; opened by name only, so that it never enters a sum unnoticed.
    source : str
        Bibliography key of the formula.
    """

    value: float
    source: str


def yin_gamma(count_tested: int, errors_tested: int, count_untested: int, epsilon: float) -> PaperValue:
    """How far the untested error ratio may exceed the tested one, by the point-mass approximation of Yin and others.

    Parameters
    ----------
    count_tested, errors_tested : int
        Rounds disclosed and errors among them.
    count_untested : int
        Rounds the bound speaks about.
    epsilon : float
        Probability of failure it aims at; the true one was 1.8 to 5.1 times that.

    Returns
    -------
    PaperValue
        A ratio. Without errors, where the formula has no value, the limit of one half error.

    Raises
    ------
    ConfigurationError
        If an argument is out of its range.

    References
    ----------
    [Yin2020], the bound ``gamma^U`` for random sampling without replacement (recalled; summary read): with
    ``A = max(n, k)``, ``G = (n+k)/(nk) ln((n+k)/(2 pi n k l (1-l) eps^2))``,
    ``[(1-2l) A G/(n+k) + sqrt(A^2 G^2/(n+k)^2 + 4 l (1-l) G)] / [2 + 2 A^2 G/(n+k)^2]``; status: paper.
    """
    _check(count_tested, errors_tested, count_untested, epsilon)
    k, n = float(count_tested), float(count_untested)
    ratio = min(max(errors_tested, 0.5), count_tested - 0.5) / k
    spread = ratio * (1.0 - ratio)
    a = max(n, k)
    g = (n + k) / (n * k) * log((n + k) / (2.0 * pi * n * k * spread * epsilon * epsilon))
    share = a * g / (n + k)
    root = sqrt(max(0.0, share * share + 4.0 * spread * g))
    return PaperValue(((1.0 - 2.0 * ratio) * share + root) / (2.0 + 2.0 * a * share / (n + k)), "Yin2020")


def fung_gamma(tested: float, ratio: float, untested: float, epsilon: float) -> PaperValue:
    """How far the untested error ratio may exceed the tested one, by the approximation used with decoy states.

    Parameters
    ----------
    tested, untested : float
        Rounds disclosed and not disclosed; real, because decoy bounds are.
    ratio : float
        Error ratio of the tested ones, 0 to 1.
    epsilon : float
        Probability of failure it aims at; with few errors the true one is larger by orders of magnitude.

    Returns
    -------
    PaperValue
        A ratio; infinite where a count is 0, and 0 where the formula has no real value.

    Raises
    ------
    ConfigurationError
        If the ratio or epsilon is out of its range.

    References
    ----------
    [Lim2014] eq. (5) with (B2), full text read, after [Fung2010]:
    ``sqrt((c+d)(1-b)b/(cd ln 2) log2((c+d)/(cd(1-b)b eps^2)))``; status: paper.
    """
    if not 0.0 <= ratio <= 1.0:
        raise ConfigurationError(f"ratio = {ratio}: an error ratio lies between 0 and 1")
    if not 0.0 < epsilon < 1.0:
        raise ConfigurationError(f"epsilon {epsilon}: choose a failure probability between 0 and 1, both excluded")
    if tested <= 0.0 or untested <= 0.0:
        return PaperValue(inf, "Lim2014")
    spread, share = ratio * (1.0 - ratio), (tested + untested) / (tested * untested)
    if spread == 0.0:
        return PaperValue(0.0, "Lim2014")
    return PaperValue(sqrt(max(0.0, share * spread / log(2.0) * log2(share / spread / (epsilon * epsilon)))), "Lim2014")


def hoeffding_margin(count: float, epsilon: float) -> float:
    """Deviation ``sqrt(count/2 ln(1/epsilon))`` of a sum of independent events from its expectation, by Hoeffding.

    Parameters
    ----------
    count : float
        Events the sum is over, 0 or more.
    epsilon : float
        Probability of failure, ``0 < epsilon < 1``.

    Returns
    -------
    float
        Events, in either direction.

    Raises
    ------
    ConfigurationError
        If an argument is out of its range.

    References
    ----------
    [Hoeffding1963] theorem 1, as used in [Lim2014] eq. (A1); status: rigorous, loose where few of the events happen.
    """
    if not count >= 0.0:
        raise ConfigurationError(f"count {count}: must be 0 or more")
    if not 0.0 < epsilon < 1.0:
        raise ConfigurationError(f"epsilon {epsilon}: choose a failure probability between 0 and 1, both excluded")
    return sqrt(0.5 * count * -log(epsilon))


def _check(count_tested: int, errors_tested: int, count_untested: int, epsilon: float) -> None:
    if not 0.0 < epsilon < 1.0:
        raise ConfigurationError(f"epsilon {epsilon}: choose a failure probability between 0 and 1, both excluded")
    if count_tested < 1 or count_untested < 1:
        raise ConfigurationError(f"count_tested {count_tested}, count_untested {count_untested}: both must be 1 or more")
    if not 0 <= errors_tested <= count_tested:
        raise ConfigurationError(f"errors_tested {errors_tested}: must lie between 0 and the {count_tested} rounds tested")
