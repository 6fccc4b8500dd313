"""The frame offset: which of Alice's slots is Bob's slot 0.

Bob's clock counts slots from an arbitrary zero. From a sacrificed frame, whose detections are announced with basis and outcome and never
make key, Alice finds the shift at which they agree with her settings. She searches, not Bob, because settings stay with her. Every
candidate is a sequential likelihood test, candidates widen outwards from the expected shift, and settings are fetched in windows, so that
memory does not grow with the search. Where reference pulses leave few candidates in a long stretch, only the settings they ask for are
fetched. A shift wrong by a single slot reads as 50 % QBER: neighbours are candidates like all others.

References
----------
Sequential test: Wald 1945, Ann. Math. Stat. 16, 117. Offset from the quantum signal itself: Qubit4Sync, arXiv 1909.12050; Cochran and
Gauthier 2021 (Bayesian). Status: planning: a wrong offset costs the frame, never secrecy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from common.errors import ConfigurationError, StreamError
from common.kernels.frame_offset import score_offsets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

REQUIRED_BITS = 30.0
"""Score needed beyond log2(candidates): a wrong offset is taken with probability below 1e-9."""

CLEAR_BITS = 20.0
"""Score by which the best candidate must lead the second."""

REJECT_BITS = 25.0
"""Score at which a candidate is given up: the right one is, with probability 3e-8."""

WORKING_QBER = 0.08
"""QBER assumed where none is known: right offsets are still found at 20 %."""

MOST_DETECTIONS = 4096
"""Detections used: with half the bases matching they give about 1200 bits at 8 % QBER, and 240 at 30 %."""

WINDOW_SLOTS = 1 << 26
"""Settings held at a time, one byte each: 64 MiB."""

FIRST_CANDIDATES = 1024
"""Candidates of the first round; each further round doubles them until the window is full or there are ``MOST_CANDIDATES``."""

MOST_CANDIDATES = 1 << 20
"""Candidates of the longest round: 8 MiB of scores."""

SPARSE_STRIDE = 256
"""Divider of the reference pulses from which on settings are fetched one by one: expanding all of a stretch costs some ten of these."""

SPARSE_CANDIDATES = 1 << 15
"""Candidates of a round then; with its neighbours and ``SCREENING_DETECTIONS`` settings each, some 10 MiB at a time."""

SPARSE_PIECE = 1 << 14
"""Candidates, neighbours included, that are scored together."""

SCREENING_DETECTIONS = 64
"""Detections every candidate is scored with; each further stage takes as many as all before it, for those that are left."""

SCREENING_REJECT_BITS = 15.0
"""Score at which a candidate is given up between stages: the right one is with probability 4e-3 at 20 % QBER, far less below."""

OUTCOMES = {"Z0": 0, "Z1": 1, "X0": 2, "X1": 3}


@dataclass(frozen=True, slots=True)
class FrameOffset:
    """A frame offset found.

    Attributes
    ----------
    offset : int
        Alice's absolute slot less Bob's slot.
    score_bits : float, bits
        Log-likelihood ratio of this offset against chance.
    runner_up_bits : float, bits
        Of the next best; a candidate given up counts with the score it had then.
    candidates : int
        Offsets tried.
    """

    offset: int
    score_bits: float
    runner_up_bits: float
    candidates: int


def gains_bits(settings: Sequence[str], working_qber: float = WORKING_QBER) -> NDArray[np.float64]:
    """Log-likelihood ratio of every outcome given every setting, against chance.

    Parameters
    ----------
    settings : sequence of str
        Settings of the emission record, as ``"Z0"`` or ``"Z0/signal"``.
    working_qber : float
        QBER assumed, 0 < Q < 1/2.

    Returns
    -------
    float64[settings + 1, 4], bits
        log2(2 (1 - Q)) on equal bits and log2(2 Q) on different ones where the bases match, else 0. The last row, all 0, stands
        for a slot outside the record.

    Raises
    ------
    ConfigurationError
        If the QBER is out of range or a setting names no state.
    """
    if not 0.0 < working_qber < 0.5:
        raise ConfigurationError(f"working QBER {working_qber}: the frame-offset search needs one between 0 and 1/2")
    gains = np.zeros((len(settings) + 1, 4))
    for index, setting in enumerate(settings):
        state = setting.partition("/")[0]
        if state not in OUTCOMES:
            raise ConfigurationError(f"settings: {setting!r} is none of {', '.join(OUTCOMES)}, with or without an intensity")
        gains[index, OUTCOMES[state]] = math.log2(2.0 * (1.0 - working_qber))
        gains[index, OUTCOMES[state] ^ 1] = math.log2(2.0 * working_qber)
    return gains


def find_frame_offset(
    window: Callable[[int, int], NDArray[np.uint8]],
    settings: Sequence[str],
    first_slot: int,
    count_slots: int,
    slot: NDArray[np.int64],
    outcome: NDArray[np.uint8],
    *,
    expected_offset: int,
    reach_slots: int,
    stride: int = 1,
    neighbours: int = 2,
    working_qber: float = WORKING_QBER,
    lookup: Callable[[NDArray[np.int64]], NDArray[np.uint8]] | None = None,
) -> FrameOffset:
    """Find Alice's absolute slot for Bob's relative slots.

    Parameters
    ----------
    window : callable
        ``window(first, count)`` gives the settings of ``count`` slots from ``first`` on, uint8[count]; asked only within the record.
    settings : sequence of str
        What the indices mean.
    first_slot, count_slots : int
        Extent of the record: candidates put the middle detection inside, and detections they put outside count neither way.
    slot : int64[n]
        Increasing relative slots of sacrificed detections; of more than ``MOST_DETECTIONS`` those in the middle are used.
    outcome : uint8[n]
        Their outcomes, Z0=0 Z1=1 X0=2 X1=3.
    expected_offset : int
        Where to begin.
    reach_slots : int
        Offsets up to so far from the expected one are tried.
    stride : int
        1, or the sync divider: then offsets are multiples of it, give or take ``neighbours``.
    neighbours : int
        Slots by which the light may run ahead of or behind the reference pulses.
    working_qber : float
        QBER assumed.
    lookup : callable or None
        ``lookup(slots)`` gives the settings of scattered slots, int64[n] to uint8[n]; used where the stride is large.

    Returns
    -------
    FrameOffset
        The one that is sure.

    Raises
    ------
    StreamError
        If none is, with what to do about it.
    ConfigurationError
        If ``stride``, ``neighbours`` or ``reach_slots`` is out of range, or as in ``gains_bits``.
    """
    if stride < 1 or neighbours < 0 or reach_slots < 0:
        raise ConfigurationError(
            f"frame offset: stride {stride} must be positive, neighbours {neighbours} and reach {reach_slots} not negative"
        )
    gains = gains_bits(settings, working_qber)
    aside = min(neighbours, (stride - 1) // 2)
    surplus = max(0, slot.size - MOST_DETECTIONS) // 2
    slot, outcome = slot[surplus : surplus + MOST_DETECTIONS], outcome[surplus : surplus + MOST_DETECTIONS]
    blank = len(settings)

    def padded(first: int, count: int) -> NDArray[np.uint8]:
        """Settings of any slots, ``blank`` outside the record."""
        held = np.full(count, blank, np.uint8)
        low, high = max(first, first_slot), min(first + count, first_slot + count_slots)
        if high > low:
            held[low - first : high - first] = window(low, high - low)
        return held

    def scattered(slots: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Settings of any slots, ``blank`` outside the record; only asked where there is a ``lookup``."""
        held = np.full(slots.size, blank, np.uint8)
        inside = (slots >= first_slot) & (slots < first_slot + count_slots)
        if lookup is not None:
            held[inside] = lookup(slots[inside])
        return held

    is_sparse = lookup is not None and stride >= SPARSE_STRIDE
    best = FrameOffset(expected_offset, -math.inf, -math.inf, 0)
    if slot.size:
        middle = int(slot[slot.size // 2])  # at least half of the detections have to lie within the record
        least = max(expected_offset - reach_slots, first_slot - middle)
        most = min(expected_offset + reach_slots, first_slot + count_slots - 1 - middle)
        widest = SPARSE_CANDIDATES if is_sparse else min(MOST_CANDIDATES, max(1, (_row_slots(slot) - 2 * aside) // stride))
        rounds = _rounds(expected_offset, least, most, stride, widest)
    else:
        rounds = iter(())
    for first_candidate, count in rounds:
        if is_sparse:
            offsets = first_candidate + stride * np.arange(count, dtype=np.int64) + np.arange(-aside, aside + 1)[:, np.newaxis]
            scores = _screened(scattered, slot, outcome, gains, offsets.ravel()).reshape(offsets.shape)
        else:
            held, row_start = _settings_of(padded, slot, first_candidate - aside, (count - 1) * stride + 1 + 2 * aside)
            scores = np.empty((2 * aside + 1, count))
            for beside in range(2 * aside + 1):
                score_offsets(held, row_start + beside, outcome, gains, stride, REJECT_BITS, scores[beside])
        best = _better(best, scores, first_candidate - aside, stride)
        if _is_sure(best):
            return best
    raise StreamError(
        f"frame offset not found: best of {best.candidates} offsets within {reach_slots} slots of {expected_offset} scores"
        f" {best.score_bits:.0f} bits, the next {best.runner_up_bits:.0f}, from {slot.size} detections; sacrifice more detections, search"
        " further, or check clock_hz, sync_divider and that basis and bit are mapped alike at both ends"
    )


def _screened(
    scattered: Callable[[NDArray[np.int64]], NDArray[np.uint8]],
    slot: NDArray[np.int64],
    outcome: NDArray[np.uint8],
    gains: NDArray[np.float64],
    offsets: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Scores of any offsets, stage by stage with twice the detections; one that is given up keeps the score it had then."""
    scores = np.zeros(offsets.size)
    for start in range(0, offsets.size, SPARSE_PIECE):
        left = np.arange(start, min(start + SPARSE_PIECE, offsets.size))
        begin, end = 0, SCREENING_DETECTIONS
        while left.size and begin < slot.size:
            held = scattered((slot[begin:end, np.newaxis] + offsets[left]).ravel())
            row_start = np.arange(held.size // left.size, dtype=np.int64) * left.size
            gained = np.empty(left.size)
            score_offsets(held, row_start, outcome[begin:end], gains, 1, math.inf, gained)
            scores[left] += gained
            left = left[scores[left] > -SCREENING_REJECT_BITS]
            begin, end = end, 2 * end
    return scores


def _rounds(expected_offset: int, least_offset: int, most_offset: int, stride: int, widest: int) -> Iterator[tuple[int, int]]:
    """First candidate (a multiple of the stride) and number of candidates of each round, widening outwards."""
    least, most = -(-least_offset // stride), most_offset // stride  # candidates are stride k for least <= k <= most
    if least > most:
        return
    count = min(FIRST_CANDIDATES, widest)
    centre = min(max((expected_offset + stride // 2) // stride, least), most)
    low = max(least, centre - count // 2)
    high = min(most + 1, low + count)  # done are low <= k < high
    yield low * stride, high - low
    while low > least or high <= most:
        count = min(2 * count, widest)
        if high <= most:
            taken = min(count, most + 1 - high)
            yield high * stride, taken
            high += taken
        if low > least:
            taken = min(count, low - least)
            low -= taken
            yield low * stride, taken


def _is_contiguous(slot: NDArray[np.int64]) -> bool:
    """Whether one window holds the settings of all detections."""
    return int(slot[-1] - slot[0]) < WINDOW_SLOTS // 2


def _row_slots(slot: NDArray[np.int64]) -> int:
    """Settings each detection may have within the memory allowed."""
    if _is_contiguous(slot):
        return WINDOW_SLOTS - int(slot[-1] - slot[0])
    return WINDOW_SLOTS // slot.size


def _settings_of(
    padded: Callable[[int, int], NDArray[np.uint8]], slot: NDArray[np.int64], offset: int, count: int
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Settings from each detection's slot plus ``offset`` on, ``count`` of them, and where each detection's begin."""
    if _is_contiguous(slot):
        return padded(int(slot[0]) + offset, int(slot[-1] - slot[0]) + count), slot - slot[0]
    held = np.empty((slot.size, count), np.uint8)
    for row, place in enumerate(slot):
        held[row] = padded(int(place) + offset, count)
    return held.ravel(), np.arange(slot.size, dtype=np.int64) * count


def _better(best: FrameOffset, scores: NDArray[np.float64], first_offset: int, stride: int) -> FrameOffset:
    """The best and second best so far, this round's scores included."""
    flat = scores.ravel()
    order = np.argpartition(flat, flat.size - 2)[-2:] if flat.size > 1 else np.zeros(1, np.int64)
    order = order[np.argsort(-flat[order])]
    candidates = best.candidates + flat.size
    top = float(flat[order[0]])
    second = float(flat[order[1]]) if order.size > 1 else -math.inf
    if top <= best.score_bits:
        return FrameOffset(best.offset, best.score_bits, max(best.runner_up_bits, top), candidates)
    beside, place = divmod(int(order[0]), scores.shape[1])
    return FrameOffset(first_offset + beside + place * stride, top, max(best.score_bits, second), candidates)


def _is_sure(found: FrameOffset) -> bool:
    needed = math.log2(found.candidates) + REQUIRED_BITS
    return found.score_bits > needed and found.score_bits - found.runner_up_bits > CLEAR_BITS
