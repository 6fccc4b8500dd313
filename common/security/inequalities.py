"""Textbook inequalities, for planning and for comparison with the exact bounds that decide live keys.

Numbers in, numbers out; ``bounds`` has the exact forms.
"""

from __future__ import annotations

from math import log, sqrt

from common.errors import ConfigurationError


def chernoff_count_upper(expectation: float, epsilon: float) -> float:
    """Upper bound of a count of independent events from its expectation.

    Parameters
    ----------
    expectation : float
        Expected count, 0 or more.
    epsilon : float
        Probability of failure, ``0 < epsilon < 1``.

    Returns
    -------
    float
        ``E + (b + sqrt(b^2 + 8 b E))/2`` with ``b = ln(1/epsilon)``.

    Raises
    ------
    ConfigurationError
        If an argument is out of its range.

    References
    ----------
    [Chernoff1952], in the multiplicative form ``exp(-d^2 E/(2+d))``; status: rigorous (looser than the exact tail).
    """
    b = _exponent(expectation, epsilon)
    return expectation + 0.5 * (b + sqrt(b * b + 8.0 * b * expectation))


def chernoff_count_lower(expectation: float, epsilon: float) -> float:
    """Lower bound of a count of independent events from its expectation.

    Parameters
    ----------
    expectation : float
        Expected count, 0 or more.
    epsilon : float
        Probability of failure, ``0 < epsilon < 1``.

    Returns
    -------
    float
        ``E - sqrt(2 b E)`` with ``b = ln(1/epsilon)``, at least 0.

    Raises
    ------
    ConfigurationError
        If an argument is out of its range.

    References
    ----------
    [Chernoff1952], in the multiplicative form ``exp(-d^2 E/2)``; status: rigorous.
    """
    b = _exponent(expectation, epsilon)
    return max(0.0, expectation - sqrt(2.0 * b * expectation))


def chernoff_expectation_upper(count: float, epsilon: float) -> float:
    """Upper bound of an expectation from the count that was seen.

    Parameters
    ----------
    count : float
        Observed count, 0 or more.
    epsilon : float
        Probability of failure, ``0 < epsilon < 1``.

    Returns
    -------
    float
        ``x + b + sqrt(2 b x + b^2)`` with ``b = ln(1/epsilon)``.

    Raises
    ------
    ConfigurationError
        If an argument is out of its range.

    References
    ----------
    [Chernoff1952], inverting :func:`chernoff_count_lower`; status: rigorous.
    """
    b = _exponent(count, epsilon)
    return count + b + sqrt(2.0 * b * count + b * b)


def chernoff_expectation_lower(count: float, epsilon: float) -> float:
    """Lower bound of an expectation from the count that was seen.

    Parameters
    ----------
    count : float
        Observed count, 0 or more.
    epsilon : float
        Probability of failure, ``0 < epsilon < 1``.

    Returns
    -------
    float
        ``x - b/2 - sqrt(2 b x + b^2/4)`` with ``b = ln(1/epsilon)``, at least 0.

    Raises
    ------
    ConfigurationError
        If an argument is out of its range.

    References
    ----------
    [Yin2020], the form customary in the field (solving :func:`chernoff_count_upper` for ``E`` would give ``+ b/2``);
    status: rigorous.
    """
    b = _exponent(count, epsilon)
    return max(0.0, count - 0.5 * b - sqrt(2.0 * b * count + 0.25 * b * b))


def serfling_margin(count_tested: int, count_untested: int, epsilon: float) -> float:
    """How far the untested error ratio may exceed the tested one, by Serfling's inequality.

    Parameters
    ----------
    count_tested, count_untested : int
        Rounds disclosed and not disclosed, both positive.
    epsilon : float
        Probability of failure, ``0 < epsilon < 1``.

    Returns
    -------
    float
        ``sqrt((n+k)(k+1)/(2 n k^2) ln(1/epsilon))``, a ratio.

    Raises
    ------
    ConfigurationError
        If an argument is out of its range.

    References
    ----------
    [Serfling1974] corollary 1.1, as used in [Tomamichel2012]; status: rigorous, loose at few errors; for comparison.
    """
    b = _exponent(0.0, epsilon)
    if count_tested < 1 or count_untested < 1:
        raise ConfigurationError(f"count_tested {count_tested}, count_untested {count_untested}: both must be 1 or more")
    k, n = float(count_tested), float(count_untested)
    return sqrt((n + k) * (k + 1.0) / (2.0 * n * k * k) * b)


def _exponent(expectation: float, epsilon: float) -> float:
    if not 0.0 < epsilon < 1.0:
        raise ConfigurationError(f"epsilon {epsilon}: choose a failure probability between 0 and 1, both excluded")
    if not expectation >= 0.0:
        raise ConfigurationError(f"count or expectation {expectation}: must be 0 or more")
    return -log(epsilon)
