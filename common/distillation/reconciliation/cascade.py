"""Reconciliation by Cascade in lock-step: many short rounds, each about all segments of a batch at once.

The reference half sends the parities that are due; the correcting half answers one bit for each, whether its own
differs. Both halves advance the same search by these answers (``common.kernels.cascade_search``), so nothing else
needs to be said. The reference half's parities are charged; the answers only where the proof does not give an
eavesdropper the whole error pattern anyway (``docs/explanation/finite-key``).

References
----------
[Brassard1994]; two-way reconciliation and what it leaks: [Tupkary2023]; status: rigorous with a proof that allows it.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha256
from math import log2

import numpy as np
from numpy.typing import NDArray

from common.bits import Bits, count_bytes
from common.channel.messages import ParityQuery, ParityReply
from common.conversation.effects import Conversation, compute, receive, send
from common.distillation.recipe import Recipe
from common.distillation.reconciliation.segments import TAG_BITS, Segments, charge_answers, check_tags, send_tags
from common.distillation.values import KeyBits, ReconciledBatch
from common.errors import RemoteProtocolError
from common.expander import Expander, permutation
from common.kernels.cascade_search import DEFAULT_COUNT_MASKS, DEFAULT_SEGMENT_BITS, CascadePlan, CascadeSearch, block_sizes
from common.leakage import Leakage
from common.security.entropy import binary_entropy

PUBLIC_KEY = sha256(b"qkdlink cascade permutations, version 1").digest()
"""Key of the expander that fixes permutations and masks: public, the same everywhere, chosen by nobody."""

MOST_ROUNDS = 2000
"""Rounds after which the peer is taken to be broken; an honest batch takes one to three hundred."""

SMALLEST_SEGMENT_BITS = 1024
"""Shortest segment considered when a batch is cut."""

_PADDING_SHARE = 0.3
"""What padding costs beside key bits: the parities of later passes, which mix both (share of the whole leakage, about)."""


def answer_parities(recipe: Recipe, working_qber: float, key: KeyBits) -> Conversation[ReconciledBatch]:
    """Be the reference: send parities until every search has ended.

    Parameters
    ----------
    recipe : Recipe
        Longest segment.
    working_qber : float
        Expected QBER, the same at both ends.
    key : KeyBits
        Our bits of the batch.

    Returns
    -------
    ReconciledBatch
        Our bits without the segments that failed.

    Raises
    ------
    RemoteProtocolError
        If an answer does not fit the question, or the rounds never end.
    """
    segments, plan = _planned(recipe, working_qber, key)
    search = yield from compute(CascadeSearch, plan, _packed(segments, plan))
    while not search.finished:
        count = _bounded(search)
        parities = yield from compute(search.parities)
        yield from send(ParityReply(count, _to_bytes(parities, count)))
        said = yield from receive(ParityQuery)
        yield from compute(search.advance, _from_bytes(said.differs, said.count_bits, count))
    return (yield from send_tags(recipe, segments, _charged(recipe, search, segments, plan)))


def search_errors(recipe: Recipe, working_qber: float, key: KeyBits) -> Conversation[ReconciledBatch]:
    """Correct our bits towards the reference; the other half of ``answer_parities``.

    Parameters
    ----------
    recipe : Recipe
        Longest segment.
    working_qber : float
        Expected QBER, the same at both ends.
    key : KeyBits
        Our bits of the batch.

    Returns
    -------
    ReconciledBatch
        Our corrected bits without the segments that failed.

    Raises
    ------
    RemoteProtocolError
        If a message does not fit the segments.
    """
    segments, plan = _planned(recipe, working_qber, key)
    search = yield from compute(CascadeSearch, plan, _packed(segments, plan))
    while not search.finished:
        count = _bounded(search)
        said = yield from receive(ParityReply)
        differs, corrections = yield from compute(_compared, search, _from_bytes(said.parities, said.count_bits, count))
        yield from send(ParityQuery(count, _to_bytes(differs, count)))
        yield from compute(search.correct, corrections)
    flags = np.unpackbits(search.segments().view(np.uint8), axis=1, bitorder="little")[:, : segments.segment_bits]
    gave_up = np.zeros(segments.count_segments, np.bool_)
    return (yield from check_tags(recipe, segments, flags, gave_up, _charged(recipe, search, segments, plan)))


def _compared(search: CascadeSearch, parities: NDArray[np.uint64]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    differs = search.differences(parities)
    return differs, search.advance(differs)


def _bounded(search: CascadeSearch) -> int:
    if search.count_rounds >= MOST_ROUNDS:
        raise RemoteProtocolError(f"Cascade has not ended after {MOST_ROUNDS} rounds")
    return search.count_asked


def _planned(recipe: Recipe, working_qber: float, key: KeyBits) -> tuple[Segments, CascadePlan]:
    """Choose segment length and plan from what both ends know."""
    lengths = [1 << exponent for exponent in range(SMALLEST_SEGMENT_BITS.bit_length() - 1, DEFAULT_SEGMENT_BITS.bit_length())]
    allowed = [length for length in lengths if length <= recipe.segment_bits] or lengths[:1]
    segment_bits = min(allowed, key=lambda length: _overhead(length, working_qber, key.bits.count))
    return Segments.cut(key, segment_bits), _plan(segment_bits, tuple(block_sizes(working_qber, segment_bits)))


def _overhead(segment_bits: int, working_qber: float, count_bits: int) -> float:
    """Estimate what padding, masks and tags of segments of this length add, bits."""
    count_segments = max(1, -(-count_bits // segment_bits))
    padding = count_segments * segment_bits - count_bits
    return count_segments * (DEFAULT_COUNT_MASKS + TAG_BITS + log2(segment_bits)) + _PADDING_SHARE * padding * binary_entropy(working_qber)


@lru_cache(maxsize=16)
def _plan(segment_bits: int, blocks: tuple[int, ...]) -> CascadePlan:
    permutations = [permutation(PUBLIC_KEY, f"cascade {segment_bits} pass {number}", segment_bits) for number in range(1, len(blocks))]
    words = Expander(PUBLIC_KEY, f"cascade {segment_bits} masks").words_at(0, DEFAULT_COUNT_MASKS * segment_bits // 64)
    return CascadePlan.build(segment_bits, blocks, permutations, words.reshape(DEFAULT_COUNT_MASKS, -1))


def _packed(segments: Segments, plan: CascadePlan) -> NDArray[np.uint64]:
    """Pad every segment with zeros to the length of the plan and pack it."""
    packed = np.zeros((segments.count_segments, plan.segment_bits // 8), np.uint8)
    packed[:, : count_bytes(segments.segment_bits)] = np.packbits(segments.rows(), axis=1, bitorder="little")
    return packed.view(np.uint64)


def _charged(recipe: Recipe, search: CascadeSearch, segments: Segments, plan: CascadePlan) -> Leakage:
    """Charge every parity but those of the first pass that cover nothing except padding: both ends knew them before."""
    known = segments.count_segments * ((plan.segment_bits - segments.segment_bits) // plan.block_bits[0])
    count_parities = search.count_parities - known
    return charge_answers(recipe, Leakage().charged("parities", count_parities), count_parities)


def _to_bytes(words: NDArray[np.uint64], count: int) -> bytes:
    return words.tobytes()[: count_bytes(count)]


def _from_bytes(data: bytes, count: int, expected: int) -> NDArray[np.uint64]:
    if count != expected:
        raise RemoteProtocolError(f"{count} parities or answers, expected {expected}")
    return Bits.from_bytes(data, count).words
