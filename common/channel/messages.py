"""The message catalogue: everything the two ends ever say to each other.

Messages are arrays of their fields in order. Bits travel packed (``common.bits``) beside an explicit count; slots as coded gaps
(``common.kernels.gaps``). The page ``docs/reference/messages`` is generated from this module.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from common.channel.delivery_messages import (
    DeliveryHello,
    DeliveryState,
    KeyMove,
    KeyMoved,
    KeyReserve,
    KeyReserved,
    KeySettle,
    KeySettled,
)
from common.channel.fields import Blob, Boolean, Bytes16, Bytes32, Count, CountList, Slot, UInt8, UInt16, UInt32
from common.channel.message import Message as Message  # noqa: PLC0414 - theirs to import from here


@dataclass(frozen=True, slots=True)
class Hello(Message):
    """Open a session: who we are, what we agreed on, where our one-time masks stand, which blocks we hold.

    Attributes
    ----------
    nonce : bytes
        32 fresh random bytes.
    parameters_digest : bytes
        32 bytes over everything both ends agreed on beforehand.
    next_block, mask_cursor : int
        Lowest block number and lowest mask pair that this end has never used.
    hash_key : int
        The transcript hash key this end uses: the mask pair it is made of, or 0 for the provisioned one.
    least_hash_key : int
        Hash keys below this number are not trusted any more: a tag under them was wrong.
    block_numbers, block_lengths : tuple[int, ...]
        Blocks of key this end holds, and their lengths in bits.
    """

    KIND: ClassVar[int] = 100
    nonce: Bytes32
    parameters_digest: Bytes32
    next_block: Count
    mask_cursor: Count
    hash_key: Count
    least_hash_key: Count
    block_numbers: CountList
    block_lengths: CountList


@dataclass(frozen=True, slots=True)
class Welcome(Message):
    """Answer a Hello with the same facts about this end, bound to the nonce it answers.

    Attributes
    ----------
    nonce, answered_nonce : bytes
        32 fresh random bytes, and those of the Hello that is answered.
    parameters_digest : bytes
        32 bytes over everything both ends agreed on beforehand.
    next_block, mask_cursor : int
        Lowest block number and lowest mask pair that this end has never used.
    hash_key : int
        The transcript hash key this end uses: the mask pair it is made of, or 0 for the provisioned one.
    least_hash_key : int
        Hash keys below this number are not trusted any more: a tag under them was wrong.
    block_numbers, block_lengths : tuple[int, ...]
        Blocks of key this end holds, and their lengths in bits.
    """

    KIND: ClassVar[int] = 101
    nonce: Bytes32
    answered_nonce: Bytes32
    parameters_digest: Bytes32
    next_block: Count
    mask_cursor: Count
    hash_key: Count
    least_hash_key: Count
    block_numbers: CountList
    block_lengths: CountList


@dataclass(frozen=True, slots=True)
class Confirm(Message):
    """Show that the Hello was no old one: only who holds the secrets now can answer the nonce of the Welcome.

    Attributes
    ----------
    answered_nonce : bytes
        32 bytes, those of the Welcome that is answered.
    """

    KIND: ClassVar[int] = 102
    answered_nonce: Bytes32


@dataclass(frozen=True, slots=True)
class Abort(Message):
    """Give up the exchange this message belongs to; the reason is a code and nothing else."""

    KIND: ClassVar[int] = 104
    reason: UInt8


@dataclass(frozen=True, slots=True)
class ClockReport(Message):
    """Sacrificed detections, outcomes and all, by which the absolute slot is found; they never become key.

    Attributes
    ----------
    first_slot : int
        First sacrificed slot, by the receiver's clock.
    stride : int
        The unknown offset is a multiple of this, give or take a few slots.
    count_detections : int
        Sacrificed detections.
    gaps : bytes
        Their slots, coded from ``first_slot`` on.
    outcomes : bytes
        One outcome code each.
    """

    KIND: ClassVar[int] = 200
    first_slot: Slot
    stride: UInt32
    count_detections: UInt32
    gaps: Blob
    outcomes: Blob


@dataclass(frozen=True, slots=True)
class FrameRange(Message):
    """The slot offset that was found, and which frames the emission record covers.

    Attributes
    ----------
    found : bool
        Whether the sacrificed detections fitted anywhere.
    offset : int
        To be added to the receiver's slots.
    first_slot : int
        Absolute slot at which frame 0 begins.
    count_frames : int
        Whole frames the emission record covers from there on.
    """

    KIND: ClassVar[int] = 201
    found: Boolean
    offset: Slot
    first_slot: Slot
    count_frames: Count


@dataclass(frozen=True, slots=True)
class DetectionAnnouncement(Message):
    """Where single-basis clicks were and in which basis, for whole frames whose measurement is finished.

    Attributes
    ----------
    first_frame : int
        Frame the announcement begins with.
    fresh : bytes
        16 random bytes drawn when the measurement was finished: what answers them cannot have been said before.
    count_per_frame : tuple[int, ...]
        Single-basis clicks in each frame.
    gaps : bytes
        Absolute slots of these clicks, coded from the first frame's first slot on.
    bases : bytes
        Packed bits, 0 for Z and 1 for X.
    count_cross_clicks : int
        Slots with clicks in both bases.
    cross_gaps : bytes
        These slots, coded likewise.
    closes_block, closes_group, ends_stream : bool
        Whether the block ends with the last frame, the group of blocks with it, and the stream with that.
    more_follow : bool
        Whether another announcement follows before any outcome is disclosed.
    """

    KIND: ClassVar[int] = 300
    first_frame: Count
    fresh: Bytes16
    count_per_frame: CountList
    gaps: Blob
    bases: Blob
    count_cross_clicks: UInt32
    cross_gaps: Blob
    closes_block: Boolean
    closes_group: Boolean
    ends_stream: Boolean
    more_follow: Boolean


@dataclass(frozen=True, slots=True)
class SiftingReply(Message):
    """Which announced detections are kept, and which of those are disclosed.

    Attributes
    ----------
    count_detections : int
        Detections answered for.
    kept, tested : bytes
        Packed bits: matching bases, with three states every detection in X as well; and of those the disclosed ones.
    intensities : bytes
        Two planes of packed bits, the lower digit of each kept detection's intensity and the higher one; empty where there is one
        intensity.
    """

    KIND: ClassVar[int] = 301
    count_detections: UInt32
    kept: Blob
    tested: Blob
    intensities: Blob


@dataclass(frozen=True, slots=True)
class TestDisclosure(Message):
    """Outcomes of the disclosed rounds of all announcements since the last disclosure, in order."""

    KIND: ClassVar[int] = 400
    count_tested: UInt32
    bits: Blob


@dataclass(frozen=True, slots=True)
class TestCounts(Message):
    """Disclosed rounds counted, a table for each announcement: settings and intensities (rows) by outcomes Z0 Z1 X0 X1, row by row."""

    KIND: ClassVar[int] = 401
    table: CountList


@dataclass(frozen=True, slots=True)
class Syndrome(Message):
    """Syndromes of a batch of segments.

    Attributes
    ----------
    code : int
        Index of the code rate.
    count_segments, count_payload, count_punctured : int
        Segments, key bits in each, private random bits in each.
    syndromes : bytes
        Packed bits, segment after segment.
    """

    KIND: ClassVar[int] = 500
    code: UInt16
    count_segments: UInt32
    count_payload: UInt32
    count_punctured: UInt32
    syndromes: Blob


@dataclass(frozen=True, slots=True)
class SyndromeIncrement(Message):
    """More bits of the reference half for the segments that did not decode.

    Attributes
    ----------
    step : int
        Number of the increment, from 0.
    count_segments : int
        Segments still open.
    revealed : bytes
        Packed values, segment after segment.
    """

    KIND: ClassVar[int] = 501
    step: UInt16
    count_segments: UInt32
    revealed: Blob


@dataclass(frozen=True, slots=True)
class ParityQuery(Message):
    """For every parity of the last reply, whether the correcting half's own differs."""

    KIND: ClassVar[int] = 502
    count_bits: UInt32
    differs: Blob


