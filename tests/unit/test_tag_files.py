"""Time tags: the value, our HDF5 files, somebody else's, and files that lie."""

import json

import h5py
import numpy as np
import pytest

from common.errors import StreamError
from common.timetags.hdf5 import TagFile, TagWriter, read_tags, write_tags
from common.timetags.tags import TimeTags

CHANNELS = {"H": 0, "V": 1, "D": 2, "A": 3, "sync": 4}
TIMES = np.array([-5_000, 0, 0, 12_345_678_901_234, 12_345_678_901_235], np.int64)
NUMBERS = np.array([4, 0, 3, 2, 9], np.uint8)
TAGS = TimeTags(TIMES.copy(), NUMBERS.copy(), CHANNELS, 16)


def foreign(path, times=TIMES, numbers=NUMBERS, unit=1e-12, attribute=None):
    """A Photon-HDF5 file written with h5py and numpy alone."""
    with h5py.File(path, "w") as file:
        for name, values in (("timestamps", times), ("detectors", numbers)):
            if values is not None:
                file.create_dataset(f"photon_data/{name}", data=values)
        if unit is not None:
            file["photon_data/timestamps_specs/timestamps_unit"] = unit
        if attribute is not None:
            file.attrs["qkdlink"] = attribute if isinstance(attribute, str) else json.dumps(attribute)
    return path


def same(one, other):
    return np.array_equal(one.t_ps, other.t_ps) and np.array_equal(one.channel, other.channel)


def test_tags_survive_the_disk(tmp_path):
    write_tags(tmp_path / "tags.h5", TAGS)

    tags = read_tags(tmp_path / "tags.h5")

    assert same(tags, TAGS)
    assert (tags.channels, tags.sync_divider) == (CHANNELS, 16)


def test_the_layout_is_that_of_photon_hdf5(tmp_path):
    write_tags(tmp_path / "tags.h5", TAGS)

    with h5py.File(tmp_path / "tags.h5") as file:
        times, numbers = file["photon_data/timestamps"], file["photon_data/detectors"]
        assert (times.dtype, numbers.dtype) == (np.int64, np.uint8)
        assert file["photon_data/timestamps_specs/timestamps_unit"][()] == 1e-12
        assert times.compression == numbers.compression == "gzip"
        assert times.chunks is not None
        assert file["identity/format_name"][()] == b"Photon-HDF5"
        assert file["acquisition_duration"][()] == pytest.approx(12.345678906235)
        assert json.loads(file.attrs["qkdlink"]) == {"version": 1, "channels": CHANNELS, "sync_divider": 16}


def test_tags_are_appended_as_they_come_and_read_stretch_by_stretch(tmp_path):
    rng = np.random.default_rng(1)
    times, numbers = np.sort(rng.integers(-(10**9), 10**12, 5000)), rng.integers(0, 5, 5000, np.uint8)
    with TagWriter(tmp_path / "tags.h5", CHANNELS, 1) as writer:
        for start in range(0, 5000, 700):
            writer.append(times[start : start + 700], numbers[start : start + 700])
        writer.append(times[:0], numbers[:0])

    with TagFile(tmp_path / "tags.h5") as file:
        stretches = list(file.stretches(999))
        assert file.count_tags == 5000

    assert [len(stretch) for stretch in stretches] == [999, 999, 999, 999, 999, 5]
    assert np.array_equal(np.concatenate([stretch.t_ps for stretch in stretches]), times)
    assert np.array_equal(np.concatenate([stretch.channel for stretch in stretches]), numbers)


def test_an_empty_recording_is_a_recording(tmp_path):
    write_tags(tmp_path / "tags.h5", TimeTags(TIMES[:0], NUMBERS[:0], CHANNELS, 1))

    assert len(read_tags(tmp_path / "tags.h5")) == 0
    with TagFile(tmp_path / "tags.h5") as file:
        assert list(file.stretches()) == []


def test_a_foreign_file_is_read_with_the_channels_given(tmp_path):
    path = foreign(tmp_path / "tags.h5")

    with pytest.raises(StreamError, match="--channels"):
        read_tags(path)
    tags = read_tags(path, {"H": 1, "V": 0, "sync": 4})

    assert same(tags, TAGS)
    assert tags.sync_divider == 1
    assert read_tags(path, {"H": 0}).sync_divider == 0
    assert read_tags(path, CHANNELS, 250).sync_divider == 250


