"""The stabiliser against the physics of the emulated fibre: acquisition from anywhere, tracking, loss, and what it looks at.

Run with ``-s`` it prints success, times, bits and error rates over all seeds.
"""

import sys
from dataclasses import dataclass, field
from math import cos, pi

import numpy as np
import pytest

from bob.stabiliser import LAYOUTS, Disclosed, Stabiliser
from bob.stabilising import sizes_of
from common.emulator.drift import Drift
from common.emulator.optics import StateOptics
from common.profiles.link import load_profile
from common.service.settings import StabiliserSection

SEEDS = range(20)

PHASE = ("timebin-120km", "channel.drift_rate=0.01", "channel.drift_slope=2e-4", 'channel.drift_start="anywhere"')
PHASE_BITS_PER_SECOND = 25
"""X of the published link: 500 clicks a second, half of them in the middle slot, a tenth of these from X0."""

POLARISATION = ("niedersachsen", "channel.drift_rate=0.02", "channel.misalignment=0.005", 'channel.drift_start="anywhere"')
POLARISATION_BITS_PER_SECOND = 1000
"""Of each basis: the published link tests 5600 in X, and a fifth of Z where the test fraction says so."""


def sizes(**more):
    """As a configuration says without being asked, but for some."""
    return sizes_of(StabiliserSection(address="unix:unused", **more))


@dataclass
class Bench:
    """A drifting link whose disclosed rounds the stabiliser sees a second at a time, and one it does not see while a plate turns."""

    link: tuple[str, ...]
    bits_per_second: float
    seed: int
    is_on: bool = True
    step_seconds: float = 1.0
    acquired_at: float | None = None
    bits_to_acquire: int = 0
    qber: list[float] = field(default_factory=list)

    def __post_init__(self):
        self.profile = load_profile(self.link[0], self.link[1:])
        self.layout = LAYOUTS[self.profile.encoding]
        self.rng = np.random.default_rng(self.seed)
        self.drift = Drift(self.profile, self.rng)
        self.stabiliser = Stabiliser(self.layout, sizes())
        self.stabiliser.settled(0.0)
        self.seconds = 0.0

    def run(self, seconds):
        until = self.seconds + seconds
        while self.seconds < until:
            self.drift.walk(self.step_seconds, self.rng)
            wrong = error_probabilities(StateOptics.of(self.profile, self.drift.rotation))
            tested = self.rng.poisson(self.bits_per_second * self.step_seconds, 2)
            errors = self.rng.binomial(tested, wrong)
            began, self.seconds = self.seconds, self.seconds + self.step_seconds
            if self.is_on and self.stabiliser.note(Disclosed(tuple(tested.tolist()), tuple(errors.tolist()), began, self.seconds)):
                for name, position in self.stabiliser.positions.items():
                    self.drift.turn(name, position)
                self.stabiliser.settled(self.seconds + self.step_seconds)
            if self.stabiliser.state == "tracking" and self.acquired_at is None:
                self.acquired_at, self.bits_to_acquire = self.seconds, self.stabiliser.counts.bits
            if self.acquired_at is not None or not self.is_on:
                self.qber.append(float(np.mean([wrong[basis] for basis in self.layout.bases])))
        return self


def error_probabilities(optics):
    """Of the bit 0 in Z and in X."""
    return [abs(int(optics.bit[2 * basis, basis]) - float(optics.flipped[2 * basis, basis])) for basis in (0, 1)]


def table(benches):
    """What a reader of the output wants to know."""
    times = [bench.acquired_at for bench in benches if bench.acquired_at is not None]
    found = {
        "acquired": f"{len(times)} of {len(benches)}",
        "median_seconds": float(np.median(times)),
        "longest_seconds": max(times),
        "median_bits": float(np.median([bench.bits_to_acquire for bench in benches])),
        "mean_qber": float(np.mean([np.mean(bench.qber) for bench in benches])),
        "worst_mean_qber": max(float(np.mean(bench.qber)) for bench in benches),
        "losses": sum(bench.stabiliser.counts.losses for bench in benches),
    }
    sys.stdout.write(f"{found}\n")
    return found


def test_an_interferometer_is_found_from_any_phase_and_held_for_an_hour():
    held = table([Bench(PHASE, PHASE_BITS_PER_SECOND, seed).run(3600) for seed in SEEDS])

    assert held["acquired"] == "20 of 20"
    assert held["longest_seconds"] < 150
    assert held["median_bits"] < 2000
    assert held["worst_mean_qber"] < 0.035 + 0.015  # visibility 0.93, and what dither, counting and drift cost
    assert held["losses"] == 0


