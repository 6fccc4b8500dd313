"""Detections that nobody has taken yet, in the pieces they came in: what is added, counted and taken costs what it moves, not what waits.

Pieces come from ``bob.stream_run``; ``bob.live`` counts them by frame, takes them out, and lets go of what was taken.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


class SlotQueue:
    """Ascending slots, each with a byte."""

    __slots__ = ("_parts", "size")

    def __init__(self) -> None:
        self.size = 0
        self._parts: deque[tuple[NDArray[np.int64], NDArray[np.uint8]]] = deque()

    @property
    def last(self) -> int | None:
        """Last slot, or None where nothing waits."""
        return int(self._parts[-1][0][-1]) if self._parts else None

    def append(self, slots: NDArray[np.int64], values: NDArray[np.uint8]) -> None:
        """Add a piece.

        Parameters
        ----------
        slots : int64[n]
            Ascending, behind all that are here.
        values : uint8[n]
            Byte of each.
        """
        if slots.size:
            self._parts.append((slots, values))
            self.size += slots.size

    def counts(self, edges: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return how many slots lie from each edge (int64[k + 1], ascending) up to the next, int64[k]."""
        counts = np.zeros(edges.size - 1, np.int64)
        for slots, _ in self._parts:
            if slots[0] < edges[-1]:
                counts += np.diff(np.searchsorted(slots, edges))
        return counts

    def between(self, low: int, high: int) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
        """Return what lies from slot ``low`` up to, not including, ``high``: int64[n] and uint8[n]."""
        found: list[tuple[NDArray[np.int64], NDArray[np.uint8]]] = [(np.zeros(0, np.int64), np.zeros(0, np.uint8))]
        for slots, values in self._parts:
            if slots[0] >= high:
                break
            first, end = np.searchsorted(slots, [low, high])
            found.append((slots[first:end], values[first:end]))
        return np.concatenate([slots for slots, _ in found]), np.concatenate([values for _, values in found])

    def slot_at(self, place: int) -> int:
        """Return the slot at a ``place`` below ``size``, counted from the first that waits."""
        for slots, _ in self._parts:
            if place < slots.size:
                return int(slots[place])
            place -= slots.size
        raise IndexError(place)

    def forget_through(self, slot: int) -> None:
        """Let go of everything up to and including ``slot``."""
        while self._parts and self._parts[0][0][-1] <= slot:
            self.size -= self._parts.popleft()[0].size
        if self._parts:
            slots, values = self._parts[0]
            first = int(np.searchsorted(slots, slot, side="right"))
            self._parts[0] = slots[first:], values[first:]
            self.size -= first


@dataclass(slots=True, eq=False)
class WaitingDetections:
    """Detections of one run, by Bob's slots.

    Attributes
    ----------
    clicks : SlotQueue
        Slots with one outcome each.
    cross_clicks : SlotQueue
        Slots with clicks in both bases; their bytes mean nothing.
    doubles, quiet : SlotQueue
        Slots of same-basis doubles, and of tags in quiet stretches, for monitors; their bytes mean nothing.
    lost : list[tuple[int, int]]
        First and last slot touched by each gap.
    through_slot : int or None
        Up to this slot nothing will be added; None before the first piece.
    """

    clicks: SlotQueue = field(default_factory=SlotQueue)
    cross_clicks: SlotQueue = field(default_factory=SlotQueue)
    doubles: SlotQueue = field(default_factory=SlotQueue)
    quiet: SlotQueue = field(default_factory=SlotQueue)
    lost: list[tuple[int, int]] = field(default_factory=list)
    through_slot: int | None = None

    def forget_through(self, slot: int) -> None:
        """Let go of everything up to and including ``slot``."""
        for queue in (self.clicks, self.cross_clicks, self.doubles, self.quiet):
            queue.forget_through(slot)
        self.lost = [(low, high) for low, high in self.lost if high > slot]
