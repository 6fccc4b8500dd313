"""PicoQuant recordings."""

import numpy as np
import pytest

from common.errors import StreamError
from common.timetags.ptu import read_ptu


def test_a_real_recording_of_a_single_emitter_is_read(recordings):
    path = recordings / "200204_HH400_T2_320MHz_HBT.timeres"
    if not path.is_file():
        pytest.skip(f"{path.name} is not in the folder of recordings")

    tags = read_ptu(path, {"transmitted": 0, "reflected": 1})

    assert len(tags) == 384_019
    assert np.bincount(tags.channel).tolist() == [159_298, 224_721]
    assert tags.t_ps[0] == 8_584_904
    assert tags.t_ps[-1] == 999_986_166_686
    assert tags.channels == {"transmitted": 0, "reflected": 1}


def test_channels_are_named_by_number_where_nobody_names_them(recordings):
    path = recordings / "v30_t2.ptu"
    if not path.is_file():
        pytest.skip(f"{path.name} is not in the folder of recordings")

    tags = read_ptu(path)

    assert tags.channels == {"0": 0}
    assert int(np.diff(tags.t_ps).min()) > 80_000, "the detector's dead time is 81 ns"


def test_what_is_not_a_recording_is_refused(tmp_path):
    with pytest.raises(StreamError, match="no such recording"):
        read_ptu(tmp_path / "absent.ptu")
    (tmp_path / "text.ptu").write_text("time,channel")
    with pytest.raises(StreamError, match="not a readable PTU"):
        read_ptu(tmp_path / "text.ptu")
