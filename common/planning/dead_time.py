"""How often every detector is live when a gate opens, which is when a slot is kept.

Bob drops a slot for all detectors if any of them clicked within a dead time before the gate opened. Clicks come in pulses, so a click
blocks a number of slots, not a time; and a single photon cannot click twice, so detectors are not dead independently. Serves
``link_model``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from common.planning.gate import REACH_SLOTS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from common.planning.gate import Gate


def blocked_slots(
    gate: Gate, dead_time_ps: float, period_ps: float, delays_ps: NDArray[np.float64], weights: NDArray[np.float64]
) -> tuple[float, float]:
    """Count the later slots that a click blocks.

    Parameters
    ----------
    gate : Gate
        First gate of a slot.
    dead_time_ps, period_ps : float
        Dead time, and clock period; picoseconds.
    delays_ps : float64[n]
        How much later than the first window those open in which the port may click, picoseconds.
    weights : float64[n]
        How often it clicks in each of them; they add up to 1.

    Returns
    -------
    (float, float)
        Slots that Bob drops since the click lies within a dead time before their gates open; clicks of the same port that are lost
        if there is one in each slot. Without time bins both come close to the dead time in periods, cut to whole ones.

    References
    ----------
    Two photons of exponential decay differ in time by a Laplace distribution; status: planning.
    """
    if dead_time_ps == 0.0:
        return 0.0, 0.0
    delays_ps, which = np.unique(delays_ps, return_inverse=True)
    weights = np.bincount(which, weights).astype(np.float64)
    whole, rest_ps = divmod(dead_time_ps, period_ps)
    ends_ps = np.arange(-REACH_SLOTS, REACH_SLOTS + 1) * period_ps
    dropped = whole + sum(
        weight * (gate.arrived(end_ps - delay_ps) - gate.arrived(end_ps - delay_ps - rest_ps))
        for delay_ps, weight in zip(delays_ps, weights, strict=True)
        for end_ps in ends_ps
    )
    first = max(1, int(whole) - REACH_SLOTS)
    lost = (
        first
        - 1
        + sum(
            weight * later_weight * gate.follows_within(dead_time_ps - slot * period_ps - later_ps + delay_ps)
            for delay_ps, weight in zip(delays_ps, weights, strict=True)
            for later_ps, later_weight in zip(delays_ps, weights, strict=True)
            for slot in range(first, int(whole) + REACH_SLOTS + 1)
        )
    )
    return float(dropped), float(lost)


def live_ratio(clicks: NDArray[np.float64], together: NDArray[np.float64], slots: tuple[float, float], noise: float) -> NDArray[np.float64]:
    """Share of the slots at whose opening every port is live.

    Parameters
    ----------
    clicks : float64[losses, ports]
        Probability that photons of a slot make a live port click.
    together : float64[losses, ports, ports]
        Probability that they make both of two live ports click.
    slots : (float, float)
        See ``blocked_slots``.
    noise : float
        Mean number of noise clicks of a port within a dead time.

    Returns
    -------
    float64[losses]
        Ratio, 0 to 1.

    References
    ----------
    Non-paralysable counters, 1/(1 + r tau) each, exact where they are independent; the covariance within a slot to leading order:
    within 1e-3 while no port is dead more than a seventh of the time (``docs/explanation/link-model``); status: planning.
    """
    dropped, lost = slots
    live = 1.0 - (dropped * clicks + noise) / (1.0 + lost * clicks + noise)
    halved = np.sqrt(np.maximum(live, 0.0))
    covariance = (together - clicks[:, :, None] * clicks[:, None, :]) * halved[:, :, None] * halved[:, None, :]
    return np.asarray(np.clip(live.prod(1) * (1.0 + dropped * np.triu(covariance, 1).sum((1, 2))), 0.0, 1.0))
