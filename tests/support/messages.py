"""Hypothesis strategies for messages and envelopes, read off the catalogue's own limits."""

from typing import cast

from hypothesis import strategies as st

from common.channel.codec import PROTOCOL_VERSION, Envelope, field_types
from common.channel.fields import ByteLength, Flag, IntegerList, IntegerRange
from common.channel.messages import CATALOGUE

LONGEST_BYTES = 300
LONGEST_LIST = 20


def values(limits):
    match limits:
        case IntegerRange(low, high):
            return st.integers(low, high) | st.sampled_from(
                sorted({low, high, min(high, 127), min(high, 128), min(high, 255), min(high, 256)})
            )
        case ByteLength(low, high):
            return st.binary(min_size=low, max_size=min(high, max(low, LONGEST_BYTES)))
        case IntegerList(most, item):
            return st.lists(values(item), max_size=min(most, LONGEST_LIST)).map(tuple)
        case Flag():
            return st.booleans()
    raise AssertionError(limits)


def messages():
    return st.one_of(
        [
            st.builds(kind, **{name: values(limits) for name, limits in field_types(cast("type", kind)).items()})
            for kind in CATALOGUE.values()
        ]
    )


def envelopes():
    """Envelopes that decode: of our version, from either end."""
    header = {name: values(limits) for name, limits in field_types(Envelope).items()}
    return st.builds(Envelope, **{**header, "version": st.just(PROTOCOL_VERSION), "sender": st.sampled_from([1, 2])}, message=messages())
