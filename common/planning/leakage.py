"""What reconciliation and verification are expected to say about a block.

The efficiency is that of the method the profile names, at the QBER the link model expects; which half of the conversation is charged
is the proof's rule, as in ``distillation``. Serves ``lengths``.
"""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

from common.distillation.pace import Pace
from common.distillation.reconciliation.cascade_efficiency import cascade_efficiency
from common.leakage import Leakage
from common.security.entropy import binary_entropy
from common.security.proofs.registry import require_composable

if TYPE_CHECKING:
    from common.blocks import BlockCounts
    from common.planning.link_model import LinkModel
    from common.profiles.link import LinkProfile
    from common.security.proofs.registry import ComposableProof

PAPER_EFFICIENCY = 1.16
"""Charged bits over ``n h(QBER)`` that the published links calculate with; their formulas only."""

VERIFICATION_TAG_BITS = 128
"""Bits of the verification hash a block is charged with."""

SEGMENT_TAG_BITS = 16
"""Bits of the tag of a segment, part of the efficiency of LDPC."""


def expected_efficiency(profile: LinkProfile, model: LinkModel, counts: BlockCounts | None = None) -> float:
    """Expect the efficiency of the profile's reconciliation at the model's QBER.

    Parameters
    ----------
    profile : LinkProfile
        Any link.
    model : LinkModel
        What happens per pulse.
    counts : BlockCounts | None
        Of the block, whose bits fill whole segments; None for an endless one.

    Returns
    -------
    float
        Bits said about the reference over ``n h(QBER)``, segment tags included: for LDPC that of the code which would be chosen, for
        Cascade what was measured.

    References
    ----------
    ``common.distillation.reconciliation.codes.choose_code``, from measured working points, and ``cascade_efficiency``, likewise;
    status: planning.
    """
    chosen = profile.reconciliation
    shares = [(model.z.probability_sifted, model.z.qber), (model.x.probability_sifted, model.x.qber)]
    if profile.security.key_bases == "z":
        shares = shares[:1]
    total = sum(share for share, _ in shares)
    qber = sum(share * errors for share, errors in shares) / total if total else 0.0
    if expected_method(profile) == "cascade":
        return cascade_efficiency(qber, counts.z.kept + counts.x.kept if counts else None, chosen.segment_bits)
    # the codes bring their decoder along, which takes longer to import than everything else the planner needs
    from common.distillation.recipe import BATCH_KEY_BITS
    from common.distillation.reconciliation.codes import CODE_RATES, choose_code, codeword_lengths
    from common.distillation.reconciliation.effort import EFFORTS

    rates = CODE_RATES if chosen.code_rate is None else (chosen.code_rate,)
    count_bits = min(counts.z.kept + counts.x.kept, BATCH_KEY_BITS["ldpc"]) if counts else 0
    effort = EFFORTS[chosen.effort]
    lengths = codeword_lengths(min(chosen.segment_bits, count_bits or chosen.segment_bits), effort)
    choice = choose_code(min(0.25, max(1e-4, qber)), lengths, rates, count_key_bits=count_bits or None, effort=effort)
    efficiency = choice.efficiency + SEGMENT_TAG_BITS / (choice.count_payload * max(binary_entropy(qber), 1e-6))
    if count_bits:
        efficiency *= ceil(count_bits / choice.count_payload) * choice.count_payload / count_bits
    return max(1.0, efficiency)


def expected_method(profile: LinkProfile) -> str:
    """Say which method of reconciliation a link is expected to use.

    Parameters
    ----------
    profile : LinkProfile
        Any link with a composable proof.

    Returns
    -------
    str
        The profile's; where it leaves the method open what a near peer would choose, ``cascade`` unless the proof charges its answers.
    """
    if profile.reconciliation.method != "auto":
        return profile.reconciliation.method
    charges_answers = require_composable(profile.protocol, profile.security.proof).leakage_rule == "both halves"
    return Pace(charges_answers=charges_answers).method


def answer_share(profile: LinkProfile, proof: ComposableProof) -> float:
    """Bits of the correcting half that are charged, over those of the reference half.

    Parameters
    ----------
    profile : LinkProfile
        Any link.
    proof : ComposableProof
        Its leakage rule decides.

    Returns
    -------
    float
        1 for Cascade, which answers every parity by one bit, where the proof does not give the error pattern away; else 0. (With LDPC
        it names segments that did not decode: a bit or two in ten thousand, neglected.)

    References
    ----------
    ``docs/explanation/finite-key``, segments that failed; status: planning.
    """
    return 1.0 if proof.leakage_rule == "both halves" and expected_method(profile) == "cascade" else 0.0


def expected_leakage(counts: BlockCounts, model: LinkModel, efficiency: float, answers: float) -> Leakage:
    """Expect the leakage account of a block.

    Parameters
    ----------
    counts : BlockCounts
        Of the block.
    model : LinkModel
        Its QBER.
    efficiency, answers : float
        Of :func:`expected_efficiency` and :func:`answer_share`.

    Returns
    -------
    Leakage
        Reconciliation, verification tag and verdict.

    References
    ----------
    ``f n h(QBER)`` basis by basis; status: planning.
    """
    disclosed = sum(key.kept * binary_entropy(share.qber) for key, share in ((counts.z, model.z), (counts.x, model.x)))
    items = {"reconciliation": ceil(efficiency * disclosed)}
    if answers:
        items["answers"] = ceil(answers * efficiency * disclosed)
    return Leakage(items | {"verification tag": VERIFICATION_TAG_BITS, "verification verdict": 1})
