"""Clock recovery of a stream: the clock of a recording, window by window, with slots numbered on without a break.

A first stretch is acquired from cold. Then every window is fitted by the functions that fit a recording, over the new tags and some of the
ones before; where the two clocks overlap they must differ by whole slots (whole multiples of the sync divider), and by that difference the
new one is renumbered. If it does not, or the light was gone for too long, the lock is lost, and acquisition begins again.

Where windows are cut depends on the tags alone, never on how they arrived in batches, so a stream gives what its recording would. Tags come
from ``common.service.streams``, pieces go to ``bob.live``.
"""

from __future__ import annotations

import dataclasses
import math
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from bob.clock_recovery import SEARCH_PPM, clock_from_photons, clock_from_reference
from bob.kernels import NOT_A_DETECTOR, count_chosen, pick_evenly
from bob.phase_tracking import REACQUIRE_PPM
from bob.pulse_clock import PS_PER_S, PulseClock
from bob.tag_buffer import TagBuffer
from common.errors import StreamError
from common.timetags.tags import SYNC_CHANNEL

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

FIRST_ATTEMPT_SECONDS: Final = 0.125
"""Tags of so long are tried first; each further attempt takes twice as long a stretch."""

LAST_ATTEMPT_SECONDS: Final = 16.0
"""After this the older half is let go."""

MOST_PENDING_TAGS: Final = 1 << 22
"""More tags than this are not waited for: 36 MiB, and any clock that can be found is found in them."""

GATE_TAGS: Final = 20_000
"""Detector tags the gate should be chosen from, as for a recording."""

ENOUGH_GATE_TAGS: Final = 2_000
"""Detector tags that do where more would take longer than ``PATIENT_SECONDS``."""

ENOUGH_TIME_BIN_TAGS: Final = 8_000
"""The same with time bins, which leave little room between them."""

PATIENT_SECONDS: Final = 2.0
"""Stretch after which ``ENOUGH_GATE_TAGS`` do; after the longest stretch any number does."""

WINDOW_TAGS: Final = 4096
"""Clock tags in a window: they fix the clock to a hundredth of their spread."""

SHORTEST_WINDOW_SECONDS: Final = 0.25
LONGEST_WINDOW_SECONDS: Final = 4.0
"""Bounds of a window: over 4 s a crystal wanders by less than the smoother follows."""

OVERLAP: Final = 0.5
"""Share of a window that the next fit looks at again; the middle of it is where one clock hands over to the next."""

MOST_FITTED_TAGS: Final = 1 << 14
"""Of more clock tags in a fit evenly picked ones are used."""

MOST_WINDOWS_WITHOUT_CLOCK: Final = 8
"""Windows the light may be gone before the lock counts as lost."""

LARGEST_MISMATCH_SLOTS: Final = 0.25
"""By how much two clocks may disagree in their overlap, beyond whole slots."""

PEAK_WEIGHT: Final = 0.1
"""Weight of a new window in where photons are most frequent: a single window of few photons shows it poorly."""

OVERLAP_POINTS: Final = 33
"""Times at which two clocks are compared."""

PIECE_TAGS: Final = 1 << 16
"""Tags handed out together: what is made of them stays in the cache."""

LOOK_BACK_TAGS: Final = 1 << 12
"""Tags among which the last one of a detector is looked for at a time."""


@dataclass(frozen=True, slots=True, eq=False)
class Acquired:
    """The clock has been found; these tags show where photons arrive, and are not to become key.

    Attributes
    ----------
    t_ps : int64[n], picoseconds
        Tags of all channels, delays taken off.
    channel : uint8[n]
        Their channels.
    clock : PulseClock
        Slots are those of all later pieces.
    """

    t_ps: NDArray[np.int64]
    channel: NDArray[np.uint8]
    clock: PulseClock


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """Tags between two cuts, each cut on the border between two slots.

    Attributes
    ----------
    t_ps : int64[n], picoseconds
        Tags of all channels, delays taken off.
    channel : uint8[n]
        Their channels.
    clock : PulseClock
        Good for them.
    through_slot : int
        Last slot whose tags are among these or before them.
    previous_ps : int or None, picoseconds
        Last detector tag before these, where it is known.
    """

    t_ps: NDArray[np.int64]
    channel: NDArray[np.uint8]
    clock: PulseClock
    through_slot: int
    previous_ps: int | None


