"""The clock of real pulsed emitters, from real recordings."""

import pytest

from bob.clock_recovery import clock_from_photons, clock_from_reference
from common.timetags.recording import read_recording

HYDRAHARP = "200204_HH400_T2_320MHz_HBT.timeres"
QUTAG = "19_qutag_80MHz_HBT_sync_filtered.qutag"


def present(recordings, name):
    path = recordings / name
    if not path.is_file():
        pytest.skip(f"recording {name} is absent")
    return path


@pytest.mark.parametrize("ppm", [-50.0, 5.7, 50.0])
def test_a_laser_is_recovered_from_single_photons_within_fifty_ppm(recordings, ppm):
    tags, _ = read_recording(present(recordings, HYDRAHARP))

    clock = clock_from_photons(tags.t_ps, 319_678_167.57 * (1.0 + ppm * 1e-6), channel=tags.channel)

    assert clock.clock_hz == pytest.approx(319_678_167.57, abs=0.01)
    assert clock.offset_ppm == pytest.approx(ppm, abs=0.001)
    assert clock.quality.residual_rms_ps < 150.0
    assert clock.quality.uncertainty_ps < 5.0
    assert clock.quality.lock_losses == 0


def test_both_detectors_see_the_same_laser(recordings):
    tags, _ = read_recording(present(recordings, HYDRAHARP))

    rates_hz = [clock_from_photons(tags.t_ps[tags.channel == number], 319.68e6).clock_hz for number in (0, 1)]

    assert rates_hz[0] == pytest.approx(rates_hz[1], abs=0.02)


def test_photons_and_reference_agree(recordings):
    tags, _ = read_recording(present(recordings, QUTAG))
    t_ps, channel = tags.t_ps, tags.channel
    photons, sync = channel != 5, channel == 5

    from_photons = clock_from_photons(t_ps[photons], 80.03e6, channel=channel[photons])
    from_reference = clock_from_reference(t_ps[sync], 80.03e6, 1)

    assert from_reference.clock_hz == pytest.approx(80_028_151.433, abs=0.01)
    assert from_photons.offset_ppm == pytest.approx(from_reference.offset_ppm, abs=4.5e-5)
    assert from_reference.quality.residual_rms_ps < 10.0