def test_an_interferometer_that_nobody_holds_is_lost():
    left = [Bench((PHASE[0], PHASE[1]), PHASE_BITS_PER_SECOND, seed, is_on=False, step_seconds=60.0).run(3 * 3600) for seed in SEEDS]

    assert np.mean([np.mean(bench.qber) for bench in left]) > 0.10  # half of 1 - 0.93 exp(-t / 20 000 s): 0.14 on average


def test_a_polarisation_is_found_from_anywhere_and_held():
    held = table([Bench(POLARISATION, POLARISATION_BITS_PER_SECOND, seed).run(1200) for seed in SEEDS])

    assert held["acquired"] == "20 of 20"
    assert held["longest_seconds"] < 400
    assert held["mean_qber"] < 0.005 + 0.015
    assert held["worst_mean_qber"] < 0.06  # where plates stand so that two of them do the same, they follow slowly
    assert held["losses"] <= 1


def test_a_polarisation_that_nobody_holds_is_lost():
    left = [Bench((*POLARISATION[:3],), POLARISATION_BITS_PER_SECOND, seed, is_on=False, step_seconds=10.0).run(1200) for seed in SEEDS]

    assert np.mean([np.mean(bench.qber) for bench in left]) > 0.08


@pytest.mark.parametrize(("link", "bits"), [(PHASE, PHASE_BITS_PER_SECOND), (POLARISATION, POLARISATION_BITS_PER_SECOND)])
def test_a_link_that_somebody_kicked_is_found_again(link, bits):
    bench = Bench(link, bits, seed=3).run(600)
    assert bench.stabiliser.state == "tracking"

    bench.drift.walk(1e4, bench.rng)  # as if hours had passed
    bench.run(900)

    assert bench.stabiliser.counts.losses == 1
    assert bench.stabiliser.counts.acquisitions == 2
    assert np.mean(bench.qber[-200:]) < 0.06


def step(tested, errors, first=1.0):
    return Disclosed((0, tested), (0, errors), first, first + 1.0)


def test_four_phases_show_where_the_interference_is():
    stabiliser, phase, visibility = Stabiliser(LAYOUTS["time-bin"], sizes(acquire_bits=10_000)), 2.0, 0.9
    stabiliser.settled(0.0)
    visited = []
    for _ in range(4):
        visited.append(stabiliser.positions["phase"])
        wrong = 0.5 * (1 - visibility * cos(phase + stabiliser.positions["phase"]))
        assert stabiliser.note(step(10_000, round(10_000 * wrong)))
        stabiliser.settled(0.0)

    assert np.diff(np.unwrap(visited)) == pytest.approx([pi / 2] * 3)
    assert stabiliser.positions["phase"] == pytest.approx(-phase, abs=0.02)


def test_rounds_from_before_the_actuators_stood_still_are_not_looked_at():
    stabiliser = Stabiliser(LAYOUTS["time-bin"], sizes(acquire_bits=100))

    assert stabiliser.waits_for_actuators
    assert not stabiliser.note(step(1000, 500))  # nobody has said yet that they stand
    stabiliser.settled(5.0)
    assert not stabiliser.note(step(1000, 500, first=4.0))  # a stretch that began before
    assert not stabiliser.note(step(99, 40, first=5.0))
    assert (stabiliser.counts.unused_bits, stabiliser.counts.bits, stabiliser.counts.points) == (2000, 99, 0)
    assert stabiliser.note(step(1, 1, first=6.0))
    assert (stabiliser.counts.bits, stabiliser.counts.points) == (100, 1)
    assert stabiliser.waits_for_actuators


def test_z_says_nothing_about_an_interferometer():
    stabiliser = Stabiliser(LAYOUTS["time-bin"], sizes(acquire_bits=100))
    stabiliser.settled(0.0)

    assert not stabiliser.note(Disclosed((10_000, 0), (5000, 0), 1.0, 2.0))
    assert stabiliser.counts.bits == 0


def test_it_begins_where_the_actuators_stand():
    stabiliser = Stabiliser(LAYOUTS["polarisation"], sizes(), {"plate2": 0.5, "else": 1.0})

    assert stabiliser.positions == {"plate1": 0.0, "plate2": 0.5, "plate3": 0.0}


def test_the_cost_is_what_was_counted_and_its_deviation_what_counting_gives():
    stabiliser = Stabiliser(LAYOUTS["polarisation"], sizes(acquire_bits=100))
    stabiliser.settled(0.0)
    stabiliser.note(Disclosed((400, 100), (40, 30), 1.0, 2.0))

    assert stabiliser.cost is not None
    assert stabiliser.cost.qber == pytest.approx(0.2)
    assert stabiliser.cost.sigma == pytest.approx(0.5 * np.sqrt(0.1 * 0.9 / 400 + 0.3 * 0.7 / 100), rel=0.01)
