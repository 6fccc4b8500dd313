"""What is known of the real recordings is what ``qkd characterise`` finds; the note beside them says it, worked out independently."""

import json

import numpy as np
import pytest

from common.cli.main import run
from common.timetags.recording import read_recording

HBT, QUTAG, DARK, EVENTS = (
    "200204_HH400_T2_320MHz_HBT.timeres",
    "19_qutag_80MHz_HBT_sync_filtered.qutag",
    "v30_t2.ptu",
    "timestamp7_c1234.Aa1.ts",
)


def present(recordings, name):
    path = recordings / name
    if not path.is_file():
        pytest.skip(f"recording {name} is absent")
    return path


@pytest.fixture
def characterised(recordings, capsys):
    def characterise(name, *words):
        assert run(["characterise", str(present(recordings, name)), *words, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    return characterise


def test_a_single_emitter_behind_a_beam_splitter(characterised, tmp_path):
    found = characterised(HBT, "--picture", str(tmp_path / "hbt.png"))

    assert found["clock_hz"] == pytest.approx(319_678_167.57, abs=0.01)
    assert found["count_rates_hz"] == {"0": pytest.approx(159_300, rel=1e-3), "1": pytest.approx(224_700, rel=1e-3)}
    assert found["coincidences_at_zero"] == 2
    assert found["delay_ns"] == pytest.approx(23.94, abs=0.02)
    near, far = found["normalisation"]["neighbouring"], found["normalisation"]["far_delay"]
    assert near["g2_zero"] == found["g2_zero"] == pytest.approx(2 / 505.9, abs=0.0028)
    assert near["coincidences_per_slot"] == pytest.approx(505.9, rel=0.01)
    assert far["g2_zero"] == pytest.approx(0.018, abs=0.0005), "2 coincidences over the level"
    blinking = found["blinking"]
    assert blinking["on_fraction"] == pytest.approx(0.22, abs=0.005)
    assert blinking["times_ns"]["bright"] == pytest.approx(0.213 / 0.787 * blinking["times_ns"]["dark"], rel=0.1)
    assert (tmp_path / "hbt.png").read_bytes().startswith(b"\x89PNG")


def test_both_detectors_see_one_lifetime_of_one_exponential(characterised):
    found = characterised(HBT, "--kind", "lifetime", "--clock-hz", "319.68e6")

    one, other = found["decays"].values()
    assert abs(one["lifetime_ps"] - other["lifetime_ps"]) < 4.0 * np.hypot(one["lifetime_uncertainty_ps"], other["lifetime_uncertainty_ps"])
    assert all(0.7 < decay["deviance_ratio"] < 1.3 for decay in (one, other))
    assert 100.0 < found["lifetime_ps"] < 170.0
    assert found["lifetime_uncertainty_ps"] < 1.0


def test_a_recording_with_reference_pulses(characterised):
    found = characterised(QUTAG, "--sync", "5", "--clock-hz", "80.03e6")

    assert found["recording"]["reordered"] == 173
    assert found["recording"]["seconds"] == pytest.approx(5.044, abs=1e-3)
    assert found["count_rates_hz"] == {"1": pytest.approx(15_700, rel=5e-3), "2": pytest.approx(18_700, rel=5e-3)}
    assert found["clock_hz"] == pytest.approx(80_028_151.433, abs=0.01)
    assert found["reference_clock_hz"] == pytest.approx(80_028_151.433, abs=0.01)
    assert found["coincidences_at_zero"] == 0
    assert any("one exponential does not describe the decay" in note for note in found["notes"]), "its decay beats"


def test_a_dead_time(characterised):
    found = characterised(DARK, "--kind", "dead-time")["detectors"]["0"]

    assert found["shortest_ps"] == pytest.approx(81_000, abs=500)
    assert found["dead_time_ps"] == pytest.approx(82_000, abs=1_500)
    assert found["rate_hz"] == pytest.approx(61_100, rel=2e-3)


def test_events_of_four_detectors_in_a_row(recordings):
    tags, reading = read_recording(present(recordings, EVENTS))

    assert reading.seconds == pytest.approx(0.935e-3, abs=1e-6)
    assert reading.channels_seen == [0, 1, 2, 3]
    assert reading.count_tags == 2012, "2000 events, of which twelve are of two detectors"
    assert reading.sentences() == []
    assert int(np.diff(tags.t_ps).min()) == 0
