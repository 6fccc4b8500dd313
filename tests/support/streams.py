"""Tag streams without sockets: a recording cut into batches, and a station that reads them."""

import numpy as np

from bob.live import LiveDetectionStation
from common.distillation.synchronisation import Frames
from common.distillation.values import FramedDetections
from common.timetags.live import TagBatch, TagStream


class Zeros:
    """Randomness that gives every double click a 0, however many are drawn at a time."""

    def draw(self, count_bytes):
        return bytes(count_bytes)


class Scripted:
    """A stream whose items are known; nothing comes where ``None`` stands."""

    def __init__(self, items):
        self.items = list(items)

    def next(self, timeout_seconds):  # noqa: ARG002 - a script waits for nobody
        return self.items.pop(0) if self.items else None


def batches(tags, sizes, *, run="run", missing=(), first_sequence=1, ends=True):
    """The recording in batches of the given sizes, over and over; batches whose number is in ``missing`` are lost."""
    yield TagStream(dict(tags.channels), tags.sync_divider, run)
    begin, number, gap = 0, 0, False
    while begin < len(tags):
        end = begin + sizes[number % len(sizes)]
        if number in missing:
            gap = True
        else:
            yield TagBatch(first_sequence + number, gap, False, tags.t_ps[begin:end], tags.channel[begin:end])
            gap = False
        begin, number = end, number + 1
    if ends:
        yield TagBatch(first_sequence + number, gap, True, np.zeros(0, np.int64), np.zeros(0, np.uint8))


def station_on(items, profile, **options):
    return LiveDetectionStation(Scripted(items), profile, Zeros(), **({"wait_seconds": 0.2} | options))


def take_all(station, profile, most_frames=1 << 16, wanted=1 << 18):
    """Everything from the sacrifice to the end: slots, outcomes, cross slots and counts a frame, joined."""
    given = station.sacrifice(0)
    first_slot = int(given.slots[-1]) + 1
    station.matched(Frames(0, first_slot, 1 << 40), profile.security.frame_pulses)
    frame, parts = 0, list[FramedDetections]()
    while not parts or not parts[-1].ended:
        parts.append(station.take(frame, most_frames, wanted))
        assert parts[-1].first_frame == frame
        assert parts[-1].count_per_frame.sum() == parts[-1].slots.size
        frame += parts[-1].count_per_frame.size
    names = ("slots", "outcomes", "cross_slots", "count_per_frame")
    return first_slot, *(np.concatenate([getattr(part, name) for part in parts]) for name in names)
