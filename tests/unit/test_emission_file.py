"""``emission.h5``: both forms survive the disk, and a file that lies is turned away."""

import json
import os

import h5py
import numpy as np
import pytest

from common.errors import ConfigurationError, StreamError
from common.timetags import emission_file
from common.timetags.emission_file import read_emission, write_emission
from common.timetags.emission_record import EmissionHeader, EmissionRecord, require_settings

BB84 = ("Z0", "Z1", "X0", "X1")
HEADER = EmissionHeader(228e6, 1000, 997, BB84, (0.25, 0.25, 0.25, 0.25))
EXPANDED = EmissionRecord(HEADER, expander_key=bytes(range(32)))


def attribute(**changes):
    whole = {
        "version": 1,
        "clock_hz": 1e6,
        "first_slot": 7,
        "count_slots": 5,
        "bits_per_setting": 2,
        "settings": list(BB84),
        "probabilities": [0.25] * 4,
        "source": "packed",
    }
    return {name: value for name, value in (whole | changes).items() if value is not None}


def written(path, values, settings=(0b00011011, 0b01000000), **options):
    with h5py.File(path, "w") as file:
        file.attrs["qkdlink"] = json.dumps(values)
        if settings is not None:
            file.create_dataset("settings", data=np.array(settings, np.uint8), **options)
    return path


@pytest.fixture
def expanded_path(tmp_path, monkeypatch):
    monkeypatch.setattr(emission_file, "PACKED_LIMIT_SLOTS", 100)
    write_emission(tmp_path / "emission.h5", EXPANDED)
    return tmp_path / "emission.h5"


def test_a_small_record_is_written_packed_and_mapped_back(tmp_path):
    path = tmp_path / "emission.h5"

    write_emission(path, EXPANDED)
    record = read_emission(path)

    assert record.source == "packed"
    assert isinstance(record.packed, np.memmap)
    assert record.header == HEADER
    assert np.array_equal(record.window(1000, 997), EXPANDED.window(1000, 997))
    assert path.stat().st_mode & 0o077 == 0
    assert not (tmp_path / "emission.key").exists()


def test_a_large_record_is_written_as_a_key_nobody_else_can_read(expanded_path):
    record = read_emission(expanded_path)
    key_path = expanded_path.with_suffix(".key")

    assert record.source == "expanded"
    assert np.array_equal(record.window(1000, 997), EXPANDED.window(1000, 997))
    assert key_path.stat().st_size == 32
    assert key_path.stat().st_mode & 0o777 == 0o600
    with h5py.File(expanded_path) as file:
        assert "settings" not in file


def test_an_older_record_of_the_same_name_is_replaced_with_its_key(expanded_path, monkeypatch):
    monkeypatch.setattr(emission_file, "PACKED_LIMIT_SLOTS", 10_000)
    write_emission(expanded_path, EXPANDED)

    assert read_emission(expanded_path).source == "packed"
    assert not expanded_path.with_suffix(".key").exists()


@pytest.mark.parametrize("options", [{}, {"compression": "gzip"}, {"chunks": (1,)}])
def test_a_record_written_by_somebody_else_is_read_first_slot_in_the_highest_bits(tmp_path, options):
    record = read_emission(written(tmp_path / "emission.h5", attribute(), **options))

    assert record.window(7, 5).tolist() == [0, 1, 2, 3, 1]
    assert record.lookup(np.array([11, 7, 9])).tolist() == [1, 0, 2]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 2}, "version 1"),
        ({"clock_hz": None}, "lacks 'clock_hz'"),
        ({"clock_hz": -1.0}, "clock_hz"),
        ({"clock_hz": "fast"}, "wrong type"),
        ({"count_slots": 500}, "settings must be uint8"),
        ({"count_slots": 0}, "slots"),
        ({"first_slot": 1.5}, "integers"),
        ({"first_slot": 2**63}, "int64"),
        ({"bits_per_setting": 3}, "1, 2, 4 or 8"),
        ({"bits_per_setting": 1}, "do not fit 1 bits"),
        ({"settings": ["Z0", "Z0", "X0", "X1"]}, "twice"),
        ({"settings": [1, 2, 3, 4]}, "strings"),
        ({"settings": 4}, "wrong type"),
        ({"probabilities": [0.5, 0.5]}, "one for each"),
        ({"probabilities": [0.5, 0.5, 0.5, 0.5]}, "sum to 2.0"),
        ({"source": "dreamt"}, "packed or expanded"),
        ({"source": "expanded"}, "expander is None"),
        ({"source": "expanded", "expander": "chacha20-v1"}, "key_file is None"),
        ({"source": "expanded", "expander": "chacha20-v1", "key_file": "../emission.key"}, "plain file name"),
        ({"source": "expanded", "expander": "chacha20-v1", "key_file": "absent.key"}, "cannot be read"),
    ],
)
def test_a_record_that_contradicts_itself_is_refused(tmp_path, changes, message):
    path = written(tmp_path / "emission.h5", attribute(**changes))

    with pytest.raises(StreamError, match=message):
        read_emission(path)


