"""Parities for Cascade: permuted copies of segments, and exclusive-ors over runs of their words.

A segment is kept as one bit-packed copy per pass, permuted so that every block of the pass is a run of bits; the parity of a block or
of half an interval is then an exclusive-or of words. The copies of the reference half never change; the correcting half flips every
error it finds in all copies made so far. Called by ``cascade_search``, which owns the copies; which parities are asked comes from
``cascade``.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from common.kernels.bit_operations import count_ones, range_parity, signed
from common.kernels.cascade import PlanTables, SearchTables
from common.kernels.jit import kernel

_Words: TypeAlias = NDArray[np.uint64]


@kernel
def permute_segments(copies: _Words, permutation: NDArray[np.uint16], target_pass: int) -> None:
    """Make the permuted copy of every segment for one pass from the copy of pass 0.

    Parameters
    ----------
    copies : uint64[count_segments, count_passes, words]
        Packed copies; ``copies[:, target_pass]`` is written.
    permutation : uint16[64 words]
        Bit i of the new copy is bit ``permutation[i]`` of the segment.
    target_pass : int
        Pass to make the copy for.
    """
    for segment in range(copies.shape[0]):
        source = copies[segment, 0]
        target = copies[segment, target_pass]
        for index in range(target.size):
            indices = permutation[64 * index : 64 * index + 64]
            word = np.uint64(0)
            for bit in range(64):
                position = signed(indices[bit])
                word |= ((source[position >> 6] >> np.uint64(position & 63)) & np.uint64(1)) << np.uint64(bit)
            target[index] = word


@kernel
def block_parities(copies: _Words, target_pass: int, block_shift: int, parities: _Words) -> None:
    """Write the parity of every block of a pass, segment by segment.

    Parameters
    ----------
    copies : uint64[count_segments, count_passes, words]
        Packed copies.
    target_pass : int
        Pass whose blocks are asked.
    block_shift : int
        Base-two logarithm of the block size, bits.
    parities : uint64[...]
        Written: packed parities, one for each block.
    """
    gathered = np.uint64(0)
    count = 0
    block_words = 1 << max(block_shift - 6, 0)
    for segment in range(copies.shape[0]):
        copy = copies[segment, target_pass]
        for first in range(0, copy.size, block_words):
            folded = copy[first]
            for index in range(first + 1, first + block_words):
                folded ^= copy[index]
            if block_shift >= 6:
                gathered |= (count_ones(folded) & np.uint64(1)) << np.uint64(count & 63)
                count += 1
                if count & 63 == 0:
                    parities[(count >> 6) - 1] = gathered
                    gathered = np.uint64(0)
                continue
            for level in range(block_shift):
                folded ^= folded >> np.uint64(1 << level)
            for place in range(0, 64, 1 << block_shift):
                gathered |= ((folded >> np.uint64(place)) & np.uint64(1)) << np.uint64(count & 63)
                count += 1
                if count & 63 == 0:
                    parities[(count >> 6) - 1] = gathered
                    gathered = np.uint64(0)
    if count & 63:
        parities[count >> 6] = gathered


@kernel
def _masked_parity(words: _Words, mask: _Words, low: int, high: int) -> np.uint64:
    """Return the parity of those bits from ``low`` to ``high - 1`` that a mask selects.

    Parameters
    ----------
    words, mask : uint64[count_words]
        Packed bits and the selection among them.
    low, high : int
        Bit range, ``0 <= low < high <= 64 count_words``.

    Returns
    -------
    uint64
        0 or 1.
    """
    first = low >> 6
    last = (high - 1) >> 6
    folded = np.uint64(0)
    for index in range(first, last + 1):
        word = words[index] & mask[index]
        if index == first:
            word &= ~np.uint64(0) << np.uint64(low & 63)
        if index == last:
            word &= ~np.uint64(0) >> np.uint64(63 - ((high - 1) & 63))
        folded ^= word
    return count_ones(folded) & np.uint64(1)


@kernel
def mask_parities(copies: _Words, masks: _Words, parities: _Words) -> None:
    """Write the parity under every mask of every segment, segment by segment.

    Parameters
    ----------
    copies : uint64[count_segments, count_passes, words]
        Packed copies.
    masks : uint64[count_masks, words]
        Selections.
    parities : uint64[...]
        Written: packed parities, ``count_masks`` for each segment.
    """
    parities[:] = np.uint64(0)
    count = 0
    for segment in range(copies.shape[0]):
        for mask in range(masks.shape[0]):
            parity = _masked_parity(copies[segment, 0], masks[mask], 0, 64 * copies.shape[2])
            parities[count >> 6] |= parity << np.uint64(count & 63)
            count += 1


@kernel
def search_parities(
    copies: _Words, plan: PlanTables, tables: SearchTables, live: NDArray[np.int32], count_live: int, parities: _Words
) -> None:
    """Write, for every live search, the parity of the left half of its interval.

    Parameters
    ----------
    copies : uint64[count_segments, count_passes, words]
        Packed copies.
    plan : PlanTables
        The agreed plan.
    tables : SearchTables
        Intervals; unchanged.
    live : int32[...]
        Live searches in their order, segment by segment.
    count_live : int
        Their number.
    parities : uint64[count_words(count_live)]
        Written: packed parities in the same order.
    """
    count_blocks = plan.block_passes.size
    count_passes = plan.block_shifts.size
    copy_bits = 64 * copies.shape[2]
    all_words = copies.reshape(copies.size)  # a row taken out for every search would cost more than its parity
    segment = 0
    first = 0
    gathered = np.uint64(0)
    for index in range(count_live):
        search = signed(live[index])
        while search >= first + count_blocks:
            first += count_blocks
            segment += 1
        search_pass = plan.block_passes[search - first]
        low = signed(tables.low[search])
        middle = (low + signed(tables.high[search])) >> 1
        if search_pass < count_passes:
            start = (segment * count_passes + search_pass) * copy_bits
            parity = range_parity(all_words, start + low, start + middle)
        else:
            parity = _masked_parity(copies[segment, 0], plan.masks[search_pass - count_passes], low, middle)
        gathered |= parity << np.uint64(index & 63)
        if index & 63 == 63:
            parities[index >> 6] = gathered
            gathered = np.uint64(0)
    if count_live & 63:
        parities[count_live >> 6] = gathered


@kernel
def flip_bits(copies: _Words, inverses: NDArray[np.uint16], count_copies: int, corrections: NDArray[np.int64]) -> None:
    """Flip the errors found in every copy made so far.

    Parameters
    ----------
    copies : uint64[count_segments, count_passes, words]
        Read and written.
    inverses : uint16[count_passes, segment_bits]
        Where a bit of the segment lies in each copy.
    count_copies : int
        Copies made so far.
    corrections : int64[count]
        ``segment * segment_bits + position`` of each error.
    """
    segment_bits = inverses.shape[1]
    for index in range(corrections.size):
        segment = corrections[index] // segment_bits
        position = corrections[index] - segment * segment_bits
        for copy in range(count_copies):
            place = signed(inverses[copy, position])
            copies[segment, copy, place >> 6] ^= np.uint64(1) << np.uint64(place & 63)
