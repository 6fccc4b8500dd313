"""Packed words for sifting: outcomes and settings arrive as bytes, one a detection, and leave as bits.

Both halves of the sifting work on 64 detections at a time from here on: which bases match, which bits are kept, which are disclosed are
then operations on words. Called by ``distillation.sifting``; which bits a mask selects is closed up by ``kernels.sifting``.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from common.bits import Bits, count_words
from common.errors import LocalProtocolError
from common.kernels.bit_operations import signed
from common.kernels.jit import kernel, read_only

_Words: TypeAlias = NDArray[np.uint64]
_Bytes: TypeAlias = NDArray[np.uint8]

_MOST_SETTINGS = 64
"""Settings whose bases and bits fit into a word each."""


@kernel
def split_outcomes_kernel(outcomes: _Bytes, bases: _Words, bits: _Words) -> None:
    """Pack basis (second bit) and key bit (lowest bit) of every outcome.

    Parameters
    ----------
    outcomes : uint8[n]
        Outcome codes: Z0=0 Z1=1 X0=2 X1=3.
    bases, bits : uint64[count_words(n)]
        Written.
    """
    for index in range(bases.size):
        base_word = np.uint64(0)
        bit_word = np.uint64(0)
        for place in range(min(64, outcomes.size - 64 * index)):
            outcome = np.uint64(outcomes[64 * index + place])
            bit_word |= (outcome & np.uint64(1)) << np.uint64(place)
            base_word |= ((outcome >> np.uint64(1)) & np.uint64(1)) << np.uint64(place)
        bases[index] = base_word
        bits[index] = bit_word


def split_outcomes(outcomes: _Bytes) -> tuple[Bits, Bits]:
    """Pack bases and key bits of outcomes.

    Parameters
    ----------
    outcomes : uint8[n]
        Outcome codes: Z0=0 Z1=1 X0=2 X1=3.

    Returns
    -------
    tuple[Bits, Bits]
        Bases, 0 for Z and 1 for X, and key bits.
    """
    count = int(outcomes.size)
    bases, bits = np.empty(count_words(count), np.uint64), np.empty(count_words(count), np.uint64)
    split_outcomes_kernel(read_only(outcomes), bases, bits)
    return Bits(bases, count), Bits(bits, count)


@kernel
def look_up_settings_kernel(settings: _Bytes, all_bases: np.uint64, all_bits: np.uint64, bases: _Words, bits: _Words) -> int:
    """Pack basis and key bit of every setting.

    Parameters
    ----------
    settings : uint8[n]
        Codes of settings.
    all_bases, all_bits : uint64
        Basis and key bit of setting s in bit s.
    bases, bits : uint64[count_words(n)]
        Written.

    Returns
    -------
    int
        The highest code seen; one that is no setting makes the rest worthless.
    """
    highest = np.uint8(0)
    for index in range(bases.size):
        base_word = np.uint64(0)
        bit_word = np.uint64(0)
        for place in range(min(64, settings.size - 64 * index)):
            setting = settings[64 * index + place]
            highest = max(highest, setting)
            shift = np.uint64(setting & np.uint8(63))
            base_word |= ((all_bases >> shift) & np.uint64(1)) << np.uint64(place)
            bit_word |= ((all_bits >> shift) & np.uint64(1)) << np.uint64(place)
        bases[index] = base_word
        bits[index] = bit_word
    return signed(highest)


def look_up_settings(settings: _Bytes, setting_bases: tuple[int, ...], setting_bits: tuple[int, ...]) -> tuple[Bits, Bits]:
    """Pack bases and key bits of settings.

    Parameters
    ----------
    settings : uint8[n]
        Codes of settings.
    setting_bases, setting_bits : tuple[int, ...]
        Basis (0 for Z, 1 for X) and key bit of each setting; at most 64.

    Returns
    -------
    tuple[Bits, Bits]
        Bases and key bits.

    Raises
    ------
    LocalProtocolError
        If a code names no setting.
    """
    if not 0 < len(setting_bases) == len(setting_bits) <= _MOST_SETTINGS:
        raise LocalProtocolError(f"{len(setting_bases)} bases and {len(setting_bits)} bits of settings: at most {_MOST_SETTINGS}, one each")
    count = int(settings.size)
    bases, bits = np.empty(count_words(count), np.uint64), np.empty(count_words(count), np.uint64)
    all_bases, all_bits = (np.uint64(sum(value << place for place, value in enumerate(row))) for row in (setting_bases, setting_bits))
    if look_up_settings_kernel(read_only(settings), all_bases, all_bits, bases, bits) >= len(setting_bases):
        raise LocalProtocolError(f"a code is not below {len(setting_bases)}, the number of settings")
    return Bits(bases, count), Bits(bits, count)
