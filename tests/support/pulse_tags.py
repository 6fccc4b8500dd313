"""Synthetic tags of a pulsed link, made with NumPy alone, so that the receiver is tested without the emulator."""

import numpy as np

BLINKING_S = 20e-6  # mean duration of a bright or dark spell of the emitter


def reference_tags(
    seed,
    *,
    clock_hz=228e6,
    divider=1,
    ppm=50.0,
    seconds=1.0,
    rate_hz=1e4,
    jitter_ps=100.0,
    spurious=0.1,
    wander=1e-9,
    origin_ps=None,
    dark_s=(),
):
    """Tags of reference pulses in order, and the slot of each (-1 for a false one).

    ``rate_hz`` tags a second are left of the pulses; ``spurious`` times as many are added anywhere; ``dark_s`` lists pauses (from, to).
    """
    generator = np.random.default_rng(seed)
    pulses = np.unique(generator.integers(0, int(seconds * clock_hz / divider), int(rate_hz * seconds)))
    t_ps = pulses * (divider * 1e12 / clock_hz)
    grid_s = np.arange(0.0, seconds + 0.01, 1e-3)
    frequency = np.cumsum(generator.normal(0.0, wander * np.sqrt(1e-3), grid_s.size))
    t_ps += np.interp(t_ps * 1e-12, grid_s, np.cumsum(frequency) * 1e-3) * 1e12
    for begin, end in dark_s:
        lit = (t_ps < begin * 1e12) | (t_ps >= end * 1e12)
        t_ps, pulses = t_ps[lit], pulses[lit]
    origin = int(generator.integers(-(10**12), 10**12)) if origin_ps is None else origin_ps
    true_ps = np.rint(t_ps * (1.0 + ppm * 1e-6) + generator.normal(0.0, jitter_ps, pulses.size)).astype(np.int64) + origin
    false_ps = generator.integers(true_ps.min(), true_ps.max(), int(spurious * pulses.size))
    return _in_order(np.concatenate([true_ps, false_ps]), np.concatenate([pulses * divider, np.full(false_ps.size, -1)]))


def photon_tags(
    seed,
    *,
    clock_hz=228e6,
    ppm=50.0,
    seconds=2.0,
    rate_hz=1e3,
    jitter_ps=60.0,
    lifetime_ps=600.0,
    background=0.1,
    on_fraction=1.0,
    skew_ps=(0, 0, 0, 0),
):
    """Tags of single photons with an exponential tail, blinking and background: times, channels, slots (-1 for background)."""
    generator = np.random.default_rng(seed)
    slots = np.unique(generator.integers(0, int(seconds * clock_hz), int(rate_hz * seconds / on_fraction)))
    if on_fraction < 1.0:
        switches = np.cumsum(generator.exponential(BLINKING_S * clock_hz, int(1.1 * seconds / BLINKING_S)))
        slots = slots[np.searchsorted(switches, slots) % round(1.0 / on_fraction) == 0]
    channel = generator.integers(0, 4, slots.size)
    t_ps = slots * 1e12 / clock_hz + generator.exponential(lifetime_ps, slots.size)
    tags = np.rint(t_ps * (1.0 + ppm * 1e-6) + generator.normal(0.0, jitter_ps, slots.size)).astype(np.int64)
    tags += np.asarray(skew_ps, np.int64)[channel] + int(generator.integers(-(10**12), 10**12))
    noise = generator.integers(tags.min(), tags.max(), int(background * slots.size))
    order = np.argsort(np.concatenate([tags, noise]), kind="stable")
    channels = np.concatenate([channel, generator.integers(0, 4, noise.size)]).astype(np.uint8)
    return np.concatenate([tags, noise])[order], channels[order], np.concatenate([slots, np.full(noise.size, -1)])[order]


def slot_agreement(slots, true_slots):
    """Share of true tags whose recovered slot differs from the true one by the most common difference."""
    true = true_slots >= 0
    _, counts = np.unique(slots[true] - true_slots[true], return_counts=True)
    return counts.max() / counts.sum()


def _in_order(t_ps, slots):
    order = np.argsort(t_ps, kind="stable")
    return t_ps[order], slots[order]
