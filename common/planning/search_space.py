"""Which entries of a link profile may be chosen, within which bounds, and a profile for every choice.

An optimiser walks in the unit cube; every point of it is a valid profile. Probabilities are spaced evenly in their log-odds, what may
be small in its logarithm. Intensities and their probabilities, which have to be ordered and to add up, are built from shares that
need not. Takes a profile and names, serves ``optimisation``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import exp, log
from typing import Literal

from common.errors import ConfigurationError
from common.planning.settings import with_entries
from common.profiles.link import LinkProfile, Source

ENTRIES = (
    "source.probability_z",
    "receiver.probability_z",
    "source.pre_attenuation",
    "receiver.gate_ps",
    "source.intensities",
    "source.probability_intensity",
)
"""What may be chosen."""

_PROBABILITY = (0.001, 0.999)
"""One pulse in a thousand is left to the rarer basis: without end statistics would leave it none."""

_ATTENUATION = (1e-4, 1.0)
"""Down to 40 dB."""

_NARROWEST_GATE = 1e-3
"""Of the widest one."""

_SIGNAL = (0.02, 2.0)
"""Photons a pulse; light of two photons a pulse holds single ones more rarely than light of one."""

_DECOY_SHARE = (0.02, 0.95)
"""Where the decoy lies between the weakest intensity and the signal less that: never at an end, where nothing can be told."""

_SIGNAL_PROBABILITY = (0.05, 0.999)
_SHARE_OF_REST = (0.05, 0.95)
"""What the decoy takes of the pulses that are not signal; the weakest takes the rest."""


@dataclass(frozen=True, slots=True)
class Axis:
    """One number to choose.

    Attributes
    ----------
    name : str
        The profile's entry, and for a list what of it.
    low, high : float
        Bounds, both included.
    scale : str
        How values are spaced: ``linear``, ``log``, or ``logit`` (evenly in ``ln(p / (1-p))``).
    """

    name: str
    low: float
    high: float
    scale: Literal["linear", "log", "logit"] = "linear"

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ConfigurationError(f"{self.name}: nothing to choose between {self.low:g} and {self.high:g}")

    def value(self, unit: float) -> float:
        """Return the value at ``unit``, 0 at the lower bound, 1 at the upper one; never beyond them."""
        start, end = self._spaced(self.low), self._spaced(self.high)
        at = start + (end - start) * unit
        value = exp(at) if self.scale == "log" else 1.0 / (1.0 + exp(-at)) if self.scale == "logit" else at
        return min(self.high, max(self.low, value))

    def unit(self, value: float) -> float:
        """Return where ``value`` lies, cut at the bounds."""
        start, end = self._spaced(self.low), self._spaced(self.high)
        return (self._spaced(min(self.high, max(self.low, value))) - start) / (end - start)

    def _spaced(self, value: float) -> float:
        return log(value) if self.scale == "log" else log(value / (1.0 - value)) if self.scale == "logit" else value


@dataclass(frozen=True, slots=True)
class _Choice:
    """One entry of the profile: its axes, where the profile stands on them, and the entry at other values."""

    name: str
    axes: tuple[Axis, ...]
    start: tuple[float, ...]
    entry: Callable[..., float | tuple[float, ...]]


@dataclass(frozen=True, slots=True)
class SearchSpace:
    """Every profile that may be chosen.

    Attributes
    ----------
    profile : LinkProfile
        Where everything else comes from.
    names : tuple[str, ...]
        Entries that are chosen.
    axes : tuple[Axis, ...]
        One dimension each.
    start : tuple[float, ...]
        Where the profile itself lies, cut at the bounds.
    """

    profile: LinkProfile
    names: tuple[str, ...]
    axes: tuple[Axis, ...]
    start: tuple[float, ...]
    _choices: tuple[_Choice, ...]

    def profile_at(self, units: Sequence[float]) -> LinkProfile:
        """Return the profile at ``units``, one number between 0 and 1 an axis."""
        values = [axis.value(unit) for axis, unit in zip(self.axes, units, strict=True)]
        changes = {}
        for choice in self._choices:
            changes[choice.name] = choice.entry(*values[: len(choice.axes)])
            del values[: len(choice.axes)]
        return with_entries(self.profile, changes)


def default_over(profile: LinkProfile, mode: Literal["composable", "paper"] = "composable") -> tuple[str, ...]:
    """Name what an operator of this link can choose.

    Parameters
    ----------
    profile : LinkProfile
        The link.
    mode : str
        ``composable`` or ``paper``; publications' formulas know no pulse shape, so there the gate is left alone.

    Returns
    -------
    tuple[str, ...]
        Basis bias, at the receiver too if a modulator chooses there; pre-attenuation of single photons, or intensities of laser
        light; the gate.
    """
    names = ["source.probability_z"]
    if profile.receiver.basis_choice == "active":
        names.append("receiver.probability_z")
    names += (
        ["source.pre_attenuation"] if profile.source.kind == "single-photon" else ["source.intensities", "source.probability_intensity"]
    )
    if mode == "composable" and _has_width(profile):
        names.append("receiver.gate_ps")
    return tuple(names)


def search_space(profile: LinkProfile, over: Sequence[str], mode: Literal["composable", "paper"] = "composable") -> SearchSpace:
    """Lay out what is to be chosen.

    Parameters
    ----------
    profile : LinkProfile
        The link; gives everything that is not chosen.
    over : sequence of str
        Entries of ``ENTRIES``; ``name=low:high`` narrows the bounds of one that is a single number.
    mode : str
        ``composable`` or ``paper``.

    Returns
    -------
    SearchSpace
        In the order of ``over``.

    Raises
    ------
    ConfigurationError
        If an entry cannot be chosen on this link; the message names it.
    """
    choices = tuple(_choice(profile, text, mode) for text in over)
    names = tuple(choice.name for choice in choices)
    if not names or len(set(names)) != len(names):
        raise ConfigurationError(f"optimise over {', '.join(names) or 'nothing'}: name at least one entry, and each once")
    axes = tuple(axis for choice in choices for axis in choice.axes)
    own = [value for choice in choices for value in choice.start]
    start = tuple(axis.unit(value) for axis, value in zip(axes, own, strict=True))
    return SearchSpace(profile, names, axes, start, choices)


def _choice(profile: LinkProfile, text: str, mode: str) -> _Choice:
    name, narrowed, bounds = text.partition("=")
    if name not in ENTRIES:
        raise ConfigurationError(f"optimise over {name!r}: choose among {', '.join(ENTRIES)}")
    if name == "source.intensities":
        choice = _intensities(profile)
    elif name == "source.probability_intensity":
        choice = _shares(profile)
    else:
        axis, value = _single(profile, name, mode)
        choice = _Choice(name, (axis,), (value,), lambda chosen: chosen)
    if not narrowed:
        return choice
    if len(choice.axes) != 1 or choice.axes[0].name != name:
        raise ConfigurationError(f"optimise over {text!r}: bounds of {name} follow from one another and cannot be given")
    return replace(choice, axes=(_narrowed(choice.axes[0], bounds),))


def _single(profile: LinkProfile, name: str, mode: str) -> tuple[Axis, float]:
    """Return the axis of an entry that is one number, and the profile's value."""
    source, receiver = profile.source, profile.receiver
    if name == "source.probability_z":
        return Axis(name, *_PROBABILITY, "logit"), source.probability_z
    if name == "receiver.probability_z":
        if profile.encoding == "time-bin":
            raise ConfigurationError(f"{name} of link {profile.name!r}: with time bins the interferometer chooses the basis, it is 1/2")
        return _bias(profile, mode), receiver.probability_z
    if name == "source.pre_attenuation":
        if source.kind != "single-photon":
            raise ConfigurationError(f"{name} of link {profile.name!r}: laser light is attenuated by source.intensities, choose those")
        return Axis(name, *_ATTENUATION, "log"), source.pre_attenuation
    if mode == "paper":
        raise ConfigurationError(f"{name} with a publication's formula: it knows no shape of the pulse, the narrowest gate would win")
    if not _has_width(profile):
        raise ConfigurationError(
            f"{name} of link {profile.name!r}: source.lifetime_ps and receiver.jitter_ps are 0, the narrowest gate would win"
        )
    widest = receiver.time_bin_separation_ps if profile.encoding == "time-bin" else 1e12 / source.clock_hz
    return Axis(name, widest * _NARROWEST_GATE, widest, "log"), widest if receiver.gate_ps is None else receiver.gate_ps


