"""One link, its tags as every tagger writes them: the same key as from our own file, and never a wrong one from a file that lies."""

import json

import numpy as np
import pytest

from common.cli.main import run
from common.timetags.hdf5 import read_tags
from tests.integration.test_bad_input import OPTIONS
from tests.support.recordings import shuffled_within, write_qutag
from tests.support.runs import SHORT_HBN_SECONDS
from tests.unit.test_ptu_files import OVERFLOW, T2_WRAP, write_ptu

CHANNELS = ["--channels", "H=0,V=1,R=2,L=3,sync=4"]


@pytest.fixture(scope="module")
def link(tmp_path_factory):
    folder = tmp_path_factory.mktemp("link")
    assert run(["simulate", *OPTIONS, "--seconds", str(SHORT_HBN_SECONDS), "--out", str(folder), "--seed", "1", "--json"]) == 0
    assert distilled(folder, folder / "own", folder / "bob/tags.h5") == 0
    return folder


def distilled(link, out, tags, *more):
    return run(
        [
            "distil",
            *OPTIONS,
            "--alice",
            str(link / "alice/emission.h5"),
            "--bob",
            str(tags),
            "--out",
            str(out),
            "--seed",
            "5",
            *more,
            "--json",
        ]
    )


def written(folder, name, tags):
    """The tags as a file of another format, from its origin on: PTU and text know no negative times."""
    t_ps = tags.t_ps - tags.t_ps[0]
    match name:
        case "qutag":
            late = shuffled_within(t_ps, tags.channel, 50, np.random.default_rng(2))
            return write_qutag(folder / "a.qutag", *late)
        case "npy":
            np.save(folder / "a.npy", np.column_stack([t_ps, tags.channel]))
            return folder / "a.npy"
        case "csv":
            lines = (f"{t * 1e-3:.3f},{c}" for t, c in zip(t_ps.tolist(), tags.channel.tolist(), strict=True))
            (folder / "a.csv").write_text("time (ns),channel\n" + "\n".join(lines) + "\n")
            return folder / "a.csv"
        case _:
            wraps, ticks = np.divmod(t_ps, T2_WRAP)
            records = []
            for tick, channel, jumps in zip(ticks.tolist(), tags.channel.tolist(), np.diff(wraps, prepend=0).tolist(), strict=True):
                records += [OVERFLOW | 1] * jumps
                records.append((1 << 31 | tick) if channel == 4 else (channel << 25 | tick))
            return write_ptu(folder / "a.ptu", records)


@pytest.mark.parametrize("name", ["qutag", "npy", "csv", "ptu"])
def test_every_format_gives_the_key_of_our_own_file(link, tmp_path, name):
    path = written(tmp_path, name, read_tags(link / "bob/tags.h5"))
    channels = ["--channels", CHANNELS[1].replace("sync=4", "sync=64") if name == "ptu" else CHANNELS[1]]
    unit = ["--unit", "ps"] if name == "npy" else []
    divider = ["--sync-divider", str(read_tags(link / "bob/tags.h5").sync_divider)]

    assert distilled(link, tmp_path / "keys", path, *channels, *divider, *unit) == 0

    own, other = (json.loads((folder / "report.json").read_text()) for folder in (link / "own", tmp_path / "keys"))
    assert other["secret_bits"] == own["secret_bits"] > 0
    assert (tmp_path / "keys/bob.key").read_bytes() == (link / "own/bob.key").read_bytes()
    assert other["recording"]["format"] == name.replace("csv", "text")
    assert (other["recording"]["reordered"] > 0) == (name == "qutag")


def assert_no_key(link, tmp_path, path, *more):
    """A report without key that says why, and empty key files at both ends."""
    distilled(link, tmp_path / "keys", path, *more)
    report = json.loads((tmp_path / "keys/report.json").read_text())
    assert report["secret_bits"] == 0
    assert report["failures"]
    assert (tmp_path / "keys/alice.key").read_bytes() == (tmp_path / "keys/bob.key").read_bytes() == b""


def test_a_wrong_unit_makes_no_key(link, tmp_path):
    path = written(tmp_path, "npy", read_tags(link / "bob/tags.h5"))

    assert_no_key(link, tmp_path, path, *CHANNELS, "--unit", "ns")


def test_detectors_in_the_wrong_places_make_no_key(link, tmp_path):
    path = written(tmp_path, "npy", read_tags(link / "bob/tags.h5"))

    assert_no_key(link, tmp_path, path, "--channels", "H=2,V=3,R=0,L=1,sync=4", "--unit", "ps")


@pytest.mark.parametrize(
    ("lie", "said"),
    [
        ("joined", "time runs backwards"),
        ("missing", "has no tag"),
        ("nameless", "does not say which channel is which"),
        ("rubbish", "not a quTAG"),
    ],
)
def test_a_recording_that_lies_is_refused_in_one_line(link, tmp_path, capsys, lie, said):
    tags = read_tags(link / "bob/tags.h5")
    t_ps, channel, more = tags.t_ps, tags.channel, CHANNELS
    if lie == "joined":
        t_ps, channel = np.tile(t_ps, 2), np.tile(channel, 2)
    if lie == "missing":
        t_ps, channel = t_ps[channel != 1], channel[channel != 1]
    if lie == "nameless":
        more = []
    path = write_qutag(tmp_path / "a.qutag", t_ps, channel)
    if lie == "rubbish":
        path.write_bytes(np.random.default_rng(1).bytes(100_000))

    assert distilled(link, tmp_path / "keys", path, *more) != 0

    (line,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("qkd: "))
    assert said in line
    assert not (tmp_path / "keys").exists()


def test_an_hour_without_tags_is_counted_and_the_keys_agree(link, tmp_path, capsys):
    tags = read_tags(link / "bob/tags.h5")
    later = tags.t_ps + np.where(np.arange(len(tags)) > len(tags) // 2, 3_600_000_000_000_000, 0)
    path = write_qutag(tmp_path / "a.qutag", later, tags.channel)

    status = distilled(link, tmp_path / "keys", path, *CHANNELS)

    assert status == 0
    report = json.loads((tmp_path / "keys/report.json").read_text())
    assert report["recording"]["gaps"] == 1
    assert report["recording"]["longest_gap_s"] > 3600
    assert (tmp_path / "keys/alice.key").read_bytes() == (tmp_path / "keys/bob.key").read_bytes()
    assert "1 gaps of a second or more" in capsys.readouterr().err
