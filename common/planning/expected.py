"""What a mean block of a link should yield: expected counts through the very formula that decides live keys.

No statistics are drawn: the expected counts of ``link_model`` are rounded and go to ``key_length``. Serves ``rate``, reports and the
tests that compare obtained with expected keys.

References
----------
``docs/explanation/finite-key``; status: planning.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

from common.blocks import BasisCounts, BlockCounts
from common.distillation.reconciliation.codes import CODE_RATES, choose_code, codeword_bits
from common.distillation.reconciliation.segments import TAG_BITS
from common.errors import ConfigurationError
from common.leakage import Leakage
from common.planning.link_model import BasisModel, link_model
from common.security.entropy import binary_entropy, saturated_entropy
from common.security.epsilons import EpsilonBudget
from common.security.key_length import KeyLength, key_length
from common.security.proofs.bb84_setting import Bb84Setting

if TYPE_CHECKING:
    from common.profiles.link import LinkProfile

RECONCILIATION_EFFICIENCY = 1.16
"""Charged bits over ``n h(QBER)``, assumed unless told; the value the published links calculate with."""

VERIFICATION_TAG_BITS = 128
"""Bits of the verification hash a block is charged with."""


@dataclass(frozen=True, slots=True)
class ExpectedBlock:
    """A mean block and what it should yield.

    Attributes
    ----------
    counts : BlockCounts
        Expected counts, rounded.
    leakage : Leakage
        Assumed reconciliation leakage, verification tag and verdict.
    key : KeyLength
        What ``key_length`` makes of them.
    seconds : float
        Wall-clock time the block takes, duty cycle included.
    """

    counts: BlockCounts
    leakage: Leakage
    key: KeyLength
    seconds: float

    @property
    def secret_bits_per_pulse(self) -> float:
        """Secret bits over pulses, pulses counted by the block rule."""
        return self.key.secret_bits / self.counts.pulses if self.counts.pulses else 0.0


def pulses_for_block(profile: LinkProfile) -> int:
    """Pulses until a block is expected to hold ``block_bits`` undisclosed key-basis bits, in whole frames.

    Parameters
    ----------
    profile : LinkProfile
        A BB84 link with a single-photon source.

    Returns
    -------
    int
        Pulses, a multiple of ``frame_pulses``, at most ``maximum_frames`` frames.

    Raises
    ------
    ConfigurationError
        If no click is ever expected.

    References
    ----------
    The block rule of ``docs/explanation/assumptions``; status: planning.
    """
    model, security = link_model(profile), profile.security
    setting = Bb84Setting.of(profile.source, profile.receiver, security)
    probability = model.z.probability_sifted * (1.0 - setting.test_fraction_z) + model.x.probability_sifted * (
        1.0 - setting.test_fraction_x
    )
    if probability <= 0.0:
        raise ConfigurationError(f"link {profile.name!r}: no key bit is ever expected; check channel.loss_db and the efficiencies")
    frames = ceil(security.block_bits / probability / security.frame_pulses)
    return min(frames, security.maximum_frames) * security.frame_pulses


def expected_counts(profile: LinkProfile, count_pulses: int) -> BlockCounts:
    """Round the expected counts of a block of given length.

    Parameters
    ----------
    profile : LinkProfile
        A BB84 link with a single-photon source.
    count_pulses : int
        Pulses from opening to closing the block.

    Returns
    -------
    BlockCounts
        All segments taken as reconciled; the table of settings by outcomes is left empty.

    References
    ----------
    :func:`link_model`; status: planning.
    """
    model = link_model(profile)
    setting = Bb84Setting.of(profile.source, profile.receiver, profile.security)

    def basis(share: BasisModel, test_fraction: float) -> BasisCounts:
        sifted = count_pulses * share.probability_sifted
        tested = round(sifted * test_fraction)
        key = round(sifted) - tested
        return BasisCounts(key=key, kept=key, tested=tested, errors=round(sifted * test_fraction * share.qber))

    return BlockCounts(
        pulses=count_pulses,
        frames=ceil(count_pulses / profile.security.frame_pulses),
        detections=round(count_pulses * model.probability_detection),
        cross_clicks=round(count_pulses * model.probability_cross * model.live_ratio),
        z=basis(model.z, setting.test_fraction_z),
        x=basis(model.x, setting.test_fraction_x),
    )


def expected_block(
    profile: LinkProfile,
    count_pulses: int | None = None,
    *,
    reconciliation_efficiency: float | None = None,
) -> ExpectedBlock:
    """Predict the secret length of a mean block by the live formula.

    Parameters
    ----------
    profile : LinkProfile
        A BB84 link with a single-photon source.
    count_pulses : int | None
        Pulses of the block; None takes what the profile's ``block_bits`` needs.
    reconciliation_efficiency : float | None
        Charged bits over ``n h(QBER)``, 1 or more; None for what the profile's method is expected to need.

    Returns
    -------
    ExpectedBlock
        Counts, assumed leakage and key length.

    Raises
    ------
    ConfigurationError
        If the efficiency is below the Shannon limit, or the link is of another kind.

    References
    ----------
    :func:`common.security.key_length.key_length` on :func:`expected_counts`; status: planning.
    """
    if reconciliation_efficiency is None:
        reconciliation_efficiency = expected_efficiency(profile)
    if reconciliation_efficiency < 1.0:
        raise ConfigurationError(
            f"reconciliation efficiency {reconciliation_efficiency}: no code leaks less than n h(QBER), give 1 or more"
        )
    pulses = pulses_for_block(profile) if count_pulses is None else count_pulses
    counts, model = expected_counts(profile, pulses), link_model(profile)
    disclosed = sum(key.kept * binary_entropy(share.qber) for key, share in ((counts.z, model.z), (counts.x, model.x)))
    leakage = Leakage(
        {
            "reconciliation": ceil(reconciliation_efficiency * disclosed),
            "verification tag": VERIFICATION_TAG_BITS,
            "verification verdict": 1,
        }
    )
    setting = Bb84Setting.of(profile.source, profile.receiver, profile.security)
    key = key_length(counts, leakage, setting, EpsilonBudget.of(profile.security))
    return ExpectedBlock(counts, leakage, key, pulses / profile.source.clock_hz / profile.source.duty_cycle)


def expected_efficiency(profile: LinkProfile) -> float:
    """Expect the efficiency of the profile's reconciliation at the model's QBER.

    Parameters
    ----------
    profile : LinkProfile
        A BB84 link with a single-photon source.

    Returns
    -------
    float
        Charged bits over ``n h(QBER)``: for LDPC that of the code which would be chosen, segment tags included; for Cascade
        ``RECONCILIATION_EFFICIENCY``.

    References
    ----------
    ``common.distillation.reconciliation.codes.choose_code``, from measured working points; status: planning.
    """
    model, chosen = link_model(profile), profile.reconciliation
    if chosen.method != "ldpc":
        return RECONCILIATION_EFFICIENCY
    shares = [(model.z.probability_sifted, model.z.qber), (model.x.probability_sifted, model.x.qber)]
    if profile.security.key_bases == "z":
        shares = shares[:1]
    qber = sum(share * errors for share, errors in shares) / sum(share for share, _ in shares)
    rates = CODE_RATES if chosen.code_rate is None else (chosen.code_rate,)
    choice = choose_code(min(0.25, max(1e-4, qber)), codeword_bits(chosen.segment_bits), rates)
    return max(1.0, choice.efficiency + TAG_BITS / (choice.count_payload * max(binary_entropy(qber), 1e-6)))


def asymptotic_rate(profile: LinkProfile, *, reconciliation_efficiency: float = RECONCILIATION_EFFICIENCY) -> float:
    """Secret bits per pulse of an endless block, as the publication of ``niedersachsen`` counts them.

    Both bases make key, vacuum clicks are untagged, dead time and gate losses are left out; cross clicks too, so an unlimited
    passive receiver would do slightly worse.

    Parameters
    ----------
    profile : LinkProfile
        A BB84 link with a single-photon source.
    reconciliation_efficiency : float
        Charged bits over ``n h(QBER)``, 1 or more.

    Returns
    -------
    float
        ``p_sift {p_c1 [1 - h(e1)] - f p_c h(e)}`` with ``p_c1 = p_c - p_m`` and ``e1 = min(1/2, e p_c / p_c1)``, at least 0.

    References
    ----------
    [Yang2024], asymptotic key rate; status: paper (never decides a live key).
    """
    source, channel, receiver = profile.source, profile.channel, profile.receiver
    mean = source.mean_photon_number * source.transmitter_efficiency * source.pre_attenuation
    pairs = source.g2 * mean * mean / 2.0
    eta: float = 10.0 ** (-channel.loss_db / 10.0) * receiver.efficiency * receiver.detector_efficiency
    signal = mean * eta - pairs * eta * eta
    period_ps = 1e12 / source.clock_hz
    gate_ps = period_ps if receiver.gate_ps is None else min(receiver.gate_ps, period_ps)
    dark = (receiver.dark_rate_hz + channel.background_hz) * gate_ps * 1e-12
    click = 1.0 - (1.0 - dark) * (1.0 - signal)
    single = click - pairs
    if single <= 0.0:
        return 0.0
    qber = (channel.misalignment * signal + dark / 2.0) / click
    sift = source.probability_z * receiver.probability_z + (1.0 - source.probability_z) * (1.0 - receiver.probability_z)
    gain = single * (1.0 - saturated_entropy(min(0.5, qber * click / single)))
    return max(0.0, sift * (gain - reconciliation_efficiency * click * binary_entropy(qber)))
