"""Clock recovery on synthetic tags: every statement about slots is checked against the slots the tags were made from."""

import numpy as np
import pytest

from bob.clock_recovery import PulseClock, clock_from_photons, clock_from_reference
from common.errors import StreamError
from tests.support.pulse_tags import photon_tags, reference_tags, slot_agreement


@pytest.mark.parametrize("ppm", [-50.0, 0.0, 50.0])
@pytest.mark.parametrize(
    ("divider", "rate_hz"),
    [(1, 1e4), (1, 1e3), (100, 2e5), (1000, 2e4), (10_000, 2e3)],
    ids=["every pulse", "nearly all missing", "divided", "90 % missing", "rare"],
)
def test_reference_pulses_give_every_slot_in_spite_of_missing_and_false_tags(ppm, divider, rate_hz):
    t_ps, slots = reference_tags(1, divider=divider, ppm=ppm, rate_hz=rate_hz, seconds=2.0 if rate_hz < 1e4 else 0.5)

    clock = clock_from_reference(t_ps, 228e6, divider)
    found, phase_ps = clock.slots_and_phases(t_ps)

    assert clock.offset_ppm == pytest.approx(ppm, abs=0.01)
    assert slot_agreement(found, slots) == 1.0
    difference = found[slots >= 0][0] - slots[slots >= 0][0]
    assert difference % divider == 0
    assert abs(phase_ps[slots >= 0].mean()) < 15.0
    assert clock.quality.residual_rms_ps == pytest.approx(100.0, rel=0.1)
    assert clock.quality.uncertainty_ps < 30.0
    assert clock.quality.lock_losses == 0
    assert clock.quality.count_used + clock.quality.count_rejected == t_ps.size
    assert clock.quality.count_used == pytest.approx(np.count_nonzero(slots >= 0), rel=0.04)  # some false tags fall on a pulse


def test_a_poor_crystal_is_followed():
    t_ps, slots = reference_tags(2, seconds=10.0, rate_hz=1e4, wander=1e-8, jitter_ps=50.0)

    clock = clock_from_reference(t_ps, 228e6, 1)

    assert slot_agreement(clock.slots_and_phases(t_ps)[0], slots) == 1.0
    assert clock.quality.residual_rms_ps == pytest.approx(50.0, rel=0.1)


def test_of_very_many_tags_some_are_enough():
    t_ps, slots = reference_tags(12, rate_hz=1e6, seconds=1.0)

    clock = clock_from_reference(t_ps, 228e6, 1)
    locked = clock.in_lock(t_ps)

    assert clock.quality.count_used + clock.quality.count_rejected < 250_000
    assert clock.quality.uncertainty_ps < 2.0
    assert locked.mean() > 0.9999
    assert slot_agreement(clock.slots_and_phases(t_ps)[0], slots) == 1.0


def test_a_short_pause_is_bridged():
    t_ps, slots = reference_tags(3, seconds=2.0, dark_s=[(1.0, 1.1)])

    clock = clock_from_reference(t_ps, 228e6, 1)

    assert clock.quality.lock_losses == 0
    assert slot_agreement(clock.slots_and_phases(t_ps)[0], slots) == 1.0


def test_a_long_pause_is_a_loss_of_lock_and_a_good_crystal_still_counts_on():
    t_ps, slots = reference_tags(3, seconds=4.0, wander=1e-11, dark_s=[(1.0, 2.5)], spurious=0.0)

    clock = clock_from_reference(t_ps, 228e6, 1)

    assert clock.quality.lock_losses == 1
    assert slot_agreement(clock.slots_and_phases(t_ps)[0], slots) == 1.0
    assert clock.in_lock(t_ps).all()
    assert not clock.in_lock(np.array([t_ps[0] + 15 * 10**11]))[0]


