"""The values that flow through the distillation of one block, from announced detections to a verified block.

Each is frozen; bits inside are packed and read-only. Counts and the leakage account travel with the bits they belong to.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from common.bits import Bits, SecretBits, concatenated
from common.blocks import BlockCounts, ReceiverCounts
from common.errors import AbortReason
from common.kernels.sifting import select_bits
from common.leakage import Leakage
from common.security.certified import Estimate, Verdict
from common.security.key_length import KeyLength


@dataclass(frozen=True, slots=True, eq=False)
class FramedDetections:
    """Detections of whole frames, as the receiver's stream gives them.

    Attributes
    ----------
    first_frame : int
        Index of the first frame; frame ``j`` holds the slots from ``first_slot + j frame_pulses`` on.
    count_per_frame : int64[frames]
        Single-basis clicks in each frame.
    slots : int64[n]
        Absolute slots, ascending.
    outcomes : uint8[n]
        Outcome of each, by the protocol's code.
    cross_slots : int64[m]
        Slots with clicks in both bases, ascending.
    ended : bool
        Whether the stream ended with these frames.
    count_ahead : int
        Detections in whole frames behind these that have come in already.
    watched : ReceiverCounts | None
        What monitors are told; None where nobody watches.
    """

    first_frame: int
    count_per_frame: NDArray[np.int64]
    slots: NDArray[np.int64]
    outcomes: NDArray[np.uint8]
    cross_slots: NDArray[np.int64]
    ended: bool
    count_ahead: int = 0
    watched: ReceiverCounts | None = None


@dataclass(frozen=True, slots=True, eq=False)
class KeyBits:
    """Sifted key bits in order of detection, each with its basis.

    Attributes
    ----------
    bits, bases : Bits
        Key bits, and 0 for Z or 1 for X.
    """

    bits: Bits
    bases: Bits

    @classmethod
    def joined(cls, parts: list[KeyBits]) -> KeyBits:
        """Concatenate parts in order."""
        return cls(concatenated([part.bits for part in parts]), concatenated([part.bases for part in parts]))

    def selected(self, mask: Bits) -> KeyBits:
        """Return the bits where ``mask``, of the same length, is set."""
        return KeyBits(Bits(*select_bits(self.bits.words, mask.words)), Bits(*select_bits(self.bases.words, mask.words)))

    def slice(self, first: int, last: int) -> KeyBits:
        """Return the bits from ``first`` up to, not including, ``last``."""
        return KeyBits(self.bits.slice(first, last), self.bases.slice(first, last))

    @property
    def per_basis(self) -> tuple[int, int]:
        """Number of bits in Z and in X."""
        count_x = self.bases.ones()
        return self.bases.count - count_x, count_x


@dataclass(frozen=True, slots=True, eq=False)
class SiftedBatch:
    """One announcement, sifted.

    Attributes
    ----------
    count_frames, count_detections, count_cross_clicks : int
        What was announced.
    key : KeyBits
        Undisclosed bits of the key bases.
    tested_bits, tested_bases : Bits
        Our bits of the rounds that are to be disclosed, and the bases they were detected in.
    tested_settings : uint8[n] | None
        Settings of these rounds, where this end knows them.
    tested_intensities : uint8[n]
        Their intensities, which both ends know; empty where there is one.
    key_by_intensity : tuple[int, ...]
        Bits of ``key`` by intensity; empty where there is one.
    table : tuple[tuple[int, ...], ...]
        Disclosed rounds, settings by outcomes; empty before disclosure.
    first_slot : int
        Slot at which its first frame begins.
    closes_block, closes_group, ends_stream : bool
        Whether the block, its group, or the stream ends here.
    watched : ReceiverCounts | None
        What monitors are told, at the end that watches.
    """

    count_frames: int
    count_detections: int
    count_cross_clicks: int
    key: KeyBits
    tested_bits: Bits
    tested_bases: Bits
    closes_block: bool
    closes_group: bool
    ends_stream: bool
    tested_settings: NDArray[np.uint8] | None = None
    tested_intensities: NDArray[np.uint8] = field(default_factory=lambda: np.zeros(0, np.uint8))
    key_by_intensity: tuple[int, ...] = ()
    table: tuple[tuple[int, ...], ...] = ()
    watched: ReceiverCounts | None = None
    first_slot: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class ReconciledBatch:
    """Key bits that both ends hold alike, as far as segment tags tell.

    Attributes
    ----------
    key : KeyBits
        Bits of the segments that were reconciled.
    count_key : tuple[int, int]
        Bits in Z, X before reconciliation, failed segments included.
    corrected : tuple[int, int]
        Errors corrected in Z, X.
    count_segments, count_failed : int
        Segments in all, and those given up.
    leakage : Leakage
        Bits the reference half sent.
    right, differed : Bits | None
        For every bit before reconciliation, whether its segment was reconciled, and whether it was corrected; the reference half does not
        learn this and has None.
    """

    key: KeyBits
    count_key: tuple[int, int]
    corrected: tuple[int, int]
    count_segments: int
    count_failed: int
    leakage: Leakage
    right: Bits | None = None
    differed: Bits | None = None


@dataclass(frozen=True, slots=True)
class MonitorReading:
    """What one monitor makes of a block.

    Attributes
    ----------
    name : str
        What is watched.
    estimate : Estimate
        Its value and interval.
    lowest, highest : float
        Its certified range.
    reason : AbortReason | None
        Why there may be no key; None as long as the range is not certainly left.
    """

    name: str
    estimate: Estimate
    lowest: float
    highest: float
    reason: AbortReason | None = None

    @property
    def verdict(self) -> Verdict:
        """Where the interval lies."""
        return self.estimate.judged(self.lowest, self.highest)

    @property
    def text(self) -> str:
        """The reading in words."""
        interval = f"{self.estimate.low:.3g} to {self.estimate.high:.3g}"
        return f"{self.name} {interval}, certified {self.lowest:g} to {self.highest:g}: {self.verdict}"


@dataclass(frozen=True, slots=True, eq=False)
class ClosedBlock:
    """A block after reconciliation: the bits both ends should share, all counts, and what leaked.

    Attributes
    ----------
    number : int
        Block number.
    key : KeyBits
        Reconciled bits of all batches.
    counts : BlockCounts
        What the proof looks at.
    corrected : tuple[int, int]
        Errors corrected in Z, X.
    count_segments, count_failed : int
        Segments in all, and those given up.
    leakage : Leakage
        Charged so far.
    ends_stream : bool
        Whether the stream ended with this block.
    watched : ReceiverCounts | None
        What monitors are told, at the end that watches.
    readings : tuple[MonitorReading, ...]
        What our monitors make of it, once they were asked.
    """

    number: int
    key: KeyBits
    counts: BlockCounts
    corrected: tuple[int, int]
    count_segments: int
    count_failed: int
    leakage: Leakage
    ends_stream: bool = False
    watched: ReceiverCounts | None = None
    readings: tuple[MonitorReading, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class SizedBlock:
    """A verified block, and how much of it is secret.

    Attributes
    ----------
    block : ClosedBlock
        Verified.
    length : KeyLength
        Length, ledger and bounds; the length is positive, and the same at both ends.
    """

    block: ClosedBlock
    length: KeyLength


@dataclass(frozen=True, slots=True, eq=False)
class SecretBlock:
    """Key that is ready to be committed.

    Attributes
    ----------
    block : ClosedBlock
        Where it comes from, verified.
    length : KeyLength
        Length, ledger and bounds.
    key : SecretBits
        The key itself.
    """

    block: ClosedBlock
    length: KeyLength
    key: SecretBits


@dataclass(frozen=True, slots=True, eq=False)
class Discarded:
    """A block that makes no key, while the rest of its group goes on.

    Attributes
    ----------
    block : ClosedBlock
        With all that leaked about it.
    reason : AbortReason
        Why.
    length : KeyLength | None
        Ledger and the bound that failed, where a length was computed.
    """

    block: ClosedBlock
    reason: AbortReason
    length: KeyLength | None = None


_Kept = TypeVar("_Kept")


def parted(blocks: Iterable[_Kept | Discarded]) -> tuple[list[_Kept], list[Discarded]]:
    """Part ``blocks`` of a group into those that go on and those that are discarded, each in order."""
    kept: list[_Kept] = []
    discarded: list[Discarded] = []
    for block in blocks:
        if isinstance(block, Discarded):
            discarded.append(block)
        else:
            kept.append(block)
    return kept, discarded


@dataclass(frozen=True, slots=True, eq=False)
class BlockOutcome:
    """How a block ended, for reports; holds no key.

    Attributes
    ----------
    number : int
        Block number.
    secret_bits : int
        Length of its key; 0 if it was discarded.
    reason : AbortReason | None
        Why it was discarded.
    block : ClosedBlock | None
        Its counts, if it got as far.
    length : KeyLength | None
        Length, ledger and bounds, if it got as far.
    leakage : Leakage
        All that was charged.
    authenticated_bytes : int
        Transcript bytes covered by our tag.
    ends_stream : bool
        Whether the stream ended with it.
    """

    number: int
    secret_bits: int
    reason: AbortReason | None
    block: ClosedBlock | None
    length: KeyLength | None
    leakage: Leakage = field(default_factory=Leakage)
    authenticated_bytes: int = 0
    ends_stream: bool = False
