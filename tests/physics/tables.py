"""Tables of announcements beside those of the planner, entry by entry, with exact binomial tails."""

import numpy as np

from common.security.bounds import binomial_lower_bound, binomial_upper_bound


def planned(model):
    """Probabilities of announcements: float64[intensities, settings, 5] for Z0 Z1 X0 X1 and cross clicks."""
    return np.array([[[*row, cross] for row, cross in zip(pulse.table, pulse.cross, strict=True)] for pulse in model.pulses])


def assert_table(counts, sent, probabilities, false_alarm):
    """Each count lies between the tails of a binomial distribution; all entries together fail by chance with ``false_alarm`` at most.

    Dead time makes clicks space out, so that counts vary less than the binomial ones.
    """
    each = false_alarm / (2 * counts.size)
    wrong = []
    for place in np.ndindex(counts.shape):
        trials, probability, count = int(sent[place[:-1]]), float(probabilities[place]), int(counts[place])
        low, high = binomial_lower_bound(trials, probability, each), binomial_upper_bound(trials, probability, each)
        if not low <= count <= high:
            wrong.append(f"{place}: {count} of {trials}, expected {trials * probability:.1f}, between {low} and {high}")
    assert not wrong, "; ".join(wrong)