def test_channels_given_override_those_of_the_file(tmp_path):
    path = foreign(tmp_path / "tags.h5", attribute={"version": 1, "channels": CHANNELS, "sync_divider": 3})

    tags = read_tags(path, {"H": 3, "sync": 1})

    assert (tags.channels, tags.sync_divider) == ({"H": 3, "sync": 1}, 3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"times": TIMES[::-1]}, "tag 1 at .* sort the recording"),
        ({"times": None}, "photon_data/timestamps"),
        ({"numbers": None}, "photon_data/detectors"),
        ({"numbers": NUMBERS[:3]}, r"uint8\[5\] is needed"),
        ({"times": TIMES.astype(np.float64)}, "int64"),
        ({"times": TIMES.astype(np.uint64)}, "int64"),
        ({"numbers": NUMBERS.astype(np.int64)}, "uint8"),
        ({"times": TIMES.reshape(1, 5)}, "int64"),
        ({"unit": None}, "timestamps_unit is missing"),
        ({"unit": 1e-9}, "convert them to picoseconds"),
        ({"unit": [1e-12, 1e-12]}, "timestamps_unit"),
        ({"attribute": "{"}, "not JSON"),
        ({"attribute": {"version": 9}}, "version 1"),
        ({"attribute": {"version": 1}}, "no channels"),
        ({"attribute": {"version": 1, "channels": {}}}, "no channel has a name"),
        ({"attribute": {"version": 1, "channels": {"H": 256}}}, "0 to 255"),
        ({"attribute": {"version": 1, "channels": {"H": "0"}}}, "0 to 255"),
        ({"attribute": {"version": 1, "channels": {"H": 0, "V": 0}}}, "share"),
        ({"attribute": {"version": 1, "channels": CHANNELS, "sync_divider": 0}}, "sync_divider must be 1"),
        ({"attribute": {"version": 1, "channels": CHANNELS, "sync_divider": 1.5}}, "whole number"),
    ],
)
def test_a_file_that_lies_is_refused(tmp_path, changes, message):
    path = foreign(tmp_path / "tags.h5", **({"attribute": {"version": 1, "channels": CHANNELS}} | changes))

    with pytest.raises(StreamError, match=message):
        read_tags(path)


def test_disorder_between_stretches_is_found(tmp_path):
    times = np.array([1, 2, 3, 0, 5, 6], np.int64)
    path = foreign(tmp_path / "tags.h5", times, np.zeros(6, np.uint8), attribute={"version": 1, "channels": CHANNELS})

    with TagFile(path) as file, pytest.raises(StreamError, match="sort the recording"):
        list(file.stretches(3))


def test_a_damaged_chunk_is_found(tmp_path):
    path = tmp_path / "tags.h5"
    rng = np.random.default_rng(2)
    write_tags(path, TimeTags(np.sort(rng.integers(0, 10**15, 4000)), np.zeros(4000, np.uint8), CHANNELS, 1))
    with h5py.File(path) as file:
        chunk = file["photon_data/timestamps"].id.get_chunk_info(0)
    data = bytearray(path.read_bytes())
    data[chunk.byte_offset + 100 : chunk.byte_offset + 200] = bytes(100)
    path.write_bytes(data)

    with pytest.raises(StreamError, match="damaged"):
        read_tags(path)


def test_a_missing_or_foreign_file_is_refused(tmp_path):
    with pytest.raises(StreamError, match="no such tag file"):
        read_tags(tmp_path / "absent.h5")
    (tmp_path / "tags.h5").write_text("time,channel")
    with pytest.raises(StreamError, match="not an HDF5 file"):
        read_tags(tmp_path / "tags.h5")


def test_the_writer_refuses_tags_out_of_order_or_of_the_wrong_type(tmp_path):
    with TagWriter(tmp_path / "tags.h5", CHANNELS, 1) as writer:
        writer.append(TIMES, NUMBERS)
        with pytest.raises(StreamError, match="sort"):
            writer.append(TIMES, NUMBERS)
        with pytest.raises(StreamError, match="int64"):
            writer.append(TIMES.astype(np.float64), NUMBERS)


def test_tags_are_sorted_on_request_and_ties_keep_their_order():
    tags = TimeTags.from_unsorted(np.array([5, 1, 5, 3], np.int64), np.array([2, 0, 1, 4], np.uint8), CHANNELS, 1)

    assert tags.t_ps.tolist() == [1, 3, 5, 5]
    assert tags.channel.tolist() == [0, 4, 2, 1]
    assert tags.times_of("sync").tolist() == [3]
    assert tags.times_of("R").tolist() == []


def test_tags_are_read_only():
    with pytest.raises(ValueError, match="read-only"):
        TAGS.t_ps[0] = 0
