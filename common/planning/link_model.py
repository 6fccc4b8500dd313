"""What a single-photon BB84 link should yield: expected counts, QBER and key, from its profile alone.

The model of a mean block: no statistics are drawn, the expected counts are rounded and go through the very ``key_length`` that
decides live keys. Temporal shape of the pulse, gate, dead time, dark counts, both kinds of receiver and their cross clicks are in;
drift, gaps and clock acquisition are not. Takes a ``LinkProfile``, serves ``rate``, reports and the tests that compare obtained
with expected keys.

References
----------
``security.md`` section 2 of the design, explained in ``docs/explanation/finite-key``; status: planning.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from common.errors import ConfigurationError
from common.planning.gate import captured_share

if TYPE_CHECKING:
    from common.profiles.link import LinkProfile


@dataclass(frozen=True, slots=True)
class BasisModel:
    """Expected share of one basis.

    Attributes
    ----------
    probability_sifted : float
        Probability that a pulse gives a bit both ends have in this basis, disclosed ones included.
    qber : float
        Probability that such a bit is wrong.
    """

    probability_sifted: float
    qber: float


@dataclass(frozen=True, slots=True)
class LinkModel:
    """Expected probabilities per pulse.

    Attributes
    ----------
    mean_photon_number, probability_multi_photon : float
        Photons a pulse in the channel, and the probability of two of them (mean values, not limits).
    transmission : float
        From channel to click of one photon.
    probability_signal, probability_dark : float
        Click by the pulse within the gate; click by dark counts, background and stragglers of earlier pulses.
    probability_click : float
        Any click, detectors live.
    probability_single_basis, probability_cross : float
        Click in one basis only, in both; detectors live.
    live_ratio : float
        Share of the slots in which all detectors are live: only these are kept.
    z, x : BasisModel
        The two bases, dead time included.
    """

    mean_photon_number: float
    probability_multi_photon: float
    transmission: float
    probability_signal: float
    probability_dark: float
    probability_click: float
    probability_single_basis: float
    probability_cross: float
    live_ratio: float
    z: BasisModel
    x: BasisModel

    @property
    def probability_detection(self) -> float:
        """Probability that a pulse gives an announced single-basis click."""
        return self.probability_single_basis * self.live_ratio


def link_model(profile: LinkProfile) -> LinkModel:
    """Evaluate the channel model.

    Parameters
    ----------
    profile : LinkProfile
        A BB84 link with a single-photon source.

    Returns
    -------
    LinkModel
        Probabilities per pulse.

    Raises
    ------
    ConfigurationError
        If the link is of another kind.

    References
    ----------
    ``mu = <n> eta_T a``, ``p_m = g2 mu^2 / 2``, ``s = mu eta - p_m eta^2``, ``p_c = 1 - (1-Y0)(1-s)``; after [Morrison2023];
    dead time non-paralysable per detector, ``1/(1 + r tau)`` each; status: planning.
    """
    source, channel, receiver = profile.source, profile.channel, profile.receiver
    if source.kind != "single-photon":
        raise ConfigurationError(f"source.kind = {source.kind!r} of link {profile.name!r}: this model is of single-photon sources")
    mean = source.mean_photon_number * source.transmitter_efficiency * source.pre_attenuation
    pairs = min(source.g2 * mean * mean / 2.0, mean / 2.0)
    arriving: float = 10.0 ** (-channel.loss_db / 10.0) * receiver.efficiency * receiver.detector_efficiency
    period_ps = 1e12 / source.clock_hz
    gate_ps = period_ps if receiver.gate_ps is None else min(receiver.gate_ps, period_ps)
    inside, straggling = captured_share(source.lifetime_ps, receiver.jitter_ps, gate_ps, period_ps)
    eta = arriving * inside
    signal, two = mean * eta - pairs * eta * eta, pairs * eta * eta
    noise_hz = receiver.dark_rate_hz + channel.background_hz
    dark = min(1.0, noise_hz * gate_ps * 1e-12 + mean * arriving * straggling)
    live = _live_ratio(profile, mean * arriving * source.clock_hz, noise_hz)
    passive = receiver.basis_choice == "passive"
    sifted = {}
    for name, alice, bob in (
        ("z", source.probability_z, receiver.probability_z),
        ("x", 1.0 - source.probability_z, 1.0 - receiver.probability_z),
    ):
        if passive:  # the beam splitter sends photons, the detectors share the dark counts
            by_signal = (signal * bob - two * bob * (1.0 - bob)) * (1.0 - dark / 2.0)
            by_dark = (1.0 - signal) * (dark / 2.0) * (1.0 - dark / 2.0)
        else:
            by_signal, by_dark = signal * bob, (1.0 - signal) * dark * bob
        clicks = by_signal + by_dark
        errors = channel.misalignment * by_signal + 0.5 * by_dark
        # a dark count beside the signal in the same basis makes the bit random
        errors += by_signal * _second_detector(dark, passive=passive) * (0.5 - channel.misalignment)
        sifted[name] = BasisModel(alice * clicks * live, errors / clicks if clicks else 0.0)
    q = receiver.probability_z
    click = 1.0 - (1.0 - dark) * (1.0 - signal)
    cross = (
        (signal - 2.0 * q * (1.0 - q) * two) * dark / 2.0 + (1.0 - signal) * dark * dark / 4.0 + 2.0 * q * (1.0 - q) * two
        if passive
        else 0.0
    )
    return LinkModel(mean, pairs, eta, signal, dark, click, click - cross, cross, live, sifted["z"], sifted["x"])


def _live_ratio(profile: LinkProfile, signal_hz: float, noise_hz: float) -> float:
    """Share of the time in which every detector is live; each is an independent non-paralysable counter."""
    receiver = profile.receiver
    dead_s = receiver.dead_time_ps * 1e-12
    if receiver.basis_choice == "active":
        rates_hz = [(signal_hz + noise_hz) / 2.0] * 2
    else:
        shares = (receiver.probability_z, 1.0 - receiver.probability_z)
        rates_hz = [signal_hz * share / 2.0 + noise_hz / 4.0 for share in shares for _ in range(2)]
    slowed: float = prod(1.0 + rate_hz * dead_s for rate_hz in rates_hz)
    return 1.0 / slowed


def _second_detector(dark: float, *, passive: bool) -> float:
    """Probability that the other detector of the same basis fires by itself: one of four, or one of two."""
    return dark / 4.0 if passive else dark / 2.0
