"""Three states from a source that mostly emits single photons: phase errors from what *mismatched* clicks show.

In every round, given all earlier ones, the probability of a phase error among the single-photon key rounds is a combination of the
probabilities of clicks that are counted (``ThreeStateSetting.weights``). Sums of conditional probabilities are bounded from the
counts, and the phase errors from their sum, by inequalities that hold whatever the eavesdropper does between rounds
(``martingales``). Multi-photon pulses and, in a passive receiver, clicks of several photons are given away as in
``bb84_single_photon``, and so are the clicks by which Z exceeds X, for no click in X speaks about them: where both bases are read on the
same detectors, as many as the counts themselves show, be they noise or light that no middle window sees. Comes from ``BlockCounts`` with
the table of all X clicks, goes to ``key_length.length_of``.

References
----------
``docs/explanation/three-state`` derives everything here; [Tamaki2014]. Status: rigorous, for pure states in one plane whose angles
are certified within an uncertainty.
"""

from __future__ import annotations

import sys
from math import ceil
from typing import TYPE_CHECKING

from common.errors import AbortReason, LocalProtocolError
from common.security.bounds import binomial_upper_bound
from common.security.martingales import compensator_lower_bound, compensator_upper_bound, count_upper_bound
from common.security.multi_photon import hidden_click_bound
from common.security.proofs.estimate import BasisEstimate, Estimate, failure
from common.security.proofs.three_state_setting import STATES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from common.blocks import BlockCounts
    from common.security.epsilons import EpsilonBudget
    from common.security.proofs.three_state_setting import ThreeStateSetting

PROTOCOL = "three-state"

NO_BOUND = sys.maxsize
"""Phase errors where nothing bounds them."""


def events(setting: ThreeStateSetting) -> tuple[str, ...]:
    """Name the bounds that the proof relies on.

    Parameters
    ----------
    setting : ThreeStateSetting
        Fixed before the block.

    Returns
    -------
    tuple[str, ...]
        Each may fail with the same share of the estimation probability.

    References
    ----------
    ``docs/explanation/three-state``; status: rigorous.
    """
    names = ["phase errors Z", "multi-photon key Z"]
    if setting.windows_share_ports:
        names += ["clicks key Z", "clicks X sent in Z", "excess key Z"]
    elif setting.probability_noisy_key:
        names.append("excess noise key Z")
    for weight, classes in setting.weights().items():
        label = "+".join(f"{state}:{outcome}" for state, outcome in classes)
        names.append(f"clicks {label}")
        if weight < 0.0:
            names += [f"multi-photon clicks {state}:{outcome}" for state, outcome in classes]
    return (*names, "multi-clicks") if setting.basis_choice == "passive" else tuple(names)


def estimate(counts: BlockCounts, setting: ThreeStateSetting, budget: EpsilonBudget) -> Estimate:
    """Bound tagged bits and phase errors of the Z key.

    Parameters
    ----------
    counts : BlockCounts
        Of the closed block; ``z`` holds the key, ``table`` all clicks in X by state (rows Z0, Z1, X0; columns Z0 Z1 X0 X1).
    setting : ThreeStateSetting
        Fixed before the block.
    budget : EpsilonBudget
        Its estimation probability is shared by ``events``.

    Returns
    -------
    Estimate
        With the reason and the failing bound where the block makes no key.

    Raises
    ------
    LocalProtocolError
        If the counts contradict each other or the table is missing.

    References
    ----------
    ``docs/explanation/three-state``; status: rigorous.
    """
    clicks = x_clicks(counts, setting)
    if not counts.z.key:
        return Estimate((), reason=AbortReason.NO_CLICKS, bound=f"no sifted key bits in {counts.pulses} pulses")
    passive = setting.basis_choice == "passive"
    if passive and counts.cross_clicks < 0:
        return Estimate((), reason=AbortReason.MISSING_CROSS_CLICKS, bound="cross-basis clicks of a passive receiver were not counted")
    probability = budget.probability_of_event(len(events(setting)))
    inside = hidden_click_bound(counts.cross_clicks, setting.least_cross_probability, probability) if passive else 0

    def most(per_pulse: float) -> int:
        return binomial_upper_bound(counts.pulses, per_pulse, probability / setting.maximum_frames) if per_pulse else 0

    def tagged(per_pulse: float) -> int:
        return most(per_pulse * setting.probability_multi_photon)

    key = setting.probability_z_alice * setting.probability_z_bob * (1.0 - setting.test_fraction_z)
    if setting.windows_share_ports:
        sent_in_z = sum(count for (state, _), count in clicks.items() if state != "X0")
        excess = excess_bound(setting, counts.z.key, max(0, sent_in_z - inside), probability)
    else:
        excess = most(setting.probability_noisy_key)
    count_tagged = min(counts.z.key, tagged(key) + excess + inside)
    lowest = {
        (state, outcome): clicks[state, outcome] - inside - tagged(setting.probability_of_state(state) * (1.0 - setting.probability_z_bob))
        for weight, classes in setting.weights().items()
        if weight < 0.0
        for state, outcome in classes
    }
    phase_errors = min(phase_error_bound(setting, clicks, lowest, probability), counts.z.key - count_tagged)
    entry = BasisEstimate("Z", counts.z.key, counts.z.kept, count_tagged, sum(clicks.values()), phase_errors)
    return Estimate((entry,), inside, *failure([entry], {"X": sum(clicks.values())}))


