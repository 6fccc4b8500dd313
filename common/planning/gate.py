"""How much of a photon's arrival-time distribution a temporal gate keeps.

An exponential decay (the emitter's lifetime) folded with Gaussian jitter, repeated every clock period; the gate is placed where it
keeps most. Used by ``link_model``.
"""

from __future__ import annotations

from math import erfc, exp, expm1, sqrt

_NARROW = 30.0
"""From this ratio of jitter to lifetime on the decay is taken for a mere delay; the exponentials would leave the number range."""


def captured_share(lifetime_ps: float, jitter_ps: float, gate_ps: float, period_ps: float) -> tuple[float, float]:
    """Share of the photons that arrive in their own gate, and in gates of other slots.

    Parameters
    ----------
    lifetime_ps, jitter_ps : float
        Radiative lifetime, and standard deviation of the timing; picoseconds.
    gate_ps, period_ps : float
        Width of the gate, at most the clock period, and the clock period; picoseconds.

    Returns
    -------
    tuple[float, float]
        Both between 0 and 1; with a gate as wide as the period they add up to almost 1.

    References
    ----------
    Exponentially modified Gaussian; the gate at the maximum of its mass, unimodal because the density is log-concave; status: planning.
    """
    low, high = -gate_ps - 8.0 * jitter_ps, 8.0 * jitter_ps + lifetime_ps

    def mass(start_ps: float) -> float:
        return _arrived(start_ps + gate_ps, lifetime_ps, jitter_ps) - _arrived(start_ps, lifetime_ps, jitter_ps)

    for _ in range(200):
        third = (high - low) / 3.0
        if mass(low + third) < mass(high - third):
            low += third
        else:
            high -= third
    start_ps = 0.5 * (low + high)
    if jitter_ps == 0.0:
        start_ps = 0.0  # the rising edge is sharp: the search ends on either side of it
    inside = mass(start_ps)
    straggling = sum(mass(start_ps + slot * period_ps) for slot in range(-8, 9) if slot)
    return min(1.0, inside), max(0.0, min(1.0 - inside, straggling))


def _arrived(time_ps: float, lifetime_ps: float, jitter_ps: float) -> float:
    """Probability that a photon has arrived by a time after the excitation."""
    if jitter_ps == 0.0:
        if lifetime_ps == 0.0:
            return 1.0 if time_ps > 0.0 else 0.0
        return -expm1(-time_ps / lifetime_ps) if time_ps > 0.0 else 0.0
    if lifetime_ps * _NARROW < jitter_ps:
        return _normal((time_ps - lifetime_ps) / jitter_ps)
    ratio = jitter_ps / lifetime_ps
    tail = _normal(time_ps / jitter_ps - ratio)
    if tail == 0.0:
        return _normal(time_ps / jitter_ps)
    return _normal(time_ps / jitter_ps) - exp(0.5 * ratio * ratio - time_ps / lifetime_ps) * tail


def _normal(x: float) -> float:
    return 0.5 * erfc(-x / sqrt(2.0))
