"""Recordings of every format: what is read, what is put right and counted, and what is refused in one line."""

import sys
import types
from fractions import Fraction

import numpy as np
import pytest

from common.errors import ConfigurationError, StreamError
from common.timetags import raw_records, tables
from common.timetags.hdf5 import write_tags
from common.timetags.reading import Reading, ReadingOptions, parse_unit, to_picoseconds
from common.timetags.recording import Recording, read_recording
from common.timetags.tags import TimeTags
from tests.support.recordings import event_words, shuffled_within, write_events, write_qutag
from tests.unit.test_tag_files import foreign

HOUR_PS = 3_600_000_000_000_000
PS, NS = (ReadingOptions(unit_ps=parse_unit(unit)) for unit in ("ps", "ns"))


def random_tags(count=5000, seed=1):
    rng = np.random.default_rng(seed)
    return np.cumsum(rng.integers(1, 100_000, count)).astype(np.int64), rng.integers(0, 4, count).astype(np.uint8)


def assert_tags(read, t_ps, channel):
    assert read.t_ps.tolist() == list(t_ps)
    assert read.channel.tolist() == list(channel)


# ------------------------------------------------------------------------------------------------------------ quTAG


@pytest.mark.parametrize("chunk", [7, 1000, 1 << 18])
def test_a_qutag_recording_is_put_in_order(tmp_path, monkeypatch, chunk):
    monkeypatch.setattr(raw_records, "CHUNK_RECORDS", chunk)
    t_ps, channel = random_tags()
    late_ps, late_channel = shuffled_within(t_ps, channel, 20, np.random.default_rng(2))

    tags, reading = read_recording(write_qutag(tmp_path / "a.qutag", late_ps, late_channel))

    assert_tags(tags, t_ps, channel)
    assert reading.count_reordered == int(np.count_nonzero(late_ps < np.maximum.accumulate(late_ps)))
    assert reading.count_tags == 5000


def test_a_tail_that_is_cut_off_is_left_out_and_counted(tmp_path):
    path = write_qutag(tmp_path / "a.qutag", [1, 2, 3], [0, 1, 0])
    path.write_bytes(path.read_bytes()[:-4])

    tags, reading = read_recording(path)

    assert_tags(tags, [1, 2], [0, 1])
    assert reading.count_tail_bytes == 6
    assert "cut off" in reading.sentences()[0]


def test_rubbish_with_the_ending_of_a_recording_is_refused(tmp_path):
    for seed, name in enumerate(("a.qutag", "a.ts", "a.csv", "a.npy", "a.h5", "a.a0")):
        (tmp_path / name).write_bytes(np.random.default_rng(seed).integers(0, 256, 4000).astype(np.uint8).tobytes())

        with pytest.raises(StreamError, match=r"a\."):
            read_recording(tmp_path / name, NS if name == "a.csv" else None)


# -------------------------------------------------------------------------------------------------------- S-Fifteen


@pytest.mark.parametrize("chunk", [3, 1 << 18])
@pytest.mark.parametrize("layout", ["a0", "a0x", "a1", "a1x", "a2"])
def test_every_layout_of_events_gives_the_same_tags(tmp_path, monkeypatch, layout, chunk):
    monkeypatch.setattr(raw_records, "CHUNK_RECORDS", chunk)
    ticks = np.cumsum(np.random.default_rng(3).integers(1, 10_000_000, 200)).tolist()
    detectors = [1 << (number % 4) for number in range(200)]
    detectors[10] = 0b1001
    path = write_events(tmp_path / "events.ts", event_words(ticks, detectors, filler=(20, 21)), layout)

    tags, reading = read_recording(path)

    expected = [
        (tick, bit)
        for number, (tick, mask) in enumerate(zip(ticks, detectors, strict=True))
        for bit in range(4)
        if mask >> bit & 1 and number not in {20, 21}
    ]
    assert_tags(tags, [round(Fraction(tick * 125, 32) + Fraction(1, 1000)) for tick, _ in expected], [bit for _, bit in expected])
    assert reading.count_other_records == 2


