"""Monitors gate the key: each end says which blocks its devices made outside of their certified ranges, and both give those up.

Both ends play the same half, before a block is verified. A verdict costs no key: about a block that is given up nothing matters any more,
and of one that is kept it says no more than that it was kept. It is in the transcript that the tags cover, so nobody can turn it round
unseen. Readings come from ``bob.detector_monitor``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from itertools import starmap

from common.channel.messages import MonitorVerdict
from common.conversation.effects import Conversation, compute, receive, send
from common.distillation.values import ClosedBlock, Discarded, MonitorReading
from common.errors import AbortReason, RemoteProtocolError

Judge = Callable[[ClosedBlock], tuple[MonitorReading, ...]]
"""Reads the monitors of one end for a block."""

_IN_RANGE = 0
"""Code of a block against which no monitor speaks."""


def nothing_watched(block: ClosedBlock) -> tuple[MonitorReading, ...]:  # noqa: ARG001 - whatever the block
    """Judge a ``block`` at an end that has no monitors."""
    return ()


def exchange_verdicts(judge: Judge, blocks: list[ClosedBlock]) -> Conversation[list[ClosedBlock | Discarded]]:
    """Say what our monitors make of each block, and hear what the peer's do.

    Parameters
    ----------
    judge : callable
        Reads our monitors.
    blocks : list[ClosedBlock]
        After reconciliation.

    Returns
    -------
    list[ClosedBlock | Discarded]
        The same blocks with our readings; discarded, for the same reason at both ends, where a monitor of either is out of its range.

    Raises
    ------
    RemoteProtocolError
        If there is not one verdict for each block, or a verdict is none of a monitor.
    """
    read = yield from compute(_read, judge, blocks)
    ours = bytes(min((int(reading.reason) for reading in block.readings if reading.reason), default=_IN_RANGE) for block in read)
    yield from send(MonitorVerdict(ours))
    theirs = (yield from receive(MonitorVerdict)).reasons
    if len(theirs) != len(blocks):
        raise RemoteProtocolError(f"{len(theirs)} verdicts of monitors for {len(blocks)} blocks")
    reasons = starmap(_agreed, zip(ours, theirs, strict=True))
    return [block if reason is None else Discarded(block, reason) for block, reason in zip(read, reasons, strict=True)]


def _read(judge: Judge, blocks: list[ClosedBlock]) -> list[ClosedBlock]:
    return [dataclasses.replace(block, readings=judge(block)) for block in blocks]


def _agreed(ours: int, theirs: int) -> AbortReason | None:
    """The reason both ends give: of two of them the one with the lower number."""
    if theirs != _IN_RANGE and not (theirs in set(AbortReason) and AbortReason(theirs).is_monitor):
        raise RemoteProtocolError(f"verdict {theirs} is none of a monitor")
    reasons = [code for code in (ours, theirs) if code != _IN_RANGE]
    return AbortReason(min(reasons)) if reasons else None
