"""A profile's entries by name, changed and checked again; and the same link with another source of light.

Serves ``rate`` and the searches that change one entry of a profile after another.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pydantic import ValidationError

from common.errors import ConfigurationError
from common.profiles.consistency import check_consistency

if TYPE_CHECKING:
    from collections.abc import Mapping

    from common.profiles.link import LinkProfile

_Section = TypeVar("_Section")

LASER_INTENSITIES = ((0.45, 0.8), (0.1, 0.12), (0.002, 0.08))
"""Mean photon number and probability of signal, decoy and almost vacuum, where nothing else is said; ours, those of profile ``decoy``."""

SINGLE_PHOTONS = (0.292, 0.00698)
"""Mean photon number in the channel and g2 of a good source, where nothing else is said: those of ``hefei`` [Zhang2025]."""


def entries(profile: LinkProfile) -> dict[str, Any]:
    """List a profile's entries by dotted name.

    Parameters
    ----------
    profile : LinkProfile
        Any link.

    Returns
    -------
    dict
        ``section.key`` to value, and the entries above the sections by their plain names.

    References
    ----------
    Nothing is computed here; status: planning.
    """
    found: dict[str, Any] = {}
    for entry in fields(profile):
        value = getattr(profile, entry.name)
        if is_dataclass(value):
            found.update({f"{entry.name}.{inner.name}": getattr(value, inner.name) for inner in fields(value)})
        else:
            found[entry.name] = value
    return found


def with_entries(profile: LinkProfile, changes: Mapping[str, Any]) -> LinkProfile:
    """Change entries of a profile and check it again.

    Parameters
    ----------
    profile : LinkProfile
        Any link.
    changes : mapping of str to value
        By dotted name, such as ``channel.loss_db``.

    Returns
    -------
    LinkProfile
        The changed profile.

    Raises
    ------
    ConfigurationError
        If an entry does not exist, is out of range, or contradicts another; the message names it.

    References
    ----------
    Nothing is computed here; status: planning.
    """
    known = entries(profile)
    by_section: dict[str, dict[str, Any]] = {}
    for name, value in changes.items():
        if name not in known:
            raise ConfigurationError(f"{name}: no entry of a link profile; choose one such as channel.loss_db or source.probability_z")
        section, _, key = name.rpartition(".")
        by_section.setdefault(section, {})[key] = value
    whole = by_section.pop("", {})
    for section, values in by_section.items():
        whole[section] = _replaced(getattr(profile, section), values, f"{section}.")
    changed = _replaced(profile, whole, "")
    check_consistency(changed)
    return changed


def with_source(profile: LinkProfile, source: Literal["single-photon", "decoy"]) -> LinkProfile:
    """Put another source of light into a link: same clock, channel and receiver.

    Parameters
    ----------
    profile : LinkProfile
        Any link.
    source : str
        ``single-photon`` or ``decoy``.

    Returns
    -------
    LinkProfile
        The same where it has such a source; else with ``LASER_INTENSITIES`` or ``SINGLE_PHOTONS``, to be changed as needed.

    References
    ----------
    Nothing is computed here; status: planning.
    """
    return with_entries(profile, source_entries(profile, source))


def source_entries(profile: LinkProfile, source: Literal["single-photon", "decoy"]) -> dict[str, Any]:
    """List what has to change for another source of light.

    Parameters
    ----------
    profile : LinkProfile
        Any link.
    source : str
        ``single-photon`` or ``decoy``.

    Returns
    -------
    dict
        Values by dotted name; nothing where the link has such a source.

    Raises
    ------
    ConfigurationError
        If there is no such source.

    References
    ----------
    Nothing is computed here; status: planning.
    """
    if source not in {"single-photon", "decoy"}:
        raise ConfigurationError(f"source {source!r}: choose single-photon or decoy")
    if (source == "single-photon") == (profile.source.kind == "single-photon"):
        return {}
    protocol = profile.protocol.removesuffix("-decoy") + ("-decoy" if source == "decoy" else "")
    intensities, probabilities = zip(*LASER_INTENSITIES, strict=True) if source == "decoy" else ((), ())
    mean, g2 = (0.0, 0.0) if source == "decoy" else SINGLE_PHOTONS
    composable, paper = _PROOFS[protocol]
    one_way = {"reconciliation.method": "ldpc"} if protocol != "bb84" else {}  # those proofs would charge both halves of Cascade
    return one_way | {
        "protocol": protocol,
        "source.kind": "weak-coherent" if source == "decoy" else "single-photon",
        "source.mean_photon_number": mean,
        "source.mean_photon_number_uncertainty": 0.0,
        "source.g2": g2,
        "source.g2_uncertainty": 0.0,
        "source.intensities": list(intensities),
        "source.probability_intensity": list(probabilities),
        "source.on_fraction": 1.0,
        "source.transmitter_efficiency": 1.0,
        "source.pre_attenuation": 1.0,
        "source.lifetime_ps": 0.0,
        "security.key_bases": "z",
        "security.test_fraction": 0.0,
        "security.proof": composable,
        "security.paper_proof": paper,
    }


_PROOFS = {
    "bb84": ("bb84-single-photon", "niedersachsen"),
    "three-state": ("three-state-single-photon", "hefei"),
    "bb84-decoy": ("bb84-decoy", "lim-2014"),
    "three-state-decoy": ("three-state-decoy", "three-state-laser"),
}
"""What decides and what is compared, after a change of source."""


def _replaced(section: _Section, values: Mapping[str, Any], prefix: str) -> _Section:
    try:
        return replace(section, **values)  # type: ignore[type-var]
    except ValidationError as invalid:
        said = (f"{prefix}{'.'.join(map(str, error['loc']))}: {error['msg']}" for error in invalid.errors())
        raise ConfigurationError("; ".join(said)) from None
