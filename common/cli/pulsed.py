"""A recording of a pulsed source, its pulses found: slots and phases of all arrivals.

Nothing needs to be known of the pulse rate: it is looked for in octaves, from the photons or from a channel of reference pulses. Used by
``qkd demo --arrivals`` and ``qkd characterise``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bob.clock_recovery import clock_from_photons, clock_from_reference
from bob.periodogram import Acquisition, acquire
from common.errors import ConfigurationError, StreamError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from bob.pulse_clock import PulseClock
    from common.timetags.reading import Reading
    from common.timetags.tags import TimeTags

OCTAVES_HZ = tuple(15e6 * 2**octave for octave in range(7))
"""Middles of the octaves in which the pulse rate is searched: 10 MHz to 1.28 GHz."""

OCTAVE_PPM = 1e6 / 3
"""Half-width of an octave around its middle, parts per million."""

BACKGROUND_SIGMAS = 5.0
"""Arrivals further from the pulse than so many times its width count as background."""


@dataclass(frozen=True, slots=True, eq=False)
class Pulsed:
    """Arrivals and their pulses.

    Attributes
    ----------
    t_ps : int64[n]
        Times in order, delays between detectors taken off up to whole slots, picoseconds.
    channel : uint8[n]
        Detector of each.
    slots : int64[n]
        Slot of each, from an arbitrary zero.
    phase_ps : float64[n]
        Time of each since its slot's centre, picoseconds.
    known : bool[n]
        Whether the clock was locked and the arrival belongs to a pulse.
    detectors : tuple[int, ...]
        Their channels.
    clock : PulseClock
        From the photons alone.
    reference : PulseClock | None
        From the channel of reference pulses, where there is one.
    reading : Reading
        What was found while reading the file.
    """

    t_ps: NDArray[np.int64]
    channel: NDArray[np.uint8]
    slots: NDArray[np.int64]
    phase_ps: NDArray[np.float64]
    known: NDArray[np.bool_]
    detectors: tuple[int, ...]
    clock: PulseClock
    reference: PulseClock | None
    reading: Reading


def find_pulses(
    path: Path,
    tags: TimeTags,
    reading: Reading,
    *,
    detectors: Sequence[int] | None = None,
    sync: int | None = None,
    clock_hz: float | None = None,
) -> Pulsed:
    """Find the pulses of a recording.

    Parameters
    ----------
    path : Path
        The recording, for messages.
    tags : TimeTags
        What it holds.
    reading : Reading
        What was found while reading it.
    detectors : sequence of int | None
        Channels of photons; all but ``sync`` by default.
    sync : int | None
        Channel of reference pulses.
    clock_hz : float | None
        Nominal pulse rate, hertz; looked for where None.

    Returns
    -------
    Pulsed
        Slots and phases.

    Raises
    ------
    ConfigurationError
        If a channel is named that has no tag.
    StreamError
        If the recording shows no pulses.
    """
    seen = reading.channels_seen
    chosen = tuple(detectors) if detectors else tuple(number for number in seen if number != sync)
    for number in (*chosen, *(() if sync is None else (sync,))):
        if number not in seen:
            raise ConfigurationError(f"{path}: channel {number} has no tag; there are tags of channels {', '.join(map(str, seen))}")
    photons = np.isin(tags.channel, chosen)
    t_ps, channel = tags.t_ps[photons], tags.channel[photons]
    clock = clock_from_photons(t_ps, clock_hz or find_pulse_rate(t_ps, channel).frequency_hz, channel=channel)
    reference = None
    if sync is not None:
        sync_ps = tags.t_ps[tags.channel == sync]
        sync_hz = find_pulse_rate(sync_ps, np.zeros(sync_ps.size, np.uint8)).frequency_hz
        reference = clock_from_reference(sync_ps, clock.clock_hz, max(1, round(clock.clock_hz / sync_hz)))
    aligned_ps, channel = clock.align(t_ps, channel)
    slots, phase_ps = clock.slots_and_phases(aligned_ps)
    known = clock.in_lock(aligned_ps) & (np.abs(phase_ps) < BACKGROUND_SIGMAS * clock.quality.residual_rms_ps)
    return Pulsed(aligned_ps.copy(), channel, slots, phase_ps, known, chosen, clock, reference, reading)


def find_pulse_rate(t_ps: NDArray[np.int64], channel: NDArray[np.uint8]) -> Acquisition:
    """Find the pulse rate of a recording of which nothing is known: the octave whose peak is clearest holds the fundamental.

    Parameters
    ----------
    t_ps : int64[n]
        Arrivals of all detectors in order, picoseconds.
    channel : uint8[n]
        Detector of each.

    Returns
    -------
    Acquisition
        Frequency and contrast.

    Raises
    ------
    StreamError
        If no octave from 10 MHz to 1.28 GHz shows a period.
    """
    found: list[Acquisition] = []
    for middle_hz in OCTAVES_HZ:
        try:
            found.append(acquire(t_ps, channel, middle_hz, OCTAVE_PPM))
        except StreamError:
            continue
    if not found:
        raise StreamError("the recording shows no pulse rate between 10 MHz and 1.28 GHz: was the source pulsed? Or name it: --clock-hz")
    return max(found, key=lambda acquisition: acquisition.contrast)
