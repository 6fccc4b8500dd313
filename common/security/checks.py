"""Refuse a number that makes no sense, by the name the user knows it by."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING

from common.errors import ConfigurationError
from common.security.paper import PaperValue

if TYPE_CHECKING:
    from collections.abc import Sequence

_TOLERANCE = 1e-9
"""By how much probabilities that must add up to one may miss it: decimal fractions in a profile are rounded."""


def refuse_paper(name: str, value: object) -> None:
    """Refuse a ``value`` of the given ``name`` that a publication's formula gave.

    Its type says so already; this is for callers without a type checker.

    Raises
    ------
    ConfigurationError
        If it is a ``PaperValue``.

    References
    ----------
    Nothing is computed here; status: rigorous.
    """
    if isinstance(value, PaperValue):
        raise ConfigurationError(f"{name}: {value} stems from a formula of a publication and may not decide a key length")


def check_number(name: str, value: float, least: float, most: float, *, open_ends: bool = False) -> None:
    """Refuse a value outside of its range.

    Parameters
    ----------
    name : str
        What the message calls it.
    value : float
        To be checked; a value of a paper is refused whatever it is.
    least, most : float
        Ends of the range; an infinite ``most`` means none.
    open_ends : bool
        Whether the ends themselves are refused too.

    Raises
    ------
    ConfigurationError
        If the value is no finite number in the range.

    References
    ----------
    Nothing is computed here; status: rigorous.
    """
    refuse_paper(name, value)
    inside = least < value < most if open_ends else least <= value <= most
    if not (isfinite(value) and inside):
        words = f"{least:g} or more" if most == float("inf") else f"between {least:g} and {most:g}"
        raise ConfigurationError(f"{name} = {value}: must be {words}" + (", ends excluded" if open_ends else ""))


def check_epsilon(name: str, value: float) -> None:
    """Refuse a failure probability ``value`` of the given ``name`` that is not strictly between 0 and 1.

    Raises
    ------
    ConfigurationError
        If it is not.

    References
    ----------
    Nothing is computed here; status: rigorous.
    """
    check_number(name, value, 0.0, 1.0, open_ends=True)


def check_distribution(name: str, probabilities: Sequence[float]) -> None:
    """Refuse ``probabilities`` of the given ``name`` that are not positive or do not add up to one.

    Raises
    ------
    ConfigurationError
        If one of them is 0 or less, or their sum is not 1.

    References
    ----------
    Nothing is computed here; status: rigorous.
    """
    for value in probabilities:
        check_number(name, value, 0.0, 1.0)
        if value == 0.0:
            raise ConfigurationError(f"{name} = {list(probabilities)}: every one of them must be above 0")
    if abs(sum(probabilities) - 1.0) > _TOLERANCE:
        raise ConfigurationError(f"{name} = {list(probabilities)}: they add up to {sum(probabilities):g}, not to 1")
