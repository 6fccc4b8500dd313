"""What the planner's channel model must be whatever the link: probabilities, monotone, and right where a slow sum can tell."""

from dataclasses import replace
from itertools import product
from math import exp

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.planning.clicks import ACTIVE, BETWEEN, CROSS, DOUBLE, PASSIVE, TIME_BINS, TIME_BINS_AND_GAPS, announced
from common.planning.light import Light
from common.planning.link_model import link_model
from common.profiles.link import load_profile

LINKS = ("decoy", "hbn", "hefei", "niedersachsen", "timebin-120km")

PROFILES = {name: load_profile(name) for name in LINKS}

links = st.sampled_from(LINKS).map(PROFILES.__getitem__)
losses_db = st.floats(0.0, 60.0)
small = st.floats(0.0, 1.0)


def altered(profile, **sections):
    return replace(profile, **{name: replace(getattr(profile, name), **changes) for name, changes in sections.items()})


@given(links, losses_db, st.floats(0.0, 0.5), st.floats(0.0, 3.0), st.floats(0.0, 1e7), st.floats(0.0, 1e6), st.floats(10.0, 1e5))
@settings(max_examples=80)
def test_announcements_are_probabilities(profile, loss_db, misalignment, sigma_db, noise_hz, dead_time_ps, gate_ps):
    model = link_model(
        altered(
            profile,
            channel={"loss_db": loss_db, "misalignment": misalignment, "fading_sigma_db": sigma_db},
            receiver={"dark_rate_hz": noise_hz, "dead_time_ps": dead_time_ps, "gate_ps": min(gate_ps, profile.receiver.gate_ps or gate_ps)},
        )
    )
    assert 0.0 <= model.live_ratio <= 1.0
    assert 0.0 <= model.transmission <= 1.0
    for pulse in model.pulses:
        for row, cross in zip(pulse.table, pulse.cross, strict=True):
            assert min(*row, cross) >= 0.0
            assert sum(row) + cross <= model.live_ratio * (1.0 + 1e-12)
    for basis in (model.z, model.x):
        assert 0.0 <= basis.probability_sifted <= 1.0
        assert 0.0 <= basis.qber <= 1.0
    assert model.z.probability_sifted + model.x.probability_sifted <= model.probability_detection * (1.0 + 1e-12)


@given(links, losses_db, st.floats(0.1, 20.0))
@settings(max_examples=60)
def test_more_loss_gives_fewer_clicks_and_never_fewer_errors(profile, loss_db, more_db):
    """Dead time is left out: where detectors saturate, loss helps."""
    near = link_model(altered(profile, channel={"loss_db": loss_db}, receiver={"dead_time_ps": 0.0}))
    far = link_model(altered(profile, channel={"loss_db": loss_db + more_db}, receiver={"dead_time_ps": 0.0}))
    assert far.probability_detection < near.probability_detection
    assert far.probability_cross <= near.probability_cross * (1.0 + 1e-12)
    assert far.transmission < near.transmission
    if profile.source.kind == "single-photon":
        assert far.z.qber >= near.z.qber * (1.0 - 1e-3)  # pairs make a few errors of their own by doubling up


@given(links, st.floats(1.0, 1e6))
@settings(max_examples=30)
def test_darkness_gives_noise_only(profile, noise_hz):
    dark = link_model(altered(profile, channel={"loss_db": 500.0}, receiver={"dark_rate_hz": noise_hz}))
    assert dark.z.qber == pytest.approx(0.5)
    assert dark.x.qber == pytest.approx(0.5)
    for pulse in dark.pulses[1:]:
        assert np.allclose(pulse.table, dark.pulses[0].table, rtol=1e-9)


@given(links, losses_db)
@settings(max_examples=30)
def test_without_noise_and_misalignment_photons_that_are_alone_make_no_errors(profile, loss_db):
    clean = altered(
        profile,
        source={"lifetime_ps": 0.0},
        channel={"loss_db": loss_db, "misalignment": 0.0, "visibility": 1.0},
        receiver={"dark_rate_hz": 0.0, "jitter_ps": 0.0},
    )
    model = link_model(clean)
    assert model.z.qber < 1e-9
    assert model.x.qber < 1e-9


@given(links, st.floats(0.0, 40.0), st.floats(0.0, 1e6), st.floats(0.0, 1e6))
@settings(max_examples=40)
def test_more_dead_time_keeps_fewer_slots(profile, loss_db, one_ps, other_ps):
    short, long = sorted((one_ps, other_ps))
    lively, sleepy = (
        link_model(altered(profile, channel={"loss_db": loss_db}, receiver={"dead_time_ps": dead_time_ps}))
        for dead_time_ps in (short, long)
    )
    assert sleepy.live_ratio <= lively.live_ratio * (1.0 + 2e-2)  # the covariance is of leading order


