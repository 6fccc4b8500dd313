"""A link profile: source, channel, receiver, security and reconciliation of one link, checked once at the edge.

Profiles are TOML files beside this module, or files of the user; ``--set section.key=value`` changes single entries. What comes
out is frozen and complete, so that nothing further in has to ask whether a value makes sense; what several entries have to agree
on is checked in ``consistency``.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import fields
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from common.errors import ConfigurationError
from common.profiles.consistency import check_consistency
from common.protocols.protocol import Protocol, find_protocol

_STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)

Probability = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(ge=1e-15, le=1e15)]
NonNegative = Annotated[float, Field(ge=0.0, le=1e15)]
"""Far beyond any laboratory on both sides, and far within what floating point can multiply."""

Photons = Annotated[float, Field(ge=0.0, le=100.0)]
Epsilon = Annotated[float, Field(gt=0.0, lt=1.0)]

CertifiedRange = tuple[NonNegative, NonNegative]
"""Lowest and highest value, as multiples of what the link model expects of this profile."""


@dataclass(frozen=True, config=_STRICT)
class Source:
    """Alice's source of light.

    Attributes
    ----------
    kind : str
        ``single-photon`` or ``weak-coherent``.
    clock_hz : float
        Pulses a second.
    mean_photon_number, mean_photon_number_uncertainty : float
        Photons a pulse of a single-photon source at the first lens, and one standard deviation of it.
    g2, g2_uncertainty : float
        Its second-order correlation at zero delay, and one standard deviation of it.
    intensities, probability_intensity : tuple[float, ...]
        Mean photon numbers of weak coherent light in the channel, from the signal to the weakest decoy, and how often each is sent.
    on_fraction : float
        Share of the time the emitter is bright (blinking); 1 means that blinking is not included.
    transmitter_efficiency, pre_attenuation : float
        Transmission from first lens to channel, and the deliberate attenuation behind it.
    probability_z : float
        Probability that Alice prepares in Z.
    state_angles_deg : tuple[float, float, float]
        Measured angles of Z0, Z1 and X0 on the Bloch sphere, from Z0, degrees; three-state protocols only.
    state_uncertainty_deg : float
        Every angle of every pulse lies within this of the measured one, degrees; 0 takes the states as exactly those measured.
    lifetime_ps : float
        Radiative lifetime, picoseconds.
    duty_cycle : float
        Share of the wall-clock time in which pulses are sent.
    """

    kind: Literal["single-photon", "weak-coherent"]
    clock_hz: Annotated[float, Field(ge=1.0, le=1e12)]
    mean_photon_number: Photons = 0.0
    g2: Probability = 0.0
    mean_photon_number_uncertainty: Photons = 0.0
    g2_uncertainty: Probability = 0.0
    intensities: tuple[Photons, ...] = ()
    probability_intensity: tuple[Probability, ...] = ()
    on_fraction: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    transmitter_efficiency: Probability = 1.0
    pre_attenuation: Annotated[float, Field(ge=1e-15, le=1.0)] = 1.0
    probability_z: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.5
    state_angles_deg: tuple[float, float, float] = (0.0, 180.0, 90.0)
    state_uncertainty_deg: Annotated[float, Field(ge=0.0, le=45.0)] = 0.0
    lifetime_ps: NonNegative = 0.0
    duty_cycle: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0


@dataclass(frozen=True, config=_STRICT)
class Channel:
    """The quantum channel between transmitter and receiver.

    Attributes
    ----------
    loss_db : float
        Loss, decibels; the mean where it fluctuates.
    fading_sigma_db : float
        Standard deviation of the loss, decibels; it is taken as normally distributed. At most a third of the loss, or 2 if that is more.
    fading_time_s : float
        Correlation time of a loss that fluctuates, seconds; only the emulated fibre asks for it.
    drift_rate : float
        Random walk of the polarisation over the Poincaré sphere, of the interferometer's phase with time bins: standard deviation of the
        turn about any axis after a second, radians; only the emulated fibre asks for it, as for the following two.
    drift_slope : float
        Steady creep of the interferometer's phase, radians a second; time bins only.
    drift_start : str
        ``aligned``, or ``anywhere``: the fibre is found turned at random.
    misalignment : float
        Probability that a signal photon gives the wrong outcome in the right basis; with time bins in Z only.
    visibility : float
        Visibility of the interference of time bins, which gives the errors of X.
    background_hz : float
        Clicks a second from stray light, all detectors together; they add to the dark counts.
    delay_ps : float
        Propagation delay, picoseconds; a hint, the offset is always searched.
    delay_swing_ps, delay_period_s : float
        Temperature lengthens and shortens the fibre: a sine of this amplitude and period in the delay; only the emulated fibre asks for it.
    """

    loss_db: Annotated[float, Field(ge=0.0, le=1000.0)]
    fading_sigma_db: Annotated[float, Field(ge=0.0, le=20.0)] = 0.0
    fading_time_s: Positive = 0.01
    drift_rate: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    drift_slope: Annotated[float, Field(ge=-1.0, le=1.0)] = 0.0
    drift_start: Literal["aligned", "anywhere"] = "aligned"
    misalignment: Annotated[float, Field(ge=0.0, le=0.5)] = 0.0
    visibility: Probability = 1.0
    background_hz: NonNegative = 0.0
    delay_ps: Annotated[float, Field(ge=-1e15, le=1e15)] = 0.0
    delay_swing_ps: Annotated[float, Field(ge=0.0, le=1e9)] = 0.0
    delay_period_s: Annotated[float, Field(ge=60.0)] = 86_400.0


@dataclass(frozen=True, config=_STRICT)
class Receiver:
    """Bob's receiver.

    Attributes
    ----------
    efficiency, detector_efficiency : float
        Transmission of the optics, and of the detectors.
    basis_choice : str
        ``passive`` (a beam splitter chooses) or ``active`` (a modulator does).
    probability_z : float
        Probability that a photon is measured in Z.
    dark_rate_hz : float
        Dark counts a second, all detectors together.
    dead_time_ps, jitter_ps : float
        Dead time of a detector, and standard deviation of its timing.
    gate_ps : float | None
        Width of the temporal gate; None means one clock period. With time bins that of each of the three gates.
    tagger_resolution_ps : float
        Time tags are multiples of this.
    clock_offset_ppm : float
        How much faster Bob's clock runs than Alice's, parts per million.
    clock_wander_ppm : float
        Random walk of that: standard deviation of its change in a second; only the emulated receiver asks for it.
    time_bin_separation_ps : float
        Delay of the interferometer, which is the time from early to late; 0 without time bins.
    sync_divider : int
        A reference pulse marks the centre of a slot whose index is a multiple of this; 0 means no reference pulses.
    sync_detection_probability : float
        Share of the reference pulses that are detected.
    """

    efficiency: Probability
    detector_efficiency: Probability
    basis_choice: Literal["passive", "active"]
    dark_rate_hz: NonNegative
    probability_z: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.5
    dead_time_ps: NonNegative = 0.0
    jitter_ps: NonNegative = 0.0
    gate_ps: Positive | None = None
    tagger_resolution_ps: Positive = 1.0
    clock_offset_ppm: Annotated[float, Field(ge=-200.0, le=200.0)] = 0.0
    clock_wander_ppm: Annotated[float, Field(ge=0.0, le=0.01)] = 0.0
    time_bin_separation_ps: NonNegative = 0.0
    sync_divider: Annotated[int, Field(ge=0)] = 0
    sync_detection_probability: Probability = 0.0


@dataclass(frozen=True, config=_STRICT)
class Security:
    """What is promised about the key, and the rule a block follows.

    Attributes
    ----------
    epsilon_secrecy, epsilon_correctness, epsilon_authentication : float
        Failure probabilities a block.
    block_bits : int
        Sifted key-basis bits a block aims at, after removal of the tested ones.
    key_bases : str
        ``z`` (X is disclosed whole) or ``both`` (each basis is bounded from the other).
    test_fraction : float
        Share of the bits of a key basis that is disclosed; with ``key_bases = "both"`` of both bases.
    frame_pulses : int
        Pulses a frame.
    maximum_frames : int
        Frames a block at most.
    proof : str
        Name of the security proof that decides live keys.
    paper_proof : str | None
        Name of the publication's formula the planner sets beside it; None takes the first one of the protocol.
    """

    epsilon_secrecy: Epsilon
    epsilon_correctness: Epsilon
    epsilon_authentication: Epsilon
    block_bits: Annotated[int, Field(ge=1, le=200_000_000)]
    frame_pulses: Annotated[int, Field(ge=1)]
    key_bases: Literal["z", "both"] = "z"
    test_fraction: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    maximum_frames: Annotated[int, Field(ge=1, le=1_000_000)] = 65_536
    proof: str = "bb84-single-photon"
    paper_proof: str | None = None


@dataclass(frozen=True, config=_STRICT)
class Reconciliation:
    """How errors are corrected.

    Attributes
    ----------
    method : str
        ``cascade`` (many short messages), ``ldpc`` (few long ones), or ``auto``: Cascade as far as it keeps up with the link.
    direction : str
        ``direct``: Alice's bits are the reference; ``reverse``: Bob's are.
    code_rate : float | None
        Code rate of the LDPC code; None lets the working QBER choose.
    segment_bits : int
        Payload of one segment, bits; LDPC takes the shipped code nearest in length, or a shorter one that leaks less.
    effort : str
        How much computing LDPC may spend to leak less: ``fast``, ``standard``, or ``thorough``, which takes codewords of a million bits
        where ``segment_bits`` allows them.
    initial_qber : float
        Working QBER before the first disclosure.
    """

    method: Literal["ldpc", "cascade", "auto"]
    direction: Literal["direct", "reverse"]
    code_rate: Annotated[float, Field(gt=0.0, lt=1.0)] | None = None
    segment_bits: Annotated[int, Field(ge=1024, le=1_048_576)] = 65_536
    effort: Literal["fast", "standard", "thorough"] = "standard"
    initial_qber: Annotated[float, Field(gt=0.0, lt=0.5)] = 0.03


@dataclass(frozen=True, config=_STRICT)
class Monitors:
    """Certified ranges of what is watched while key is made: outside of one of them there is no key. What has no range is not watched.

    Attributes
    ----------
    false_alarm : float
        Probability a block, all monitors of an end together, that a device within its ranges is called out of them.
    background_ratio : tuple[float, float] | None
        Clicks between the pulses, to dark rate and background together. Fewer than the least: detectors that have gone blind.
    efficiency_ratio : tuple[float, float] | None
        Clicks of one detector to those of the other of its basis, and of one basis to those of the other, each to what is expected.
    detection_ratio : tuple[float, float] | None
        Detections a pulse.
    coincidence_ratio : tuple[float, float] | None
        Slots in which two detectors click, to what independent clicks would make of the same rates. Fewer than the least: detectors that
        somebody else steers.
    """

    false_alarm: Epsilon = 1e-6
    background_ratio: CertifiedRange | None = None
    efficiency_ratio: CertifiedRange | None = None
    detection_ratio: CertifiedRange | None = None
    coincidence_ratio: CertifiedRange | None = None

    @property
    def ranges(self) -> dict[str, CertifiedRange]:
        """What is watched, and its range, by the name of the entry."""
        entries = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "false_alarm"}
        return {name: certified for name, certified in entries.items() if certified is not None}


@dataclass(frozen=True, config=_STRICT)
class LinkProfile:
    """One link, complete and checked.

    Attributes
    ----------
    name, title : str
        Short name, and a line for people.
    protocol : str
        ``bb84``, ``three-state``, ``bb84-decoy`` or ``three-state-decoy``.
    encoding : str
        ``polarisation`` or ``time-bin``.
    source, channel, receiver, security, reconciliation : Source, Channel, Receiver, Security, Reconciliation
        The sections.
    monitors : Monitors | None
        Certified ranges; None where nothing is watched.
    """

    name: str
    title: str
    protocol: Literal["bb84", "three-state", "bb84-decoy", "three-state-decoy"]
    encoding: Literal["polarisation", "time-bin"]
    source: Source
    channel: Channel
    receiver: Receiver
    security: Security
    reconciliation: Reconciliation
    monitors: Monitors | None = None

    @property
    def prepared(self) -> Protocol:
        """The protocol as Alice's record names its settings: with intensities, where her light has several."""
        return find_protocol(self.protocol).with_intensities(len(self.source.intensities))

    @property
    def setting_probabilities(self) -> tuple[float, ...]:
        """Probability of each setting of ``prepared``, which the proofs divide by: an emission record has to have the same ones."""
        return self.prepared.probabilities(self.source.probability_z, self.source.probability_intensity or (1.0,))