def test_a_counter_that_starts_anew_is_counted_on(tmp_path):
    span = 1 << 54
    ticks = [span - 3_000, span - 2_000, span + 5_000, span - 1_000, span + 6_000, 2 * span - 10, 2 * span + 32]
    ticks[5:5] = [span + span // 3, span + 2 * span // 3]  # no step may be half the range

    tags, reading = read_recording(write_events(tmp_path / "a.a1", event_words(ticks, [1] * 9), "a1"))

    assert np.diff(tags.t_ps).tolist() == np.diff(sorted(round(Fraction(tick * 125, 32)) for tick in ticks)).tolist()
    assert reading.count_rollovers == 2
    assert reading.count_reordered == 1


def test_an_event_cut_off_is_counted(tmp_path):
    words = event_words([100_000, 200_000, 300_000], [1, 2, 4])
    binary, text = write_events(tmp_path / "a.a1", words, "a1"), write_events(tmp_path / "a.a2", words, "a2")
    binary.write_bytes(binary.read_bytes()[:-3])
    text.write_bytes(text.read_bytes()[:-5])

    assert read_recording(binary)[1].count_tail_bytes == 5
    assert read_recording(text)[1].count_tail_bytes == 12
    assert read_recording(text)[1].count_tags == 2


# ------------------------------------------------------------------------------------------------------------- text


@pytest.mark.parametrize("chunk", [16, 1 << 22])
@pytest.mark.parametrize("separator", [",", ";", "\t", " ", ", "])
def test_text_is_read_whatever_parts_its_columns(tmp_path, monkeypatch, separator, chunk):
    monkeypatch.setattr(tables, "CHUNK_BYTES", chunk)
    t_ps, channel = random_tags(300)
    lines = [f"{t}{separator}{c}" for t, c in zip(t_ps, channel, strict=True)]
    (tmp_path / "a.csv").write_text("# a remark\n\n" + "\r\n".join(lines) + "\n")

    assert_tags(read_recording(tmp_path / "a.csv", PS)[0], t_ps, channel)


def test_decimals_lose_nothing(tmp_path):
    (tmp_path / "a.txt").write_text("time (s),channel\n123456.000000000001,3\n123456.000000000002,3\n1.5e5,0\n")

    tags, _ = read_recording(tmp_path / "a.txt")

    assert_tags(tags, [123_456_000_000_000_001, 123_456_000_000_000_002, 150_000_000_000_000_000], [3, 3, 0])


@pytest.mark.parametrize(("head", "scale"), [("time_ps", 1), ("t (ns)", 1000), ("timestamp/us", 10**6), ("ms", 10**9)])
def test_the_head_of_a_column_may_state_the_unit(tmp_path, head, scale):
    (tmp_path / "a.csv").write_text(f"{head},channel\n1,0\n2,1\n")

    assert_tags(read_recording(tmp_path / "a.csv")[0], [scale, 2 * scale], [0, 1])


def test_a_unit_that_nobody_states_or_two_that_differ_are_refused(tmp_path):
    (tmp_path / "a.csv").write_text("1,0\n")
    (tmp_path / "b.csv").write_text("time_ns,channel\n1,0\n")
    np.save(tmp_path / "c.npy", np.array([1, 2]))

    for name in ("a.csv", "c.npy"):
        with pytest.raises(StreamError, match="give --unit"):
            read_recording(tmp_path / name)
    with pytest.raises(StreamError, match="contradicts --unit"):
        read_recording(tmp_path / "b.csv", PS)
    with pytest.raises(ConfigurationError, match="leave --unit out"):
        read_recording(write_events(tmp_path / "d.ts", event_words([1], [1]), "a1"), NS)


@pytest.mark.parametrize("line", ["5,300", "5,-1", "5,1,2", "five,1", "5;x", "1e40,0", "nan,0", "5," + "9" * 5000])
def test_a_line_that_is_no_tag_is_named(tmp_path, line):
    (tmp_path / "a.csv").write_text(f"1,0\n2,0\n{line}\n9,0\n")

    with pytest.raises(StreamError, match="line 3"):
        read_recording(tmp_path / "a.csv", PS)


def test_a_last_line_without_an_end_counts_as_cut_off(tmp_path):
    (tmp_path / "a.csv").write_text("1,0\n2,1\n3,")
    (tmp_path / "b.csv").write_text("1,0\n2,1\n3,1")

    tags, reading = read_recording(tmp_path / "a.csv", PS)

    assert (len(tags), reading.count_tail_bytes) == (3, 0)  # a time alone is a tag of channel 0
    assert_tags(read_recording(tmp_path / "b.csv", PS)[0], [1, 2, 3], [0, 1, 1])


# -------------------------------------------------------------------------------------------------------------- npy


@pytest.mark.parametrize("chunk", [3, 1 << 18])
def test_arrays_of_every_shape_are_read(tmp_path, monkeypatch, chunk):
    monkeypatch.setattr(tables, "CHUNK_ROWS", chunk)
    t_ps, channel = random_tags(100)
    named = np.empty(100, [("time", "<u8"), ("channel", "u1")])
    named["time"], named["channel"] = t_ps, channel
    columns = np.column_stack([t_ps, channel])
    for number, array in enumerate((named, columns, np.asfortranarray(columns), columns.astype(float), columns.astype(">i8"))):
        np.save(tmp_path / f"{number}.npy", array)
        assert_tags(read_recording(tmp_path / f"{number}.npy", PS)[0], t_ps, channel)
    np.save(tmp_path / "alone.npy", t_ps)

    assert_tags(read_recording(tmp_path / "alone.npy", NS)[0], t_ps * 1000, np.zeros(100))


def test_seconds_as_floating_point_numbers_are_said_to_be_coarse(tmp_path):
    np.save(tmp_path / "a.npy", np.array([1.0, 3600.0, 36_000.5]))

    _, reading = read_recording(tmp_path / "a.npy", ReadingOptions(unit_ps=parse_unit("s")))

    assert "7.28 ps apart" in reading.notes[0]


@pytest.mark.parametrize(
    "array",
    [np.zeros((2, 3)), np.array(["a", "b"]), np.array([[1, 300]]), np.array([[1, 0.5]]), np.array([np.nan, 1.0]), np.zeros((2, 2, 2))],
)
def test_arrays_that_are_no_tags_are_refused(tmp_path, array):
    np.save(tmp_path / "a.npy", array)

    with pytest.raises(StreamError, match=r"a\.npy"):
        read_recording(tmp_path / "a.npy", PS)


def test_an_array_of_objects_is_not_unpickled(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{}, 1], object), allow_pickle=True)

    with pytest.raises(StreamError, match="object"):
        read_recording(tmp_path / "a.npy", PS)


