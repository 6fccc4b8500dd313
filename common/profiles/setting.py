"""What a link profile fixes about a block, in the terms of the proofs.

Profiles use the words of the laboratory (degrees, section names), proofs those of their formulas. Serves the recipe of live links and the
planner alike, so that both mean the same block.
"""

from __future__ import annotations

from collections.abc import Callable
from math import radians
from typing import TYPE_CHECKING

from common.errors import ConfigurationError
from common.protocols.encoding import ENCODINGS
from common.security.multi_photon import source_multi_photon
from common.security.proofs.bb84_setting import Bb84Setting
from common.security.proofs.deciding import BlockSetting, ThreeStateDecoySetting, key_bases_of
from common.security.proofs.decoy_setting import DecoySetting
from common.security.proofs.estimate import OTHER_BASIS
from common.security.proofs.three_state_setting import QubitStates, ThreeStateSetting

if TYPE_CHECKING:
    from common.profiles.link import LinkProfile


def block_setting(profile: LinkProfile) -> BlockSetting:
    """Read what the composable proof of a link's protocol needs off its profile.

    Parameters
    ----------
    profile : LinkProfile
        Any link.

    Returns
    -------
    BlockSetting
        Its type says which proof reads it.

    Raises
    ------
    ConfigurationError
        If the entries do not suit the proof, or it does not give away the noise that a key basis of the receiver has beyond its share;
        the message names them.

    References
    ----------
    ``docs/explanation/proofs``; status: rigorous.
    """
    setting = _SETTINGS[profile.protocol](profile)
    if not isinstance(setting, ThreeStateSetting):  # which gives it away itself
        for basis in key_bases_of(setting):
            _refuse_excess_noise(profile, basis)
    return setting


def _refuse_excess_noise(profile: LinkProfile, basis: str) -> None:
    noise, receiver = _excess_noise(profile, basis), profile.receiver
    if noise == 0.0:
        return
    fitting = "of at least 0.5" if basis == "Z" else "of at most 0.5, security.key_bases = 'z'"
    remedy = f"receiver.probability_z {fitting}, an active receiver, or " if profile.encoding == "polarisation" else ""
    raise ConfigurationError(
        f"receiver.probability_z = {receiver.probability_z:g} with receiver.dark_rate_hz = {receiver.dark_rate_hz:g} and"
        f" channel.background_hz = {profile.channel.background_hz:g}: key basis {basis} of this passive receiver has {noise:.2g} noise"
        f" clicks a pulse of which {OTHER_BASIS[basis]} shows nothing, and security.proof = {profile.security.proof!r} does not give them"
        f" away; choose {remedy}single photons with protocol = 'three-state' and security.proof = 'three-state-single-photon', which does"
    )


def bb84_setting(profile: LinkProfile) -> Bb84Setting:
    """Read what the proof of BB84 with single photons needs off a ``profile``.

    References
    ----------
    ``docs/explanation/finite-key``; status: rigorous.
    """
    return Bb84Setting.of(profile.source, profile.receiver, profile.security)


def three_state_setting(profile: LinkProfile) -> ThreeStateSetting:
    """Read what the three-state proofs need off a profile.

    Parameters
    ----------
    profile : LinkProfile
        Of a three-state protocol.

    Returns
    -------
    ThreeStateSetting
        With the multi-photon bound of a single-photon source at its upper confidence limit, and 0 for light with decoys.

    Raises
    ------
    ConfigurationError
        If the states may lie on one line.

    References
    ----------
    ``docs/explanation/three-state``; status: rigorous.
    """
    source, receiver, security = profile.source, profile.receiver, profile.security
    one, two, three = (radians(angle) for angle in source.state_angles_deg)
    multi = 0.0
    if source.kind == "single-photon":
        multi = source_multi_photon(
            source.mean_photon_number,
            source.mean_photon_number_uncertainty,
            source.g2,
            source.g2_uncertainty,
            source.on_fraction,
            source.transmitter_efficiency,
            source.pre_attenuation,
        )
    return ThreeStateSetting(
        probability_multi_photon=multi,
        probability_z_alice=source.probability_z,
        probability_z_bob=receiver.probability_z,
        basis_choice=receiver.basis_choice,
        test_fraction_z=security.test_fraction,
        maximum_frames=security.maximum_frames,
        states=QubitStates((one, two, three), radians(source.state_uncertainty_deg)),
        windows_share_ports=len(ENCODINGS[profile.encoding].windows) > 1,
        probability_excess_noise=_excess_noise(profile, "Z"),
    )


def _excess_noise(profile: LinkProfile, basis: str) -> float:
    """Noise clicks a pulse by which a key basis exceeds what the other shows: a passive receiver's clicks in one speak for the other in
    the ratio of the bases.

    Each window is read on some of the detectors, and each of these has its share of all noise while its gate is open.
    """
    receiver, encoding = profile.receiver, ENCODINGS[profile.encoding]
    if receiver.basis_choice == "active":  # every detector of a slot is read in one basis
        return 0.0
    room_ps = receiver.time_bin_separation_ps or 1e12 / profile.source.clock_hz
    rate_hz = (receiver.dark_rate_hz + profile.channel.background_hz) / len(encoding.detectors)
    per_click = rate_hz * min(receiver.gate_ps or room_ps, room_ps) * 1e-12
    noise = {
        name: per_click * sum(outcome >> 1 == code for window in encoding.outcomes for outcome in window) for code, name in enumerate("ZX")
    }
    light, other = {"Z": receiver.probability_z, "X": 1.0 - receiver.probability_z}, OTHER_BASIS[basis]
    return min(1.0, max(0.0, noise[basis] - noise[other] * light[basis] / light[other]))


def decoy_setting(profile: LinkProfile) -> DecoySetting:
    """Read what the decoy proofs need off a profile.

    Parameters
    ----------
    profile : LinkProfile
        Of a decoy protocol.

    Returns
    -------
    DecoySetting
        With intensities as they enter the channel.

    Raises
    ------
    ConfigurationError
        If the intensities or their probabilities do not suit the bounds.

    References
    ----------
    ``docs/explanation/decoy-states``; status: rigorous.
    """
    source, receiver = profile.source, profile.receiver
    return DecoySetting(tuple(source.intensities), tuple(source.probability_intensity), receiver.probability_z, receiver.basis_choice)


def three_state_decoy_setting(profile: LinkProfile) -> ThreeStateDecoySetting:
    """Read what the proof of three states with decoys needs off a ``profile``.

    References
    ----------
    ``docs/explanation/decoy-states``; status: rigorous.
    """
    return ThreeStateDecoySetting(decoy_setting(profile), three_state_setting(profile))


_SETTINGS: dict[str, Callable[[LinkProfile], BlockSetting]] = {
    "bb84": bb84_setting,
    "three-state": three_state_setting,
    "bb84-decoy": decoy_setting,
    "three-state-decoy": three_state_decoy_setting,
}
"""By protocol."""
