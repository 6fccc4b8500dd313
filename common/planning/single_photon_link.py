"""The links of the single-photon publications as these calculate them: textbook channel, and both lengths of the same counts.

No gate, dead time, fading or cross clicks: ``link_model`` has those. A profile in, bits a pulse out; ``published`` sets them beside the
printed figures, ``figures`` draws them. A plain dataclass of a few numbers, because maps evaluate it ten thousand times, and because a
publication's measured QBER can take the place of the channel's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import ceil, sqrt
from typing import TYPE_CHECKING

from common.blocks import BasisCounts, BlockCounts
from common.errors import ConfigurationError
from common.leakage import Leakage
from common.security.entropy import binary_entropy
from common.security.epsilons import EpsilonBudget
from common.security.key_length import key_length, length_of
from common.security.proofs import single_photon_paper, three_state, three_state_paper
from common.security.proofs.bb84_setting import Bb84Setting
from common.security.proofs.paper_length import PaperEpsilons, PaperKeyLength
from common.security.proofs.single_photon_channel import Clicks, single_photon_clicks
from common.security.proofs.three_state_setting import ThreeStateSetting

if TYPE_CHECKING:
    from common.profiles.link import LinkProfile

EFFICIENCY = 1.16
"""Leaked bits over ``n h(QBER)`` that the publications calculate with [Yang2024, Zhang2025]."""

BUDGET = EpsilonBudget(1e-10, 1e-15, 1e-15)
"""Of the composable lengths: secrecy and correctness as published."""

VERIFICATION_BITS = 129
"""Tag and verdict, which the composable length is charged with."""

_EPSILONS = {
    "bb84": PaperEpsilons(1e-10 / 6, 1e-10 / 6, 1e-15),
    "three-state": PaperEpsilons(1e-10 / 12, 1e-10 / 24, 1e-15),
}
"""As published: four estimation events and amplification of 1e-10/6 each [Yang2024]; 11e-10/12 and 1e-10/24 [Zhang2025]."""

_ROUNDS = 2
_GOLDEN = (sqrt(5.0) - 1.0) / 2.0


@dataclass(frozen=True, slots=True)
class Lengths:
    """Key of one block by the publication's formula and by the composable proof, from the same counts.

    Attributes
    ----------
    pulses : int
        Of the block.
    paper, composable : float
        Secret bits.
    """

    pulses: int
    paper: float
    composable: float

    @property
    def paper_per_pulse(self) -> float:
        """Secret bits a pulse by the publication's formula."""
        return self.paper / self.pulses

    @property
    def composable_per_pulse(self) -> float:
        """Secret bits a pulse by the composable proof."""
        return self.composable / self.pulses


