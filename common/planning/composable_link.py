"""The links of the publications by the full link model and the proof that decides keys, for blocks of a given length.

The receiver is the profile's own: a passive one sees cross clicks, whose bound costs key that the textbook channel of
``single_photon_link`` does not know. Serves ``published`` and ``figures``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from common.planning.lengths import Mode
from common.planning.link_model import link_model
from common.planning.rate import RatePoint, rate_point
from common.planning.settings import with_entries
from common.planning.single_photon_link import best_exponents
from common.planning.textbook import textbook_model

if TYPE_CHECKING:
    from common.profiles.link import LinkProfile

_MISALIGNED = 0.01
"""Step with which the QBER is found to follow the misalignment, in a straight line."""


def with_block(profile: LinkProfile, pulses: int) -> LinkProfile:
    """Fix the block of a ``profile`` beforehand: a single frame of so many ``pulses``."""
    return with_entries(profile, {"security.frame_pulses": pulses, "security.maximum_frames": 1})


def with_qber(profile: LinkProfile, qber: float) -> LinkProfile:
    """Change the misalignment of a ``profile`` so that the link model expects a measured ``qber``."""
    own = profile.channel.misalignment
    low, high = (link_model(with_entries(profile, {"channel.misalignment": at})).z.qber for at in (own, own + _MISALIGNED))
    return with_entries(profile, {"channel.misalignment": own + _MISALIGNED * (qber - low) / (high - low)})


def point_for_detections(profile: LinkProfile, detections: float, mode: Mode = "composable") -> RatePoint:
    """Expect the key of a block of so many detections.

    Parameters
    ----------
    profile : LinkProfile
        Any link; its own block is not used.
    detections : float
        Announced clicks in one basis that are expected until the block closes.
    mode : str
        ``composable`` or ``paper``.

    Returns
    -------
    RatePoint
        Of a block whose length in pulses is fixed beforehand.

    References
    ----------
    :func:`common.planning.rate.rate_point`; status: planning.
    """
    model = link_model(profile) if mode == "composable" else textbook_model(profile)
    pulses = max(1, round(detections / max(model.probability_detection, 1e-15)))
    # more bits than that cannot be sifted: the block closes with its only frame, never before
    return rate_point(with_block(profile, pulses), mode=mode, block_bits=pulses)


def best_composable(profile: LinkProfile, detections: float) -> RatePoint:
    """Choose basis bias and pre-attenuation with which a block of so many detections gives most composable key.

    Parameters
    ----------
    profile : LinkProfile
        With a single-photon source; its bias and pre-attenuation are not used.
    detections : float
        Of the block.

    Returns
    -------
    RatePoint
        At the best settings.

    References
    ----------
    :func:`common.planning.single_photon_link.best_exponents`; status: planning.
    """

    def point(dimmed: float, biased: float) -> RatePoint:
        settings = {"source.pre_attenuation": 10.0**dimmed, "source.probability_z": 1.0 - 10.0**biased}
        return point_for_detections(with_entries(profile, settings), detections)

    def balance(dimmed: float, biased: float) -> float:
        found = point(dimmed, biased)
        missing = found.ledger.get("not distilled", 0.0) if found.ledger else 1.0
        return found.secret_bits_per_pulse or -missing / (found.pulses or 1)

    return point(*best_exponents(balance))
