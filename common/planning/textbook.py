"""The channel the publications calculate with: loss, misalignment and dark counts, and nothing else.

No pulse shape, no dead time, no fading, no coincidences. Paper lengths are computed from it unless told otherwise, so that they are
the publications' own; composable ones from ``link_model``. Takes a ``LinkProfile``, gives a ``LinkModel``.

References
----------
[Morrison2023] as recalled, [Lim2014]; ``docs/explanation/link-model`` for the full model beside it; status: planning.
"""

from __future__ import annotations

from math import exp
from typing import TYPE_CHECKING

from common.planning.link_model import LinkModel, PulseModel
from common.profiles.setting import decoy_setting
from common.protocols.protocol import find_protocol
from common.security.proofs.decoy_paper import laser_gains
from common.security.proofs.single_photon_channel import single_photon_clicks

if TYPE_CHECKING:
    from common.profiles.link import LinkProfile
    from common.protocols.protocol import Protocol

_ByBasis = tuple[float, float]


def textbook_model(profile: LinkProfile) -> LinkModel:
    """Evaluate the textbook channel of a link.

    Parameters
    ----------
    profile : LinkProfile
        Any link.

    Returns
    -------
    LinkModel
        Without cross clicks, detectors always live.

    Raises
    ------
    ConfigurationError
        If a parameter makes no sense; the message names it.

    References
    ----------
    Clicks ``1 - (1-Y0)(1-s)``, errors ``(e s + Y0/2)/p_c`` with ``e`` the misalignment, or in X of time bins ``(1-V)/2``; ``Y0`` is
    the dark probability of one gate, all detectors together; status: planning.
    """
    protocol, source, channel, receiver = find_protocol(profile.protocol), profile.source, profile.channel, profile.receiver
    errors = channel.misalignment, 0.5 * (1.0 - channel.visibility) if profile.encoding == "time-bin" else channel.misalignment
    efficiency = receiver.efficiency * receiver.detector_efficiency
    transmission: float = 10.0 ** (-channel.loss_db / 10.0) * efficiency
    period_ps = 1e12 / source.clock_hz
    gate_ps = period_ps if receiver.gate_ps is None else min(receiver.gate_ps, period_ps)
    dark = min(1.0, (receiver.dark_rate_hz + channel.background_hz) * gate_ps * 1e-12)
    if source.kind == "single-photon":
        mean = source.mean_photon_number * source.transmitter_efficiency * source.pre_attenuation
        z, x = (single_photon_clicks(mean, source.g2, channel.loss_db, efficiency, dark, error) for error in errors)
        light = [(mean, 1.0, z.click, (z.qber, x.qber))]
        multi = z.multi
    else:
        setting = decoy_setting(profile)
        gains, wrong_z = laser_gains(setting, transmission, dark, errors[0])
        _, wrong_x = laser_gains(setting, transmission, dark, errors[1])
        qber = [(a / gain, b / gain) if gain else (0.0, 0.0) for gain, a, b in zip(gains, wrong_z, wrong_x, strict=True)]
        light = list(zip(setting.intensities, setting.probabilities, gains, qber, strict=True))
        multi = sum(p * (1.0 - exp(-mean) * (1.0 + mean)) for mean, p, *_ in light)
    in_basis, none = (source.probability_z, 1.0 - source.probability_z), (0.0,) * len(protocol.settings)
    return LinkModel(
        protocol=protocol,
        setting_probabilities=tuple(in_basis[basis] / protocol.setting_bases.count(basis) for basis in protocol.setting_bases),
        pulses=tuple(
            PulseModel(mean, p, _table(protocol, receiver.probability_z, click, qber), none, none) for mean, p, click, qber in light
        ),
        transmission=transmission,
        probability_multi_photon=multi,
        live_ratio=1.0,
    )


def _table(protocol: Protocol, probability_z: float, click: float, qber: _ByBasis) -> tuple[tuple[float, ...], ...]:
    """Outcomes Z0 Z1 X0 X1 (columns) of every setting (rows); in the other basis a coin decides."""
    measured = probability_z, 1.0 - probability_z
    rows = []
    for basis, bit in zip(protocol.setting_bases, protocol.setting_bits, strict=True):
        row = [0.5 * click * measured[outcome >> 1] for outcome in range(4)]
        row[2 * basis + bit] = click * measured[basis] * (1.0 - qber[basis])
        row[2 * basis + 1 - bit] = click * measured[basis] * qber[basis]
        rows.append(tuple(row))
    return tuple(rows)
