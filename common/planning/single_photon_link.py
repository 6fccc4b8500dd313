"""The links of the single-photon publications as these calculate them: textbook channel, and the publication's formula.

No gate, dead time, fading or cross clicks: ``composable_link`` has those. A profile in, bits a pulse out; ``published`` sets them beside
the printed figures, ``figures`` draws them. A plain dataclass of a few numbers, because maps evaluate it ten thousand times, and because
a publication's measured QBER can take the place of the channel's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from common.blocks import BasisCounts, BlockCounts
from common.errors import ConfigurationError
from common.planning.leakage import PAPER_EFFICIENCY
from common.planning.optimisation import peak
from common.planning.paper_lengths import paper_epsilons
from common.security.entropy import binary_entropy
from common.security.proofs import single_photon_paper, three_state_paper
from common.security.proofs.bb84_setting import Bb84Setting
from common.security.proofs.paper_length import PaperEpsilons, PaperKeyLength
from common.security.proofs.single_photon_channel import Clicks, single_photon_clicks
from common.security.proofs.three_state_setting import ThreeStateSetting

if TYPE_CHECKING:
    from common.profiles.link import LinkProfile

_PROOFS = {"bb84": "niedersachsen", "three-state": "hefei"}
"""Publication whose formula a protocol takes."""

_ROUNDS = 2
"""Attenuation and bias hardly depend on each other: a third round changes the key by less than 1e-5."""


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
    epsilons : PaperEpsilons
        Shares of the profile's secrecy, as published.
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
    epsilons: PaperEpsilons
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
            If it has another source, or time bins.
        """
        source, channel, receiver = profile.source, profile.channel, profile.receiver
        if profile.protocol not in _PROOFS:
            raise ConfigurationError(f"protocol = {profile.protocol!r}: only links with single photons are meant; bb84 or three-state")
        if profile.encoding != "polarisation":
            raise ConfigurationError(f"encoding = {profile.encoding!r}: only polarisation is meant, where Z and X have the same QBER")
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
            paper_epsilons(profile, _PROOFS[profile.protocol]),
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
            return three_state_paper.asymptotic_rate(clicks.click, clicks.multi, clicks.qber, PAPER_EFFICIENCY, z).bits_per_pulse
        matched = z + (1.0 - self.probability_z_alice) * (1.0 - self.probability_z_bob)
        return single_photon_paper.asymptotic_rate(clicks.click, clicks.multi, clicks.qber, PAPER_EFFICIENCY, matched).bits_per_pulse

    def pulses_for(self, detections: float) -> int:
        """Pulses until so many ``detections`` are expected."""
        return max(1, round(detections / max(self.clicks.click, 1e-15)))

    def paper_bits(self, pulses: int) -> float:
        """Compute the publication's length of a block of so many ``pulses``."""
        return self._paper(pulses).bits

    def paper_rate(self, pulses: int) -> float:
        """Compute secret bits a pulse of a block of so many ``pulses``."""
        return self.paper_bits(pulses) / pulses

    def balance(self, pulses: int) -> float:
        """Return bits a pulse of a block of so many ``pulses`` before they are cut off at 0: how far a link without key is from some."""
        length, clicks = self._paper(pulses), self.clicks
        if "leakage" in length.terms:
            return length.bits / pulses or min(0.0, sum(length.terms.values()) / pulses)
        return clicks.click - clicks.multi - 1.0

    def _paper(self, pulses: int) -> PaperKeyLength:
        counts, multi = self._counts(pulses), self.clicks.multi
        p_z, q_z, leaked = self.probability_z_alice, self.probability_z_bob, self._leakage(counts)
        if self.protocol == "three-state":  # neither formula asks how the receiver chooses its basis
            three = ThreeStateSetting(multi, p_z, q_z, "active", 0.0, 1)
            return three_state_paper.three_state_length(counts, three, leaked, self.epsilons)
        four = Bb84Setting(multi, p_z, q_z, "active", "z", 0.0, 1.0, 1)
        return single_photon_paper.niedersachsen_length(counts, four, leaked, self.epsilons)

    def _leakage(self, counts: BlockCounts) -> float:
        return PAPER_EFFICIENCY * counts.z.key * binary_entropy(min(0.5, self.clicks.qber))

    def _counts(self, pulses: int) -> BlockCounts:
        """Round the expected counts of a block; X is disclosed whole."""
        clicks, p_z, q_z = self.clicks, self.probability_z_alice, self.probability_z_bob

        def count(share: float) -> int:
            return round(pulses * clicks.click * share)

        key, matched = count(p_z * q_z), (1.0 - p_z) * (1.0 - q_z)
        tested, wrong = count(matched), count(matched * clicks.qber)
        if self.protocol == "bb84":
            return BlockCounts(pulses, 1, count(1.0), 0, BasisCounts(key, key), BasisCounts(tested=tested, errors=wrong))
        mixed = count(p_z * (1.0 - q_z) / 4.0)
        table = ((0, 0, mixed, mixed), (0, 0, mixed, mixed), (0, 0, tested - wrong, wrong))
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
    One after the other, twice; [Zhang2025] optimises the same two; status: planning.
    """

    def at(dimmed: float, biased: float) -> SinglePhotonLink:
        return replace(link, mean_photon_number=link.mean_photon_number * 10.0**dimmed, probability_z_alice=1.0 - 10.0**biased)

    def balance(dimmed: float, biased: float) -> float:
        changed = at(dimmed, biased)
        return changed.balance(changed.pulses_for(detections))

    return at(*best_exponents(balance))


def best_exponents(balance: Callable[[float, float], float]) -> tuple[float, float]:
    """Choose attenuation and basis bias.

    Parameters
    ----------
    balance : callable
        What is to be largest, from the exponents of ten of the transmission and of the probability of X.

    Returns
    -------
    (transmission, probability of X)
        The exponents, to a hundredth of a decade: between -3 and 0, and between -3 and -0.31.

    References
    ----------
    One after the other, twice; [Zhang2025] optimises the same two; status: planning.
    """
    dimmed, biased = 0.0, -1.0
    for _ in range(_ROUNDS):
        dimmed = peak(lambda exponent, other=biased: balance(exponent, other), -3.0, 0.0)  # type: ignore[misc]
        biased = peak(lambda exponent, other=dimmed: balance(other, exponent), -3.0, -0.31)  # type: ignore[misc]
    return dimmed, biased


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
