"""Counts of a block, the only thing a key length is computed from, and the values a block passes through.

Sifted -> reconciled -> closed -> verified -> secret: each step maps one value to the next, and the leakage account travels inside it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BasisCounts:
    """What one basis contributed to a block.

    Attributes
    ----------
    key : int
        Sifted, undisclosed bits, those in segments that failed to reconcile included.
    kept : int
        Of these, bits in segments that were reconciled; equal at both ends.
    tested : int
        Disclosed bits.
    errors : int
        Errors among the disclosed bits.
    """

    key: int = 0
    kept: int = 0
    tested: int = 0
    errors: int = 0


@dataclass(frozen=True, slots=True)
class BlockCounts:
    """Everything the proof may look at.

    Attributes
    ----------
    pulses : int
        Every pulse emitted from opening to closing the block, dropped frames and gaps included.
    frames : int
        Frames (of a fixed number of pulses) in the block.
    detections : int
        Announced single-basis clicks.
    cross_clicks : int
        Slots in which detectors of both bases clicked.
    z, x : BasisCounts
        The two bases.
    table : tuple[tuple[int, ...], ...]
        Disclosed rounds, settings (rows, in the protocol's order) by outcomes Z0 Z1 X0 X1 (columns).
    key_by_intensity : tuple[int, ...]
        The key bits by the intensity they were sent with, brightest first; empty where there is one intensity.
    key_errors_by_intensity : tuple[int, ...]
        Errors among them, every bit of a failed segment counted as one; empty where they are not known, or not needed.
    """

    pulses: int
    frames: int
    detections: int
    cross_clicks: int
    z: BasisCounts
    x: BasisCounts
    table: tuple[tuple[int, ...], ...] = ()
    key_by_intensity: tuple[int, ...] = ()
    key_errors_by_intensity: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class ReceiverCounts:
    """What a receiver's monitors are told of a block; nothing here decides a key length.

    Attributes
    ----------
    pulses : int
        Pulses in frames that were looked at, those touched by a gap left out.
    outcomes : tuple[int, int, int, int]
        Detections with outcome Z0, Z1, X0, X1, same-basis doubles included as their random bit has it.
    doubles, cross_clicks : int
        Same-basis doubles; slots with clicks in both bases, with time bins with any second click.
    quiet_clicks : int
        Clicks, of live and dead rounds alike, in the stretch of the slot where little light comes.
    """

    pulses: int = 0
    outcomes: tuple[int, int, int, int] = (0, 0, 0, 0)
    doubles: int = 0
    cross_clicks: int = 0
    quiet_clicks: int = 0

    def added(self, other: ReceiverCounts) -> ReceiverCounts:
        """Return the counts of both together, ``other`` being those of other frames."""
        z0, z1, x0, x1 = (mine + theirs for mine, theirs in zip(self.outcomes, other.outcomes, strict=True))
        return ReceiverCounts(
            self.pulses + other.pulses,
            (z0, z1, x0, x1),
            self.doubles + other.doubles,
            self.cross_clicks + other.cross_clicks,
            self.quiet_clicks + other.quiet_clicks,
        )
