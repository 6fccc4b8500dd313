"""What an end plays: one half of every step, in order. ``alice.playbook`` and ``bob.playbook`` choose; nothing else asks who is who."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from common.conversation.effects import Conversation
from common.conversation.operations import Settle
from common.distillation.recipe import Recipe
from common.distillation.reconciliation.choice import Choice
from common.distillation.reconciliation.methods import ReconcilingHalf
from common.distillation.sifting import GroupProgress
from common.distillation.synchronisation import Frames
from common.distillation.values import ClosedBlock, Discarded, SecretBlock, SiftedBatch, SizedBlock
from common.protocols.protocol import Protocol


@dataclass(frozen=True, slots=True)
class Playbook:
    """The halves one end plays.

    Attributes
    ----------
    synchronise, sift, disclose, choose, reconcile, monitor, verify, agree_length, amplify, commit : callable
        One half of each step, in order; of ``reconcile`` one for each method.
    """

    synchronise: Callable[[Recipe], Conversation[Frames]]
    sift: Callable[[Recipe, GroupProgress], Conversation[list[SiftedBatch]]]
    disclose: Callable[[list[SiftedBatch], Protocol], Conversation[list[SiftedBatch]]]
    choose: Callable[[Recipe, float], Conversation[Choice]]
    reconcile: Mapping[str, ReconcilingHalf]
    monitor: Callable[[list[ClosedBlock]], Conversation[list[ClosedBlock | Discarded]]]
    verify: Callable[[list[ClosedBlock]], Conversation[list[ClosedBlock | Discarded]]]
    agree_length: Callable[[Recipe, list[ClosedBlock]], Conversation[list[SizedBlock | Discarded]]]
    amplify: Callable[[list[SizedBlock]], Conversation[list[SecretBlock]]]
    commit: Callable[[list[SecretBlock], int, Settle | None], Conversation[int]]
