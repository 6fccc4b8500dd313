"""The codec: what is encoded decodes to the same, and nothing else decodes at all."""

import tracemalloc

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.channel.codec import MAXIMUM_MESSAGE_BYTES, PROTOCOL_VERSION, Envelope, decode, encode
from common.channel.fields import MAXIMUM_FIELD_BYTES, MAXIMUM_ITEMS
from common.channel.messages import Abort, Hello, KeyCommit, ToeplitzSeed
from common.errors import LocalProtocolError, RemoteProtocolError
from tests.support.messages import envelopes

SESSION = bytes(16)
HEADER = (PROTOCOL_VERSION, SESSION, 1, 5, 4, 3, 2)


def decoded_or_refused(data):
    """Decode; anything but an envelope or the peer's fault is a failure of the test."""
    try:
        return decode(data)
    except RemoteProtocolError:
        return None


@given(envelopes())
def test_every_message_survives_the_round_trip(envelope):
    assert decode(encode(envelope)) == envelope


@given(envelopes(), st.data())
def test_cut_or_lengthened_bytes_are_refused(envelope, data):
    encoded = encode(envelope)
    length = data.draw(st.integers(0, len(encoded) - 1))

    assert decoded_or_refused(encoded[:length]) is None
    assert decoded_or_refused(encoded + data.draw(st.binary(min_size=1, max_size=20))) is None


@given(envelopes(), st.data())
def test_altered_bytes_are_refused_or_mean_exactly_themselves(envelope, data):
    altered = bytearray(encode(envelope))
    for position, value in data.draw(st.lists(st.tuples(st.integers(0, len(altered) - 1), st.integers(0, 255)), min_size=1, max_size=4)):
        altered[position] = value
    understood = decoded_or_refused(bytes(altered))

    assert understood is None or encode(understood) == bytes(altered)


@given(st.binary(max_size=400))
def test_random_bytes_are_refused(data):
    assert decoded_or_refused(data) is None


TREES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=True)
    | st.binary(max_size=20)
    | st.text(max_size=5)
    | st.builds(msgpack.ExtType, st.integers(0, 127), st.binary(max_size=20))
    | st.just(msgpack.Timestamp(0, 1)),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=3) | st.integers(-5, 5), inner, max_size=3),
    max_leaves=12,
)


@given(TREES)
def test_other_msgpack_is_refused(tree):
    assert decoded_or_refused(msgpack.packb(tree)) is None


@given(kind=TREES, body=TREES)
def test_a_right_header_saves_no_wrong_body(kind, body):
    data = msgpack.packb((*HEADER, kind, body))
    understood = decoded_or_refused(data)

    assert understood is None or encode(understood) == data


@given(position=st.integers(0, 8), value=TREES)
def test_a_field_of_another_type_is_refused(position, value):
    fields = [*HEADER, Abort.KIND, (1,)]
    fields[position] = value
    understood = decoded_or_refused(msgpack.packb(fields))

    assert understood is None or (type(value) is type([*HEADER, Abort.KIND, (1,)][position]))


def packed(*parts):
    """Values encoded one after another; bytes are taken as encoded already."""
    return b"".join(part if isinstance(part, bytes) else msgpack.packb(part) for part in parts)


def head(*fields):
    """The fields of an envelope up to its kind, one after another."""
    return b"".join(msgpack.packb(field) for field in fields)


HEAD = b"\x99" + head(*HEADER)
"""An envelope up to its kind, as the encoder writes it."""

