"""One run of a tagger: its tags become detections that wait, numbered by Bob's slots, until somebody takes them.

The clock is tracked, the gate chosen from the tags in which the clock was found, and every piece of tags goes through the detection rules
with what is known of the tags before it. A gap in the stream is noted as the slots it touched. Batches come from ``bob.live``, which gives
out what waits here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bob.detection import DetectionCounts, detect
from bob.detector_monitor import quiet_width_ps
from bob.gating import SHOWN_BINS, GateChoice, PhaseHistogram, open_gate, phase_histogram, renewed, windows_ps
from bob.kernels import NOT_A_DETECTOR
from bob.reading import Reading
from bob.tracking import ENOUGH_GATE_TAGS, ENOUGH_TIME_BIN_TAGS, Acquired, ClockTracker, Piece
from bob.waiting import WaitingDetections
from common.errors import LocalProtocolError
from common.timetags.live import TagBatch, TagStream

if TYPE_CHECKING:
    from bob.pulse_clock import PulseClock
    from common.profiles.link import LinkProfile
    from common.randomness import Randomness

GLANCED_TAGS = 1024
"""Tags at the beginning of a piece whose phases are shown: enough to see a gate by, too few to cost anything."""


class StreamRun:
    """One run of a tagger.

    Parameters
    ----------
    opened : TagStream
        Channels and sync divider.
    profile : LinkProfile
        Clock, gate width, dead time.
    randomness : Randomness
        Draws the bits of double clicks.

    Attributes
    ----------
    tracker : ClockTracker
        Follows the clock.
    waiting : WaitingDetections
        What nobody has taken yet.
    choice, clock, last_counts : GateChoice, PulseClock, DetectionCounts
        Gate, latest clock, and where the tags of the latest piece went; None before there is one.
    arrivals : PhaseHistogram | None
        Phases of some of the newest tags, to be looked at.
    offset : int
        Add this to Bob's slots: zero until slots of this run were matched for the first time.
    has_ended : bool
        Whether the sender has said that nothing follows.
    gap_is_due, is_uncertain : bool
        After a reconnection: tags may be missing, and it is not known yet whether the run is the same.

    Raises
    ------
    ConfigurationError
        If the channels name no detectors.
    """

    def __init__(self, opened: TagStream, profile: LinkProfile, randomness: Randomness) -> None:
        self.opened = opened
        self._reading = Reading.of(profile, opened.channels)
        enough_tags = ENOUGH_TIME_BIN_TAGS if self._reading.pitch_ps else ENOUGH_GATE_TAGS
        row_of_channel = self._reading.row_of_channel
        self.tracker = ClockTracker(profile.source.clock_hz, opened.channels, opened.sync_divider, row_of_channel, enough_tags)
        self.waiting = WaitingDetections()
        self.choice: GateChoice | None = None
        self.clock: PulseClock | None = None
        self.offset = 0
        self.has_ended = False
        self.gap_is_due = self.is_uncertain = False
        self.last_counts: DetectionCounts | None = None
        self.arrivals: PhaseHistogram | None = None
        self._profile = profile
        self._randomness = randomness
        self._last_ps: int | None = None
        self._gaps_ps: list[tuple[int, int]] = []

    def feed(self, batch: TagBatch) -> bool:
        """Take in a ``batch``; True where a gap lies before it."""
        gap = (batch.gap or self.gap_is_due) and self._last_ps is not None and bool(batch.t_ps.size)
        self.tracker.feed(batch.t_ps, batch.channel)
        if gap and self._last_ps is not None:
            self._gaps_ps.append((self._last_ps, int(batch.t_ps[0])))
        if batch.t_ps.size:
            self._last_ps, self.gap_is_due = int(batch.t_ps[-1]), False
        if batch.ended:
            self.tracker.finish()
            self.has_ended = True
        return gap

    def open_gate(self, found: Acquired) -> None:
        """Choose the gate from the tags the clock was ``found`` in."""
        self.clock = found.clock
        gate_ps = self._profile.receiver.gate_ps
        self.choice = open_gate(found.t_ps, found.channel, found.clock, self._reading, gate_ps, quiet_width_ps(self._profile))
        self.tracker.border_ps = self.choice.gate.centre_ps + 0.5 * found.clock.period_ps

    def add(self, piece: Piece) -> DetectionCounts:
        """Detect in a piece.

        Parameters
        ----------
        piece : Piece
            Follows the one before.

        Returns
        -------
        DetectionCounts
            Where its tags went.

        Raises
        ------
        LocalProtocolError
            If no gate has been chosen.
        """
        if self.choice is None:
            raise LocalProtocolError("tags were tracked before the gate was chosen")
        dead_ps = self._profile.receiver.dead_time_ps
        found = detect(
            piece.t_ps,
            piece.channel,
            piece.clock,
            self.choice.gate,
            self._reading,
            dead_ps,
            self._randomness,
            previous_ps=piece.previous_ps,
            quiet=self.choice.quiet,
        )
        waiting = self.waiting
        low = -(1 << 62) if waiting.through_slot is None else waiting.through_slot  # two clocks may differ by a hair at the cut
        first, end = np.searchsorted(found.slot, [low, piece.through_slot], side="right")
        waiting.clicks.append(found.slot[first:end], found.outcome[first:end])
        others = ((waiting.cross_clicks, found.cross_slot), (waiting.doubles, found.double_slot), (waiting.quiet, found.quiet_slot))
        for queue, slots in others:
            first, end = np.searchsorted(slots, [low, piece.through_slot], side="right")
            queue.append(slots[first:end], np.zeros(end - first, np.uint8))
        self._mark_gaps(piece, int(np.ceil(dead_ps)))
        waiting.through_slot = piece.through_slot
        self.clock, self.last_counts = piece.clock, found.counts
        glanced = piece.t_ps[:GLANCED_TAGS], piece.channel[:GLANCED_TAGS]
        self.arrivals = renewed(self.arrivals, phase_histogram(*glanced, piece.clock, self._reading.row_of_channel, SHOWN_BINS))
        return found.counts

    def _mark_gaps(self, piece: Piece, dead_ps: int) -> None:
        """Note which slots a gap touched; behind it the detectors may have been dead for a while."""
        remaining = []
        reach_ps = int(np.abs(piece.clock.skew_ps).max()) + 2 * int(piece.clock.period_ps)
        for begin_ps, end_ps in self._gaps_ps:
            slots = piece.clock.slots_and_phases(np.array([begin_ps - reach_ps, end_ps + dead_ps + reach_ps]))[0]
            self.waiting.lost.append((int(slots[0]), int(slots[1])))
            if int(slots[1]) > piece.through_slot:
                remaining.append((begin_ps, end_ps))
        self._gaps_ps = remaining

    def report_arrivals(self) -> dict[str, Any] | None:
        """Say where in the period photons arrive, by detector, and what of it the gate takes.

        Returns
        -------
        dict | None
            ``period_ps``; ``gate_ps``, stretches of the period; ``counts`` in its equal bins, by detector. None where nothing is known yet.
        """
        arrivals, choice, reading = (
            self.arrivals,
            self.choice,
            self._reading,
        )  # asked from another thread than the one that adds and forgets
        if arrivals is None or choice is None:
            return None
        rows, count_windows = reading.row_of_channel, reading.click_of_channel.shape[0]
        return {
            "period_ps": arrivals.period_ps,
            "gate_ps": windows_ps(choice.gate, arrivals.period_ps, count_windows, reading.pitch_ps),
            "counts": {
                name: arrivals.counts[rows[channel]].tolist()
                for name, channel in self.opened.channels.items()
                if rows[channel] != NOT_A_DETECTOR
            },
        }

    def forget(self) -> None:
        """Let everything go that waits: the lock was lost, and slots ahead may be numbered otherwise."""
        self.waiting = WaitingDetections()
        self.choice = self.arrivals = None