def test_an_array_that_is_cut_off_is_read_as_far_as_it_goes(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(10, 20))
    content = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(content[:-20])

    tags, reading = read_recording(tmp_path / "a.npy", PS)

    assert tags.t_ps.tolist() == list(range(10, 17))
    assert reading.count_missing_records == 3


# ------------------------------------------------------------------------------------------------------------ ttbin


class Vendor(types.ModuleType):
    """Stands for the vendor's library: the calls its manual names."""

    def __init__(self, channels):
        super().__init__("TimeTagger")
        batch = types.SimpleNamespace(
            getTimestamps=lambda: np.array([10, 20, 30]),
            getChannels=lambda: np.array(channels),
            getEventTypes=lambda: np.array([0, 1, 0]),
        )
        left = [batch]
        self.FileReader = lambda _name: types.SimpleNamespace(hasData=lambda: bool(left), getData=lambda _count: left.pop())


def test_a_ttbin_file_goes_through_the_vendors_library(tmp_path, monkeypatch):
    (tmp_path / "a.ttbin").write_bytes(b"SITT")
    monkeypatch.setitem(sys.modules, "TimeTagger", Vendor([1, 0, 2]))

    tags, reading = read_recording(tmp_path / "a.ttbin")

    assert_tags(tags, [10, 30], [1, 2])
    assert reading.count_other_records == 1
    assert "missed" in reading.notes[0]
    monkeypatch.setitem(sys.modules, "TimeTagger", Vendor([-1, 0, 2]))
    with pytest.raises(StreamError, match="falling edge"):
        read_recording(tmp_path / "a.ttbin")


def test_without_the_vendors_library_the_message_says_how_to_export(tmp_path, monkeypatch):
    for name in ("Swabian", "Swabian.TimeTagger", "TimeTagger"):
        monkeypatch.setitem(sys.modules, name, None)
    (tmp_path / "a.ttbin").write_bytes(b"anything")

    with pytest.raises(StreamError, match="column_stack"):
        read_recording(tmp_path / "a.ttbin")


# ----------------------------------------------------------------------------------------------------- what they share


def test_content_goes_before_endings_and_endings_before_guesses(tmp_path):
    np.save(tmp_path / "a.npy", np.array([1, 2]))
    (tmp_path / "a.npy").rename(tmp_path / "a.csv")
    (tmp_path / "a.dat").write_text("1 0\n2 1\n")

    assert read_recording(tmp_path / "a.csv", PS)[1].format_name == "npy"
    with pytest.raises(ConfigurationError, match="leave --format out"):
        read_recording(tmp_path / "a.csv", ReadingOptions(format_name="text", unit_ps=Fraction(1)))
    with pytest.raises(StreamError, match="give --format"):
        read_recording(tmp_path / "a.dat", PS)
    assert len(read_recording(tmp_path / "a.dat", ReadingOptions(format_name="text", unit_ps=Fraction(1)))[0]) == 2
    with pytest.raises(ConfigurationError, match="'word' is unknown"):
        read_recording(tmp_path / "a.dat", ReadingOptions(format_name="word"))


