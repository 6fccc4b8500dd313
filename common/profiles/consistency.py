"""What several entries of a link profile have to agree on, each refused by name.

Single entries are checked where they are declared (``link``); here they meet: a protocol needs its kind of source and a proof that
covers it, time bins need room within a clock period.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from common.errors import ConfigurationError
from common.protocols.protocol import find_protocol
from common.security.epsilons import EpsilonBudget
from common.security.proofs.decoy_setting import DecoySetting
from common.security.proofs.registry import find_proof

if TYPE_CHECKING:
    from common.profiles.link import LinkProfile

_KEY_IN_BOTH_BASES = ("bb84",)
"""Protocols whose proof bounds each basis from the other; the others make key in Z."""

_FADING_AT_ANY_LOSS_DB = 2.0
"""Standard deviation of the loss that is taken at any mean, so that curves may begin at 0 dB."""


def check_consistency(profile: LinkProfile) -> None:
    """Refuse a profile whose entries contradict each other.

    Parameters
    ----------
    profile : LinkProfile
        Each entry of which has been checked by itself.

    Raises
    ------
    ConfigurationError
        Naming the entries and what would fit.
    """
    protocol, security = find_protocol(profile.protocol), profile.security
    for proof in (security.proof, security.paper_proof):
        if proof is not None:
            find_proof(protocol.name, proof)
    if profile.source.kind != protocol.source:
        raise ConfigurationError(
            f"source.kind = {profile.source.kind!r} does not fit protocol = {protocol.name!r}, which is made for {protocol.source!r}"
        )
    if security.key_bases == "both" and protocol.name not in _KEY_IN_BOTH_BASES:
        raise ConfigurationError(f"security.key_bases = 'both': with protocol = {protocol.name!r} only Z makes key, choose 'z'")
    EpsilonBudget.of(security)
    _check_source(profile)
    _check_channel(profile)
    _check_encoding(profile)
    _check_monitors(profile)


def _check_source(profile: LinkProfile) -> None:
    source, receiver = profile.source, profile.receiver
    if source.kind == "weak-coherent":
        for name, value, fitting in (
            ("mean_photon_number", source.mean_photon_number, 0.0),
            ("g2", source.g2, 0.0),
            ("transmitter_efficiency", source.transmitter_efficiency, 1.0),
            ("pre_attenuation", source.pre_attenuation, 1.0),
            ("on_fraction", source.on_fraction, 1.0),
        ):
            if value != fitting:
                raise ConfigurationError(f"source.{name} = {value}: weak coherent light is described by source.intensities, leave it out")
        DecoySetting(source.intensities, source.probability_intensity, receiver.probability_z, receiver.basis_choice)
        return
    if source.mean_photon_number == 0.0:
        raise ConfigurationError("source.mean_photon_number: a single-photon source needs one above 0")
    if source.intensities or source.probability_intensity:
        raise ConfigurationError("source.intensities: a single-photon source has none, leave them out or choose kind = 'weak-coherent'")


def _check_channel(profile: LinkProfile) -> None:
    """A loss below 0 dB counts as none; a fading that would often lead there is not the one that is named."""
    loss_db, sigma_db = profile.channel.loss_db, profile.channel.fading_sigma_db
    most_db = max(_FADING_AT_ANY_LOSS_DB, loss_db / 3.0)
    if sigma_db > most_db:
        raise ConfigurationError(
            f"channel.fading_sigma_db = {sigma_db:g}: with channel.loss_db = {loss_db:g} the channel would often amplify, "
            f"give at most {most_db:g}"
        )


def _check_encoding(profile: LinkProfile) -> None:
    separation_ps, period_ps = profile.receiver.time_bin_separation_ps, 1e12 / profile.source.clock_hz
    if profile.encoding == "time-bin":
        if not 0.0 < 3.0 * separation_ps <= period_ps * (1.0 + 1e-9):
            raise ConfigurationError(
                f"receiver.time_bin_separation_ps = {separation_ps}: three arrival times have to fit into a period of {period_ps:g} ps"
            )
        if profile.receiver.gate_ps is not None and profile.receiver.gate_ps > separation_ps:
            raise ConfigurationError(f"receiver.gate_ps = {profile.receiver.gate_ps}: gates of neighbouring time bins overlap")
        for name, chosen, fitting in (
            ("basis_choice", profile.receiver.basis_choice, "passive"),
            ("probability_z", profile.receiver.probability_z, 0.5),
        ):
            if chosen != fitting:
                raise ConfigurationError(f"receiver.{name} = {chosen}: the interferometer of time bins chooses the basis, give {fitting}")
        return
    for name, value, fitting in (
        ("receiver.time_bin_separation_ps", separation_ps, 0.0),
        ("channel.visibility", profile.channel.visibility, 1.0),
        ("channel.drift_slope", profile.channel.drift_slope, 0.0),
    ):
        if value != fitting:
            raise ConfigurationError(f"{name} = {value}: it belongs to encoding = 'time-bin', leave it out with {profile.encoding!r}")


def _check_monitors(profile: LinkProfile) -> None:
    if profile.monitors is None:
        return
    for name, (lowest, highest) in profile.monitors.ranges.items():
        if lowest > highest:
            raise ConfigurationError(f"monitors.{name} = [{lowest:g}, {highest:g}]: give the lower end first")
        if not lowest <= 1.0 <= highest:
            raise ConfigurationError(
                f"monitors.{name} = [{lowest:g}, {highest:g}]: 1 is what this profile itself expects, the range has to contain it"
            )
