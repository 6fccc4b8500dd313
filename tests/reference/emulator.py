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


def reference_measure_states(state, basis, uniform, misalignment):
    outcomes = []
    for prepared, chosen, draw in zip(state, basis, uniform, strict=True):
        prepared_basis, prepared_bit = divmod(prepared, 2)
        bit = prepared_bit ^ int(draw < misalignment) if prepared_basis == chosen else int(draw < 0.5)
        outcomes.append(2 * chosen + bit)
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
