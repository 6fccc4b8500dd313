"""Both daemons on detections prepared beforehand: whole nodes with channel, store and audit trail; only the streams are arrays in memory.

Run as a program it is one node, told which. The same seed makes both ends the same stretch of a link, which is played over and over, with
fresh slot numbers each time. ``live`` starts two of these and reads their status.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import alice.playbook
import alice.service
import bob.playbook
import bob.service
from common.distillation.pace import Pace
from common.distillation.playbook import Playbook
from common.distillation.recipe import Recipe
from common.distillation.synchronisation import SACRIFICED_DETECTIONS, Frames, SacrificedDetections
from common.distillation.values import ClosedBlock, FramedDetections, MonitorReading
from common.profiles.link import LinkProfile
from common.service.main import leave, run_service
from common.service.node import NodeKind

CLICKS_A_SLOT = 0.1
"""Share of slots with a detection: that of a link as fast as any."""

STRETCH_FRAMES = 256
"""Frames that are prepared, and repeated."""

ENDLESS_SLOTS = 1 << 58
"""Slots of the emission record: more than will be played."""


@dataclass(frozen=True, slots=True, eq=False)
class PreparedLink:
    """A stretch of a link.

    Attributes
    ----------
    frame_pulses : int
        Slots of a frame.
    settings : uint8[2 n]
        Settings of the stretch's slots, twice.
    slots, outcomes : int64[m], uint8[m]
        Detections.
    bounds : int64[STRETCH_FRAMES + 1]
        Index of the first detection of each frame.
    """

    frame_pulses: int
    settings: NDArray[np.uint8]
    slots: NDArray[np.int64]
    outcomes: NDArray[np.uint8]
    bounds: NDArray[np.int64]

    @classmethod
    def draw(cls, profile: LinkProfile) -> PreparedLink:
        """Draw a stretch; both ends draw the same one.

        Parameters
        ----------
        profile : LinkProfile
            Frames and biases; its misalignment is the QBER.

        Returns
        -------
        PreparedLink
            Always the same.
        """
        rng = np.random.default_rng(7)
        frame_pulses = profile.security.frame_pulses
        count = STRETCH_FRAMES * frame_pulses
        settings = (2 * (rng.random(count) >= profile.source.probability_z) + rng.integers(0, 2, count)).astype(np.uint8)
        slots = np.flatnonzero(rng.random(count) < CLICKS_A_SLOT)
        sent = settings[slots]
        bases = (rng.random(slots.size) >= profile.receiver.probability_z).astype(np.uint8)
        wrong = (rng.random(slots.size) < profile.channel.misalignment).astype(np.uint8)
        bits = np.where(sent >> 1 == bases, (sent & 1) ^ wrong, rng.integers(0, 2, slots.size)).astype(np.uint8)
        bounds = np.searchsorted(slots, np.arange(STRETCH_FRAMES + 1) * frame_pulses)
        return cls(frame_pulses, np.concatenate([settings, settings]), slots, (2 * bases + bits).astype(np.uint8), bounds)


class PreparedDetections:
    """Bob's station on a prepared link."""

    def __init__(self, link: PreparedLink) -> None:
        self._link = link
        self._first_slot = 0

    def sacrifice(self, _attempt: int) -> SacrificedDetections:
        """Return the first detections."""
        part = slice(0, SACRIFICED_DETECTIONS)
        return SacrificedDetections(self._link.slots[part], self._link.outcomes[part], 1)

    def matched(self, frames: Frames, _frame_pulses: int) -> None:
        """Take note of where frame 0 begins."""
        self._first_slot = frames.first_slot

    def judge(self, _block: ClosedBlock) -> tuple[MonitorReading, ...]:
        """Read no monitors: detections that were prepared come from no detectors."""
        return ()

    def take(self, first_frame: int, most_frames: int, wanted_detections: int) -> FramedDetections:
        """Return whole frames until so many detections are reached, or the stretch ends.

        Parameters
        ----------
        first_frame, most_frames, wanted_detections : int
            As at any station.

        Returns
        -------
        FramedDetections
            Of one stretch; more than anybody wants is ahead.
        """
        link = self._link
        repetition, frame = divmod(first_frame + self._first_slot // link.frame_pulses, STRETCH_FRAMES)
        end = min(int(np.searchsorted(link.bounds, link.bounds[frame] + wanted_detections)), frame + most_frames, STRETCH_FRAMES)
        part = slice(int(link.bounds[frame]), int(link.bounds[end]))
        return FramedDetections(
            first_frame=first_frame,
            count_per_frame=np.diff(link.bounds[frame : end + 1]),
            slots=link.slots[part] + repetition * STRETCH_FRAMES * link.frame_pulses,
            outcomes=link.outcomes[part],
            cross_slots=np.zeros(0, np.int64),
            ended=False,
            count_ahead=1 << 40,
        )


class PreparedEmission:
    """Alice's station on a prepared link."""

    def __init__(self, link: PreparedLink) -> None:
        self.first_slot = (int(link.slots[SACRIFICED_DETECTIONS]) // link.frame_pulses + 1) * link.frame_pulses
        self.count_slots = ENDLESS_SLOTS
        self._link = link

    def look_up(self, slots: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return the settings of ``slots``, which span less than a stretch."""
        stretch = self._link.settings.size // 2
        begin = int(slots[0]) // stretch * stretch if slots.size else 0
        return np.take(self._link.settings, slots - begin)

    def find_offset(self, _slots: NDArray[np.int64], _outcomes: NDArray[np.uint8], _stride: int) -> int:
        """Find that both ends count alike.

        Parameters
        ----------
        _slots, _outcomes, _stride : int64[n], uint8[n], int
            Ignored.

        Returns
        -------
        int
            0.
        """
        return 0


class PreparedSource:
    """A node's source on a prepared link."""

    def __init__(self, play: Callable[[Pace], Playbook]) -> None:
        self._play = play

    async def start(self) -> None:
        """Do nothing: everything is there."""

    async def wait_ready(self) -> None:
        """Wait for nothing."""

    def open(self, pace: Pace) -> Playbook:
        """Return the halves of a new session at a ``pace``."""
        return self._play(pace)

    def abandon(self) -> None:
        """Do nothing: nobody waits for the stream."""

    def statistics(self) -> dict[str, Any]:
        """Nothing came in."""
        return {}

    async def close(self) -> None:
        """Do nothing."""


def _alice(profile: LinkProfile, recipe: Recipe) -> Callable[[Pace], Playbook]:
    station: Any = PreparedEmission(PreparedLink.draw(profile))
    return lambda _pace: alice.playbook.playbook(recipe, station)


def _bob(profile: LinkProfile, recipe: Recipe) -> Callable[[Pace], Playbook]:
    station: Any = PreparedDetections(PreparedLink.draw(profile))
    return lambda pace: bob.playbook.playbook(recipe, station, pace)


def prepared(kind: NodeKind, play: Callable[[LinkProfile, Recipe], Callable[[Pace], Playbook]]) -> NodeKind:
    """Return a ``kind`` of node that does not read its stream, but has ``play`` make halves that play on a prepared one."""
    return replace(kind, open_source=lambda _settings, profile, recipe: PreparedSource(play(profile, recipe)))


KINDS = {"alice": prepared(alice.service.NODE, _alice), "bob": prepared(bob.service.NODE, _bob)}

if __name__ == "__main__":
    gc.disable()
    leave(run_service(KINDS[sys.argv[1]], Path(sys.argv[2])))
