"""The least that one-way reconciliation can leak, for planning: live links count the bits they really say.

Converse for syndromes of any code; depends on the block, the error ratio and the failure probability alone.
"""

from __future__ import annotations

from math import log2

from common.errors import ConfigurationError
from common.security.bounds import binomial_lower_bound
from common.security.checks import check_epsilon, check_number
from common.security.entropy import binary_entropy


def least_one_way_leakage(count: int, qber: float, epsilon: float) -> float:
    """Bits that any one-way code has to leak.

    Parameters
    ----------
    count : int
        Bits to reconcile, 1 or more.
    qber : float
        Probability that a bit is wrong, independently; at most 1/2.
    epsilon : float
        Probability that reconciliation fails, ``0 < epsilon < 1/2``.

    Returns
    -------
    float
        Bits, at least 0.

    Raises
    ------
    ConfigurationError
        If an argument is out of its range; the message names it.

    References
    ----------
    [Tomamichel2017] converse, recalled:
    ``n h(Q) + [n(1-Q) - F^-1(eps (1 + 1/sqrt n); n, 1-Q) - 1] log2((1-Q)/Q) - log2(n)/2 - log2(1/eps)``, with F^-1 the binomial
    quantile; status: planning.
    """
    if count < 1:
        raise ConfigurationError(f"count {count}: there is 1 bit or more to reconcile")
    check_number("qber", qber, 0.0, 0.5)
    check_epsilon("epsilon", epsilon)
    if qber == 0.0:
        return 0.0
    right = binomial_lower_bound(count, 1.0 - qber, min(0.5, epsilon * (1.0 + count**-0.5)))
    tail = (count * (1.0 - qber) - right - 1.0) * log2((1.0 - qber) / qber)
    return max(0.0, count * binary_entropy(qber) + tail - 0.5 * log2(count) - log2(1.0 / epsilon))
