"""Cascade over a batch of segments in rounds: what both halves know, and how an answer advances it.

Every round asks one parity for each live search of all segments, so a message carries hundreds of segments. A segment in which no search
is live goes on to its next pass by itself, whatever the others do: their rounds overlap, and a batch takes as many as its slowest segment
and not the sum over the slowest of each pass. What both halves know
(which blocks are odd, which searches are live, which interval each has reached) lives in ``SearchTables`` and is advanced by the same
kernel from the same answers. The bits themselves are the business of ``cascade_parities``; ``cascade_search`` holds the arrays and
calls the kernels of both in order.

A block has a number within its segment: the blocks of pass 0, then those of pass 1 and so on, then one for each mask. A search is
named by ``segment * count_blocks + block``. Each block has at most one search.

What a search has learnt of its block is kept, so that no parity is asked twice. A search that ended at a bit, the block's *leaf*, has cut
the block into that bit and, on each level, its sibling: the half it did not go into. All of them were even then. From then on an error
found elsewhere tells which of them has turned odd, and the next search in this block begins there, in the smallest, and not at the top.

References
----------
[Brassard1994] G. Brassard, L. Salvail, secret-key reconciliation by public discussion; [MartinezMateo2015] J. Martinez-Mateo et al.,
demystifying the information reconciliation protocol Cascade; status: exact bookkeeping, efficiency measured.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from common.kernels.bit_operations import count_ones, count_trailing_zeros, signed
from common.kernels.jit import kernel

_Words: TypeAlias = NDArray[np.uint64]

ODD = np.uint8(1)
"""Flag of a block: an odd number of errors is left in it."""

LIVE = np.uint8(2)
"""Flag of a block: a search is under way in it."""

SEARCHED = np.uint8(4)
"""Flag of a block: a search in it has ended, at its leaf."""

BLOCK = np.dtype(
    [
        ("low", np.uint16),
        ("leaf", np.uint16),
        ("siblings", np.uint16),
        ("narrowed", np.uint16),
        ("level", np.uint8),
        ("begun", np.uint8),
        ("flags", np.uint8),
        ("unused", np.uint8),
    ]
)
"""What both halves know of a block; places count in the order of the copy of its pass.

``low`` and ``level``: the interval a live search has reached begins there and has 2^level bits; ``begun``: the level it began with.
``leaf``: where the last search ended. Bit j of ``siblings``: whether the sibling of 2^j bits of the leaf is odd; of ``narrowed``: whether
what a live search has set aside on this level is.
"""


FINISHED = 1 << 30
"""Stage of a segment of which nothing is left to ask."""


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
    orders : uint16[count_passes, 3, count_words]
    rotations : uint8[count_passes, 2, count_rotations]
        The same permutations as mixings of words (``bit_mixing``), of no words where they are none.
    """

    permutations: NDArray[np.uint16]
    inverses: NDArray[np.uint16]
    masks: _Words
    block_shifts: NDArray[np.int64]
    first_blocks: NDArray[np.int64]
    block_passes: NDArray[np.int64]
    orders: NDArray[np.uint16]
    rotations: NDArray[np.uint8]


class SearchTables(NamedTuple):
    """What both halves know about the blocks of a batch, equal at both ends after every round.

    Attributes
    ----------
    blocks : BLOCK[count_segments * count_blocks]
        What is known of each block, all of it in a line or two of the cache.
    stages : int64[count_segments]
        Passes opened in each segment; one more than there are once the masks are opened, and ``FINISHED`` in the end.
    asked : int64[count_segments]
        Parities asked of each segment.
    found : int32[count_blocks]
        Scratch: searches of one segment that ended in this round.
    candidates : int32[count_blocks * count_passes]
        Scratch: blocks of one segment that turned odd in this round.
    """

    blocks: NDArray[np.void]
    stages: NDArray[np.int64]
    asked: NDArray[np.int64]
    found: NDArray[np.int32]
    candidates: NDArray[np.int32]


@kernel
def stage_questions(plan: PlanTables, stage: int) -> int:
    """Count the parities that open a stage: one for each block of a pass, one for each mask, none of a finished segment.

    Parameters
    ----------
    plan : PlanTables
        The agreed plan.
    stage : int
        Number of the pass; that behind the last one opens the masks.

    Returns
    -------
    int
        Parities.
    """
    count_passes = plan.block_shifts.size
    if stage < count_passes:
        return signed(plan.first_blocks[stage + 1] - plan.first_blocks[stage])
    return int(plan.masks.shape[0]) if stage == count_passes else 0


