"""Expected lengths by the publications' formulas, of a block and of one pulse of an endless one.

One function a question, one branch a publication; the formulas are those of ``common.security.proofs``, their epsilons those of the
profile shared out as published. Serves ``rate`` and figures; decides no key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from common.errors import AbortReason, ConfigurationError
from common.planning.counts import basis_shares, decoy_shares, expected_counts
from common.planning.leakage import RECONCILIATION_EFFICIENCY
from common.planning.lengths import Yield, closed
from common.profiles.setting import decoy_setting, three_state_setting
from common.security.entropy import binary_entropy
from common.security.proofs import single_photon_paper, three_state_paper
from common.security.proofs.bb84_setting import Bb84Setting
from common.security.proofs.deciding import decoy_counts, three_state_decoy_counts
from common.security.proofs.decoy_paper import (
    decoy_asymptotic_rate,
    decoy_length,
    three_state_decoy_asymptotic_rate,
    three_state_decoy_length,
)
from common.security.proofs.paper_length import AsymptoticRate, PaperEpsilons, PaperKeyLength
from common.security.proofs.registry import ComposableProof, PaperProof, find_proof, proofs_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from common.blocks import BlockCounts
    from common.planning.link_model import LinkModel
    from common.profiles.link import LinkProfile


def paper_proof(profile: LinkProfile) -> PaperProof:
    """Find the publication's formula that a profile names.

    Parameters
    ----------
    profile : LinkProfile
        Any link.

    Returns
    -------
    PaperProof
        Without a name the first one of the protocol that knows as many intensities.

    Raises
    ------
    ConfigurationError
        If it does not fit; the message names the entry.

    References
    ----------
    ``docs/explanation/proofs``; status: planning.
    """
    security = profile.security
    if security.paper_proof is None:
        papers = [proof for proof in proofs_of(profile.protocol) if isinstance(proof, PaperProof)]
        fitting = [proof for proof in papers if not _misfit(proof.name, profile)]
        if not fitting:
            raise ConfigurationError(f"{papers[0].name} and link {profile.name!r}: {_misfit(papers[0].name, profile)}")
        return fitting[0]
    proof = find_proof(profile.protocol, security.paper_proof)
    if isinstance(proof, ComposableProof):
        raise ConfigurationError(f"security.paper_proof = {proof.name!r} is no publication's formula; name it as security.proof")
    if misfit := _misfit(proof.name, profile):
        raise ConfigurationError(f"security.paper_proof = {proof.name!r}: {misfit}")
    return proof


def paper_yield(profile: LinkProfile, model: LinkModel, count_pulses: int | None) -> Yield:
    """Expect what a publication's formula gives.

    Parameters
    ----------
    profile : LinkProfile
        Any link.
    model : LinkModel
        What happens per pulse: the textbook channel for the publication's own figures, or any other.
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
    The formulas of ``common.security.proofs``; status: paper.
    """
    proof = paper_proof(profile)
    efficiency = RECONCILIATION_EFFICIENCY
    if proof.name == "hbn":
        efficiency = _hbn_efficiency(profile, model)
    if count_pulses is None:
        rate = _paper_rate(proof.name, profile, model, efficiency)
        return _paper(proof, rate.terms, rate.phase_error_ratio, _paper_key(proof.name, profile, model), efficiency)
    counts = expected_counts(profile, count_pulses, model)
    count_key = counts.z.key + counts.x.key if proof.name == "hbn" else counts.z.key
    if not count_key or not counts.x.tested:
        bound = f"no clicks: {count_key} sifted key bits and {counts.x.tested} tested ones in {count_pulses} pulses"
        return Yield(proof.name, proof.title, 0.0, {}, None, None, efficiency, AbortReason.NO_CLICKS.label, bound)
    length = _paper_length(proof.name, profile, model, counts, efficiency)
    return _paper(proof, length.terms, length.phase_error_ratio, float(count_key), efficiency)


def paper_epsilons(profile: LinkProfile, name: str) -> PaperEpsilons:
    """Share the profile's secrecy out as a publication does, linearly.

    Parameters
    ----------
    profile : LinkProfile
        Any link.
    name : str
        Of the publication's proof.

    Returns
    -------
    PaperEpsilons
        ``niedersachsen`` six equal parts, four of them events; ``hefei`` 11 events with a twelfth each, a twenty-fourth for amplification.

    References
    ----------
    [Yang2024], [Zhang2025], summaries read; status: paper.
    """
    secrecy, correctness = profile.security.epsilon_secrecy, profile.security.epsilon_correctness
    if name == "niedersachsen":
        return PaperEpsilons(secrecy / 6.0, secrecy / 6.0, correctness)
    return PaperEpsilons(secrecy / 12.0, secrecy / 24.0, correctness)


def _paper_length(name: str, profile: LinkProfile, model: LinkModel, counts: BlockCounts, efficiency: float) -> PaperKeyLength:
    security = profile.security
    leak = efficiency * counts.z.key * binary_entropy(min(0.5, model.z.qber))
    if name == "niedersachsen":
        setting = Bb84Setting.of(profile.source, profile.receiver, security)
        return single_photon_paper.niedersachsen_length(counts, setting, leak, paper_epsilons(profile, name))
    if name == "hbn":
        tested = counts.z.tested + counts.x.tested
        qber = min(0.5, (counts.z.errors + counts.x.errors) / tested)
        count_key = counts.z.key + counts.x.key
        share, code_rate = _single_share(model), _hbn_code_rate(profile, qber, efficiency)
        if share == 0.0:
            return PaperKeyLength(0.0, {"single-photon bits": 0.0}, 0.5, "Scarani2008")
        return single_photon_paper.hbn_length(count_key, tested, qber, share, code_rate, security.epsilon_secrecy / 4.0)
    if name == "hefei":
        return three_state_paper.three_state_length(counts, three_state_setting(profile), leak, paper_epsilons(profile, name))
    decoys = decoy_setting(profile)
    if name in {"lim-2014", "rusca-2018"}:
        by_intensity = decoy_counts(counts, len(decoys.intensities))
        return decoy_length(by_intensity, decoys, leak, security.epsilon_secrecy, security.epsilon_correctness)
    block = three_state_decoy_counts(counts, len(decoys.intensities))
    return three_state_decoy_length(block, decoys, three_state_setting(profile), leak, paper_epsilons(profile, name))


def _paper_rate(name: str, profile: LinkProfile, model: LinkModel, efficiency: float) -> AsymptoticRate:
    click, multi = model.probability_detection, model.probability_multi_photon
    key, qber = _paper_key(name, profile, model), _pooled_qber(model)
    if name == "hbn":
        return single_photon_paper.hbn_asymptotic_rate(key, qber, _single_share(model), _hbn_code_rate(profile, qber, efficiency))
    sifted = min(1.0, key / click) if click else 0.0
    if name == "niedersachsen":
        return single_photon_paper.asymptotic_rate(click, multi, qber, efficiency, sifted)
    if name == "hefei":
        return three_state_paper.asymptotic_rate(click, multi, min(0.5, model.z.qber), efficiency, sifted, min(0.5, model.x.qber))
    gains = [sum(sent * sum(row) for sent, row in zip(model.setting_probabilities, pulse.table, strict=True)) for pulse in model.pulses]
    z, wrong_z, x, wrong_x = decoy_shares(profile, model)
    errors = [gain * min(0.5, (a + b) / (n + m)) if n + m else 0.0 for gain, n, a, m, b in zip(gains, z, wrong_z, x, wrong_x, strict=True)]
    formula = three_state_decoy_asymptotic_rate if name == "three-state-laser" else decoy_asymptotic_rate
    return formula(decoy_setting(profile), gains, errors, efficiency, sifted)


def _paper_key(name: str, profile: LinkProfile, model: LinkModel) -> float:
    """Sifted key bits a pulse as a publication counts them."""
    if name == "niedersachsen":  # its asymptotic formula lets both bases make key and discloses nothing
        return model.z.probability_sifted + model.x.probability_sifted
    shares = basis_shares(profile, model)
    return shares["Z"].key + shares["X"].key  # the latter is 0 unless both bases make key


def _paper(proof: PaperProof, terms: Mapping[str, float], ratio: float, count_key: float, efficiency: float) -> Yield:
    """Begin the ledger with the sifted bits, and say why nothing is left where nothing is."""
    single = terms.get("single-photon bits", 0.0)
    ledger = {"sifted key bits": count_key, "multi-photon Z": single - count_key}
    ledger |= {_NAMES.get(name, name): value for name, value in terms.items() if name != "single-photon bits"}
    untagged = max(0.0, single) + terms.get("empty pulses", 0.0)
    bounded: float | None = ratio
    reason, bound = None, ""
    if single <= 0.0 or len(terms) < 3:
        bounded = None
        reason, bound = (
            AbortReason.MULTI_PHOTON_BOUND,
            "multi-photon bound: no bit or no test is left that stems from a single photon for sure",
        )
    elif ratio >= 0.5:
        reason, bound = AbortReason.PHASE_ERROR_BOUND, "phase-error bound: the ratio reaches the limit of 0.5"
    secret, ledger, label, bound = closed(ledger, reason, bound, per_pulse=count_key < 1.0)
    share = 1.0 - untagged / count_key if count_key else None
    return Yield(proof.name, proof.title, secret, ledger, bounded, share, efficiency, label, bound)


_NAMES = {"phase errors": "phase errors Z", "leakage": "leakage, reconciliation"}
"""Items of publications by the names the live ledger has for them."""


def _pooled_qber(model: LinkModel) -> float:
    sifted = model.z.probability_sifted + model.x.probability_sifted
    wrong = model.z.probability_sifted * model.z.qber + model.x.probability_sifted * model.x.qber
    return min(0.5, wrong / sifted) if sifted else 0.5


def _single_share(model: LinkModel) -> float:
    """``(p_det - P_m)/p_det``."""
    click = model.probability_detection
    return max(0.0, 1.0 - model.probability_multi_photon / click) if click else 0.0


def _hbn_efficiency(profile: LinkProfile, model: LinkModel) -> float:
    """What a code of the profile's rate leaks over ``h(QBER)``."""
    rate, entropy = profile.reconciliation.code_rate, binary_entropy(_pooled_qber(model))
    return RECONCILIATION_EFFICIENCY if rate is None or not entropy else (1.0 - rate) / entropy


def _hbn_code_rate(profile: LinkProfile, qber: float, efficiency: float) -> float:
    rate = profile.reconciliation.code_rate
    return max(0.0, 1.0 - efficiency * binary_entropy(qber)) if rate is None else rate


def _misfit(name: str, profile: LinkProfile) -> str:
    """Say why a publication's formula does not fit the number of intensities."""
    wanted = {"lim-2014": 3, "rusca-2018": 2, "three-state-laser": 3}.get(name)
    found = len(profile.source.intensities)
    return f"it needs {wanted} intensities, source.intensities lists {found}" if wanted is not None and found != wanted else ""
