"""The recipe: everything both ends have to agree on before the first block, derived from a link profile.

It holds values only. Which half of a step an end plays is chosen once, in its playbook.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from typing import Literal

from common.channel.codec import PROTOCOL_VERSION
from common.distillation.reconciliation.effort import EFFORTS, Effort
from common.errors import ConfigurationError
from common.profiles.link import LinkProfile
from common.protocols.protocol import Protocol, find_protocol
from common.randomness import quantised_probability
from common.security.epsilons import EpsilonBudget
from common.security.proofs.bb84_setting import Bb84Setting
from common.security.proofs.registry import require_composable

DISTILLED = (("bb84", "polarisation"),)
"""Protocols and encodings that the steps of the distillation know."""

BATCH_DETECTIONS = 1 << 18
"""Detections in one announcement at most, save for the last frame; keeps every field of it below one mebibyte."""

METHOD_NAMES = ("cascade", "ldpc")
"""Methods of reconciliation, by the code of ``ReconciliationChoice``."""

BATCH_KEY_BITS = {"cascade": 1 << 25, "ldpc": 1 << 24}
"""Key bits that are reconciled together at most: enough that Cascade's round trips cost little, and that LDPC's syndromes fit a message."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What both ends run by.

    Attributes
    ----------
    protocol : Protocol
        States, sifting rule and test rule.
    frame_pulses, maximum_frames, target_detections : int
        The block rule: frames of so many pulses, closed at the first frame boundary with so many announced detections.
    test_fractions : tuple[float, float]
        Probability that a matched bit of Z, X is disclosed; multiples of 2^-16.
    setting : Bb84Setting
        What the proof needs to know about source and receiver.
    budget : EpsilonBudget
        Failure probabilities a block.
    leakage_rule : str
        What of the reconciliation the proof charges: what is said about the ``reference half``'s bits, or what ``both halves`` say.
    method, direction, segment_bits, code_rate, initial_qber : reconciliation
        As in the profile.
    effort : Effort
        How much computing LDPC may spend: codes, layout and increments follow from it, so both ends have to agree.
    digest : bytes
        32 bytes over all of it.
    """

    protocol: Protocol
    frame_pulses: int
    maximum_frames: int
    target_detections: int
    test_fractions: tuple[float, float]
    setting: Bb84Setting
    budget: EpsilonBudget
    leakage_rule: Literal["reference half", "both halves"]
    method: Literal["cascade", "ldpc", "auto"]
    direction: Literal["direct", "reverse"]
    segment_bits: int
    code_rate: float | None
    initial_qber: float
    effort: Effort
    digest: bytes

    @classmethod
    def of(cls, profile: LinkProfile) -> Recipe:
        """Derive the recipe of a link.

        Parameters
        ----------
        profile : LinkProfile
            Checked.

        Returns
        -------
        Recipe
            Equal at both ends for equal profiles.

        Raises
        ------
        ConfigurationError
            If the epsilons do not add up, the profile leaves no key bits, its proof only reproduces a publication, or its protocol is
            one that can be planned but not distilled yet.
        """
        require_distilled(profile)
        source, receiver, security = profile.source, profile.receiver, profile.security
        tested = quantised_probability(security.test_fraction)
        test_fractions = (tested, tested if security.key_bases == "both" else 1.0)
        matched_z = source.probability_z * receiver.probability_z
        matched_x = (1 - source.probability_z) * (1 - receiver.probability_z)
        key_share = matched_z * (1 - test_fractions[0]) + matched_x * (1 - test_fractions[1])
        return cls(
            protocol=find_protocol(profile.protocol),
            frame_pulses=security.frame_pulses,
            maximum_frames=security.maximum_frames,
            target_detections=max(1, round(security.block_bits / key_share)),
            test_fractions=test_fractions,
            setting=dataclasses.replace(
                Bb84Setting.of(source, receiver, security), test_fraction_z=test_fractions[0], test_fraction_x=test_fractions[1]
            ),
            budget=EpsilonBudget.of(security),
            leakage_rule=require_composable(profile.protocol, security.proof).leakage_rule,
            method=profile.reconciliation.method,
            direction=profile.reconciliation.direction,
            segment_bits=profile.reconciliation.segment_bits,
            code_rate=profile.reconciliation.code_rate,
            initial_qber=profile.reconciliation.initial_qber,
            effort=EFFORTS[profile.reconciliation.effort],
            digest=_digest(profile),
        )


def require_distilled(profile: LinkProfile) -> None:
    """Refuse a link that can be planned only, before anything is prepared for it.

    Parameters
    ----------
    profile : LinkProfile
        Checked.

    Raises
    ------
    ConfigurationError
        If its proof only reproduces a publication, or the steps of the distillation do not know its protocol and encoding.
    """
    require_composable(profile.protocol, profile.security.proof)
    if (profile.protocol, profile.encoding) not in DISTILLED:
        known = " and ".join(f"protocol = {protocol!r} with encoding = {encoding!r}" for protocol, encoding in DISTILLED)
        raise ConfigurationError(
            f"protocol = {profile.protocol!r} with encoding = {profile.encoding!r} of link {profile.name!r} can be planned (qkd rate) "
            f"but not distilled yet: choose a link with {known}"
        )


def _digest(profile: LinkProfile) -> bytes:
    """Hash every parameter of the link and the version of the messages."""
    text = json.dumps([PROTOCOL_VERSION, dataclasses.asdict(profile)], sort_keys=True)
    return hashlib.sha256(text.encode()).digest()
