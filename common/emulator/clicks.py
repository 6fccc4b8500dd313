"""Clicks of one stretch before dead time: where they fall, what made them, and how they come into order.

Made by ``link`` out of photons, noise and reference pulses; the tagger gave their times.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from common.emulator.kernels import merge_clicks

_MOST_MOVES: Final = 32
"""Places by which jitter moves a click on average, beyond which sorting is faster than insertion."""


@dataclass(slots=True, eq=False)
class Clicks:
    """Clicks before dead time.

    Attributes
    ----------
    t_ps : int64[n], picoseconds
        Times by Bob's clock.
    slot : int64[n]
        Slots in which their light was emitted.
    label : uint8[n]
        Channel, kind and photon number in two bits each.
    """

    t_ps: NDArray[np.int64]
    slot: NDArray[np.int64]
    label: NDArray[np.uint8]

    @classmethod
    def joined(cls, parts: list[Clicks]) -> Clicks:
        """Put ``parts`` one behind the other."""
        return cls(
            np.concatenate([part.t_ps for part in parts]),
            np.concatenate([part.slot for part in parts]),
            np.concatenate([part.label for part in parts]),
        )

    def in_order(self) -> Clicks:
        """Sort by time."""
        return self.taken(np.argsort(self.t_ps, kind="stable"))

    def merged(self, few: Clicks) -> Clicks:
        """Merge these clicks, nearly in order of time, with a ``few`` others that are in order."""
        count = self.t_ps.size + few.t_ps.size
        merged = Clicks(np.empty(count, np.int64), np.empty(count, np.int64), np.empty(count, np.uint8))
        mine, others = ((part.t_ps, part.slot, part.label) for part in (self, few))
        if merge_clicks(*mine, *others, _MOST_MOVES * count, merged.t_ps, merged.slot, merged.label):
            return merged
        return self.joined([few, self]).in_order()

    def taken(self, choice: NDArray[np.int64] | NDArray[np.bool_] | slice) -> Clicks:
        """Return those of a ``choice``."""
        return Clicks(self.t_ps[choice], self.slot[choice], self.label[choice])


def labels(channel: NDArray[np.uint8], kind: int, emitted: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return labels.

    Parameters
    ----------
    channel : uint8[n]
        0 to 3.
    kind : int
        What made all of these clicks, 0 to 3.
    emitted : uint8[n]
        Photons in the pulse, 0 to 3.

    Returns
    -------
    uint8[n]
        See ``Clicks.label``.
    """
    return np.asarray(channel | np.uint8(kind << 2) | (emitted << np.uint8(4)), np.uint8)


def kinds_of(label: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return what made each click, uint8[n], from its ``label``, uint8[n]."""
    return np.asarray((label >> np.uint8(2)) & np.uint8(3), np.uint8)
