"""What is fixed about a BB84 block before it begins: source bound, probabilities of the bases, what makes key, what is disclosed.

Read off a link profile, for live blocks and for planning alike; used by ``bb84_single_photon`` and ``key_length``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from common.errors import ConfigurationError
from common.security.multi_photon import source_multi_photon
from common.security.proofs.estimate import OTHER_BASIS


class SourceSettings(Protocol):
    """The part of a profile's ``[source]`` section the proof depends on; names as in the profile."""

    @property
    def mean_photon_number(self) -> float:
        """Photons a pulse at the first lens."""

    @property
    def mean_photon_number_uncertainty(self) -> float:
        """One standard deviation of it."""

    @property
    def g2(self) -> float:
        """Second-order correlation at zero delay."""

    @property
    def g2_uncertainty(self) -> float:
        """One standard deviation of it."""

    @property
    def on_fraction(self) -> float:
        """Share of the time the emitter is bright."""

    @property
    def transmitter_efficiency(self) -> float:
        """Transmission from first lens to channel."""

    @property
    def pre_attenuation(self) -> float:
        """Deliberate attenuation behind it."""

    @property
    def probability_z(self) -> float:
        """Probability of Z."""


class ReceiverSettings(Protocol):
    """The part of a profile's ``[receiver]`` section the proof depends on; names as in the profile."""

    @property
    def probability_z(self) -> float:
        """Probability of Z."""

    @property
    def basis_choice(self) -> Literal["passive", "active"]:
        """Who chooses the basis: a beam splitter or a modulator."""


class BlockRule(Protocol):
    """The part of a profile's ``[security]`` section the proof depends on; names as in the profile."""

    @property
    def key_bases(self) -> Literal["z", "both"]:
        """Bases that make key."""

    @property
    def test_fraction(self) -> float:
        """Share of a key basis that is disclosed."""

    @property
    def maximum_frames(self) -> int:
        """Frames a block at most."""


@dataclass(frozen=True, slots=True)
class Bb84Setting:
    """What is fixed before a block begins.

    Attributes
    ----------
    probability_multi_photon : float
        Bound of the probability of two photons or more in a pulse, given all earlier pulses.
    probability_z_alice, probability_z_bob : float
        Probability that Alice prepares in Z, and that Bob measures a photon in Z.
    basis_choice : str
        ``passive`` (a beam splitter chooses) or ``active``.
    key_bases : str
        ``z`` or ``both``.
    test_fraction_z, test_fraction_x : float
        Probability that a matched bit of that basis is disclosed, independently for each bit and after detection.
    maximum_frames : int
        Frames a block can have at most: each bound that depends on the number of pulses must hold at every possible end.

    Raises
    ------
    ConfigurationError
        If a value is out of range, or ``key_bases = "z"`` comes with X bits that are kept.
    """

    probability_multi_photon: float
    probability_z_alice: float
    probability_z_bob: float
    basis_choice: Literal["passive", "active"]
    key_bases: Literal["z", "both"]
    test_fraction_z: float
    test_fraction_x: float
    maximum_frames: int

    def __post_init__(self) -> None:
        for name in ("probability_multi_photon", "test_fraction_z", "test_fraction_x"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ConfigurationError(f"{name} = {getattr(self, name)}: choose a probability between 0 and 1")
        for name in ("probability_z_alice", "probability_z_bob"):
            if not 0.0 < getattr(self, name) < 1.0:
                raise ConfigurationError(f"{name} = {getattr(self, name)}: both bases are needed, choose it between 0 and 1, both excluded")
        if self.basis_choice not in {"passive", "active"} or self.key_bases not in {"z", "both"}:
            raise ConfigurationError(
                f"basis_choice = {self.basis_choice!r} is passive or active, key_bases = {self.key_bases!r} is z or both"
            )
        if self.key_bases == "z" and self.test_fraction_x != 1.0:
            raise ConfigurationError(
                f'test_fraction_x = {self.test_fraction_x}: with key_bases = "z" every X bit is disclosed, set it to 1'
            )
        if self.maximum_frames < 1:
            raise ConfigurationError(f"maximum_frames = {self.maximum_frames}: a block has at least one frame")

    @classmethod
    def of(cls, source: SourceSettings, receiver: ReceiverSettings, security: BlockRule) -> Bb84Setting:
        """Take the setting from a profile, for live blocks and for planning alike.

        Parameters
        ----------
        source : SourceSettings
            The profile's ``[source]``.
        receiver : ReceiverSettings
            The profile's ``[receiver]``.
        security : BlockRule
            The profile's ``[security]``.

        Returns
        -------
        Bb84Setting
            With the source's multi-photon bound at its upper confidence limit.
        """
        return cls(
            probability_multi_photon=source_multi_photon(
                source.mean_photon_number,
                source.mean_photon_number_uncertainty,
                source.g2,
                source.g2_uncertainty,
                source.on_fraction,
                source.transmitter_efficiency,
                source.pre_attenuation,
            ),
            probability_z_alice=source.probability_z,
            probability_z_bob=receiver.probability_z,
            basis_choice=receiver.basis_choice,
            key_bases=security.key_bases,
            test_fraction_z=security.test_fraction,
            test_fraction_x=security.test_fraction if security.key_bases == "both" else 1.0,
            maximum_frames=security.maximum_frames,
        )

    @property
    def key_basis_names(self) -> tuple[str, ...]:
        """The bases that make key."""
        return ("Z",) if self.key_bases == "z" else ("Z", "X")

    @property
    def events(self) -> tuple[str, ...]:
        """Names of the bounds the proof relies on; the estimation epsilon is shared equally between them."""
        names = [
            name
            for basis in self.key_basis_names
            for name in (f"phase errors {basis}", f"multi-photon key {basis}", f"multi-photon test {OTHER_BASIS[basis]}")
        ]
        return (*names, "multi-clicks") if self.basis_choice == "passive" else tuple(names)

    def probability_matched(self, basis: str) -> float:
        """Probability that both ends choose ``basis`` ("Z" or "X")."""
        if basis == "Z":
            return self.probability_z_alice * self.probability_z_bob
        return (1.0 - self.probability_z_alice) * (1.0 - self.probability_z_bob)

    def test_fraction(self, basis: str) -> float:
        """Probability that a matched bit of ``basis`` ("Z" or "X") is disclosed."""
        return self.test_fraction_z if basis == "Z" else self.test_fraction_x
