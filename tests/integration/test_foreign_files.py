"""Files that somebody else wrote, with h5py and numpy and the documented formats alone, distil as well."""

import json
import math

import h5py
import numpy as np
import pytest

from common.cli.main import run

CLOCK_HZ = 50e6
SECONDS = 0.8
DIVIDER = 500


def written_elsewhere(folder, rng, *, ppm, sync, attribute):
    """Write ``emission.h5`` and ``tags.h5`` of a small link; no code of the project is used."""
    slots = int(CLOCK_HZ * SECONDS)
    first_slot = int(rng.integers(0, 10**9))
    settings = rng.integers(0, 4, slots).astype(np.uint8)
    padded = np.zeros(-(-slots // 4) * 4, np.uint8)
    padded[:slots] = settings
    fours = padded.reshape(-1, 4)
    packed = (fours[:, 0] << 6) | (fours[:, 1] << 4) | (fours[:, 2] << 2) | fours[:, 3]
    with h5py.File(folder / "emission.h5", "w") as file:
        header: dict[str, object] = {
            "version": 1,
            "clock_hz": CLOCK_HZ,
            "first_slot": first_slot,
            "count_slots": slots,
            "bits_per_setting": 2,
        }
        header |= {"settings": ["Z0", "Z1", "X0", "X1"], "probabilities": [0.25] * 4, "source": "packed"}
        file.attrs["qkdlink"] = json.dumps(header)
        file["settings"] = packed

    hit = np.flatnonzero(rng.random(slots) < 0.008)
    basis = rng.integers(0, 2, hit.size)
    outcome = np.where(settings[hit] >> 1 == basis, settings[hit], 2 * basis + rng.integers(0, 2, hit.size))
    outcome ^= (rng.random(hit.size) < 0.01).astype(np.uint8)
    origin = int(rng.integers(-(10**15), 10**15))

    def tagged(slot):
        t_ps = (first_slot + slot) * 1e12 / CLOCK_HZ - first_slot * 1e12 / CLOCK_HZ + rng.normal(0, 50, slot.size) + 4e8
        return np.rint(t_ps * (1 + ppm * 1e-6)).astype(np.int64) + origin

    t_ps, channel = [tagged(hit)], [outcome.astype(np.uint8)]
    if sync:
        marks = np.arange(-first_slot % DIVIDER, slots, DIVIDER)
        marks = marks[rng.random(marks.size) < 0.3]
        spurious = rng.integers(int(t_ps[0][0]), int(t_ps[0][-1]), marks.size // 10)
        t_ps += [tagged(marks), spurious]
        channel += [np.full(marks.size + spurious.size, 4, np.uint8)]
    order = np.argsort(np.concatenate(t_ps), kind="stable")
    with h5py.File(folder / "tags.h5", "w") as file:
        if attribute:
            channels = {"H": 0, "V": 1, "D": 2, "A": 3} | ({"sync": 4} if sync else {})
            file.attrs["qkdlink"] = json.dumps({"version": 1, "channels": channels, "sync_divider": DIVIDER if sync else 1})
        file["photon_data/timestamps"] = np.concatenate(t_ps)[order]
        file["photon_data/detectors"] = np.concatenate(channel)[order]
        file["photon_data/timestamps_specs/timestamps_unit"] = 1e-12


@pytest.mark.parametrize("sync", [True, False], ids=["reference pulses", "photons alone"])
@pytest.mark.parametrize("ppm", [-50.0, 50.0])
def test_recordings_of_another_writer_distil(tmp_path, ppm, sync):
    rng = np.random.default_rng([int(ppm) + 100, sync])
    written_elsewhere(tmp_path, rng, ppm=ppm, sync=sync, attribute=True)
    (tmp_path / "link.toml").write_text(PROFILE, encoding="utf-8")
    files = ["--alice", str(tmp_path / "emission.h5"), "--bob", str(tmp_path / "tags.h5")]

    assert run(["distil", "--link", str(tmp_path / "link.toml"), *files, "--out", str(tmp_path / "keys"), "--json"]) == 0

    report = json.loads((tmp_path / "keys/report.json").read_text())
    assert report["secret_bits"] > 10_000
    assert report["clock"]["offset_ppm"] == pytest.approx(ppm, abs=0.01)
    assert math.fsum(report["ledger"].values()) == report["secret_bits"]
    assert (tmp_path / "keys/alice.key").read_bytes() == (tmp_path / "keys/bob.key").read_bytes()


def test_a_tag_file_without_our_attribute_takes_its_channels_from_the_command(tmp_path):
    written_elsewhere(tmp_path, np.random.default_rng(3), ppm=12.0, sync=True, attribute=False)
    (tmp_path / "link.toml").write_text(PROFILE, encoding="utf-8")
    files = ["--alice", str(tmp_path / "emission.h5"), "--bob", str(tmp_path / "tags.h5"), "--out", str(tmp_path / "keys")]
    channels = ["--channels", "H=0,V=1,D=2,A=3,sync=4", "--sync-divider", str(DIVIDER)]

    assert run(["distil", "--link", str(tmp_path / "link.toml"), *files]) == 2
    assert run(["distil", "--link", str(tmp_path / "link.toml"), *files, *channels]) == 0
    assert json.loads((tmp_path / "keys/report.json").read_text())["secret_bits"] > 10_000


PROFILE = """
title = "A link of somebody else"
protocol = "bb84"
encoding = "polarisation"
[source]
kind = "single-photon"
clock_hz = 50e6
mean_photon_number = 0.1
g2 = 0.01
[channel]
loss_db = 10.0
misalignment = 0.01
[receiver]
efficiency = 0.9
detector_efficiency = 0.9
basis_choice = "passive"
dark_rate_hz = 100.0
[security]
epsilon_secrecy = 1e-10
epsilon_correctness = 1e-15
epsilon_authentication = 1e-15
block_bits = 40_000
frame_pulses = 500_000
[reconciliation]
method = "ldpc"
direction = "direct"
initial_qber = 0.02
"""
