"""The emulated link, and Bob's receiver on its tags: clock recovery, gate, detections."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bob.detection import detect
from bob.live import LiveDetectionStation
from bob.reading import Reading
from bob.station import DetectionStation
from common.cli.benchmarks.measurement import Measurement, Request, fastest
from common.distillation.synchronisation import Frames
from common.emulator.link import Emulation, emulate
from common.emulator.process import BATCH_TAGS
from common.profiles.link import LinkProfile, load_profile
from common.randomness import SystemRandomness
from common.timetags.live import FLAG_END, StreamItem, StreamParser, encode_line, encode_tags
from common.timetags.tags import TimeTags

SETTINGS = ("channel.loss_db=10", "receiver.gate_ps=3000")
"""A short fibre: three clicks in a thousand pulses."""

DENSE = (
    "source.clock_hz=76.13e6",
    "source.mean_photon_number=0.292",
    "source.transmitter_efficiency=1.0",
    "source.lifetime_ps=75.8",
    "channel.loss_db=0.17",
    "receiver.efficiency=0.6",
    "receiver.detector_efficiency=0.712",
    "receiver.dead_time_ps=0.0",
    "receiver.gate_ps=3420.0",
    "security.frame_pulses=761300",
)
"""Source and receiver of ``hefei`` beside each other, in BB84: nine million clicks a second, one in eight pulses."""

STREAMED_TAKE = 1 << 18
"""Detections taken at a time."""

PEER_PULSES = 1 << 21
"""Pulses that the peer draws one by one."""


def measure_simulation(request: Request) -> Iterator[Measurement]:
    """Measure the emulated link.

    Parameters
    ----------
    request : Request
        Whether a short run has to do.

    Yields
    ------
    Measurement
        Tags a second, on one core.
    """
    yield _simulation(request, load_profile("niedersachsen", SETTINGS), 0.02 if request.quick else 1.0)
    yield _simulation(request, load_profile("niedersachsen", DENSE), 0.005 if request.quick else 0.2)


def _simulation(request: Request, profile: LinkProfile, link_seconds: float) -> Measurement:
    run = emulate(profile, link_seconds, 7)
    tags, pulses = len(run.tags), run.emission.header.count_slots
    seconds, peer_seconds = fastest(request, lambda: emulate(profile, link_seconds, 7), lambda: _pulse_by_pulse(tags / pulses))
    return Measurement(
        stage="simulation",
        method="source, fibre, receiver, tagger",
        mevents_per_second=tags / seconds / 1e6,
        peer="numpy, pulse by pulse",
        ratio_to_peer=(pulses / seconds) / (PEER_PULSES / peer_seconds),
        note=f"{pulses / seconds / 1e9:.2f}e9 pulses a second at {tags / pulses:.1e} tags a pulse",
    )


def _pulse_by_pulse(probability_click: float) -> tuple[np.ndarray, np.ndarray]:
    """Draw a link the plain way: a setting, a click and a basis for every pulse, outcome and jitter for every click."""
    rng = np.random.default_rng(8)
    settings = rng.integers(0, 4, PEER_PULSES, np.uint8)
    slots = np.flatnonzero(rng.random(PEER_PULSES) < probability_click)
    matches = rng.integers(0, 2, slots.size, np.uint8).astype(np.bool_)
    outcomes = np.where(matches, settings[slots], rng.integers(0, 4, slots.size, np.uint8))
    times_ps = np.rint(slots * 4386.0 + rng.normal(0.0, 30.0, slots.size)).astype(np.int64)
    order = np.argsort(times_ps, kind="stable")
    return times_ps[order], outcomes[order]


def measure_timetags(request: Request) -> Iterator[Measurement]:
    """Measure the way from time tags to detections.

    Parameters
    ----------
    request : Request
        Whether a short recording has to do.

    Yields
    ------
    Measurement
        With both kinds of clock recovery, and with the clock known.
    """
    profile = load_profile("niedersachsen", SETTINGS)
    run = emulate(profile, 0.1 if request.quick else 2.0, 9)
    without = {name: number for name, number in run.tags.channels.items() if name != "sync"}
    photons = run.tags.channel != run.tags.channels["sync"]
    bare = TimeTags(run.tags.t_ps[photons], run.tags.channel[photons], without)
    for tags, clock in ((run.tags, "reference pulses"), (bare, "photons alone")):
        (seconds,) = fastest(request, lambda tags=tags: DetectionStation(tags, profile, SystemRandomness()))  # type: ignore[misc]
        yield Measurement(
            stage="timetags",
            method=f"clock from {clock}, gate, detections",
            mevents_per_second=len(tags) / seconds / 1e6,
            note=f"{len(tags)} tags",
        )
    yield _with_known_clock(request, profile, run, bare)
    yield _streamed(request, load_profile("niedersachsen", DENSE))


def _streamed(request: Request, profile: LinkProfile) -> Measurement:
    tags = emulate(profile, 0.3 if request.quick else 2.0, 9).tags
    parts = [slice(first, first + BATCH_TAGS) for first in range(0, len(tags), BATCH_TAGS)]
    batches = [encode_tags(tags.t_ps[part], tags.channel[part], number) for number, part in enumerate(parts)]
    end = encode_tags(tags.t_ps[:0], tags.channel[:0], len(batches), FLAG_END)
    beginning = encode_line({"channels": tags.channels, "sync_divider": tags.sync_divider})

    def received() -> None:
        station = LiveDetectionStation(_Fed([beginning, *batches, end]), profile, SystemRandomness(), patience_seconds=0.0)
        given = station.sacrifice(0)
        station.matched(Frames(0, int(given.slots[-1]) + 1, 1 << 40), profile.security.frame_pulses)
        frame, ended = 0, False
        while not ended:
            taken = station.take(frame, 1 << 16, STREAMED_TAKE)
            frame, ended = frame + taken.count_per_frame.size, taken.ended

    (seconds,) = fastest(request, received)
    return Measurement(
        stage="timetags",
        method="stream parsed, clock followed, frames taken",
        mevents_per_second=len(tags) / seconds / 1e6,
        note=f"{len(tags)} tags, dense; the clock is found first",
    )


class _Fed:
    """A stream that is parsed as it is asked for."""

    def __init__(self, chunks: list[bytes]) -> None:
        self._parser = StreamParser("tags")
        self._chunks = iter(chunks)

    def next(self, timeout_seconds: float) -> StreamItem | None:  # noqa: ARG002 - nothing is waited for
        """Return the next item, None behind the last one."""
        chunk = next(self._chunks, None)
        return None if chunk is None else self._parser.feed(chunk)[0]


def _with_known_clock(request: Request, profile: LinkProfile, run: Emulation, bare: TimeTags) -> Measurement:
    reception = DetectionStation(run.tags, profile, SystemRandomness()).reception
    reading = Reading.of(profile, bare.channels)
    clock, gate, dead_time_ps = reception.clock, reception.gate.gate, profile.receiver.dead_time_ps

    def peer() -> tuple[np.ndarray, np.ndarray]:
        slots = np.rint((bare.t_ps - bare.t_ps[0]) / clock.period_ps).astype(np.int64)
        order = np.argsort(slots, kind="stable")
        first, counts = np.unique(slots[order], return_index=True, return_counts=True)[1:]
        alone = order[first[counts == 1]]
        return slots[alone], reading.row_of_channel[bare.channel[alone]]

    seconds, peer_seconds = fastest(
        request, lambda: detect(bare.t_ps, bare.channel, clock, gate, reading, dead_time_ps, SystemRandomness()), peer
    )
    return Measurement(
        stage="timetags",
        method="gate and detections, clock known",
        mevents_per_second=len(bare) / seconds / 1e6,
        peer="numpy division and unique, no gate, no dead time",
        ratio_to_peer=peer_seconds / seconds,
        note=f"{len(bare)} tags",
    )