def _bias(profile: LinkProfile, mode: str) -> Axis:
    """Bias of the receiver; where it is passive, most proofs take no key from the basis with less light (``profiles.setting``)."""
    name, (low, high), receiver = "receiver.probability_z", _PROBABILITY, profile.receiver
    has_noise = receiver.dark_rate_hz + profile.channel.background_hz > 0.0
    if mode == "composable" and receiver.basis_choice == "passive" and has_noise and profile.protocol != "three-state":
        if profile.security.key_bases == "both":
            raise ConfigurationError(f"{name} of link {profile.name!r}: passive with key from both bases, it is 1/2")
        low = 0.5
    return Axis(name, low, high, "logit")


def _intensities(profile: LinkProfile) -> _Choice:
    """Signal and decoy; a weakest intensity beside two stays: how dark a modulator gets is its extinction ratio, not a choice."""
    name, intensities = "source.intensities", _laser(profile).intensities
    weakest = intensities[2] if len(intensities) == 3 else 0.0
    lowest, highest = _SIGNAL
    axes = (
        Axis(f"{name}, signal", max(lowest, 4.0 * weakest), highest, "log"),
        Axis(f"{name}, decoy between weakest and signal", *_DECOY_SHARE),
    )
    share = (intensities[1] - weakest) / (intensities[0] - 2.0 * weakest)

    def entry(signal: float, part: float) -> tuple[float, ...]:
        return (signal, weakest + part * (signal - 2.0 * weakest), weakest)[: len(intensities)]

    return _Choice(name, axes, (intensities[0], share), entry)


