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

from common.kernels.bit_mixing import mix_words
from common.kernels.bit_operations import count_ones, range_parity, signed
from common.kernels.cascade import PlanTables, SearchTables
from common.kernels.jit import kernel

_Words: TypeAlias = NDArray[np.uint64]


@kernel
def permute_segment(source: _Words, permutation: NDArray[np.uint16], target: _Words) -> None:
    """Make the permuted copy of a segment.

    Parameters
    ----------
    source : uint64[words]
        The segment.
    permutation : uint16[64 words]
        Bit i of the copy is bit ``permutation[i]`` of the segment.
    target : uint64[words]
        Written.
    """
    for index in range(target.size):
        indices = permutation[64 * index : 64 * index + 64]
        word = np.uint64(0)
        for bit in range(64):
            position = signed(indices[bit])
            word |= ((source[position >> 6] >> np.uint64(position & 63)) & np.uint64(1)) << np.uint64(bit)
        target[index] = word


@kernel
def _copy_segment(plan: PlanTables, stage: int, source: _Words, scratch: _Words, target: _Words) -> None:
    """Make the copy of a pass, by whole words where its permutation is a mixing of them."""
    if plan.orders.shape[2]:
        mix_words(source, plan.orders[stage], plan.rotations[stage], scratch, target)
    else:
        permute_segment(source, plan.permutations[stage], target)


@kernel
def _append_bit(parities: _Words, count: int, bit: np.uint64) -> int:
    """Append a bit to packed ones; a word is cleared when its first bit is written."""
    if count & 63:
        parities[count >> 6] |= bit << np.uint64(count & 63)
    else:
        parities[count >> 6] = bit
    return count + 1


@kernel
def block_parities(copy: _Words, block_shift: int, count_blocks: int, parities: _Words, count: int) -> int:
    """Append the parities of the first blocks of a permuted copy.

    Parameters
    ----------
    copy : uint64[words]
        A segment in the order of a pass.
    block_shift : int
        Base-two logarithm of the block size, bits.
    count_blocks : int
        How many; the last one may be cut short by the end of the segment.
    parities : uint64[...]
        Packed parities, appended to.
    count : int
        Parities there are.

    Returns
    -------
    int
        Parities there are now.
    """
    if block_shift < 6:
        for block in range(count_blocks):
            place = block << block_shift
            folded = copy[place >> 6] >> np.uint64(place & 63)
            for level in range(block_shift):
                folded ^= folded >> np.uint64(1 << level)
            count = _append_bit(parities, count, folded & np.uint64(1))
        return count
    block_words = 1 << (block_shift - 6)
    for block in range(count_blocks):
        folded = np.uint64(0)
        for index in range(block * block_words, (block + 1) * block_words):
            folded ^= copy[index]
        count = _append_bit(parities, count, count_ones(folded) & np.uint64(1))
    return count


@kernel
def masked_parity(words: _Words, mask: _Words, low: int, high: int) -> np.uint64:
    """Return the parity of those bits of a range that a mask selects.

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
def ask(copies: _Words, plan: PlanTables, tables: SearchTables, live: NDArray[np.int32], count_live: int, parities: _Words) -> int:
    """Write the parities that a round asks, segment by segment, and make the copies they need.

    Of a segment with live searches these are the parities of the left halves of their intervals, of any other those of the blocks of its
    next stage.

    Parameters
    ----------
    copies : uint64[count_segments, count_passes, words]
        Packed copies; that of a pass is written when the pass is asked about.
    plan : PlanTables
        The agreed plan.
    tables : SearchTables
        Intervals and stages; unchanged.
    live : int32[...]
        Live searches in their order, segment by segment.
    count_live : int
        Their number.
    parities : uint64[...]
        Written: packed parities, the unused rest of the last word zero.

    Returns
    -------
    int
        Their number.
    """
    count_blocks = plan.block_passes.size
    count_passes = plan.block_shifts.size
    copy_bits = 64 * copies.shape[2]
    scratch = np.empty(copies.shape[2], np.uint64)
    all_words = copies.reshape(copies.size)  # a row taken out for every search would cost more than its parity
    count = index = 0
    for segment in range(tables.stages.size):
        first = segment * count_blocks
        stage = tables.stages[segment]
        if index >= count_live or live[index] >= first + count_blocks:
            if stage < count_passes:
                if stage:
                    _copy_segment(plan, stage, copies[segment, 0], scratch, copies[segment, stage])
                count_stage = plan.first_blocks[stage + 1] - plan.first_blocks[stage]
                count = block_parities(copies[segment, stage], plan.block_shifts[stage], count_stage, parities, count)
            elif stage == count_passes:
                for mask in range(plan.masks.shape[0]):
                    count = _append_bit(parities, count, masked_parity(copies[segment, 0], plan.masks[mask], 0, copy_bits))
        while index < count_live and live[index] < first + count_blocks:
            search = signed(live[index])
            search_pass = plan.block_passes[search - first]
            low = signed(tables.blocks[search].low)
            middle = low + (1 << (signed(tables.blocks[search].level) - 1))
            if search_pass < count_passes:
                start = (segment * count_passes + search_pass) * copy_bits
                parity = range_parity(all_words, start + low, start + middle)
            else:
                parity = masked_parity(copies[segment, 0], plan.masks[search_pass - count_passes], low, middle)
            count = _append_bit(parities, count, parity)
            index += 1
    return count


@kernel
def flip_bits(copies: _Words, inverses: NDArray[np.uint16], stages: NDArray[np.int64], corrections: NDArray[np.int64]) -> None:
    """Flip the errors found in every copy made so far.

    Parameters
    ----------
    copies : uint64[count_segments, count_passes, words]
        Read and written.
    inverses : uint16[count_passes, segment_bits]
        Where a bit of the segment lies in each copy.
    stages : int64[count_segments]
        Passes opened so far: the first copies of each segment have been made.
    corrections : int64[count]
        ``segment * segment_bits + position`` of each error.
    """
    segment_bits = inverses.shape[1]
    for index in range(corrections.size):
        segment = corrections[index] // segment_bits
        position = corrections[index] - segment * segment_bits
        for copy in range(min(stages[segment], copies.shape[1])):
            place = signed(inverses[copy, position])
            copies[segment, copy, place >> 6] ^= np.uint64(1) << np.uint64(place & 63)
