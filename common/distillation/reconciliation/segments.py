"""Segments: a batch of key bits cut into equal parts, tagged, and joined again without the parts that failed.

A segment's tag keeps one undetected wrong segment from losing the whole block. Both methods of reconciliation end
with ``send_tags`` and ``check_tags``; what they cost is charged here.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.bits import Bits, count_words
from common.channel.messages import ReconciliationOutcome, SegmentTags
from common.conversation.effects import Conversation, compute, draw, receive, send
from common.distillation.recipe import Recipe
from common.distillation.values import KeyBits, ReconciledBatch
from common.errors import RemoteProtocolError
from common.kernels.polynomial_hash import polynomial_hash
from common.kernels.sifting import count_errors
from common.leakage import Leakage

TAG_BITS = 32
"""Bits of a segment's tag, each of them charged; verification of the whole block decides, this only keeps losses small."""


@dataclass(frozen=True, slots=True, eq=False)
class Segments:
    """Key bits in rows of one length; the last row is padded with zeros that both ends know.

    Attributes
    ----------
    key : KeyBits
        The batch.
    count_segments, segment_bits : int
        Rows, and bits in each.
    """

    key: KeyBits
    count_segments: int
    segment_bits: int

    @classmethod
    def cut(cls, key: KeyBits, most_bits: int) -> Segments:
        """Cut a batch into as few segments of at most ``most_bits`` as hold it, all of one length."""
        count_segments = max(1, -(-key.bits.count // most_bits))
        return cls(key, count_segments, max(1, -(-key.bits.count // count_segments)))

    def rows(self) -> NDArray[np.uint8]:
        """Return uint8[count_segments, segment_bits] of 0 and 1."""
        rows = np.zeros(self.count_segments * self.segment_bits, np.uint8)
        rows[: self.key.bits.count] = self.key.bits.to_flags()
        return rows.reshape(self.count_segments, self.segment_bits)


def charge_answers(recipe: Recipe, leakage: Leakage, count_bits: int) -> Leakage:
    """Charge what the correcting half says, where the proof wants it charged.

    Parameters
    ----------
    recipe : Recipe
        Its ``leakage_rule`` decides.
    leakage : Leakage
        Charged so far.
    count_bits : int
        Bits the correcting half says.

    Returns
    -------
    Leakage
        The same account where the proof gives the whole error pattern away.
    """
    return leakage.charged("answers", count_bits) if recipe.leakage_rule == "both halves" else leakage


def send_tags(recipe: Recipe, segments: Segments, leakage: Leakage) -> Conversation[ReconciledBatch]:
    """Tag our segments, which are the reference, and learn which of the peer's are wrong.

    Parameters
    ----------
    recipe : Recipe
        What is charged.
    segments : Segments
        Our bits.
    leakage : Leakage
        Charged by the method so far.

    Returns
    -------
    ReconciledBatch
        Without the segments that failed.

    Raises
    ------
    RemoteProtocolError
        If the answer does not fit the segments.
    """
    hash_key = yield from draw(16)
    tags = yield from compute(segment_tags, segments.rows(), hash_key)
    yield from send(SegmentTags(segments.count_segments, hash_key, tags.tobytes()))
    outcome = yield from receive(ReconciliationOutcome)
    failed = failed_segments(outcome, segments.count_segments)
    corrected = (outcome.corrected_z, outcome.corrected_x)
    if any(errors > count for errors, count in zip(corrected, segments.key.per_basis, strict=True)):
        raise RemoteProtocolError("more errors corrected than there are bits")
    leakage = charge_answers(recipe, leakage, _outcome_bits(segments))
    return _reconciled(segments, segments.key.bits.to_flags(), failed, corrected, leakage)


def check_tags(
    recipe: Recipe, segments: Segments, corrected: NDArray[np.uint8], gave_up: NDArray[np.bool_], leakage: Leakage
) -> Conversation[ReconciledBatch]:
    """Compare the corrected segments with the peer's tags and tell him which are wrong; the other half of ``send_tags``.

    Parameters
    ----------
    recipe : Recipe
        What is charged.
    segments : Segments
        Our bits before correction.
    corrected : uint8[count_segments, segment_bits]
        Our bits after it.
    gave_up : bool[count_segments]
        Segments the method could not correct.
    leakage : Leakage
        Charged by the method so far.

    Returns
    -------
    ReconciledBatch
        Without the segments that failed.

    Raises
    ------
    RemoteProtocolError
        If the tags do not fit the segments.
    """
    said = yield from receive(SegmentTags)
    if said.count_segments != segments.count_segments or len(said.tags) != segments.count_segments * (TAG_BITS // 8):
        raise RemoteProtocolError(f"tags of {said.count_segments} segments, expected {segments.count_segments}")
    ours = yield from compute(segment_tags, corrected, said.hash_key)
    failed = gave_up | (ours != np.frombuffer(said.tags, "<u4"))
    flags = corrected.reshape(-1)[: segments.key.bits.count]
    before, after, bases = segments.key.bits.words, Bits.from_flags(flags).words, segments.key.bases.words
    right = Bits.from_flags(_spread(~failed, segments))
    errors_z, errors_x = (count_errors(before & mask, after & mask) for mask in (right.words & ~bases, right.words & bases))
    errors = errors_z, errors_x
    yield from send(ReconciliationOutcome(segments.count_segments, Bits.from_flags(failed).to_bytes(), *errors))
    leakage = charge_answers(recipe, leakage, _outcome_bits(segments))
    differed = Bits((before ^ after) & right.words, right.count)
    return dataclasses.replace(_reconciled(segments, flags, failed, errors, leakage), right=right, differed=differed)


def segment_tags(rows: NDArray[np.uint8], hash_key: bytes) -> NDArray[np.uint32]:
    """Hash every segment to 32 bits.

    Parameters
    ----------
    rows : uint8[count_segments, segment_bits]
        Bits.
    hash_key : bytes
        16 fresh random bytes.

    Returns
    -------
    uint32[count_segments]
        The lowest bits of the polynomial hash of each row.
    """
    key = np.frombuffer(hash_key, np.uint64).copy()
    count_bits = rows.shape[1]
    packed = np.zeros((rows.shape[0], 8 * count_words(count_bits)), np.uint8)
    packed[:, : -(-count_bits // 8)] = np.packbits(rows, axis=1, bitorder="little")
    words = packed.view(np.uint64)
    return np.array([int(polynomial_hash(row, count_bits, key)[0]) & 0xFFFFFFFF for row in words], np.dtype("<u4"))


def failed_segments(outcome: ReconciliationOutcome, count_segments: int) -> NDArray[np.bool_]:
    """Read which segments failed: bool[count_segments].

    Parameters
    ----------
    outcome : ReconciliationOutcome
        From the peer.
    count_segments : int
        Segments there are.

    Returns
    -------
    bool[count_segments]
        True where a segment is wrong.

    Raises
    ------
    RemoteProtocolError
        If it speaks of another number of segments.
    """
    if outcome.count_segments != count_segments:
        raise RemoteProtocolError(f"outcome of {outcome.count_segments} segments, expected {count_segments}")
    return Bits.from_bytes(outcome.failed, count_segments).to_flags().astype(np.bool_)


def _outcome_bits(segments: Segments) -> int:
    """Bits of the last answer: a verdict on each segment and the two counts of corrected errors."""
    return segments.count_segments + sum(count.bit_length() for count in segments.key.per_basis)


def _spread(segment_flags: NDArray[np.bool_], segments: Segments) -> NDArray[np.bool_]:
    """Repeat a flag of each segment for each of its key bits."""
    return np.repeat(segment_flags, segments.segment_bits)[: segments.key.bits.count]


def _reconciled(
    segments: Segments, flags: NDArray[np.uint8], failed: NDArray[np.bool_], corrected: tuple[int, int], leakage: Leakage
) -> ReconciledBatch:
    key = KeyBits(Bits.from_flags(flags), segments.key.bases)
    return ReconciledBatch(
        key=key.selected(_spread(~failed, segments)) if failed.any() else key,
        count_key=segments.key.per_basis,
        corrected=corrected,
        count_segments=segments.count_segments,
        count_failed=int(np.count_nonzero(failed)),
        leakage=leakage.charged("segment tags", TAG_BITS * segments.count_segments),
    )
