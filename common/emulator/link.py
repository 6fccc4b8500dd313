"""The emulated link: a profile, some seconds and a seed become an emission record and time tags.

The run is cut into stretches of about as many clicks, so memory does not grow with its length; clicks that a later stretch could
still precede are carried over. Alice gets the record, Bob the tags; the truth about each click stays in memory for tests.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from common.emulator.channel import Arrivals, Fading, fibre_transmission, honest_arrivals, receiver_transmission, sparse_slots
from common.emulator.clicks import Clicks, kind_of, labels
from common.emulator.drift import Drift
from common.emulator.eavesdropper import (
    DetectorBlinding,
    Eavesdropper,
    EveKnowledge,
    InterceptResend,
    PhotonNumberSplitting,
    blinded_arrivals,
    intercept,
    split_arrivals,
    steer,
)
from common.emulator.optics import StateOptics
from common.emulator.receiver import Measured, Receiver
from common.emulator.source import Blinking, PhotonStatistics, emission_header
from common.emulator.tagger import Tagger, reference_slots
from common.errors import ConfigurationError
from common.expander import Expander
from common.profiles.link import LinkProfile
from common.protocols.encoding import ENCODINGS
from common.randomness import key_from_seed
from common.timetags.emission_record import EmissionRecord
from common.timetags.tags import SYNC_CHANNEL, TimeTags

SYNC_NUMBER: Final = 4
"""Channel number of the reference pulses."""

SIGNAL: Final = 0
NOISE: Final = 1
SYNC: Final = 2
"""What made a click: a photon of Alice's (or Eve's in its place), a dark count or stray light, a reference pulse."""

ORIGIN_REACH_PS: Final = 10**12
"""Bob's clock starts at most this far from zero."""

MOST_TOLD: Final = 3
"""Photon number beyond which the truth does not tell pulses apart."""

LONGEST_SECONDS: Final = 4e6
"""A run's longest duration, 46 days, and the latest time of its first slot: both together stay below the 9.2e18 ps of int64."""

_STRETCH_CLICKS: Final = 1 << 18
_STRETCH_SECONDS: Final = 10.0

_LEVEL_RAD: Final = 1e-12
"""Turns below this come from rounding."""


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """What really happened; for tests, never written to a file.

    Attributes
    ----------
    slot : int64[n]
        Slot in which each tag's light was emitted; for noise the slot it fell in.
    kind : uint8[n]
        ``SIGNAL``, ``NOISE`` or ``SYNC``.
    emitted : uint8[n]
        Photons in the pulse that made the click, 3 for all greater numbers; 0 for noise and reference pulses.
    origin_ps : int
        Origin of Bob's clock.
    count_arrived : int
        Clicks there would have been without dead time, reference pulses not counted.
    eve : EveKnowledge or None
        What the eavesdropper knows.
    """

    slot: NDArray[np.int64]
    kind: NDArray[np.uint8]
    emitted: NDArray[np.uint8]
    origin_ps: int
    count_arrived: int
    eve: EveKnowledge | None


@dataclass(frozen=True, slots=True, eq=False)
class Emulation:
    """A run, or a stretch of one.

    Attributes
    ----------
    emission : EmissionRecord
        Alice's settings of the whole run, expanded.
    tags : TimeTags
        Bob's time tags.
    truth : Truth
        What happened.
    """

    emission: EmissionRecord
    tags: TimeTags
    truth: Truth


