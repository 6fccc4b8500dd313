"""Times of the tags: the contract's formula to the picosecond, jitter, lifetime, resolution."""

from fractions import Fraction

import numpy as np
import pytest

from common.emulator.link import SIGNAL, SYNC, emulate
from tests.physics.links import link
from tests.physics.statistics import assert_binomial, assert_mean


def exact_ps(emulation, profile, place):
    """(k/clock + delay)(1 + ppm 1e-6) + origin in exact arithmetic."""
    time = Fraction(int(emulation.truth.slot[place])) * 10**12 / Fraction(profile.source.clock_hz) + Fraction(profile.channel.delay_ps)
    return time * (1 + Fraction(profile.receiver.clock_offset_ppm) / 10**6) + emulation.truth.origin_ps


@pytest.mark.parametrize("first_slot", [0, 228_000_000 * 86_400])
@pytest.mark.parametrize("ppm", [-50.0, 0.0, 50.0])
def test_a_tag_is_the_contracts_formula_to_the_picosecond(first_slot, ppm):
    profile = link("source.clock_hz=228e6", f"receiver.clock_offset_ppm={ppm}", "channel.delay_ps=387e6", "channel.loss_db=20")
    emulation = emulate(profile, 0.01, seed=1, first_slot=first_slot)

    for place in range(0, len(emulation.tags), 97):
        assert abs(int(emulation.tags.t_ps[place]) - exact_ps(emulation, profile, place)) <= Fraction(501, 1000)


def test_the_origin_lies_anywhere_within_a_second():
    origins = [emulate(link(), 1e-6, seed).truth.origin_ps for seed in range(20)]

    assert all(abs(origin) <= 10**12 for origin in origins)
    assert min(origins) < 0 < max(origins)


def test_jitter_spreads_photons_and_reference_pulses_alike():
    profile = link("receiver.jitter_ps=120", "receiver.sync_divider=4", "receiver.sync_detection_probability=0.5")
    emulation = emulate(profile, 0.01, seed=2)
    error = emulation.tags.t_ps - emulation.truth.origin_ps - emulation.truth.slot * 10_000

    for kind in (SIGNAL, SYNC):
        chosen = error[emulation.truth.kind == kind].astype(float)
        assert_mean(chosen, 0.0, 120.0)
        assert_mean(chosen**2, 120.0**2 + 1 / 12, np.sqrt(2) * 120.0**2)


def test_photons_leave_with_an_exponential_delay_whose_mean_is_the_slots_centre():
    profile = link("source.lifetime_ps=600", "receiver.sync_divider=4", "receiver.sync_detection_probability=0.5")
    emulation = emulate(profile, 0.01, seed=3)
    error = emulation.tags.t_ps - emulation.truth.origin_ps - emulation.truth.slot * 10_000
    delay = error[emulation.truth.kind == SIGNAL].astype(float)

    assert delay.min() >= -601
    assert_mean(delay, 0.0, 600.0)
    assert_binomial(int((delay > 600).sum()), delay.size, np.exp(-2))
    assert not error[emulation.truth.kind == SYNC].any()


def test_tags_are_multiples_of_the_resolution_and_unbiased():
    profile = link("receiver.tagger_resolution_ps=42", "receiver.jitter_ps=200")
    emulation = emulate(profile, 0.01, seed=4)
    error = (emulation.tags.t_ps - emulation.truth.origin_ps - emulation.truth.slot * 10_000).astype(float)

    assert not (emulation.tags.t_ps % 42).any()
    assert abs(error.mean()) < 1 + 4.9 * 200 / np.sqrt(error.size)


def reference_errors_ps(seconds, *settings):
    """Where the reference pulses lie, less where they would with a perfect clock and a fibre of constant length; one a second."""
    profile = link("channel.loss_db=80", "receiver.sync_divider=100000000", "receiver.sync_detection_probability=1", *settings)
    emulation = emulate(profile, seconds, seed=5)
    chosen = emulation.truth.kind == SYNC
    return emulation.truth.slot[chosen] / 1e8, (
        emulation.tags.t_ps[chosen] - emulation.truth.origin_ps - emulation.truth.slot[chosen] * 10_000
    ).astype(float)


def test_a_fibre_that_is_warmed_and_cooled_delays_by_a_sine():
    at_s, error_ps = reference_errors_ps(90.0, "channel.delay_swing_ps=10000", "channel.delay_period_s=60")

    assert at_s.size == 90
    assert np.abs(error_ps - 10_000 * np.sin(2 * np.pi * at_s / 60)).max() < 2.0


def test_a_clock_that_wanders_changes_its_pace_as_stated_and_jumps_nowhere():
    _, error_ps = reference_errors_ps(400.0, "receiver.clock_wander_ppm=0.002")
    changes = np.diff(error_ps, 2)  # of the pace, ppm a second in ps

    assert_mean(changes, 0.0, 2000.0)
    assert_mean(changes**2, 2000.0**2, np.sqrt(2) * 2000.0**2)
    assert np.abs(np.diff(error_ps)).max() < 2000.0 * 6 * np.sqrt(400)


def test_a_clock_that_does_not_wander_is_as_it_was():
    plain, still = (emulate(link(*settings), 0.01, seed=6) for settings in ((), ("channel.delay_period_s=100",)))

    assert np.array_equal(plain.tags.t_ps, still.tags.t_ps)
