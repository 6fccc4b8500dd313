"""Three states from a laser with two decoys: decoys pick the single photons out of every class of clicks, the rest is three-state.

The bounds of [Lim2014] hold for any class of clicks, so each class of ``ThreeStateSetting.weights`` gets its bounds of single-photon
clicks, upper ones where it counts positively and lower ones where it counts negatively; ``three_state.phase_error_bound`` goes on
from there. All intensities make key; empty pulses and those of several photons are handed to the eavesdropper.

References
----------
``docs/explanation/decoy-states``; [Lim2014], [Tamaki2014]. Status: rigorous, under the assumptions of both proofs it joins.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from common.errors import AbortReason, ConfigurationError, LocalProtocolError
from common.security.multi_photon import multi_click_bound
from common.security.proofs.decoy_bounds import single_lower_two_decoys, single_upper
from common.security.proofs.decoy_setting import Entropic, scaled
from common.security.proofs.estimate import BasisEstimate, Estimate, failure
from common.security.proofs.three_state import phase_error_bound

if TYPE_CHECKING:
    from collections.abc import Mapping

    from common.security.epsilons import EpsilonBudget
    from common.security.proofs.decoy_setting import DecoySetting
    from common.security.proofs.three_state_setting import ThreeStateSetting

_KEY = ("key n1+", "key n2-", "key n2+", "key n3-", "key n3+")


@dataclass(frozen=True, slots=True)
class ThreeStateDecoyCounts:
    """What was counted with each intensity, brightest first.

    Attributes
    ----------
    key : tuple[int, ...]
        Sifted Z bits.
    kept : int
        Those in reconciled segments.
    clicks : Mapping[tuple[str, int], tuple[int, ...]]
        Clicks in X by (Alice's state, Bob's bit).
    cross_clicks : int
        Slots in which detectors of both bases clicked; negative where they were not counted.
    """

    key: tuple[int, ...]
    kept: int
    clicks: Mapping[tuple[str, int], tuple[int, ...]]
    cross_clicks: int = 0


def require_covered(decoys: DecoySetting, setting: ThreeStateSetting) -> None:
    """Refuse light and receivers that the proof says nothing about.

    Parameters
    ----------
    decoys : DecoySetting
        The light.
    setting : ThreeStateSetting
        States and receiver.

    Raises
    ------
    ConfigurationError
        If there are not two decoys, the settings disagree, both bases are read on the same ports as with time bins, or Z of a passive
        receiver has noise that X does not show.

    References
    ----------
    ``docs/explanation/decoy-states``; status: rigorous.
    """
    if len(decoys.intensities) != 3:
        raise ConfigurationError(f"source.intensities {decoys.intensities}: the three-state decoy proof needs a signal and two decoys")
    if setting.probability_multi_photon != 0.0 or (decoys.probability_z_bob, decoys.basis_choice) != (
        setting.probability_z_bob,
        setting.basis_choice,
    ):
        raise ConfigurationError("probability_multi_photon must be 0 with decoys, and both settings name one receiver")
    if setting.windows_share_ports or setting.probability_excess_noise:
        raise ConfigurationError(
            "the three-state decoy proof covers neither time bins (encoding = 'time-bin') nor a passive receiver whose Z has noise that X"
            f" does not show (probability_excess_noise = {setting.probability_excess_noise:.2g}); choose encoding = 'polarisation' with"
            " receiver.probability_z of at least 0.5, or single photons with security.proof = 'three-state-single-photon'"
        )


def events(decoys: DecoySetting, setting: ThreeStateSetting) -> tuple[str, ...]:
    """Names of the bounds the proof relies on under ``decoys`` and ``setting``.

    References
    ----------
    ``docs/explanation/decoy-states``; status: rigorous.
    """
    names = list(_KEY)
    for weight, classes in setting.weights().items():
        label = "+".join(f"{state}:{outcome}" for state, outcome in classes)
        names.append(f"clicks {label}")
        needed = ("n2+", "n3-") if weight > 0.0 else ("n1+", "n2-", "n2+", "n3-", "n3+")
        names += [f"{label} {bound}" for bound in needed]
    return (*names, "phase errors Z", *(("multi-clicks",) if decoys.basis_choice == "passive" else ()))


def estimate(counts: ThreeStateDecoyCounts, decoys: DecoySetting, setting: ThreeStateSetting, budget: EpsilonBudget) -> Estimate:
    """Bound the single-photon key bits and their phase errors.

    Parameters
    ----------
    counts : ThreeStateDecoyCounts
        Of the closed block.
    decoys : DecoySetting
        Three intensities.
    setting : ThreeStateSetting
        States and probabilities; its multi-photon bound must be 0, decoys take its place.
    budget : EpsilonBudget
        Its estimation probability is shared by ``events``.

    Returns
    -------
    Estimate
        With the reason and the failing bound where the block makes no key.

    Raises
    ------
    ConfigurationError
        If ``require_covered`` refuses.
    LocalProtocolError
        If a class of clicks is missing.

    References
    ----------
    ``docs/explanation/decoy-states``; status: rigorous.
    """
    require_covered(decoys, setting)
    needed = {entry for classes in setting.weights().values() for entry in classes}
    if missing := needed - counts.clicks.keys():
        raise LocalProtocolError(f"three-state decoy counts lack the clicks {sorted(missing)}")
    count_key = sum(counts.key)
    if not count_key:
        return Estimate((), reason=AbortReason.NO_CLICKS, bound="no sifted key bits")
    passive = decoys.basis_choice == "passive"
    if passive and counts.cross_clicks < 0:
        return Estimate((), reason=AbortReason.MISSING_CROSS_CLICKS, bound="cross-basis clicks of a passive receiver were not counted")
    epsilon = budget.probability_of_event(len(events(decoys, setting)))
    inside = multi_click_bound(counts.cross_clicks, decoys.probability_z_bob, epsilon) if passive else 0
    spread = Entropic(epsilon)
    single_key = max(0, int(single_lower_two_decoys(decoys, *scaled(decoys, counts.key, spread)) * (1.0 - 1e-12)) - inside)
    most, least = {}, {}
    for weight, classes in setting.weights().items():
        together = tuple(sum(counts.clicks[entry][index] for entry in classes) for index in range(3))
        bounds = scaled(decoys, together, spread)
        first, *others = classes  # a group is bounded as one, so its bound stands in the place of its first class
        if weight > 0.0:
            most[first] = min(int(single_upper(decoys, *bounds) * (1.0 + 1e-12)), sum(together))
            most.update(dict.fromkeys(others, 0))
        else:
            least[first] = int(single_lower_two_decoys(decoys, *bounds) * (1.0 - 1e-12)) - inside
            least.update(dict.fromkeys(others, 0))
    clicks = sum(sum(entry) for entry in counts.clicks.values())
    phase_errors = min(phase_error_bound(setting, most, least, epsilon), single_key)
    entry = BasisEstimate("Z", count_key, counts.kept, count_key - min(count_key, single_key), clicks, phase_errors)
    return Estimate((entry,), inside, *failure([entry], {"X": clicks}))
