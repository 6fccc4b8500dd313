"""Blinking, measurement and dead time, event by event."""

from math import exp


def reference_telegraph_states(slots, uniform, on_fraction, correlation_slots, last_slot, last_on):
    states = []
    for slot, draw in zip(slots, uniform, strict=True):
        memory = exp(-(slot - last_slot) / correlation_slots) if last_on >= 0 else 0.0
        probability = on_fraction + (last_on - on_fraction) * memory
        last_slot, last_on = slot, int(draw < probability)
        states.append(last_on)
    return states


def reference_measure_states(state, basis, uniform, bit, flipped):
    outcomes = []
    for prepared, chosen, draw in zip(state, basis, uniform, strict=True):
        likelier, other = bit[prepared][chosen], 1 - bit[prepared][chosen]
        outcomes.append(2 * chosen + (other if draw < flipped[prepared][chosen] else likelier))
    return outcomes


def reference_live_clicks(t_ps, detector, dead_time_ps, last_ps):
    last = dict(enumerate(last_ps))
    live = []
    for time, which in zip(t_ps, detector, strict=True):
        registered = which not in last or time - last[which] >= dead_time_ps
        if registered and which in last:
            last[which] = time
        live.append(registered)
    return live, [last[which] for which in range(len(last_ps))]


def reference_accumulate_gaps(exponential, per_gap, largest, last):
    slots = []
    for draw in exponential:
        last += 1 + int(min(draw * per_gap, largest))
        slots.append(last)
    return slots


def reference_emission_times(slots, base_slot, period_ps, exponential, lifetime_ps):
    delays = [(draw - 1.0) * lifetime_ps for draw in exponential] or [0.0] * len(slots)
    return [(slot - base_slot) * period_ps + delay for slot, delay in zip(slots, delays, strict=True)]


def reference_tag_times(since_base_ps, deviates, jitter_ps, scale, fraction_ps, whole_ps, resolution_ps):
    tags = []
    for place, since_ps in enumerate(since_base_ps):
        jittered_ps = since_ps + deviates[place] * jitter_ps if deviates else since_ps
        exact_ps = whole_ps + round(jittered_ps * scale + fraction_ps)
        half = resolution_ps // 2 if resolution_ps > 1 else 0
        tags.append((exact_ps + half) // resolution_ps * resolution_ps)
    return tags


def reference_merge_clicks(many, few):
    """Of (time, slot, label): in order of time, those of one time in any order."""
    return sorted([*many, *few])