@dataclass(frozen=True, slots=True)
class LockLost:
    """The lock was lost; another ``Acquired`` follows.

    Attributes
    ----------
    at_ps : int, picoseconds
        Where.
    reason : str
        Why, for people.
    """

    at_ps: int
    reason: str


class ClockTracker:
    """Finds and follows the pulse clock in a stream of tags.

    Parameters
    ----------
    clock_hz : float, Hz
        Pulse rate of the link's profile.
    channels : mapping of str to int
        Channel number of each name.
    sync_divider : int
        Slots between reference pulses; 0 where the photons alone have to do.
    row_of_channel : uint8[256]
        ``NOT_A_DETECTOR`` for channels that are no detectors.
    enough_tags : int
        Detector tags that do for choosing the gate where more would take longer than ``PATIENT_SECONDS``.

    Attributes
    ----------
    border_ps : float, picoseconds
        Phase at which pieces are cut: half a period from the middle of the gate. To be set when the gate has been chosen.
    stride : int
        Slots are right up to a multiple of this.
    problem : str
        Why the last attempt to find the clock failed.
    """

    def __init__(
        self,
        clock_hz: float,
        channels: Mapping[str, int],
        sync_divider: int,
        row_of_channel: NDArray[np.uint8],
        enough_tags: int = ENOUGH_GATE_TAGS,
    ) -> None:
        self.border_ps = 0.0
        self._enough_tags = enough_tags
        self.problem = ""
        self._nominal_hz = clock_hz
        sync = channels.get(SYNC_CHANNEL) if sync_divider else None
        self.stride = 1 if sync is None else sync_divider
        self._has_sync = sync is not None
        self._gives_clock = row_of_channel != NOT_A_DETECTOR if sync is None else np.arange(256) == sync
        self._is_detector = row_of_channel != NOT_A_DETECTOR
        self._arrived: list[tuple[NDArray[np.int64], NDArray[np.uint8]]] = []
        self._last_ps: int | None = None
        self._t_ps, self._channel = np.zeros(0, np.int64), np.zeros(0, np.uint8)  # while not locked: tags that wait
        self._ended = False
        self._attempt_seconds = FIRST_ATTEMPT_SECONDS
        self._clock: PulseClock | None = None  # the present one, or while the lock is lost the last one
        self._is_locked = self._is_cut_exact = self._is_done = False
        self._locked_end_ps = self._due_ps = self._cut_ps = 0  # end of the last fit, end of the next, begin of the next piece
        self._window_ps = self._overlap_ps = self._count_dark = 0
        self._previous_ps: int | None = None
        self._pieces: deque[Piece] = deque()  # found, and not handed out yet
        self._tags = TagBuffer(np.zeros(256, np.int64))  # while locked: tags that fits still look at, delays taken off

    def feed(self, t_ps: NDArray[np.int64], channel: NDArray[np.uint8]) -> None:
        """Take in the next tags.

        Parameters
        ----------
        t_ps : int64[n], picoseconds
            Non-decreasing, and none before those of the call before.
        channel : uint8[n]
            Channel of each.

        Raises
        ------
        StreamError
            If time runs backwards.
        """
        if not t_ps.size:
            return
        if self._last_ps is not None and int(t_ps[0]) < self._last_ps:
            raise StreamError(f"time tags: tag at {int(t_ps[0])} ps follows one at {self._last_ps} ps; the tagger's clock was set back")
        self._arrived.append((t_ps, channel))
        self._last_ps = int(t_ps[-1])

    def finish(self) -> None:
        """Say that nothing follows."""
        self._ended = True

    def step(self) -> Acquired | Piece | LockLost | None:
        """Return what comes next, or None as long as more tags are needed.

        Returns
        -------
        Acquired | Piece | LockLost | None
            In order of time.
        """
        if self._pieces:
            return self._pieces.popleft()
        if self._last_ps is None:
            return None
        return self._tracked() if self._is_locked else self._acquired()

    @property
    def is_done(self) -> bool:
        """Whether everything has been handed out after ``finish``."""
        return not self._pieces and (self._is_done or (self._ended and not self._is_locked))

    def _gather(self) -> None:
        if self._arrived:
            self._t_ps = np.concatenate([self._t_ps, *(t_ps for t_ps, _ in self._arrived)])
            self._channel = np.concatenate([self._channel, *(channel for _, channel in self._arrived)])
            self._arrived = []

    def _acquired(self) -> Acquired | None:
        """Try the stretch that is due."""
        while True:
            begin = self._t_ps[:1] if self._t_ps.size else (self._arrived[0][0][:1] if self._arrived else None)
            if begin is None:
                return None
            end_ps = int(begin[0]) + round(self._attempt_seconds * PS_PER_S)
            count_waiting = self._t_ps.size + sum(t_ps.size for t_ps, _ in self._arrived)
            if self._last_ps is None or (self._last_ps < end_ps and count_waiting <= MOST_PENDING_TAGS and not self._ended):
                return None
            self._gather()
            count = min(int(np.searchsorted(self._t_ps, end_ps)), MOST_PENDING_TAGS)
            is_last = (
                self._attempt_seconds >= LAST_ATTEMPT_SECONDS or count == MOST_PENDING_TAGS or (self._ended and count == self._t_ps.size)
            )
            found = self._attempt(count, is_last=is_last)
            if found is not None:
                return found
            if not is_last:
                self._attempt_seconds *= 2.0
                continue
            self._attempt_seconds = FIRST_ATTEMPT_SECONDS
            given_up = count if self._ended else max(1, count // 2)
            self._t_ps, self._channel = self._t_ps[given_up:], self._channel[given_up:]

    def _attempt(self, count: int, *, is_last: bool) -> Acquired | None:
        """Look for the clock in the first ``count`` tags."""
        t_ps, channel = self._t_ps[:count], self._channel[:count]
        count_detectors = int(np.count_nonzero(self._is_detector[channel]))
        enough = self._enough_tags if self._attempt_seconds >= PATIENT_SECONDS else GATE_TAGS
        if count < 2 or (count_detectors < enough and not is_last) or not count_detectors:
            self.problem = f"clock not found yet: {count_detectors} detector tags, {enough} are waited for"
            return None
        try:
            clock = self._fitted(t_ps, channel, self._nominal_hz, SEARCH_PPM, with_delays=True)
        except StreamError as not_found:
            self.problem = str(not_found)
            return None
        if clock.quality.lock_losses:
            self.problem = "the clock was found, but not through a whole stretch"
            return None
        self.problem = ""
        clock = self._numbered_on(clock)
        seconds = max(1e-6, float(t_ps[-1] - t_ps[0]) / PS_PER_S)
        rate_hz = float(np.count_nonzero(self._gives_clock[channel])) / seconds
        self._window_ps = round(min(max(WINDOW_TAGS / rate_hz, SHORTEST_WINDOW_SECONDS), LONGEST_WINDOW_SECONDS) * PS_PER_S)
        self._locked_end_ps = int(clock.locked_to_ps[-1])
        self._overlap_ps = min(round(OVERLAP * self._window_ps), (self._locked_end_ps - int(t_ps[0])) // 2)
        self._due_ps = self._locked_end_ps + self._window_ps
        self._cut_ps = self._locked_end_ps - self._overlap_ps // 2
        self._clock, self._is_locked, self._is_cut_exact = clock, True, False
        self._count_dark, self._previous_ps = 0, None
        self._tags = TagBuffer(clock.skew_ps)
        self._tags.append(self._t_ps, self._channel)
        self._t_ps, self._channel = self._t_ps[:0], self._channel[:0]
        early = int(np.searchsorted(self._tags.t_ps, self._cut_ps - math.ceil(2.0 * clock.period_ps)))
        found = Acquired(self._tags.t_ps[:early].copy(), self._tags.channel[:early].copy(), clock)
        self._tags.forget(int(np.searchsorted(self._tags.t_ps, self._locked_end_ps - self._overlap_ps)))
        return found

    def _tracked(self) -> Piece | LockLost | None:
        """Fit the window that is due, and hand out the tags up to the middle of its overlap with the next."""
        clock, last_ps = self._clock, self._last_ps
        if clock is None or last_ps is None or self._is_done:
            return None
        for t_ps, channel in self._arrived:
            self._tags.append(t_ps, channel)
        self._arrived = []
        reach_ps = int(np.abs(clock.skew_ps).max())
        while True:
            is_final = last_ps < self._due_ps + reach_ps
            if is_final and not self._ended:
                return None
            end_ps = last_ps + reach_ps + 1 if is_final else self._due_ps
            count = int(np.searchsorted(self._tags.t_ps, end_ps))
            t_ps, channel = self._tags.t_ps[:count], self._tags.channel[:count]
            new, reason = self._followed(clock, t_ps, channel)
            if isinstance(new, PulseClock):
                return self._last_piece(new, t_ps, channel) if is_final else self._piece(new, t_ps, channel, end_ps)
            if is_final:
                return self._last_piece(clock, t_ps, channel)
            self._count_dark += 1
            if new is not None or self._count_dark >= MOST_WINDOWS_WITHOUT_CLOCK:
                return self._lost(clock, self._locked_end_ps if new is None else new, reason)
            self._due_ps = end_ps + self._window_ps

    def _followed(self, old: PulseClock, t_ps: NDArray[np.int64], channel: NDArray[np.uint8]) -> tuple[PulseClock | int | None, str]:
        """The clock of these tags, numbered on; or where the lock was lost; or None where the light may only be gone for a while."""
        try:
            new = self._fitted(t_ps, channel, old.clock_hz, REACQUIRE_PPM, with_delays=False)
        except StreamError as dark:
            return None, str(dark)
        if new.quality.lock_losses:
            return int(new.locked_to_ps[0]), "time or light jumped"
        if int(new.locked_to_ps[-1]) <= self._locked_end_ps:
            return None, "the light is gone"
        low, high = max(int(old.locked_from_ps[-1]), int(new.locked_from_ps[0])), self._locked_end_ps
        if low >= high:
            return self._locked_end_ps, "nothing is left to compare the clocks in"
        at_ps = low + np.arange(OVERLAP_POINTS, dtype=np.int64) * ((high - low) // OVERLAP_POINTS)
        whole, parts = _difference(new, old, at_ps)
        mismatch = float(np.median(parts))
        shift = round((whole + mismatch) / self.stride) * self.stride
        mismatch += whole - shift
        if abs(mismatch) > LARGEST_MISMATCH_SLOTS or float(np.ptp(parts)) > LARGEST_MISMATCH_SLOTS:
            return self._locked_end_ps, f"two fits of one stretch differ by {mismatch:.2f} slots"
        eased = 0.0 if self._has_sync else (1.0 - PEAK_WEIGHT) * mismatch
        numbered = dataclasses.replace(
            new,
            knot_slot=new.knot_slot - shift,
            knot_fraction=new.knot_fraction - eased,
            nominal_clock_hz=self._nominal_hz,
            skew_ps=old.skew_ps,
        )
        return numbered, ""

    def _piece(self, clock: PulseClock, t_ps: NDArray[np.int64], channel: NDArray[np.uint8], end_ps: int) -> Piece:
        locked_end_ps = min(end_ps, int(clock.locked_to_ps[-1]))
        begin_ps = self._exact_cut_ps()
        cut_ps, through_slot = _border(clock, locked_end_ps - self._overlap_ps // 2, self.border_ps)
        self._clock, self._locked_end_ps, self._due_ps, self._cut_ps = clock, locked_end_ps, end_ps + self._window_ps, cut_ps
        self._count_dark, self._is_cut_exact = 0, True
        piece = self._between(clock, t_ps, channel, begin_ps, cut_ps, through_slot)
        self._tags.forget(int(np.searchsorted(t_ps, locked_end_ps - self._overlap_ps)))
        return piece

    def _last_piece(self, clock: PulseClock, t_ps: NDArray[np.int64], channel: NDArray[np.uint8]) -> Piece:
        begin_ps = self._exact_cut_ps()
        last_ps = t_ps[-1:] if t_ps.size else np.array([begin_ps])
        self._is_done = True
        return self._between(clock, t_ps, channel, begin_ps, int(last_ps[0]) + 1, int(clock.slots_and_phases(last_ps)[0][0]) + 1)

    def _between(
        self, clock: PulseClock, t_ps: NDArray[np.int64], channel: NDArray[np.uint8], begin_ps: int, end_ps: int, through_slot: int
    ) -> Piece:
        """Hand out the tags between two cuts; of many the first ones, the others wait as pieces."""
        begin, end = (int(place) for place in np.searchsorted(t_ps, [begin_ps, end_ps]))
        before = self._last_detector_ps(t_ps[:begin], channel[:begin])
        self._previous_ps = self._previous_ps if before is None else before
        while begin < end or not self._pieces:
            cut, cut_slot = end, through_slot
            if end - begin > 2 * PIECE_TAGS and t_ps[begin] < t_ps[begin + PIECE_TAGS] - 2.0 * clock.period_ps:
                cut_ps, cut_slot = _border(clock, int(t_ps[begin + PIECE_TAGS]), self.border_ps)
                cut = int(np.searchsorted(t_ps, cut_ps))
            part_ps, part_channel = t_ps[begin:cut].copy(), channel[begin:cut].copy()
            self._pieces.append(Piece(part_ps, part_channel, clock, cut_slot, self._previous_ps))
            last_ps = self._last_detector_ps(part_ps, part_channel)
            self._previous_ps = self._previous_ps if last_ps is None else last_ps
            begin = cut
        return self._pieces.popleft()

    def _last_detector_ps(self, t_ps: NDArray[np.int64], channel: NDArray[np.uint8]) -> int | None:
        """Time of the last tag of a detector, looked for from behind."""
        for end in range(channel.size, 0, -LOOK_BACK_TAGS):
            first = max(0, end - LOOK_BACK_TAGS)
            found = np.flatnonzero(self._is_detector[channel[first:end]])
            if found.size:
                return int(t_ps[first + int(found[-1])])
        return None

    def _exact_cut_ps(self) -> int:
        """Where the next piece begins; the first cut waits for the gate to be chosen."""
        if not self._is_cut_exact and self._clock is not None:
            self._cut_ps = _border(self._clock, self._cut_ps, self.border_ps)[0]
            self._is_cut_exact = True
        return self._cut_ps

    def _lost(self, clock: PulseClock, at_ps: int, reason: str) -> LockLost:
        """Put the tags behind the loss back as they arrived, and begin again with them."""
        first = int(np.searchsorted(self._tags.t_ps, at_ps, side="right"))
        channel = self._tags.channel[first:]
        arrived_ps = self._tags.t_ps[first:] + clock.skew_ps[channel]
        order = np.argsort(arrived_ps, kind="stable")
        self._t_ps, self._channel = arrived_ps[order], channel[order]
        self._tags = TagBuffer(clock.skew_ps)
        self._is_locked, self._attempt_seconds = False, FIRST_ATTEMPT_SECONDS
        self.problem = f"lock lost: {reason}"
        return LockLost(at_ps, reason)

    def _numbered_on(self, clock: PulseClock) -> PulseClock:
        """Number the slots on from before a loss, as the last frequency predicts; whether they are right, only the next offset tells."""
        if self._clock is None:
            return clock
        whole, parts = _difference(clock, self._clock, clock.knot_t_ps[:1])
        shift = round((whole + float(parts[0])) / self.stride) * self.stride
        return dataclasses.replace(clock, knot_slot=clock.knot_slot - shift)

    def _fitted(
        self, t_ps: NDArray[np.int64], channel: NDArray[np.uint8], clock_hz: float, search_ppm: float, *, with_delays: bool
    ) -> PulseClock:
        count = count_chosen(channel, self._gives_clock)
        every = max(1, -(-count // MOST_FITTED_TAGS))
        first = (count - 1) % every  # the last one is used, so that the lock reaches to the end
        picked_ps, picked_channel = np.empty(-(-(count - first) // every), np.int64), np.empty(-(-(count - first) // every), np.uint8)
        pick_evenly(t_ps, channel, self._gives_clock, first, every, picked_ps, picked_channel)
        t_ps, channel = picked_ps, picked_channel
        if self._has_sync:
            return clock_from_reference(t_ps, clock_hz, self.stride, search_ppm)
        return clock_from_photons(t_ps, clock_hz, search_ppm, channel=channel if with_delays else None)


def _difference(new: PulseClock, old: PulseClock, at_ps: NDArray[np.int64]) -> tuple[int, NDArray[np.float64]]:
    """New slot coordinate less the old one at some times: a whole number, and float64[n] to be added to it."""
    new_slot, new_phase_ps = new.slots_and_phases(at_ps)
    old_slot, old_phase_ps = old.slots_and_phases(at_ps)
    apart = new_slot - old_slot
    whole = int(apart[apart.size // 2])
    return whole, (apart - whole) + new_phase_ps / new.period_ps - old_phase_ps / old.period_ps


def _border(clock: PulseClock, near_ps: int, border_ps: float) -> tuple[int, int]:
    """A time near ``near_ps`` at which a slot's gate has closed and the next has not opened, and that slot."""
    slot, phase_ps = clock.slots_and_phases(np.array([near_ps]))
    return near_ps + math.ceil(border_ps - float(phase_ps[0])), int(slot[0])
