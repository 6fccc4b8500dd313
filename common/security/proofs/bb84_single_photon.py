"""BB84 with a source that mostly emits single photons: multi-photon pulses are given away, the rest is bounded by sampling.

Each key basis's phase errors are what the *other* basis would have shown. Since nobody outside can tell disclosed from secret
rounds before detection, the disclosed rounds of the other basis are a uniform sample of them. Pulses with two photons or more are
taken to be known to the eavesdropper in full, and in a passive receiver so are clicks that more than one photon may have caused.
Comes from ``ClosedBlock`` counts, goes to ``key_length``.

References
----------
``docs/explanation/finite-key`` derives everything here; ``docs/explanation/assumptions`` says on what it rests. Status: rigorous.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from common.errors import AbortReason, LocalProtocolError
from common.security.bounds import binomial_upper_bound, untested_error_bound
from common.security.multi_photon import multi_click_bound
from common.security.proofs.bb84_setting import Bb84Setting
from common.security.proofs.estimate import OTHER_BASIS, BasisEstimate, Estimate, failure

if TYPE_CHECKING:
    from common.blocks import BlockCounts
    from common.security.epsilons import EpsilonBudget

__all__ = ["BasisEstimate", "Bb84Setting", "Estimate", "estimate"]


def estimate(counts: BlockCounts, setting: Bb84Setting, budget: EpsilonBudget) -> Estimate:
    """Bound tagged bits and phase errors of each key basis.

    Parameters
    ----------
    counts : BlockCounts
        Of the closed block, failed segments and dropped frames included. A negative ``cross_clicks`` says that they were not
        counted, which a passive receiver cannot do without.
    setting : Bb84Setting
        Fixed before the block.
    budget : EpsilonBudget
        Its estimation probability is shared by ``setting.events``.

    Returns
    -------
    Estimate
        With the reason and the failing bound where the block makes no key.

    Raises
    ------
    LocalProtocolError
        If the counts contradict each other.

    References
    ----------
    ``docs/explanation/finite-key``; [Tupkary2024] for variable length, [Mizutani2025] for passive receivers; status: rigorous.
    """
    _check(counts, setting)
    of_basis = {"Z": counts.z, "X": counts.x}
    keys = [of_basis[basis] for basis in setting.key_basis_names]
    if not any(key.key for key in keys):
        return Estimate((), reason=AbortReason.NO_CLICKS, bound=f"no sifted key bits in {counts.pulses} pulses")
    passive = setting.basis_choice == "passive"
    if passive and counts.cross_clicks < 0:
        return Estimate((), reason=AbortReason.MISSING_CROSS_CLICKS, bound="cross-basis clicks of a passive receiver were not counted")
    probability = budget.probability_of_event(len(setting.events))
    inside = multi_click_bound(counts.cross_clicks, setting.probability_z_bob, probability) if passive else 0

    def tagged(basis: str, share: float) -> int:
        per_pulse = setting.probability_matched(basis) * setting.probability_multi_photon * share
        return binomial_upper_bound(counts.pulses, per_pulse, probability / setting.maximum_frames) + inside

    bases = []
    for basis, key in zip(setting.key_basis_names, keys, strict=True):
        other, test = OTHER_BASIS[basis], of_basis[OTHER_BASIS[basis]]
        count_tagged = min(key.key, tagged(basis, 1.0 - setting.test_fraction(basis)))
        count_tested = max(0, test.tested - tagged(other, setting.test_fraction(other)))
        phase_errors = None
        if count_tested > 0:  # every error of the test is charged to its single photons
            errors = min(test.errors, count_tested)
            phase_errors = untested_error_bound(count_tested, errors, key.key - count_tagged, probability)
        bases.append(BasisEstimate(basis, key.key, key.kept, count_tagged, count_tested, phase_errors))
    return Estimate(tuple(bases), inside, *failure(bases, {name: basis.tested for name, basis in of_basis.items()}))


def _check(counts: BlockCounts, setting: Bb84Setting) -> None:
    for name, basis in (("Z", counts.z), ("X", counts.x)):
        if not (0 <= basis.kept <= basis.key and 0 <= basis.errors <= basis.tested):
            raise LocalProtocolError(f"counts of basis {name} contradict each other: {basis}; kept <= key and errors <= tested must hold")
    if counts.pulses < 0 or counts.frames < 0:
        raise LocalProtocolError(f"a block of {counts.pulses} pulses in {counts.frames} frames: neither is ever negative")
    if counts.frames > setting.maximum_frames:
        raise LocalProtocolError(f"a block of {counts.frames} frames exceeds maximum_frames = {setting.maximum_frames}: close it earlier")
    if setting.key_bases == "z" and counts.x.key:
        raise LocalProtocolError(f'{counts.x.key} X bits were not disclosed: with key_bases = "z" all of them are')
