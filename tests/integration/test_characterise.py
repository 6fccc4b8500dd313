"""``qkd characterise`` on recordings and tables written here: what it prints, what it draws, what it refuses."""

import json

import numpy as np
import pytest

from common.cli.main import run
from tests.support.recordings import write_qutag

PERIOD_PS = 12_500
STATES = "state,H,V,D,A\nH,9900,100,5000,5000\nV,200,9800,5000,5000\nD,5000,5000,9950,50\nA,5000,5000,30,9970\n"
POWERS = "power_uw,rate_hz,seconds\n5,6100,10\n20,19900,10\n60,40100,10\n200,61600,10\n500,71500,10\n"


def emitter(path, *, blink=True):
    """A pulsed emitter at two detectors, blinking, with a lifetime of 400 ps; channel 7 holds every thousandth pulse."""
    rng = np.random.default_rng(3)
    pulses = 8_000_000
    edges = np.cumsum(rng.exponential([2000.0, 3000.0], (pulses // 2500, 2)).ravel())
    slots = np.flatnonzero(rng.random(pulses) < 0.03)
    if blink:
        slots = slots[np.searchsorted(edges, slots) % 2 == 0]
    t_ps = slots * PERIOD_PS + rng.exponential(400.0, slots.size) + rng.normal(0, 60, slots.size) + 5_000
    channel = rng.integers(1, 3, slots.size)
    sync = np.arange(0, pulses, 1000) * PERIOD_PS
    times, channels = np.concatenate([t_ps, sync]), np.concatenate([channel, np.full(sync.size, 7)])
    order = np.argsort(times)
    return write_qutag(path / "emitter.qutag", np.rint(times[order]).astype(np.int64), channels[order])


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    return emitter(tmp_path_factory.mktemp("emitter"))


def answered(capsys, *words):
    assert run(["characterise", *map(str, words), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_an_emitter_is_described_in_numbers_words_and_a_picture(recording, tmp_path, capsys):
    words = [recording, "--detectors", "1,2", "--clock-hz", "80e6"]
    found = answered(capsys, *words, "--picture", tmp_path / "g2.png")

    assert found["clock_hz"] == pytest.approx(80e6, abs=0.05)
    assert found["g2_zero"] == 0.0
    assert found["blinking"]["on_fraction"] == pytest.approx(0.4, abs=0.03)
    assert found["blinking"]["times_ns"]["bright"] == pytest.approx(2000 * PERIOD_PS * 1e-3, rel=0.15)
    assert found["blinking"]["times_ns"]["dark"] == pytest.approx(3000 * PERIOD_PS * 1e-3, rel=0.15)
    assert found["lifetime_ps"] == pytest.approx(400.0, abs=5 * found["lifetime_uncertainty_ps"])
    assert (tmp_path / "g2.png").read_bytes().startswith(b"\x89PNG")
    assert run(["characterise", *map(str, words)]) == 0
    text = capsys.readouterr().out
    assert "against neighbouring peaks" in text
    assert "against far delays" in text
    assert "on average" in text


def test_the_other_kinds_answer_and_draw(recording, tmp_path, capsys):
    (tmp_path / "states.csv").write_text(STATES)
    (tmp_path / "powers.csv").write_text(POWERS)
    clicks = np.cumsum(50_000 + np.random.default_rng(4).exponential(1e6, 50_000)).astype(np.int64)
    np.save(tmp_path / "clicks.npy", clicks)
    picture = ["--picture", tmp_path / "p.png"]

    states = answered(capsys, tmp_path / "states.csv", "--kind", "states", *picture)
    powers = answered(capsys, tmp_path / "powers.csv", "--kind", "saturation", *picture)
    dead = answered(capsys, tmp_path / "clicks.npy", "--kind", "dead-time", "--unit", "ps", *picture)
    decay = answered(
        capsys, recording, "--kind", "lifetime", "--detectors", "2", "--clock-hz", "80e6", "--instrument-ps", "141.3", *picture
    )

    assert states["qber"] == {"HV": pytest.approx(0.015), "DA": pytest.approx(0.004)}
    assert powers["saturated_rate_hz"] == pytest.approx(80_000, rel=0.02)
    assert powers["saturation_power"] == pytest.approx(60, rel=0.03)
    assert powers["power_column"] == "power_uw"
    assert dead["detectors"]["0"]["dead_time_ps"] == pytest.approx(50_000, abs=500)
    assert decay["decays"]["2"]["instrument_fitted"] is False
    assert decay["lifetime_ps"] == pytest.approx(400.0, abs=5 * decay["lifetime_uncertainty_ps"])
    for name, kind in (("states.csv", "states"), ("powers.csv", "saturation")):
        assert run(["characterise", str(tmp_path / name), "--kind", kind]) == 0
    assert "mean fidelity 0.9905" in capsys.readouterr().out


def test_states_from_a_recording_each(tmp_path, capsys):
    rng = np.random.default_rng(5)
    files = []
    for state, right in (("H", 3), ("V", 5)):
        channel = np.where(rng.random(20_000) < 0.98, right, 8 - right)
        files.append(f"{state}={write_qutag(tmp_path / f'{state}.qutag', np.arange(20_000) * 1_000_000, channel)}")

    found = answered(capsys, *files, "--kind", "states", "--channels", "H=3,V=5")

    assert found["qber"]["HV"] == pytest.approx(0.02, abs=0.004)
    assert found["recordings"]["V"]["tags"] == 20_000


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["powers.csv"], "give --unit"),
        (["absent.ptu"], "no such file"),
        (["powers.csv", "states.csv"], "takes one file"),
        (["powers.csv", "--kind", "saturation", "--detectors", "1"], "--detectors is for --kind"),
        (["states.csv", "--kind", "saturation"], "columns power, rate"),
        (["powers.csv", "--kind", "states"], "a column state"),
        (["H=states.csv", "--kind", "states"], "--channels"),
        (["powers.csv", "--kind", "saturation", "--picture", "a.pdf"], "PNG"),
        (["powers.csv", "--detectors", "1,x"], "channel numbers"),
        (["powers.csv", "--instrument", "powers.csv", "--instrument-ps", "5"], "one of them"),
        (["bad.csv", "--kind", "saturation"], "row 3, column rate_hz"),
        (["rubbish.qutag"], "not a quTAG recording"),
        (["steady.npy", "--unit", "ps", "--detectors", "0"], "no pulse rate"),
    ],
)
def test_what_cannot_be_characterised_is_one_line(tmp_path, monkeypatch, capsys, words, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "powers.csv").write_text(POWERS)
    (tmp_path / "bad.csv").write_text("power,rate_hz,seconds\n1,2,3\n2,x,3\n3,3,3\n")
    (tmp_path / "states.csv").write_text(STATES)
    (tmp_path / "rubbish.qutag").write_bytes(np.random.default_rng(6).bytes(5000))
    np.save(tmp_path / "steady.npy", np.cumsum(np.random.default_rng(7).exponential(1e6, 3000)).astype(np.int64))

    assert run(["characterise", *words]) != 0

    printed = capsys.readouterr()
    lines = [line for line in printed.err.splitlines() if line.startswith("qkd: ")]
    assert len(lines) == 1
    assert said in lines[0]
    assert printed.out == ""
