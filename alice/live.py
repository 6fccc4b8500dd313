"""Alice's live station: her emission as it happens, as the protocol's halves ask for it.

The reading thread hands in what the source reports; computations ask from threads of their own and wait, with a bound, until what they ask
for has been emitted. An expanded record is computed from its key; of a packed one the latest stretch is kept. The station outlives
sessions: each one begins with a search for its offset, near the last one first. A new run of the source ends the session, for its slots
are others. Comes from ``qkd-fibre`` or a laboratory's source, goes to ``alice.playbook``.
"""

from __future__ import annotations

import dataclasses
import hashlib
import secrets
import threading
from collections import deque
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from alice.answered import AnsweredSlots
from alice.frame_offset import WORKING_QBER, find_frame_offset
from alice.station import NOISY_QBER
from common.errors import QkdError, StreamError
from common.profiles.link import LinkProfile
from common.service.streams import StreamAddress, StreamClient
from common.timetags.emission_record import EmissionHeader, EmissionRecord, require_settings
from common.timetags.live import EmissionProgress, EmissionStream, PackedSettings, StreamItem

WAIT_SECONDS: Final = 20.0
"""How long a computation waits for the source before the session is given up."""

PACKED_BYTES: Final = 256 << 20
"""Packed settings kept: 1e9 slots of two bits."""

UNKNOWN_SLOTS: Final = 1 << 60
"""Slots of a record that has not begun: more than any will have."""

NEAR_SLOTS: Final = 1 << 17
"""Offsets tried around the last one: a receiver that lost its lock has miscounted by less."""

START_SLOTS: Final = 1 << 20
"""Offsets tried around the record's first slot, where a receiver that was there from the start counts from."""

RECENT_SECONDS: Final = 120.0
RECENT_CANDIDATES: Final = 1 << 22
"""Age of the detections reached by the last search, link time, or so many offsets: a slow link may have hours of tags under way."""

ABANDONED: Final = "the session is over"
"""Why a computation of an abandoned session fails; nobody reads it."""

MOST_CANDIDATES: Final = 1 << 26
MOST_NOISY_CANDIDATES: Final = 1 << 23
"""Offsets that search tries at a low and at a high QBER: some ten seconds of work."""


