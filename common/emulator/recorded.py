"""The link driven by the arrivals of a real emitter: only preparation, basis choice and outcomes are drawn.

Clock wander, blinking, jitter, dead time and background are those of the recording. The caller has fitted the recording's clock
and says in which slot each arrival fell; attenuation thins the arrivals as a longer fibre would. Goes the way of an emulated link.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from common.emulator.link import NOISE, SIGNAL, Emulation, Truth, physics_generator
from common.emulator.receiver import Receiver
from common.emulator.source import emission_header
from common.errors import ConfigurationError, StreamError
from common.expander import Expander
from common.profiles.link import LinkProfile
from common.protocols.encoding import ENCODINGS
from common.randomness import key_from_seed
from common.timetags.emission_record import EmissionRecord
from common.timetags.tags import TimeTags

NO_SLOT = -1
"""Slot of an arrival that is background, or of which nothing is known."""


def emulate_recorded(
    profile: LinkProfile,
    slots: NDArray[np.int64],
    t_ps: NDArray[np.int64],
    clock_hz: float,
    seed: int,
    transmission: float = 1.0,
) -> Emulation:
    """Draw settings and outcomes for the arrivals of a recording.

    Parameters
    ----------
    profile : LinkProfile
        Basis probabilities, basis choice and misalignment are taken from it; its rates, losses and times are not.
    slots : int64[n]
        Slot of each arrival, 0 or more; ``NO_SLOT`` for background, which gives outcomes at random.
    t_ps : int64[n]
        Non-decreasing times of the arrivals, picoseconds.
    clock_hz : float
        Pulses a second of the recorded source, for the header of the emission record.
    seed : int
        Equal seeds give equal runs.
    transmission : float
        Share of the arrivals kept, 0 to 1; background of the recording is thinned alike.

    Returns
    -------
    Emulation
        The record spans the slots of all arrivals, kept or not; there is no reference channel. The truth's photon numbers are 1,
        for a recording does not tell them.

    Raises
    ------
    ConfigurationError
        If the transmission or the clock is out of range, or the link's light is not that of a recorded single-photon emitter.
    StreamError
        If the arrays do not fit each other, a slot is below -1, or no arrival has a slot.
    """
    if not 0.0 <= transmission <= 1.0 or not clock_hz > 0.0:
        raise ConfigurationError(f"recorded arrivals: transmission {transmission!r} must be 0 to 1 and clock {clock_hz!r} Hz positive")
    if slots.dtype != np.int64 or t_ps.dtype != np.int64 or slots.ndim != 1 or slots.shape != t_ps.shape:
        raise StreamError("recorded arrivals: slots and times must both be int64[n]")
    for name, value, recorded in (("encoding", profile.encoding, "polarisation"), ("source.kind", profile.source.kind, "single-photon")):
        if value != recorded:
            raise ConfigurationError(f"{name} = {value!r} of link {profile.name!r}: recorded arrivals stand for {recorded!r}")
    known = slots >= 0
    if not known.any() or int(slots.min()) < NO_SLOT:
        raise StreamError("recorded arrivals: no arrival has a slot, or a slot is below -1; fit the clock of the recording first")
    key = key_from_seed(seed)
    rng = physics_generator(key)
    first = int(slots[known].min())
    header = emission_header(profile, first, int(slots.max()) - first + 1, clock_hz)
    record = EmissionRecord(header, expander_key=Expander(key, "emulator-emission").bytes_at(0, 32))
    receiver, detectors = Receiver(profile, rng), ENCODINGS[profile.encoding].detectors
    kept = rng.random(slots.size) < transmission
    slots, t_ps, known = slots[kept], t_ps[kept], known[kept]
    channel = np.empty(slots.size, np.uint8)
    channel[known] = receiver.measure(slots[known], record.lookup(slots[known])).channel
    channel[~known] = rng.integers(0, len(detectors), slots.size - int(known.sum()), np.uint8)
    tags = TimeTags(t_ps, channel, {name: number for number, name in enumerate(detectors)})
    kind = np.where(known, np.uint8(SIGNAL), np.uint8(NOISE))
    return Emulation(record, tags, Truth(slots, kind, known.astype(np.uint8), 0, slots.size, None))
