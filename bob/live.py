"""Bob's live station: a tag stream becomes detections in frames as it arrives, as the protocol's halves ask for them.

Computations ask from threads of their own; whoever asks reads the stream on, tracks the clock and detects, and waits, with a bound, for
whole frames. Nothing is read while nobody asks, which is what slows a stream that can be paused. Frames touched by a gap, whether the
sender lost tags or we were too slow, are announced empty and counted: they stay numbered, and no outcome was looked at. The station
outlives sessions: each one sacrifices fresh detections. When the lock is lost or the sender begins a new run, the session ends.
Items come from ``common.service.streams``; detections go to ``bob.playbook``.
"""

from __future__ import annotations

import dataclasses
import threading
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

import numpy as np

from bob.detector_monitor import DetectorMonitor, receiver_counts
from bob.station import Reception
from bob.stream_run import StreamRun
from bob.tracking import Acquired, LockLost, Piece
from bob.waiting import WaitingDetections
from common.distillation.synchronisation import MORE_DETECTIONS, SACRIFICED_DETECTIONS, Frames, SacrificedDetections
from common.distillation.values import ClosedBlock, FramedDetections, MonitorReading
from common.errors import LocalProtocolError, StreamError
from common.service.streams import BatchQueue, StreamAddress, StreamClient
from common.timetags.live import StreamItem, TagBatch, TagStream

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bob.detection import DetectionCounts
    from common.profiles.link import LinkProfile
    from common.randomness import Randomness

WAIT_SECONDS: Final = 25.0
"""How long a computation waits for tags before the session is given up; the peer waits a little longer for us."""

PATIENCE_SECONDS: Final = 1.0
"""After this what whole frames there are will do."""

POLL_SECONDS: Final = 0.1
"""How long one look at the stream waits."""

UNREACHED_SLOT: Final = 1 << 62
"""No slot lies so far from zero."""

LEAST_SACRIFICED: Final = 256
"""Detections that do as a sacrifice where more are too long in coming."""


class TagSource(Protocol):
    """Where items of a tag stream come from, in order."""

    def next(self, timeout_seconds: float) -> StreamItem | None:
        """Return the next item, or None where none comes in time."""
        ...


@dataclass(slots=True)
class LiveCounts:
    """Where tags and frames went, since the station began.

    Attributes
    ----------
    tags, unlocked, out_of_gate, in_gate, dead_rounds, doubles, cross_clicks, detections : int
        As in ``bob.detection.DetectionCounts``.
    gaps, dropped_frames : int
        Gaps in the stream, and frames announced empty because one touched them.
    lock_losses, runs, sessions : int
        Losses of lock, runs of the sender, sessions that began.
    """

    tags: int = 0
    unlocked: int = 0
    out_of_gate: int = 0
    in_gate: int = 0
    dead_rounds: int = 0
    doubles: int = 0
    cross_clicks: int = 0
    detections: int = 0
    gaps: int = 0
    dropped_frames: int = 0
    lock_losses: int = 0
    runs: int = 0
    sessions: int = 0

    def add(self, counts: DetectionCounts) -> None:
        """Add the ``counts`` of one piece."""
        for name in ("tags", "unlocked", "out_of_gate", "in_gate", "dead_rounds", "doubles", "cross_clicks", "detections"):
            setattr(self, name, getattr(self, name) + getattr(counts, name))


