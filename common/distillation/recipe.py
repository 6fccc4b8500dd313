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
from common.profiles.setting import block_setting
from common.protocols.encoding import ENCODINGS
from common.protocols.protocol import Protocol
from common.randomness import quantised_probability
from common.security.epsilons import EpsilonBudget
from common.security.proofs.deciding import BlockSetting
from common.security.proofs.registry import require_composable

DISTILLED = (
    ("bb84", "polarisation"),
    ("three-state", "polarisation"),
    ("bb84-decoy", "polarisation"),
    ("three-state-decoy", "polarisation"),
    ("three-state", "time-bin"),
)
"""Protocols and encodings whose proof covers what the receiver of the encoding does."""

_LEAST_INTENSITIES = 3
"""Intensities of light with decoys that are distilled: with two, the proof needs to know which intensity each corrected error had."""

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
        States, sifting rule and test rule; its settings name intensities where the light has several.
    frame_pulses, maximum_frames, target_detections : int
        The block rule: frames of so many pulses, closed at the first frame boundary with so many announced detections.
    test_fractions : tuple[float, float]
        Probability that a matched bit of Z, X is disclosed; multiples of 2^-16.
    setting : BlockSetting
        What the proof needs to know about source and receiver; its type says which proof.
    budget : EpsilonBudget
        Failure probabilities a block.
    leakage_rule : str
        What of the reconciliation the proof charges: what is said about the ``reference half``'s bits, or what ``both halves`` say.
    telling_bases : tuple[int, ...]
        Bases whose disclosed rounds tell the QBER of the key: with time bins X is another measurement than Z, and asked only where
        nothing of Z is disclosed.
    method, direction, segment_bits, code_rate, initial_qber : reconciliation
        As in the profile.
    effort : Effort
        How much computing LDPC may spend: codes, layout and increments follow from it, so both ends have to agree.
    is_monitored : bool
        Whether devices have certified ranges, and both ends say of each block whether theirs kept them.
    digest : bytes
        32 bytes over all of it.
    """

    protocol: Protocol
    frame_pulses: int
    maximum_frames: int
    target_detections: int
    test_fractions: tuple[float, float]
    setting: BlockSetting
    budget: EpsilonBudget
    leakage_rule: Literal["reference half", "both halves"]
    telling_bases: tuple[int, ...]
    method: Literal["cascade", "ldpc", "auto"]
    direction: Literal["direct", "reverse"]
    segment_bits: int
    code_rate: float | None
    initial_qber: float
    effort: Effort
    is_monitored: bool
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
            protocol=profile.prepared,
            frame_pulses=security.frame_pulses,
            maximum_frames=security.maximum_frames,
            target_detections=max(1, round(security.block_bits / key_share)),
            test_fractions=test_fractions,
            setting=block_setting(dataclasses.replace(profile, security=dataclasses.replace(security, test_fraction=tested))),
            budget=EpsilonBudget.of(security),
            leakage_rule=require_composable(profile.protocol, security.proof).leakage_rule,
            telling_bases=(0,) if tested and len(ENCODINGS[profile.encoding].windows) > 1 else (0, 1),
            method=profile.reconciliation.method,
            direction=profile.reconciliation.direction,
            segment_bits=profile.reconciliation.segment_bits,
            code_rate=profile.reconciliation.code_rate,
            initial_qber=profile.reconciliation.initial_qber,
            effort=EFFORTS[profile.reconciliation.effort],
            is_monitored=profile.monitors is not None,
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
    count_intensities = len(profile.source.intensities)
    if 1 < count_intensities < _LEAST_INTENSITIES:
        raise ConfigurationError(
            f"source.intensities of link {profile.name!r}: {count_intensities} of them can be planned (qkd rate) but not distilled, "
            "give a signal and two decoys"
        )


def _digest(profile: LinkProfile) -> bytes:
    """Hash every parameter of the link and the version of the messages."""
    text = json.dumps([PROTOCOL_VERSION, dataclasses.asdict(profile)], sort_keys=True)
    return hashlib.sha256(text.encode()).digest()