def test_a_gap_of_an_hour_is_counted_and_nothing_is_lost(tmp_path):
    path = write_qutag(tmp_path / "a.qutag", [5, HOUR_PS + 7, HOUR_PS + 9], [1, 2, 1])

    tags, reading = read_recording(path)

    assert len(tags) == 3
    assert (reading.count_gaps, reading.longest_gap_ps) == (1, HOUR_PS + 2)
    assert reading.sentences() == ["1 gaps of a second or more, the longest 3600 s"]


def test_time_that_runs_backwards_further_than_a_buffer_is_refused(tmp_path):
    first, _ = random_tags(100_000)
    path = write_qutag(tmp_path / "joined.qutag", np.concatenate([first, first]), np.ones(200_000))

    with pytest.raises(StreamError, match="time runs backwards"):
        read_recording(path)


def test_tags_written_twice_are_left_out_but_coincidences_stay(tmp_path):
    path = write_qutag(tmp_path / "a.qutag", [5, 5, 5, 9, 9, 9], [1, 2, 1, 2, 2, 2])

    tags, reading = read_recording(path)

    assert_tags(tags, [5, 5, 9], [1, 2, 2])
    assert reading.count_duplicates == 3


def test_a_channel_that_never_clicked_is_named(tmp_path):
    path = write_qutag(tmp_path / "a.qutag", [5, 6], [1, 2])

    with pytest.raises(StreamError, match=r"channel 3, said to be V, has no tag; there are tags of channels 1, 2"):
        read_recording(path, ReadingOptions(channels={"H": 1, "V": 3}))


def test_where_names_are_needed_they_are_asked_for_before_reading(tmp_path):
    path = write_qutag(tmp_path / "a.qutag", [5, 6], [1, 2])

    with pytest.raises(StreamError, match="give the channels, for example --channels"):
        Recording(path, ReadingOptions(needs_names=True))


def test_native_files_state_their_channels_and_others_go_by_number(tmp_path):
    t_ps, channel = np.array([-5, 7], np.int64), np.array([0, 4], np.uint8)
    write_tags(tmp_path / "own.h5", TimeTags(t_ps, channel, {"H": 0, "sync": 4}, 16))
    foreign(tmp_path / "other.h5", np.array([1, 2]), np.array([3, 9], np.uint8))

    own, reading = read_recording(tmp_path / "own.h5")
    other, _ = read_recording(tmp_path / "other.h5")

    assert (own.channels, own.sync_divider, reading.format_name) == ({"H": 0, "sync": 4}, 16, "hdf5")
    assert other.channels == {"3": 3, "9": 9}
    with pytest.raises(StreamError, match="give the channels"):
        read_recording(tmp_path / "other.h5", ReadingOptions(needs_names=True))


def test_an_empty_recording_is_no_recording(tmp_path):
    (tmp_path / "a.csv").write_text("# nothing was seen\n")

    with pytest.raises(StreamError, match="holds no tags"):
        read_recording(tmp_path / "a.csv", PS)


@pytest.mark.parametrize(
    ("text", "unit"), [("ps", 1), ("ns", 1000), ("80.955ps", Fraction("80.955")), ("0.5 us", 500_000), ("2 µs", 2_000_000)]
)
def test_units_are_read_exactly(text, unit):
    assert parse_unit(text) == unit


@pytest.mark.parametrize("text", ["", "hour", "-1ps", "0ps", "ps ps", "1e3ps", "2s"])
def test_what_is_no_unit_is_refused(text):
    with pytest.raises(ConfigurationError, match="unit"):
        parse_unit(text)


def test_ticks_of_a_fraction_of_a_picosecond_round_to_the_nearest():
    ticks = np.array([0, 1, 2, 1_000_000, -3, 10**15])

    assert to_picoseconds(ticks, Fraction("80.955")).tolist() == [0, 81, 162, 80_955_000, -243, 80_955_000_000_000_000]


def test_counts_are_reported_by_channel():
    reading = Reading("text")
    reading.take(np.array([0, 10], np.int64), np.array([3, 3], np.uint8))
    reading.take(np.array([10**12], np.int64), np.array([7], np.uint8))

    report = reading.to_json()

    assert report["tags_by_channel"] == {"3": 2, "7": 1}
    assert report["seconds"] == 1.0
    assert report["gaps"] == 0
