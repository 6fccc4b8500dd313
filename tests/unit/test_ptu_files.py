"""PicoQuant recordings: real ones, and ones written here record by record, whole and in pieces."""

import struct

import numpy as np
import ptufile
import pytest

from common.errors import StreamError
from common.timetags import ptu
from common.timetags.reading import ReadingOptions
from common.timetags.recording import read_recording

OVERFLOW = (1 << 31) | (63 << 25)
SYNC = 1 << 31
GENERIC_T2, GENERIC_T3, HYDRAHARP_T2, PICOHARP_T2 = 0x00010207, 0x00010307, 0x00010204, 0x00010203
T2_WRAP = 1 << 25


def write_ptu(path, records, *, record_type=GENERIC_T2, mode=2, count=None, **tags):
    """A PTU file from the format's description, with numpy and struct alone."""
    numbers = {"Measurement_Mode": mode, "TTResultFormat_TTTRRecType": record_type, "TTResultFormat_BitsPerRecord": 32}
    numbers |= {"TTResult_NumberOfRecords": len(records) if count is None else count, "Measurement_SubMode": 0}
    values = numbers | {"MeasDesc_GlobalResolution": 1e-12, "MeasDesc_Resolution": 1e-12} | tags

    def tag(name, kind, value):
        return struct.pack("<32siI", name.encode(), -1, kind) + value

    head = b"PQTTTR\0\0" + b"1.0.00\0\0"
    for name, value in values.items():
        whole = isinstance(value, int)
        head += tag(name, 0x10000008 if whole else 0x20000008, struct.pack("<q" if whole else "<d", value))
    head += tag("Header_End", 0xFFFF0008, bytes(8))
    path.write_bytes(head + np.asarray(records, np.uint32).astype("<u4").tobytes())
    return path


def t2(channel, ticks):
    return (channel << 25) | ticks


def t3(channel, dtime, sync):
    return (channel << 25) | (dtime << 10) | sync


def present(recordings, name):
    path = recordings / name
    if not path.is_file():
        pytest.skip(f"{path.name} is not in the folder of recordings")
    return path


def test_a_real_recording_of_a_single_emitter_is_read(recordings):
    path = present(recordings, "200204_HH400_T2_320MHz_HBT.timeres")

    tags, reading = read_recording(path, ReadingOptions(channels={"transmitted": 0, "reflected": 1}))

    assert len(tags) == 384_019
    assert np.bincount(tags.channel).tolist() == [159_298, 224_721]
    assert tags.t_ps[0] == 8_584_904
    assert tags.t_ps[-1] == 999_986_166_686
    assert tags.channels == {"transmitted": 0, "reflected": 1}
    assert reading.sentences() == []


def test_channels_are_named_by_number_where_nobody_names_them(recordings):
    tags, reading = read_recording(present(recordings, "v30_t2.ptu"))

    assert tags.channels == {"0": 0}
    assert reading.channels_seen == [0]
    assert int(np.diff(tags.t_ps).min()) > 80_000, "the detector's dead time is 81 ns"


def test_pieces_carry_the_overflows_on(recordings, monkeypatch):
    path = present(recordings, "v30_t2.ptu")
    whole, _ = read_recording(path)
    monkeypatch.setattr(ptu, "CHUNK_RECORDS", 1009)

    pieces, _ = read_recording(path)

    assert np.array_equal(whole.t_ps, pieces.t_ps)
    with ptufile.PtuFile(path) as file:
        decoded = file.decode_records()
    assert np.array_equal(pieces.t_ps, decoded["time"][decoded["channel"] >= 0].astype(np.int64))


@pytest.mark.parametrize("chunk", [1, 2, 5, 1000])
@pytest.mark.parametrize(
    ("record_type", "overflow", "wrap"),
    [(GENERIC_T2, OVERFLOW | 1, T2_WRAP), (HYDRAHARP_T2, OVERFLOW, 33_552_000), (PICOHARP_T2, 15 << 28, 210_698_240)],
)
def test_every_layout_of_records_counts_on_through_pieces(tmp_path, monkeypatch, chunk, record_type, overflow, wrap):
    one = 1 << (28 if record_type == PICOHARP_T2 else 25)
    path = write_ptu(tmp_path / "a.ptu", [100, one | 200, overflow, 300, overflow, overflow, one | 400], record_type=record_type)
    monkeypatch.setattr(ptu, "CHUNK_RECORDS", chunk)

    tags, reading = read_recording(path)

    assert tags.t_ps.tolist() == [100, 200, wrap + 300, 3 * wrap + 400]
    assert tags.channel.tolist() == [0, 1, 0, 1]
    assert reading.count_other_records == 3


def test_sync_pulses_are_not_taken_for_the_first_detector(tmp_path):
    path = write_ptu(tmp_path / "sync.ptu", [t2(0, 10), SYNC | 20, t2(1, 30), SYNC | 1020], TTResult_SyncRate=1_000_000_000)

    tags, reading = read_recording(path, ReadingOptions(channels={"H": 0, "V": 1, "sync": ptu.SYNC_NUMBER}))

    assert tags.times_of("sync").tolist() == [20, 1020]
    assert tags.times_of("H").tolist() == [10]
    assert tags.sync_divider == 1
    assert reading.channels_seen == [0, 1, 64]


