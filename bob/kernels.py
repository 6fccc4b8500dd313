"""Kernels of the receiver: tags to slots, phase histograms, and detections in one pass.

Bob's own, because only he has time tags. ``bob.pulse_clock``, ``bob.gating`` and ``bob.detection`` call them; slow references are in
``tests/reference/receiver.py``. The clock comes as knots: at ``knot_t_ps[i]`` the slot coordinate is ``knot_slot[i] + knot_fraction[i]``
and grows by ``slots_per_ps[i]`` until the next knot; before the first knot it grows as after it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from common.kernels.jit import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

FLAG_DOUBLE = 1
"""Both detectors of one basis clicked in the slot; the bit is drawn at random."""

COUNT_OTHER = 0
COUNT_UNLOCKED = 1
COUNT_OUT_OF_GATE = 2
COUNT_DEAD_ROUNDS = 3
COUNT_DOUBLES = 4
COUNT_IN_GATE = 5
COUNT_COUNTERS = 6

NOT_A_DETECTOR = 255

CROSS = 4
"""Verdict on a round in which both bases clicked, or several photons for another reason; never keyed."""

NO_ROUND = 5
"""Verdict on a slot in which nothing clicked but between its gates; nothing is said of it."""


@kernel
def locate_slots(
    t_ps: NDArray[np.int64],
    knot_t_ps: NDArray[np.int64],
    knot_slot: NDArray[np.int64],
    knot_fraction: NDArray[np.float64],
    slots_per_ps: NDArray[np.float64],
    slot: NDArray[np.int64],
    phase_ps: NDArray[np.float64],
) -> None:
    """Nearest slot and phase within it, for tags in order of time.

    Parameters
    ----------
    t_ps : int64[n], picoseconds
        Non-decreasing.
    knot_t_ps, knot_slot, knot_fraction, slots_per_ps : int64, int64, float64, float64 [k]
        The clock, see the module.
    slot : int64[n]
        Output.
    phase_ps : float64[n], picoseconds
        Output: time since the slot's centre, in [-T/2, T/2).
    """
    knot = 0
    last = knot_t_ps.size - 1
    for i in range(t_ps.size):
        while knot < last and t_ps[i] >= knot_t_ps[knot + 1]:
            knot += 1
        coordinate = knot_fraction[knot] + (t_ps[i] - knot_t_ps[knot]) * slots_per_ps[knot]
        nearest = math.floor(coordinate + 0.5)
        slot[i] = knot_slot[knot] + np.int64(nearest)
        phase_ps[i] = (coordinate - nearest) / slots_per_ps[knot]


@kernel
def count_chosen(channel: NDArray[np.uint8], is_chosen: NDArray[np.bool_]) -> int:
    """Count the tags of some channels.

    Parameters
    ----------
    channel : uint8[n]
        Channel of each tag.
    is_chosen : bool[256]
        Which channels count.

    Returns
    -------
    int
        Their tags.
    """
    count = 0
    for i in range(channel.size):
        count += 1 if is_chosen[channel[i]] else 0
    return count


@kernel
def pick_evenly(
    t_ps: NDArray[np.int64],
    channel: NDArray[np.uint8],
    is_chosen: NDArray[np.bool_],
    first: int,
    every: int,
    picked_ps: NDArray[np.int64],
    picked_channel: NDArray[np.uint8],
) -> None:
    """Pick one of every so many tags of some channels.

    Parameters
    ----------
    t_ps : int64[n], picoseconds
        Times.
    channel : uint8[n]
        Channel of each tag.
    is_chosen : bool[256]
        Which channels count.
    first, every : int
        Of the tags of these channels, number ``first`` is picked and every ``every``-th after it.
    picked_ps, picked_channel : int64[m], uint8[m]
        Outputs; as many as there are to be picked.
    """
    until = first
    count = 0
    for i in range(channel.size):
        if is_chosen[channel[i]]:
            if until == 0:
                picked_ps[count] = t_ps[i]
                picked_channel[count] = channel[i]
                count += 1
                until = every
            until -= 1


@kernel
def order_aligned(
    t_ps: NDArray[np.int64],
    channel: NDArray[np.uint8],
    skew_ps: NDArray[np.int64],
    most_moves: int,
    begin: int,
    aligned_ps: NDArray[np.int64],
    aligned_channel: NDArray[np.uint8],
) -> int:
    """Take each channel's delay off its tags and put them in order of time behind others, by insertion from behind; ties keep their order.

    Parameters
    ----------
    t_ps : int64[n], picoseconds
        Non-decreasing.
    channel : uint8[n]
        Channel of each tag.
    skew_ps : int64[256], picoseconds
        Delay of each channel.
    most_moves : int
        Gives up where order takes more steps: each one moves a tag by a place.
    begin : int
        Tags that are there already, in order; later ones may have to go between them.
    aligned_ps, aligned_channel : int64[begin + n or more], uint8[the same]
        Read and written.

    Returns
    -------
    int
        Tags done: those and the ones before them are in order; all of them unless it gave up.
    """
    moves = 0
    for i in range(t_ps.size):
        t = t_ps[i] - skew_ps[channel[i]]
        place = begin + i
        while place > 0 and aligned_ps[place - 1] > t:
            aligned_ps[place], aligned_channel[place] = aligned_ps[place - 1], aligned_channel[place - 1]
            place -= 1
        aligned_ps[place], aligned_channel[place] = t, channel[i]
        moves += begin + i - place
        if moves > most_moves:
            return i + 1
    return t_ps.size


@kernel
def count_phases(
    phase_ps: NDArray[np.float64],
    channel: NDArray[np.uint8],
    row_of_channel: NDArray[np.uint8],
    period_ps: float,
    counts: NDArray[np.int64],
) -> None:
    """Histogram of phases over one period, one row per detector.

    Parameters
    ----------
    phase_ps : float64[n], picoseconds
        In [-T/2, T/2); a hair outside goes to the outermost bin.
    channel : uint8[n]
        Channel of each tag.
    row_of_channel : uint8[256]
        Row of ``counts``, or ``NOT_A_DETECTOR``.
    period_ps : float, picoseconds
        T.
    counts : int64[rows, bins]
        Output, added to.
    """
    count_bins = counts.shape[1]
    for i in range(phase_ps.size):
        row = row_of_channel[channel[i]]
        if row != NOT_A_DETECTOR:
            place = math.floor((phase_ps[i] / period_ps + 0.5) * count_bins)
            counts[row, min(max(place, 0), count_bins - 1)] += 1


@kernel
def detect_clicks(
    t_ps: NDArray[np.int64],
    channel: NDArray[np.uint8],
    click_of_channel: NDArray[np.uint8],
    outcome_of_pattern: NDArray[np.uint8],
    flags_of_pattern: NDArray[np.uint8],
    pitch_ps: float,
    knot_t_ps: NDArray[np.int64],
    knot_slot: NDArray[np.int64],
    knot_fraction: NDArray[np.float64],
    slots_per_ps: NDArray[np.float64],
    locked_from_ps: NDArray[np.int64],
    locked_to_ps: NDArray[np.int64],
    gate_low_ps: float,
    gate_width_ps: float,
    quiet_low_ps: float,
    quiet_width_ps: float,
    quiet_pitch_ps: float,
    dead_time_ps: int,
    previous_ps: int,
    slot: NDArray[np.int64],
    outcome: NDArray[np.uint8],
    flags: NDArray[np.uint8],
    cross_slot: NDArray[np.int64],
    quiet_slot: NDArray[np.int64],
    counters: NDArray[np.int64],
) -> tuple[int, int, int]:
    """Tags to detections in one pass: slot, gate, dead time, multi-clicks.

    Tags of one slot, from the opening of its first gate to the closing of its last, form a round. What clicked in it decides what it says;
    a click between two gates is one as well. The round is dropped if any detector tag, of whatever slot, phase or outcome, lies less than
    the dead time before the first gate opens, or if one falls in it after the clock's lock has ended: where that one belongs, nobody knows.

    Parameters
    ----------
    t_ps : int64[n], picoseconds
        Non-decreasing; ties allowed.
    channel : uint8[n]
        Channel of each tag.
    click_of_channel : uint8[windows, 256]
        Number of a click by the window it falls in and its channel, 0 to 7, or ``NOT_A_DETECTOR``.
    outcome_of_pattern, flags_of_pattern : uint8[2^clicks], with several windows uint8[2^(clicks + 1)]
        Verdict on a round by the set of its clicks, number 0 the lowest bit: Z0=0 Z1=1 X0=2 X1=3, ``CROSS`` or ``NO_ROUND``, and flags.
        With several windows the highest bit stands for clicks between the gates.
    pitch_ps : float, picoseconds
        From the opening of one window to that of the next; of no account where there is one.
    knot_t_ps, knot_slot, knot_fraction, slots_per_ps : int64, int64, float64, float64 [k]
        The clock, see the module.
    locked_from_ps, locked_to_ps : int64[s], picoseconds
        Stretches in which the clock was locked, both ends included, in order.
    gate_low_ps, gate_width_ps : float, picoseconds
        A tag is in the first gate if 0 <= phase - low < width, the phase taken modulo the period; the others follow at the pitch.
    quiet_low_ps, quiet_width_ps, quiet_pitch_ps : float, picoseconds
        A tag is in a quiet stretch if 0 <= since - low < width, counted from the opening of the first gate and taken modulo the pitch;
        0 <= low < pitch, and where there is one window the pitch is the period.
    dead_time_ps : int, picoseconds
        Non-negative.
    previous_ps : int, picoseconds
        Time of the last detector tag before these.
    slot, outcome, flags : int64[n], uint8[n], uint8[n]
        Outputs: one entry per kept single-basis round; the bit of a double is left 0.
    cross_slot : int64[n]
        Output: slots of kept cross clicks.
    quiet_slot : int64[n]
        Output: slot of each tag in a quiet stretch, whatever becomes of its round.
    counters : int64[COUNT_COUNTERS]
        Output, added to.

    Returns
    -------
    tuple[int, int, int]
        Number of detections, of cross clicks, and of tags in quiet stretches.
    """
    count = 0
    count_cross = 0
    count_quiet = 0
    knot = 0
    last_knot = knot_t_ps.size - 1
    stretch = 0
    open_slot = np.int64(0)
    open_pattern = 0  # which clicks the open round has; 0 = no round is open
    last_window = click_of_channel.shape[0] - 1
    span_ps = gate_width_ps + last_window * pitch_ps  # from the opening of the first gate to the closing of the last one
    open_live = False
    open_first_ps = open_lock_ends_ps = np.int64(0)  # its first tag, and the end of the lock in which that was
    open_since_ps = 0.0  # from its opening to its first tag
    open_knot = 0
    between_gates = outcome_of_pattern.size >> 1
    before_ps = previous_ps
    count_located = count_in_gate = doubles = np.int64(0)  # in registers: counters lie in memory
    for i in range(t_ps.size + 1):
        in_gate = False
        in_span = False
        here = np.int64(0)
        since_opening_ps = 0.0
        code = NOT_A_DETECTOR
        if i < t_ps.size:
            code = click_of_channel[0, channel[i]]
            if code == NOT_A_DETECTOR:
                counters[COUNT_OTHER] += 1
                continue
            t = t_ps[i]
            while knot < last_knot and t >= knot_t_ps[knot + 1]:
                knot += 1
            while stretch < locked_to_ps.size - 1 and t > locked_to_ps[stretch]:
                stretch += 1
            if t < locked_from_ps[stretch] or t > locked_to_ps[stretch]:
                counters[COUNT_UNLOCKED] += 1
            else:
                # measured from the opening of the gate, so that a gate may reach over the border between two slots
                coordinate = knot_fraction[knot] + (t - knot_t_ps[knot]) * slots_per_ps[knot] - gate_low_ps * slots_per_ps[knot]
                below = math.floor(coordinate)
                since_opening_ps = (coordinate - below) / slots_per_ps[knot]
                here = knot_slot[knot] + np.int64(below)
                in_gate = since_opening_ps < gate_width_ps
                in_span = since_opening_ps < span_ps
                if last_window > 0 and in_span and not in_gate:
                    window = min(np.int64(since_opening_ps / pitch_ps), last_window)
                    in_gate = since_opening_ps - window * pitch_ps < gate_width_ps
                    code = click_of_channel[window, channel[i]]
                count_located += 1
                count_in_gate += np.int64(in_gate)
                since_quiet_ps = since_opening_ps - quiet_low_ps
                if since_quiet_ps < 0.0:
                    since_quiet_ps += quiet_pitch_ps
                elif last_window > 0:
                    since_quiet_ps -= np.int64(since_quiet_ps / quiet_pitch_ps) * quiet_pitch_ps
                if since_quiet_ps < quiet_width_ps:
                    quiet_slot[count_quiet] = here
                    count_quiet += 1
        if open_pattern != 0 and not (in_span and here == open_slot):
            # slots of another lock are numbered anew, but Bob's own time goes on
            if i < t_ps.size and t_ps[i] > open_lock_ends_ps:
                passed_ps = (t_ps[i] - open_first_ps) + open_since_ps
                open_live = open_live and passed_ps >= min(span_ps, 1.0 / slots_per_ps[open_knot])
            verdict = outcome_of_pattern[open_pattern]
            if verdict != NO_ROUND:
                if not open_live:
                    counters[COUNT_DEAD_ROUNDS] += 1
                elif verdict == CROSS:
                    cross_slot[count_cross] = open_slot
                    count_cross += 1
                else:
                    slot[count] = open_slot
                    outcome[count] = verdict
                    flags[count] = flags_of_pattern[open_pattern]
                    doubles += np.int64(flags_of_pattern[open_pattern] & FLAG_DOUBLE)
                    count += 1
            open_pattern = 0
        if in_span:
            if open_pattern == 0:
                open_slot = here
                # the tag before the round's first lies before the gate opened, else it would belong to the round
                open_live = (t_ps[i] - before_ps) - since_opening_ps >= dead_time_ps
                open_first_ps, open_lock_ends_ps = t_ps[i], locked_to_ps[stretch]
                open_since_ps, open_knot = since_opening_ps, knot
            open_pattern |= 1 << code if in_gate else between_gates
        if i < t_ps.size:
            before_ps = t_ps[i]
    counters[COUNT_IN_GATE] += count_in_gate
    counters[COUNT_OUT_OF_GATE] += count_located - count_in_gate
    counters[COUNT_DOUBLES] += doubles
    return count, count_cross, count_quiet
