"""The emulator's own kernels: what depends on the event before it, or on every photon alone.

Random numbers come in as arrays drawn by the caller, so that each kernel is a plain function of its arguments.
"""

import numpy as np
from numpy.typing import NDArray

from common.kernels.jit import kernel


@kernel
def telegraph_states(
    slots: NDArray[np.int64],
    uniform: NDArray[np.float64],
    on_fraction: float,
    correlation_slots: float,
    last_slot: int,
    last_on: int,
    on: NDArray[np.uint8],
) -> None:
    """Draw the states of a two-state Markov emitter at increasing slots.

    Knowing the state d slots ago, the emitter is on with probability beta + (state - beta) exp(-d/correlation): sampling a
    Markov process at some times only is exact, so nothing is drawn in between.

    Parameters
    ----------
    slots : int64[n]
        Increasing.
    uniform : float64[n]
        Random numbers in [0, 1).
    on_fraction : float
        Share beta of the time in the on state.
    correlation_slots : float
        Decay length of the correlation, slots.
    last_slot, last_on : int
        Slot and state (0 or 1) known before; state -1 means nothing is known.
    on : uint8[n]
        Written, 0 or 1.
    """
    known_slot, known = last_slot, last_on
    for place in range(slots.size):
        probability = on_fraction
        if known >= 0:
            probability += (known - on_fraction) * np.exp(-(slots[place] - known_slot) / correlation_slots)
        known = 1 if uniform[place] < probability else 0
        known_slot = slots[place]
        on[place] = known


@kernel
def accumulate_gaps(exponential: NDArray[np.float64], per_gap: float, largest: float, last: int, slots: NDArray[np.int64]) -> None:
    """Turn exponentially distributed numbers into chosen slots: the gap to the next one is 1 + floor(E per_gap).

    Parameters
    ----------
    exponential : float64[n]
        Standard exponentially distributed, E.
    per_gap : float
        -1 / ln(1 - p) for slots chosen with probability p.
    largest : float
        Longer gaps are cut to this, which lies beyond the end.
    last : int
        Slot chosen before these.
    slots : int64[n]
        Written, increasing.
    """
    slot = np.int64(last)
    for place in range(exponential.size):
        slot += np.int64(min(exponential[place] * per_gap, largest)) + 1
        slots[place] = slot


@kernel
def emission_times(
    slots: NDArray[np.int64],
    base_slot: int,
    period_ps: float,
    exponential: NDArray[np.float64],
    lifetime_ps: float,
    since_base_ps: NDArray[np.float64],
) -> None:
    """Say when each photon leaves: an exponential decay whose mean lies at the centre of its slot.

    Parameters
    ----------
    slots : int64[n]
        Slot of each photon.
    base_slot : int
        Slot from whose centre times are measured.
    period_ps : float, picoseconds
        Distance of slots.
    exponential : float64[n] or float64[0]
        Standard exponentially distributed; none where the source decays at once.
    lifetime_ps : float, picoseconds
        Mean of the decay.
    since_base_ps : float64[n], picoseconds
        Written.
    """
    for place in range(slots.size):
        since_ps = (slots[place] - base_slot) * period_ps
        if exponential.size:
            since_ps += (exponential[place] - 1.0) * lifetime_ps
        since_base_ps[place] = since_ps


