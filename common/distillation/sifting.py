"""Sifting: detections are announced, answered, and become key bits and rounds to be disclosed.

The announcing half says where and in which basis it clicked, for whole frames only; the sifting half answers which of
these match its preparation and which are to be disclosed, chosen at random after the detections are fixed. With three
states every click in X is disclosed, whatever was sent; with decoys the intensities of the kept rounds are said. A block
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

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.bits import Bits, count_bytes
from common.blocks import ReceiverCounts
from common.channel.fields import MAXIMUM_FIELD_BYTES, MAXIMUM_ITEMS
from common.channel.messages import DetectionAnnouncement, SiftingReply
from common.conversation.effects import Conversation, compute, draw, receive, send
from common.distillation.intensities import (
    Planes,
    chosen_intensities,
    count_by_intensity,
    intensity_planes,
    planes_from_bytes,
    planes_to_bytes,
)
from common.distillation.recipe import BATCH_DETECTIONS, Recipe
from common.distillation.values import FramedDetections, KeyBits, SiftedBatch
from common.errors import RemoteProtocolError
from common.kernels.gaps import decode_gaps, encode_gaps
from common.kernels.matching import look_up_settings, split_outcomes
from common.kernels.sifting import select_bits, select_bytes
from common.randomness import biased_flags

FRESH_BYTES = 16
"""Random bytes in an announcement; guessing them in advance succeeds with probability 2^-128."""

MOST_ANNOUNCEMENTS = 64
"""Announcements made before any of them is answered, at most."""

MOST_BURST_BYTES = 16 << 20
"""Coded slots announced before any announcement is answered, after which no further one is made: a peer keeps several times as many."""

MOST_DETECTIONS = 1 << 20
"""Detections in one announcement at most, where they lie so dense that their slots take few bits."""

MOST_WITH_INTENSITIES = 4 * MAXIMUM_FIELD_BYTES
"""Detections whose intensities fit one answer, at two bits each. An honest announcement has ``MOST_DETECTIONS``, a quarter of it, and what
its last frame has beyond."""

MOST_GROUP_BLOCKS = 64
"""Blocks that are distilled together at most."""

MOST_GROUP_DETECTIONS = 1 << 25
"""A group takes in no further block if it would then have more detections than so many."""

TakeFrames = Callable[[int, int, int], FramedDetections]
"""``take(first_frame, most_frames, wanted_detections)``: whole frames until so many detections are reached, from the stream."""

LookUpSettings = Callable[[NDArray[np.int64]], NDArray[np.uint8]]
"""Settings of absolute slots, from the emission record."""


@dataclass(frozen=True, slots=True)
class GroupProgress:
    """How far a group of blocks has been announced.

    Attributes
    ----------
    first_slot : int
        Slot at which frame 0 begins.
    next_frame : int
        First frame not announced yet.
    frames_left : int
        Frames the block that is being filled may still take.
    detections_left : int
        Detections missing to its target.
    blocks_left : int
        Blocks the group may still take, that one included.
    count_detections : int
        Detections announced in the group.
    """

    first_slot: int
    next_frame: int
    frames_left: int
    detections_left: int
    blocks_left: int
    count_detections: int = 0

    @classmethod
    def opened(cls, recipe: Recipe, first_slot: int, first_frame: int, most_blocks: int | None = None) -> GroupProgress:
        """Open a group at a frame boundary.

        Parameters
        ----------
        recipe : Recipe
            The block rule.
        first_slot : int
            Slot at which frame 0 begins.
        first_frame : int
            Frame the first block begins with.
        most_blocks : int | None
            Blocks the group may take, if fewer than ``MOST_GROUP_BLOCKS``.

        Returns
        -------
        GroupProgress
            Nothing announced yet.
        """
        blocks = min(MOST_GROUP_BLOCKS, most_blocks or MOST_GROUP_BLOCKS)
        return cls(first_slot, first_frame, recipe.maximum_frames, recipe.target_detections, blocks)

    def after(self, recipe: Recipe, count_frames: int, count_detections: int, *, closes_block: bool) -> GroupProgress:
        """Return the progress behind an announcement.

        Parameters
        ----------
        recipe : Recipe
            The block rule.
        count_frames, count_detections : int
            What was announced.
        closes_block : bool
            Whether another block begins behind it.

        Returns
        -------
        GroupProgress
            Of the same group.
        """
        return GroupProgress(
            self.first_slot,
            self.next_frame + count_frames,
            recipe.maximum_frames if closes_block else self.frames_left - count_frames,
            recipe.target_detections if closes_block else max(0, self.detections_left - count_detections),
            self.blocks_left - closes_block,
            self.count_detections + count_detections,
        )

    def has_room(self, recipe: Recipe) -> bool:
        """Whether a group of whole blocks may take in another one."""
        return self.blocks_left > 0 and self.count_detections + recipe.target_detections <= MOST_GROUP_DETECTIONS


@dataclass(frozen=True, slots=True, eq=False)
class _Announced:
    """What the announcing half keeps of an announcement until it is answered."""

    first_slot: int
    count_frames: int
    count_cross_clicks: int
    bases: Bits
    bits: Bits
    closes_block: bool
    closes_group: bool
    ends_stream: bool
    watched: ReceiverCounts | None = None


def announce(recipe: Recipe, progress: GroupProgress, take: TakeFrames) -> Conversation[list[SiftedBatch]]:
    """Announce the next detections and learn which of them matched.

    One announcement after the other is made as long as their detections have come in already; only then is the first answer waited for.
    So a fast or a distant link spends one round trip on many announcements, and a slow one tells at once how far it is. A group likewise
    takes in another block where a whole one waits already, and so grows with what distillation is behind.

    Parameters
    ----------
    recipe : Recipe
        Shared parameters.
    progress : GroupProgress
        How far the group has come.
    take : callable
        Gives whole frames of detections.

    Returns
    -------
    list[SiftedBatch]
        Our bits of the matching rounds, announcement by announcement.

    Raises
    ------
    RemoteProtocolError
        If a reply does not fit its announcement.
    """
    announced: list[_Announced] = []
    most, burst_bytes = BATCH_DETECTIONS, 0
    more_follow = True
    while more_follow:
        wanted = min(progress.detections_left, most)
        most_frames = min(progress.frames_left, MAXIMUM_ITEMS)  # one count a frame has to fit into one message
        start = progress.first_slot + progress.next_frame * recipe.frame_pulses
        found = yield from compute(_taken, take, progress.next_frame, most_frames, wanted, start)
        count, frames = found.bits.count, len(found.count_per_frame)
        closes_block = count >= progress.detections_left or frames >= progress.frames_left or found.ended
        progress = progress.after(recipe, frames, count, closes_block=closes_block)
        waits = found.count_ahead >= recipe.target_detections and progress.has_room(recipe)
        closes_group = found.ended or (closes_block and not waits)
        due = min(progress.detections_left, most)
        has_room = len(announced) + 1 < MOST_ANNOUNCEMENTS and burst_bytes < MOST_BURST_BYTES
        more_follow = not closes_group and found.count_ahead >= due and has_room
        fresh = yield from draw(FRESH_BYTES)  # now, and not before: see the order in the module's account
        yield from send(
            DetectionAnnouncement(
                first_frame=found.first_frame,
                fresh=fresh,
                count_per_frame=found.count_per_frame,
                gaps=found.gaps,
                bases=found.bases.to_bytes(),
                count_cross_clicks=found.count_cross_clicks,
                cross_gaps=found.cross_gaps,
                closes_block=closes_block,
                closes_group=closes_group,
                ends_stream=found.ended,
                more_follow=more_follow,
            )
        )
        ours = _Announced(
            start, frames, found.count_cross_clicks, found.bases, found.bits, closes_block, closes_group, found.ended, found.watched
        )
        announced.append(ours)
        burst_bytes += len(found.gaps) + len(found.cross_gaps)
        most = _most_detections(len(found.gaps), count)
    sifted = []
    for ours in announced:
        reply = yield from receive(SiftingReply)
        sifted.append((yield from compute(_answered, recipe, ours, reply)))
    return sifted


def _most_detections(bytes_of_slots: int, count_detections: int) -> int:
    """Return how many detections the next announcement may have if their slots take about as many bytes each as those of the last one."""
    fitting = MAXIMUM_FIELD_BYTES * count_detections // (2 * max(bytes_of_slots, 1))
    return min(max(fitting, BATCH_DETECTIONS), MOST_DETECTIONS)


@dataclass(frozen=True, slots=True, eq=False)
class _Taken:
    """Detections taken from the stream, coded."""

    first_frame: int
    count_per_frame: tuple[int, ...]
    gaps: bytes
    bases: Bits
    bits: Bits
    count_cross_clicks: int
    cross_gaps: bytes
    ended: bool
    count_ahead: int
    watched: ReceiverCounts | None


def _taken(take: TakeFrames, first_frame: int, most_frames: int, wanted: int, start: int) -> _Taken:
    """Take detections and code their slots from ``start`` on, which is where the first frame begins."""
    found = take(first_frame, most_frames, wanted)
    bases, bits = split_outcomes(found.outcomes)
    return _Taken(
        found.first_frame,
        tuple(found.count_per_frame.tolist()),
        encode_gaps(found.slots, start).tobytes(),
        bases,
        bits,
        int(found.cross_slots.size),
        encode_gaps(found.cross_slots, start).tobytes(),
        found.ended,
        found.count_ahead,
        found.watched,
    )


def _answered(recipe: Recipe, ours: _Announced, reply: SiftingReply) -> SiftedBatch:
    count = ours.bits.count
    if reply.count_detections != count:
        raise RemoteProtocolError(f"sifting reply for {reply.count_detections} detections, announced were {count}")
    kept, tested = Bits.from_bytes(reply.kept, count), Bits.from_bytes(reply.tested, count)
    if np.any(tested.words & ~kept.words):
        raise RemoteProtocolError("sifting reply discloses a round that it does not keep")
    if recipe.protocol.counts_all_x and np.any(ours.bases.words & ~tested.words):
        raise RemoteProtocolError("sifting reply leaves out a click in X: all of them are disclosed and counted")
    if recipe.test_fractions[1] == 1.0 and np.any(kept.words & ours.bases.words & ~tested.words):
        raise RemoteProtocolError("sifting reply keeps a round in X that it does not disclose: X makes no key on this link")
    return _sifted(recipe, ours, kept, tested, planes_from_bytes(recipe.protocol, reply.intensities, kept))


def sift(recipe: Recipe, progress: GroupProgress, look_up: LookUpSettings) -> Conversation[list[SiftedBatch]]:
    """Answer the next announcements; the other half of ``announce``.

    Parameters
    ----------
    recipe : Recipe
        Shared parameters.
    progress : GroupProgress
        How far the group has come.
    look_up : callable
        Settings by absolute slot.

    Returns
    -------
    list[SiftedBatch]
        Our bits of the matching rounds, announcement by announcement.

    Raises
    ------
    RemoteProtocolError
        If an announcement breaks the block rule or does not decode.
    """
    sifted: list[SiftedBatch] = []
    more_follow = True
    while more_follow:
        said = yield from receive(DetectionAnnouncement)
        count = _checked_count(recipe, said, progress)
        more_follow = said.more_follow
        if more_follow and len(sifted) + 1 >= MOST_ANNOUNCEMENTS:
            raise RemoteProtocolError(f"more than {MOST_ANNOUNCEMENTS} announcements before an answer is taken")
        chance = yield from draw(_CHOICE_BYTES * count if _is_drawn(recipe) else 0)
        reply, batch = yield from compute(_matched, recipe, progress, said, chance, look_up)
        yield from send(reply)
        progress = progress.after(recipe, batch.count_frames, count, closes_block=said.closes_block)
        sifted.append(batch)
    return sifted


def _matched(
    recipe: Recipe, progress: GroupProgress, said: DetectionAnnouncement, chance: bytes, look_up: LookUpSettings
) -> tuple[SiftingReply, SiftedBatch]:
    frames, count = len(said.count_per_frame), sum(said.count_per_frame)
    start = progress.first_slot + said.first_frame * recipe.frame_pulses
    end = start + frames * recipe.frame_pulses
    slots = decode_gaps(said.gaps, count, start, end)
    decode_gaps(said.cross_gaps, said.count_cross_clicks, start, end)
    edges = start + np.arange(frames + 1, dtype=np.int64) * recipe.frame_pulses
    if np.diff(np.searchsorted(slots, edges)).tolist() != list(said.count_per_frame):
        raise RemoteProtocolError("announced detections do not lie in the frames they are counted in")
    theirs = Bits.from_bytes(said.bases, count)
    settings, protocol = look_up(slots), recipe.protocol
    ours, bits = look_up_settings(settings, protocol.setting_bases, protocol.setting_bits)
    matched = ~(ours.words ^ theirs.words)
    kept = Bits.masked(matched | theirs.words if protocol.counts_all_x else matched, count)
    tested = Bits(kept.words & _test_choice(recipe, theirs, chance), count)
    announced = _Announced(start, frames, said.count_cross_clicks, theirs, bits, said.closes_block, said.closes_group, said.ends_stream)
    planes = intensity_planes(protocol, settings, kept)
    batch = _sifted(recipe, announced, kept, tested, planes)
    batch = dataclasses.replace(batch, tested_settings=select_bytes(settings, tested))
    return SiftingReply(count, kept.to_bytes(), tested.to_bytes(), planes_to_bytes(planes)), batch


_CHOICE_BYTES = 2
"""Random bytes by which it is chosen whether a detection is disclosed."""


def _is_drawn(recipe: Recipe) -> bool:
    """Whether chance has a say in what is disclosed."""
    return any(0.0 < fraction < 1.0 for fraction in recipe.test_fractions)


def _test_choice(recipe: Recipe, bases: Bits, chance: bytes) -> NDArray[np.uint64]:
    """Choose, independently for each detection, whether it would be disclosed if it matches: packed, whatever the unused rest."""
    chosen = np.zeros_like(bases.words)
    for members, fraction in zip((~bases.words, bases.words), recipe.test_fractions, strict=True):
        if fraction == 1.0:
            chosen |= members
        elif fraction > 0.0:  # a detection is in one basis only: both may look at the same bytes
            chosen |= members & Bits.from_flags(biased_flags(_Drawn(chance), bases.count, fraction)).words
    return chosen


class _Drawn:
    """Bytes already drawn, handed out in order."""

    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)

    def draw(self, count_bytes: int) -> bytes:
        """Return the next bytes."""
        taken, self._data = bytes(self._data[:count_bytes]), self._data[count_bytes:]
        return taken


def _checked_count(recipe: Recipe, said: DetectionAnnouncement, progress: GroupProgress) -> int:
    """Hold the announcement to the block rule and return its number of detections."""
    frames = len(said.count_per_frame)
    count = sum(said.count_per_frame)
    if count_bytes(count) != len(said.bases):  # before anything is made in that number
        raise RemoteProtocolError(f"{count} detections announced with {len(said.bases)} bytes of bases")
    if recipe.protocol.count_intensities > 1 and count > MOST_WITH_INTENSITIES:
        raise RemoteProtocolError(f"{count} detections announced, {MOST_WITH_INTENSITIES} at most where their intensities are to be said")
    if said.first_frame != progress.next_frame or frames > progress.frames_left or (frames == 0 and not said.ends_stream):
        raise RemoteProtocolError("announced frames do not follow the last ones, or are too many for the block")
    if frames and count - said.count_per_frame[-1] >= progress.detections_left:
        raise RemoteProtocolError("the block should have closed at an earlier frame boundary")
    if said.closes_block != (count >= progress.detections_left or frames >= progress.frames_left or said.ends_stream):
        raise RemoteProtocolError("the block is closed, or left open, against the block rule")
    after = progress.after(recipe, frames, count, closes_block=said.closes_block)
    if (said.closes_group and not said.closes_block) or (said.ends_stream and not said.closes_group):
        raise RemoteProtocolError("a group of blocks ends with a block, and with the stream")
    if (said.closes_block and not said.closes_group and not after.has_room(recipe)) or (said.closes_group and said.more_follow):
        raise RemoteProtocolError("the group of blocks goes on beyond its end")
    return count


def _sifted(recipe: Recipe, announced: _Announced, kept: Bits, tested: Bits, planes: Planes) -> SiftedBatch:
    key = kept.words & ~tested.words
    bits, bases = announced.bits.words, announced.bases.words
    return SiftedBatch(
        count_frames=announced.count_frames,
        count_detections=announced.bits.count,
        count_cross_clicks=announced.count_cross_clicks,
        key=KeyBits(Bits(*select_bits(bits, key)), Bits(*select_bits(bases, key))),
        tested_bits=Bits(*select_bits(bits, tested.words)),
        tested_bases=Bits(*select_bits(bases, tested.words)),
        closes_block=announced.closes_block,
        closes_group=announced.closes_group,
        ends_stream=announced.ends_stream,
        tested_intensities=chosen_intensities(planes, tested),
        key_by_intensity=count_by_intensity(recipe.protocol, planes, key),
        watched=announced.watched,
        first_slot=announced.first_slot,
    )
