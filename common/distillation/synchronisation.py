"""Synchronisation: the slots of one end are matched to those of the other.

The receiver's clock gives slots up to an unknown offset. He sacrifices some detections, outcomes and all; the other
half looks for the offset at which they fit the settings that were sent, and answers with it and the frames the record
covers. Sacrificed slots never become key: frames begin behind them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.channel.messages import ClockReport, FrameRange
from common.conversation.effects import Conversation, compute, receive, send
from common.distillation.recipe import Recipe
from common.errors import AbortReason, BlockAborted, RemoteProtocolError
from common.kernels.gaps import decode_gaps, encode_gaps

SACRIFICED_DETECTIONS = 1024
"""Detections disclosed in one attempt: at 8 % QBER about 300 bits of evidence, far above what any record length asks for."""

MORE_DETECTIONS = 3 * SACRIFICED_DETECTIONS
"""Detections disclosed in each further attempt, which allows for a QBER of 30 %."""

ATTEMPTS = 8
"""Stretches of the recording that are tried before the clock is given up."""


@dataclass(frozen=True, slots=True, eq=False)
class SacrificedDetections:
    """Detections given away to match the slots.

    Attributes
    ----------
    slots : int64[n]
        Slots by the receiver's clock, ascending.
    outcomes : uint8[n]
        Outcomes by the protocol's code.
    stride : int
        The unknown offset is a multiple of this (the divider of the reference pulses, or 1).
    """

    slots: NDArray[np.int64]
    outcomes: NDArray[np.uint8]
    stride: int


@dataclass(frozen=True, slots=True)
class Frames:
    """Matched slots.

    Attributes
    ----------
    offset : int
        Add this to the receiver's slots.
    first_slot : int
        Absolute slot at which frame 0 begins.
    count_frames : int
        Whole frames in the emission record from there on.
    """

    offset: int
    first_slot: int
    count_frames: int


FindOffset = Callable[[NDArray[np.int64], NDArray[np.uint8], int], int | None]
"""``find(slots, outcomes, stride)``: the offset to the emission record, or None."""


def report_clock(sacrifice: Callable[[int], SacrificedDetections]) -> Conversation[Frames]:
    """Give away detections until the peer has matched them.

    Parameters
    ----------
    sacrifice : callable
        ``sacrifice(attempt)`` gives the detections of one stretch of the recording.

    Returns
    -------
    Frames
        Frame 0 begins behind everything that was sacrificed.

    Raises
    ------
    BlockAborted
        ``CLOCK_NOT_FOUND`` if no stretch could be matched.
    RemoteProtocolError
        If the frames would begin where detections were disclosed.
    """
    for attempt in range(ATTEMPTS):
        given = yield from compute(sacrifice, attempt)
        first = int(given.slots[0]) if given.slots.size else 0
        gaps = yield from compute(encode_gaps, given.slots, first)
        yield from send(ClockReport(first, given.stride, int(given.slots.size), gaps.tobytes(), given.outcomes.tobytes()))
        answer = yield from receive(FrameRange)
        if answer.found:
            if not given.slots.size or answer.first_slot <= int(given.slots[-1]) + answer.offset:
                raise RemoteProtocolError("frame range: the frames begin before the end of what was disclosed to match the slots")
            return Frames(answer.offset, answer.first_slot, answer.count_frames)
    raise BlockAborted(AbortReason.CLOCK_NOT_FOUND)


def match_slots(recipe: Recipe, first_slot: int, count_slots: int, find: FindOffset) -> Conversation[Frames]:
    """Match the sacrificed detections against the emission record; the other half of ``report_clock``.

    Parameters
    ----------
    recipe : Recipe
        Shared parameters.
    first_slot, count_slots : int
        The emission record.
    find : callable
        Searches the offset.

    Returns
    -------
    Frames
        The same as at the other end.

    Raises
    ------
    BlockAborted
        ``CLOCK_NOT_FOUND`` if no stretch could be matched.
    RemoteProtocolError
        If a report does not decode.
    """
    for _ in range(ATTEMPTS):
        said = yield from receive(ClockReport)
        span = first_slot + count_slots - min(first_slot, 0)
        slots = yield from compute(
            decode_gaps, said.gaps, said.count_detections, said.first_slot, said.first_slot + max(span, count_slots) + 1
        )
        outcomes = np.frombuffer(said.outcomes, np.uint8)
        if outcomes.size != slots.size or np.any(outcomes > 3) or said.stride < 1:
            raise RemoteProtocolError("clock report: outcomes do not fit the detections, or the stride is zero")
        offset = (yield from compute(find, slots, outcomes, said.stride)) if slots.size else None
        if offset is None:
            yield from send(FrameRange(found=False, offset=0, first_slot=0, count_frames=0))
            continue
        begin = max(first_slot, int(slots[-1]) + offset + 1)
        frames = Frames(offset, begin, max(0, first_slot + count_slots - begin) // recipe.frame_pulses)
        yield from send(FrameRange(found=True, offset=offset, first_slot=begin, count_frames=frames.count_frames))
        return frames
    raise BlockAborted(AbortReason.CLOCK_NOT_FOUND)
