"""Blinded detectors: the error rate says nothing and Eve knows every bit, so that only the monitors stand between her and the key."""

from dataclasses import replace

import numpy as np
import pytest

from common.channel.codec import Party
from common.cli.offline import distil_offline, system_or_seeded
from common.emulator.eavesdropper import DetectorBlinding
from common.emulator.link import emulate
from common.errors import AbortReason
from common.profiles.link import load_profile
from tests.support.listening import Listener
from tests.support.runs import SHORT_DECOY, SHORT_DECOY_SECONDS

LINKS = {
    "decoys, active": ("decoy", SHORT_DECOY, SHORT_DECOY_SECONDS),
    "single photons, passive": ("niedersachsen", ("security.block_bits=300000", "security.frame_pulses=22800000"), 60.0),
}


def blinded(profile, seconds):
    """The first block of a link whose detectors are blinded all the time, at both ends, and the slots of its key."""
    emulation = emulate(profile, seconds, 21, DetectorBlinding())
    listener = Listener()
    run = distil_offline(profile, emulation.emission, emulation.tags, system_or_seeded(21), wire=listener.wire)
    assert set(run.failures.values()) == {None}
    ends = [run.outcomes[party][0] for party in Party]
    return emulation, ends, listener.key_slots(profile.security.frame_pulses, ends[0].number), run


@pytest.mark.parametrize(("link", "settings", "seconds"), LINKS.values(), ids=LINKS)
def test_without_monitors_key_is_made_of_bits_she_knows_and_with_them_none(link, settings, seconds):
    profile = load_profile(link, settings)

    emulation, ends, slots, _ = blinded(replace(profile, monitors=None), seconds)
    x = ends[0].block.counts.x
    assert x.errors < x.tested / 1000  # photons of long-lived emitters that arrive a slot late, and nothing else
    assert all(end.secret_bits > 10_000 for end in ends)
    assert np.isin(slots, emulation.truth.eve.slots).mean() > 0.99

    _, ends, _, run = blinded(profile, seconds)
    assert {end.reason for end in ends} == {AbortReason.DETECTOR_BLINDING}
    assert {outcome.secret_bits for party in Party for outcome in run.outcomes[party]} == {0}
