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
def measure_states(
    state: NDArray[np.uint8], basis: NDArray[np.uint8], uniform: NDArray[np.float64], misalignment: float, outcome: NDArray[np.uint8]
) -> None:
    """Measure BB84 states: in the right basis the bit, flipped by misalignment; in the other one a fair coin.

    Parameters
    ----------
    state : uint8[n]
        Z0=0 Z1=1 X0=2 X1=3.
    basis : uint8[n]
        Basis of the measurement, Z=0 X=1.
    uniform : float64[n]
        Random numbers in [0, 1).
    misalignment : float
        Probability of the wrong bit in the right basis.
    outcome : uint8[n]
        Written, coded as the states are.
    """
    for place in range(state.size):
        same = (state[place] >> 1) == basis[place]
        flipped = uniform[place] < (misalignment if same else 0.5)
        bit = np.int64(state[place] & 1) if same else 0
        outcome[place] = (np.int64(basis[place]) << 1) | (bit ^ np.int64(flipped))


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
