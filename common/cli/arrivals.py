"""A link driven by a recording of a real pulsed emitter: its arrivals, drawn settings and outcomes.

The recording's clock is found from its photons alone, its g2 and on-fraction from its two detectors, and its mean
photon number from its rate and the transmission of the profile. What the recording cannot tell (preparation and
measurement outcomes) is drawn by ``common.emulator.recorded``.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from alice.source.correlation import Correlation, measure_correlation
from bob.clock_recovery import clock_from_photons
from bob.periodogram import Acquisition, acquire
from bob.pulse_clock import PulseClock
from common.emulator.recorded import NO_SLOT, emulate_recorded
from common.errors import StreamError
from common.profiles.link import LinkProfile
from common.timetags.emission_record import EmissionRecord
from common.timetags.ptu import read_ptu
from common.timetags.tags import TimeTags

OCTAVES_HZ = tuple(15e6 * 2**octave for octave in range(7))
"""Middles of the octaves in which the pulse rate is searched: 10 MHz to 1.28 GHz."""

OCTAVE_PPM = 1e6 / 3
"""Half-width of an octave around its middle, parts per million."""

NOMINAL_STEP_HZ = 1e4
"""The profile's clock is the found rate rounded to this, as a laser's data sheet would give it."""

BACKGROUND_SIGMAS = 5.0
"""Arrivals further from the pulse than so many times its width count as background and get outcomes at random."""


@dataclass(frozen=True, slots=True, eq=False)
class RecordedRun:
    """A recording made into a link.

    Attributes
    ----------
    profile : LinkProfile
        With clock, mean photon number, g2 and on-fraction of the recording.
    record : EmissionRecord
        Alice's.
    tags : TimeTags
        Bob's.
    correlation : Correlation
        What the two detectors say about the source.
    clock : PulseClock
        The recording's clock, from the photons alone.
    """

    profile: LinkProfile
    record: EmissionRecord
    tags: TimeTags
    correlation: Correlation
    clock: PulseClock


def recorded_run(profile: LinkProfile, recording: Path, seed: int, transmission: float = 1.0) -> RecordedRun:
    """Turn a recording of a pulsed emitter into what both ends of a link would have recorded.

    Parameters
    ----------
    profile : LinkProfile
        Receiver, losses, security.
    recording : Path
        A PTU file in T2 mode with two detectors.
    seed : int
        Seeds what is drawn.
    transmission : float
        Share of the arrivals kept, as by a longer fibre.

    Returns
    -------
    RecordedRun
        Ready to be distilled.

    Raises
    ------
    StreamError
        If the file is no recording of a pulsed source at two detectors.
    """
    raw = read_ptu(recording)
    if np.unique(raw.channel).size != 2:
        raise StreamError(f"{recording}: two detectors are needed to measure g2, the recording has {np.unique(raw.channel).size}")
    clock = clock_from_photons(raw.t_ps, find_pulse_rate(raw).frequency_hz, channel=raw.channel)
    aligned_ps, channel = clock.align(raw.t_ps, raw.channel)
    t_ps = aligned_ps.copy()
    slots, phases = clock.slots_and_phases(t_ps)
    known = clock.in_lock(t_ps) & (np.abs(phases) < BACKGROUND_SIGMAS * clock.quality.residual_rms_ps)
    one, other = (channel == number for number in np.unique(channel))
    correlation = measure_correlation(slots[known & one], slots[known & other], clock.clock_hz)
    slots[other] -= correlation.skew_slots  # a longer cable of one detector would look like another pulse
    t_ps[other] -= round(correlation.skew_slots * clock.period_ps)
    order = np.argsort(t_ps, kind="stable")
    t_ps, slots, known = t_ps[order], slots[order] - slots[order[0]], known[order]
    eta = 10 ** (-profile.channel.loss_db / 10) * profile.receiver.efficiency * profile.receiver.detector_efficiency
    pulses = int(slots.max()) + 1
    source = dataclasses.replace(
        profile.source,
        clock_hz=round(clock.clock_hz / NOMINAL_STEP_HZ) * NOMINAL_STEP_HZ,
        mean_photon_number=int(np.count_nonzero(known)) / pulses * transmission / eta / profile.source.transmitter_efficiency,
        g2=correlation.g2_bright,
        g2_uncertainty=correlation.g2_bright_uncertainty,
        on_fraction=correlation.on_fraction,
    )
    emulation = emulate_recorded(
        dataclasses.replace(profile, source=source), np.where(known, slots, NO_SLOT), t_ps, source.clock_hz, seed, transmission
    )
    return RecordedRun(dataclasses.replace(profile, source=source), emulation.emission, emulation.tags, correlation, clock)


def find_pulse_rate(tags: TimeTags) -> Acquisition:
    """Find the pulse rate of a recording of which nothing is known: the octave whose peak is clearest holds the fundamental.

    Parameters
    ----------
    tags : TimeTags
        Arrivals of all detectors.

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
            found.append(acquire(tags.t_ps, tags.channel, middle_hz, OCTAVE_PPM))
        except StreamError:
            continue
    if not found:
        raise StreamError("the recording shows no pulse rate between 10 MHz and 1.28 GHz: was the source pulsed?")
    return max(found, key=lambda acquisition: acquisition.contrast)
