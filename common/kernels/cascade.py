"""Cascade over a batch of segments in lock-step: what both halves know, and how an answer advances it.

Every round asks one parity for each live search of all segments, so a message carries hundreds of segments. What both halves know
(which blocks are odd, which searches are live, which interval each has reached) lives in ``SearchTables`` and is advanced by the same
kernel from the same answers. The bits themselves are the business of ``cascade_parities``; ``cascade_search`` holds the arrays and
calls the kernels of both in order.

A block has a number within its segment: the blocks of pass 0, then those of pass 1 and so on, then one for each mask. A search is
named by ``segment * count_blocks + block``. Each block has at most one search.

References
----------
[Brassard1994] G. Brassard, L. Salvail, secret-key reconciliation by public discussion; [MartinezMateo2015] J. Martinez-Mateo et al.,
demystifying the information reconciliation protocol Cascade; status: exact bookkeeping, efficiency measured.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from common.kernels.bit_operations import signed
from common.kernels.jit import kernel

_Words: TypeAlias = NDArray[np.uint64]

ODD = np.uint8(1)
"""Flag of a block: an odd number of errors is left in it."""

LIVE = np.uint8(2)
"""Flag of a block: a search is under way in it."""


class PlanTables(NamedTuple):
    """What both halves agreed on beforehand, as arrays.

    Attributes
    ----------
    permutations : uint16[count_passes, segment_bits]
        Bit i of the copy of pass p is bit ``permutations[p, i]`` of the segment; pass 0 is the identity.
    inverses : uint16[count_passes, segment_bits]
        Where a bit of the segment lies in the copy of each pass.
    masks : uint64[count_masks, segment_bits / 64]
        Subsets of the segment whose parities close the protocol.
    block_shifts : int64[count_passes]
        Base-two logarithm of the block size of each pass.
    first_blocks : int64[count_passes + 1]
        Number of the first block of each pass; the last entry that of the first mask.
    block_passes : int64[count_blocks]
        Pass of each block; ``count_passes + q`` for mask q.
    """

    permutations: NDArray[np.uint16]
    inverses: NDArray[np.uint16]
    masks: _Words
    block_shifts: NDArray[np.int64]
    first_blocks: NDArray[np.int64]
    block_passes: NDArray[np.int64]


class SearchTables(NamedTuple):
    """What both halves know about the blocks of a batch, equal at both ends after every round.

    Attributes
    ----------
    flags : uint8[count_segments * count_blocks]
        ``ODD`` and ``LIVE``.
    low, high : int32[count_segments * count_blocks]
        Interval a live search has reached, in the order of the copy of its pass.
    found : int32[count_blocks]
        Scratch: searches of one segment that ended in this round.
    candidates : int32[count_blocks * count_passes]
        Scratch: blocks of one segment that turned odd in this round.
    """

    flags: NDArray[np.uint8]
    low: NDArray[np.int32]
    high: NDArray[np.int32]
    found: NDArray[np.int32]
    candidates: NDArray[np.int32]


@kernel
def open_pass(plan: PlanTables, tables: SearchTables, opened_pass: int, segment_bits: int, differs: _Words, live: NDArray[np.int32]) -> int:
    """Note which blocks of a newly opened pass are odd and start a search in each of them.

    Parameters
    ----------
    plan : PlanTables
        The agreed plan.
    tables : SearchTables
        Written: flags and intervals.
    opened_pass : int
        The pass; ``count_passes`` opens all masks at once and starts no search.
    segment_bits : int
        Bits of a segment.
    differs : uint64[...]
        Packed answers, one for each block of the pass (or mask), segment by segment.
    live : int32[...]
        Written: the searches started.

    Returns
    -------
    int
        Number of searches started.
    """
    count_blocks = plan.block_passes.size
    count_passes = plan.block_shifts.size
    first = plan.first_blocks[opened_pass]
    last = plan.first_blocks[opened_pass + 1] if opened_pass < count_passes else count_blocks
    count_segments = tables.flags.size // count_blocks
    count_live = 0
    answer = 0
    for segment in range(count_segments):
        for block in range(first, last):
            odd = (differs[answer >> 6] >> np.uint64(answer & 63)) & np.uint64(1)
            answer += 1
            if odd == np.uint64(0):
                continue
            search = segment * count_blocks + block
            tables.flags[search] = ODD
            if opened_pass < count_passes:
                _start_search(plan, tables, search, block, segment_bits)
                live[count_live] = search
                count_live += 1
    return count_live


@kernel
def _start_search(plan: PlanTables, tables: SearchTables, search: int, block: int, segment_bits: int) -> None:
    search_pass = plan.block_passes[block]
    tables.flags[search] |= LIVE
    if search_pass < plan.block_shifts.size:
        shift = plan.block_shifts[search_pass]
        tables.low[search] = (block - plan.first_blocks[search_pass]) << shift
        tables.high[search] = tables.low[search] + (1 << shift)
    else:
        tables.low[search] = 0
        tables.high[search] = segment_bits


@kernel
def open_mask_searches(plan: PlanTables, tables: SearchTables, segment_bits: int, live: NDArray[np.int32]) -> int:
    """Start a search under the first odd mask of every segment; called only when no search is live.

    One mask at a time: several odd masks mostly point to the same error, and searching them side by side would pay for it several times.

    Parameters
    ----------
    plan : PlanTables
        The agreed plan.
    tables : SearchTables
        Written: flags and intervals.
    segment_bits : int
        Bits of a segment.
    live : int32[...]
        Written: the searches started.

    Returns
    -------
    int
        Number of searches started.
    """
    count_blocks = plan.block_passes.size
    first_mask = plan.first_blocks[plan.block_shifts.size]
    count_live = 0
    for segment in range(tables.flags.size // count_blocks):
        for block in range(first_mask, count_blocks):
            search = segment * count_blocks + block
            if tables.flags[search] & ODD:
                _start_search(plan, tables, search, block, segment_bits)
                live[count_live] = search
                count_live += 1
                break
    return count_live


@kernel
def _settle_error(
    plan: PlanTables, tables: SearchTables, first: int, position: int, count_opened: int, masks_opened: bool, count_candidates: int
) -> int:
    """Tell every opened block holding ``position`` that one error less is in it; return the new number of candidates."""
    for opened_pass in range(count_opened):
        place = signed(plan.inverses[opened_pass, position])
        search = first + plan.first_blocks[opened_pass] + (place >> plan.block_shifts[opened_pass])
        tables.flags[search] ^= ODD
        if tables.low[search] <= place < tables.high[search]:
            tables.flags[search] &= ~LIVE  # its interval has become even
        if tables.flags[search] == ODD:
            tables.candidates[count_candidates] = search
            count_candidates += 1
    if masks_opened:
        first_mask = plan.first_blocks[plan.block_shifts.size]
        for mask in range(plan.masks.shape[0]):
            if (plan.masks[mask, position >> 6] >> np.uint64(position & 63)) & np.uint64(1):
                search = first + first_mask + mask
                tables.flags[search] ^= ODD
                if tables.low[search] <= position < tables.high[search]:
                    tables.flags[search] &= ~LIVE
    return count_candidates


@kernel
def advance_searches(
    plan: PlanTables,
    tables: SearchTables,
    count_opened: int,
    masks_opened: bool,
    differs: _Words,
    live: NDArray[np.int32],
    count_live: int,
    next_live: NDArray[np.int32],
    corrections: NDArray[np.int64],
) -> tuple[int, int]:
    """Halve every live interval, settle the errors found and start searches in blocks that turned odd.

    Per segment: first all answers narrow their intervals; then the errors found are settled in the order of the list, one that
    another search of the same round found already being skipped; then the surviving searches keep their order and new ones follow
    in the order in which their blocks turned odd.

    Parameters
    ----------
    plan : PlanTables
        The agreed plan.
    tables : SearchTables
        Read and written.
    count_opened : int
        Passes opened so far.
    masks_opened : bool
        Whether the masks have been asked.
    differs : uint64[count_words(count_live)]
        Packed answers: whether the two halves' parities of the left half of the interval differ.
    live : int32[...]
        Live searches in their order.
    count_live : int
        Their number.
    next_live : int32[...]
        Written: the live searches of the next round.
    corrections : int64[...]
        Written: ``segment * segment_bits + position`` of every error found.

    Returns
    -------
    tuple[int, int]
        Number of live searches of the next round, number of errors found.
    """
    count_blocks = plan.block_passes.size
    count_passes = plan.block_shifts.size
    segment_bits = plan.permutations.shape[1]
    count_next = 0
    count_corrections = 0
    flags, low, high, found = tables.flags, tables.low, tables.high, tables.found
    begin = 0
    while begin < count_live:
        segment = live[begin] // count_blocks
        first = segment * count_blocks
        end = begin
        count_found = 0
        while end < count_live and live[end] < first + count_blocks:
            search = signed(live[end])
            half = (signed(high[search]) - signed(low[search])) >> 1
            right = 1 - signed((differs[end >> 6] >> np.uint64(end & 63)) & np.uint64(1))
            low[search] += right * half  # without a branch: the answer is a coin toss, which no processor predicts
            high[search] = low[search] + half
            if half == 1:
                found[count_found] = search
                count_found += 1
            end += 1
        count_candidates = 0
        for index in range(count_found):
            search = signed(found[index])
            if not flags[search] & LIVE:
                continue
            search_pass = plan.block_passes[search - first]
            position = signed(low[search])
            if search_pass < count_passes:
                position = signed(plan.permutations[search_pass, position])
            count_candidates = _settle_error(plan, tables, first, position, count_opened, masks_opened, count_candidates)
            flags[search] &= ~LIVE  # also where a lying peer led a mask search to a bit outside the mask
            corrections[count_corrections] = segment * segment_bits + position
            count_corrections += 1
        for index in range(begin, end):
            if flags[live[index]] & LIVE:
                next_live[count_next] = live[index]
                count_next += 1
        for index in range(count_candidates):
            search = signed(tables.candidates[index])
            if flags[search] == ODD:
                _start_search(plan, tables, search, search - first, segment_bits)
                next_live[count_next] = search
                count_next += 1
        begin = end
    return count_next, count_corrections
