"""Starts Bob's clock from cold, again and again, and counts what it found: ``python -m tests.physics.clock_starts --starts 200 --seed 1``.

Each start is a link of its own: a profile, a few seconds of tags thinned to a thousand detections a second, a clock up to 50 ppm away, the
record beginning anywhere and Bob's clock as well. It has succeeded if his clock was found, his slots were matched to Alice's, and the light
of nearly all detections was emitted in the slot they are put in. A start is wrong, which must not happen, if slots were matched elsewhere.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections import Counter
from dataclasses import dataclass

import numpy as np

from alice.emission import Emission
from alice.station import EmissionStation
from bob.station import DetectionStation
from common.distillation.synchronisation import ATTEMPTS, Frames
from common.emulator.link import SYNC, Emulation, emulate
from common.errors import StreamError
from common.planning.link_model import link_model
from common.profiles.link import load_profile
from common.randomness import SystemRandomness
from common.timetags.tags import TimeTags

PROFILES = ("niedersachsen", "hefei", "timebin-120km", "hbn", "decoy")

MOST_PPM = 50.0

LATEST_SLOT = 1 << 33
"""Records begin before this slot."""

MISPLACED_RATIO = 0.2
"""Detections a right clock may put elsewhere, most of them late photons of a long-lived emitter: a wrong one puts nearly all elsewhere."""


@dataclass(frozen=True, slots=True)
class Start:
    """What came of one: ``outcome`` is ``found``, ``no clock``, ``unmatched`` or ``wrong``; with the share of detections put elsewhere."""

    outcome: str
    attempts: int = 0
    detections: int = 0
    misplaced: int = 0


def thinned(emulation: Emulation, share: float, generator: np.random.Generator) -> Emulation:
    """Keep each detection with the probability ``share``, and all reference pulses."""
    kept = (emulation.truth.kind == SYNC) | (generator.random(len(emulation.tags)) < share)
    tags, truth = emulation.tags, emulation.truth
    fewer = TimeTags(tags.t_ps[kept], tags.channel[kept], tags.channels, tags.sync_divider)
    return Emulation(
        emulation.emission, fewer, dataclasses.replace(truth, slot=truth.slot[kept], kind=truth.kind[kept], emitted=truth.emitted[kept])
    )


def start(name: str, seed: int, seconds: float, detections_per_second: float, *settings: str, by_photons: bool = False) -> Start:
    """Start the clock of a link once.

    Parameters
    ----------
    name : str
        The link profile.
    seed : int
        Of everything that is random about the start.
    seconds : float
        Data there is.
    detections_per_second : float
        As many, or what the link has if that is less.
    settings : str
        Changes of the profile.
    by_photons : bool
        Whether reference pulses are left out.

    Returns
    -------
    Start
        What came of it.
    """
    generator = np.random.default_rng([seed, *name.encode()])
    changes = [f"receiver.clock_offset_ppm={generator.uniform(-MOST_PPM, MOST_PPM)}"]
    profile = load_profile(
        name, [*settings, *changes, *(["receiver.sync_divider=0", "receiver.sync_detection_probability=0"] if by_photons else [])]
    )
    whole = emulate(profile, seconds, int(generator.integers(1 << 62)), first_slot=int(generator.integers(LATEST_SLOT)))
    present = link_model(profile).probability_detection * profile.source.clock_hz
    run = thinned(whole, min(1.0, detections_per_second / present), generator)
    try:
        bob = DetectionStation(run.tags, profile, SystemRandomness())
    except StreamError:
        return Start("no clock")
    alice = EmissionStation(Emission(run.emission, profile))
    for attempt in range(ATTEMPTS):
        given = bob.sacrifice(attempt)
        offset = alice.find_offset(given.slots, given.outcomes, given.stride)
        if offset is not None:
            break
    else:
        return Start("unmatched", ATTEMPTS)
    bob.matched(Frames(offset, run.emission.header.first_slot, 1), run.emission.header.count_slots)
    slots = bob.take(0, 1, 1 << 40).slots
    misplaced = int(np.count_nonzero(~np.isin(slots, run.truth.slot)))
    is_right = slots.size > 0 and misplaced <= MISPLACED_RATIO * slots.size
    return Start("found" if is_right else "wrong", attempt + 1, int(slots.size), misplaced)


def main() -> None:
    """Start each link so often and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--starts", type=int, default=200, help="starts of each link")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=2.0, help="data of each start")
    parser.add_argument("--rate", type=float, default=1000.0, help="detections a second")
    parser.add_argument("--by-photons", action="store_true", help="without reference pulses")
    parser.add_argument("--link", action="append", choices=PROFILES, help="only this one; may be repeated")
    asked = parser.parse_args()
    is_wrong = False
    for name in asked.link or PROFILES:
        outcomes: Counter[str] = Counter()
        attempts: Counter[int] = Counter()
        detections = misplaced = 0
        for number in range(asked.starts):
            came = start(name, asked.seed + number, asked.seconds, asked.rate, by_photons=asked.by_photons)
            outcomes[came.outcome] += 1
            attempts[came.attempts] += 1
            if came.outcome == "found":
                detections, misplaced = detections + came.detections, misplaced + came.misplaced
            if sys.stderr.isatty():
                sys.stderr.write(f"\r{name} {number + 1} of {asked.starts} {dict(outcomes)} ")
        said = {"link": name, "outcomes": dict(outcomes), "attempts": dict(sorted(attempts.items())), "detections": detections}
        print(json.dumps(said | {"put elsewhere": misplaced}), flush=True)  # noqa: T201 - a program of its own
        is_wrong = is_wrong or outcomes["wrong"] > 0
    sys.exit(1 if is_wrong else 0)


if __name__ == "__main__":
    main()