class LiveDetectionStation:
    """Detections of a tag stream.

    Parameters
    ----------
    source : TagSource
        The stream.
    profile : LinkProfile
        Clock, gate width, dead time.
    randomness : Randomness
        Draws the bits of double clicks.
    wait_seconds, patience_seconds : float
        Patience of a computation, and until it takes less than it wanted.
    """

    def __init__(
        self,
        source: TagSource,
        profile: LinkProfile,
        randomness: Randomness,
        *,
        wait_seconds: float = WAIT_SECONDS,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self.counts = LiveCounts()
        self._source = source
        self._profile = profile
        self._randomness = randomness
        self._wait_seconds = wait_seconds
        self._patience_seconds = patience_seconds
        self._client: StreamClient | None = None
        self._queue: BatchQueue | None = None
        self._reading = threading.Lock()
        self._run: StreamRun | None = None
        self._session = 0
        self._is_abandoned = False
        self._newest_run = ""
        self._monitor = DetectorMonitor(profile)
        self._frames: Frames | None = None
        self._frame_pulses = 0
        self._broken = ""

    @classmethod
    def connect(cls, address: StreamAddress, profile: LinkProfile, randomness: Randomness, *, pausable: bool = True) -> Self:
        """Begin to read a tagger.

        Parameters
        ----------
        address : StreamAddress
            Where it is served.
        profile : LinkProfile
            The link.
        randomness : Randomness
            Draws the bits of double clicks.
        pausable : bool
            Whether the sender waits for us; if not, tags are dropped where we are too slow.

        Returns
        -------
        LiveDetectionStation
            Reading; ``close`` ends it.
        """
        queue = BatchQueue(pausable=pausable)
        station = cls(queue, profile, randomness)
        station._queue, station._client = queue, StreamClient(address, "tags", station.deliver)
        station._client.start()
        return station

    @property
    def reception(self) -> Reception | None:
        """Clock, gate and the counts of the latest piece; None before the clock is found."""
        run = self._run
        if run is None or run.clock is None or run.choice is None or run.last_counts is None:
            return None
        return Reception(run.clock, run.choice, run.last_counts)

    @property
    def arrivals(self) -> dict[str, Any] | None:
        """Phases of the newest tags by detector, and the gate, as ``StreamRun.report_arrivals`` says."""
        return None if self._run is None else self._run.report_arrivals()

    @property
    def has_ended(self) -> bool:
        """Whether the sender has said that nothing follows."""
        return self._run is not None and self._run.has_ended

    @property
    def dropped_tags(self) -> int:
        """Tags lost because we were too slow for a sender that does not wait."""
        return self._queue.count_dropped_tags if self._queue else 0

    @property
    def problem(self) -> str:
        """What is wrong with the stream or its clock; empty while all is well."""
        stream = self._client.counts.problem if self._client else ""
        return stream or (self._run.tracker.problem if self._run else "the tagger has not begun")

    def deliver(self, item: StreamItem) -> None:
        """Queue what the stream brought; called by the reading thread, which waits while the queue is full.

        Parameters
        ----------
        item : StreamItem
            The next item of the stream.
        """
        if isinstance(item, TagStream):
            self._newest_run = item.run
        if self._queue is not None:
            self._queue.put(item)

    def begin(self) -> None:
        """Serve a new session."""
        self._is_abandoned = False

    def abandon(self) -> None:
        """Let computations of a session that has ended fail at once: nobody waits for what they wait for."""
        self._is_abandoned = True

    def close(self) -> None:
        """Stop reading and wake whoever waits."""
        self._session += 1
        if self._queue is not None:
            self._queue.close()
        if self._client is not None:
            self._client.close()

    def judge(self, block: ClosedBlock) -> tuple[MonitorReading, ...]:
        """Read the detectors' monitors for a ``block``; nothing where they were told nothing."""
        return () if block.watched is None else self._monitor.read(block.watched)

    def sacrifice(self, attempt: int) -> SacrificedDetections:
        """Return detections nobody has seen yet, to be disclosed whole; the first attempt begins a session.

        Parameters
        ----------
        attempt : int
            0 for the first of a session.

        Returns
        -------
        SacrificedDetections
            Slots by our clock.

        Raises
        ------
        StreamError
            If the clock is not found or too few detections come in time.
        """
        if attempt == 0:
            self._session += 1
            self._frames, self._broken = None, ""
            self.counts.sessions += 1
        session, began = self._session, monotonic()
        wanted = SACRIFICED_DETECTIONS if attempt == 0 else MORE_DETECTIONS
        while True:
            with self._reading:
                self._check(session)
                self._catch_up()
                run = self._run
                count = 0 if run is None else run.waiting.clicks.size
                late = monotonic() - began > self._wait_seconds or self.has_ended
                if run is not None and (count >= wanted or (late and count >= LEAST_SACRIFICED)):
                    last = run.waiting.clicks.slot_at(min(count, wanted) - 1)
                    slots, outcomes = run.waiting.clicks.between(-UNREACHED_SLOT, last + 1)
                    run.waiting.forget_through(last)
                    return SacrificedDetections(slots + run.offset, outcomes, run.tracker.stride)
                if late and not self._read_on():
                    raise StreamError(f"time tags: {count} detections to match slots with, {LEAST_SACRIFICED} are needed; {self._why()}")
                if not late:
                    self._read_on()

    def matched(self, frames: Frames, frame_pulses: int) -> None:
        """Take note of the frames; nothing is waited for.

        Parameters
        ----------
        frames : Frames
            Offset, first slot and number of frames.
        frame_pulses : int
            Pulses a frame.
        """
        run = self._run
        if run is not None:  # the next session of this run is given slots that need no search, whoever its peer is by then
            run.offset += frames.offset
            frames = dataclasses.replace(frames, offset=run.offset)
        self._frames, self._frame_pulses = frames, frame_pulses

    def take(self, first_frame: int, most_frames: int, wanted_detections: int) -> FramedDetections:
        """Return whole frames until so many detections are reached, or what whole frames there are after a while.

        Parameters
        ----------
        first_frame : int
            Where to begin; frames before it are gone.
        most_frames : int
            Frames at most.
        wanted_detections : int
            Stop at the first frame boundary with so many.

        Returns
        -------
        FramedDetections
            At least one frame; ``ended`` set where the stream or the emission record is used up.

        Raises
        ------
        StreamError
            If no frame is whole in time, the lock is lost, or the sender began anew.
        LocalProtocolError
            If the slots have not been matched.
        """
        session, began, frames = self._session, monotonic(), self._frames
        if frames is None:
            raise LocalProtocolError("frames were asked for before the slots were matched")
        while True:
            with self._reading:
                self._catch_up()
                self._check(session)
                whole, ended = self._count_whole(frames)
                taken, count = self._reached(frames, first_frame, min(first_frame + most_frames, whole), wanted_detections)
                waited_seconds = monotonic() - began
                enough = count >= wanted_detections or taken >= most_frames or waited_seconds > self._patience_seconds
                if ended or (taken > 0 and enough):
                    return self._cut_out(frames, first_frame, taken, whole, ended=ended and first_frame + taken >= whole)
                if waited_seconds > self._wait_seconds:
                    raise StreamError(f"time tags: no whole frame in {self._wait_seconds:g} s; {self._why()}")
                self._read_on()

    def _check(self, session: int) -> None:
        if session != self._session or self._is_abandoned:
            raise StreamError("the session is over, another session has begun, or the node is stopping")
        if self._broken:
            raise StreamError(self._broken)

    def _why(self) -> str:
        return self.problem or ("the stream has ended" if self.has_ended else "the tagger sends too little")

    def _catch_up(self) -> None:
        """Come to the newest run of the sender: what waits of an earlier one matches nothing that is emitted."""
        while self._run is not None and self._newest_run != self._run.opened.run and self._newest_run and self._read_on():
            pass

    def _read_on(self) -> bool:
        """Take the next item from the stream and detect what it completes; False where there is none."""
        item = self._source.next(0.0 if self.has_ended else POLL_SECONDS)
        match item:
            case None:
                return False
            case TagStream():
                self._open(item)
            case TagBatch():
                self._take_in(item)
            case _:
                raise StreamError("tag stream: an emission came in place of time tags")
        run = self._run
        while run is not None and (tracked := run.tracker.step()) is not None:
            match tracked:
                case Acquired():
                    run.open_gate(tracked)
                case Piece():
                    self.counts.add(run.add(tracked))
                case LockLost():
                    self.counts.lock_losses += 1
                    run.forget()
                    self._break(f"the clock lost its lock: {tracked.reason}")
        return True

    def _open(self, opened: TagStream) -> None:
        run = self._run
        if run is not None and (opened.channels, opened.sync_divider, opened.run) == (
            run.opened.channels,
            run.opened.sync_divider,
            run.opened.run,
        ):
            run.is_uncertain, run.gap_is_due = not opened.run, True
        else:
            self._begin(opened)

    def _begin(self, opened: TagStream) -> None:
        self.counts.runs += 1
        if self._run is not None:
            self._break("the tagger began anew: its slots are others")
        self._run = StreamRun(opened, self._profile, self._randomness)

    def _take_in(self, batch: TagBatch) -> None:
        run = self._run
        if run is None:
            raise LocalProtocolError("a batch came before the beginning of its stream")
        if run.is_uncertain and not batch.gap:
            self._begin(run.opened)  # a sender that names no run and knows of no gap counts from the beginning
        run = self._run or run
        run.is_uncertain = False
        try:
            self.counts.gaps += run.feed(batch)
        except StreamError:
            self._begin(run.opened)
            raise

    def _break(self, reason: str) -> None:
        """End the session, if there is one whose slots are matched."""
        if self._frames is not None:
            self._broken = reason

    def _count_whole(self, frames: Frames) -> tuple[int, bool]:
        """Frames that are complete, from frame 0 on, and whether there will be no more."""
        run = self._run
        if run is None or run.waiting.through_slot is None:
            return 0, False
        through = run.waiting.through_slot + frames.offset - frames.first_slot
        whole = (through + 1) // self._frame_pulses
        ended = run.has_ended and run.tracker.is_done
        if ended:  # the last frame is as long as the stream was
            lasts = [queue.last for queue in (run.waiting.clicks, run.waiting.cross_clicks)]
            last = max((slot for slot in lasts if slot is not None), default=None)
            whole = whole if last is None else max(whole, (last + frames.offset - frames.first_slot) // self._frame_pulses + 1)
        return min(whole, frames.count_frames), ended or whole >= frames.count_frames

    def _edges(self, frames: Frames, first_frame: int, count: int) -> NDArray[np.int64]:
        """Bob's slots at which frames begin, int64[count + 1]."""
        return frames.first_slot - frames.offset + (first_frame + np.arange(count + 1, dtype=np.int64)) * self._frame_pulses

    def _reached(self, frames: Frames, first_frame: int, end_frame: int, wanted: int) -> tuple[int, int]:
        """Whole frames to be taken, and detections in them, those in frames touched by a gap not counted."""
        if end_frame <= first_frame:
            return 0, 0
        counts = self._counts(frames, first_frame, end_frame - first_frame)
        taken = min(int(np.searchsorted(np.cumsum(counts), wanted)) + 1, counts.size)
        return taken, int(counts[:taken].sum())

    def _counts(self, frames: Frames, first_frame: int, count: int) -> NDArray[np.int64]:
        if self._run is None:
            return np.zeros(count, np.int64)
        counts = self._run.waiting.clicks.counts(self._edges(frames, first_frame, count))
        counts[self._touched(frames, first_frame, count)] = 0
        return counts

    def _touched(self, frames: Frames, first_frame: int, count: int) -> NDArray[np.bool_]:
        """Which frames a gap touched, bool[count]."""
        touched = np.zeros(count, np.bool_)
        for low, high in self._run.waiting.lost if self._run else ():
            begin = (low + frames.offset - frames.first_slot) // self._frame_pulses - first_frame
            end = (high + frames.offset - frames.first_slot) // self._frame_pulses - first_frame
            touched[max(begin, 0) : max(end + 1, 0)] = True
        return touched

    def _cut_out(self, frames: Frames, first_frame: int, taken: int, whole: int, *, ended: bool) -> FramedDetections:
        edges = self._edges(frames, first_frame, taken)
        touched = self._touched(frames, first_frame, taken)
        self.counts.dropped_frames += int(np.count_nonzero(touched))
        waiting = self._run.waiting if self._run else WaitingDetections()
        counts = waiting.clicks.counts(edges)
        slots, outcomes = waiting.clicks.between(int(edges[0]), int(edges[-1]))
        cross_slots, _ = waiting.cross_clicks.between(int(edges[0]), int(edges[-1]))
        doubles, quiet = (int(queue.counts(edges)[~touched].sum()) for queue in (waiting.doubles, waiting.quiet))
        if touched.any():
            kept = np.repeat(~touched, counts)
            slots, outcomes = slots[kept], outcomes[kept]
            cross_slots = cross_slots[~touched[(cross_slots - edges[0]) // self._frame_pulses]]
            counts[touched] = 0
        waiting.forget_through(int(edges[-1]) - 1)
        ahead = waiting.clicks.counts(self._edges(frames, first_frame + taken, max(whole - first_frame - taken, 0))[[0, -1]])
        slots += frames.offset
        cross_slots += frames.offset
        whole_pulses = int(np.count_nonzero(~touched)) * self._frame_pulses
        watched = receiver_counts(whole_pulses, outcomes, doubles, cross_slots.size, quiet)
        return FramedDetections(first_frame, counts, slots, outcomes, cross_slots, ended, int(ahead.sum()), watched)