def test_a_key_file_that_others_can_read_is_refused(expanded_path):
    expanded_path.with_suffix(".key").chmod(0o640)

    with pytest.raises(StreamError, match="chmod 600"):
        read_emission(expanded_path)


def test_a_key_file_of_the_wrong_length_is_refused(expanded_path):
    expanded_path.with_suffix(".key").write_bytes(bytes(31))

    with pytest.raises(StreamError, match="32 bytes"):
        read_emission(expanded_path)


@pytest.mark.parametrize("text", ["not json", "[1]", "null"])
def test_an_attribute_that_is_not_an_object_is_refused(tmp_path, text):
    path = tmp_path / "emission.h5"
    with h5py.File(path, "w") as file:
        file.attrs["qkdlink"] = text

    with pytest.raises(StreamError, match="JSON"):
        read_emission(path)


def test_what_is_not_a_record_at_all_is_refused(tmp_path):
    path = tmp_path / "emission.h5"
    with pytest.raises(StreamError, match="no such emission record"):
        read_emission(path)

    path.write_bytes(os.urandom(100))
    with pytest.raises(StreamError, match="not an HDF5 file"):
        read_emission(path)

    with h5py.File(path, "w"):
        pass
    with pytest.raises(StreamError, match="no root attribute"):
        read_emission(path)


@pytest.mark.parametrize("slot", [999, 1997])
@pytest.mark.parametrize("record", [EXPANDED, EXPANDED.as_packed()], ids=["expanded", "packed"])
def test_slots_outside_the_record_are_refused(record, slot):
    with pytest.raises(StreamError, match=f"slot {slot}"):
        record.lookup(np.array([1500, slot]))
    with pytest.raises(StreamError, match="asked for"):
        record.window(slot, 1)


def test_a_record_is_packed_or_expanded_and_not_both():
    packed = EXPANDED.as_packed().packed_part(0, HEADER.packed_bytes)
    for arguments in ({}, {"packed": packed, "expander_key": bytes(32)}, {"packed": packed[1:]}, {"expander_key": bytes(31)}):
        with pytest.raises(StreamError):
            EmissionRecord(HEADER, **arguments)


def test_a_record_does_not_print_its_key():
    assert "expander_key" not in repr(EXPANDED)


def test_a_record_of_another_link_is_refused():
    even = (0.25,) * 4
    require_settings(EXPANDED, BB84, even, 228e6)
    require_settings(EXPANDED, BB84, (0.25 + 5e-10, 0.25 - 5e-10, 0.25, 0.25), 228e6)
    with pytest.raises(ConfigurationError, match="settings"):
        require_settings(EXPANDED, ("Z0", "Z1", "X0"), (0.45, 0.45, 0.1), 228e6)
    with pytest.raises(ConfigurationError, match=r"probability 0\.25\d* of setting X1, the link's profile gives 0\.250000002"):
        require_settings(EXPANDED, BB84, (0.25, 0.25, 0.25 - 5e-10, 0.25 + 2e-9), 228e6)
    with pytest.raises(ConfigurationError, match="clock"):
        require_settings(EXPANDED, BB84, even, 76e6)


@pytest.mark.parametrize(
    ("said_of_them", "refusal"),
    [
        ({}, "lacks 'probabilities'"),
        ({"probabilities": None}, "wrong type"),
        ({"probabilities": []}, "one for each setting"),
        ({"probabilities": [0.25, 0.25, 0.25, float("nan")]}, "one for each setting"),
        ({"probabilities": [0.25, 0.25, 0.25, None]}, "wrong type"),
    ],
    ids=["absent", "null", "empty", "no-number", "null-within"],
)
def test_a_file_that_does_not_say_its_probabilities_is_refused_and_never_taken_to_agree(tmp_path, said_of_them, refusal):
    path = tmp_path / "emission.h5"
    write_emission(path, EXPANDED)
    with h5py.File(path, "r+") as file:
        attribute = json.loads(file.attrs["qkdlink"])
        del attribute["probabilities"]
        file.attrs["qkdlink"] = json.dumps(attribute | said_of_them)
    with pytest.raises(StreamError, match=refusal):
        read_emission(path)
