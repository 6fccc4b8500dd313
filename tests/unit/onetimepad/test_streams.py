"""Streams through the one-time pad: any length, in pieces as they come, and nobody can leave out, reorder, splice or cut unnoticed."""

import io
import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.channel.codec import Party
from common.errors import AuthenticationError, ConfigurationError, KeyAlreadyTakenError, KeyExhaustedError, LocalProtocolError
from common.onetimepad.envelope import HEADER_BYTES, TAG_BYTES
from common.onetimepad.streams import MOST_SEGMENT_BYTES, PREFIX_BYTES, DecryptingStream, EncryptingStream
from tests.unit.onetimepad.ends import Ends

SEGMENT = HEADER_BYTES + PREFIX_BYTES + 100 + TAG_BYTES
"""Length of an encrypted segment of a hundred bytes."""


@pytest.fixture
def ends(tmp_path):
    return Ends.with_key(tmp_path, 200_000)


def sent(ends, *pieces, segment_bytes=100, sender=Party.ALICE):
    sink = io.BytesIO()
    with EncryptingStream(ends.pad(sender), sink, segment_bytes) as stream:
        for piece in pieces:
            stream.write(piece)
    return sink.getvalue()


def received(ends, data, receiver=Party.BOB):
    with DecryptingStream(ends.pad(receiver), io.BytesIO(data)) as stream:
        return stream.read()


@given(
    pieces=st.lists(st.binary(max_size=400), max_size=6),
    segment_bytes=st.integers(1, 300),
    counts=st.lists(st.integers(1, 250), min_size=1),
)
@settings(max_examples=40, deadline=None)
def test_what_is_written_is_read_however_it_is_cut(pieces, segment_bytes, counts, tmp_path_factory):
    ends = Ends.with_key(tmp_path_factory.mktemp("ends"), 200_000)
    data = sent(ends, *pieces, segment_bytes=max(segment_bytes, 20))
    found = b""
    with DecryptingStream(ends.pad(Party.BOB), io.BytesIO(data)) as stream:
        turn = 0
        while piece := stream.read(counts[turn % len(counts)]):
            assert len(piece) <= counts[turn % len(counts)]
            found += piece
            turn += 1
        assert stream.read(1) == b""

    assert found == b"".join(pieces)


def test_a_flush_sends_what_there_is_and_it_can_be_read_at_once(ends):
    sink = io.BytesIO()
    with EncryptingStream(ends.pad(Party.ALICE), sink) as stream:
        stream.write(b"hello")
        stream.flush()
        source = io.BytesIO(sink.getvalue())
        reading = DecryptingStream(ends.pad(Party.BOB), source)
        assert reading.read(100) == b"hello"
        stream.write(b" there")
    source.write(sink.getvalue()[source.tell() :])
    source.seek(HEADER_BYTES + PREFIX_BYTES + 5 + TAG_BYTES)

    assert reading.read() == b" there"
    assert (stream.count_bytes, stream.count_key_bytes) == (11, 11 + 2 * 33)


def test_a_source_that_gives_a_byte_at_a_time_is_as_good(ends):
    class Dripping(io.BytesIO):
        def read(self, count=-1):
            return super().read(min(count, 1))

    with DecryptingStream(ends.pad(Party.BOB), Dripping(sent(ends, bytes(range(250))))) as stream:
        assert b"".join(stream) == bytes(range(250))


@pytest.mark.parametrize("position", [0, 10, HEADER_BYTES - 1, HEADER_BYTES, HEADER_BYTES + 30, SEGMENT - 1])
def test_an_altered_segment_is_refused_and_those_before_it_were_true(ends, position):
    data = bytearray(sent(ends, bytes(250)))
    data[SEGMENT + position] ^= 1
    stream = DecryptingStream(ends.pad(Party.BOB), io.BytesIO(data))

    assert stream.read(1000) == bytes(100)
    with pytest.raises((AuthenticationError, ConfigurationError)):
        stream.read(1000)


@pytest.mark.parametrize("order", [(1,), (0, 2), (1, 0, 2), (0, 1)], ids=["first missing", "one missing", "reordered", "end missing"])
def test_a_stream_out_of_order_or_without_its_end_is_refused(ends, order):
    data = sent(ends, bytes(250))
    segments = [data[:SEGMENT], data[SEGMENT : 2 * SEGMENT], data[2 * SEGMENT :]]

    with pytest.raises(AuthenticationError, match=r"belongs|without its last one"):
        received(ends, b"".join(segments[i] for i in order))


def test_two_streams_are_not_spliced(ends):
    one, other = sent(ends, bytes(250)), sent(ends, bytes(250))

    with pytest.raises(AuthenticationError, match="segment 1 of a stream where segment 1 of this one belongs"):
        received(ends, one[:SEGMENT] + other[SEGMENT:])


