"""Sifting: choose bits, pack them, and count what was disclosed.

Detections arrive as bytes, one a click; key bits leave as packed words. Choosing goes word by word: 64 flags become one word of
values and one of selections, and a parallel-suffix compression closes the gaps, so the cost does not depend on how many are kept.
Called by ``distillation.sifting`` with the announced detections; the tables go into ``common.blocks``.
"""

from __future__ import annotations

from typing import TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from common.bits import count_words
from common.errors import LocalProtocolError
from common.kernels.bit_operations import compress_word, count_ones, signed
from common.kernels.jit import kernel

_Words: TypeAlias = NDArray[np.uint64]
_Bytes: TypeAlias = NDArray[np.uint8]
_Item = TypeVar("_Item", np.uint8, np.uint64)

COUNT_OUTCOMES = 4
"""Columns of a table of settings by outcomes: Z0 Z1 X0 X1."""

_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)
_LOW_BITS = np.uint64(0x0101010101010101)
_GATHER = np.uint64(0x0102040810204080)


@kernel
def _append(packed: _Words, count: int, word: np.uint64, count_new: int) -> None:
    # ``packed`` is zero from bit ``count`` on; bits of ``word`` above ``count_new`` are zero.
    shift = count & 63
    packed[count >> 6] |= word << np.uint64(shift)
    if shift + count_new > 64:
        packed[(count >> 6) + 1] |= word >> np.uint64(64 - shift)


@kernel
def _gather_word(flags: _Bytes, start: int, count: int) -> np.uint64:
    word = np.uint64(0)
    for bit in range(count):
        word |= np.uint64(flags[start + bit] & np.uint8(1)) << np.uint64(bit)
    return word


@kernel
def _gather_eight(eight: np.uint64) -> np.uint64:
    # The lowest bits of eight bytes into one: the product brings byte i's bit to position 56 + i, and no two terms meet.
    return ((eight & _LOW_BITS) * _GATHER) >> np.uint64(56)


@kernel
def pack_selected_kernel(values: _Bytes, keep: _Bytes, values_eights: _Words, keep_eights: _Words, packed: _Words) -> int:
    """Pack the lowest bit of every value whose ``keep`` is 1.

    Parameters
    ----------
    values, keep : uint8[n]
        Values and selection, 0 or 1 (only the lowest bit counts).
    values_eights, keep_eights : uint64[n // 8]
        The same memory, eight bytes a word.
    packed : uint64[count_words(n)]
        Zero on entry; written.

    Returns
    -------
    int
        Number of bits packed.
    """
    count = 0
    whole = values.size >> 6
    for index in range(whole):
        bits = np.uint64(0)
        mask = np.uint64(0)
        for part in range(8):
            bits |= _gather_eight(values_eights[8 * index + part]) << np.uint64(8 * part)
            mask |= _gather_eight(keep_eights[8 * index + part]) << np.uint64(8 * part)
        if mask == np.uint64(0):
            continue
        kept = signed(count_ones(mask))
        _append(packed, count, bits if mask == _ALL else compress_word(bits, mask), kept)
        count += kept
    rest = values.size - 64 * whole
    mask = _gather_word(keep, 64 * whole, rest)
    kept = signed(count_ones(mask))
    if kept:
        _append(packed, count, compress_word(_gather_word(values, 64 * whole, rest), mask), kept)
    return count + kept


def pack_selected(values: _Bytes, keep: _Bytes) -> tuple[_Words, int]:
    """Pack the chosen bits of an array of flags.

    Parameters
    ----------
    values : uint8[n], contiguous
        Bits; only the lowest bit of each byte counts, so an outcome code (basis and bit) serves as it is.
    keep : uint8[n], contiguous
        1 where the bit is kept.

    Returns
    -------
    tuple[uint64[count_words(count)], int]
        Packed bits in order, the unused rest zero, and their count.

    Raises
    ------
    LocalProtocolError
        If the two arrays differ in length or are not contiguous bytes.
    """
    if values.shape != keep.shape or values.ndim != 1 or not values.flags.c_contiguous or not keep.flags.c_contiguous:
        raise LocalProtocolError(f"packing takes two flat contiguous arrays of one length, got {values.shape} and {keep.shape}")
    if values.dtype != np.uint8 or keep.dtype != np.uint8:
        raise LocalProtocolError(f"packing takes uint8 arrays, got {values.dtype} and {keep.dtype}")
    packed = np.zeros(count_words(values.size) + 1, np.uint64)
    ours, theirs = _aligned(values), _aligned(keep)
    whole = values.size & ~7
    count = pack_selected_kernel(ours, theirs, ours[:whole].view(np.uint64), theirs[:whole].view(np.uint64), packed)
    return packed[: count_words(count)].copy(), count


def _aligned(flags: _Bytes) -> _Bytes:
    """Return a read-only view, copied only where it does not start on a word boundary: compiled code is one form for all callers."""
    view = flags.view() if flags.ctypes.data & 7 == 0 else flags.copy()
    view.flags.writeable = False
    return view


@kernel
def select_bits_kernel(words: _Words, mask: _Words, selected: _Words) -> int:
    """Close up those of the packed bits that a packed mask selects.

    Parameters
    ----------
    words, mask : uint64[n]
        Packed bits and selection.
    selected : uint64[n + 1]
        Zero on entry; written.

    Returns
    -------
    int
        Number of bits selected.
    """
    count = 0
    for index in range(words.size):
        if mask[index] == np.uint64(0):
            continue
        kept = signed(count_ones(mask[index]))
        _append(selected, count, compress_word(words[index], mask[index]), kept)
        count += kept
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
    selected = np.zeros(words.size + 1, np.uint64)
    count = select_bits_kernel(_read_only(words), _read_only(mask), selected)
    return selected[: count_words(count)].copy(), count


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
    if not tally(_read_only(settings), _read_only(outcomes), _read_only(keep), table):
        raise LocalProtocolError(f"a setting is not below {count_settings} or an outcome not below {COUNT_OUTCOMES}")
    return table


@kernel
def count_errors_kernel(ours: _Words, theirs: _Words) -> int:
    """Count the places in which two packed bit strings differ.

    Parameters
    ----------
    ours, theirs : uint64[n]
        Packed bits of one length, the unused rest zero.

    Returns
    -------
    int
        Number of differing bits.
    """
    total = np.uint64(0)
    for index in range(ours.size):
        total += count_ones(ours[index] ^ theirs[index])
    return signed(total)


def count_errors(ours: _Words, theirs: _Words) -> int:
    """Count the places in which two packed bit strings differ.

    Parameters
    ----------
    ours, theirs : uint64[n]
        Packed bits of one length, the unused rest zero.

    Returns
    -------
    int
        Number of differing bits.

    Raises
    ------
    LocalProtocolError
        If the two strings differ in length.
    """
    if ours.shape != theirs.shape:
        raise LocalProtocolError(f"errors are counted between strings of one length, got {ours.size} and {theirs.size} words")
    return int(count_errors_kernel(_read_only(ours), _read_only(theirs)))


def _read_only(array: NDArray[_Item]) -> NDArray[_Item]:
    """Return a read-only view: compiled code is one form for all callers."""
    view = array.view()
    view.flags.writeable = False
    return view
