"""Sifting: detections are announced, answered, and become key bits and rounds to be disclosed.

The announcing half says where and in which basis it clicked, for whole frames only; the sifting half answers which of
these match its preparation and which are to be disclosed, chosen at random after the detections are fixed. A block
closes at the first frame boundary at which the announced detections reach the target, before any error is seen; both
halves hold to that rule. Nothing here reveals a key bit.

The order is what security rests on: nothing about a slot may be said before it has been measured. Every announcement
therefore carries random bytes that were drawn after the measurement, and the transcript tags say that whoever answered
had heard these very bytes. An adversary who holds light back and asks for the answer in advance, with the message keys
in hand, would have to guess them. This needs no clocks that agree.

References
----------
[Bennett1984]; the block rule is section "Block rule" of ``docs/explanation/finite-key``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.bits import Bits
from common.channel.fields import MAXIMUM_ITEMS
from common.channel.messages import DetectionAnnouncement, SiftingReply
from common.conversation.effects import Conversation, compute, draw, receive, send
from common.distillation.recipe import BATCH_DETECTIONS, Recipe
from common.distillation.values import FramedDetections, KeyBits, SiftedBatch
from common.errors import RemoteProtocolError
from common.kernels.gaps import decode_gaps, encode_gaps
from common.kernels.sifting import pack_selected
from common.randomness import biased_flags

FRESH_BYTES = 16
"""Random bytes in an announcement; guessing them in advance succeeds with probability 2^-128."""

TakeFrames = Callable[[int, int, int], FramedDetections]
"""``take(first_frame, most_frames, wanted_detections)``: whole frames until so many detections are reached, from the stream."""

LookUpSettings = Callable[[NDArray[np.int64]], NDArray[np.uint8]]
"""Settings of absolute slots, from the emission record."""


@dataclass(frozen=True, slots=True)
class BlockProgress:
    """How far a block has been announced.

    Attributes
    ----------
    first_slot : int
        Slot at which frame 0 begins.
    next_frame : int
        First frame not announced yet.
    frames_left : int
        Frames the block may still take.
    detections_left : int
        Detections missing to the target.
    """

    first_slot: int
    next_frame: int
    frames_left: int
    detections_left: int

    @classmethod
    def opened(cls, recipe: Recipe, first_slot: int, first_frame: int) -> BlockProgress:
        """Open a block at a frame boundary.

        Parameters
        ----------
        recipe : Recipe
            The block rule.
        first_slot : int
            Slot at which frame 0 begins.
        first_frame : int
            Frame the block begins with.

        Returns
        -------
        BlockProgress
            Nothing announced yet.
        """
        return cls(first_slot, first_frame, recipe.maximum_frames, recipe.target_detections)

    def after(self, batch: SiftedBatch) -> BlockProgress:
        """Return the progress behind a batch."""
        return BlockProgress(
            self.first_slot,
            self.next_frame + batch.count_frames,
            self.frames_left - batch.count_frames,
            max(0, self.detections_left - batch.count_detections),
        )


def announce(recipe: Recipe, progress: BlockProgress, take: TakeFrames) -> Conversation[SiftedBatch]:
    """Announce detections of the next frames and learn which of them matched.

    Parameters
    ----------
    recipe : Recipe
        Shared parameters.
    progress : BlockProgress
        How far the block has come.
    take : callable
        Gives whole frames of detections.

    Returns
    -------
    SiftedBatch
        Our bits of the matching rounds.

    Raises
    ------
    RemoteProtocolError
        If the reply does not fit the announcement.
    """
    wanted = min(progress.detections_left, BATCH_DETECTIONS)
    most_frames = min(progress.frames_left, MAXIMUM_ITEMS)  # one count a frame has to fit into one message
    detections = yield from compute(take, progress.next_frame, most_frames, wanted)
    start = progress.first_slot + detections.first_frame * recipe.frame_pulses
    outcomes = detections.outcomes.astype(np.uint8)
    bases, bits = (outcomes >> 1).astype(np.uint8), (outcomes & 1).astype(np.uint8)
    count = int(detections.slots.size)
    closes = count >= progress.detections_left or detections.count_per_frame.size >= progress.frames_left or detections.ended
    fresh = yield from draw(FRESH_BYTES)  # now, and not before: see the order in the module's account
    yield from send(
        DetectionAnnouncement(
            first_frame=detections.first_frame,
            fresh=fresh,
            count_per_frame=tuple(int(frame_count) for frame_count in detections.count_per_frame),
            gaps=(yield from compute(encode_gaps, detections.slots, start)).tobytes(),
            bases=Bits.from_flags(bases).to_bytes(),
            count_cross_clicks=int(detections.cross_slots.size),
            cross_gaps=(yield from compute(encode_gaps, detections.cross_slots, start)).tobytes(),
            closes_block=closes,
            ends_stream=detections.ended,
        )
    )
    reply = yield from receive(SiftingReply)
    if reply.count_detections != count:
        raise RemoteProtocolError(f"sifting reply for {reply.count_detections} detections, announced were {count}")
    kept = Bits.from_bytes(reply.kept, count).to_flags().astype(np.bool_)
    tested = Bits.from_bytes(reply.tested, count).to_flags().astype(np.bool_)
    if np.any(tested & ~kept):
        raise RemoteProtocolError("sifting reply discloses a round that it does not keep")
    frames = int(detections.count_per_frame.size)
    return _sifted(bits, bases, kept, tested, frames, int(detections.cross_slots.size), closes, detections.ended)


def sift(recipe: Recipe, progress: BlockProgress, look_up: LookUpSettings) -> Conversation[SiftedBatch]:
    """Answer the next announcement; the other half of ``announce``.

    Parameters
    ----------
    recipe : Recipe
        Shared parameters.
    progress : BlockProgress
        How far the block has come.
    look_up : callable
        Settings by absolute slot.

    Returns
    -------
    SiftedBatch
        Our bits of the matching rounds.

    Raises
    ------
    RemoteProtocolError
        If the announcement breaks the block rule or does not decode.
    """
    said = yield from receive(DetectionAnnouncement)
    count = _checked_count(said, progress)
    start = progress.first_slot + said.first_frame * recipe.frame_pulses
    end = start + len(said.count_per_frame) * recipe.frame_pulses
    slots = yield from compute(decode_gaps, said.gaps, count, start, end)
    yield from compute(decode_gaps, said.cross_gaps, said.count_cross_clicks, start, end)
    counted = np.bincount((slots - start) // recipe.frame_pulses, minlength=len(said.count_per_frame))
    if not np.array_equal(counted, np.array(said.count_per_frame, np.int64)):
        raise RemoteProtocolError("announced detections do not lie in the frames they are counted in")
    bases = Bits.from_bytes(said.bases, count).to_flags()
    settings = yield from compute(look_up, slots)
    kept = recipe.protocol.bases_of(settings) == bases
    tested = kept & (yield from _test_choice(recipe, bases))
    yield from send(SiftingReply(count, Bits.from_flags(kept).to_bytes(), Bits.from_flags(tested).to_bytes()))
    bits = recipe.protocol.bits_of(settings)
    return _sifted(bits, bases, kept, tested, len(said.count_per_frame), said.count_cross_clicks, said.closes_block, said.ends_stream)


def _test_choice(recipe: Recipe, bases: NDArray[np.uint8]) -> Conversation[NDArray[np.bool_]]:
    """Choose, independently for each detection, whether it would be disclosed if it matches."""
    chosen = np.zeros(bases.size, np.bool_)
    for basis, fraction in enumerate(recipe.test_fractions):
        if fraction == 1.0:
            chosen |= bases == basis
        elif fraction > 0.0:
            drawn = yield from draw(2 * int(bases.size))
            flags = biased_flags(_Drawn(drawn), int(bases.size), fraction)
            chosen |= (bases == basis) & flags.astype(np.bool_)
    return chosen


class _Drawn:
    """Bytes already drawn, handed out once and whole."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def draw(self, count_bytes: int) -> bytes:
        """Return the next bytes."""
        taken, self._data = self._data[:count_bytes], self._data[count_bytes:]
        return taken


