"""A group of blocks from reconciled bits to committed key: the same sequence at both ends.

Groups are concluded one at a time and in order: masks, hash keys and stores depend on it. Blocks that make no key leave their group on the
way, and the rest goes on. An expected end of a whole group (``BlockAborted``) is caught here and nowhere else.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from common.channel.messages import Abort
from common.conversation.effects import Conversation, persist, send
from common.conversation.operations import DistrustHashKey, Settle
from common.distillation.gathering import GatheredGroup
from common.distillation.playbook import Playbook
from common.distillation.recipe import Recipe
from common.distillation.values import BlockOutcome, ClosedBlock, Discarded, KeyBits, SizedBlock, parted
from common.errors import AbortReason, AuthenticationError, BlockAborted, KeyStoreError
from common.security.key_length import KeyLength


@dataclass(frozen=True, slots=True)
class ConclusionPlan:
    """What the conclusion of a group starts from.

    Attributes
    ----------
    mask_index : int
        The mask pair it will use if it makes key.
    count_masks : int
        Mask pairs there are.
    hash_key : int
        Number of the session's transcript hash key.
    settlement : Settle | None
        What the greeting left to settle.
    """

    mask_index: int
    count_masks: int
    hash_key: int
    settlement: Settle | None


@dataclass(frozen=True, slots=True, eq=False)
class GroupResult:
    """How the blocks of a group ended.

    Attributes
    ----------
    outcomes : list[BlockOutcome]
        In order of their numbers.
    took_mask : bool
        Whether the group's mask pair may have been taken.
    committed : bool
        Whether keys were committed, and the settlement with them.
    """

    outcomes: list[BlockOutcome]
    took_mask: bool
    committed: bool


def conclude(recipe: Recipe, playbook: Playbook, plan: ConclusionPlan, group: GatheredGroup) -> Conversation[GroupResult]:
    """Ask the monitors about the blocks of a group, verify them, agree on their lengths, amplify and commit.

    Parameters
    ----------
    recipe : Recipe
        Shared parameters.
    playbook : Playbook
        Our halves.
    plan : ConclusionPlan
        Masks and hash key.
    group : GatheredGroup
        Reconciled blocks.

    Returns
    -------
    GroupResult
        Also where no block made key.

    Raises
    ------
    AuthenticationError
        If the peer's transcript tag is wrong, or the peer found ours so; the hash key is never used again, the session ends.
    BlockAborted
        Never: it is raised and caught here, where no mask is left.
    """
    closed, discarded = parted(group.blocks)
    sized: list[SizedBlock] = []
    authenticated_bytes, reason = 0, None
    try:
        if closed and recipe.is_monitored:
            closed, lost = parted((yield from playbook.monitor(closed)))
            discarded += lost
        if closed:
            closed, lost = parted((yield from playbook.verify(closed)))
            discarded += lost
        if closed:
            sized, lost = parted((yield from playbook.agree_length(recipe, closed)))
            discarded += lost
        if sized:
            if plan.mask_index >= plan.count_masks:  # before anything is staged or marked as used
                raise BlockAborted(AbortReason.MASKS_EXHAUSTED)
            secrets = yield from playbook.amplify(sized)
            authenticated_bytes = yield from playbook.commit(secrets, plan.mask_index, plan.settlement)
    except BlockAborted as aborted:
        if aborted.reason is AbortReason.AUTHENTICATION_FAILED:  # only the peer says so: what is wrong here is raised as such
            refused = AuthenticationError("the peer found a transcript tag wrong: a message of this block was not what we had sent")
            yield from _distrust(plan.hash_key, refused)
            raise refused from None
        reason = aborted.reason
        if reason is not AbortReason.PEER_ABORTED:
            yield from send(Abort(int(reason)))
    except AuthenticationError as wrong:
        yield from _distrust(plan.hash_key, wrong)  # first of all: nobody may learn of it while the hash key could still be used
        yield from send(Abort(int(AbortReason.AUTHENTICATION_FAILED)))
        raise
    if reason is not None:
        lengths = {ended.block.number: ended.length for ended in sized}
        lost = [Discarded(block, reason, lengths.get(block.number)) for block in closed]
        discarded, committed = [*discarded, *lost], []
    else:
        committed = sized
    outcomes = [_outcome(ended.block, ended.length, None, authenticated_bytes) for ended in committed]
    outcomes += [_outcome(ended.block, ended.length, ended.reason, 0) for ended in discarded]
    outcomes.sort(key=lambda outcome: outcome.number)
    return GroupResult(outcomes, took_mask=bool(sized), committed=bool(committed))


def _outcome(block: ClosedBlock, length: KeyLength | None, reason: AbortReason | None, authenticated_bytes: int) -> BlockOutcome:
    # A session keeps its outcomes: reconciled bits among them would outlive the key they make, and fill the memory.
    counted = dataclasses.replace(block, key=KeyBits.joined([]))
    secret_bits = length.secret_bits if length and reason is None else 0
    return BlockOutcome(
        block.number, secret_bits, reason, counted, length, block.leakage, authenticated_bytes, ends_stream=block.ends_stream
    )


def _distrust(hash_key: int, wrong: AuthenticationError) -> Conversation[None]:
    """Give up the hash key; a store that cannot write does not turn the alarm into a mere fault of the disk."""
    try:
        yield from persist(DistrustHashKey(hash_key))
    except KeyStoreError as lost:
        raise wrong from lost