REFUSED = {
    "non-minimal integer": packed(HEAD, Abort.KIND, b"\x91\xcc\x01"),
    "non-minimal array": packed(HEAD, Abort.KIND, b"\xdc\x00\x01\x01"),
    "non-minimal envelope": packed(b"\xdc\x00\x09", head(*HEADER), Abort.KIND, (1,)),
    "non-minimal bytes": packed(b"\x99", PROTOCOL_VERSION, b"\xc5\x00\x10" + SESSION, head(*HEADER[2:]), Abort.KIND, (1,)),
    "float for an integer": packed(HEAD, Abort.KIND, b"\x91", 1.0),
    "not a number": packed(HEAD, Abort.KIND, b"\x91", float("nan")),
    "boolean for an integer": packed(HEAD, Abort.KIND, b"\x91\xc3"),
    "integer for a boolean": packed(HEAD, 601, b"\x91\x01"),
    "nil": packed(HEAD, Abort.KIND, b"\x91\xc0"),
    "empty map for a list": packed(HEAD, 401, b"\x91\x80"),
    "map with a repeated key": packed(HEAD, 401, b"\x91\x82\x01\x01\x01\x01"),
    "empty text for bytes": packed(HEAD, 400, b"\x92\x00\xa0"),
    "empty extension": packed(HEAD, 400, b"\x92\x00\xc7\x00\x05"),
    "timestamp of no length": packed(HEAD, 400, b"\x92\x00\xc7\x00\xff"),
    "extension of one byte": packed(HEAD, 400, b"\x92\x00\xd4\x05\x00"),
    "reserved code": packed(HEAD, Abort.KIND, b"\x91\xc1"),
    "negative count": packed(HEAD, KeyCommit.KIND, ([-1],)),
    "count past its limit": packed(HEAD, KeyCommit.KIND, ([2**62 + 1],)),
    "field too many": packed(HEAD, Abort.KIND, (1, 1)),
    "field missing": packed(HEAD, Abort.KIND, ()),
    "unknown kind": packed(HEAD, 999, (1,)),
    "kind as a boolean": packed(HEAD, True, (1,)),
    "body not a list": packed(HEAD, Abort.KIND, 1),
    "another version": packed(b"\x99", head(PROTOCOL_VERSION + 1, *HEADER[1:]), Abort.KIND, (1,)),
    "unknown sender": packed(b"\x99", head(PROTOCOL_VERSION, SESSION, 3, *HEADER[3:]), Abort.KIND, (1,)),
    "short session": packed(b"\x99", head(PROTOCOL_VERSION, SESSION[1:], *HEADER[2:]), Abort.KIND, (1,)),
    "bytes that claim four gigabytes": packed(HEAD, 400, b"\x92\x00\xc6\xff\xff\xff\xff"),
    "list that claims four thousand million items": packed(HEAD, 401, b"\x91\xdd\xff\xff\xff\xff"),
    "text that claims four gigabytes": packed(HEAD, 400, b"\x92\x00\xdb\xff\xff\xff\xff"),
    "map that claims four thousand million items": packed(HEAD, 401, b"\x91\xdf\xff\xff\xff\xff"),
    "deep nesting": b"\x91" * 100_000,
    "deep nesting in the body": packed(HEAD, Abort.KIND, b"\x91" * 100_000),
    "nothing": b"",
    "too long": bytes(MAXIMUM_MESSAGE_BYTES + 1),
}


@pytest.mark.parametrize("name", REFUSED)
def test_one_way_to_write_and_every_length_bounded(name):
    with pytest.raises(RemoteProtocolError):
        decode(REFUSED[name])


def test_the_refused_ones_are_near_misses():
    assert decode(packed(HEAD, Abort.KIND, (1,))).message == Abort(1)


def test_memory_stays_bounded_whatever_the_bytes():
    """The worst is a list of lists of small lists; 4 MiB of it may not take more than a few hundred."""
    inner = b"\xdc\xff\xff" + b"\x91\x01" * 65_535
    worst = b"\xdc\x00\x1f" + inner * 31
    tracemalloc.start()
    try:
        assert decoded_or_refused(worst[:MAXIMUM_MESSAGE_BYTES]) is None
        assert tracemalloc.get_traced_memory()[1] < 64 * MAXIMUM_MESSAGE_BYTES
    finally:
        tracemalloc.stop()


@settings(max_examples=25)
@given(envelopes())
def test_what_breaks_its_own_limits_is_never_sent(envelope):
    for name, value in (("sender", 256), ("sequence", -1), ("session", bytes(15)), ("exchange", 65_536), ("block", True)):
        with pytest.raises(LocalProtocolError, match=name):
            encode(Envelope(**{**{field: getattr(envelope, field) for field in Envelope.__slots__}, name: value}))


@pytest.mark.parametrize(
    "message",
    [
        ToeplitzSeed(1, 0, 1, bytes(MAXIMUM_FIELD_BYTES + 1)),
        Hello(bytes(32), bytes(32), 0, 0, 0, 0, tuple(range(MAXIMUM_ITEMS + 1)), ()),
        Abort(256),
    ],
)
def test_what_is_too_long_or_too_large_is_never_sent(message):
    with pytest.raises(LocalProtocolError, match=f"cannot send {type(message).__name__}"):
        encode(Envelope(*HEADER, message))