@dataclass(frozen=True, slots=True)
class ParityReply(Message):
    """Parities of the reference half, in the order both halves know."""

    KIND: ClassVar[int] = 503
    count_bits: UInt32
    parities: Blob


@dataclass(frozen=True, slots=True)
class ReconciliationOutcome(Message):
    """Which segments are still wrong, and how many errors were corrected in each basis in the others.

    Attributes
    ----------
    count_segments : int
        Segments in the batch.
    failed : bytes
        Packed bits, 1 where a segment is wrong.
    corrected_z, corrected_x : tuple[int, ...]
        Errors corrected in the other segments, for each block; empty as long as more is to come.
    """

    KIND: ClassVar[int] = 504
    count_segments: UInt32
    failed: Blob
    corrected_z: CountList
    corrected_x: CountList


@dataclass(frozen=True, slots=True)
class SegmentTags(Message):
    """A short hash of every segment, so that one undetected error does not lose the block.

    Attributes
    ----------
    count_segments : int
        Segments in the batch.
    hash_key : bytes
        16 fresh random bytes.
    tags : bytes
        Two bytes a segment, the lower first.
    """

    KIND: ClassVar[int] = 505
    count_segments: UInt32
    hash_key: Bytes16
    tags: Blob


@dataclass(frozen=True, slots=True)
class ReconciliationChoice(Message):
    """How the next batch is reconciled.

    Attributes
    ----------
    method : int
        0 for Cascade, 1 for LDPC.
    working_qber : int
        The QBER to prepare for, in units of 2^-32.
    """

    KIND: ClassVar[int] = 506
    method: UInt8
    working_qber: UInt32