class _GrowingRecord:
    """What has been emitted of one run; appended to under the station's lock, and looked at by one computation at a time."""

    def __init__(self, opened: EmissionStream, most_bytes: int) -> None:
        self.header = opened.header
        self.first_slot = self.end_slot = opened.header.first_slot
        self._expanded = EmissionRecord(opened.header, expander_key=opened.expander_key) if opened.expander_key is not None else None
        self._parts: deque[EmissionRecord] = deque()
        self._bytes = 0
        self._most_bytes = most_bytes

    def emit_through(self, slot: int) -> None:
        """Note that a slot has been emitted, and all before it."""
        if slot >= self.header.end_slot:
            raise StreamError(f"emission stream: slot {slot} reported, the record ends at {self.header.end_slot - 1}")
        self.end_slot = max(self.end_slot, slot + 1)

    def append(self, packed: NDArray[np.uint8]) -> None:
        """Add settings of the next slots and let go of the oldest ones."""
        count = min(packed.size * 8 // self.header.bits_per_setting, self.header.end_slot - self.end_slot)
        if not count:
            return
        header = dataclasses.replace(self.header, first_slot=self.end_slot, count_slots=count)
        self._parts.append(EmissionRecord(header, packed=packed[: header.packed_bytes]))
        self.end_slot += count
        self._bytes += packed.size
        while self._bytes > self._most_bytes and len(self._parts) > 1:
            oldest = self._parts.popleft()
            self._bytes -= oldest.header.packed_bytes
            self.first_slot = oldest.header.end_slot

    def look_up(self, slots: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Settings of emitted slots, int64[n] in, uint8[n] out."""
        first, last = int(slots.min()), int(slots.max())
        if first < self.first_slot or last >= self.end_slot:
            raise StreamError(
                f"emission stream: slots {first} to {last} asked for, kept are {self.first_slot} to {self.end_slot - 1}; keep more"
            )
        if self._expanded is not None:
            return self._expanded.lookup(slots)
        settings = np.empty(slots.size, np.uint8)
        for part in self._parts:
            inside = (slots >= part.header.first_slot) & (slots < part.header.end_slot)
            if inside.any():
                settings[inside] = part.lookup(slots[inside])
        return settings

    def window(self, first_slot: int, count: int) -> NDArray[np.uint8]:
        """Settings of consecutive emitted slots, uint8[count]."""
        if self._expanded is not None:
            return self._expanded.window(first_slot, count)
        settings = np.zeros(count, np.uint8)
        for part in list(self._parts):
            low, high = max(first_slot, part.header.first_slot), min(first_slot + count, part.header.end_slot)
            if low < high:
                settings[low - first_slot : high - first_slot] = part.window(low, high - low)
        return settings


def _name_of(opened: EmissionStream) -> str:
    """Name a run that is not named after its slots' settings; a packed one without a name is another at each connection."""
    if opened.run or opened.expander_key is None:
        return opened.run or secrets.token_hex(8)
    return hashlib.sha256(b"qkdlink run" + opened.expander_key).hexdigest()


_Condition = Callable[[_GrowingRecord], bool]


def _described(header: EmissionHeader) -> EmissionRecord:
    """A record of one slot with this header, to be checked against a link."""
    one = dataclasses.replace(header, count_slots=1)
    return EmissionRecord(one, packed=np.zeros(one.packed_bytes, np.uint8))


class LiveEmissionStation:
    """An emission record that grows.

    Parameters
    ----------
    profile : LinkProfile
        The link she serves.
    wait_seconds : float
        Patience of a computation.
    packed_bytes : int
        Packed settings kept.
    answered : AnsweredSlots | None
        How far was answered in earlier sessions; None begins anew and remembers as long as the station lives.
    """

    def __init__(
        self,
        profile: LinkProfile,
        *,
        wait_seconds: float = WAIT_SECONDS,
        packed_bytes: int = PACKED_BYTES,
        answered: AnsweredSlots | None = None,
    ) -> None:
        self._answered = answered or AnsweredSlots()
        self._run = ""
        self._profile = profile
        self._wait_seconds = wait_seconds
        self._packed_bytes = packed_bytes
        self._changed = threading.Condition()
        self._client: StreamClient | None = None
        self._opened: EmissionStream | None = None
        self._record: _GrowingRecord | None = None
        self._problem = "the source has not begun"
        self._count_runs = self._session_run = 0
        self._is_closed = self._is_abandoned = False
        self._last_offset: int | None = None
        self._count_attempts = 0

    @classmethod
    def connect(cls, address: StreamAddress, profile: LinkProfile, answered: AnsweredSlots | None = None) -> Self:
        """Begin to read a source.

        Parameters
        ----------
        address : StreamAddress
            Where it is served.
        profile : LinkProfile
            The link.
        answered : AnsweredSlots | None
            How far was answered in earlier sessions.

        Returns
        -------
        LiveEmissionStation
            Reading; ``close`` ends it.
        """
        station = cls(profile, answered=answered)
        station._client = StreamClient(address, "emission", station.deliver)
        station._client.start()
        return station

    @property
    def first_slot(self) -> int:
        """First slot of the record that was not answered for yet; 0 before it has begun."""
        opened = self._opened
        return 0 if opened is None else max(opened.header.first_slot, self._answered.through(self._run) + 1)

    @property
    def count_slots(self) -> int:
        """Slots from there on that the record will have at most."""
        opened = self._opened
        return UNKNOWN_SLOTS if opened is None else max(0, opened.header.end_slot - self.first_slot)

    @property
    def emitted_through_slot(self) -> int | None:
        """Last slot that is known to be emitted, or None."""
        record = self._record
        return None if record is None or record.end_slot == record.first_slot else record.end_slot - 1

    @property
    def settings_randomness(self) -> str:
        """``computational`` where settings come from an expander, else ``recorded``; the ledger carries it."""
        return "recorded" if self._opened is None or self._opened.expander_key is None else "computational"

    @property
    def problem(self) -> str:
        """What is wrong with the stream; empty while all is well."""
        stream = self._client.counts.problem if self._client else ""
        return self._problem or stream

    def begin(self) -> None:
        """Serve a new session."""
        with self._changed:
            self._is_abandoned = False

    def abandon(self) -> None:
        """Let computations of a session that has ended fail at once: nobody waits for what they wait for."""
        with self._changed:
            self._is_abandoned = True
            self._changed.notify_all()

    def close(self) -> None:
        """Stop reading and wake whoever waits."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        if self._client is not None:
            self._client.close()

    def deliver(self, item: StreamItem) -> None:
        """Take in what the source reports; called by the reading thread.

        Parameters
        ----------
        item : StreamItem
            The next item of the stream.

        Raises
        ------
        StreamError
            If settings are missing, or the stream is not an emission.
        ConfigurationError
            If the source does not belong to the link.
        """
        with self._changed:
            try:
                self._take_in(item)
            except QkdError as wrong:
                self._problem = str(wrong)
                raise
            finally:
                self._changed.notify_all()

    def look_up(self, slots: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return the settings of scattered slots, as soon as all of them have been emitted; they are never returned again.

        Parameters
        ----------
        slots : int64[n]
            Absolute slots.

        Returns
        -------
        uint8[n]
            Indices into the settings of the protocol.

        Raises
        ------
        StreamError
            If the source began anew in this session, does not get there in time, or settings are no longer kept.
        RemoteProtocolError
            If a slot was answered for before.
        KeyStoreError
            If it cannot be noted that they were answered for.
        """
        if not slots.size:
            return np.zeros(0, np.uint8)
        first, last = int(slots.min()), int(slots.max())
        with self._changed:
            self._wait(lambda record: record.end_slot > last or self._count_runs != self._session_run, f"slot {last}")
            settings, run = self._same_run().look_up(slots), self._run
        self._answered.answer(run, first, last)
        return settings

    def find_offset(self, slots: NDArray[np.int64], outcomes: NDArray[np.uint8], stride: int) -> int | None:
        """Look for the offset at which sacrificed detections fit what was emitted; a session begins with it.

        Parameters
        ----------
        slots : int64[n]
            Slots by the receiver's clock, ascending.
        outcomes : uint8[n]
            Outcomes by the protocol's code.
        stride : int
            The offset is a multiple of this, give or take a few slots.

        Returns
        -------
        int | None
            The offset, or None if none fits clearly.

        Raises
        ------
        StreamError
            If nothing is emitted in time, or the session ends meanwhile.
        """
        with self._changed:
            self._wait(lambda record: record.end_slot > record.first_slot, "anything to be emitted")
            self._session_run = self._count_runs
            record, run = self._same_run(), self._run
            first, count = record.first_slot, record.end_slot - record.first_slot

        def window(begin: int, length: int) -> NDArray[np.uint8]:
            if self._is_abandoned:  # a search may take many seconds
                raise StreamError(ABANDONED)
            return record.window(begin, length)

        def lookup(wanted: NDArray[np.int64]) -> NDArray[np.uint8]:
            if self._is_abandoned:
                raise StreamError(ABANDONED)
            return record.look_up(wanted) if wanted.size else np.zeros(0, np.uint8)

        for expected, reach, qber in self._guesses(slots, first, count, stride):
            try:
                found = find_frame_offset(
                    window,
                    record.header.settings,
                    first,
                    count,
                    slots,
                    outcomes,
                    expected_offset=expected,
                    reach_slots=reach,
                    stride=stride,
                    working_qber=qber,
                    lookup=lookup,
                )
            except StreamError:
                if self._is_abandoned:
                    raise
                continue
            self._answered.pass_over(run, min(int(slots[-1]) + found.offset, record.end_slot - 1))
            self._last_offset, self._count_attempts = found.offset, 0
            return found.offset
        self._count_attempts += 1
        return None

    def _guesses(self, slots: NDArray[np.int64], first: int, count: int, stride: int) -> Iterator[tuple[int, int, float]]:
        """Where to look, how far around, and at which QBER: at the last offset, at the start, then backwards from what was emitted last."""
        near = [] if self._last_offset is None else [(self._last_offset, max(NEAR_SLOTS, 8 * stride))]
        near.append((first, max(START_SLOTS, 8 * stride)))
        if first:  # a receiver whose slots were matched before, by us or by whoever was here before us, counts as we do
            near.append((0, max(NEAR_SLOTS, 8 * stride)))
        for qber in (WORKING_QBER, NOISY_QBER):  # an intercepted channel is matched too, so that the bound can say what is wrong with it
            yield from ((expected, reach, qber) for expected, reach in near)
        noisy = self._count_attempts % 2 == 1  # which takes far longer to rule out where the offset is unknown: every other time
        most_candidates = MOST_NOISY_CANDIDATES if noisy else MOST_CANDIDATES
        recent = max(int(RECENT_SECONDS * self._profile.source.clock_hz), RECENT_CANDIDATES * stride)
        reach = min(recent, most_candidates * stride, count)
        yield first + count - 1 - int(slots[-1]), reach, NOISY_QBER if noisy else WORKING_QBER

    def _take_in(self, item: StreamItem) -> None:
        match item:
            case EmissionStream():
                self._open(item)
            case EmissionProgress() if self._record is not None:
                self._record.emit_through(item.emitted_through_slot)
            case PackedSettings() if self._record is not None:
                if item.gap:
                    raise StreamError("emission stream: settings are missing; slots behind them cannot be numbered")
                self._record.append(item.packed)
            case _:
                raise StreamError("emission stream: time tags came in place of emission")
        self._problem = ""

    def _open(self, opened: EmissionStream) -> None:
        profile = self._profile
        require_settings(_described(opened.header), profile.prepared.settings, profile.setting_probabilities, profile.source.clock_hz)
        before = self._opened
        goes_on = before is not None and before.run == opened.run and before.expander_key == opened.expander_key and bool(opened.run)
        if goes_on and (opened.expander_key is not None or (self._record and opened.header.first_slot == self._record.end_slot)):
            return  # the same record: only the connection is new
        if not goes_on:
            self._count_runs += 1
            self._last_offset = None
        self._opened, self._record, self._run = opened, _GrowingRecord(opened, self._packed_bytes), _name_of(opened)

    def _wait(self, condition: _Condition, what: str) -> None:
        """Wait until the record fulfils a condition; the lock is held."""
        until = monotonic() + self._wait_seconds
        while not self._is_closed and not self._is_abandoned and (self._record is None or not condition(self._record)):
            left = until - monotonic()
            if left <= 0.0:
                raise StreamError(
                    f"emission stream: waited {self._wait_seconds:g} s for {what}; {self.problem or 'the source sends nothing'}"
                )
            self._changed.wait(left)
        if self._is_closed:
            raise StreamError("the emission stream is closed: the node is stopping")
        if self._is_abandoned:
            raise StreamError(ABANDONED)

    def _same_run(self) -> _GrowingRecord:
        if self._record is None or self._count_runs != self._session_run:
            raise StreamError("the source began anew: its slots are others, so the session ends")
        return self._record
