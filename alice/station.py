"""Alice's station: her emission record, as the protocol's halves ask for it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from alice.emission import Emission
from alice.frame_offset import WORKING_QBER, find_frame_offset
from common.errors import StreamError

NOISY_QBER = 0.3
"""QBER assumed where a usual one has failed: slots are matched even where every pulse is intercepted, so that the bound can say so."""

NEAR_SLOTS = 1 << 26
"""Offsets tried first, on either side of the expected one: a third of a second at 200 MHz."""

NOISY_CANDIDATES = 1 << 16
"""Offsets tried at most at ``NOISY_QBER``, where each one takes hundreds of detections to rule out."""


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
            The offset, or None if none fits clearly. The search begins where the receiver's slot 0 is the record's first slot;
            what is quickly searched comes first, the whole record third.
        """
        attempt, self._count_attempts = self._count_attempts, self._count_attempts + 1
        whole = 2 * self.count_slots + int(slots[-1] - slots[0])
        near = min(NEAR_SLOTS, NOISY_CANDIDATES * stride)
        qber, reach = {0: (WORKING_QBER, NEAR_SLOTS), 2: (WORKING_QBER, whole)}.get(attempt, (NOISY_QBER, near))
        try:
            found = find_frame_offset(
                self._emission.window,
                self._emission.settings,
                self.first_slot,
                self.count_slots,
                slots,
                outcomes,
                expected_offset=self.first_slot,
                reach_slots=reach,
                stride=stride,
                working_qber=qber,
            )
        except StreamError:
            return None
        return found.offset
