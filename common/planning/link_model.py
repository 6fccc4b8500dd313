"""What a link should yield per pulse, from its profile alone: every protocol, encoding, source and receiver.

Photon statistics, fading, gate and stragglers, dark counts, dead time and coincidences are in; drift, gaps and clock acquisition are
not. No statistics are drawn: these are the means of what ``qkd simulate`` draws. Takes a ``LinkProfile``; serves ``rate``, reports and
the tests that compare obtained with expected keys.

References
----------
``docs/explanation/link-model``; status: planning.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from common.planning.clicks import CROSS, DOUBLE, announced
from common.planning.dead_time import blocked_slots, live_ratio
from common.planning.fading import fading
from common.planning.gate import Gate
from common.planning.light import Light, light_of
from common.planning.optics import landing, readings
from common.protocols.protocol import Protocol, find_protocol

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from common.profiles.link import LinkProfile


@dataclass(frozen=True, slots=True)
class PulseModel:
    """Expected announcements of pulses of one intensity; a single-photon source has exactly one.

    Attributes
    ----------
    mean_photon_number : float
        In the channel.
    probability : float
        Of sending this intensity.
    table : tuple[tuple[float, ...], ...]
        Rows are the protocol's settings, columns ``OUTCOMES``: probability of an announced click in one basis with this outcome, all
        detectors live, given setting and intensity; averaged over fading.
    cross : tuple[float, ...]
        Probability of a cross-basis click, all detectors live, by setting.
    doubles : tuple[float, ...]
        Probability that both detectors of one basis click and no other, by setting; contained in ``table``.
    """

    mean_photon_number: float
    probability: float
    table: tuple[tuple[float, ...], ...]
    cross: tuple[float, ...]
    doubles: tuple[float, ...]


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
    protocol : Protocol
        What is sent.
    setting_probabilities : tuple[float, ...]
        How often each setting is sent.
    pulses : tuple[PulseModel, ...]
        By intensity, brightest first.
    transmission : float
        From channel to click of one photon inside the gate, mean over fading.
    probability_multi_photon : float
        Probability of two photons or more in the channel; a mean over intensities, not a limit.
    live_ratio : float
        Share of the slots in which all detectors are live, mean over fading: only these are kept.
    """

    protocol: Protocol
    setting_probabilities: tuple[float, ...]
    pulses: tuple[PulseModel, ...]
    transmission: float
    probability_multi_photon: float
    live_ratio: float

    def joint(self, intensity: int) -> tuple[tuple[float, ...], ...]:
        """Probability per pulse of sending setting (row) and ``intensity`` and announcing the outcome (column)."""
        pulse = self.pulses[intensity]
        rows = zip(self.setting_probabilities, pulse.table, strict=True)
        return tuple(tuple(pulse.probability * sent * entry for entry in row) for sent, row in rows)

    @property
    def z(self) -> BasisModel:
        """Basis Z, over intensities."""
        return self._basis(0)

    @property
    def x(self) -> BasisModel:
        """Basis X, over intensities."""
        return self._basis(1)

    @property
    def probability_detection(self) -> float:
        """Probability that a pulse gives an announced single-basis click."""
        return sum(entry for intensity in range(len(self.pulses)) for row in self.joint(intensity) for entry in row)

    @property
    def probability_cross(self) -> float:
        """Probability that a pulse gives an announced cross-basis click."""
        return sum(pulse.probability * self._mean(pulse.cross) for pulse in self.pulses)

    @property
    def probability_double(self) -> float:
        """Probability that a pulse makes both detectors of one basis click, and no other."""
        return sum(pulse.probability * self._mean(pulse.doubles) for pulse in self.pulses)

    @property
    def probability_outcomes(self) -> tuple[float, ...]:
        """Probability that a pulse gives an announced click with the outcome Z0, Z1, X0, X1."""
        joint = [row for intensity in range(len(self.pulses)) for row in self.joint(intensity)]
        return tuple(map(sum, zip(*joint, strict=True)))

    def _mean(self, by_setting: tuple[float, ...]) -> float:
        return sum(sent * entry for sent, entry in zip(self.setting_probabilities, by_setting, strict=True))

    def _basis(self, basis: int) -> BasisModel:
        right = wrong = 0.0
        for joint in map(self.joint, range(len(self.pulses))):
            for setting, row in enumerate(joint):
                if self.protocol.setting_bases[setting] == basis:
                    bit = self.protocol.setting_bits[setting]
                    right += row[2 * basis + bit]
                    wrong += row[2 * basis + 1 - bit]
        sifted = right + wrong
        return BasisModel(sifted, wrong / sifted if sifted else 0.0)