def emulate(
    profile: LinkProfile,
    seconds: float,
    seed: int,
    eavesdropper: Eavesdropper | None = None,
    *,
    first_slot: int = 0,
    efficiency_ratios: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0),
) -> Emulation:
    """Emulate a link.

    Parameters
    ----------
    profile : LinkProfile
        The link.
    seconds : float
        Time of sending on Alice's clock.
    seed : int
        Equal seeds give equal runs.
    eavesdropper : Eavesdropper or None
        An attack on the channel.
    first_slot : int
        First slot of the record, 0 or more.
    efficiency_ratios : tuple[float, float, float, float]
        Efficiency at outcome Z0, Z1, X0, X1 relative to the profile's, 0 to 1.

    Returns
    -------
    Emulation
        The whole run.

    Raises
    ------
    ConfigurationError
        If the profile asks for something that is not emulated, or an argument is out of range.
    """
    parts = list(emulate_stretches(profile, seconds, seed, eavesdropper, first_slot=first_slot, efficiency_ratios=efficiency_ratios))
    last = parts[-1]
    knowledge = [part.truth.eve for part in parts if part.truth.eve is not None]
    eve = None
    if knowledge:
        eve = EveKnowledge(
            np.concatenate([known.slots for known in knowledge]),
            np.concatenate([known.settings for known in knowledge]),
            sum(known.count_attacked for known in knowledge),
        )
    tags = TimeTags(
        np.concatenate([part.tags.t_ps for part in parts]),
        np.concatenate([part.tags.channel for part in parts]),
        last.tags.channels,
        last.tags.sync_divider,
    )
    truth = Truth(
        np.concatenate([part.truth.slot for part in parts]),
        np.concatenate([part.truth.kind for part in parts]),
        np.concatenate([part.truth.emitted for part in parts]),
        last.truth.origin_ps,
        sum(part.truth.count_arrived for part in parts),
        eve,
    )
    return Emulation(last.emission, tags, truth)


def emulate_stretches(
    profile: LinkProfile,
    seconds: float,
    seed: int,
    eavesdropper: Eavesdropper | None = None,
    *,
    first_slot: int = 0,
    efficiency_ratios: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0),
) -> Iterator[Emulation]:
    """Emulate a link stretch by stretch, in memory that does not grow with the run.

    Parameters
    ----------
    profile : LinkProfile
        The link.
    seconds : float
        Time of sending on Alice's clock.
    seed : int
        Equal seeds give equal runs.
    eavesdropper : Eavesdropper or None
        An attack on the channel.
    first_slot : int
        First slot of the record, 0 or more.
    efficiency_ratios : tuple[float, float, float, float]
        Efficiency at outcome Z0, Z1, X0, X1 relative to the profile's, 0 to 1.

    Yields
    ------
    Emulation
        Stretches in order of time, each with the emission record of the whole run.

    Raises
    ------
    ConfigurationError
        If the profile asks for something that is not emulated, or an argument is out of range.
    """
    link = LinkEmulator(profile, seconds, seed, eavesdropper, first_slot=first_slot, efficiency_ratios=efficiency_ratios)
    while (stretch := link.next_stretch()) is not None:
        yield stretch


