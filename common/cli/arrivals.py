"""A link driven by a recording of a real pulsed emitter: its arrivals, drawn settings and outcomes.

The recording's clock is found from its photons alone, its g2 and on-fraction from its two detectors, and its mean
photon number from its rate and the transmission of the profile. What the recording cannot tell (preparation and
measurement outcomes) is drawn by ``common.emulator.recorded``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from alice.source.correlation import Correlation, measure_correlation
from bob.pulse_clock import PulseClock
from common.cli.pulsed import find_pulses
from common.emulator.recorded import NO_SLOT, emulate_recorded
from common.errors import StreamError
from common.profiles.link import LinkProfile
from common.timetags.emission_record import EmissionRecord
from common.timetags.reading import ReadingOptions
from common.timetags.recording import read_recording
from common.timetags.tags import TimeTags

NOMINAL_STEP_HZ = 1e4
"""The profile's clock is the found rate rounded to this, as a laser's data sheet would give it."""


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


def recorded_run(
    profile: LinkProfile,
    recording: Path,
    seed: int,
    transmission: float = 1.0,
    *,
    options: ReadingOptions | None = None,
    detectors: Sequence[int] | None = None,
) -> RecordedRun:
    """Turn a recording of a pulsed emitter into what both ends of a link would have recorded.

    Parameters
    ----------
    profile : LinkProfile
        Receiver, losses, security.
    recording : Path
        Of any format that is read.
    seed : int
        Seeds what is drawn.
    transmission : float
        Share of the arrivals kept, as by a longer fibre.
    options : ReadingOptions | None
        What the file may not say.
    detectors : sequence of int | None
        Channels of the two detectors; all channels by default.

    Returns
    -------
    RecordedRun
        Ready to be distilled.

    Raises
    ------
    StreamError
        If the file is no recording of a pulsed source at two detectors.
    """
    found = find_pulses(recording, *read_recording(recording, options), detectors=detectors)
    if len(found.detectors) != 2:
        raise StreamError(
            f"{recording}: two detectors are needed to measure g2, the recording has {len(found.detectors)}: choose two of them"
        )
    clock, t_ps, slots, known = found.clock, found.t_ps, found.slots, found.known
    locked = clock.in_lock(t_ps)
    one, other = (found.channel == number for number in found.detectors)
    # all arrivals, background too: what a narrower window would leave out may not make the multi-photon bound smaller
    correlation = measure_correlation(slots[locked & one], slots[locked & other], clock.clock_hz)
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