def link_model(profile: LinkProfile) -> LinkModel:
    """Evaluate the channel model.

    Parameters
    ----------
    profile : LinkProfile
        Any link.

    Returns
    -------
    LinkModel
        Probabilities per pulse.

    Raises
    ------
    ConfigurationError
        If no statistics with at most two photons has the mean photon number and g2 of a single-photon source.

    References
    ----------
    ``docs/explanation/link-model``; status: planning.
    """
    protocol, source, receiver = find_protocol(profile.protocol), profile.source, profile.receiver
    bright, gate = light_of(source), _gate(profile)
    sent = np.array(protocol.probabilities(source.probability_z))
    losses, weights = fading(profile.channel.loss_db, profile.channel.fading_sigma_db)
    arriving = losses * receiver.efficiency * receiver.detector_efficiency
    table, live = np.zeros((len(bright), len(sent), DOUBLE + 1)), 0.0
    # spans of light and darkness are long against the dead time, so a blinking emitter makes two links that take turns
    spans = ((source.on_fraction, bright), (1.0 - source.on_fraction, tuple(light.darkness for light in bright)))
    for span, light in spans:
        if span:
            announcements, all_live = _span(profile, light, gate, sent, arriving)
            table += np.einsum("n,nkso->kso", span * weights * all_live, announcements)
            live += span * float(weights @ all_live)
    pulses = tuple(
        PulseModel(
            light.mean * source.on_fraction,
            light.probability,
            tuple(tuple(map(float, row)) for row in rows[:, :CROSS]),
            tuple(map(float, rows[:, CROSS])),
            tuple(map(float, rows[:, DOUBLE])),
        )
        for light, rows in zip(bright, table, strict=True)
    )
    multi_photon = source.on_fraction * sum(light.probability * light.probability_multi_photon for light in bright)
    return LinkModel(protocol, tuple(map(float, sent)), pulses, float(weights @ arriving) * gate.share(0.0), multi_photon, min(live, 1.0))


def _span(
    profile: LinkProfile, light: tuple[Light, ...], gate: Gate, sent: NDArray[np.float64], arriving: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Announcements of live detectors, float64[losses, intensities, settings, 6], and share of the slots in which all are live."""
    receiver, period_ps = profile.receiver, 1e12 / profile.source.clock_hz
    separation_ps, dead_ps = receiver.time_bin_separation_ps, receiver.dead_time_ps
    mean = sum(pulse.probability * pulse.mean for pulse in light)
    announcements, clicks, together = [], [], []
    for reading in readings(profile, find_protocol(profile.protocol)):
        detectors, ports = reading.detectors, reading.detectors.ports
        noise_hz = (receiver.dark_rate_hz + profile.channel.background_hz) / ports.shape[1]
        efficiencies = arriving[:, None, None] * reading.ways
        own, others = landing(detectors, gate, separation_ps, period_ps)
        stragglers = mean * np.einsum("s,nsd->nd", sent, efficiencies) @ others
        open_ps = np.where(detectors.is_between, separation_ps - gate.width_ps, gate.width_ps)
        noise = stragglers + noise_hz * open_ps * 1e-12
        dead_windows = dead_ps / separation_ps if separation_ps else 0.0
        announcements.append(reading.probability * announced(detectors, light, efficiencies @ own, noise, dead_windows))
        ones, pairs = _port_clicks(light, sent, efficiencies @ ports)
        clicks.append(reading.probability * ones)
        together.append(reading.probability * pairs)
    delays_ps = (np.array(detectors.window) - min(detectors.window)) * separation_ps
    weights = sent @ reading.ways
    slots = blocked_slots(gate, dead_ps, period_ps, delays_ps, weights / weights.sum())
    live = live_ratio(np.sum(clicks, 0), np.sum(together, 0), slots, noise_hz * dead_ps * 1e-12)
    return np.sum(announcements, 0), live


def _port_clicks(
    light: tuple[Light, ...], sent: NDArray[np.float64], efficiencies: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Probabilities that a live port clicks, float64[losses, ports], and that two do, float64[losses, ports, ports]."""
    either = efficiencies[..., :, None] + efficiencies[..., None, :]
    one = sum((pulse.probability * pulse.detected(efficiencies) for pulse in light), np.zeros(efficiencies.shape))
    any_of_two = sum((pulse.probability * pulse.detected(either) for pulse in light), np.zeros(either.shape))
    both = one[..., :, None] + one[..., None, :] - any_of_two
    return np.einsum("s,nsp->np", sent, one), np.einsum("s,nspq->npq", sent, both)


def _gate(profile: LinkProfile) -> Gate:
    """The gate of a slot, or of each time bin; without one as wide as there is room."""
    receiver = profile.receiver
    room_ps = receiver.time_bin_separation_ps or 1e12 / profile.source.clock_hz
    return Gate.best(profile.source.lifetime_ps, receiver.jitter_ps, min(receiver.gate_ps or room_ps, room_ps))
