"""Sifting: choose packed bits and bytes, and count what was disclosed.

Choosing goes word by word: a parallel-suffix compression closes the gaps, so the cost does not depend on how many bits are kept.
Detections become words in ``kernels.matching``. Called by ``distillation.sifting`` with the announced detections; the tables go into
``common.blocks``.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from common.bits import Bits, count_words
from common.errors import LocalProtocolError
from common.kernels.bit_operations import compress_word, count_ones, count_trailing_zeros, signed
from common.kernels.jit import kernel, read_only

_Words: TypeAlias = NDArray[np.uint64]
_Bytes: TypeAlias = NDArray[np.uint8]

COUNT_OUTCOMES = 4
"""Columns of a table of settings by outcomes: Z0 Z1 X0 X1."""


@kernel
def select_bits_kernel(words: _Words, mask: _Words, selected: _Words) -> int:
    """Close up those of the packed bits that a packed mask selects.

    Parameters
    ----------
    words, mask : uint64[n]
        Packed bits and selection.
    selected : uint64[n + 1]
        Written, up to the last bit selected.

    Returns
    -------
    int
        Number of bits selected.
    """
    count = 0
    open_word = np.uint64(0)  # kept in a register until it is full
    for index in range(words.size):
        shift = count & 63
        chosen = compress_word(words[index], mask[index])
        kept = signed(count_ones(mask[index]))
        open_word |= chosen << np.uint64(shift)
        if shift + kept >= 64:
            selected[count >> 6] = open_word
            open_word = (chosen >> np.uint64(1)) >> np.uint64(63 - shift)
        count += kept
    selected[count >> 6] = open_word
    return count


def select_bits(words: _Words, mask: _Words) -> tuple[_Words, int]:
    """Choose packed bits by a packed mask of the same length, in order.

    Parameters
    ----------
    words : uint64[n]
        Packed bits.
    mask : uint64[n]
        Packed selection, its unused rest zero.

    Returns
    -------
    tuple[uint64[count_words(count)], int]
        Packed bits, the unused rest zero, and their count.

    Raises
    ------
    LocalProtocolError
        If the two arrays differ in length.
    """
    if words.shape != mask.shape:
        raise LocalProtocolError(f"a mask selects among as many words as it has, got {words.size} and {mask.size}")
    selected = np.empty(words.size + 1, np.uint64)
    count = select_bits_kernel(read_only(words), read_only(mask), selected)
    return selected[: count_words(count)].copy(), count


@kernel
def select_bytes_kernel(values: _Bytes, mask: _Words, selected: _Bytes) -> int:
    """Close up those bytes that a packed mask selects.

    Parameters
    ----------
    values : uint8[n]
        Bytes.
    mask : uint64[count_words(n)]
        Packed selection, its unused rest zero.
    selected : uint8[m]
        Written; m ones are in the mask.

    Returns
    -------
    int
        Number of bytes selected.
    """
    count = 0
    for index in range(mask.size):
        left = mask[index]
        while left:
            selected[count] = values[64 * index + signed(count_trailing_zeros(left))]
            count += 1
            left &= left - np.uint64(1)
    return count


def select_bytes(values: _Bytes, mask: Bits) -> _Bytes:
    """Choose bytes by a packed mask, in order; quick where few are chosen.

    Parameters
    ----------
    values : uint8[n]
        Bytes.
    mask : Bits
        n bits.

    Returns
    -------
    uint8[m]
        Those where the mask is one.

    Raises
    ------
    LocalProtocolError
        If there are not as many bits as bytes.
    """
    if values.size != mask.count:
        raise LocalProtocolError(f"a mask selects among as many bytes as it has bits, got {values.size} and {mask.count}")
    selected = np.empty(mask.ones(), np.uint8)
    select_bytes_kernel(read_only(values), read_only(mask.words), selected)
    return selected


@kernel
def tally(settings: _Bytes, outcomes: _Bytes, keep: _Bytes, table: NDArray[np.int64]) -> bool:
    """Add the chosen detections to a table of settings by outcomes.

    Parameters
    ----------
    settings : uint8[n]
        Index of the setting sent.
    outcomes : uint8[n]
        Outcome code: Z0=0 Z1=1 X0=2 X1=3.
    keep : uint8[n]
        1 where the detection counts.
    table : int64[count_settings, 4]
        Added to.

    Returns
    -------
    bool
        False if a setting or outcome lay outside the table; it was not counted and the caller must not use the table.
    """
    valid = True
    for index in range(settings.size):
        setting = signed(settings[index])
        outcome = signed(outcomes[index])
        if setting >= table.shape[0] or outcome >= table.shape[1]:
            valid = False
        elif keep[index] & np.uint8(1):
            table[setting, outcome] += 1
    return valid


def count_table(settings: _Bytes, outcomes: _Bytes, keep: _Bytes, count_settings: int) -> NDArray[np.int64]:
    """Count the chosen detections by setting and outcome.

    Parameters
    ----------
    settings : uint8[n]
        Index of the setting sent, below ``count_settings``.
    outcomes : uint8[n]
        Outcome code: Z0=0 Z1=1 X0=2 X1=3.
    keep : uint8[n]
        1 where the detection counts.
    count_settings : int
        Settings of the protocol.

    Returns
    -------
    int64[count_settings, 4]
        Detections.

    Raises
    ------
    LocalProtocolError
        If the arrays differ in length, or hold a setting or outcome that does not exist.
    """
    if not settings.shape == outcomes.shape == keep.shape:
        raise LocalProtocolError(f"counting takes arrays of one length, got {settings.size}, {outcomes.size} and {keep.size}")
    table = np.zeros((count_settings, COUNT_OUTCOMES), np.int64)
    if not tally(read_only(settings), read_only(outcomes), read_only(keep), table):
        raise LocalProtocolError(f"a setting is not below {count_settings} or an outcome not below {COUNT_OUTCOMES}")
    return table
