"""Outcomes and settings taken apart with lists: ``split_outcomes_kernel`` and ``look_up_settings_kernel``."""


def split_outcomes(outcomes):
    """Bases and bits of outcome codes Z0=0 Z1=1 X0=2 X1=3."""
    return [code // 2 % 2 for code in outcomes], [code % 2 for code in outcomes]


def look_up_settings(settings, setting_bases, setting_bits):
    """Bases and bits of settings by their tables."""
    return [setting_bases[code] for code in settings], [setting_bits[code] for code in settings]
