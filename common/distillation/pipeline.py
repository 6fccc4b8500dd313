"""A block from its first announcement to committed key: the same sequence at both ends.

Which half of each step an end plays stands in its ``Playbook``. An expected end of a block (``BlockAborted``) is
caught here and nowhere else.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

from common.blocks import BasisCounts, BlockCounts
from common.channel.messages import Abort
from common.conversation.effects import Conversation, persist, send, tell
from common.conversation.operations import DistrustHashKey, OpenBlock, Settle
from common.distillation.amplification import NoProvableKeyError
from common.distillation.disclosure import added_tables, errors_by_basis
from common.distillation.recipe import BATCH_KEY_BITS, Recipe
from common.distillation.reconciliation.methods import ReconcilingHalf
from common.distillation.sifting import BlockProgress
from common.distillation.steps import BlockSteps
from common.distillation.synchronisation import Frames
from common.distillation.values import BlockOutcome, ClosedBlock, KeyBits, ReconciledBatch, SecretBlock, SiftedBatch
from common.errors import AbortReason, AuthenticationError, BlockAborted, KeyStoreError
from common.leakage import Leakage
from common.protocols.protocol import Protocol
from common.security.key_length import KeyLength

QBER_PRIOR_ERRORS = 4.0
"""Weight of the initial QBER in the working QBER, counted in errors."""


@dataclass(frozen=True, slots=True)
class Playbook:
    """The halves one end plays.

    Attributes
    ----------
    synchronise, sift, disclose, reconcile, verify, agree_length, amplify, commit : callable
        One half of each step, in order.
    """

    synchronise: Callable[[Recipe], Conversation[Frames]]
    sift: Callable[[Recipe, BlockProgress], Conversation[SiftedBatch]]
    disclose: Callable[[SiftedBatch, Protocol], Conversation[SiftedBatch]]
    reconcile: ReconcilingHalf
    verify: Callable[[ClosedBlock], Conversation[ClosedBlock]]
    agree_length: Callable[[Recipe, ClosedBlock], Conversation[KeyLength]]
    amplify: Callable[[ClosedBlock, KeyLength], Conversation[SecretBlock]]
    commit: Callable[[SecretBlock, int, Settle | None], Conversation[int]]


@dataclass(frozen=True, slots=True)
class WorkingQber:
    """The QBER that reconciliation is prepared for, from public counts only; the same at both ends.

    Attributes
    ----------
    errors, bits : float
        Errors and bits seen so far, the prior included.
    """

    errors: float
    bits: float

    @classmethod
    def initial(cls, recipe: Recipe) -> WorkingQber:
        """Begin with the profile's value, worth a few errors."""
        return cls(QBER_PRIOR_ERRORS, QBER_PRIOR_ERRORS / recipe.initial_qber)

    def seen(self, errors: int, bits: int) -> WorkingQber:
        """Add counts."""
        return WorkingQber(self.errors + errors, self.bits + bits)

    def forgetting(self, most_bits: float = 1e6) -> WorkingQber:
        """Scale old counts down so that a drift is followed."""
        scale = min(1.0, most_bits / self.bits)
        return WorkingQber(self.errors * scale, self.bits * scale)

    @property
    def ratio(self) -> float:
        """Errors per bit, kept away from 0 and 1/2."""
        return min(0.25, max(1e-4, self.errors / self.bits))


@dataclass(frozen=True, slots=True)
class BlockPlan:
    """What a block starts from.

    Attributes
    ----------
    number, first_frame, mask_index : int
        Block number, first frame, and the mask pair it will use if it makes key.
    count_masks : int
        Mask pairs there are.
    hash_key : int
        Number of the session's transcript hash key.
    frames : Frames
        Matched slots.
    working_qber : WorkingQber
        From earlier blocks.
    settlement : Settle | None
        What the greeting left to settle.
    """

    number: int
    first_frame: int
    mask_index: int
    count_masks: int
    hash_key: int
    frames: Frames
    working_qber: WorkingQber
    settlement: Settle | None


@dataclass(frozen=True, slots=True, eq=False)
class BlockResult:
    """How a block ended and what the next one starts from.

    Attributes
    ----------
    outcome : BlockOutcome
        For the report.
    next_frame : int
        First frame behind the block.
    working_qber : WorkingQber
        With this block's counts.
    """

    outcome: BlockOutcome
    next_frame: int
    working_qber: WorkingQber


@dataclass(slots=True, eq=False)
class _Gathered:
    """What a block has gathered while it fills; owned by one conversation."""

    sifted: list[SiftedBatch]
    reconciled: list[ReconciledBatch]
    progress: BlockProgress
    working_qber: WorkingQber
    closed: ClosedBlock | None = None
    length: KeyLength | None = None


