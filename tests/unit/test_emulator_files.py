"""An emulated run on disk."""

import numpy as np
import pytest

from common.emulator.files import write_run
from common.emulator.link import emulate, emulate_stretches
from common.errors import ConfigurationError
from common.profiles.link import load_profile
from common.timetags.emission_file import read_emission
from common.timetags.hdf5 import read_tags


@pytest.mark.parametrize(
    ("link", "seconds", "source"), [("niedersachsen", 0.5, "packed"), ("niedersachsen", 1.0, "expanded"), ("hbn", 20.0, "packed")]
)
def test_a_run_is_read_back_as_it_was_emulated(tmp_path, link, seconds, source):
    profile = load_profile(link)
    run = write_run(tmp_path / "run", emulate_stretches(profile, seconds, seed=1))
    whole = emulate(profile, seconds, seed=1)
    record, tags = read_emission(run.emission_path), read_tags(run.tags_path)
    header = whole.emission.header

    assert run.count_tags == len(tags) == len(whole.tags)
    assert np.array_equal(tags.t_ps, whole.tags.t_ps)
    assert np.array_equal(tags.channel, whole.tags.channel)
    assert (tags.channels, tags.sync_divider) == (whole.tags.channels, profile.receiver.sync_divider)
    assert record.source == source
    assert record.header == header
    assert np.array_equal(record.window(header.end_slot - 999, 999), whole.emission.window(header.end_slot - 999, 999))


def test_alices_and_bobs_folders_hold_nothing_of_each_other(tmp_path):
    write_run(tmp_path, [emulate(load_profile("niedersachsen"), 1.0, seed=2)])

    assert sorted(path.name for path in (tmp_path / "alice").iterdir()) == ["emission.h5", "emission.key"]
    assert sorted(path.name for path in (tmp_path / "bob").iterdir()) == ["tags.h5"]
    assert (tmp_path / "alice").stat().st_mode & 0o777 == 0o700


def test_a_run_of_nothing_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="nothing"):
        write_run(tmp_path, [])
