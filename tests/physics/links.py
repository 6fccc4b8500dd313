"""Profiles for tests: ``niedersachsen`` made short, bright and simple."""

import numpy as np

from common.emulator.link import SIGNAL, SYNC
from common.profiles.link import load_profile

PERIOD_PS = 10_000.0
CLOCK_HZ = 1e8


def link(*settings):
    plain = (
        f"source.clock_hz={CLOCK_HZ}",
        "source.mean_photon_number=0.3",
        "source.transmitter_efficiency=1.0",
        "source.g2=0.1",
        "source.lifetime_ps=0.0",
        "channel.loss_db=6.0",
        "channel.misalignment=0.02",
        "channel.delay_ps=0.0",
        "receiver.efficiency=0.9",
        "receiver.detector_efficiency=0.8",
        "receiver.dark_rate_hz=0.0",
        "receiver.dead_time_ps=0.0",
        "receiver.jitter_ps=0.0",
        "receiver.clock_offset_ppm=0.0",
        "receiver.sync_divider=0",
        "receiver.sync_detection_probability=0.0",
    )
    return load_profile("niedersachsen", [*plain, *settings])


def single_photon_model(profile):
    """mu, p_m, eta and signal probability s of docs/explanation/emulator, blinking not included."""
    mu = profile.source.mean_photon_number * profile.source.transmitter_efficiency * profile.source.pre_attenuation
    p_m = profile.source.g2 * mu**2 / 2
    eta = 10 ** (-profile.channel.loss_db / 10) * profile.receiver.efficiency * profile.receiver.detector_efficiency
    return mu, p_m, eta, mu * eta - p_m * eta**2


def clicks(emulation):
    """Slots, outcomes and settings of all clicks but the reference pulses."""
    chosen = emulation.truth.kind != SYNC
    slots = emulation.truth.slot[chosen]
    return slots, emulation.tags.channel[chosen], emulation.emission.lookup(slots)


def signal_slots(emulation):
    return np.unique(emulation.truth.slot[emulation.truth.kind == SIGNAL])


def cross_click_slots(slots, outcomes):
    return np.intersect1d(slots[outcomes >> 1 == 0], slots[outcomes >> 1 == 1])


def matched(outcomes, settings):
    return outcomes >> 1 == settings >> 1