def slow_announced(detectors, pulse, efficiencies, noise, dead_windows):
    """Every pattern of clicks, photon number by photon number; what a port shows of it, window by window."""
    count = len(noise)
    if pulse.pairs is None:
        numbers = None
        chances = [1.0 - exp(-pulse.mean * e - d) for e, d in zip(efficiencies, noise, strict=True)]
    else:
        numbers = (1.0 - pulse.mean + pulse.pairs, pulse.mean - 2.0 * pulse.pairs, pulse.pairs)
    verdict = np.zeros(DOUBLE + 1)
    lost = 1.0 - sum(efficiencies)
    for pattern in product((0, 1), repeat=count):
        if numbers is None:
            weights = [(np.prod([c if hit else 1.0 - c for c, hit in zip(chances, pattern, strict=True)]), pattern)]
        else:
            weights = []
            by_noise = np.prod([1.0 - exp(-d) if hit else exp(-d) for d, hit in zip(noise, pattern, strict=True)])
            for photons, probability in enumerate(numbers) if by_noise else ():
                for ways in product(range(count + 1), repeat=photons):
                    chance = np.prod([lost if way == count else efficiencies[way] for way in ways])
                    hits = tuple(int(hit or place in ways) for place, hit in enumerate(pattern))
                    weights.append((by_noise * probability * chance, hits))
        for weight, hits in weights:
            verdict += weight * slow_verdict(detectors, hits, dead_windows)
    return verdict


def slow_verdict(detectors, hits, dead_windows):
    shown, count_clicks = set(), 0
    for port in set(detectors.port):
        blind_until = -9.0
        for window in (-1, -0.5, 0, 0.5, 1):
            for which, hit in enumerate(hits):
                if hit and detectors.port[which] == port and detectors.window[which] == window and window >= blind_until:
                    blind_until = window + dead_windows
                    if detectors.outcome[which] != BETWEEN:
                        shown.add(detectors.outcome[which])
                    count_clicks += 1
    result = np.zeros(DOUBLE + 1)
    if not shown:
        return result
    if min(shown) < 2 <= max(shown) or (detectors in (TIME_BINS, TIME_BINS_AND_GAPS) and count_clicks > 1):
        result[CROSS] = 1.0
    else:
        for outcome in shown:
            result[outcome] = 1.0 / len(shown)
        result[DOUBLE] = len(shown) == 2
    return result


@given(st.sampled_from((PASSIVE, *ACTIVE, TIME_BINS)), st.data(), small, st.sampled_from((0.0, 1.5, 5.0)))
@settings(max_examples=40, deadline=None)
def test_announcements_are_the_sum_over_all_ways_of_all_photons(detectors, data, scale, dead_windows):
    count = len(detectors.outcome)
    raw = np.array(data.draw(st.lists(st.floats(0.01, 1.0), min_size=count, max_size=count)))
    efficiencies = scale * raw / raw.sum()
    noise = np.array(data.draw(st.lists(st.floats(0.0, 0.5), min_size=count, max_size=count)))
    pulse = data.draw(st.sampled_from((Light(0.7, None), Light(0.4, 0.05), Light(1.0, 0.5), Light(0.0, 0.0))))
    found = announced(detectors, [pulse], efficiencies[None, None, :], noise[None, :], dead_windows)[0, 0, 0]
    assert found == pytest.approx(slow_announced(detectors, pulse, efficiencies, noise, dead_windows), rel=1e-9, abs=1e-12)


@given(st.data(), small, st.sampled_from((0.0, 0.7, 5.0)), st.sampled_from((Light(0.7, None), Light(0.4, 0.05))))
@settings(max_examples=4, deadline=None)
def test_what_clicks_between_two_gates_is_in_the_sum(data, scale, dead_windows, pulse):
    """Noise only in some places, so that the sum over all ways of two photons has an end."""
    count = len(TIME_BINS_AND_GAPS.outcome)
    raw = np.array(data.draw(st.lists(st.floats(0.01, 1.0), min_size=count, max_size=count)))
    efficiencies = scale * raw / raw.sum()
    noise = np.where(np.arange(count) % 3 == 0, data.draw(st.floats(0.0, 0.5)), 0.0)
    found = announced(TIME_BINS_AND_GAPS, [pulse], efficiencies[None, None, :], noise[None, :], dead_windows)[0, 0, 0]
    assert found == pytest.approx(slow_announced(TIME_BINS_AND_GAPS, pulse, efficiencies, noise, dead_windows), rel=1e-9, abs=1e-12)
