"""A recording larger than memory: what reading takes does not grow with the file."""

import tracemalloc

import numpy as np
import pytest

from common.timetags import tables
from common.timetags.hdf5 import write_tags
from common.timetags.reading import ReadingOptions, parse_unit
from common.timetags.recording import Recording
from common.timetags.tags import TimeTags
from tests.support.recordings import event_words, write_events, write_qutag
from tests.unit.test_ptu_files import write_ptu

SHORT, LONG = 700_000, 4_200_000
TEXT_SCALE = 10
MOST_GROWTH = 1.3
"""A reading that kept all tags would need six times as much."""


def written(path, name, count):
    t_ps, channel = np.arange(count, dtype=np.int64) * 100, (np.arange(count) % 4).astype(np.uint8)
    match name:
        case "qutag":
            return write_qutag(path / "a.qutag", t_ps, channel)
        case "npy":
            np.save(path / "a.npy", np.column_stack([t_ps, channel]))
            return path / "a.npy"
        case "hdf5":
            write_tags(path / "a.h5", TimeTags(t_ps, channel, {"H": 0}))
            return path / "a.h5"
        case "ptu":
            wraps = np.full(count, (1 << 31) | (63 << 25) | 1)
            wraps[::2] = (channel[::2].astype(np.int64) << 25) | 7
            return write_ptu(path / "a.ptu", wraps)
        case "s-fifteen":
            low = (t_ps.astype(np.uint64) << np.uint64(10)) | (np.uint64(1) << (channel % 4).astype(np.uint64))
            return write_events(path / "a.a1", low, "a1")
        case _:
            text = "\n".join(map("{},1".format, range(count)))
            (path / "a.csv").write_text(text + "\n")
            return path / "a.csv"


def peak_bytes(path, name):
    options = ReadingOptions(unit_ps=parse_unit("ns")) if name in {"csv", "npy"} else None
    tracemalloc.start()
    try:
        count = sum(t_ps.size for t_ps, _ in Recording(path, options).pieces())
        return count, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", ["qutag", "npy", "hdf5", "ptu", "s-fifteen", "csv"])
def test_memory_does_not_grow_with_the_recording(tmp_path, monkeypatch, name):
    monkeypatch.setattr(tables, "CHUNK_BYTES", 1 << 17)  # parsing text is slow where every allocation is traced
    scale = TEXT_SCALE if name == "csv" else 1
    short, short_peak = peak_bytes(written(tmp_path, name, SHORT // scale), name)
    long, long_peak = peak_bytes(written(tmp_path, name, LONG // scale), name)

    assert long == pytest.approx(6 * short, rel=1e-5)
    assert long_peak < MOST_GROWTH * short_peak


def test_words_of_events_are_what_this_file_writes():
    assert event_words([5], [2]).tolist() == [(5 << 10) | 0x300 | 0x20 | 2]
