"""Photon numbers behind a class of clicks, from how often it was seen with each intensity.

Every function takes scaled bounds (``decoy_setting.scaled``) and returns a real number of clicks; which *spread* they were made with
decides whether that is a rigorous bound, a publication's, or the value of endless statistics. Two decoys after [Lim2014], one after
[Rusca2018]. Used by ``decoy_bb84``, ``decoy_paper`` and ``three_state_decoys``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from common.security.proofs.decoy_setting import DecoySetting


def vacuum_lower(setting: DecoySetting, low: Sequence[float], high: Sequence[float]) -> float:
    """Bound the clicks of empty pulses from below, from the two weakest intensities.

    Parameters
    ----------
    setting : DecoySetting
        Intensities.
    low, high : sequence of float
        Scaled bounds by intensity.

    Returns
    -------
    float
        At least 0.

    References
    ----------
    [Lim2014] eq. (2), full text read; [Rusca2018] with one decoy. It takes the *lower* bound of the weakest and the *upper* one of
    the next: the other way round, which is met in the wild, is optimistic. Status: rigorous with a rigorous spread.
    """
    bright, weak = setting.intensities[-2], setting.intensities[-1]
    return max(0.0, setting.tau(0) * (bright * low[-1] - weak * high[-2]) / (bright - weak))


def single_upper(setting: DecoySetting, low: Sequence[float], high: Sequence[float]) -> float:
    """Bound the clicks (or errors) of single-photon pulses from above, from the two weakest intensities.

    Parameters
    ----------
    setting : DecoySetting
        Intensities.
    low, high : sequence of float
        Scaled bounds by intensity.

    Returns
    -------
    float
        At least 0.

    References
    ----------
    [Lim2014] eq. (4), full text read; status: rigorous with a rigorous spread.
    """
    bright, weak = setting.intensities[-2], setting.intensities[-1]
    return max(0.0, setting.tau(1) * (high[-2] - low[-1]) / (bright - weak))


def single_lower_two_decoys(setting: DecoySetting, low: Sequence[float], high: Sequence[float]) -> float:
    """Bound the clicks of single-photon pulses from below, with two decoys.

    Parameters
    ----------
    setting : DecoySetting
        Three intensities.
    low, high : sequence of float
        Scaled bounds by intensity.

    Returns
    -------
    float
        At least 0.

    References
    ----------
    [Lim2014] eq. (3), full text read; status: rigorous with a rigorous spread.
    """
    first, second, third = setting.intensities
    excess = (second**2 - third**2) / first**2 * (high[0] - vacuum_lower(setting, low, high) / setting.tau(0))
    below = first * (second - third) - second**2 + third**2
    return max(0.0, setting.tau(1) * first * (low[1] - high[2] - excess) / below)


def single_lower_one_decoy(setting: DecoySetting, low: Sequence[float], high: Sequence[float], vacuum: float) -> float:
    """Bound the clicks of single-photon pulses from below, with one decoy.

    Parameters
    ----------
    setting : DecoySetting
        Two intensities.
    low, high : sequence of float
        Scaled bounds by intensity.
    vacuum : float
        Upper bound of the clicks of empty pulses.

    Returns
    -------
    float
        At least 0.

    References
    ----------
    [Rusca2018] eq. (A17), through two independent implementations; status: rigorous with a rigorous spread.
    """
    first, second = setting.intensities
    share = second**2 / first**2
    inside = low[1] - share * high[0] - (1.0 - share) * vacuum / setting.tau(0)
    return max(0.0, setting.tau(1) * first * inside / (second * (first - second)))


def vacuum_errors_upper(setting: DecoySetting, high_errors: Sequence[float]) -> float:
    """Bound the errors of empty pulses from above: at each intensity all errors may stem from them.

    Parameters
    ----------
    setting : DecoySetting
        Intensities.
    high_errors : sequence of float
        Scaled upper bounds of the errors by intensity.

    Returns
    -------
    float
        Errors; about half the clicks of empty pulses are.

    References
    ----------
    [Rusca2018] eq. (A16), through two independent implementations; status: rigorous with a rigorous spread.
    """
    return setting.tau(0) * min(high_errors)
