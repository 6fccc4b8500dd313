"""The methods of reconciliation by name: a half that is the reference and a half that corrects."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from common.conversation.effects import Conversation
from common.distillation.recipe import Recipe
from common.distillation.reconciliation.cascade import answer_parities, search_errors
from common.distillation.reconciliation.ldpc import correct_by_syndromes, send_syndromes
from common.distillation.values import KeyBits, ReconciledBatch

ReconcilingHalf = Callable[[Recipe, float, list[KeyBits]], Conversation[list[ReconciledBatch]]]
"""``half(recipe, working_qber, keys)``: the bits of several blocks, reconciled side by side."""


@dataclass(frozen=True, slots=True)
class Method:
    """Two halves that belong together.

    Attributes
    ----------
    reference, correcting : callable
        ``half(recipe, working_qber, keys)``.
    """

    reference: ReconcilingHalf
    correcting: ReconcilingHalf


METHODS = {
    "cascade": Method(answer_parities, search_errors),
    "ldpc": Method(send_syndromes, correct_by_syndromes),
}
"""By the name in the link profile."""
