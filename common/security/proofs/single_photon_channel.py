"""The textbook channel of the single-photon publications: clicks and errors of a lossy link with dark counts.

No gate, no dead time, no pulse shape: that is ``common.planning``'s matter. It serves the publications' figures and the tests of
the proofs. Parameters in, probabilities per pulse out.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import e, sqrt

from common.errors import ConfigurationError
from common.security.checks import check_number


@dataclass(frozen=True, slots=True)
class Clicks:
    """Probabilities per pulse.

    Attributes
    ----------
    signal, multi, click : float
        Click by the pulse; two photons or more in the channel; any click.
    qber : float
        Probability that a click in the right basis is wrong.
    """

    signal: float
    multi: float
    click: float
    qber: float


def single_photon_clicks(mean_photon_number: float, g2: float, loss_db: float, receiver: float, dark: float, misalignment: float) -> Clicks:
    """Evaluate the channel for a single-photon source.

    Parameters
    ----------
    mean_photon_number : float
        Photons a pulse in the channel, pre-attenuation included.
    g2 : float
        Second-order correlation, between 0 and 1.
    loss_db : float
        Loss of the channel, decibels, 0 or more.
    receiver : float
        Efficiency of receiver and detectors.
    dark : float
        Probability of a dark count per pulse, all detectors together.
    misalignment : float
        Probability that a signal click is wrong.

    Returns
    -------
    Clicks
        Probabilities per pulse.

    Raises
    ------
    ConfigurationError
        If a parameter makes no sense; the message names it.

    References
    ----------
    [Morrison2023] as recalled: ``s = mu eta - p_m eta^2``, ``p_c = 1 - (1-Y0)(1-s)``, ``e = (p_mis s + Y0/2)/p_c``,
    ``p_m = g2 mu^2/2``; status: planning.
    """
    check_number("source.mean_photon_number", mean_photon_number, 0.0, float("inf"))
    check_number("source.g2", g2, 0.0, 1.0)
    _check_link(loss_db, receiver, dark, misalignment)
    multi = g2 * mean_photon_number**2 / 2.0
    if mean_photon_number - multi > 1.0:
        raise ConfigurationError(f"source.mean_photon_number = {mean_photon_number}: no single-photon source with g2 = {g2} sends so many")
    eta = 10.0 ** (-loss_db / 10.0) * receiver
    return _clicks(mean_photon_number * eta - multi * eta * eta, multi, dark, misalignment)


def best_mean_photon_number(mean_photon_number: float, g2: float, loss_db: float, receiver: float) -> float:
    """Attenuate a single-photon source as is best without dark counts and errors.

    Parameters
    ----------
    mean_photon_number, g2 : float
        Of the source without attenuation.
    loss_db, receiver : float
        Loss of the channel in decibels, and efficiency of receiver and detectors.

    Returns
    -------
    float
        Photons a pulse, at most those of the source.

    Raises
    ------
    ConfigurationError
        If a parameter makes no sense; the message names it.

    References
    ----------
    The maximum of ``mu eta - p_m (1 + eta^2)``: ``eta/(g2 (1 + eta^2))``; [Morrison2023] for pre-attenuation; status: planning.
    """
    check_number("source.g2", g2, 0.0, 1.0)
    _check_link(loss_db, receiver, 0.0, 0.0)
    eta = 10.0 ** (-loss_db / 10.0) * receiver
    return mean_photon_number if g2 == 0.0 else min(mean_photon_number, eta / (g2 * (1.0 + eta * eta)))


def coherent_light_limit(transmission: float) -> float:
    """Key bits a pulse that laser light of any intensity can give: ``transmission / e``, the share of single photons at one photon.

    Parameters
    ----------
    transmission : float
        Between 0 and 1.

    Returns
    -------
    float
        Bits a pulse.

    Raises
    ------
    ConfigurationError
        If the transmission is out of range.

    References
    ----------
    [Zhang2025], summary read; status: planning.
    """
    check_number("transmission", transmission, 0.0, 1.0)
    return transmission / e


def least_source_beyond_laser(g2: float) -> float:
    """Mean photon number from which a source with this ``g2`` beats ideal laser light without loss; infinite where none does.

    Solves ``mu - g2 mu^2 = 1/e``, the clicks of single photons at zero loss being ``mu - 2 p_m``.

    Raises
    ------
    ConfigurationError
        If g2 is out of range.

    References
    ----------
    [Zhang2025]: at least 1/e photons and at most ``g2 = e/4``, which is where the root ends; status: planning.
    """
    check_number("source.g2", g2, 0.0, 1.0)
    inside = 1.0 - 4.0 * g2 / e
    return float("inf") if inside < 0.0 else 2.0 / e / (1.0 + sqrt(inside))


def _clicks(signal: float, multi: float, dark: float, misalignment: float) -> Clicks:
    click = 1.0 - (1.0 - dark) * (1.0 - signal)
    return Clicks(signal, multi, click, (misalignment * signal + dark / 2.0) / click if click else 0.0)


def _check_link(loss_db: float, receiver: float, dark: float, misalignment: float) -> None:
    check_number("channel.loss_db", loss_db, 0.0, float("inf"))
    check_number("receiver.efficiency", receiver, 0.0, 1.0)
    check_number("receiver.dark probability", dark, 0.0, 1.0)
    check_number("channel.misalignment", misalignment, 0.0, 0.5)
