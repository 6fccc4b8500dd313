"""Pulses and clicks with more than one photon: what the source may send, and what a passive receiver may hide.

Two ways lead more than one photon into a key bit. Alice's source now and then emits two: ``source_multi_photon`` bounds how often.
And an eavesdropper may send Bob's passive receiver as many as she likes: ``multi_click_bound`` bounds from the cross-basis clicks
how many single-basis clicks came from such slots. Both go to the proofs; the numbers come from source characterisation and from
``BlockCounts.cross_clicks``.
"""

from __future__ import annotations

from math import expm1, floor, inf, log, log1p

from common.errors import ConfigurationError

_PREDICTIONS = 42
"""Sizes of the grid: cross clicks predicted as 0, 1, 2, 4, ... 2^40. Fixed beforehand, never chosen from the data."""

_ROUNDING = 1.0 + 1e-11
"""The bound is raised by this factor before it is cut to an integer, so that rounding never helps."""


def source_multi_photon(
    mean_photon_number: float,
    mean_uncertainty: float,
    g2: float,
    g2_uncertainty: float,
    on_fraction: float,
    transmitter_efficiency: float,
    pre_attenuation: float,
    *,
    coverage_factor: float = 3.0,
) -> float:
    """Bound the probability that a pulse leaves Alice with two photons or more, given all earlier pulses.

    ``p_m = g2 <n>^2 / (2 beta^2)`` with ``<n>`` behind transmitter and attenuator: ``g2 <n>^2 = sum n(n-1) p_n`` is at least
    ``2 P(n >= 2)``, and its form survives linear loss. An emitter that is dark a share ``1 - beta`` of the time sends all its
    photons in the rest, where an eavesdropper may know it to be.

    Parameters
    ----------
    mean_photon_number, mean_uncertainty : float
        Photons a pulse at the first lens averaged over bright and dark periods, and one standard deviation of it.
    g2, g2_uncertainty : float
        Second-order correlation at zero delay within the bright periods, and one standard deviation of it.
    on_fraction : float
        Share ``beta`` of bright periods, at its lower confidence limit, above 0 and at most 1.
    transmitter_efficiency, pre_attenuation : float
        Transmission from first lens to channel, and the deliberate attenuation; between 0 and 1.
    coverage_factor : float
        Standard deviations added to mean and g2. The confidence it stands for is part of the assumptions, not of the epsilons.

    Returns
    -------
    float
        Probability, at most 1.

    Raises
    ------
    ConfigurationError
        If an argument is out of its range; the message names it.

    References
    ----------
    [Waks2002] for ``g2 <n>^2 / 2``; ``docs/explanation/multi-photons`` for blinking; status: rigorous given the
    characterisation.
    """
    ranges = {
        "source.mean_photon_number": (mean_photon_number, inf),
        "source.mean_photon_number_uncertainty": (mean_uncertainty, inf),
        "source.g2": (g2, inf),
        "source.g2_uncertainty": (g2_uncertainty, inf),
        "source.transmitter_efficiency": (transmitter_efficiency, 1.0),
        "source.pre_attenuation": (pre_attenuation, 1.0),
        "source.on_fraction": (on_fraction, 1.0),
        "coverage_factor": (coverage_factor, inf),
    }
    for name, (value, most) in ranges.items():
        if not 0.0 <= value <= most:
            raise ConfigurationError(f"{name} = {value}: must be 0 or more" + ("" if most == inf else f" and at most {most:g}"))
    if on_fraction == 0.0:
        raise ConfigurationError("source.on_fraction = 0: a source that is never bright has no multi-photon bound; measure it")
    mean = (mean_photon_number + coverage_factor * mean_uncertainty) * transmitter_efficiency * pre_attenuation / on_fraction
    return min(1.0, (g2 + coverage_factor * g2_uncertainty) * mean * mean / 2.0)


def multi_click_bound(count_cross: int, probability_z: float, epsilon: float) -> int:
    """Bound the single-basis clicks that came from slots with at least two detectable photons, in a passive receiver.

    In such a slot the photons part, each to Z with probability q, and click in both bases with probability at least
    ``c = 2 q (1-q)``, whatever happened before and however many photons there are. So
    ``exp(lambda N_in - mu N_cross)`` with ``(1-c) e^lambda + c e^-mu = 1`` never grows on average, and by Ville's inequality
    ``N_in <= (mu N_cross + ln(1/epsilon'))/lambda`` at *every* time, adaptive adversary and adaptive stopping included. lambda
    must not depend on the data: one is fixed for each predicted count 0, 1, 2, 4, ... 2^40, each at an equal share
    ``epsilon'`` of epsilon, and the best of the two nearest to ``count_cross`` is taken.

    Parameters
    ----------
    count_cross : int
        Slots in which detectors of both bases clicked, 0 or more; dark counts among them only loosen the bound.
    probability_z : float
        Probability ``q`` that the receiver sends a photon to Z, between 0 and 1, both excluded.
    epsilon : float
        Probability of failure, ``0 < epsilon < 1``.

    Returns
    -------
    int
        Single-basis clicks, both bases together.

    Raises
    ------
    ConfigurationError
        If an argument is out of its range; the message names it.

    References
    ----------
    ``docs/explanation/multi-photons``, section "Passive receivers"; [Ville1939], [Howard2020] theorem 1; status: rigorous.
    """
    return hidden_click_bound(count_cross, cross_probability(probability_z), epsilon)


