"""A group of blocks from its first announcement to reconciled bits: the same sequence at both ends.

A group is a run of consecutive blocks that travel together, so that a round trip serves all of them; each is opened, closed and counted
by itself, and its security is its own. A slow link has groups of one block. While one group is reconciled the next ones fill already, and
earlier ones are concluded (``distillation.concluding``); ``link_session`` lets several be under way.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from dataclasses import dataclass, field
from functools import reduce

from common.blocks import BasisCounts, BlockCounts, ReceiverCounts
from common.conversation.effects import Conversation, compute, persist, tell
from common.conversation.operations import OpenBlock
from common.distillation.disclosure import added_tables, errors_by_basis
from common.distillation.playbook import Playbook
from common.distillation.recipe import BATCH_KEY_BITS, Recipe
from common.distillation.reconciliation.choice import WorkingQber
from common.distillation.sifting import GroupProgress
from common.distillation.steps import BlockSteps
from common.distillation.synchronisation import Frames
from common.distillation.values import ClosedBlock, Discarded, KeyBits, ReconciledBatch, SiftedBatch
from common.errors import AbortReason
from common.leakage import Leakage


@dataclass(frozen=True, slots=True)
class GroupPlan:
    """What a group starts from.

    Attributes
    ----------
    first_block, first_frame : int
        Number of its first block, and the frame that begins with.
    frames : Frames
        Matched slots.
    working_qber : WorkingQber
        From earlier groups.
    most_blocks : int | None
        Blocks it may take, or None for as many as a group may have.
    """

    first_block: int
    first_frame: int
    frames: Frames
    working_qber: WorkingQber
    most_blocks: int | None = None


@dataclass(frozen=True, slots=True)
class GroupSifted:
    """Told once nothing more is announced for a group: the next one may begin.

    Attributes
    ----------
    next_block, next_frame : int
        Where the next group begins.
    count_bits : int
        Key bits of this one.
    ends_stream : bool
        Whether there is none.
    """

    next_block: int
    next_frame: int
    count_bits: int
    ends_stream: bool


@dataclass(frozen=True, slots=True, eq=False)
class GatheredGroup:
    """Blocks of a group, reconciled.

    Attributes
    ----------
    blocks : list[ClosedBlock | Discarded]
        In order; those without a single reconciled bit are discarded.
    working_qber : WorkingQber
        With the counts of the group.
    """

    blocks: list[ClosedBlock | Discarded]
    working_qber: WorkingQber


@dataclass(slots=True, eq=False)
class _Filling:
    """A block as it fills; owned by one conversation."""

    number: int
    steps: BlockSteps
    sifted: list[SiftedBatch] = field(default_factory=list)
    reconciled: list[ReconciledBatch] = field(default_factory=list)


_Waiting = deque[tuple[_Filling, KeyBits]]


def gather(recipe: Recipe, playbook: Playbook, plan: GroupPlan) -> Conversation[GatheredGroup]:
    """Sift, disclose and reconcile until the group is complete; tell how far it has come.

    Parameters
    ----------
    recipe : Recipe
        Shared parameters.
    playbook : Playbook
        Our halves.
    plan : GroupPlan
        Where the group starts.

    Returns
    -------
    GatheredGroup
        Its blocks.
    """
    yield from persist(OpenBlock(plan.first_block))
    working_qber, protocol = plan.working_qber, recipe.protocol
    progress = GroupProgress.opened(recipe, plan.frames.first_slot, plan.first_frame, plan.most_blocks)
    blocks = [_Filling(plan.first_block, BlockSteps(plan.first_block, protocol))]
    waiting: _Waiting = deque()
    is_open = True
    while is_open:
        sifted = yield from playbook.sift(recipe, progress)
        for batch in (yield from playbook.disclose(sifted, protocol)):
            block = blocks[-1]
            block.sifted.append(batch)
            waiting.append((block, batch.key))
            yield from tell(block.steps.sifted(batch))
            disclosed = errors_by_basis(batch.table, protocol)
            for tested, errors in (disclosed[basis] for basis in recipe.telling_bases):
                working_qber = working_qber.seen(errors, tested)
            progress = progress.after(recipe, batch.count_frames, batch.count_detections, closes_block=batch.closes_block)
            is_open = not batch.closes_group
            if batch.closes_block and is_open:
                blocks.append(_Filling(block.number + 1, BlockSteps(block.number + 1, protocol)))
        if not is_open:
            if blocks[-1].number > plan.first_block:
                yield from persist(OpenBlock(blocks[-1].number))  # before the next group opens its own
            count_bits = sum(batch.key.bits.count for block in blocks for batch in block.sifted)
            yield from tell(GroupSifted(blocks[-1].number + 1, progress.next_frame, count_bits, sifted[-1].ends_stream))
        while (count_waiting := _count_bits(waiting)) and (not is_open or count_waiting >= max(BATCH_KEY_BITS.values())):
            choice = yield from playbook.choose(recipe, working_qber.ratio)
            yield from tell(choice)
            parts = yield from compute(_next_batch, waiting, BATCH_KEY_BITS[choice.method])
            batches = yield from playbook.reconcile[choice.method](recipe, choice.working_qber, [key for _, key in parts])
            for (block, key), reconciled in zip(parts, batches, strict=True):
                for step in block.steps.reconciled(key, reconciled):
                    yield from tell(step)
                block.reconciled.append(dataclasses.replace(reconciled, right=None, differed=None))
                working_qber = working_qber.seen(sum(reconciled.corrected), reconciled.key.bits.count)
    return GatheredGroup((yield from compute(_all_closed, recipe, blocks)), working_qber)


def _count_bits(waiting: _Waiting) -> int:
    return sum(key.bits.count for _, key in waiting)


def _next_batch(waiting: _Waiting, room: int) -> list[tuple[_Filling, KeyBits]]:
    """Take ``room`` bits out of those that wait, in order, joined for each block; blocks without bits are left out."""
    taken: list[tuple[_Filling, list[KeyBits]]] = []
    while waiting and room:
        block, key = waiting.popleft()
        if key.bits.count > room:
            waiting.appendleft((block, key.slice(room, key.bits.count)))
            key = key.slice(0, room)
        room -= key.bits.count
        if not taken or taken[-1][0] is not block:
            taken.append((block, []))
        taken[-1][1].append(key)
    joined = [(block, KeyBits.joined(parts)) for block, parts in taken]
    return [(block, key) for block, key in joined if key.bits.count]


def _all_closed(recipe: Recipe, blocks: list[_Filling]) -> list[ClosedBlock | Discarded]:
    return [_closed(recipe, block) for block in blocks]


def _closed(recipe: Recipe, block: _Filling) -> ClosedBlock | Discarded:
    """Add up a block's batches."""
    batches, sifted = block.reconciled, block.sifted
    key = KeyBits.joined([batch.key for batch in batches])
    table = added_tables([batch.table for batch in sifted])
    kept, tested = key.per_basis, errors_by_basis(table, recipe.protocol)
    z, x = (
        BasisCounts(
            key=sum(batch.count_key[basis] for batch in batches), kept=kept[basis], tested=tested[basis][0], errors=tested[basis][1]
        )
        for basis in (0, 1)
    )
    frames = sum(batch.count_frames for batch in sifted)
    watched = [batch.watched for batch in sifted if batch.watched is not None]
    leakage = Leakage()
    for batch in batches:
        leakage = leakage.merged(batch.leakage)
    closed = ClosedBlock(
        number=block.number,
        key=key,
        counts=BlockCounts(
            pulses=frames * recipe.frame_pulses,
            frames=frames,
            detections=sum(batch.count_detections for batch in sifted),
            cross_clicks=sum(batch.count_cross_clicks for batch in sifted),
            z=z,
            x=x,
            table=table,
            key_by_intensity=tuple(sum(counts) for counts in zip(*(batch.key_by_intensity for batch in sifted), strict=True)),
        ),
        corrected=(sum(batch.corrected[0] for batch in batches), sum(batch.corrected[1] for batch in batches)),
        count_segments=sum(batch.count_segments for batch in batches),
        count_failed=sum(batch.count_failed for batch in batches),
        leakage=leakage,
        ends_stream=sifted[-1].ends_stream,
        watched=reduce(ReceiverCounts.added, watched) if watched else None,
    )
    if key.bits.count:
        return closed
    return Discarded(closed, AbortReason.NO_CLICKS if not batches else AbortReason.RECONCILIATION_FAILED)
