"""Binary entropy and deviance, the two functions every bound is made of.

Used by ``tails``, ``bounds`` and ``key_length``; takes and returns plain numbers.
"""

from __future__ import annotations

from math import inf, log, log1p, log2


def binary_entropy(probability: float) -> float:
    """Entropy of one biased bit.

    Parameters
    ----------
    probability : float
        Between 0 and 1.

    Returns
    -------
    float
        ``h(x) = -x log2 x - (1-x) log2(1-x)``, bits.

    References
    ----------
    [Shannon1948] section 6; status: rigorous.
    """
    if probability <= 0.0 or probability >= 1.0:
        return 0.0
    return -probability * log2(probability) - (1.0 - probability) * log1p(-probability) / log(2.0)


def saturated_entropy(ratio: float) -> float:
    """Entropy charged for an *upper bound* of an error ratio: 1 from one half on.

    The true ratio may be anything below the bound, and ``h`` falls again above one half; without the saturation a worse bound
    would give more key.

    Parameters
    ----------
    ratio : float
        Upper bound of an error ratio, 0 or more.

    Returns
    -------
    float
        ``max over x <= ratio of h(x)``, bits.

    References
    ----------
    [Tomamichel2012], bound on the number of strings within a radius; status: rigorous.
    """
    return 1.0 if ratio >= 0.5 else binary_entropy(ratio)


def deviance(count: float, mean: float) -> float:
    """Distance of a count from its mean in the exponent of a Chernoff bound, without cancellation where the two are close.

    Relative entropy is a sum of two of them: ``n D(c/n || p) = deviance(c, n p) + deviance(n - c, n (1-p))``.

    Parameters
    ----------
    count, mean : float
        Both 0 or more.

    Returns
    -------
    float
        ``count ln(count/mean) + mean - count``, nats; infinite where a mean of 0 excludes the count.

    References
    ----------
    [Loader2000], function ``bd0``; status: rigorous up to rounding.
    """
    if count == 0.0 or mean == 0.0:
        return mean if count == 0.0 else inf
    if abs(count - mean) >= 0.1 * (count + mean):
        return count * log(count / mean) + mean - count
    slope = (count - mean) / (count + mean)
    total, term, order = (count - mean) * slope, 2.0 * count * slope, 1
    while True:
        term *= slope * slope
        following = total + term / (2 * order + 1)
        if following == total:
            return total
        total, order = following, order + 1
