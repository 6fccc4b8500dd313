"""Reconciliation by LDPC codes: few messages, each about a whole batch of segments.

The reference half sends syndromes; the correcting half decodes and names the segments that did not; for these the
reference half reveals a blind increment, and so on until all are decoded or too much would be revealed. What lies
where in a codeword and what it costs is in ``ldpc_frames``.

References
----------
[Elkouss2010], [MartinezMateo2012]; leakage: the module text of ``ldpc_frames``; status: rigorous.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from common.bits import Bits, count_bytes
from common.channel.messages import ReconciliationOutcome, Syndrome, SyndromeIncrement
from common.conversation.effects import Conversation, compute, draw, receive, send
from common.distillation.recipe import Recipe
from common.distillation.reconciliation.codes import CODE_RATES, choose_code, codeword_lengths
from common.distillation.reconciliation.ldpc_frames import Layout, decode, encode, layout_of, reveal
from common.distillation.reconciliation.segments import Segments, charge_answers, check_tags, failed_segments, send_tags
from common.distillation.values import KeyBits, ReconciledBatch
from common.errors import RemoteProtocolError
from common.leakage import Leakage

MOST_REVEALED_SHARE = 0.1
"""A segment is given up once so much of the payload would have been revealed beyond the private bits."""


def send_syndromes(recipe: Recipe, working_qber: float, keys: list[KeyBits]) -> Conversation[list[ReconciledBatch]]:
    """Be the reference: send syndromes, and more where they do not suffice.

    Parameters
    ----------
    recipe : Recipe
        Code rate and segment length.
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
        If an answer does not fit the segments.
    """
    blocks, leakages = [], []
    for key in keys:
        segments, leakage = yield from _sent(recipe, working_qber, key)
        blocks.append(segments)
        leakages.append(leakage)
    return (yield from send_tags(recipe, blocks, leakages))


def _sent(recipe: Recipe, working_qber: float, key: KeyBits) -> Conversation[tuple[Segments, Leakage]]:
    """Send the syndromes of one block, and increments until all its segments are decoded or given up."""
    segments, layout, rows = yield from compute(_laid_out, recipe, working_qber, key)
    count = segments.count_segments
    private_bits = count * layout.count_punctured
    drawn = yield from draw(count_bytes(private_bits))
    private = np.unpackbits(np.frombuffer(drawn, np.uint8), count=private_bits, bitorder="little").reshape(count, layout.count_punctured)
    syndromes = yield from compute(encode, layout, rows, private)
    packed = Bits.from_flags(syndromes.reshape(-1)).to_bytes()
    yield from send(Syndrome(_code_index(layout), count, layout.count_payload, layout.count_punctured, packed))
    leakage = Leakage().charged("syndromes", count * layout.leakage_bits())
    for step in range(_most_steps(layout)):
        failed = failed_segments((yield from receive(ReconciliationOutcome)), count)
        leakage = charge_answers(recipe, leakage, count)
        if not failed.any():
            break
        values = reveal(layout, rows[failed], private[failed], *layout.increment(step, layout.increment_bits))
        yield from send(SyndromeIncrement(step, int(np.count_nonzero(failed)), Bits.from_flags(values.reshape(-1)).to_bytes()))
        leakage = leakage.charged("increments", values.size)
    return segments, leakage


def correct_by_syndromes(recipe: Recipe, working_qber: float, keys: list[KeyBits]) -> Conversation[list[ReconciledBatch]]:
    """Correct our bits towards the reference; the other half of ``send_syndromes``.

    Parameters
    ----------
    recipe : Recipe
        Code rate and segment length.
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
    blocks, corrected, gave_up, leakages = [], [], [], []
    for key in keys:
        segments, bits, lost, leakage = yield from _decoded(recipe, working_qber, key)
        blocks.append(segments)
        corrected.append(bits)
        gave_up.append(lost)
        leakages.append(leakage)
    return (yield from check_tags(recipe, blocks, corrected, np.concatenate(gave_up), leakages))


def _decoded(recipe: Recipe, working_qber: float, key: KeyBits) -> Conversation[tuple[Segments, Bits, NDArray[np.bool_], Leakage]]:
    """Decode one block; also return which segments were given up."""
    segments, layout, rows = yield from compute(_laid_out, recipe, working_qber, key)
    count = segments.count_segments
    said = yield from receive(Syndrome)
    agreed = (_code_index(layout), count, layout.count_payload, layout.count_punctured)
    if (said.code, said.count_segments, said.count_payload, said.count_punctured) != agreed:
        raise RemoteProtocolError("the peer laid out its segments differently: other code, length or punctured positions")
    syndromes = _matrix(said.syndromes, count, layout.count_checks)
    leakage = Leakage().charged("syndromes", count * layout.leakage_bits())
    corrected = rows.copy()
    open_segments = np.arange(count)
    revealed = np.zeros((count, 0), np.uint8)
    for step in range(_most_steps(layout) + 1):
        decoded = yield from compute(decode, layout, rows[open_segments], syndromes[open_segments], revealed, working_qber)
        corrected[open_segments] = decoded.payload
        revealed = revealed[~decoded.succeeded]
        open_segments = open_segments[~decoded.succeeded]
        if step == _most_steps(layout):
            break
        still_wrong = np.isin(np.arange(count), open_segments)
        yield from send(ReconciliationOutcome(count, Bits.from_flags(still_wrong).to_bytes(), (), ()))
        leakage = charge_answers(recipe, leakage, count)
        if not open_segments.size:
            break
        more = yield from receive(SyndromeIncrement)
        first, last = layout.increment(step, layout.increment_bits)
        if more.step != step or more.count_segments != open_segments.size:
            raise RemoteProtocolError(f"increment {more.step} of {more.count_segments} segments, expected {step} of {open_segments.size}")
        revealed = np.hstack([revealed, _matrix(more.revealed, open_segments.size, last - first)])
        leakage = leakage.charged("increments", open_segments.size * (last - first))
    gave_up = np.isin(np.arange(count), open_segments)
    return segments, Bits.from_flags(corrected.reshape(-1)[: key.bits.count]), gave_up, leakage


def _laid_out(recipe: Recipe, working_qber: float, key: KeyBits) -> tuple[Segments, Layout, NDArray[np.uint8]]:
    """Choose code and layout from what both ends know, and lay the bits out; nothing for an event loop, a million of them take a while."""
    code_rates = CODE_RATES if recipe.code_rate is None else (recipe.code_rate,)
    lengths = codeword_lengths(min(recipe.segment_bits, key.bits.count), recipe.effort)
    choice = choose_code(working_qber, lengths, code_rates, count_key_bits=key.bits.count, effort=recipe.effort)
    segments = Segments.cut(key, choice.count_payload)
    return segments, layout_of(choice.code, segments.segment_bits, choice.count_punctured, choice.effort), segments.rows()


def _code_index(layout: Layout) -> int:
    return CODE_RATES.index(layout.code.code_rate)


def _most_steps(layout: Layout) -> int:
    return -(-(layout.count_punctured + round(MOST_REVEALED_SHARE * layout.count_payload)) // layout.increment_bits)


def _matrix(data: bytes, rows: int, columns: int) -> NDArray[np.uint8]:
    return Bits.from_bytes(data, rows * columns).to_flags().reshape(rows, columns)
