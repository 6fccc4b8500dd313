"""Segments: key bits cut into equal parts, tagged, and joined again without the parts that failed.

A segment's tag keeps one undetected wrong segment from losing the whole block. Both methods of reconciliation end
with ``send_tags`` and ``check_tags``, for the bits of several blocks at once; what they cost is charged here, to each block its own.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from common.bits import Bits, count_words
from common.channel.messages import ReconciliationOutcome, SegmentTags
from common.conversation.effects import Conversation, compute, draw, receive, send
from common.distillation.recipe import Recipe
from common.distillation.values import KeyBits, ReconciledBatch
from common.errors import RemoteProtocolError
from common.kernels.polynomial_hash import polynomial_hash
from common.leakage import Leakage

TAG_BITS = 16
"""Bits of a segment's tag, each of them charged; verification of the whole block decides, this only keeps losses small."""

_TAG = np.dtype("<u2")


@dataclass(frozen=True, slots=True, eq=False)
class Segments:
    """Key bits of a block in parts of one length; the last part is filled up with zeros that both ends know.

    Attributes
    ----------
    key : KeyBits
        The bits.
    count_segments, segment_bits : int
        Parts, and bits in each.
    """

    key: KeyBits
    count_segments: int
    segment_bits: int

    @classmethod
    def cut(cls, key: KeyBits, most_bits: int) -> Segments:
        """Cut bits into as few segments of at most ``most_bits`` as hold them, all of one length."""
        count_segments = max(1, -(-key.bits.count // most_bits))
        return cls(key, count_segments, max(1, -(-key.bits.count // count_segments)))

    def rows(self) -> NDArray[np.uint8]:
        """Return uint8[count_segments, segment_bits] of 0 and 1."""
        rows = np.zeros(self.count_segments * self.segment_bits, np.uint8)
        rows[: self.key.bits.count] = self.key.bits.to_flags()
        return rows.reshape(self.count_segments, self.segment_bits)

    def packed(self, bits: Bits) -> NDArray[np.uint64]:
        """Cut bits as the key is cut.

        Parameters
        ----------
        bits : Bits
            As many as the key has.

        Returns
        -------
        uint64[count_segments, count_words(segment_bits)]
            A segment in each row, the unused rest zero.
        """
        shape = (self.count_segments, count_words(self.segment_bits))
        if self.segment_bits & 63 == 0:
            words = np.zeros(shape[0] * shape[1], np.uint64)
            words[: bits.words.size] = bits.words
            return words.reshape(shape)
        flags = np.zeros(self.count_segments * self.segment_bits, np.uint8)
        flags[: bits.count] = bits.to_flags()
        packed = np.zeros((shape[0], 8 * shape[1]), np.uint8)
        rows = np.packbits(flags.reshape(self.count_segments, self.segment_bits), axis=1, bitorder="little")
        packed[:, : rows.shape[1]] = rows
        return packed.view(np.uint64)

    def spread(self, flags: NDArray[np.bool_]) -> Bits:
        """Repeat a flag of each segment for each of its key bits."""
        return Bits.from_flags(np.repeat(flags, self.segment_bits)[: self.key.bits.count])

    @property
    def outcome_bits(self) -> int:
        """Bits of the last answer: a verdict on each segment and the two counts of corrected errors."""
        return self.count_segments + sum(count.bit_length() for count in self.key.per_basis)


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


def send_tags(recipe: Recipe, blocks: list[Segments], leakages: list[Leakage]) -> Conversation[list[ReconciledBatch]]:
    """Tag our segments, which are the reference, and learn which of the peer's are wrong.

    Parameters
    ----------
    recipe : Recipe
        What is charged.
    blocks : list[Segments]
        Our bits of each block.
    leakages : list[Leakage]
        Charged by the method so far, to each block.

    Returns
    -------
    list[ReconciledBatch]
        Without the segments that failed.

    Raises
    ------
    RemoteProtocolError
        If the answer does not fit the segments.
    """
    hash_key = yield from draw(16)
    tags = yield from compute(segment_tags, blocks, [cut.key.bits for cut in blocks], hash_key)
    yield from send(SegmentTags(tags.size, hash_key, tags.tobytes()))
    outcome = yield from receive(ReconciliationOutcome)
    failed = _by_block(blocks, failed_segments(outcome, tags.size))
    if not len(outcome.corrected_z) == len(outcome.corrected_x) == len(blocks):
        raise RemoteProtocolError(f"corrected errors of {len(outcome.corrected_z)} blocks, expected {len(blocks)}")
    corrected = list(zip(outcome.corrected_z, outcome.corrected_x, strict=True))
    for cut, counts in zip(blocks, corrected, strict=True):
        if any(errors > count for errors, count in zip(counts, cut.key.per_basis, strict=True)):
            raise RemoteProtocolError("more errors corrected than there are bits")
    return (yield from compute(_all_reconciled, recipe, blocks, [cut.key.bits for cut in blocks], failed, corrected, leakages))


def check_tags(
    recipe: Recipe, blocks: list[Segments], corrected: list[Bits], gave_up: NDArray[np.bool_], leakages: list[Leakage]
) -> Conversation[list[ReconciledBatch]]:
    """Compare the corrected segments with the peer's tags and tell him which are wrong; the other half of ``send_tags``.

    Parameters
    ----------
    recipe : Recipe
        What is charged.
    blocks : list[Segments]
        Our bits of each block before correction.
    corrected : list[Bits]
        Our bits after it.
    gave_up : bool[segments of all blocks]
        Segments the method could not correct.
    leakages : list[Leakage]
        Charged by the method so far, to each block.

    Returns
    -------
    list[ReconciledBatch]
        Without the segments that failed.

    Raises
    ------
    RemoteProtocolError
        If the tags do not fit the segments.
    """
    said = yield from receive(SegmentTags)
    if said.count_segments != gave_up.size or len(said.tags) != gave_up.size * (TAG_BITS // 8):
        raise RemoteProtocolError(f"tags of {said.count_segments} segments, expected {gave_up.size}")
    outcome, batches = yield from compute(_checked, recipe, blocks, corrected, gave_up, said, leakages)
    yield from send(outcome)
    return batches


def _checked(
    recipe: Recipe, blocks: list[Segments], corrected: list[Bits], gave_up: NDArray[np.bool_], said: SegmentTags, leakages: list[Leakage]
) -> tuple[ReconciliationOutcome, list[ReconciledBatch]]:
    wrong = gave_up | (segment_tags(blocks, corrected, said.hash_key) != np.frombuffer(said.tags, _TAG))
    failed = _by_block(blocks, wrong)
    right, differed, counts = [], [], []
    for cut, after, lost in zip(blocks, corrected, failed, strict=True):
        kept, bases = cut.spread(~lost), cut.key.bases.words
        changed = (cut.key.bits.words ^ after.words) & kept.words
        right.append(kept)
        differed.append(Bits(changed, kept.count))
        counts.append((int(np.bitwise_count(changed & ~bases).sum()), int(np.bitwise_count(changed & bases).sum())))
    errors_z, errors_x = zip(*counts, strict=True)
    outcome = ReconciliationOutcome(wrong.size, Bits.from_flags(wrong).to_bytes(), errors_z, errors_x)
    batches = _all_reconciled(recipe, blocks, corrected, failed, counts, leakages)
    whole = zip(batches, right, differed, strict=True)
    return outcome, [dataclasses.replace(batch, right=kept, differed=changed) for batch, kept, changed in whole]


def segment_tags(blocks: list[Segments], bits: list[Bits], hash_key: bytes) -> NDArray[np.uint16]:
    """Hash every segment to 16 bits.

    Parameters
    ----------
    blocks : list[Segments]
        How each block is cut.
    bits : list[Bits]
        The bits of each block.
    hash_key : bytes
        16 fresh random bytes.

    Returns
    -------
    uint16[segments of all blocks]
        The lowest bits of the polynomial hash of each segment, as they are sent: the lower byte first.
    """
    key = np.frombuffer(hash_key, np.uint64).copy()
    mask = (1 << TAG_BITS) - 1
    rows = ((row, cut.segment_bits) for cut, part in zip(blocks, bits, strict=True) for row in cut.packed(part))
    return np.array([int(polynomial_hash(row, count_bits, key)[0]) & mask for row, count_bits in rows], _TAG)


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


def _by_block(blocks: list[Segments], flags: NDArray[np.bool_]) -> list[NDArray[np.bool_]]:
    """Part what is known of all segments into what is known of each block's."""
    bounds = np.cumsum([0, *(cut.count_segments for cut in blocks)])
    return [flags[first:last] for first, last in pairwise(bounds.tolist())]


def _all_reconciled(
    recipe: Recipe,
    blocks: list[Segments],
    bits: list[Bits],
    failed: list[NDArray[np.bool_]],
    corrected: list[tuple[int, int]],
    leakages: list[Leakage],
) -> list[ReconciledBatch]:
    """Leave out the segments that failed, and charge the tags and the answer to them."""
    batches = []
    for cut, part, lost, counts, leakage in zip(blocks, bits, failed, corrected, leakages, strict=True):
        key = KeyBits(part, cut.key.bases)
        charged = leakage.charged("segment tags", TAG_BITS * cut.count_segments)
        batches.append(
            ReconciledBatch(
                key=key.selected(cut.spread(~lost)) if lost.any() else key,
                count_key=cut.key.per_basis,
                corrected=counts,
                count_segments=cut.count_segments,
                count_failed=int(np.count_nonzero(lost)),
                leakage=charge_answers(recipe, charged, cut.outcome_bits),
            )
        )
    return batches
