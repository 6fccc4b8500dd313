"""Bob's station: a recorded tag stream becomes detections in frames, as the protocol's halves ask for them.

Tags go through clock recovery, gate and detection rules. The gate is chosen on the first tags, which never make key:
frames begin behind them and behind the sacrificed detections.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bob.clock_recovery import clock_from_photons, clock_from_reference
from bob.detection import DetectionCounts, detect
from bob.detector_monitor import DetectorMonitor, quiet_width_ps, receiver_counts
from bob.gating import Gate, GateChoice, open_gate
from bob.kernels import NOT_A_DETECTOR
from bob.pulse_clock import PulseClock
from bob.reading import Reading
from common.distillation.recipe import BATCH_DETECTIONS
from common.distillation.synchronisation import ATTEMPTS, MORE_DETECTIONS, SACRIFICED_DETECTIONS, Frames, SacrificedDetections
from common.distillation.values import ClosedBlock, FramedDetections, MonitorReading
from common.errors import LocalProtocolError, StreamError
from common.profiles.link import LinkProfile
from common.randomness import Randomness
from common.timetags.tags import TimeTags

GATE_TAGS = 20_000
"""Tags the gate is chosen from, at most a tenth of a recording: the centre is then known to a hundredth of the pulse's width."""


@dataclass(frozen=True, slots=True, eq=False)
class Reception:
    """What was found out about a recording on the way, for reports.

    Attributes
    ----------
    clock : PulseClock
        The recovered clock.
    gate : GateChoice
        The gate, and what it keeps.
    counts : DetectionCounts
        Where the tags went.
    """

    clock: PulseClock
    gate: GateChoice
    counts: DetectionCounts


