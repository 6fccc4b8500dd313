"""Clicks on their way to the tagger: before dead time, each with what made it, so that the truth can be told.

Made and put in order of time by ``link``, stretch by stretch.
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
        Times.
    slot : int64[n]
        Slot in which the light of each was emitted, or into which noise fell.
    label : uint8[n]
        Channel, kind and photon number in two bits each: see ``labels``.
    """

    t_ps: NDArray[np.int64]
    slot: NDArray[np.int64]
    label: NDArray[np.uint8]

    @classmethod
    def joined(cls, parts: list[Clicks]) -> Clicks:
        """Put parts one behind the other."""
        return cls(
            np.concatenate([part.t_ps for part in parts]),
            np.concatenate([part.slot for part in parts]),
            np.concatenate([part.label for part in parts]),
        )

    def in_order(self) -> Clicks:
        """Return them in order of time."""
        return self.taken(np.argsort(self.t_ps, kind="stable"))

    def merged(self, few: Clicks) -> Clicks:
        """Merge these clicks, nearly in order of time, and ``few`` others that are in order."""
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
    """Pack what is to be remembered of clicks.

    Parameters
    ----------
    channel : uint8[n]
        Channel of each, 0 to 3.
    kind : int
        What made them, 0 to 3.
    emitted : uint8[n]
        Photons in the pulse that made each, 0 to 3.

    Returns
    -------
    uint8[n]
        Two bits each, the channel lowest.
    """
    return np.asarray(channel | np.uint8(kind << 2) | (emitted << np.uint8(4)), np.uint8)


def kind_of(label: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return what made each click, by its ``label``, uint8[n]."""
    return np.asarray((label >> np.uint8(2)) & np.uint8(3), np.uint8)