@kernel
def _open_stage(
    plan: PlanTables, tables: SearchTables, segment: int, differs: _Words, answer: int, next_live: NDArray[np.int32], count_next: int
) -> int:
    """Note which blocks of a segment's next stage are odd and, unless these are masks, start a search in each of them."""
    count_blocks = plan.block_passes.size
    count_passes = plan.block_shifts.size
    stage = tables.stages[segment]
    first = segment * count_blocks + plan.first_blocks[stage]
    for index in range(stage_questions(plan, stage)):
        if (differs[(answer + index) >> 6] >> np.uint64((answer + index) & 63)) & np.uint64(1):
            tables.blocks[first + index].flags = ODD
            if stage < count_passes:
                _start_search(plan, tables, first + index, plan.first_blocks[stage] + index)
                next_live[count_next] = first + index
                count_next += 1
    tables.stages[segment] = stage + 1
    return count_next


@kernel
def _go_on(plan: PlanTables, tables: SearchTables, segment: int, next_live: NDArray[np.int32], count_next: int) -> int:
    """Find what a segment without live searches does next: its next stage, a search under its first odd mask, or nothing more.

    One mask at a time: several odd masks mostly point to the same error, and searching them side by side would pay for it several times.
    """
    count_blocks = plan.block_passes.size
    count_passes = plan.block_shifts.size
    if tables.stages[segment] < count_passes or (tables.stages[segment] == count_passes and plan.masks.shape[0]):
        return count_next
    first_mask = plan.first_blocks[count_passes]
    for block in range(first_mask, count_blocks):
        search = segment * count_blocks + block
        if tables.blocks[search].flags & ODD:
            _start_search(plan, tables, search, block)
            next_live[count_next] = search
            return count_next + 1
    tables.stages[segment] = FINISHED
    return count_next


@kernel
def _is_due(tables: SearchTables, search: int) -> bool:
    """Whether an error is known to be left in a block, or in a part of it, that nobody searches for."""
    flags = tables.blocks[search].flags
    if flags & LIVE:
        return False
    return bool(tables.blocks[search].siblings != 0 if flags & SEARCHED else flags != 0)


@kernel
def _start_search(plan: PlanTables, tables: SearchTables, search: int, block: int) -> None:
    """Begin at the top of the block, or in the smallest odd sibling of its leaf; with the leaf, where that is a single bit."""
    search_pass = plan.block_passes[block]
    record = tables.blocks[search]
    low = 0
    if search_pass >= plan.block_shifts.size:
        level = signed(count_trailing_zeros(np.uint64(plan.permutations.shape[1])))
    elif record.flags & SEARCHED:
        level = max(signed(count_trailing_zeros(np.uint64(record.siblings))), 1)
        leaf = signed(record.leaf)
        low = leaf & ~1 if record.siblings & np.uint16(1) else ((leaf >> level) ^ 1) << level
    else:
        level = plan.block_shifts[search_pass]
        low = (block - plan.first_blocks[search_pass]) << level
    record.low = low
    record.level = level
    record.begun = level
    record.narrowed = 0
    record.flags |= LIVE


@kernel
def _highest_bit(difference: int) -> int:
    """Return the highest set bit of a number above 0 and below 2^16."""
    spread = difference | (difference >> 1)
    spread |= spread >> 2
    spread |= spread >> 4
    spread |= spread >> 8
    return spread ^ (spread >> 1)


@kernel
def _settle_error(
    plan: PlanTables, tables: SearchTables, first: int, position: int, count_opened: int, masks_opened: bool, count_candidates: int
) -> int:
    """Tell every opened block holding ``position`` that one error less is in it; return the new number of candidates."""
    for opened_pass in range(count_opened):
        place = signed(plan.inverses[opened_pass, position])
        block = plan.first_blocks[opened_pass] + (place >> plan.block_shifts[opened_pass])
        if block >= plan.first_blocks[opened_pass + 1]:
            continue  # a lying peer has led a search to the filling, of which this pass has no blocks
        search = first + block
        record = tables.blocks[search]
        record.flags ^= ODD
        leaf = signed(record.leaf)
        if record.flags & SEARCHED and place != leaf:
            record.siblings ^= np.uint16(_highest_bit(place ^ leaf))
        if record.flags & LIVE:
            apart = place ^ signed(record.low)
            if apart >> signed(record.level) == 0:
                record.flags &= ~LIVE  # its interval has become even
            elif apart >> signed(record.begun) == 0:
                record.narrowed ^= np.uint16(_highest_bit(apart))
        if _is_due(tables, search) and count_candidates < tables.candidates.size:
            tables.candidates[count_candidates] = search
            count_candidates += 1
    if masks_opened:
        first_mask = plan.first_blocks[plan.block_shifts.size]
        for mask in range(plan.masks.shape[0]):
            if (plan.masks[mask, position >> 6] >> np.uint64(position & 63)) & np.uint64(1):
                record = tables.blocks[first + first_mask + mask]
                record.flags ^= ODD
                if (position ^ signed(record.low)) >> signed(record.level) == 0:
                    record.flags &= ~LIVE
    return count_candidates


