"""Tags in order, each once: the plain way."""


def slow_order(tags, held):
    """Tags in order and each once, how many stood out of order and twice; None where one is later than ``held`` places."""
    for place, (t_ps, _) in enumerate(tags):
        if sum(1 for earlier, _ in tags[:place] if earlier > t_ps) > held:
            return None
    late = sum(1 for place, (t_ps, _) in enumerate(tags) if any(earlier > t_ps for earlier, _ in tags[:place]))
    once = sorted(set(tags))
    return once, late, len(tags) - len(once)