_ADAPTER = TypeAdapter(LinkProfile)


def profile_names() -> list[str]:
    """Return the names of the profiles that come with the project, sorted."""
    return sorted(entry.name.removesuffix(".toml") for entry in resources.files(__package__).iterdir() if entry.name.endswith(".toml"))


def load_profile(link: str, settings: Iterable[str] = ()) -> LinkProfile:
    """Read a profile and apply single settings.

    Parameters
    ----------
    link : str
        Name of a profile that comes with the project, or the path of a TOML file.
    settings : iterable of str
        ``section.key=value`` with the value in TOML notation; a bare word counts as a string.

    Returns
    -------
    LinkProfile
        The checked profile.

    Raises
    ------
    ConfigurationError
        If the profile does not exist, is not TOML, or an entry is unknown, missing or out of range; the message names it.
    """
    tree = _read(link)
    for setting in settings:
        _apply(tree, setting)
    tree.setdefault("name", Path(link).stem)
    return _checked(tree, link)


def _checked(tree: Mapping[str, Any], link: str) -> LinkProfile:
    try:
        profile = _ADAPTER.validate_python(tree)
    except ValidationError as invalid:
        lines = [f"{'.'.join(str(part) for part in error['loc'])}: {error['msg']}" for error in invalid.errors()]
        raise ConfigurationError(f"link profile {link!r}: " + "; ".join(lines)) from None
    try:
        check_consistency(profile)
    except ConfigurationError as invalid:
        raise ConfigurationError(f"link profile {link!r}: {invalid}") from None
    return profile


