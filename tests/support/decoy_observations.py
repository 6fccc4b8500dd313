"""Observations of a three-state link with two decoys that somebody else measured, as counts.

The files state, for every state and intensity sent, how often each pattern of four detectors clicked, as shares of the rounds. Shares of
whole numbers give away how many rounds there were: the smallest number that makes all of them whole. That these numbers add up to the
``totalSignals`` of the file says that none is wrong.
"""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from scipy.io import loadmat

STATES = ("R", "L", "H")
DETECTORS = ("R", "L", "H", "V")
"""Bit 0 to bit 3 of a pattern."""

SIGNAL_KEY, SIGNAL_TEST, DECOY, WEAK = range(4)
"""Blocks of three rows: signal in rounds of key and of test, and the two decoys."""

WHOLE = 2e-4
"""A share times the rounds is whole to within this."""


@dataclass(frozen=True)
class Observations:
    """``clicks[block, state, pattern]``, int64[4, 3, 16]; ``intensities[intensity, state]``, float64[3, 3], brightest first."""

    clicks: np.ndarray
    intensities: np.ndarray
    probability_intensity: np.ndarray
    total: int


def read_observations(path) -> Observations:
    content = loadmat(path)
    shares = content["ohioData"]
    total = int(content["totalSignals"].item())
    order = [int(str(pattern.item()), 2) for pattern in content["ohioOrder"].ravel()]
    rounds = np.array([least_rounds(row) for row in shares], np.int64)
    for multiple in range(2, 5):  # where every count of a row is even, the rounds are too: the total tells
        for row in range(rounds.size):
            if int(rounds.sum()) + (multiple - 1) * int(rounds[row]) == total:
                rounds[row] *= multiple
    clicks = np.zeros(shares.shape, np.int64)
    clicks[:, order] = np.rint(shares * rounds[:, None]).astype(np.int64)
    return Observations(clicks.reshape(4, 3, 16), content["intensities"].reshape(3, 3), content["decoyProbs"].ravel(), total)


def least_rounds(shares, most=6000):
    clicked = shares[shares > 0.0]
    if not clicked.size:
        return 0
    for count in range(1, most):
        rounds = round(Fraction(count) / Fraction(float(clicked.min())))
        counts = clicked * rounds
        if float(np.abs(counts - np.rint(counts)).max()) < WHOLE:
            return rounds
    raise AssertionError("no number of rounds makes all counts whole")


def single_clicks(patterns, basis):
    """Clicks of one basis by outcome, a double within it being half of each; int64[..., 2]."""
    low = 0 if basis == "RL" else 2
    both = patterns[..., 3 << low]
    return np.stack([patterns[..., 1 << low] + both // 2, patterns[..., 2 << low] + both - both // 2], axis=-1)


def cross_clicks(patterns):
    """Rounds in which detectors of both bases clicked."""
    crossed = [pattern for pattern in range(16) if pattern & 3 and pattern & 12]
    return patterns[..., crossed].sum(axis=-1)
