"""The codec of live batches: what was encoded comes out, however it is cut; anything else is an error of ours and of no other class."""

import json
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import StreamError
from common.timetags.emission_record import EmissionHeader
from common.timetags.live import (
    BATCH_HEADER,
    FLAG_END,
    FLAG_GAP,
    MOST_LINE_BYTES,
    EmissionProgress,
    EmissionStream,
    PackedSettings,
    StreamParser,
    TagBatch,
    TagStream,
    emission_content,
    encode_line,
    encode_progress,
    encode_settings,
    encode_tags,
)

LINE = encode_line({"channels": {"H": 0, "V": 1, "D": 2, "A": 3, "sync": 4}, "sync_divider": 16, "run": "r"})
HEADER = EmissionHeader(1e6, 8, 1 << 40, ("Z0", "Z1", "X0", "X1"), (0.25, 0.25, 0.25, 0.25), 2)
KEY = bytes(range(32))

times = st.lists(st.integers(-(2**62), 2**62), max_size=20).map(sorted)
cuts = st.lists(st.integers(1, 40), min_size=1, max_size=10)


def tags_of(values):
    return np.array(values, np.int64), (np.arange(len(values)) % 5).astype(np.uint8)


def encoded(values, sequence):
    t_ps, channel = tags_of(values)
    return encode_tags(t_ps, channel, sequence)


def parsed(data, sizes, kind="tags"):
    parser, items, begin, number = StreamParser(kind), [], 0, 0
    while begin < len(data):
        items += parser.feed(data[begin : begin + sizes[number % len(sizes)]])
        begin, number = begin + sizes[number % len(sizes)], number + 1
    return parser, items


@given(st.lists(times, max_size=5), st.lists(st.sampled_from([0, FLAG_GAP, FLAG_END, FLAG_GAP | FLAG_END]), min_size=5, max_size=5), cuts)
def test_tags_come_out_as_they_went_in_however_the_bytes_are_cut(lists, flags, sizes):
    flat = sorted(value for values in lists for value in values)
    bounds = np.cumsum([0, *(len(values) for values in lists)])
    sent = [tags_of(flat[low:high]) for low, high in pairwise(bounds)]
    data = LINE + b"".join(encode_tags(t, c, 7 + number, flags[number]) for number, (t, c) in enumerate(sent))

    parser, items = parsed(data, sizes)

    assert items[0] == TagStream({"H": 0, "V": 1, "D": 2, "A": 3, "sync": 4}, 16, "r")
    assert parser.is_between_items
    assert len(items) == 1 + len(sent)
    for number, (batch, (t_ps, channel)) in enumerate(zip(items[1:], sent, strict=True)):
        assert isinstance(batch, TagBatch)
        assert (batch.sequence, batch.gap, batch.ended) == (7 + number, bool(flags[number] & 1), bool(flags[number] & 2))
        assert batch.t_ps.tolist() == t_ps.tolist()
        assert batch.channel.tolist() == channel.tolist()


@given(st.binary(max_size=30), st.integers(0, 2**40), cuts)
def test_emission_comes_out_as_it_went_in(packed, slot, sizes):
    expanded = encode_line(emission_content(HEADER, KEY, "r")) + encode_progress(slot, 1) + encode_progress(slot + 1, 3, FLAG_END)
    whole = encode_line(emission_content(HEADER, None, "")) + encode_settings(np.frombuffer(packed, np.uint8), 1)

    first, second, third = parsed(expanded, sizes, "emission")[1]
    opened, settings = parsed(whole, sizes, "emission")[1]

    assert first == EmissionStream(HEADER, KEY, "r")
    assert (second, third) == (EmissionProgress(1, False, slot), EmissionProgress(3, True, slot + 1))
    assert opened == EmissionStream(HEADER, None, "")
    assert isinstance(settings, PackedSettings)
    assert settings.packed.tobytes() == packed
    assert KEY.hex() not in repr(first)
    assert str(KEY) not in repr(first)


@given(st.sampled_from(["tags", "emission"]), st.booleans(), st.binary(max_size=200), cuts)
def test_any_bytes_are_items_or_a_stream_error(kind, opened, noise, sizes):
    line = LINE if kind == "tags" else encode_line(emission_content(HEADER, KEY, "r"))
    try:
        _, items = parsed(line * opened + noise, sizes, kind)
    except StreamError:
        return
    assert len(items) <= 1 + len(noise) // BATCH_HEADER.size


@given(st.integers(0, len(LINE) + 2 * (24 + 27) - 1), st.integers(1, 255), cuts)
def test_a_changed_byte_is_a_stream_error_or_other_items(place, change, sizes):
    t_ps, channel = tags_of([1, 2, 3])
    data = bytearray(LINE + encode_tags(t_ps, channel, 1) + encode_tags(t_ps + 5, channel, 2))
    data[place] ^= change
    try:
        _, items = parsed(bytes(data), sizes)
    except StreamError:
        return
    for item in items[1:]:
        assert isinstance(item, TagBatch)
        assert (np.diff(item.t_ps) >= 0).all()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3), max_leaves=5
)


@given(
    st.sampled_from(["tags", "emission"]),
    st.sampled_from(
        [
            "version",
            "channels",
            "sync_divider",
            "run",
            "clock_hz",
            "first_slot",
            "count_slots",
            "settings",
            "probabilities",
            "key",
            "source",
        ]
    ),
    json_values,
)
def test_any_value_in_the_first_line_is_taken_or_a_stream_error(kind, name, value):
    line = LINE if kind == "tags" else encode_line(emission_content(HEADER, KEY, "r"))
    changed = json.dumps(json.loads(line) | {name: value}).encode() + b"\n"
    try:
        (opened,) = StreamParser(kind).feed(changed)
    except StreamError:
        return
    assert isinstance(opened, TagStream | EmissionStream)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"x" * MOST_LINE_BYTES, "no line end"),
        (b"[" * 60_000 + b"\n", "not JSON"),
        (b'{"version": 2}\n', "version 1"),
        (b'{"version": true, "channels": {"H": 0}}\n', "version 1"),
        (LINE + BATCH_HEADER.pack(b"QKDE", 1, 0, 1, 0, 0), "batch begins with"),
        (LINE + BATCH_HEADER.pack(b"QKDT", 1, 0, 1, (1 << 20) + 1, 0), "at most"),
        (LINE + BATCH_HEADER.pack(b"QKDT", 1, 4, 1, 0, 0), "flags 4"),
        (LINE + 2 * BATCH_HEADER.pack(b"QKDT", 1, 0, 1, 0, 0), "numbers must grow"),
        (LINE + encoded([5], 1) + encoded([4], 2), "sort the recording"),
    ],
    ids=["endless line", "nested", "version", "version true", "magic", "too many", "flag", "sequence", "backwards"],
)
def test_what_is_wrong_is_named(data, message):
    with pytest.raises(StreamError, match=message):
        StreamParser("tags").feed(data)


def test_a_jump_in_the_numbers_is_a_gap():
    data = LINE + encoded([1], 5) + encoded([2], 9)

    assert [item.gap for item in StreamParser("tags").feed(data)[1:] if isinstance(item, TagBatch)] == [False, True]