def _read(link: str) -> dict[str, Any]:
    path = Path(link)
    if path.suffix == ".toml":
        if not path.is_file():
            raise ConfigurationError(f"link profile {link!r}: no such file")
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as refused:
            raise ConfigurationError(f"link profile {link!r}: {refused.strerror}; make it readable for this user") from None
        except UnicodeDecodeError as invalid:
            raise ConfigurationError(f"link profile {link!r}: not TOML: {invalid}") from None
    elif link in profile_names():
        text = resources.files(__package__).joinpath(f"{link}.toml").read_text(encoding="utf-8")
    else:
        raise ConfigurationError(f"link profile {link!r}: unknown; choose one of {', '.join(profile_names())} or give a .toml file")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as invalid:
        raise ConfigurationError(f"link profile {link!r}: not TOML: {invalid}") from None


def _apply(tree: dict[str, Any], setting: str) -> None:
    """Change one dotted entry in place."""
    name, equals, text = setting.partition("=")
    if not equals or not name:
        raise ConfigurationError(f"setting {setting!r}: write section.key=value, for example channel.loss_db=10")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    *path, key = name.split(".")
    for part in path:
        tree = tree.setdefault(part, {})
        if not isinstance(tree, dict):
            raise ConfigurationError(f"setting {setting!r}: {part} is a value, not a section")
    tree[key] = value
