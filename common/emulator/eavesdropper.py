"""Eavesdroppers on the emulated fibre, and what they know in the end.

Intercept and resend disturbs the states and shows as QBER; photon-number splitting leaves them alone and is paid for by the
multi-photon term only. Both hand out what Eve knows once bases are announced, so that a test can compare her actual knowledge with
the bound. Only pulses that reach a detector are followed: no other pulse can become key.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from common.emulator.channel import Arrivals, binomial, honest_arrivals
from common.emulator.kernels import measure_states
from common.emulator.optics import StateOptics
from common.emulator.source import PhotonStatistics
from common.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class InterceptResend:
    """Eve measures some pulses in a basis she draws and sends what she found.

    With a fair coin and single photons the gain stays as it was and the QBER rises by strength/4 in both bases. With several photons
    that Bob is bound to detect, a passive receiver clicks in both bases where hers and his differ, and the errors she makes go unseen:
    only the cross clicks tell.

    Attributes
    ----------
    strength : float
        Share of the pulses attacked, 0 to 1.
    photons : int
        Detected photons a pulse she sends, 1 or more.
    probability_z : float
        Probability that she measures in Z.
    """

    strength: float = 1.0
    photons: int = 1
    probability_z: float = 0.5

    def __post_init__(self) -> None:
        _check_strength(self.strength)
        if self.photons < 1:
            raise ConfigurationError(f"eavesdropper: {self.photons} photons a pulse, choose 1 or more")
        if not 0.0 <= self.probability_z <= 1.0:
            raise ConfigurationError(f"eavesdropper: probability {self.probability_z!r} of Z, choose 0 to 1")


@dataclass(frozen=True, slots=True)
class PhotonNumberSplitting:
    """Eve keeps one photon of multi-photon pulses and sends the other over a channel without loss.

    She lets just so many single photons pass that the gain stays as it was. States are untouched, so the QBER stays too; she
    measures her photon after the basis is announced and knows the bit.

    Attributes
    ----------
    strength : float
        Share of the multi-photon pulses attacked, 0 to 1.
    """

    strength: float = 1.0

    def __post_init__(self) -> None:
        _check_strength(self.strength)


@dataclass(frozen=True, slots=True)
class DetectorBlinding:
    """Eve blinds Bob's detectors with bright light and makes those click that she chooses.

    She measures Alice's pulses at the door, as ``InterceptResend`` does, and sends on what she found as a pulse that a blinded detector
    answers only where all of it arrives: Bob clicks where his basis is hers, with her outcome and never at two detectors. She picks bases
    and pulses so that gain and basis ratio stay as they were. A blinded detector sees neither single photons nor dark counts.

    Attributes
    ----------
    strength : float
        Share of the time in which the detectors are blinded, 0 to 1, in whole stretches of the emulation.

    References
    ----------
    Lydersen et al. 2010, Nature Photonics 4, 686.
    """

    strength: float = 1.0

    def __post_init__(self) -> None:
        _check_strength(self.strength)


Eavesdropper = InterceptResend | PhotonNumberSplitting | DetectorBlinding
"""An attack on the quantum channel."""

_MODELS: Final[dict[str, type[Eavesdropper]]] = {
    "intercept-resend": InterceptResend,
    "photon-number-splitting": PhotonNumberSplitting,
    "blinding": DetectorBlinding,
}


@dataclass(frozen=True, slots=True, eq=False)
class EveKnowledge:
    """Settings Eve knows for certain after the bases are announced.

    Attributes
    ----------
    slots : int64[n]
        Slots, increasing; pulses whose photons reached a detector, whether or not it was live.
    settings : uint8[n]
        Alice's setting in each, by the codes of her record.
    count_attacked : int
        Such pulses attacked in all, those included that taught her nothing certain.
    """

    slots: NDArray[np.int64]
    settings: NDArray[np.uint8]
    count_attacked: int


def eavesdropper_from_text(text: str) -> Eavesdropper:
    """Read an attack from the command line.

    Parameters
    ----------
    text : str
        ``intercept-resend``, ``photon-number-splitting`` or ``blinding``, with ``=STRENGTH`` behind it where it is not 1; a colon does as
        well.

    Returns
    -------
    Eavesdropper
        The attack.

    Raises
    ------
    ConfigurationError
        If the model is unknown or the strength is not between 0 and 1.
    """
    name, separator, strength = text.replace(":", "=", 1).partition("=")
    if name not in _MODELS:
        raise ConfigurationError(f"eavesdropper {text!r}: choose one of {', '.join(_MODELS)}, with =STRENGTH behind it, 0 to 1")
    try:
        return _MODELS[name](float(strength) if separator else 1.0)
    except ValueError:
        raise ConfigurationError(f"eavesdropper {text!r}: strength {strength!r} is not a number") from None


def text_of(eve: Eavesdropper | None) -> str | None:
    """Return the text from which ``eavesdropper_from_text`` reads ``eve``; None where there is nobody."""
    if eve is None:
        return None
    (name,) = (name for name, model in _MODELS.items() if isinstance(eve, model))
    return f"{name}={eve.strength:g}"


def blinded_arrivals(statistics: PhotonStatistics, transmission: float, probability_match: float) -> Arrivals:
    """Return the classes of arrivals while detectors are blinded: every pulse that Eve sends on makes one click at most.

    Parameters
    ----------
    statistics : PhotonStatistics
        Photon numbers of a pulse.
    transmission : float
        Probability that one photon is detected on the honest channel.
    probability_match : float
        Probability that Bob's basis is hers, which she makes up for.

    Returns
    -------
    Arrivals
        As many as an honest channel gives detections in all, by intensity.
    """
    honest = honest_arrivals(statistics, min(1.0, transmission / probability_match))
    return Arrivals(honest.probability, honest.emitted, np.ones_like(honest.detected), honest.is_tapped)


def split_arrivals(statistics: PhotonStatistics, fibre_transmission: float, receiver_transmission: float, strength: float) -> Arrivals:
    """Return the classes of arrivals under photon-number splitting.

    She knows how many photons a pulse holds, and not which intensity it had.

    Parameters
    ----------
    statistics : PhotonStatistics
        Photon numbers of a pulse.
    fibre_transmission, receiver_transmission : float
        Probability that a photon passes the honest channel, and that Bob detects one at his door, which Eve cannot change.
    strength : float
        Share of the multi-photon pulses attacked.

    Returns
    -------
    Arrivals
        Their sum over the intensities is the honest gain, unless even a channel without loss gives less than that.
    """
    honest = honest_arrivals(statistics, fibre_transmission * receiver_transmission)
    is_single = honest.emitted == 1
    untouched = np.where(is_single, 0.0, 1.0 - strength) * honest.probability
    several = np.flatnonzero(~is_single & (honest.detected < honest.emitted))  # one of the photons stays with her
    pairs = zip(honest.emitted[several].tolist(), honest.detected[several].tolist(), strict=True)
    shares = np.array([binomial(count - 1, found, receiver_transmission) for count, found in pairs])
    tapped = strength * statistics.numbers[:, honest.emitted[several]] * shares
    single = statistics.numbers[:, 1] * receiver_transmission
    mean = statistics.intensities
    room = float(mean @ honest.totals - mean @ untouched.sum(axis=1))
    tapped *= _at_most_one(room, float(mean @ tapped.sum(axis=1)))
    room -= float(mean @ tapped.sum(axis=1))
    untouched[:, is_single] = (single * _at_most_one(room, float(mean @ single)))[:, np.newaxis]
    return Arrivals(
        np.hstack([untouched, tapped]),
        np.concatenate([honest.emitted, honest.emitted[several]]),
        np.concatenate([honest.detected, honest.detected[several]]),
        np.concatenate([honest.is_tapped, np.ones(several.size, np.bool_)]),
    )


def _at_most_one(room: float, wanted: float) -> float:
    return min(1.0, max(0.0, room) / wanted) if wanted > 0.0 else 1.0


def intercept(
    rng: np.random.Generator, state: NDArray[np.uint8], bases: NDArray[np.uint8], attack: InterceptResend, optics: StateOptics
) -> tuple[NDArray[np.uint8], NDArray[np.bool_], NDArray[np.bool_]]:
    """Measure and resend some pulses.

    Parameters
    ----------
    rng : numpy.random.Generator
        Drives Eve's choices and outcomes.
    state, bases : uint8[n]
        State of each pulse, and the basis it was prepared in.
    attack : InterceptResend
        How often, and in which basis.
    optics : StateOptics
        Of her receiver, which makes no errors.

    Returns
    -------
    tuple
        States that go on, uint8[n]; which pulses were attacked, bool[n]; of which she knows the setting, bool[n].
    """
    attacked = rng.random(state.size) < attack.strength
    basis = (rng.random(state.size) >= attack.probability_z).view(np.uint8)
    found = np.empty(state.size, np.uint8)
    measure_states(state, basis, rng.random(state.size), optics.bit, optics.flipped, found)
    return np.where(attacked, found + np.uint8(optics.resent), state), attacked, attacked & (basis == bases)


def steer(
    rng: np.random.Generator, state: NDArray[np.uint8], bases: NDArray[np.uint8], probability_z: float, optics: StateOptics
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Measure every pulse and choose the detector that is to click.

    Parameters
    ----------
    rng : numpy.random.Generator
        Drives Eve's choices and outcomes.
    state, bases : uint8[n]
        State of each pulse, and the basis it was prepared in.
    probability_z : float
        Probability that she measures in Z.
    optics : StateOptics
        Of her receiver, which makes no errors.

    Returns
    -------
    tuple
        Her outcomes, which Bob's detectors will show, uint8[n]; of which pulses she knows the setting, bool[n].
    """
    basis = (rng.random(state.size) >= probability_z).view(np.uint8)
    found = np.empty(state.size, np.uint8)
    measure_states(state, basis, rng.random(state.size), optics.bit, optics.flipped, found)
    return found, basis == bases


def _check_strength(strength: float) -> None:
    if not 0.0 <= strength <= 1.0:
        raise ConfigurationError(f"eavesdropper: strength {strength!r}, choose 0 to 1")
