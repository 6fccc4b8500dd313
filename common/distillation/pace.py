"""How a session keeps pace with its stream: which method reconciles, and how many groups of blocks are under way.

Cascade leaks least, but asks in a hundred rounds or two, each of them a round trip; LDPC asks a few times. While one group waits for
answers others are worked on, so Cascade keeps up over any distance as long as enough groups may be under way. Beyond that, or where a
proof charges the answers as well, LDPC is chosen. Rate and round-trip time are measured by the service; nothing here has a say in what is
secret.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Literal

NEAR_GROUPS = 6
"""Groups under way on a near link: one fills, one is concluded, and the others are reconciled by turns."""

FEWEST_GROUPS = 2
"""Groups that may be under way however large they are: one fills while the other is concluded."""

MOST_GROUPS = 32
"""Groups under way at most."""

MOST_BITS_UNDER_WAY = 1 << 29
"""Key bits of all groups under way at most; Cascade's tables take about a byte a bit."""

CASCADE_ROUNDS = 200
"""Round trips of a batch by Cascade, those of its conclusion included: a little more than are measured."""

Method = Literal["cascade", "ldpc"]


@dataclass(slots=True)
class Pace:
    """What is known of distance and rate.

    Attributes
    ----------
    round_trip_seconds : float
        From a question to its answer; 0 while unknown.
    sifted_bits_per_second : float
        What the stream yields, by link time; 0 while unknown.
    group_bits : int
        Key bits of the latest group; 0 while unknown.
    charges_answers : bool
        Whether the proof charges what the correcting half says.
    near_groups : int
        Groups under way however near the peer is.
    """

    round_trip_seconds: float = 0.0
    sifted_bits_per_second: float = 0.0
    group_bits: int = 0
    charges_answers: bool = False
    near_groups: int = NEAR_GROUPS

    @property
    def groups_in_flight(self) -> int:
        """Groups that may be under way at a time, so that Cascade keeps up with the stream."""
        if not self.group_bits:
            return self.near_groups
        wanted = self.near_groups + ceil(self._bits_waiting / self.group_bits)
        return min(wanted, MOST_GROUPS, max(FEWEST_GROUPS, MOST_BITS_UNDER_WAY // self.group_bits))

    @property
    def method(self) -> Method:
        """The method of reconciliation; where Cascade keeps up it leaks less at every QBER."""
        return "ldpc" if self.charges_answers or self._bits_waiting > MOST_BITS_UNDER_WAY else "cascade"

    @property
    def _bits_waiting(self) -> float:
        """Bits that come in while a batch is reconciled by Cascade."""
        return self.sifted_bits_per_second * CASCADE_ROUNDS * self.round_trip_seconds