def _shares(profile: LinkProfile) -> _Choice:
    """The signal's probability, and with two decoys how the rest is parted between them."""
    name, probabilities = "source.probability_intensity", _laser(profile).probability_intensity
    of_signal = Axis(f"{name}, signal", *_SIGNAL_PROBABILITY, "logit")
    if len(probabilities) == 2:
        return _Choice(name, (of_signal,), probabilities[:1], lambda signal: (signal, 1.0 - signal))
    axes = (of_signal, Axis(f"{name}, decoy among the rest", *_SHARE_OF_REST, "logit"))

    def entry(signal: float, part: float) -> tuple[float, ...]:
        return (signal, (1.0 - signal) * part, (1.0 - signal) * (1.0 - part))

    return _Choice(name, axes, (probabilities[0], probabilities[1] / (1.0 - probabilities[0])), entry)


def _laser(profile: LinkProfile) -> Source:
    if profile.source.kind != "weak-coherent":
        raise ConfigurationError(
            f"source.intensities of link {profile.name!r}: a single-photon source has none, choose source.pre_attenuation"
        )
    return profile.source


def _narrowed(axis: Axis, bounds: str) -> Axis:
    try:
        low, high = (float(text) for text in bounds.split(":"))
    except ValueError:
        raise ConfigurationError(f"optimise over '{axis.name}={bounds}': write {axis.name}=LOW:HIGH") from None
    if not axis.low <= low < high <= axis.high:
        raise ConfigurationError(
            f"optimise over '{axis.name}={bounds}': LOW lies below HIGH, and both between {axis.low:g} and {axis.high:g}"
        )
    return replace(axis, low=low, high=high)


def _has_width(profile: LinkProfile) -> bool:
    return profile.source.lifetime_ps + profile.receiver.jitter_ps > 0.0
