"""Alice's station: her emission record, as the protocol's halves ask for it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from alice.emission import Emission
from alice.frame_offset import WORKING_QBER, find_frame_offset
from common.errors import StreamError

NOISY_QBER = 0.3
"""QBER assumed from the second attempt on: slots are matched even where every pulse is intercepted, so that the bound can say so."""

NOISY_REACH_SLOTS = 1 << 24
"""Furthest offset tried at that QBER, where each one takes hundreds of detections to rule out."""


class EmissionStation:
    """A recorded emission.

    Parameters
    ----------
    emission : Emission
        Settings by absolute slot.
    """

    def __init__(self, emission: Emission) -> None:
        self.first_slot = emission.first_slot
        self.count_slots = emission.count_slots
        self._emission = emission
        self._expected_offset: int | None = None
        self._count_attempts = 0

    def look_up(self, slots: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return the settings of scattered slots: int64[n] in, uint8[n] out."""
        return self._emission.lookup(slots)

    def find_offset(self, slots: NDArray[np.int64], outcomes: NDArray[np.uint8], stride: int) -> int | None:
        """Look for the offset at which sacrificed detections fit the record.

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
            The offset, or None if none fits clearly; the search begins where the receiver's first tag is the record's first slot.
        """
        if self._expected_offset is None:
            self._expected_offset = self.first_slot - int(slots[0])
        noisy = self._count_attempts > 0
        self._count_attempts += 1
        reach = NOISY_REACH_SLOTS * stride if noisy else 2 * self.count_slots + int(slots[-1]) - int(slots[0])
        try:
            found = find_frame_offset(
                self._emission.window,
                self._emission.settings,
                self.first_slot,
                self.count_slots,
                slots,
                outcomes,
                expected_offset=self._expected_offset,
                reach_slots=reach,
                stride=stride,
                working_qber=NOISY_QBER if noisy else WORKING_QBER,
            )
        except StreamError:
            return None
        return found.offset