def test_a_jump_in_time_is_noticed_counted_and_locked_to_again():
    t_ps, slots = reference_tags(4, seconds=2.0, spurious=0.0)
    jumped = t_ps.copy()
    jumped[t_ps.size // 2 :] += 1800  # not a multiple of the period, some 4386 ps

    clock = clock_from_reference(jumped, 228e6, 1)
    found, _ = clock.slots_and_phases(jumped)
    locked = clock.in_lock(jumped)

    assert clock.quality.lock_losses == 1
    assert clock.locked_from_ps.size == 2
    first, second = locked & (jumped <= clock.locked_to_ps[0]), locked & (jumped >= clock.locked_from_ps[1])
    assert slot_agreement(found[first], slots[first]) == 1.0
    assert slot_agreement(found[second], slots[second]) == 1.0
    assert locked.mean() > 0.97


def test_light_that_goes_out_ends_the_lock():
    t_ps, _ = reference_tags(5, seconds=1.0, spurious=0.0)
    noise = np.sort(np.random.default_rng(5).integers(t_ps[-1], t_ps[-1] + 5 * 10**12, 5_000))

    clock = clock_from_reference(np.concatenate([t_ps, noise]), 228e6, 1)

    assert clock.in_lock(t_ps).mean() > 0.99
    assert clock.in_lock(noise).mean() < 0.2


def test_the_photons_alone_lock_in_two_seconds_at_a_thousand_a_second():
    for seed in range(5):
        for ppm in (-50.0, 50.0):
            t_ps, channel, slots = photon_tags(seed, ppm=ppm, seconds=2.0, rate_hz=1e3, background=0.2)

            clock = clock_from_photons(t_ps, 228e6, channel=channel)

            assert clock.offset_ppm == pytest.approx(ppm, abs=0.01)
            assert clock.quality.confidence_bits > 30.0
            assert slot_agreement(clock.slots_and_phases(clock.align(t_ps, channel)[0])[0], slots) > 0.98  # tails reach into the next slot


def test_slot_centres_lie_where_photons_are_most_frequent():
    t_ps, channel, _ = photon_tags(7, seconds=2.0, rate_hz=5e4, lifetime_ps=300.0, jitter_ps=60.0, on_fraction=0.2)

    clock = clock_from_photons(t_ps, 228e6, channel=channel)
    _, phase_ps = clock.slots_and_phases(t_ps)
    counts, edges = np.histogram(phase_ps, bins=np.arange(-2000.0, 2000.0, 40.0))

    assert abs(edges[counts.argmax()] + 20.0) <= 60.0


def test_delays_between_detectors_are_found_and_taken_off():
    skew_ps = (0, 900, -700, 1500)
    t_ps, channel, slots = photon_tags(8, seconds=2.0, rate_hz=2e4, skew_ps=skew_ps, lifetime_ps=200.0)

    clock = clock_from_photons(t_ps, 228e6, channel=channel)
    aligned_ps, _ = clock.align(t_ps, channel)
    relative = clock.skew_ps[:4] - clock.skew_ps[0] - np.array(skew_ps)

    assert np.all(np.abs(relative - np.rint(relative / clock.period_ps) * clock.period_ps) < 40.0)
    assert np.all(np.diff(aligned_ps) >= 0)
    assert slots.size == aligned_ps.size


@pytest.mark.parametrize("count", [0, 1, 2, 3000])
def test_noise_is_never_taken_for_a_clock(count):
    """False-alarm probability 1e-9 for the largest of these; the seeds are fixed."""
    t_ps = np.sort(np.random.default_rng(9).integers(-(10**12), 10**12, count))

    with pytest.raises(StreamError, match="clock not found"):
        clock_from_photons(t_ps, 228e6)
    with pytest.raises(StreamError, match="clock not found"):
        clock_from_reference(t_ps, 228e6, 1000)


def test_a_clock_outside_the_searched_band_is_not_found():
    t_ps, _ = reference_tags(10, ppm=50.0, seconds=0.5)

    with pytest.raises(StreamError, match="within 20 ppm"):
        clock_from_reference(t_ps, 228e6, 1, search_ppm=20.0)


def test_tags_out_of_order_are_refused():
    with pytest.raises(StreamError, match="not in order"):
        clock_from_photons(np.array([5, 3, 9], np.int64), 228e6)


def test_ties_and_negative_times_are_tags_like_others():
    t_ps, slots = reference_tags(11, origin_ps=-(10**15), seconds=0.5, jitter_ps=20.0)
    doubled, doubled_slots = np.repeat(t_ps, 2), np.repeat(slots, 2)

    clock = clock_from_reference(doubled, 228e6, 1)

    assert slot_agreement(clock.slots_and_phases(doubled)[0], doubled_slots) == 1.0


def test_a_steady_clock_counts_from_where_it_was_told():
    clock = PulseClock.steady(1e9, -500)

    slots, phases_ps = clock.slots_and_phases(np.array([-1100, -1000, -999, -500, 1_999_500], np.int64))

    assert slots.tolist() == [-1, 0, 0, 0, 2000]
    assert phases_ps.tolist() == [400.0, -500.0, -499.0, 0.0, 0.0]
    assert clock.in_lock(slots).all()
