"""Which proofs there are, for which protocol, and which of them may decide a live key.

A ``ComposableProof`` may; a ``PaperProof`` reproduces a publication and is refused by ``require_composable``, which everything that
makes key calls once with what the link profile says. They are two types: a function that needs the one does not take the other.

References
----------
``docs/explanation/proofs`` shows the table and what each publication lacks. Status: rigorous.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from common.errors import ConfigurationError

_DEVICES = (
    "independent pulses without coherence between photon numbers, no leak of settings",
    "detection does not depend on the basis",
    "same-basis double clicks become a random bit; cross-basis clicks of a passive receiver are counted",
)
_DECOYS = ("every pulse has a random phase; intensities are characterised, uncorrelated and independent of basis and bit",)


@dataclass(frozen=True, slots=True)
class ComposableProof:
    """A proof whose length is secret against coherent attacks, in any use of the key.

    Attributes
    ----------
    protocol, name : str
        As in the link profile: ``protocol`` and ``security.proof``.
    title : str
        A line for people.
    assumptions : tuple[str, ...]
        What has to hold of the devices, beyond ``docs/explanation/assumptions``.
    leakage_rule : str
        ``reference half``: only what is said about the reference bits is charged, the proof gives the error pattern away; ``both
        halves``: the correcting half's parities are charged too.
    status : str
        ``composable``.
    """

    protocol: str
    name: str
    title: str
    assumptions: tuple[str, ...]
    leakage_rule: Literal["reference half", "both halves"]
    status: Literal["composable"] = "composable"


@dataclass(frozen=True, slots=True)
class PaperProof:
    """A publication's formula: for figures and comparison, never for key.

    Attributes
    ----------
    protocol, name : str
        As in the link profile: ``protocol`` and ``security.proof``.
    title : str
        A line for people.
    lacks : tuple[str, ...]
        Why it may not decide a key length.
    status : str
        ``paper``.
    """

    protocol: str
    name: str
    title: str
    lacks: tuple[str, ...]
    status: Literal["paper"] = "paper"


_LINEAR = "failure probabilities of the estimation are added linearly, without the square"
_CHERNOFF = "Chernoff bounds of events that an eavesdropper may correlate"

_PROOFS: dict[tuple[str, str], ComposableProof | PaperProof] = {
    (proof.protocol, proof.name): proof
    for proof in (
        ComposableProof(
            "bb84",
            "bb84-single-photon",
            "BB84, single photons, multi-photons tagged, exact sampling",
            (*_DEVICES, "the four states are those of BB84"),
            "reference half",
        ),
        PaperProof("bb84", "niedersachsen", "BB84, single photons, Chernoff bounds", (_LINEAR, "gamma of a point mass")),
        PaperProof("bb84", "hbn", "BB84, single photons, pooled bases", (_LINEAR, "collective attacks only", "bases are pooled")),
        ComposableProof(
            "three-state",
            "three-state-single-photon",
            "Three states, single photons, loss-tolerant, martingale bounds",
            (
                *_DEVICES,
                "pure states in one plane of the Bloch sphere, their angles certified within the stated uncertainty",
                "time bins: both splitters are even, both arms lose alike, and nothing clicks in the middle window alone",
            ),
            "both halves",
        ),
        PaperProof("three-state", "hefei", "Three states, single photons, ideal states", (_LINEAR, _CHERNOFF, "states are taken as ideal")),
        ComposableProof(
            "bb84-decoy",
            "bb84-decoy",
            "BB84, laser light with one or two decoys, exact sampling",
            (*_DEVICES, *_DECOYS, "the four states are those of BB84"),
            "both halves",
        ),
        PaperProof("bb84-decoy", "lim-2014", "BB84, two decoys", (_LINEAR, "sampling term that fails at few errors")),
        PaperProof("bb84-decoy", "rusca-2018", "BB84, one decoy", (_LINEAR, "sampling term that fails at few errors")),
        ComposableProof(
            "three-state-decoy",
            "three-state-decoy",
            "Three states, laser light with two decoys, martingale bounds",
            (*_DEVICES, *_DECOYS, "pure states in one plane of the Bloch sphere, their angles certified within the stated uncertainty"),
            "both halves",
        ),
        PaperProof("three-state-decoy", "three-state-laser", "Three states, two decoys", (_LINEAR, _CHERNOFF, "states are taken as ideal")),
    )
}


def proofs_of(protocol: str) -> tuple[ComposableProof | PaperProof, ...]:
    """List the proofs of a ``protocol``, composable ones first.

    References
    ----------
    ``docs/explanation/proofs``; status: rigorous.
    """
    found = [proof for (known, _), proof in _PROOFS.items() if known == protocol]
    return tuple(sorted(found, key=lambda proof: proof.status != "composable"))


def find_proof(protocol: str, name: str) -> ComposableProof | PaperProof:
    """Look a proof up, for planning and figures.

    Parameters
    ----------
    protocol, name : str
        As in the link profile.

    Returns
    -------
    ComposableProof or PaperProof
        Its record.

    Raises
    ------
    ConfigurationError
        If the proof does not exist or does not fit the protocol.

    References
    ----------
    ``docs/explanation/proofs``; status: rigorous.
    """
    known = proofs_of(protocol)
    if not known:
        raise ConfigurationError(f"protocol = {protocol!r}: no proof covers it; choose one of {', '.join(sorted({p for p, _ in _PROOFS}))}")
    for proof in known:
        if proof.name == name:
            return proof
    raise ConfigurationError(
        f"security.proof = {name!r} does not fit protocol = {protocol!r}: choose one of {', '.join(proof.name for proof in known)}"
    )


def require_composable(protocol: str, name: str) -> ComposableProof:
    """Look up the proof that is to decide live keys.

    Parameters
    ----------
    protocol, name : str
        As in the link profile.

    Returns
    -------
    ComposableProof
        Its record.

    Raises
    ------
    ConfigurationError
        If the proof does not exist, does not fit the protocol, or only reproduces a publication.

    References
    ----------
    ``docs/explanation/proofs``; status: rigorous.
    """
    proof = find_proof(protocol, name)
    if isinstance(proof, PaperProof):
        choices = ", ".join(other.name for other in proofs_of(protocol) if isinstance(other, ComposableProof))
        raise ConfigurationError(
            f"security.proof = {name!r} reproduces a publication and makes no key ({'; '.join(proof.lacks)}): choose {choices}"
        )
    return proof