@pytest.mark.parametrize("kept", [1, HEADER_BYTES - 1, HEADER_BYTES + 5, SEGMENT - 1])
def test_a_stream_that_is_cut_within_a_segment_is_refused(ends, kept):
    with pytest.raises((AuthenticationError, ConfigurationError), match=r"cut off|not a one-time-pad file"):
        received(ends, sent(ends, bytes(250))[: SEGMENT + kept])


def test_a_stream_is_read_once(ends):
    data = sent(ends, b"once")
    assert received(ends, data) == b"once"
    with pytest.raises(KeyAlreadyTakenError):
        received(ends, data)


def test_who_does_not_read_to_the_end_is_told_that_it_was_not_seen(ends):
    with (
        pytest.raises(AuthenticationError, match="not read to its end"),
        DecryptingStream(ends.pad(Party.BOB), io.BytesIO(sent(ends, bytes(250)))) as stream,
    ):
        stream.read(10)


def test_a_body_that_fails_leaves_the_stream_without_an_end(ends):
    sink = io.BytesIO()
    stream = EncryptingStream(ends.pad(Party.ALICE), sink, 100)

    def body():
        with stream:
            stream.write(bytes(150))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        body()

    with pytest.raises(AuthenticationError, match="ends after 1 segments without its last one"):
        received(ends, sink.getvalue())
    with pytest.raises(LocalProtocolError, match="has ended"):
        stream.write(b"more")


def test_where_key_runs_out_what_was_written_waits_and_goes_on_with_more(ends):
    class Short:
        """A pad that has key for so many segments."""

        def __init__(self, pad):
            self.pad, self.left = pad, 1

        def sending(self, contents):
            if not self.left:
                raise KeyExhaustedError("short", missing_bits=8 * contents.count_bytes, wait_seconds=3.0)
            self.left -= 1
            return self.pad.sending(contents)

    pad: Any = Short(ends.pad(Party.ALICE))
    sink = io.BytesIO()
    stream = EncryptingStream(pad, sink, 100)
    with pytest.raises(KeyExhaustedError) as short:
        stream.write(bytes(range(250)))
    with pytest.raises(LocalProtocolError, match="flush it first"):
        stream.write(b"more")
    with pytest.raises(KeyExhaustedError):
        stream.flush()
    pad.left = 10
    stream.flush()
    stream.write(b"more")
    stream.close()

    assert short.value.missing_bits == 8 * (100 + PREFIX_BYTES)
    assert received(ends, sink.getvalue()) == bytes(range(250)) + b"more"


def test_a_sink_that_breaks_ends_the_stream(ends):
    class Broken(io.BytesIO):
        def write(self, _data):
            raise BrokenPipeError

    stream = EncryptingStream(ends.pad(Party.ALICE), Broken(), 100)
    with pytest.raises(BrokenPipeError):
        stream.write(bytes(100))
    with pytest.raises(LocalProtocolError):
        stream.write(b"more")


def test_a_message_is_no_stream_and_a_stream_no_message(ends, tmp_path):
    (tmp_path / "stream").write_bytes(sent(ends, b"stream"))
    with pytest.raises(ConfigurationError, match="stream of segments"):
        ends.receive(tmp_path / "stream")
    with pytest.raises(ConfigurationError, match="is a message and no stream"):
        received(ends, ends.send(b"message").read_bytes())


@pytest.mark.parametrize("length", [0, MOST_SEGMENT_BYTES + 1])
def test_segments_have_a_length_that_memory_bounds(ends, length):
    with pytest.raises(ConfigurationError, match="choose 1 to"):
        EncryptingStream(ends.pad(Party.ALICE), io.BytesIO(), length)


def test_memory_does_not_grow_with_the_stream(tmp_path):
    """Twenty segments take no more memory than four; each is a mebibyte."""
    ends = Ends.with_key(tmp_path, 60 * MOST_SEGMENT_BYTES)

    def peak(count):
        path = tmp_path / f"{count}.stream"
        tracemalloc.start()
        with path.open("wb") as sink, EncryptingStream(ends.pad(Party.ALICE), sink) as stream:
            for _ in range(count):
                stream.write(bytes(MOST_SEGMENT_BYTES))
        total = 0
        with path.open("rb") as source, DecryptingStream(ends.pad(Party.BOB), source) as reading:
            for piece in reading:
                total += len(piece)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert total == count * MOST_SEGMENT_BYTES
        return most

    few, many = peak(4), peak(20)
    assert many < few + MOST_SEGMENT_BYTES
    assert many < 16 * MOST_SEGMENT_BYTES
