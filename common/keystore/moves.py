"""Key that moves from one delivery pool to the other, by agreement of both ends: what is moved, and when.

Pools are filled by fixed weights, and applications ask as they please: one end's pool may run dry while the other's is full. The fuller one
then gives. Of a block, its part of the giver's pool is spent from the front as ever; what is given goes behind the end of the block's part
of the receiver's pool, so that every byte keeps a place that both ends name alike.
"""

from __future__ import annotations

from dataclasses import dataclass

from common.keystore.interface import Piece

MOST_MOVED_BYTES = 1 << 20
"""Key that moves at a time; it is opened and sealed anew at both ends."""

LEAST_MOVED_BYTES = 1 << 9
"""Less is not worth two waits for the disk."""

FULLER = 4
"""So many times as full as the other a pool has to be to give."""


@dataclass(frozen=True, slots=True)
class Move:
    """A stretch of key that changes its pool; it is named by nothing but where it lies before and after.

    Attributes
    ----------
    block : int
        Block number.
    first_byte, count_bytes : int
        Where it lies in the giver's part of the block.
    target_byte : int
        Where it will lie in the receiver's part: its end as it was before.
    """

    block: int
    first_byte: int
    count_bytes: int
    target_byte: int

    @property
    def source(self) -> Piece:
        """Where it lies before."""
        return Piece(self.block, self.first_byte, self.count_bytes)

    @property
    def target(self) -> Piece:
        """Where it lies afterwards."""
        return Piece(self.block, self.target_byte, self.count_bytes)


def count_to_give(ours_bytes: int, theirs_bytes: int) -> int:
    """Say how much an end gives of its pool.

    Parameters
    ----------
    ours_bytes, theirs_bytes : int
        What is left in its pool and in the other's.

    Returns
    -------
    int
        Half of the difference, at most ``MOST_MOVED_BYTES`` at a time; 0 where the other is not far emptier: no key goes to and fro.
    """
    count = min((ours_bytes - theirs_bytes) // 2, MOST_MOVED_BYTES)
    return count if ours_bytes > FULLER * theirs_bytes and count >= LEAST_MOVED_BYTES else 0