class LinkEmulator:
    """A run in progress: random numbers, blinking, dead time, clicks that wait for the next stretch.

    Between two stretches the eavesdropper may come or go, the fibre's loss may change, and Bob's plates or his phase shifter may turn.

    Parameters
    ----------
    profile : LinkProfile
        The link.
    seconds : float
        Time of sending on Alice's clock; ``LONGEST_SECONDS`` for a run that somebody else will end.
    seed : int
        Equal seeds give equal runs.
    eavesdropper : Eavesdropper or None
        An attack on the channel, at the beginning.
    first_slot : int
        First slot of the record, 0 or more.
    efficiency_ratios : tuple[float, float, float, float]
        Efficiency at outcome Z0, Z1, X0, X1 relative to the profile's, 0 to 1.
    stretch_seconds : float or None
        Longest stretch; it is shorter where that would be many clicks, for memory is the measure then.
    emission_key : bytes or None
        32 bytes from which Alice's settings are expanded; None derives them from the seed, so that they repeat with it.

    Attributes
    ----------
    record : EmissionRecord
        Alice's settings of the whole run.
    channels : dict[str, int]
        Channel number of each name.
    sync_divider : int
        Divider of the reference pulses, 0 where there are none.
    drift : Drift
        What turns Alice's states on the way to Bob's axes; it acts from the next stretch on.

    Raises
    ------
    ConfigurationError
        If the profile asks for something that is not emulated, or an argument is out of range.
    """

    def __init__(
        self,
        profile: LinkProfile,
        seconds: float,
        seed: int,
        eavesdropper: Eavesdropper | None = None,
        *,
        first_slot: int = 0,
        efficiency_ratios: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0),
        stretch_seconds: float | None = None,
        emission_key: bytes | None = None,
    ) -> None:
        clock_hz = profile.source.clock_hz
        if not 0.0 < seconds <= LONGEST_SECONDS or round(seconds * clock_hz) < 1:
            raise ConfigurationError(f"emulation of {seconds!r} s: choose at least one pulse and at most {LONGEST_SECONDS:.0e} s")
        if not 0 <= first_slot <= LONGEST_SECONDS * clock_hz:
            raise ConfigurationError(f"emulation: first slot {first_slot}, choose 0 or more, within {LONGEST_SECONDS:.0e} s of slot 0")
        if not all(0.0 <= ratio <= 1.0 for ratio in efficiency_ratios):
            raise ConfigurationError(f"emulation: efficiency ratios {efficiency_ratios!r}, choose four numbers from 0 to 1")
        key = key_from_seed(seed)
        self._rng = physics_generator(key)
        header = emission_header(profile, first_slot, round(seconds * clock_hz), clock_hz)
        self.record = EmissionRecord(header, expander_key=emission_key or Expander(key, "emulator-emission").bytes_at(0, 32))
        self._profile = profile
        self._statistics = PhotonStatistics.of(profile.source)
        self._eve = eavesdropper
        self._is_blinded = False
        self._loss_db = profile.channel.loss_db
        self._fading = Fading(profile.channel.fading_sigma_db, profile.channel.fading_time_s)
        self._receiver = Receiver(profile, self._rng, efficiency_ratios)
        self._arrivals = self._arrivals_at(self._loss_db)
        protocol = profile.prepared
        self._intensity_of = np.array(protocol.setting_intensities, np.uint8)
        self._state_of = (np.arange(len(protocol.settings)) // protocol.count_intensities).astype(np.uint8)
        self._perfect = StateOptics.perfect(profile)
        self._blinking = Blinking(self._statistics.on_fraction, clock_hz)
        self.drift = Drift(profile, self._rng)
        self._rotation = np.eye(3)
        self._tagger = Tagger(profile, int(self._rng.integers(-ORIGIN_REACH_PS, ORIGIN_REACH_PS)))
        self._noise_per_slot = (profile.receiver.dark_rate_hz + profile.channel.background_hz) / clock_hz
        self._has_sync = profile.receiver.sync_divider > 0 and profile.receiver.sync_detection_probability > 0
        self._sync = (profile.receiver.sync_divider, profile.receiver.sync_detection_probability)
        self.sync_divider = self._sync[0] if self._has_sync else 0
        self.channels = {name: number for number, name in enumerate(ENCODINGS[profile.encoding].detectors)}
        if self._has_sync:
            self.channels[SYNC_CHANNEL] = SYNC_NUMBER
        per_slot = (
            float(self._statistics.intensities @ self._arrivals.totals)
            + self._noise_per_slot
            + (self._sync[1] / self._sync[0] if self._has_sync else 0.0)
        )
        longest_seconds = min(
            _STRETCH_SECONDS if stretch_seconds is None else stretch_seconds,
            *(wandering.longest_seconds for wandering in (self._fading, self.drift, self._tagger)),
        )
        self._stretch_slots = max(1, int(min(_STRETCH_CLICKS / max(per_slot, 1e-30), round(longest_seconds * clock_hz))))
        self._next_slot = first_slot
        self._waiting = Clicks(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.uint8))

    @property
    def emitted_through_slot(self) -> int:
        """Last slot of the stretches so far."""
        return self._next_slot - 1

    @property
    def link_seconds(self) -> float:
        """Time of sending so far, on Alice's clock."""
        return (self._next_slot - self.record.header.first_slot) / self.record.header.clock_hz

    @property
    def eavesdropper(self) -> Eavesdropper | None:
        """The attack on the next stretch; may be set."""
        return self._eve

    @eavesdropper.setter
    def eavesdropper(self, eavesdropper: Eavesdropper | None) -> None:
        """Put ``eavesdropper`` on the fibre from the next stretch on."""
        self._eve = eavesdropper

    @property
    def loss_db(self) -> float:
        """Loss of the fibre on the next stretch, decibels, its mean where it fades; may be set."""
        return self._loss_db

    @loss_db.setter
    def loss_db(self, loss_db: float) -> None:
        """Change the loss from the next stretch on.

        Parameters
        ----------
        loss_db : float
            Decibels, 0 or more.

        Raises
        ------
        ConfigurationError
            If it is negative or not finite.
        """
        if not 0.0 <= loss_db < float("inf"):
            raise ConfigurationError(f"loss_db: {loss_db!r}, choose 0 or more")
        self._loss_db = loss_db

    def next_stretch(self) -> Emulation | None:
        """Emulate the next stretch.

        Returns
        -------
        Emulation or None
            Each with the emission record of the whole run; None where the run is over.
        """
        first, last = self._next_slot, self.record.header.end_slot
        if first >= last:
            return None
        end = min(first + self._stretch_slots, last)
        held_s = self._stretch_slots / self.record.header.clock_hz
        self._is_blinded = isinstance(self._eve, DetectorBlinding) and self._rng.random() < self._eve.strength
        self._arrivals = self._arrivals_at(self._fading.loss_db(self._loss_db, held_s, self._rng))
        self.drift.walk(held_s, self._rng)
        self._turn_receiver()
        self._tagger.begin(self._rng, first, end)
        signal, eve = self._signal(first, end)
        few = Clicks.joined([self._waiting, *signal[1:], self._noise(first, end), *self._reference(first, end)])
        clicks = signal[0].merged(few.in_order())
        settled = clicks.t_ps.size
        if end < last:
            settled = int(np.searchsorted(clicks.t_ps, self._tagger.settled_ps(end)))
        self._waiting = clicks.taken(slice(settled, None))
        self._next_slot = end
        return self._registered(clicks.taken(slice(0, settled)), eve)

    def _turn_receiver(self) -> None:
        """Make the tables anew where anything has turned."""
        rotation = self.drift.rotation
        if not np.allclose(rotation, self._rotation, rtol=0.0, atol=_LEVEL_RAD):
            self._rotation = rotation
            self._receiver.turn(rotation)

    def _arrivals_at(self, loss_db: float) -> Arrivals:
        """Classes of pulses that reach the detectors under the present attack and this loss."""
        fibre = fibre_transmission(loss_db)
        receiver = receiver_transmission(self._profile)
        if isinstance(self._eve, PhotonNumberSplitting):
            return split_arrivals(self._statistics, fibre, receiver, self._eve.strength)
        if self._is_blinded:
            return blinded_arrivals(self._statistics, fibre * receiver, self._receiver.steering[1])
        return honest_arrivals(self._statistics, fibre * receiver)

    def _signal(self, first: int, end: int) -> tuple[list[Clicks], EveKnowledge | None]:
        rng, arrivals = self._rng, self._arrivals
        slots, setting = self._arriving(first, end)
        state, intensity = self._state_of[setting], self._intensity_of[setting]
        kinds = arrivals.drawn(rng, intensity)
        emitted = np.minimum(arrivals.emitted[kinds], MOST_TOLD).astype(np.uint8)
        if self._is_blinded:
            outcome, known = steer(rng, state, self._profile.prepared.bases_of(setting), self._receiver.steering[0], self._perfect)
            clicks = self._clicks(first, slots, self._receiver.steered(slots, outcome), emitted)
            return [clicks], EveKnowledge(slots[known], setting[known], slots.size)
        eve = None
        more = np.repeat(np.arange(slots.size), arrivals.detected[kinds] - 1)
        if isinstance(self._eve, PhotonNumberSplitting):
            kept = arrivals.is_tapped[kinds]
            eve = EveKnowledge(slots[kept], setting[kept], int(kept.sum()))
        elif isinstance(self._eve, InterceptResend):
            bases = self._profile.prepared.bases_of(setting)
            state, attacked, known = intercept(rng, state, bases, self._eve, self._perfect)
            eve = EveKnowledge(slots[known], setting[known], int(attacked.sum()))
            more = np.concatenate([more, np.repeat(np.flatnonzero(attacked), self._eve.photons - 1)])
        photons = [self._photons(first, slots, state, emitted)]
        if more.size:  # every further photon of a pulse has its own delay, basis and outcome
            photons.append(self._photons(first, slots[more], state[more], emitted[more]))
        return photons, eve

    def _arriving(self, first: int, end: int) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
        """Slots that bring light to the detectors, and their settings.

        Slots are chosen as if all were of the intensity that arrives most often; of the others so many are let go that the rest is right.
        """
        totals, rng = self._arrivals.totals, self._rng
        most = float(totals.max())
        slots = self._blinking.bright(sparse_slots(rng, most, first, end), rng)
        setting = self.record.lookup(slots)
        if totals.size == 1:
            return slots, setting
        arrived = rng.random(slots.size) * most < totals[self._intensity_of[setting]]
        return slots[arrived], setting[arrived]

    def _photons(self, first: int, slots: NDArray[np.int64], state: NDArray[np.uint8], emitted: NDArray[np.uint8]) -> Clicks:
        return self._clicks(first, slots, self._receiver.measure(slots, state), emitted)

    def _clicks(self, first: int, slots: NDArray[np.int64], seen: Measured, emitted: NDArray[np.uint8]) -> Clicks:
        since_base = self._tagger.emission_times_ps(self._rng, first, slots)
        if seen.delay_ps is not None:
            since_base += seen.delay_ps
        clicks = Clicks(self._tagger.tags_ps(self._rng, first, since_base), slots, labels(seen.channel, SIGNAL, emitted))
        return clicks if seen.kept is None else clicks.taken(seen.kept)

    def _noise(self, first: int, end: int) -> Clicks:
        count = 0 if self._is_blinded else int(self._rng.poisson(self._noise_per_slot * (end - first)))
        place = self._rng.random(count) * (end - first) - 0.5
        slots = first + np.rint(place).astype(np.int64).clip(0, end - first - 1)
        channel = self._receiver.noise_channels(slots)
        t_ps = self._tagger.tags_ps(self._rng, first, place * self._tagger.period_ps)
        return Clicks(t_ps, slots, labels(channel, NOISE, np.zeros(count, np.uint8)))

    def _reference(self, first: int, end: int) -> list[Clicks]:
        if not self._has_sync:
            return []
        slots = reference_slots(self._rng, *self._sync, first, end)
        t_ps = self._tagger.tags_ps(self._rng, first, (slots - first).astype(np.float64) * self._tagger.period_ps)
        nothing = np.zeros(slots.size, np.uint8)
        return [Clicks(t_ps, slots, labels(nothing, SYNC, nothing))]

    def _registered(self, clicks: Clicks, eve: EveKnowledge | None) -> Emulation:
        is_sync = kind_of(clicks.label) == SYNC
        live = self._receiver.registered(clicks.t_ps, clicks.label & np.uint8(3), is_sync)
        count_arrived = int(live.size - is_sync.sum())
        if not live.all():
            clicks, is_sync = clicks.taken(live), is_sync[live]
        channel = clicks.label & np.uint8(3)
        channel[is_sync] = SYNC_NUMBER
        tags = TimeTags(clicks.t_ps, channel, self.channels, self.sync_divider)
        truth = Truth(clicks.slot, kind_of(clicks.label), clicks.label >> np.uint8(4), self._tagger.origin_ps, count_arrived, eve)
        return Emulation(self.record, tags, truth)


def physics_generator(key: bytes) -> np.random.Generator:
    """Return the generator that drives the physics of a run.

    Parameters
    ----------
    key : bytes
        32 bytes from ``key_from_seed``.

    Returns
    -------
    numpy.random.Generator
        PCG64, independent of the settings expanded from the same key.
    """
    return np.random.Generator(np.random.PCG64(int.from_bytes(Expander(key, "emulator-physics").bytes_at(0, 32), "little")))
