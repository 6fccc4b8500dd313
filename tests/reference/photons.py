"""A link photon by photon: each finds its way and its time, each click its port. Slow, and with no formula of the planner."""

from bisect import bisect_left
from math import floor, sqrt

import numpy as np

FADING_SLOTS = 50
"""Slots for which a loss holds: long against every dead time, so short that a run sees thousands of losses."""

OUTCOME_STATES = {0: (1.0, 0.0), 1: (0.0, 1.0), 2: (sqrt(0.5), sqrt(0.5)), 3: (sqrt(0.5), -sqrt(0.5))}


BETWEEN = 8
"""A click between two gates of a slot: a second one beside another, nothing by itself."""


def simulate_photons(profile, gate_start_ps, count_pulses, seed):
    """Count announcements: int64[intensities, settings, 5] for Z0 Z1 X0 X1 and cross clicks; int64[intensities, settings] pulses sent."""
    rng = np.random.default_rng(seed)
    source, receiver, channel = profile.source, profile.receiver, profile.channel
    period_ps, step_ps = 1e12 / source.clock_hz, receiver.time_bin_separation_ps
    three_states = profile.protocol.startswith("three-state")
    half_z = source.probability_z / 2
    in_x = 1 - source.probability_z
    settings = rng.choice(4, count_pulses, p=[half_z, half_z, in_x, 0] if three_states else [half_z, half_z, in_x / 2, in_x / 2])
    intensities = rng.choice(max(1, len(source.intensities)), count_pulses, p=source.probability_intensity or None)
    numbers = _photon_numbers(rng, source, intensities)
    losses_db = channel.loss_db + channel.fading_sigma_db * rng.standard_normal(count_pulses // FADING_SLOTS + 1)
    transmission = 10 ** (-np.maximum(losses_db, 0) / 10) * receiver.efficiency * receiver.detector_efficiency
    basis_of_slot = rng.random(count_pulses) >= receiver.probability_z

    clicks: dict[int, list[tuple[float, int | None]]] = {}  # port: [(time, outcome or None)]; with time bins the window decides
    slots = np.repeat(np.arange(count_pulses), numbers)
    slots = slots[rng.random(slots.size) < transmission[slots // FADING_SLOTS]]
    delays_ps = rng.exponential(source.lifetime_ps, slots.size) if source.lifetime_ps else np.zeros(slots.size)
    delays_ps += receiver.jitter_ps * rng.standard_normal(slots.size)
    for slot, delay_ps in zip(slots.tolist(), delays_ps.tolist(), strict=True):
        angle = source.state_angles_deg[settings[slot]] if three_states else (0, 180, 90, 270)[settings[slot]]
        if profile.encoding == "time-bin":
            port, window = _interfere(rng, np.deg2rad(angle), channel.misalignment, channel.visibility)
            clicks.setdefault(port, []).append((slot * period_ps + window * step_ps + delay_ps, None))
            continue
        basis = int(basis_of_slot[slot] if receiver.basis_choice == "active" else rng.random() >= receiver.probability_z)
        outcome = _measure(rng, np.deg2rad(angle), basis, channel.misalignment)
        port = outcome & 1 if receiver.basis_choice == "active" else outcome
        clicks.setdefault(port, []).append((slot * period_ps + delay_ps, outcome))
    ports = range(4 if profile.encoding == "polarisation" and receiver.basis_choice == "passive" else 2)
    for port in ports:
        rate_hz = (receiver.dark_rate_hz + channel.background_hz) / len(ports)
        for time_ps in rng.random(rng.poisson(rate_hz * count_pulses * period_ps * 1e-12)) * count_pulses * period_ps:
            clicks.setdefault(port, []).append((float(time_ps), None))

    registered = _registered(clicks, receiver.dead_time_ps)
    windows = (-1, 0, 1) if profile.encoding == "time-bin" else (0,)
    width_ps = min(receiver.gate_ps or period_ps, step_ps or period_ps)
    counts = np.zeros((max(1, len(source.intensities)), 3 if three_states else 4, 5), np.int64)
    sent = np.zeros(counts.shape[:2], np.int64)
    np.add.at(sent, (intensities, settings), 1)
    for slot, outcomes in _rounds(registered, gate_start_ps, width_ps, windows, step_ps, period_ps, basis_of_slot, receiver).items():
        opens_ps = slot * period_ps + gate_start_ps + windows[0] * step_ps
        before = bisect_left(registered, (opens_ps,))
        if not 0 <= slot < count_pulses or (before > 0 and registered[before - 1][0] > opens_ps - receiver.dead_time_ps):
            continue
        if len(windows) == 3:  # any second click is a cross click there; each is a port in a window
            if outcomes == {BETWEEN}:
                continue
            announced = 4 if len(outcomes) > 1 else min(outcomes) >> 1
        else:
            announced = 4 if len({outcome >> 1 for outcome in outcomes}) == 2 else rng.choice(sorted(outcomes))
        counts[intensities[slot], settings[slot], announced] += 1
    return counts, sent


def _photon_numbers(rng, source, intensities):
    if source.kind == "weak-coherent":
        return rng.poisson(np.array(source.intensities)[intensities] * source.pre_attenuation)
    mean = source.mean_photon_number * source.transmitter_efficiency * source.pre_attenuation
    two = source.g2 * mean**2 / 2
    return rng.choice(3, intensities.size, p=[1 - mean + two, mean - 2 * two, two])


def _measure(rng, angle, basis, misalignment):
    """Born's rule in the basis, and a flip by misalignment."""
    zero, _ = OUTCOME_STATES[2 * basis], OUTCOME_STATES[2 * basis + 1]
    amplitude = zero[0] * np.cos(angle / 2) + zero[1] * np.sin(angle / 2)
    bit = int(rng.random() >= amplitude**2)
    return 2 * basis + (bit ^ int(rng.random() < misalignment))


def _interfere(rng, angle, misalignment, visibility):
    """Port and window behind an interferometer whose long arm delays by one bin; amplitudes of early and late meet in the middle."""
    early, late = np.cos(angle / 2), np.sin(angle / 2)
    if rng.random() < 0.5:  # in the middle: early through the long arm and late through the short one
        brighter = (1 + visibility * 2 * early * late) / 2
        return int(rng.random() >= brighter), 0
    is_late = (rng.random() >= early**2) != (rng.random() < misalignment)
    return int(rng.integers(2)), 1 if is_late else -1


def _registered(clicks, dead_time_ps):
    """Clicks of every port that find it live: (time, port, outcome or None), in order of time."""
    kept = []
    for port, events in clicks.items():
        live_from = -1e300
        for time_ps, outcome in sorted(events, key=lambda event: event[0]):
            if time_ps >= live_from:
                live_from = time_ps + dead_time_ps
                kept.append((time_ps, port, outcome))
    return sorted(kept, key=lambda event: event[:2])


def _rounds(registered, gate_start_ps, width_ps, windows, step_ps, period_ps, basis_of_slot, receiver):
    """Outcomes of the clicks within the gates of each slot."""
    rounds: dict[int, set[int]] = {}
    first_ps = gate_start_ps + windows[0] * step_ps
    for time_ps, port, seen in registered:
        slot = floor((time_ps - first_ps) / period_ps)
        inside_ps = time_ps - first_ps - slot * period_ps
        if len(windows) == 3:
            window = min(2, floor(inside_ps / step_ps))
            if inside_ps >= 2 * step_ps + width_ps:
                continue
            is_between = inside_ps - window * step_ps >= width_ps
            outcome = BETWEEN if is_between else (0, 2 + port, 1)[window] << 1 | port
        elif inside_ps >= width_ps:
            continue
        elif receiver.basis_choice == "active":
            outcome = 2 * int(basis_of_slot[min(max(slot, 0), basis_of_slot.size - 1)]) + port
        else:
            outcome = port if seen is None else seen
        rounds.setdefault(slot, set()).add(outcome)
    return rounds