@dataclass(frozen=True, slots=True)
class SinglePhotonLink:
    """A single-photon link in the numbers of the textbook channel.

    Attributes
    ----------
    protocol : str
        ``bb84`` or ``three-state``.
    clock_hz : float
        Pulses a second.
    mean_photon_number, g2 : float
        Photons a pulse in the channel, and second-order correlation.
    loss_db : float
        Loss of the channel.
    receiver : float
        Efficiency of optics and detectors.
    dark : float
        Probability of a dark count per pulse, all detectors together.
    misalignment : float
        Probability that a signal click is wrong.
    probability_z_alice, probability_z_bob : float
        Probabilities of the key basis.
    measured_qber : float | None
        In place of the channel's.
    """

    protocol: str
    clock_hz: float
    mean_photon_number: float
    g2: float
    loss_db: float
    receiver: float
    dark: float
    misalignment: float
    probability_z_alice: float
    probability_z_bob: float
    measured_qber: float | None = None

    @classmethod
    def of(cls, profile: LinkProfile) -> SinglePhotonLink:
        """Take the numbers of a profile.

        Parameters
        ----------
        profile : LinkProfile
            With a single-photon source.

        Returns
        -------
        SinglePhotonLink
            Of the textbook channel.

        Raises
        ------
        ConfigurationError
            If it has another source.
        """
        source, channel, receiver = profile.source, profile.channel, profile.receiver
        if profile.protocol not in _EPSILONS:
            raise ConfigurationError(f"protocol = {profile.protocol!r}: only links with single photons are meant; bb84 or three-state")
        gate_s = 1e-12 * receiver.gate_ps if receiver.gate_ps else 1.0 / source.clock_hz
        return cls(
            profile.protocol,
            source.clock_hz,
            source.mean_photon_number * source.transmitter_efficiency * source.pre_attenuation,
            source.g2,
            channel.loss_db,
            receiver.efficiency * receiver.detector_efficiency,
            (receiver.dark_rate_hz + channel.background_hz) * gate_s,
            channel.misalignment,
            source.probability_z,
            receiver.probability_z,
        )

    @property
    def clicks(self) -> Clicks:
        """Probabilities per pulse, with the measured QBER where there is one."""
        clicks = single_photon_clicks(self.mean_photon_number, self.g2, self.loss_db, self.receiver, self.dark, self.misalignment)
        return clicks if self.measured_qber is None else replace(clicks, qber=self.measured_qber)

    @property
    def asymptotic(self) -> float:
        """Secret bits a pulse with endless statistics, by the publication's formula."""
        clicks, z = self.clicks, self.probability_z_alice * self.probability_z_bob
        if self.protocol == "three-state":
            return three_state_paper.asymptotic_rate(clicks.click, clicks.multi, clicks.qber, EFFICIENCY, z).bits_per_pulse
        matched = z + (1.0 - self.probability_z_alice) * (1.0 - self.probability_z_bob)
        return single_photon_paper.asymptotic_rate(clicks.click, clicks.multi, clicks.qber, EFFICIENCY, matched).bits_per_pulse

    def pulses_for(self, detections: float) -> int:
        """Pulses until so many ``detections`` are expected."""
        return max(1, round(detections / max(self.clicks.click, 1e-15)))

    def lengths(self, pulses: int) -> Lengths:
        """Compute both lengths of a block of so many ``pulses`` from its expected counts."""
        return Lengths(pulses, self.paper_bits(pulses), self._composable_bits(pulses))

    def paper_bits(self, pulses: int) -> float:
        """Compute the publication's length of a block of so many ``pulses``."""
        return self._paper(pulses).bits

    def balance(self, pulses: int) -> float:
        """Return bits a pulse of a block of so many ``pulses`` before they are cut off at 0: how far a link without key is from some."""
        length, clicks = self._paper(pulses), self.clicks
        if "leakage" in length.terms:
            return length.bits / pulses or min(0.0, sum(length.terms.values()) / pulses)
        return clicks.click - clicks.multi - 1.0

    def _paper(self, pulses: int) -> PaperKeyLength:
        counts = self._counts(pulses)
        leaked = self._leakage(counts)
        if self.protocol == "three-state":
            return three_state_paper.three_state_length(counts, self._three_state, leaked, _EPSILONS["three-state"])
        return single_photon_paper.niedersachsen_length(counts, self._bb84, leaked, _EPSILONS["bb84"])

    def _composable_bits(self, pulses: int) -> float:
        counts = self._counts(pulses)
        leakage = Leakage({"reconciliation": ceil(self._leakage(counts)), "verification": VERIFICATION_BITS})
        if self.protocol == "three-state":
            known = three_state.estimate(counts, self._three_state, BUDGET)
            return length_of(known, {"Z": counts.z}, leakage, BUDGET, three_state.events(self._three_state)).secret_bits
        return key_length(counts, leakage, self._bb84, BUDGET).secret_bits

    @property
    def _bb84(self) -> Bb84Setting:
        return Bb84Setting(self.clicks.multi, self.probability_z_alice, self.probability_z_bob, "active", "z", 0.0, 1.0, 1)

    @property
    def _three_state(self) -> ThreeStateSetting:
        return ThreeStateSetting(self.clicks.multi, self.probability_z_alice, self.probability_z_bob, "active", 0.0, 1)

    def _leakage(self, counts: BlockCounts) -> float:
        return EFFICIENCY * counts.z.key * binary_entropy(min(0.5, self.clicks.qber))

    def _counts(self, pulses: int) -> BlockCounts:
        """Round the expected counts of a block; X is disclosed whole."""
        clicks, p_z, q_z = self.clicks, self.probability_z_alice, self.probability_z_bob

        def count(share: float) -> int:
            return int(pulses * clicks.click * share)

        key, matched = count(p_z * q_z), (1.0 - p_z) * (1.0 - q_z)
        wrong, right = count(matched * clicks.qber), count(matched * (1.0 - clicks.qber))
        if self.protocol == "bb84":
            return BlockCounts(pulses, 1, count(1.0), 0, BasisCounts(key, key), BasisCounts(tested=wrong + right, errors=wrong))
        mixed = count(p_z * (1.0 - q_z) / 4.0)
        table = ((0, 0, mixed, mixed), (0, 0, mixed, mixed), (0, 0, right, wrong))
        return BlockCounts(pulses, 1, count(1.0), 0, BasisCounts(key, key), BasisCounts(), table)


