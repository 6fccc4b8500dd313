"""Expected lengths by the formulas that decide live keys, of a block and of one pulse of an endless one.

Counts come from ``counts``; every result is a ``Yield`` with a ledger that begins with the sifted bits and adds up to what is left.
``paper_lengths`` has the publications' own. Serves ``expected`` and ``rate``.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import fsum
from typing import TYPE_CHECKING, Literal

from common.errors import AbortReason
from common.planning.counts import basis_shares, decoy_shares, expected_counts, x_click_shares
from common.planning.leakage import answer_share, expected_efficiency, expected_leakage
from common.profiles.setting import block_setting
from common.security.entropy import binary_entropy
from common.security.epsilons import EpsilonBudget
from common.security.key_length import KeyLength, key_length
from common.security.proofs import limits
from common.security.proofs.bb84_setting import Bb84Setting
from common.security.proofs.deciding import ThreeStateDecoySetting
from common.security.proofs.decoy_setting import DecoySetting
from common.security.proofs.registry import ComposableProof, require_composable
from common.security.proofs.three_state_setting import ThreeStateSetting

if TYPE_CHECKING:
    from collections.abc import Mapping

    from common.blocks import BlockCounts
    from common.leakage import Leakage
    from common.planning.link_model import LinkModel
    from common.profiles.link import LinkProfile

Mode = Literal["composable", "paper"]


@dataclass(frozen=True, slots=True)
class Yield:
    """What a block yields, or one pulse of an endless one.

    Attributes
    ----------
    proof, title : str
        Which formula, by name and in a line for people.
    secret_bits : float
        Of the block, or a pulse; at least 0.
    ledger : dict[str, float]
        Bits by item, deductions negative; ``math.fsum`` of it is ``secret_bits``, exactly in composable lengths.
    phase_error_bound : float | None
        Bound of the phase-error ratio within the untagged bits, over the key bases; None where nothing bounds it.
    multi_photon_bound : float | None
        Tagged share of the key-basis clicks; None without clicks.
    efficiency : float
        Reconciliation efficiency it was computed with.
    reason, bound : str
        Why there is no key, and the bound that failed in words; empty where there is key.
    """

    proof: str
    title: str
    secret_bits: float
    ledger: dict[str, float]
    phase_error_bound: float | None
    multi_photon_bound: float | None
    efficiency: float
    reason: str = ""
    bound: str = ""


def composable_length(profile: LinkProfile, counts: BlockCounts, leakage: Leakage) -> KeyLength:
    """Compute the length of a block by the formula that decides live keys.

    Parameters
    ----------
    profile : LinkProfile
        Any link.
    counts : BlockCounts
        Of the block, by intensity where the protocol has several.
    leakage : Leakage
        Every bit charged.

    Returns
    -------
    KeyLength
        With its ledger.

    References
    ----------
    :func:`common.security.key_length.key_length` on expected counts; status: planning.
    """
    return key_length(counts, leakage, block_setting(profile), EpsilonBudget.of(profile.security))


def composable_yield(profile: LinkProfile, model: LinkModel, count_pulses: int | None) -> Yield:
    """Expect what the composable proof gives.

    Parameters
    ----------
    profile : LinkProfile
        Any link.
    model : LinkModel
        What happens per pulse.
    count_pulses : int | None
        Pulses of the block; None for one pulse of an endless block.

    Returns
    -------
    Yield
        With its ledger.

    Raises
    ------
    ConfigurationError
        If the proof does not fit.

    References
    ----------
    :func:`composable_length`, ``common.security.proofs.limits``; status: planning.
    """
    proof = require_composable(profile.protocol, profile.security.proof)
    answers = answer_share(profile, proof)
    if count_pulses is None:
        efficiency = expected_efficiency(profile, model)
        return _limit_yield(proof, _limit(profile, model), profile, model, efficiency, answers)
    counts = expected_counts(profile, count_pulses, model)
    efficiency = expected_efficiency(profile, model, counts)
    length = composable_length(profile, counts, expected_leakage(counts, model, efficiency, answers))
    return Yield(
        proof=proof.name,
        title=proof.title,
        secret_bits=length.secret_bits,
        ledger=length.ledger,
        phase_error_bound=_pooled(length, {"Z": counts.z.kept, "X": counts.x.kept}),
        multi_photon_bound=length.multi_photon_bound,
        efficiency=efficiency * (1.0 + answers),
        reason=length.reason.label if length.reason else "",
        bound=length.bound,
    )


def _limit(profile: LinkProfile, model: LinkModel) -> limits.Limit:
    cross, setting = model.probability_cross, block_setting(profile)
    match setting:
        case Bb84Setting():
            shares = basis_shares(profile, model)
            return limits.bb84_limit(shares["Z"], shares["X"], cross, setting)
        case ThreeStateSetting():
            clicks = {entry: sum(values) for entry, values in x_click_shares(model).items()}
            return limits.three_state_limit(basis_shares(profile, model)["Z"].key, clicks, cross, setting)
        case DecoySetting():
            return limits.decoy_limit(*decoy_shares(profile, model), cross, setting)
        case ThreeStateDecoySetting(decoys, states):
            key, *_ = decoy_shares(profile, model)
            return limits.three_state_decoy_limit(key, x_click_shares(model), cross, decoys, states)


def _limit_yield(
    proof: ComposableProof, limit: limits.Limit, profile: LinkProfile, model: LinkModel, efficiency: float, answers: float
) -> Yield:
    ledger = limit.terms
    shares = basis_shares(profile, model)
    entropy = shares["Z"].key * binary_entropy(model.z.qber) + shares["X"].key * binary_entropy(model.x.qber)
    ledger["leakage, reconciliation"] = -efficiency * entropy
    if answers:
        ledger["leakage, answers"] = -answers * efficiency * entropy
    key = sum(entry.key for entry in limit.bases)
    usable = [entry for entry in limit.bases if entry.untagged > 0.0 and entry.phase_error_ratio is not None]
    untagged = sum(entry.untagged for entry in usable)
    secret_bits, ledger, reason, bound = closed(ledger, limit.reason, limit.bound, per_pulse=True)
    return Yield(
        proof=proof.name,
        title=proof.title,
        secret_bits=secret_bits,
        ledger=ledger,
        phase_error_bound=sum(entry.untagged * (entry.phase_error_ratio or 0.0) for entry in usable) / untagged if usable else None,
        multi_photon_bound=1.0 - sum(entry.untagged for entry in limit.bases) / key if key else None,
        efficiency=efficiency * (1.0 + answers),
        reason=reason,
        bound=bound,
    )


def _pooled(length: KeyLength, kept: Mapping[str, int]) -> float | None:
    """Phase-error ratio over the key bases, weighted by their untagged bits."""
    known = {basis: ratio for basis, ratio in length.phase_error_bound.items() if ratio is not None}
    untagged = {basis: kept[basis] + length.ledger[f"multi-photon {basis}"] for basis in known}
    total = sum(untagged.values())
    return sum(untagged[basis] * ratio for basis, ratio in known.items()) / total if total else None


def closed(
    ledger: dict[str, float], reason: AbortReason | None, bound: str, *, per_pulse: bool
) -> tuple[float, dict[str, float], str, str]:
    """Close a ledger: what is left is secret, or nothing is and the last line says by how much.

    Parameters
    ----------
    ledger : dict[str, float]
        Bits by item, deductions negative.
    reason : AbortReason | None
        Why there is no key whatever is left, or None.
    bound : str
        The same in words.
    per_pulse : bool
        Whether the bits are those of one pulse.

    Returns
    -------
    (secret bits, ledger, reason, bound)
        The ledger adds up to the secret bits.

    References
    ----------
    Nothing but a sum; status: planning.
    """
    balance = fsum(ledger.values())
    if reason is None and balance <= 0.0:
        left = f"{balance:.3g} bits a pulse" if per_pulse else f"{balance:.1f} bits"
        reason, bound = (
            AbortReason.LEAKAGE_EXCEEDS_ENTROPY,
            f"leakage exceeds entropy: {left} are left after leakage and privacy amplification",
        )
    if reason is None:
        return balance, ledger, "", ""
    return 0.0, ledger | {"not distilled": 0.0 - balance}, reason.label, bound