def _checked_count(said: DetectionAnnouncement, progress: BlockProgress) -> int:
    """Hold the announcement to the block rule and return its number of detections."""
    frames = len(said.count_per_frame)
    count = sum(said.count_per_frame)
    if said.first_frame != progress.next_frame or frames > progress.frames_left or (frames == 0 and not said.ends_stream):
        raise RemoteProtocolError("announced frames do not follow the last ones, or are too many for the block")
    if frames and count - said.count_per_frame[-1] >= progress.detections_left:
        raise RemoteProtocolError("the block should have closed at an earlier frame boundary")
    if said.closes_block != (count >= progress.detections_left or frames >= progress.frames_left or said.ends_stream):
        raise RemoteProtocolError("the block is closed, or left open, against the block rule")
    return count


def _sifted(
    bits: NDArray[np.uint8],
    bases: NDArray[np.uint8],
    kept: NDArray[np.bool_],
    tested: NDArray[np.bool_],
    count_frames: int,
    count_cross_clicks: int,
    closes_block: bool,
    ends_stream: bool,
) -> SiftedBatch:
    key = kept & ~tested
    bits, bases = np.ascontiguousarray(bits), np.ascontiguousarray(bases)
    return SiftedBatch(
        count_frames=count_frames,
        count_detections=int(bits.size),
        count_cross_clicks=count_cross_clicks,
        key=KeyBits(Bits(*pack_selected(bits, key.view(np.uint8))), Bits(*pack_selected(bases, key.view(np.uint8)))),
        tested_bits=Bits(*pack_selected(bits, tested.view(np.uint8))),
        tested_bases=Bits(*pack_selected(bases, tested.view(np.uint8))),
        closes_block=closes_block,
        ends_stream=ends_stream,
    )
