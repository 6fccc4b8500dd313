"""Photon arrivals of a real emitter pass through clock, sifting and reconciliation."""

import pytest

from common.channel.codec import Party
from common.cli.arrivals import recorded_run
from common.cli.offline import distil_offline, system_or_seeded
from common.profiles.link import load_profile
from tests.support.runs import keys_are_identical

RECORDING = "200204_HH400_T2_320MHz_HBT.timeres"


@pytest.fixture(scope="module")
def made(recordings):
    path = recordings / RECORDING
    if not path.is_file():
        pytest.skip(f"recording {RECORDING} is absent")
    return recorded_run(load_profile("recorded"), path, seed=1)


def test_the_source_is_characterised_from_the_recording(made):
    """The laser's rate is known to a hertz; g2 and on-fraction to what two coincidences and the blinking envelope allow."""
    assert made.clock.clock_hz == pytest.approx(319_678_167.57, abs=1.0)
    assert made.correlation.g2_bright < 0.01
    assert made.correlation.on_fraction == pytest.approx(0.22, abs=0.02)


def test_real_arrivals_make_key(made):
    outcome = distil_offline(made.profile, made.record, made.tags, system_or_seeded(None))
    block = outcome.outcomes[Party.BOB][0]

    assert outcome.failures == {Party.ALICE: None, Party.BOB: None}
    assert keys_are_identical(outcome)
    assert outcome.reception.clock.quality.residual_rms_ps < 150
    assert block.secret_bits > 10_000
    assert block.block is not None
    assert abs(block.block.counts.x.errors / block.block.counts.x.tested - 0.01) < 0.01


def test_a_transmission_too_low_for_the_source_leaves_no_key_and_says_why(recordings):
    """With 20 dB more loss assumed, the same arrivals mean ten times the photons at Alice: multi-photons take everything."""
    path = recordings / RECORDING
    if not path.is_file():
        pytest.skip(f"recording {RECORDING} is absent")
    lossy = recorded_run(load_profile("recorded", ["channel.loss_db=25"]), path, seed=1)
    outcome = distil_offline(lossy.profile, lossy.record, lossy.tags, system_or_seeded(None))

    assert outcome.stores[Party.ALICE].committed == {}
    assert all(block.reason and block.length.bound for block in outcome.outcomes[Party.BOB] if block.length)