def optimised(link: SinglePhotonLink, detections: float) -> SinglePhotonLink:
    """Choose Alice's basis bias and pre-attenuation with which a block of so many detections gives most key.

    Parameters
    ----------
    link : SinglePhotonLink
        Its mean photon number is the most there is.
    detections : float
        Of the block.

    Returns
    -------
    SinglePhotonLink
        With both in place, chosen by the publication's formula.

    References
    ----------
    Golden sections, one after the other; [Zhang2025] optimises the same two; status: planning.
    """

    def rate(changed: SinglePhotonLink) -> float:
        return changed.balance(changed.pulses_for(detections))

    def dimmed(at: SinglePhotonLink, exponent: float) -> SinglePhotonLink:
        return replace(at, mean_photon_number=most * 10.0**exponent)

    def biased(at: SinglePhotonLink, exponent: float) -> SinglePhotonLink:
        return replace(at, probability_z_alice=1.0 - 10.0**exponent)

    most = link.mean_photon_number
    for _ in range(_ROUNDS):
        for change, low, high in ((dimmed, -3.0, 0.0), (biased, -3.0, -0.31)):
            link = change(link, golden_section(lambda exponent, change=change, at=link: rate(change(at, exponent)), low, high))  # type: ignore[misc]
    return link


def tolerable_loss_db(link: SinglePhotonLink, pulses: int | None = None) -> float:
    """Find the loss up to which a link makes key.

    Parameters
    ----------
    link : SinglePhotonLink
        Its own loss is not used.
    pulses : int | None
        Of a block, by the publication's formula; None for endless statistics.

    Returns
    -------
    float
        Decibels; 0 where there is no key at any loss.

    References
    ----------
    Bisection; status: planning.
    """

    def has_key(loss_db: float) -> bool:
        lossy = replace(link, loss_db=loss_db)
        return lossy.asymptotic > 0.0 if pulses is None else lossy.paper_bits(pulses) > 0.0

    low, high = 0.0, 100.0
    while high - low > 1e-4:
        middle = (low + high) / 2.0
        low, high = (middle, high) if has_key(middle) else (low, middle)
    return low


def golden_section(function: Callable[[float], float], low: float, high: float) -> float:
    """Maximise a function with one peak.

    Parameters
    ----------
    function : callable
        Takes and gives a float.
    low, high : float
        Where the peak lies, both included.

    Returns
    -------
    float
        The place, to a hundredth; the upper end where that is as good.

    References
    ----------
    Golden-section search; status: planning.
    """
    end, inner = high, [high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)]
    values = [function(place) for place in inner]
    while high - low > 0.01:
        if values[0] > values[1]:
            high, inner[1], values[1] = inner[1], inner[0], values[0]
            inner[0] = high - _GOLDEN * (high - low)
            values[0] = function(inner[0])
        else:
            low, inner[0], values[0] = inner[0], inner[1], values[1]
            inner[1] = low + _GOLDEN * (high - low)
            values[1] = function(inner[1])
    best = inner[0] if values[0] > values[1] else inner[1]
    return end if function(end) >= max(values) else best
