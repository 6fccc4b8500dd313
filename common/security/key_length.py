"""The number of secret bits in a block, with a ledger that adds up to the last bit.

``l = floor( sum_b n_b (1 - h(N_ph_b / n_b)) - leakage - 2 log2(1/(2 eps_PA)) )`` over the key bases b: one bound and one hash for
all of them together. Verification tag and verdict are items of the leakage account like every other disclosure. The estimate
comes from a proof, the leakage from the steps before; the length goes to ``amplification`` and the ledger to the report.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, log2
from typing import TYPE_CHECKING

from common.errors import AbortReason, ConfigurationError
from common.security.entropy import saturated_entropy
from common.security.proofs.bb84_setting import Bb84Setting
from common.security.proofs.deciding import BlockSetting, estimate_of, events_of, key_bases_of
from common.security.proofs.estimate import Estimate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from common.blocks import BasisCounts, BlockCounts
    from common.leakage import Leakage
    from common.security.epsilons import EpsilonBudget
    from common.security.proofs.estimate import BasisEstimate

__all__ = ["Bb84Setting", "BlockSetting", "KeyLength", "key_length", "length_of"]

_UNIT = 1 << 26
"""Deductions are raised to whole multiples of 2^-26 bit: sums of them are exact in floating point up to blocks of 1e8 bits."""


@dataclass(frozen=True, slots=True)
class KeyLength:
    """How many bits of a block are secret, and why not more.

    Attributes
    ----------
    secret_bits : int
        Length of the key, bits; 0 where the block makes none.
    ledger : dict[str, float | int]
        Bits by item, deductions negative; ``math.fsum`` of the values is exactly ``secret_bits``.
    phase_error_bound : dict[str, float | None]
        Bound of the phase-error ratio within the untagged bits, by key basis; None where undefined.
    multi_photon_bound : float | None
        Tagged share of the key-basis clicks; None without clicks.
    epsilon : dict[str, float]
        Failure probabilities by name.
    reason : AbortReason | None
        Why there is no key, or None.
    bound : str
        The bound that failed and by how much, in words; empty where there is key.
    """

    secret_bits: int
    ledger: dict[str, float | int]
    phase_error_bound: dict[str, float | None]
    multi_photon_bound: float | None
    epsilon: dict[str, float]
    reason: AbortReason | None = None
    bound: str = ""


def key_length(counts: BlockCounts, leakage: Leakage, setting: BlockSetting, budget: EpsilonBudget) -> KeyLength:
    """Compute the secret length of a closed block.

    Parameters
    ----------
    counts : BlockCounts
        Of the closed block, failed segments and dropped frames included.
    leakage : Leakage
        Every bit charged, verification tag and verdict included: they are not charged again here.
    setting : BlockSetting
        What was fixed before the block; its type says which proof decides.
    budget : EpsilonBudget
        Failure probabilities allowed to the block.

    Returns
    -------
    KeyLength
        Both ends compute the same from the same counts.

    Raises
    ------
    LocalProtocolError
        If the counts contradict each other.

    References
    ----------
    [Tupkary2024], theorem on variable length; ``docs/explanation/finite-key`` for both key bases, tagged bits and failed segments;
    status: rigorous.
    """
    of_basis = {"Z": counts.z, "X": counts.x}
    keys = {basis: of_basis[basis] for basis in key_bases_of(setting)}
    return length_of(estimate_of(counts, setting, budget), keys, leakage, budget, events_of(setting))


def length_of(
    known: Estimate, keys: Mapping[str, BasisCounts], leakage: Leakage, budget: EpsilonBudget, events: Sequence[str]
) -> KeyLength:
    """Compute the secret length from what any composable proof says.

    Parameters
    ----------
    known : Estimate
        Of a composable proof; nothing else is taken.
    keys : Mapping[str, BasisCounts]
        Counts of the key bases, by name.
    leakage : Leakage
        Every bit charged, verification tag and verdict included.
    budget : EpsilonBudget
        The one the estimate was made with.
    events : sequence of str
        Names of the bounds the estimate relies on, for the itemised epsilons.

    Returns
    -------
    KeyLength
        With its ledger.

    Raises
    ------
    ConfigurationError
        If ``known`` is no estimate of a composable proof.

    References
    ----------
    [Tupkary2024], theorem on variable length; ``docs/explanation/finite-key``; status: rigorous.
    """
    if not isinstance(known, Estimate):  # for callers without a type checker
        raise ConfigurationError(f"{type(known).__name__} is no estimate of a composable proof: it may not decide a key length")
    scaled = _deductions(keys, leakage, budget, known)
    balance = sum(scaled.values())
    secret_bits, reason, bound = 0, known.reason, known.bound
    if reason is None:
        secret_bits = balance // _UNIT
        if secret_bits <= 0:
            secret_bits, reason = 0, AbortReason.LEAKAGE_EXCEEDS_ENTROPY
            bound = f"leakage exceeds entropy: {balance / _UNIT:.1f} bits are left after leakage and privacy amplification"
    scaled["rounding" if reason is None else "not distilled"] = secret_bits * _UNIT - balance
    clicks = sum(entry.count_key for entry in known.bases)
    return KeyLength(
        secret_bits=secret_bits,
        ledger={item: _bits(value) for item, value in scaled.items()},
        phase_error_bound=dict.fromkeys(keys) | {entry.basis: entry.phase_error_ratio for entry in known.bases},
        multi_photon_bound=sum(entry.count_tagged for entry in known.bases) / clicks if clicks else None,
        epsilon=budget.itemised(events),
        reason=reason,
        bound=bound,
    )


def _deductions(keys: Mapping[str, BasisCounts], leakage: Leakage, budget: EpsilonBudget, known: Estimate) -> dict[str, int]:
    """Return the ledger before its last line, in units of ``1/_UNIT`` bit."""
    sifted, kept = sum(key.key for key in keys.values()), sum(key.kept for key in keys.values())
    scaled = {"sifted key bits": sifted * _UNIT, "segments not reconciled": (kept - sifted) * _UNIT}
    for entry in known.bases:
        scaled[f"multi-photon {entry.basis}"] = (entry.count_untagged - entry.count_kept) * _UNIT
        scaled[f"phase errors {entry.basis}"] = -_phase_entropy(entry)
    for item, count_bits in leakage.items.items():
        scaled[f"leakage, {item}"] = -count_bits * _UNIT
    scaled["privacy amplification"] = -ceil(2.0 * log2(1.0 / (2.0 * budget.epsilon_amplification)) * _UNIT)
    return scaled


def _phase_entropy(entry: BasisEstimate) -> int:
    """``n h(N_ph / n)`` in units, raised to a whole one; all n bits where nothing bounds the errors."""
    ratio = entry.phase_error_ratio
    if ratio is None:
        return entry.count_untagged * _UNIT
    return min(entry.count_untagged * _UNIT, ceil(entry.count_untagged * saturated_entropy(ratio) * _UNIT))


def _bits(units: int) -> float | int:
    """Whole bits as an integer, others as the exact binary fraction."""
    return units // _UNIT if units % _UNIT == 0 else units / _UNIT
