"""Reconciliation by Cascade in rounds: many short messages, each about all segments of a batch at once.

The reference half sends the parities that are due; the correcting half answers one bit for each, whether its own
differs. Both halves advance the same search by these answers (``common.kernels.cascade_search``), so nothing else
needs to be said. The reference half's parities are charged; the answers only where the proof does not give an
eavesdropper the whole error pattern anyway (``docs/explanation/finite-key``).

References
----------
[Brassard1994]; two-way reconciliation and what it leaks: [Tupkary2023]; status: rigorous with a proof that allows it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from hashlib import sha256
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from common.bits import Bits, count_bytes
from common.channel.messages import ParityQuery, ParityReply
from common.conversation.effects import Conversation, compute, receive, send
from common.distillation.recipe import Recipe
from common.distillation.reconciliation.segments import Segments, charge_answers, check_tags, send_tags
from common.distillation.values import KeyBits, ReconciledBatch
from common.errors import RemoteProtocolError
from common.expander import Expander, permutation
from common.kernels.bit_mixing import ROUNDS, WORD_BITS, Mixing, count_rotations
from common.kernels.cascade_search import DEFAULT_COUNT_MASKS, DEFAULT_SEGMENT_BITS, CascadePlan, CascadeSearch, block_sizes
from common.leakage import Leakage

PUBLIC_KEY = sha256(b"qkdlink cascade permutations, version 1").digest()
"""Key of the expander that fixes permutations and masks: public, the same everywhere, chosen by nobody."""

SMALLEST_SEGMENT_BITS = 1024
"""Segments are filled up to at least so many bits."""

BRIEF_BITS = 8192
"""A round about so many bits at most is computed where the conversation runs: handing it to another thread would take longer."""

_STEP_BITS = 512
"""Segments carry a multiple of so many key bits, so that blocks of nearly the same length share a plan."""

M = TypeVar("M", ParityQuery, ParityReply)
T = TypeVar("T")


def answer_parities(recipe: Recipe, working_qber: float, keys: list[KeyBits]) -> Conversation[list[ReconciledBatch]]:
    """Be the reference: send parities until every search has ended.

    Parameters
    ----------
    recipe : Recipe
        Longest segment.
    working_qber : float
        Expected QBER, the same at both ends.
    keys : list[KeyBits]
        Our bits of each block; none is empty.

    Returns
    -------
    list[ReconciledBatch]
        Our bits of each block without the segments that failed.

    Raises
    ------
    RemoteProtocolError
        If an answer does not fit the question.
    """
    blocks, plan = yield from compute(_planned, recipe, working_qber, keys)
    search, parities = yield from compute(_opened, plan, blocks)
    while not search.finished:
        yield from send(ParityReply(search.count_asked, parities))
        said = yield from receive(ParityQuery)
        parities = yield from _round(_next_parities, search, said)
    return (yield from send_tags(recipe, blocks, _charged(recipe, search, blocks)))


def search_errors(recipe: Recipe, working_qber: float, keys: list[KeyBits]) -> Conversation[list[ReconciledBatch]]:
    """Correct our bits towards the reference; the other half of ``answer_parities``.

    Parameters
    ----------
    recipe : Recipe
        Longest segment.
    working_qber : float
        Expected QBER, the same at both ends.
    keys : list[KeyBits]
        Our bits of each block; none is empty.

    Returns
    -------
    list[ReconciledBatch]
        Our corrected bits of each block without the segments that failed.

    Raises
    ------
    RemoteProtocolError
        If a message does not fit the segments.
    """
    blocks, plan = yield from compute(_planned, recipe, working_qber, keys)
    search, _ = yield from compute(_opened, plan, blocks)
    while not search.finished:
        count = search.count_asked
        said = yield from receive(ParityReply)
        differs = yield from _round(_compared, search, said)
        yield from send(ParityQuery(count, differs))
    corrected = yield from compute(_corrected, search, blocks)
    gave_up = np.zeros(search.asked.size, np.bool_)
    return (yield from check_tags(recipe, blocks, corrected, gave_up, _charged(recipe, search, blocks)))


def _round(function: Callable[[CascadeSearch, M], T], search: CascadeSearch, said: M) -> Conversation[T]:
    """Compute a round, beside the conversation unless it is brief; the first one as well, which may have to compile its kernels."""
    if search.count_rounds and search.count_asked <= BRIEF_BITS:
        return function(search, said)
    return (yield from compute(function, search, said))


def _opened(plan: CascadePlan, blocks: list[Segments]) -> tuple[CascadeSearch, bytes]:
    """Begin the search, and compute the first parities."""
    rows = np.zeros((sum(cut.count_segments for cut in blocks), plan.segment_bits // 64), np.uint64)
    first = 0
    for cut in blocks:
        packed = cut.packed(cut.key.bits)
        rows[first : first + cut.count_segments, : packed.shape[1]] = packed
        first += cut.count_segments
    search = CascadeSearch(plan, rows)
    return search, _to_bytes(search.parities(), search.count_asked)


def _next_parities(search: CascadeSearch, said: ParityQuery) -> bytes:
    search.advance(_from_bytes(said.differs, said.count_bits, search.count_asked))
    return _to_bytes(search.parities(), search.count_asked)


def _compared(search: CascadeSearch, said: ParityReply) -> bytes:
    count = search.count_asked
    differs = search.differences(_from_bytes(said.parities, said.count_bits, count))
    search.correct(search.advance(differs))
    return _to_bytes(differs, count)


def _corrected(search: CascadeSearch, blocks: list[Segments]) -> list[Bits]:
    """Join the segments of each block again."""
    rows, first, joined = search.segments(), 0, []
    for cut in blocks:
        words = rows[first : first + cut.count_segments, : cut.segment_bits // 64].reshape(-1)
        joined.append(Bits.masked(words[: cut.key.bits.words.size].copy(), cut.key.bits.count))  # a lying peer may have changed the filling
        first += cut.count_segments
    return joined


def _planned(recipe: Recipe, working_qber: float, keys: list[KeyBits]) -> tuple[list[Segments], CascadePlan]:
    """Choose segment length and plan from what both ends know: as few segments as hold each block, all of one length."""
    most = max(_STEP_BITS, min(recipe.segment_bits, DEFAULT_SEGMENT_BITS) // _STEP_BITS * _STEP_BITS)
    wanted = max(-(-key.bits.count // -(-key.bits.count // most)) for key in keys)
    key_bits = -(-wanted // _STEP_BITS) * _STEP_BITS
    blocks = [Segments(key, -(-key.bits.count // key_bits), key_bits) for key in keys]
    segment_bits = max(SMALLEST_SEGMENT_BITS, 1 << (key_bits - 1).bit_length())
    return blocks, pinned_plan(segment_bits, key_bits, tuple(block_sizes(working_qber, segment_bits)))


@lru_cache(maxsize=32)
def pinned_plan(segment_bits: int, key_bits: int, blocks: tuple[int, ...]) -> CascadePlan:
    """Build the plan that every link uses.

    Parameters
    ----------
    segment_bits, key_bits : int
        Bits of a segment, and how many of them carry key.
    blocks : tuple[int, ...]
        Block size of each pass.

    Returns
    -------
    CascadePlan
        Its shuffles and masks come from the pinned expander.
    """
    labels = [f"cascade {segment_bits} pass {number}" for number in range(1, len(blocks))]
    if key_bits >= WORD_BITS * WORD_BITS:
        shuffles: list[NDArray[Any] | Mixing] = [pinned_mixing(label, key_bits) for label in labels]
    else:
        shuffles = [permutation(PUBLIC_KEY, label, segment_bits) for label in labels]
    words = Expander(PUBLIC_KEY, f"cascade {segment_bits} masks").words_at(0, DEFAULT_COUNT_MASKS * segment_bits // 64)
    return CascadePlan.build(segment_bits, blocks, shuffles, words.reshape(DEFAULT_COUNT_MASKS, -1), key_bits)


def pinned_mixing(label: str, key_bits: int) -> Mixing:
    """Draw a shuffle of whole words.

    Parameters
    ----------
    label : str
        Names it; another label is another shuffle.
    key_bits : int
        Bits that are shuffled: whole words, 64 at least.

    Returns
    -------
    Mixing
        The same everywhere.
    """
    count = key_bits // WORD_BITS
    orders = [permutation(PUBLIC_KEY, f"{label} order {number} of {count}", count) for number in range(ROUNDS + 1)]
    drawn = Expander(PUBLIC_KEY, f"{label} rotations").bytes_at(0, ROUNDS * count_rotations(count))
    return Mixing(np.array(orders, np.uint16), np.frombuffer(drawn, np.uint8).reshape(ROUNDS, -1) % WORD_BITS)


def _charged(recipe: Recipe, search: CascadeSearch, blocks: list[Segments]) -> list[Leakage]:
    """Charge to each block every parity asked of its segments."""
    asked, first, charged = search.asked, 0, []
    for cut in blocks:
        count = int(asked[first : first + cut.count_segments].sum())
        charged.append(charge_answers(recipe, Leakage().charged("parities", count), count))
        first += cut.count_segments
    return charged


def _to_bytes(words: NDArray[np.uint64], count: int) -> bytes:
    return words.tobytes()[: count_bytes(count)]


def _from_bytes(data: bytes, count: int, expected: int) -> NDArray[np.uint64]:
    if count != expected:
        raise RemoteProtocolError(f"{count} parities or answers, expected {expected}")
    return Bits.from_bytes(data, count).words