@kernel
def _keep_leaf(tables: SearchTables, search: int, place: int) -> None:
    """Keep what a search that ended at ``place`` has learnt, as things stood before this error is settled."""
    record = tables.blocks[search]
    level, known = signed(record.begun), signed(record.siblings)
    above = known & -(1 << level)
    if record.flags & SEARCHED and (signed(record.leaf) ^ place) >> level:
        # The search was in a sibling of the old leaf, whose own side becomes the sibling.
        side = signed(count_ones(np.uint64(known & ((1 << level) - 1))) & np.uint64(1))
        above = (known & -(2 << level)) | (side << level)
    record.siblings = np.uint16(above | signed(record.narrowed))
    record.leaf = place
    record.flags |= SEARCHED


@kernel
def _narrow(
    plan: PlanTables,
    tables: SearchTables,
    segment: int,
    live: NDArray[np.int32],
    begin: int,
    end: int,
    differs: _Words,
    answer: int,
    next_live: NDArray[np.int32],
    count_next: int,
    corrections: NDArray[np.int64],
    count_corrections: int,
) -> tuple[int, int]:
    """Halve every live interval of a segment, settle the errors found and start searches in blocks that are due."""
    blocks, found = tables.blocks, tables.found
    count_passes = plan.block_shifts.size
    segment_bits = plan.permutations.shape[1]
    first = segment * plan.block_passes.size
    opened = min(tables.stages[segment], count_passes)
    masks_opened = tables.stages[segment] > count_passes
    count_found = 0
    for index in range(begin, end):
        search = signed(live[index])
        level = signed(blocks[search].level) - 1
        right = 1 - signed((differs[answer >> 6] >> np.uint64(answer & 63)) & np.uint64(1))
        answer += 1
        blocks[search].low += right << level  # without a branch: the answer is a coin toss, which no processor predicts
        blocks[search].level = level
        if level == 0:
            found[count_found] = search
            count_found += 1
    count_candidates = 0
    for index in range(count_found):
        search = signed(found[index])
        if not blocks[search].flags & LIVE:
            continue
        search_pass = plan.block_passes[search - first]
        position = signed(blocks[search].low)
        if search_pass < count_passes:
            _keep_leaf(tables, search, position)
            position = signed(plan.permutations[search_pass, position])
        count_candidates = _settle_error(plan, tables, first, position, opened, masks_opened, count_candidates)
        blocks[search].flags &= ~LIVE  # also where a lying peer led a mask search to a bit outside the mask
        corrections[count_corrections] = segment * segment_bits + position
        count_corrections += 1
    for index in range(begin, end):
        if blocks[live[index]].flags & LIVE:
            next_live[count_next] = live[index]
            count_next += 1
    for index in range(count_candidates):
        search = signed(tables.candidates[index])
        if _is_due(tables, search):
            _start_search(plan, tables, search, search - first)
            next_live[count_next] = search
            count_next += 1
    return count_next, count_corrections


@kernel
def advance_segments(
    plan: PlanTables,
    tables: SearchTables,
    differs: _Words,
    live: NDArray[np.int32],
    count_live: int,
    next_live: NDArray[np.int32],
    corrections: NDArray[np.int64],
) -> tuple[int, int, int]:
    """Take in the answers of a round, segment by segment.

    In a segment with live searches all answers narrow their intervals first; then the errors found are settled in the order of the list,
    one that another search of the same round found already being skipped; then the surviving searches keep their order and new ones follow
    in the order in which their blocks became due. In any other the answers are those about the blocks of its next stage.

    Parameters
    ----------
    plan : PlanTables
        The agreed plan.
    tables : SearchTables
        Read and written.
    differs : uint64[...]
        Packed answers: whether the two halves' parities differ.
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
    tuple[int, int, int]
        Number of live searches of the next round, number of errors found, number of parities the next round asks.
    """
    count_blocks = plan.block_passes.size
    count_next = count_corrections = count_asked = answer = begin = 0
    for segment in range(tables.stages.size):
        end = begin
        while end < count_live and live[end] < (segment + 1) * count_blocks:
            end += 1
        before = count_next
        count_answers = end - begin
        if count_answers:
            count_next, count_corrections = _narrow(
                plan, tables, segment, live, begin, end, differs, answer, next_live, count_next, corrections, count_corrections
            )
        elif tables.stages[segment] != FINISHED:
            count_answers = stage_questions(plan, tables.stages[segment])
            count_next = _open_stage(plan, tables, segment, differs, answer, next_live, count_next)
        if count_next == before and tables.stages[segment] != FINISHED:
            count_next = _go_on(plan, tables, segment, next_live, count_next)
        tables.asked[segment] += count_answers
        answer += count_answers
        begin = end
        count_asked += count_next - before if count_next > before else stage_questions(plan, tables.stages[segment])
    return count_next, count_corrections, count_asked
