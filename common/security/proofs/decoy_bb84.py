"""BB84 with laser light and one or two decoys: only the single-photon clicks make key, and decoys say how many there are.

All intensities make key. Clicks of empty pulses and of several photons are handed to the eavesdropper; the single-photon clicks in X
are a uniform sample of all single-photon clicks, because one photon tells nothing about the basis, so the exact sampling bound
speaks about those in Z. In a passive receiver the clicks that several photons at Bob may have caused are subtracted as in
``bb84_single_photon``. Comes from ``DecoyCounts``, goes to ``key_length.length_of``.

References
----------
``docs/explanation/decoy-states`` derives the composable form; bounds of photon numbers from [Lim2014] and [Rusca2018].
Status: rigorous, for pulses of random phase and characterised, uncorrelated intensities.
"""

from __future__ import annotations

from math import log
from typing import TYPE_CHECKING

from common.errors import AbortReason, ConfigurationError, LocalProtocolError
from common.security.bounds import untested_error_bound
from common.security.checks import check_epsilon
from common.security.multi_photon import multi_click_bound
from common.security.proofs.decoy_bounds import (
    single_lower_one_decoy,
    single_lower_two_decoys,
    single_upper,
    vacuum_errors_upper,
)
from common.security.proofs.decoy_setting import Entropic, scaled
from common.security.proofs.estimate import BasisEstimate, Estimate, failure
from common.security.tails import log_binomial_lower_tail

if TYPE_CHECKING:
    from common.security.epsilons import EpsilonBudget
    from common.security.proofs.decoy_setting import DecoyCounts, DecoySetting

_TWO_DECOYS = tuple(f"{basis} {bound}" for basis in ("key", "test") for bound in ("n1+", "n2-", "n2+", "n3-", "n3+"))
_ONE_DECOY = tuple(f"{basis} {bound}" for basis in ("key", "test") for bound in ("n1+", "n2-", "m1+", "m2+", "vacuum"))


def events(setting: DecoySetting) -> tuple[str, ...]:
    """Names of the bounds the proof relies on under ``setting``; the estimation epsilon is shared equally between them.

    References
    ----------
    ``docs/explanation/decoy-states``; status: rigorous.
    """
    two = len(setting.intensities) == 3
    names = (*_TWO_DECOYS, "test m2+", "test m3-") if two else (*_ONE_DECOY, "test m2-")
    return (*names, "phase errors Z", *(("multi-clicks",) if setting.basis_choice == "passive" else ()))


def estimate(counts: DecoyCounts, setting: DecoySetting, budget: EpsilonBudget) -> Estimate:
    """Bound the single-photon key bits and their phase errors.

    Parameters
    ----------
    counts : DecoyCounts
        Of the closed block, failed segments included.
    setting : DecoySetting
        Fixed before the block; two intensities stand for one decoy, three for two.
    budget : EpsilonBudget
        Its estimation probability is shared by ``events``.

    Returns
    -------
    Estimate
        With the reason and the failing bound where the block makes no key.

    Raises
    ------
    LocalProtocolError
        If the counts do not fit the setting.
    ConfigurationError
        If one decoy comes without the errors of the key bits.

    References
    ----------
    ``docs/explanation/decoy-states``; status: rigorous.
    """
    if len(counts.key) != len(setting.intensities):
        raise LocalProtocolError(f"counts of {len(counts.key)} intensities, but source.intensities lists {len(setting.intensities)}")
    if len(setting.intensities) == 2 and not counts.key_errors:
        raise ConfigurationError("key_errors: with one decoy the errors of the key bits bound the empty pulses, count them by intensity")
    count_key = sum(counts.key)
    if not count_key:
        return Estimate((), reason=AbortReason.NO_CLICKS, bound="no sifted key bits")
    passive = setting.basis_choice == "passive"
    if passive and counts.cross_clicks < 0:
        return Estimate((), reason=AbortReason.MISSING_CROSS_CLICKS, bound="cross-basis clicks of a passive receiver were not counted")
    epsilon = budget.probability_of_event(len(events(setting)))
    inside = multi_click_bound(counts.cross_clicks, setting.probability_z_bob, epsilon) if passive else 0
    single_key = max(0, _whole(_single(setting, counts.key, counts.key_errors, epsilon)) - inside)
    single_tested = max(0, _whole(_single(setting, counts.tested, counts.errors, epsilon)) - inside)
    phase_errors = None
    if single_tested > 0:
        low, high = scaled(setting, counts.errors, Entropic(epsilon))
        errors = min(int(single_upper(setting, low, high) * (1.0 + 1e-12)), sum(counts.errors), single_tested)
        phase_errors = untested_error_bound(single_tested, errors, single_key, epsilon)
    entry = BasisEstimate("Z", count_key, counts.kept, count_key - min(count_key, single_key), single_tested, phase_errors)
    return Estimate((entry,), inside, *failure([entry], {"X": sum(counts.tested)}))


def vacuum_clicks_upper(errors: int, most: int, epsilon: float) -> int:
    """Bound the clicks of empty pulses from their errors: Alice's bit is a coin nobody else has seen.

    Parameters
    ----------
    errors : int
        Upper bound of the errors, 0 or more.
    most : int
        Clicks in all.
    epsilon : float
        Probability of failure, ``0 < epsilon < 1``.

    Returns
    -------
    int
        The largest s with ``P[Bin(s, 1/2) <= errors] > epsilon``, at most ``most``.

    References
    ----------
    [Rusca2018] with the exact tail in place of Hoeffding's; status: rigorous.
    """
    check_epsilon("epsilon", epsilon)
    threshold = log(epsilon) - 1e-9
    low, high = min(errors, most), most + 1
    while high - low > 1:
        middle = (low + high) // 2
        if log_binomial_lower_tail(errors, middle, 0.5) > threshold:
            low = middle
        else:
            high = middle
    return low


def _single(setting: DecoySetting, clicks: tuple[int, ...], errors: tuple[int, ...], epsilon: float) -> float:
    spread = Entropic(epsilon)
    low, high = scaled(setting, clicks, spread)
    if len(setting.intensities) == 3:
        return single_lower_two_decoys(setting, low, high)
    _, high_errors = scaled(setting, errors, spread)
    wrong = int(vacuum_errors_upper(setting, high_errors) * (1.0 + 1e-12))
    return single_lower_one_decoy(setting, low, high, vacuum_clicks_upper(wrong, sum(clicks), epsilon))


def _whole(clicks: float) -> int:
    return int(clicks * (1.0 - 1e-12))
