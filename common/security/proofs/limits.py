"""What the composable proofs give when a block grows without end: their key per pulse with every statistical margin gone.

The margins vanish against the counts, constants too; what an eavesdropper may always have stays: tagged pulses, clicks of several
photons in a passive receiver, what decoys leave open. Expected counts *per pulse* in, shares per pulse out; the finite lengths tend
to them (``tests/unit/security/test_limits.py``). Serves the planner; no key is ever decided here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from common.errors import AbortReason
from common.security.checks import check_number
from common.security.entropy import saturated_entropy
from common.security.proofs.decoy_bounds import (
    single_lower_one_decoy,
    single_lower_two_decoys,
    single_upper,
    vacuum_errors_upper,
)
from common.security.proofs.decoy_setting import Exact, scaled
from common.security.proofs.estimate import OTHER_BASIS
from common.security.proofs.three_state_decoys import require_covered

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from common.security.proofs.bb84_setting import Bb84Setting
    from common.security.proofs.decoy_setting import DecoySetting
    from common.security.proofs.three_state_setting import ThreeStateSetting


@dataclass(frozen=True, slots=True)
class BasisShare:
    """What a basis gives, each a probability per pulse.

    Attributes
    ----------
    key : float
        Undisclosed bit that both ends have.
    tested : float
        Disclosed bit.
    errors : float
        Error among the disclosed bits.
    """

    key: float
    tested: float
    errors: float


@dataclass(frozen=True, slots=True)
class BasisLimit:
    """What is known of one key basis.

    Attributes
    ----------
    basis : str
        ``Z`` or ``X``.
    key, untagged : float
        Undisclosed bits per pulse, and the fewest of them from single photons.
    phase_error_ratio : float | None
        Among the untagged ones, at most 1; None where nothing bounds it.
    """

    basis: str
    key: float
    untagged: float
    phase_error_ratio: float | None


@dataclass(frozen=True, slots=True)
class Limit:
    """Key per pulse before anything is said about it.

    Attributes
    ----------
    bases : tuple[BasisLimit, ...]
        One entry a key basis.
    reason : AbortReason | None
        Why there is no key whatever the leakage, or None.
    bound : str
        The bound that failed, in words; empty without a reason.
    """

    bases: tuple[BasisLimit, ...]
    reason: AbortReason | None = None
    bound: str = ""

    @property
    def terms(self) -> dict[str, float]:
        """Ledger before leakage: bits per pulse by item, deductions negative."""
        items = {"sifted key bits": sum(entry.key for entry in self.bases)}
        for entry in self.bases:
            items[f"multi-photon {entry.basis}"] = entry.untagged - entry.key
            ratio = 0.5 if entry.phase_error_ratio is None else entry.phase_error_ratio
            items[f"phase errors {entry.basis}"] = -entry.untagged * saturated_entropy(ratio)
        return items


def bb84_limit(z: BasisShare, x: BasisShare, cross: float, setting: Bb84Setting) -> Limit:
    """Take ``bb84_single_photon`` to endless statistics.

    Parameters
    ----------
    z, x : BasisShare
        The two bases.
    cross : float
        Probability per pulse of a cross-basis click; of no account for an active receiver.
    setting : Bb84Setting
        As for the finite proof.

    Returns
    -------
    Limit
        Per pulse.

    Raises
    ------
    ConfigurationError
        If a probability is out of range; the message names it.

    References
    ----------
    ``docs/explanation/finite-key`` without its margins: the untested error ratio is the tested one, a count of tagged pulses its mean;
    status: planning.
    """
    of_basis = {"Z": z, "X": x}
    for name, share in of_basis.items():
        for entry in ("key", "tested", "errors"):
            check_number(f"{entry} share of {name}", getattr(share, entry), 0.0, 1.0)
    inside = _multi_clicks(cross, setting.probability_z_bob, setting.basis_choice)

    def tagged(basis: str, share: float) -> float:
        return setting.probability_matched(basis) * setting.probability_multi_photon * share + inside

    bases = []
    for basis in setting.key_basis_names:
        other, key = OTHER_BASIS[basis], of_basis[basis].key
        test = of_basis[other]
        tested = test.tested - tagged(other, setting.test_fraction(other))
        ratio = min(1.0, test.errors / tested) if tested > 0.0 else None
        bases.append(BasisLimit(basis, key, max(0.0, key - tagged(basis, 1.0 - setting.test_fraction(basis))), ratio))
    return _limit(bases)


def three_state_limit(key: float, clicks: Mapping[tuple[str, int], float], cross: float, setting: ThreeStateSetting) -> Limit:
    """Take ``three_state`` to endless statistics.

    Parameters
    ----------
    key : float
        Probability per pulse of an undisclosed Z bit.
    clicks : mapping of (state, outcome) to float
        Probability per pulse of a click in X by Alice's state and Bob's bit.
    cross : float
        Probability per pulse of a cross-basis click; of no account for an active receiver.
    setting : ThreeStateSetting
        As for the finite proof.

    Returns
    -------
    Limit
        Per pulse.

    Raises
    ------
    ConfigurationError
        If a probability is out of range; the message names it.

    References
    ----------
    ``docs/explanation/three-state`` without its margins: a sum of conditional probabilities is the count; status: planning.
    """
    check_number("key share", key, 0.0, 1.0)
    inside, multi = 0.0, setting.probability_multi_photon
    if setting.basis_choice == "passive":
        inside = cross * (1.0 / setting.least_cross_probability - 1.0)
    matched = setting.probability_z_alice * setting.probability_z_bob * (1.0 - setting.test_fraction_z)
    untagged = max(0.0, key - matched * multi - setting.probability_noisy_key - inside)
    wrong = 0.0
    for weight, classes in setting.weights().items():
        for state, outcome in classes:
            seen = clicks[state, outcome]
            if weight < 0.0:
                seen -= inside + setting.probability_of_state(state) * (1.0 - setting.probability_z_bob) * multi
            wrong += weight * max(0.0, seen)
    return _limit([BasisLimit("Z", key, untagged, _ratio(wrong, untagged))])


def decoy_limit(
    key: Sequence[float],
    key_errors: Sequence[float],
    tested: Sequence[float],
    errors: Sequence[float],
    cross: float,
    setting: DecoySetting,
) -> Limit:
    """Take ``decoy_bb84`` to endless statistics.

    Parameters
    ----------
    key, key_errors, tested, errors : sequence of float
        Probability per pulse of an undisclosed Z bit, of a wrong one, of a disclosed X bit and of a wrong one, by intensity.
    cross : float
        Probability per pulse of a cross-basis click; of no account for an active receiver.
    setting : DecoySetting
        As for the finite proof.

    Returns
    -------
    Limit
        Per pulse.

    Raises
    ------
    ConfigurationError
        If the probability of a cross-basis click is out of range.

    References
    ----------
    ``docs/explanation/decoy-states`` without its margins; status: planning.
    """
    inside = _multi_clicks(cross, setting.probability_z_bob, setting.basis_choice)
    single_key = max(0.0, _single(setting, key, key_errors) - inside)
    single_tested = max(0.0, _single(setting, tested, errors) - inside)
    wrong = min(single_upper(setting, *scaled(setting, errors, Exact())), sum(errors))
    ratio = min(1.0, wrong / single_tested) if single_tested > 0.0 else None
    return _limit([BasisLimit("Z", sum(key), min(sum(key), single_key), ratio)])


def three_state_decoy_limit(
    key: Sequence[float],
    clicks: Mapping[tuple[str, int], Sequence[float]],
    cross: float,
    decoys: DecoySetting,
    setting: ThreeStateSetting,
) -> Limit:
    """Take ``three_state_decoys`` to endless statistics.

    Parameters
    ----------
    key : sequence of float
        Probability per pulse of an undisclosed Z bit, by intensity.
    clicks : mapping of (state, outcome) to sequence of float
        Probability per pulse of a click in X by Alice's state and Bob's bit, by intensity.
    cross : float
        Probability per pulse of a cross-basis click; of no account for an active receiver.
    decoys : DecoySetting
        Three intensities.
    setting : ThreeStateSetting
        States and probabilities.

    Returns
    -------
    Limit
        Per pulse.

    Raises
    ------
    ConfigurationError
        If ``three_state_decoys.require_covered`` refuses, or the probability of a cross-basis click is out of range.

    References
    ----------
    ``docs/explanation/decoy-states`` without its margins; status: planning.
    """
    require_covered(decoys, setting)
    inside = _multi_clicks(cross, decoys.probability_z_bob, decoys.basis_choice)
    untagged = max(0.0, single_lower_two_decoys(decoys, *scaled(decoys, key, Exact())) - inside)
    wrong = 0.0
    for weight, classes in setting.weights().items():
        together = [sum(clicks[entry][index] for entry in classes) for index in range(len(decoys.intensities))]
        bounds = scaled(decoys, together, Exact())
        if weight > 0.0:
            wrong += weight * min(single_upper(decoys, *bounds), sum(together))
        else:
            wrong += weight * max(0.0, single_lower_two_decoys(decoys, *bounds) - inside)
    return _limit([BasisLimit("Z", sum(key), min(sum(key), untagged), _ratio(wrong, untagged))])


def _multi_clicks(cross: float, probability_z: float, basis_choice: str) -> float:
    """Single-basis clicks per pulse that several photons may have caused: what ``multi_click_bound`` tends to."""
    check_number("cross-click share", cross, 0.0, 1.0)
    parted = 2.0 * probability_z * (1.0 - probability_z)
    return cross * (1.0 - parted) / parted if basis_choice == "passive" else 0.0


def _single(setting: DecoySetting, clicks: Sequence[float], errors: Sequence[float]) -> float:
    low, high = scaled(setting, clicks, Exact())
    if len(setting.intensities) == 3:
        return single_lower_two_decoys(setting, low, high)
    vacuum = 2.0 * vacuum_errors_upper(setting, scaled(setting, errors, Exact())[1])  # half the clicks of empty pulses are wrong
    return single_lower_one_decoy(setting, low, high, min(vacuum, sum(clicks)))


def _ratio(wrong: float, untagged: float) -> float | None:
    return min(1.0, max(0.0, wrong) / untagged) if untagged > 0.0 else None


def _limit(bases: list[BasisLimit]) -> Limit:
    """Judge as ``estimate.failure`` does."""
    if not any(entry.key > 0.0 for entry in bases):
        return Limit(tuple(bases), AbortReason.NO_CLICKS, "no sifted key bits")
    usable = [entry for entry in bases if entry.untagged > 0.0]
    if not usable:
        words = ", ".join(f"all {entry.key:.3g} {entry.basis} bits a pulse" for entry in bases)
        return Limit(tuple(bases), AbortReason.MULTI_PHOTON_BOUND, f"multi-photon bound: {words} may stem from several photons")
    for entry in usable:
        if entry.phase_error_ratio is None:
            words = f"phase errors of {entry.basis}: all disclosed {OTHER_BASIS[entry.basis]} bits may stem from several photons"
            return Limit(tuple(bases), AbortReason.TOO_FEW_TESTED, words)
        if entry.phase_error_ratio >= 0.5:
            words = f"phase-error bound of {entry.basis}: ratio {entry.phase_error_ratio:.4f}, the limit is 0.5"
            return Limit(tuple(bases), AbortReason.PHASE_ERROR_BOUND, words)
    return Limit(tuple(bases))
