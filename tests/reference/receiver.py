"""Slow references of Bob's receiver kernels, in exact arithmetic where a border could decide."""

import math
from collections import defaultdict
from fractions import Fraction


def slow_locate_slots(t_ps, knots):
    """Slots and phases from knots (time, slot, fraction, slots per ps), in exact fractions."""
    slots, phases = [], []
    for t in t_ps:
        time, slot, fraction, slope = next((knot for knot in reversed(knots) if knot[0] <= t), knots[0])
        coordinate = slot + Fraction(fraction) + (t - time) * Fraction(slope)
        nearest = math.floor(coordinate + Fraction(1, 2))
        slots.append(nearest)
        phases.append(float((coordinate - nearest) / Fraction(slope)))
    return slots, phases


def slow_count_phases(phase_ps, channel, row_of_channel, period_ps, rows, bins):
    counts = [[0] * bins for _ in range(rows)]
    for phase, number in zip(phase_ps, channel, strict=True):
        if row_of_channel[number] != 255:
            place = math.floor((phase / period_ps + 0.5) * bins)
            counts[row_of_channel[number]][min(max(place, 0), bins - 1)] += 1
    return counts


def slow_detect_clicks(tags, period_ps, low_ps, width_ps, dead_time_ps, previous_ps, locked_to_ps=math.inf):
    """Rounds of a steady clock with a whole period, slot 0 centred at time 0; ``tags`` are (time, outcome) in order of time.

    For every slot the gate is an interval of time; a round is live if no tag lies within the dead time before the gate opens, and none
    within the gate after the lock has ended, whose tags make no clicks. Stands for ``detect_clicks``. Returns kept rounds as
    (slot, basis, set of bits), slots of cross clicks, and the number of dead rounds.
    """
    rounds = defaultdict(set)
    for t, outcome in tags:
        slot = (t - low_ps) // period_ps
        if t < slot * period_ps + low_ps + width_ps and t <= locked_to_ps:
            rounds[slot].add(outcome)
    times = [previous_ps] + [t for t, _ in tags]
    kept, crossed, dead = [], [], 0
    for slot in sorted(rounds):
        opening = slot * period_ps + low_ps
        if any(t < opening < t + dead_time_ps or locked_to_ps < t < opening + width_ps for t in times):
            dead += 1
        elif len({outcome >> 1 for outcome in rounds[slot]}) == 2:
            crossed.append(slot)
        else:
            kept.append((slot, min(rounds[slot]) >> 1, {outcome & 1 for outcome in rounds[slot]}))
    return kept, crossed, dead


def slow_detect_time_bins(tags, period_ps, low_ps, width_ps, pitch_ps, dead_time_ps, previous_ps, locked_to_ps=math.inf):
    """The same with two ports and three windows; ``tags`` are (time, port), the first window opens at ``low_ps`` in slot 0.

    Returns single clicks as (slot, outcome), slots with several clicks, in windows or between them, and the number of dead rounds.
    """
    clicks, between = defaultdict(set), set()
    span_ps = 2 * pitch_ps + width_ps
    for t, port in tags:
        slot = (t - low_ps) // period_ps
        since_ps = t - low_ps - slot * period_ps
        window = since_ps // pitch_ps
        if t > locked_to_ps or since_ps >= span_ps:
            continue
        if since_ps - window * pitch_ps < width_ps:
            clicks[slot].add((window, port))
        else:
            between.add(slot)
    times = [previous_ps] + [t for t, _ in tags]
    kept, crossed, dead = [], [], 0
    for slot in sorted(clicks):
        opening = slot * period_ps + low_ps
        if any(t < opening < t + dead_time_ps or locked_to_ps < t < opening + span_ps for t in times):
            dead += 1
        elif len(clicks[slot]) > 1 or slot in between:
            crossed.append(slot)
        else:
            ((window, port),) = clicks[slot]
            kept.append((slot, {0: 0, 1: 2 + port, 2: 1}[window]))
    return kept, crossed, dead


def slow_quiet_slots(times, period_ps, low_ps, quiet_low_ps, quiet_width_ps, pitch_ps):
    """Slots of the tags in quiet stretches, which repeat at the pitch within a slot."""
    since = [((t - low_ps) // period_ps, (t - low_ps) % period_ps) for t in times]
    return [slot for slot, since_ps in since if (since_ps - quiet_low_ps) % pitch_ps < quiet_width_ps]


def slow_count_chosen(channel, chosen):
    return sum(number in chosen for number in channel)


def slow_pick_evenly(tags, chosen, first, every):
    """Of (time, channel) pairs."""
    return [tag for tag in tags if tag[1] in chosen][first::every]


def slow_order_aligned(t_ps, channel, skew_ps):
    """A stable sort by time less delay, as a list of (time, channel)."""
    pairs = [(int(t) - int(skew_ps[number]), int(number)) for t, number in zip(t_ps, channel, strict=True)]
    return sorted(pairs, key=lambda pair: pair[0])