def test_a_header_that_lies_of_the_sync_rate_is_noticed(tmp_path):
    records = [SYNC | ticks for ticks in range(0, 20_000_000, 10_000)]
    honest = write_ptu(tmp_path / "honest.ptu", records, TTResult_SyncRate=100_000_000)
    divided = write_ptu(tmp_path / "divided.ptu", records, TTResult_SyncRate=800_000_000, HWSync_Divider=8)
    lying = write_ptu(tmp_path / "lying.ptu", records, TTResult_SyncRate=76_000_000)

    assert read_recording(honest)[1].notes == []
    assert read_recording(divided)[1].notes == []
    (note,) = read_recording(lying)[1].notes
    assert "7.6e+07" in note


def t3_file(path, rate_hz, **tags):
    records = []
    for pulse in range(0, 3000, 7):
        records += [(1 << 31) | (63 << 25) | 1] * (pulse // 1024 - max(0, pulse - 7) // 1024)
        records.append(t3(pulse % 2, 40 + pulse % 5, pulse % 1024))
    resolution = {"MeasDesc_GlobalResolution": 1.0 / rate_hz, "MeasDesc_Resolution": 16e-12, "TTResult_SyncRate": rate_hz}
    return write_ptu(path, records, record_type=GENERIC_T3, mode=3, **(resolution | tags))


@pytest.mark.parametrize("chunk", [3, 1000])
def test_t3_gives_times_from_pulse_and_delay(tmp_path, monkeypatch, chunk):
    monkeypatch.setattr(ptu, "CHUNK_RECORDS", chunk)

    tags, reading = read_recording(t3_file(tmp_path / "t3.ptu", 76_130_000))

    pulses = np.arange(0, 3000, 7)
    assert tags.t_ps.tolist() == [round(int(pulse) * 1e12 / 76_130_000 + 16 * (40 + int(pulse) % 5)) for pulse in pulses]
    assert tags.channel.tolist() == (pulses % 2).tolist()
    assert reading.notes == []


def test_t3_with_a_rate_that_the_delays_or_the_duration_contradict_is_noticed(tmp_path):
    _, too_fast = read_recording(t3_file(tmp_path / "fast.ptu", 2_000_000_000))
    _, off = read_recording(t3_file(tmp_path / "off.ptu", 1_000_000, TTResult_StopAfter=4))
    _, right = read_recording(t3_file(tmp_path / "right.ptu", 1_000_000, TTResult_StopAfter=3))

    assert "later than its period" in too_fast.notes[0]
    assert "749000 Hz" in off.notes[0]
    assert right.notes == []


def test_t3_without_a_sync_rate_is_refused(tmp_path):
    with pytest.raises(StreamError, match="states no sync rate"):
        read_recording(t3_file(tmp_path / "none.ptu", 1_000_000, TTResult_SyncRate=0, MeasDesc_GlobalResolution=0.0))


def test_a_recording_that_was_cut_off_is_read_as_far_as_it_goes(tmp_path):
    whole = write_ptu(tmp_path / "cut.ptu", [t2(0, 10), t2(1, 20), t2(0, 30)])
    whole.write_bytes(whole.read_bytes()[:-6])
    crashed = write_ptu(tmp_path / "crashed.ptu", [t2(0, 10), t2(1, 20)], count=0)

    tags, reading = read_recording(whole)

    assert tags.t_ps.tolist() == [10]
    assert (reading.count_missing_records, reading.count_tail_bytes) == (2, 2)
    assert any("cut off" in sentence for sentence in reading.sentences())
    assert read_recording(crashed)[1].notes[0].startswith("the header states no number of records")


def test_a_resolution_of_a_fraction_of_a_picosecond_is_refused(tmp_path):
    with pytest.raises(StreamError, match="whole number of picoseconds"):
        read_recording(write_ptu(tmp_path / "fine.ptu", [t2(0, 1)], MeasDesc_GlobalResolution=2.5e-13))


def test_what_is_not_a_recording_is_refused(tmp_path):
    with pytest.raises(StreamError, match="no such recording"):
        read_recording(tmp_path / "absent.ptu")
    (tmp_path / "text.ptu").write_text("time,channel")
    with pytest.raises(StreamError, match="neither its first bytes"):
        read_recording(tmp_path / "text.ptu")
    (tmp_path / "head.ptu").write_bytes(b"PQTTTR\0\0" + bytes(100))
    with pytest.raises(StreamError, match="not a readable PTU"):
        read_recording(tmp_path / "head.ptu")
    (tmp_path / "empty.ptu").write_bytes(b"")
    with pytest.raises(StreamError, match="the file is empty"):
        read_recording(tmp_path / "empty.ptu")