def distil_block(recipe: Recipe, playbook: Playbook, plan: BlockPlan) -> Conversation[BlockResult]:
    """Distil one block.

    Parameters
    ----------
    recipe : Recipe
        Shared parameters.
    playbook : Playbook
        Our halves.
    plan : BlockPlan
        Where the block starts.

    Returns
    -------
    BlockResult
        Also where the block made no key.

    Raises
    ------
    AuthenticationError
        If the peer's transcript tag is wrong, or the peer found ours so; the hash key is never used again, the session ends.
    """
    yield from persist(OpenBlock(plan.number))
    gathered = _Gathered([], [], BlockProgress.opened(recipe, plan.frames.first_slot, plan.first_frame), plan.working_qber)
    secret_bits, reason, leakage, authenticated_bytes = 0, None, Leakage(), 0
    try:
        yield from _fill(recipe, playbook, gathered, BlockSteps(plan.number, recipe.protocol))
        gathered.closed = _closed(recipe, plan.number, gathered)
        gathered.closed = yield from playbook.verify(gathered.closed)
        leakage = gathered.closed.leakage
        gathered.length = yield from playbook.agree_length(recipe, gathered.closed)
        _need_mask(plan, leakage)
        secret = yield from playbook.amplify(gathered.closed, gathered.length)
        authenticated_bytes = yield from playbook.commit(secret, plan.mask_index, plan.settlement)
        secret_bits = gathered.length.secret_bits
    except NoProvableKeyError as without:
        gathered.length, reason = without.length, without.reason
    except BlockAborted as aborted:
        if aborted.reason is AbortReason.AUTHENTICATION_FAILED:  # only the peer says so: what is wrong here is raised as such
            refused = AuthenticationError("the peer found a transcript tag wrong: a message of this block was not what we had sent")
            yield from _distrust(plan.hash_key, refused)
            raise refused from None
        reason = aborted.reason
        leakage = aborted.leakage or leakage
        if reason is not AbortReason.PEER_ABORTED:
            yield from send(Abort(int(reason)))
    except AuthenticationError as wrong:
        yield from _distrust(plan.hash_key, wrong)  # first of all: nobody may learn of it while the hash key could still be used
        yield from send(Abort(int(AbortReason.AUTHENTICATION_FAILED)))
        raise
    ends_stream = bool(gathered.sifted) and gathered.sifted[-1].ends_stream
    # A session keeps its outcomes: reconciled bits among them would outlive the key they make, and fill the memory.
    counted = dataclasses.replace(gathered.closed, key=KeyBits.joined([])) if gathered.closed else None
    outcome = BlockOutcome(
        plan.number, secret_bits, reason, counted, gathered.length, leakage, authenticated_bytes, ends_stream=ends_stream
    )
    return BlockResult(outcome, gathered.progress.next_frame, gathered.working_qber.forgetting())


def _distrust(hash_key: int, wrong: AuthenticationError) -> Conversation[None]:
    """Give up the hash key; a store that cannot write does not turn the alarm into a mere fault of the disk."""
    try:
        yield from persist(DistrustHashKey(hash_key))
    except KeyStoreError as lost:
        raise wrong from lost


def _need_mask(plan: BlockPlan, leakage: Leakage) -> None:
    """Give the block up before anything is staged or marked as used where no mask is left for its tags."""
    if plan.mask_index >= plan.count_masks:
        raise BlockAborted(AbortReason.MASKS_EXHAUSTED, leakage)


def _fill(recipe: Recipe, playbook: Playbook, gathered: _Gathered, steps: BlockSteps) -> Conversation[None]:
    """Sift, disclose and reconcile batch after batch until the block closes; tell how far it has come."""
    waiting: list[KeyBits] = []
    closes = False
    while not closes:
        sifted = yield from playbook.sift(recipe, gathered.progress)
        gathered.progress = gathered.progress.after(sifted)
        sifted = yield from playbook.disclose(sifted, recipe.protocol)
        gathered.sifted.append(sifted)
        yield from tell(steps.sifted(sifted))
        closes = sifted.closes_block
        for tested, errors in errors_by_basis(sifted.table, recipe.protocol):
            gathered.working_qber = gathered.working_qber.seen(errors, tested)
        waiting.append(sifted.key)
        count_waiting = sum(part.bits.count for part in waiting)
        while count_waiting >= BATCH_KEY_BITS or (closes and count_waiting):
            whole = KeyBits.joined(waiting)
            count = min(count_waiting, BATCH_KEY_BITS)
            part = whole.slice(0, count)
            batch = yield from playbook.reconcile(recipe, gathered.working_qber.ratio, part)
            for step in steps.reconciled(part, batch):
                yield from tell(step)
            gathered.reconciled.append(dataclasses.replace(batch, right=None, differed=None))
            gathered.working_qber = gathered.working_qber.seen(sum(batch.corrected), batch.key.bits.count)
            waiting = [whole.slice(count, count_waiting)]
            count_waiting -= count


def _closed(recipe: Recipe, number: int, gathered: _Gathered) -> ClosedBlock:
    """Add up a block's batches."""
    batches, sifted = gathered.reconciled, gathered.sifted
    key = KeyBits.joined([batch.key for batch in batches])
    table = added_tables([batch.table for batch in sifted])
    kept, tested = key.per_basis, errors_by_basis(table, recipe.protocol)
    bases = [
        BasisCounts(
            key=sum(batch.count_key[basis] for batch in batches), kept=kept[basis], tested=tested[basis][0], errors=tested[basis][1]
        )
        for basis in (0, 1)
    ]
    frames = sum(batch.count_frames for batch in sifted)
    leakage = Leakage()
    for batch in batches:
        leakage = leakage.merged(batch.leakage)
    closed = ClosedBlock(
        number=number,
        key=key,
        counts=BlockCounts(
            pulses=frames * recipe.frame_pulses,
            frames=frames,
            detections=sum(batch.count_detections for batch in sifted),
            cross_clicks=sum(batch.count_cross_clicks for batch in sifted),
            z=bases[0],
            x=bases[1],
            table=table,
        ),
        corrected=(sum(batch.corrected[0] for batch in batches), sum(batch.corrected[1] for batch in batches)),
        count_segments=sum(batch.count_segments for batch in batches),
        count_failed=sum(batch.count_failed for batch in batches),
        leakage=leakage,
    )
    if not key.bits.count:
        gathered.closed = closed
        raise BlockAborted(AbortReason.NO_CLICKS if not batches else AbortReason.RECONCILIATION_FAILED, leakage)
    return closed