class DetectionStation:
    """A recorded tag stream.

    Parameters
    ----------
    tags : TimeTags
        All tags of the recording.
    profile : LinkProfile
        Clock, gate width, dead time.
    randomness : Randomness
        Draws the bits of double clicks.

    Raises
    ------
    StreamError
        If no clock can be found in the tags.
    ConfigurationError
        If the channels name no detectors.
    """

    def __init__(self, tags: TimeTags, profile: LinkProfile, randomness: Randomness) -> None:
        reading = Reading.of(profile, tags.channels)
        is_detector = reading.row_of_channel[tags.channel] != NOT_A_DETECTOR
        t_ps, channel = (tags.t_ps, tags.channel) if is_detector.all() else (tags.t_ps[is_detector], tags.channel[is_detector])
        if not t_ps.size:
            raise StreamError("the recording holds no detector tags; check the channel names")
        clock_hz = profile.source.clock_hz
        if tags.sync_divider and "sync" in tags.channels:
            self._stride = tags.sync_divider
            clock = clock_from_reference(tags.times_of("sync"), clock_hz, tags.sync_divider)
        else:
            self._stride = 1
            clock = clock_from_photons(t_ps, clock_hz, channel=channel)
        t_ps, channel = clock.align(t_ps, channel)
        count_early = min(GATE_TAGS, t_ps.size // 10 + 1)
        early = t_ps[:count_early], channel[:count_early]
        choice = open_gate(*early, clock, reading, profile.receiver.gate_ps, quiet_width_ps(profile))
        found = detect(t_ps, channel, clock, choice.gate, reading, profile.receiver.dead_time_ps, randomness, quiet=choice.quiet)
        self.reception = Reception(clock, choice, found.counts)
        first_slot, early_slot = (int(slot) for slot in clock.slots_and_phases(t_ps[[0, count_early - 1]])[0])
        origin = first_slot // self._stride * self._stride  # our slot 0 lies at the first tag, or the reference pulse before it
        self._first_detection = int(np.searchsorted(found.slot, early_slot, side="right"))
        self._slots, self._outcomes, self._cross_slots = found.slot - origin, found.outcome, found.cross_slot - origin
        self._double_slots, self._quiet_slots = found.double_slot - origin, found.quiet_slot - origin
        self._monitor = DetectorMonitor(profile)
        self._frames: Frames | None = None
        self._frame_pulses = 0

    @property
    def gate(self) -> Gate:
        """The gate in use."""
        return self.reception.gate.gate

    def judge(self, block: ClosedBlock) -> tuple[MonitorReading, ...]:
        """Read the detectors' monitors for a ``block``; nothing where they were told nothing."""
        return () if block.watched is None else self._monitor.read(block.watched)

    def sacrifice(self, attempt: int) -> SacrificedDetections:
        """Return the detections of one stretch, to be disclosed whole.

        Parameters
        ----------
        attempt : int
            0 for the stretch behind the gate's data, higher ones further on in the recording.

        Returns
        -------
        SacrificedDetections
            Slots by our clock.
        """
        usable = self._slots.size - self._first_detection
        first = self._first_detection + usable * attempt // ATTEMPTS
        part = slice(first, first + (SACRIFICED_DETECTIONS if attempt == 0 else MORE_DETECTIONS))
        return SacrificedDetections(self._slots[part], self._outcomes[part], self._stride)

    def matched(self, frames: Frames, frame_pulses: int) -> None:
        """Renumber everything by absolute slots, and leave out what does not lie in the frames.

        Parameters
        ----------
        frames : Frames
            Offset, first slot and number of frames.
        frame_pulses : int
            Pulses a frame.
        """
        self._frames, self._frame_pulses = frames, frame_pulses
        end = frames.first_slot + frames.count_frames * frame_pulses
        absolute, cross = self._slots + frames.offset, self._cross_slots + frames.offset
        inside = (absolute >= frames.first_slot) & (absolute < end)
        self._slots, self._outcomes = absolute[inside], self._outcomes[inside]
        self._cross_slots = cross[(cross >= frames.first_slot) & (cross < end)]
        self._double_slots, self._quiet_slots = self._double_slots + frames.offset, self._quiet_slots + frames.offset

    def take(self, first_frame: int, most_frames: int, wanted_detections: int) -> FramedDetections:
        """Return whole frames until so many detections are reached.

        Parameters
        ----------
        first_frame : int
            Where to begin.
        most_frames : int
            Frames at most.
        wanted_detections : int
            Stop at the first frame boundary with so many.

        Returns
        -------
        FramedDetections
            With ``ended`` set where the recording or the emission record is used up.

        Raises
        ------
        LocalProtocolError
            If the slots have not been matched.
        """
        if self._frames is None:
            raise LocalProtocolError("frames were asked for before the slots were matched")
        last_slot = max((int(part[-1]) for part in (self._slots, self._cross_slots) if part.size), default=self._frames.first_slot - 1)
        count_frames = (last_slot - self._frames.first_slot) // self._frame_pulses + 1
        end_frame = min(first_frame + most_frames, count_frames)
        edges = self._frames.first_slot + np.arange(first_frame, max(first_frame, end_frame) + 1, dtype=np.int64) * self._frame_pulses
        bounds, cross_bounds = np.searchsorted(self._slots, edges), np.searchsorted(self._cross_slots, edges)
        reached = int(np.searchsorted(bounds[1:] - bounds[0], wanted_detections)) + 1
        crossed = int(np.searchsorted(cross_bounds[1:] - cross_bounds[0], BATCH_DETECTIONS)) + 1  # an eavesdropper can make many
        taken = min(reached, crossed, bounds.size - 1)
        part = slice(int(bounds[0]), int(bounds[taken]))
        cross = slice(int(cross_bounds[0]), int(cross_bounds[taken]))
        doubles, quiet = (int(np.diff(np.searchsorted(slots, edges[[0, taken]]))[0]) for slots in (self._double_slots, self._quiet_slots))
        return FramedDetections(
            first_frame=first_frame,
            count_per_frame=np.diff(bounds[: taken + 1]),
            slots=self._slots[part],
            outcomes=self._outcomes[part],
            cross_slots=self._cross_slots[cross],
            ended=first_frame + taken >= count_frames,
            count_ahead=int(self._slots.size - bounds[taken]),
            watched=receiver_counts(taken * self._frame_pulses, self._outcomes[part], doubles, cross.stop - cross.start, quiet),
        )
