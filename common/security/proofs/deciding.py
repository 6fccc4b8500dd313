"""From the counts of a closed block to the estimate of the proof its setting belongs to: the one place that knows all proofs.

A setting is what was fixed before the block, and its type says which proof reads it. Every protocol counts in the same ``BlockCounts``;
what a proof takes in other shapes is read off here. Called by ``key_length``, for live blocks and for expected ones alike.

References
----------
Nothing is bounded here; the proofs are. Status: rigorous.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from common.errors import LocalProtocolError
from common.security.proofs import bb84_single_photon, decoy_bb84, three_state, three_state_decoys
from common.security.proofs.bb84_setting import Bb84Setting
from common.security.proofs.decoy_setting import DecoyCounts, DecoySetting
from common.security.proofs.three_state_decoys import ThreeStateDecoyCounts
from common.security.proofs.three_state_setting import STATES, ThreeStateSetting

if TYPE_CHECKING:
    from common.blocks import BlockCounts
    from common.security.epsilons import EpsilonBudget
    from common.security.proofs.estimate import Estimate

BB84_STATES = ("Z0", "Z1", "X0", "X1")
"""What Alice sends in BB84, in the order of the rows of ``BlockCounts.table``."""


@dataclass(frozen=True, slots=True)
class ThreeStateDecoySetting:
    """What is fixed about a block of three states with decoys.

    Attributes
    ----------
    decoys : DecoySetting
        The light.
    states : ThreeStateSetting
        The states; its multi-photon bound is 0, decoys take its place.
    """

    decoys: DecoySetting
    states: ThreeStateSetting


BlockSetting = Bb84Setting | ThreeStateSetting | DecoySetting | ThreeStateDecoySetting
"""What was fixed before a block, of any proof that may decide a key."""


def events_of(setting: BlockSetting) -> tuple[str, ...]:
    """Names of the bounds that the proof of ``setting`` relies on.

    References
    ----------
    Each proof lists its own; status: rigorous.
    """
    match setting:
        case Bb84Setting():
            return setting.events
        case ThreeStateSetting():
            return three_state.events(setting)
        case DecoySetting():
            return decoy_bb84.events(setting)
        case ThreeStateDecoySetting():
            return three_state_decoys.events(setting.decoys, setting.states)


def key_bases_of(setting: BlockSetting) -> tuple[str, ...]:
    """Names of the bases that make key under ``setting``: Z, unless BB84 bounds each basis from the other.

    References
    ----------
    Nothing is bounded here; status: rigorous.
    """
    return setting.key_basis_names if isinstance(setting, Bb84Setting) else ("Z",)


def estimate_of(counts: BlockCounts, setting: BlockSetting, budget: EpsilonBudget) -> Estimate:
    """Bound tagged bits and phase errors by the proof of the setting.

    Parameters
    ----------
    counts : BlockCounts
        Of the closed block.
    setting : BlockSetting
        Fixed before the block.
    budget : EpsilonBudget
        Failure probabilities.

    Returns
    -------
    Estimate
        Goes to ``key_length.length_of``.

    Raises
    ------
    LocalProtocolError
        If the counts contradict each other, or do not fit the setting.

    References
    ----------
    The proof modules; status: rigorous.
    """
    match setting:
        case Bb84Setting():
            return bb84_single_photon.estimate(counts, setting, budget)
        case ThreeStateSetting():
            return three_state.estimate(counts, setting, budget)
        case DecoySetting():
            return decoy_bb84.estimate(decoy_counts(counts, len(setting.intensities)), setting, budget)
        case ThreeStateDecoySetting():
            by_intensity = three_state_decoy_counts(counts, len(setting.decoys.intensities))
            return three_state_decoys.estimate(by_intensity, setting.decoys, setting.states, budget)


def decoy_counts(counts: BlockCounts, count_intensities: int) -> DecoyCounts:
    """Read the counts of a BB84 block by intensity.

    Parameters
    ----------
    counts : BlockCounts
        With rows ``Z0/signal``, ``Z0/decoy``, … in its table, and its key bits by intensity.
    count_intensities : int
        Intensities of the setting.

    Returns
    -------
    DecoyCounts
        X bits sent and found in X are the tested ones.

    Raises
    ------
    LocalProtocolError
        If the counts are not those of so many intensities.

    References
    ----------
    Nothing is bounded here; status: rigorous.
    """
    rows = _rows(counts, BB84_STATES, count_intensities)
    right = [rows["X0", index][2] + rows["X1", index][3] for index in range(count_intensities)]
    wrong = [rows["X0", index][3] + rows["X1", index][2] for index in range(count_intensities)]
    return DecoyCounts(
        key=counts.key_by_intensity,
        kept=counts.z.kept,
        tested=tuple(a + b for a, b in zip(right, wrong, strict=True)),
        errors=tuple(wrong),
        key_errors=counts.key_errors_by_intensity,
        cross_clicks=counts.cross_clicks,
    )


def three_state_decoy_counts(counts: BlockCounts, count_intensities: int) -> ThreeStateDecoyCounts:
    """Read the counts of a three-state block by intensity.

    Parameters
    ----------
    counts : BlockCounts
        With rows ``Z0/signal``, ``Z0/decoy``, … in its table, and its key bits by intensity.
    count_intensities : int
        Intensities of the setting.

    Returns
    -------
    ThreeStateDecoyCounts
        All clicks in X by state, outcome and intensity.

    Raises
    ------
    LocalProtocolError
        If the counts are not those of so many intensities.

    References
    ----------
    Nothing is bounded here; status: rigorous.
    """
    rows = _rows(counts, STATES, count_intensities)
    clicks = {
        (state, outcome): tuple(rows[state, index][2 + outcome] for index in range(count_intensities))
        for state in STATES
        for outcome in (0, 1)
    }
    return ThreeStateDecoyCounts(counts.key_by_intensity, counts.z.kept, clicks, counts.cross_clicks)


def _rows(counts: BlockCounts, states: tuple[str, ...], count_intensities: int) -> dict[tuple[str, int], tuple[int, ...]]:
    """Rows of the table by state and intensity."""
    if len(counts.table) != len(states) * count_intensities or any(len(row) != 4 or min(row) < 0 for row in counts.table):
        raise LocalProtocolError(
            f"counts by intensity need the table of settings by outcomes: {len(states)} states at {count_intensities} intensities"
        )
    if len(counts.key_by_intensity) != count_intensities or sum(counts.key_by_intensity) != counts.z.key:
        raise LocalProtocolError(f"key bits by intensity {counts.key_by_intensity} are not the {counts.z.key} of the block")
    named = ((state, index) for state in states for index in range(count_intensities))
    return dict(zip(named, counts.table, strict=True))
