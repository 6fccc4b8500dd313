"""Counts against expectations with a stated false-alarm probability."""

from math import sqrt
from statistics import NormalDist

FALSE_ALARM = 1e-6
"""Probability that one comparison fails although the physics is right; seeds are fixed, so it was drawn once."""

SIGMAS = NormalDist().inv_cdf(1 - FALSE_ALARM / 2)
"""Two-sided: 4.89 standard deviations."""


def assert_binomial(count, trials, probability):
    """The count is what ``trials`` independent chances of ``probability`` give."""
    expected = trials * probability
    sigma = sqrt(max(expected * (1 - probability), 1.0))
    assert abs(count - expected) <= SIGMAS * sigma, f"{count} of {trials}, expected {expected:.1f} ± {sigma:.1f}"


def assert_mean(values, expected, sigma):
    """The mean of independent values of standard deviation ``sigma`` is ``expected``."""
    found = float(values.mean())
    error = sigma / sqrt(values.size)
    assert abs(found - expected) <= SIGMAS * error, f"mean {found} of {values.size}, expected {expected} ± {error}"
