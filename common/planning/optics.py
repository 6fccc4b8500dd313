"""Bob's optics as data: which detector a photon of each setting would reach, were there no loss and no time.

States are angles on the Bloch sphere, so that measured states, misalignment and the visibility of an interferometer are one formula. A
passive receiver is one reading of all detectors, an active one two readings, one for each basis. Comes from the profile, goes to
``link_model``.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, inf, radians
from typing import TYPE_CHECKING

import numpy as np

from common.planning.clicks import ACTIVE, BETWEEN, PASSIVE, TIME_BINS, TIME_BINS_AND_GAPS, Detectors
from common.planning.gate import REACH_SLOTS
from common.protocols.protocol import OUTCOME_ANGLES_DEG

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from common.planning.gate import Gate
    from common.profiles.link import LinkProfile
    from common.protocols.protocol import Protocol


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """One way to read a slot.

    Attributes
    ----------
    probability : float
        Of this reading.
    detectors : Detectors
        Those that count in it.
    ways : float64[settings, detectors]
        Where a photon goes.
    """

    probability: float
    detectors: Detectors
    ways: NDArray[np.float64]


def readings(profile: LinkProfile, protocol: Protocol) -> tuple[Reading, ...]:
    """Return the readings of the link's receiver.

    Parameters
    ----------
    profile : LinkProfile
        The link.
    protocol : Protocol
        Its protocol.

    Returns
    -------
    tuple[Reading, ...]
        Probabilities add up to 1.

    References
    ----------
    ``P(outcome | setting, basis) = (1 + V cos(angle between them)) / 2`` with ``V = 1 - 2 misalignment``, and for X of time bins the
    visibility; status: planning.
    """
    receiver, misaligned = profile.receiver, 1.0 - 2.0 * profile.channel.misalignment
    in_basis = receiver.probability_z, 1.0 - receiver.probability_z
    visibility = misaligned, profile.channel.visibility if profile.encoding == "time-bin" else misaligned
    angles = profile.source.state_angles_deg if len(protocol.settings) == 3 else OUTCOME_ANGLES_DEG

    def ways(detectors: Detectors, weights: tuple[float, float]) -> NDArray[np.float64]:
        def way(angle: float, outcome: int) -> float:
            if outcome == BETWEEN:
                return 0.0
            basis, alike = outcome >> 1, detectors.outcome.count(outcome)
            between = radians(angle - OUTCOME_ANGLES_DEG[outcome])
            return weights[basis] * (1.0 + visibility[basis] * cos(between)) / 2.0 / alike

        return np.array([[way(angle, outcome) for outcome in detectors.outcome] for angle in angles])

    if profile.encoding == "time-bin":
        has_gaps = (receiver.gate_ps or inf) < receiver.time_bin_separation_ps
        detectors = TIME_BINS_AND_GAPS if has_gaps else TIME_BINS
        return (Reading(1.0, detectors, ways(detectors, in_basis)),)
    if receiver.basis_choice == "passive":
        return (Reading(1.0, PASSIVE, ways(PASSIVE, in_basis)),)
    return tuple(
        Reading(probability, detectors, ways(detectors, (1.0, 1.0))) for probability, detectors in zip(in_basis, ACTIVE, strict=True)
    )


def landing(detectors: Detectors, gate: Gate, separation_ps: float, period_ps: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return how often a photon on its way to one detector is counted by another, for it is late or early.

    Parameters
    ----------
    detectors : Detectors
        The receiver.
    gate : Gate
        Of every window.
    separation_ps, period_ps : float
        From one time bin to the next, and from one slot to the next; picoseconds.

    Returns
    -------
    (float64[detectors, detectors], float64[detectors, detectors])
        From row to column: within the photon's own slot, and within other slots.

    References
    ----------
    What comes between two gates is counted there; only windows and gaps of the same port see the photon; status: planning.
    """
    port, window, is_between = np.array(detectors.port), np.array(detectors.window), detectors.is_between
    seen = (port[:, None] == port[None, :]) & ~is_between[:, None]  # no photon is on its way to a gap
    steps = np.floor(window)[None, :] - window[:, None]
    own, others = np.zeros(steps.shape), np.zeros(steps.shape)
    for is_gap in np.unique(is_between):
        opens_ps, closes_ps = (gate.width_ps, separation_ps) if is_gap else (0.0, gate.width_ps)
        for step in np.unique(steps[seen & (is_between == is_gap)]):
            moved = seen & (is_between == is_gap) & (steps == step)
            shares = {
                slot: gate.arrived(since_ps + closes_ps) - gate.arrived(since_ps + opens_ps)
                for slot in range(-REACH_SLOTS, REACH_SLOTS + 1)
                for since_ps in (step * separation_ps + slot * period_ps,)
            }
            own[moved] = shares.pop(0)
            others[moved] = sum(shares.values())
    return own, others
