"""Sifting with lists.

Stands for ``select_bits_kernel``, ``select_bytes_kernel`` and ``tally`` of ``common.kernels.sifting``.
"""


def selected(values, keep):
    """The lowest bit of every kept value."""
    return [int(value) & 1 for value, kept in zip(values, keep, strict=True) if int(kept) & 1]


def selected_whole(values, keep):
    """Every kept value."""
    return [int(value) for value, kept in zip(values, keep, strict=True) if int(kept) & 1]


def table_of(settings, outcomes, keep, count_settings):
    """Kept detections by setting and outcome."""
    table = [[0] * 4 for _ in range(count_settings)]
    for setting, outcome, kept in zip(settings, outcomes, keep, strict=True):
        table[setting][outcome] += int(kept) & 1
    return table