@dataclass(frozen=True, slots=True)
class VerificationHash(Message):
    """Hashes of the whole reconciled blocks of a group under a key drawn after reconciliation: 16 bytes a block, in order."""

    KIND: ClassVar[int] = 600
    hash_key: Bytes16
    tags: Blob


@dataclass(frozen=True, slots=True)
class VerificationVerdict(Message):
    """Whether the hashes agree: a packed bit a block."""

    KIND: ClassVar[int] = 601
    equal: Blob


@dataclass(frozen=True, slots=True)
class MonitorVerdict(Message):
    """What our monitors say of the blocks of a group, in order: a byte a block, 0 or the reason why there may be no key of it."""

    KIND: ClassVar[int] = 602
    reasons: Blob


@dataclass(frozen=True, slots=True)
class KeyLengthProposal(Message):
    """The key lengths the proposing half computed, bits, one a block; zero means no provable key."""

    KIND: ClassVar[int] = 700
    secret_bits: CountList


@dataclass(frozen=True, slots=True)
class KeyLengthVerdict(Message):
    """Whether each length is the responder's own: a packed bit a block."""

    KIND: ClassVar[int] = 701
    accepted: Blob


@dataclass(frozen=True, slots=True)
class ToeplitzSeed(Message):
    """One numbered chunk of the public seed of privacy amplification of a block.

    Attributes
    ----------
    block : int
        Number of the block.
    chunk, count_chunks : int
        Which chunk this is, from 0, and of how many.
    seed : bytes
        Packed bits of the seed.
    """

    KIND: ClassVar[int] = 702
    block: Count
    chunk: UInt32
    count_chunks: UInt32
    seed: Blob


@dataclass(frozen=True, slots=True)
class TranscriptTag(Message):
    """Information-theoretic tag of everything both ends said about this group of blocks."""

    KIND: ClassVar[int] = 703
    mask_index: Count
    tag: Bytes16


@dataclass(frozen=True, slots=True)
class KeyCommit(Message):
    """The group's keys, of these lengths in bits, are staged here and the peer's tag was right: make them usable."""

    KIND: ClassVar[int] = 800
    secret_bits: CountList


@dataclass(frozen=True, slots=True)
class KeyCommitted(Message):
    """The group's keys are usable at this end."""

    KIND: ClassVar[int] = 801
    secret_bits: CountList


CATALOGUE: dict[int, type[Message]] = {
    message.KIND: message
    for message in (
        Hello,
        Welcome,
        Confirm,
        Abort,
        ClockReport,
        FrameRange,
        DetectionAnnouncement,
        SiftingReply,
        TestDisclosure,
        TestCounts,
        Syndrome,
        SyndromeIncrement,
        ParityQuery,
        ParityReply,
        ReconciliationOutcome,
        SegmentTags,
        ReconciliationChoice,
        VerificationHash,
        VerificationVerdict,
        MonitorVerdict,
        KeyLengthProposal,
        KeyLengthVerdict,
        ToeplitzSeed,
        TranscriptTag,
        KeyCommit,
        KeyCommitted,
        DeliveryHello,
        DeliveryState,
        KeyReserve,
        KeyReserved,
        KeySettle,
        KeySettled,
        KeyMove,
        KeyMoved,
    )
}
"""Every kind of message by its code on the wire."""