def cross_probability(probability_z: float) -> float:
    """Least probability that two or more photons behind a beam splitter click in both bases.

    Parameters
    ----------
    probability_z : float
        Probability ``q`` that it sends a photon to Z, between 0 and 1, both excluded.

    Returns
    -------
    float
        ``2 q (1-q)``.

    Raises
    ------
    ConfigurationError
        If the probability is out of its range.

    References
    ----------
    ``docs/explanation/multi-photons``, section "Passive receivers"; status: rigorous.
    """
    if not 0.0 < probability_z < 1.0:
        raise ConfigurationError(f"receiver.probability_z = {probability_z}: a passive receiver needs both bases")
    return 2.0 * probability_z * (1.0 - probability_z)


def both_ports_probability(probability_z: float) -> float:
    """Least probability that two or more photons behind the interferometer of time bins make both of its ports click.

    A photon leaves in an outer window with probability ``q``, whatever its state and those of others, and then by either port alike:
    nothing meets it at the second splitter. Once there is such a photon it parts from any other one with probability 1/2.

    Parameters
    ----------
    probability_z : float
        Probability ``q`` of an outer window, between 0 and 1, both excluded.

    Returns
    -------
    float
        ``(1 - (1-q)^2)/2``; 3/8 where the first splitter is even.

    Raises
    ------
    ConfigurationError
        If the probability is out of its range.

    References
    ----------
    ``docs/explanation/multi-photons``, section "Time bins"; status: rigorous.
    """
    if not 0.0 < probability_z < 1.0:
        raise ConfigurationError(f"receiver.probability_z = {probability_z}: a passive receiver needs both bases")
    return 0.5 * (1.0 - (1.0 - probability_z) ** 2)


def hidden_click_bound(count_cross: int, cross: float, epsilon: float) -> int:
    """Bound the single clicks from slots with several photons by the clicks that gave such slots away.

    Parameters
    ----------
    count_cross : int
        Slots that showed that they held several photons, 0 or more.
    cross : float
        Least probability ``c`` that such a slot shows it, between 0 and 1, both excluded.
    epsilon : float
        Probability of failure, ``0 < epsilon < 1``.

    Returns
    -------
    int
        Single clicks, both bases together.

    Raises
    ------
    ConfigurationError
        If an argument is out of its range; the message names it.

    References
    ----------
    See ``multi_click_bound``, which says how; status: rigorous.
    """
    if count_cross < 0:
        raise ConfigurationError(f"count_cross {count_cross}: a number of clicks is 0 or more")
    if not 0.0 < epsilon < 1.0:
        raise ConfigurationError(f"epsilon {epsilon}: choose a failure probability between 0 and 1, both excluded")
    exponent = log(_PREDICTIONS / epsilon)
    if count_cross == 0:
        return floor(exponent / -log1p(-cross) * _ROUNDING)  # lambda at its largest, where one cross click ends the game
    nearest = min(count_cross.bit_length() - 1, _PREDICTIONS - 2)
    predictions = (1 << nearest, 1 << min(nearest + 1, _PREDICTIONS - 2))
    return min(floor(_line_at(count_cross, cross, exponent, predicted) * _ROUNDING) for predicted in predictions)


def _line_at(count_cross: int, cross: float, exponent: float, predicted: int) -> float:
    """``(mu n + L)/lambda`` for the lambda that is best at the predicted count: where ``n (lambda mu' - mu) = L``.

    Any lambda gives a valid bound, so the accuracy of this root touches tightness only.
    """
    low, high = 0.0, -log1p(-cross)
    for _ in range(200):
        rate = 0.5 * (low + high)
        if not low < rate < high:
            break
        growth = (1.0 - cross) * expm1(rate)
        remaining = cross - growth  # c - (1-c)(e^lambda - 1), the weight left to e^-mu
        if remaining <= 0.0 or predicted * (rate * (1.0 - cross + growth) / remaining + log(remaining / cross)) > exponent:
            high = rate
        else:
            low = rate
    price = -log1p(-(1.0 - cross) / cross * expm1(low))
    return (price * count_cross + exponent) / low