def excess_bound(setting: ThreeStateSetting, count_key: int, count_x: int, epsilon: float) -> int:
    """Bound the key bits that X does not speak about, from how many more there are than X shows.

    Light in the two bins, one photon of it, clicks in Z and in X in the ratio of the splitter, whatever it is; noise and light beside the
    bins click in Z at least as often as that. What exceeds the ratio is neither bounded nor measured by any click in X.

    Parameters
    ----------
    setting : ThreeStateSetting
        Fixed before the block.
    count_key : int
        Z key bits.
    count_x : int
        Clicks in X of states sent in Z, at least so many from slots with one photon.
    epsilon : float
        Probability of failure of each of three bounds.

    Returns
    -------
    int
        Key bits.

    References
    ----------
    ``docs/explanation/three-state``, section "Time bins"; status: rigorous where nothing clicks in X more than its share.
    """
    ratio = setting.probability_z_bob * (1.0 - setting.test_fraction_z) / (1.0 - setting.probability_z_bob)
    most = compensator_upper_bound(count_key, epsilon) - ratio * compensator_lower_bound(count_x, epsilon)
    return ceil(count_upper_bound(max(0.0, most), epsilon))


def phase_error_bound(
    setting: ThreeStateSetting,
    most: Mapping[tuple[str, int], int],
    least: Mapping[tuple[str, int], int],
    epsilon: float,
) -> int:
    """Bound the phase errors among the untagged key bits.

    Parameters
    ----------
    setting : ThreeStateSetting
        Fixed before the block.
    most, least : mapping of (state, outcome) to int
        Upper and lower bounds of the untagged clicks of each class; the lower ones of classes with negative weight only.
    epsilon : float
        Probability of failure of each of the bounds of sums, one a group of classes and one for the phase errors.

    Returns
    -------
    int
        Phase errors; more than any block has bits where the counts contradict states and probabilities.

    References
    ----------
    ``docs/explanation/three-state``; status: rigorous.
    """
    total = 0.0
    for weight, classes in setting.weights().items():
        if weight > 0.0:
            total += weight * compensator_upper_bound(sum(most[entry] for entry in classes), epsilon)
        else:
            total += weight * compensator_lower_bound(sum(max(0, least[entry]) for entry in classes), epsilon)
    # An upper bound of a sum of probabilities is not negative, unless a bound has failed or the setting is not that of the block.
    return int(count_upper_bound(total, epsilon)) if total >= 0.0 else NO_BOUND


def x_clicks(counts: BlockCounts, setting: ThreeStateSetting) -> dict[tuple[str, int], int]:
    """Read the clicks in X by state and outcome off the table.

    Parameters
    ----------
    counts : BlockCounts
        Of the closed block.
    setting : ThreeStateSetting
        Fixed before the block.

    Returns
    -------
    dict
        Clicks by (state, outcome).

    Raises
    ------
    LocalProtocolError
        If the table is missing or the counts contradict each other.

    References
    ----------
    Nothing is bounded here; status: rigorous.
    """
    if len(counts.table) < len(STATES) or any(len(row) < 4 or min(row) < 0 for row in counts.table):
        raise LocalProtocolError("three-state counts need the table of settings by outcomes: rows Z0, Z1, X0, columns Z0 Z1 X0 X1")
    if not 0 <= counts.z.kept <= counts.z.key or counts.pulses < 0 or counts.frames > setting.maximum_frames:
        raise LocalProtocolError(f"counts contradict each other: {counts.z}, {counts.pulses} pulses in {counts.frames} frames")
    return {(state, outcome): counts.table[row][2 + outcome] for row, state in enumerate(STATES) for outcome in (0, 1)}