@kernel
def tag_times(
    since_base_ps: NDArray[np.float64],
    deviates: NDArray[np.float64],
    jitter_ps: float,
    scale: float,
    fraction_ps: float,
    whole_ps: int,
    resolution_ps: int,
    t_ps: NDArray[np.int64],
) -> None:
    """Turn times on Alice's clock into Bob's tags: jitter, the scale of his clock, and the tagger's grid.

    Parameters
    ----------
    since_base_ps : float64[n], picoseconds
        Since the base, which Bob's clock shows as ``whole_ps + fraction_ps``.
    deviates : float64[n] or float64[0]
        Normally distributed; none where there is no jitter.
    jitter_ps : float, picoseconds
        Standard deviation of the jitter.
    scale : float
        Bob's picoseconds in one of Alice's.
    fraction_ps, whole_ps : float, int, picoseconds
        See ``since_base_ps``.
    resolution_ps : int, picoseconds
        Tags are the nearest multiples of this.
    t_ps : int64[n], picoseconds
        Written.
    """
    # The quotient of whole numbers below 2^53 is floored right: where it is no whole number it lies further below one than it is rounded.
    half = (resolution_ps // 2 if resolution_ps > 1 else 0) + whole_ps % resolution_ps
    floor_ps = whole_ps - whole_ps % resolution_ps
    for place in range(since_base_ps.size):
        since_ps = since_base_ps[place]
        if deviates.size:
            since_ps += deviates[place] * jitter_ps
        since_ps = np.rint(since_ps * scale + fraction_ps)
        if resolution_ps > 1:
            since_ps = np.floor((since_ps + half) / resolution_ps) * resolution_ps
        else:
            since_ps += half
        t_ps[place] = floor_ps + np.int64(since_ps)


@kernel
def measure_states(
    state: NDArray[np.uint8],
    basis: NDArray[np.uint8],
    uniform: NDArray[np.float64],
    bit: NDArray[np.uint8],
    flipped: NDArray[np.float64],
    outcome: NDArray[np.uint8],
) -> None:
    """Measure states: the likelier bit of the state in the basis, or now and then the other one.

    Parameters
    ----------
    state : uint8[n]
        Row of the tables.
    basis : uint8[n]
        Basis of the measurement, Z=0 X=1.
    uniform : float64[n]
        Random numbers in [0, 1).
    bit, flipped : uint8[states, 2], float64[states, 2]
        Likelier bit, and probability of the other one, by state and basis.
    outcome : uint8[n]
        Written: Z0=0 Z1=1 X0=2 X1=3.
    """
    for place in range(state.size):
        chosen = basis[place]
        found = bit[state[place], chosen] ^ np.uint8(uniform[place] < flipped[state[place], chosen])
        outcome[place] = (chosen << np.uint8(1)) | found


@kernel
def merge_clicks(
    many_t_ps: NDArray[np.int64],
    many_slot: NDArray[np.int64],
    many_label: NDArray[np.uint8],
    few_t_ps: NDArray[np.int64],
    few_slot: NDArray[np.int64],
    few_label: NDArray[np.uint8],
    most_moves: int,
    t_ps: NDArray[np.int64],
    slot: NDArray[np.int64],
    label: NDArray[np.uint8],
) -> bool:
    """Merge clicks that are nearly in order of time with some that are in order, by insertion from behind.

    Parameters
    ----------
    many_t_ps, many_slot, many_label : int64[n], int64[n], uint8[n]
        Clicks that jitter has put out of order by a few places.
    few_t_ps, few_slot, few_label : int64[m], int64[m], uint8[m]
        Clicks in order of time.
    most_moves : int
        Gives up where order takes more steps: each one moves a click by a place.
    t_ps, slot, label : int64[n + m], int64[n + m], uint8[n + m]
        Written, in order of time.

    Returns
    -------
    bool
        Whether it was done; if not, what is written means nothing.
    """
    taken = 0
    moves = 0
    for count in range(t_ps.size):
        from_many = count - taken
        if taken < few_t_ps.size and (from_many == many_t_ps.size or few_t_ps[taken] <= many_t_ps[from_many]):
            t, its_slot, its_label = few_t_ps[taken], few_slot[taken], few_label[taken]
            taken += 1
        else:
            t, its_slot, its_label = many_t_ps[from_many], many_slot[from_many], many_label[from_many]
        place = count
        while place > 0 and t_ps[place - 1] > t:
            t_ps[place], slot[place], label[place] = t_ps[place - 1], slot[place - 1], label[place - 1]
            place -= 1
        t_ps[place], slot[place], label[place] = t, its_slot, its_label
        moves += count - place
        if moves > most_moves:
            return False
    return True


@kernel
def live_clicks(
    t_ps: NDArray[np.int64], detector: NDArray[np.uint8], dead_time_ps: int, last_ps: NDArray[np.int64], live: NDArray[np.bool_]
) -> None:
    """Decide which clicks find their detector live: dead time is non-paralysable and each detector's own.

    Parameters
    ----------
    t_ps : int64[n]
        Non-decreasing times, picoseconds.
    detector : uint8[n]
        Detector of each click; those of ``last_ps.size`` and above have no dead time.
    dead_time_ps : int
        A click is lost if it comes less than this after the last one that was registered at the same detector.
    last_ps : int64[m]
        Last registered click of each detector; read and written.
    live : bool[n]
        Written.
    """
    for place in range(t_ps.size):
        which = np.int64(detector[place])
        if which >= last_ps.size:
            live[place] = True
            continue
        live[place] = t_ps[place] - last_ps[which] >= dead_time_ps
        if live[place]:
            last_ps[which] = t_ps[place]
