"""Delta coding of sorted slots close to the entropy of their gaps, for announcements.

Clicks of a link come at random, so the number of empty slots between two of them is nearly geometric, and a Rice code is nearly
optimal for it: the gap divided by ``2^k`` in unary, its remainder in k bits. Every chunk of 256 slots states its own k in six bits,
so the code follows a fading channel; k follows from the mean gap of the chunk. Behind k come the remainders of the whole chunk, then
its quotients: a quotient q is q zeros and a one. Bits are written lowest first. Kept apart like this, remainders lie where one can
compute it, and the i-th one of the quotients says how many zeros came before it: nothing has to be read to know where the next slot
begins.

One list of slots has exactly one encoding, and the decoder takes no other: it never reads beyond its input, and refuses a wrong
parameter, a slot at or past the limit, a wrong length and a set padding bit. Comes from Bob's detections, goes into
``DetectionAnnouncement`` and back.

References
----------
[Golomb1966] S. W. Golomb, run-length encodings; [Rice1971] R. F. Rice, J. R. Plaunt, adaptive variable-length coding; [Kiely2004]
A. Kiely, selecting the Golomb parameter in Rice coding. For geometric gaps the code is at most 0.15 bits a slot above the entropy;
status: measured in ``tests/unit/test_gaps.py``.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from common.bits import count_bytes, count_words
from common.errors import LocalProtocolError, RemoteProtocolError
from common.kernels.bit_operations import SPARE_PLACES, count_ones, list_ones, signed
from common.kernels.jit import kernel, read_only

_Words: TypeAlias = NDArray[np.uint64]
_Slots: TypeAlias = NDArray[np.int64]
_Bytes: TypeAlias = NDArray[np.uint8]

CHUNK_SLOTS = 256
"""Slots that share one parameter: long enough to pay for its six bits, short enough to follow fading."""

PARAMETER_BITS = 6

LARGEST_PARAMETER = 62
MOST_EMPTY = 1 << LARGEST_PARAMETER
"""Gaps are below 2^62, all of them together as well."""

MOST_QUOTIENT_BITS = 1024
"""Quotients of a chunk take at most 786 bits: under its parameter their sum is below 2.07 a slot."""

_TRUNCATED = -1
_BAD_PARAMETER = -2
_PAST_LIMIT = -3
_DISORDER = -4

_PROBLEMS = {
    _TRUNCATED: "ends before its last slot",
    _BAD_PARAMETER: "states a parameter that an encoder would not choose",
    _PAST_LIMIT: "names a slot at or past the limit",
}


@kernel
def _parameter(empty: int, count: int) -> int:
    """Return the parameter of ``count`` gaps with ``empty`` slots together: the shortest code for geometric gaps of their mean.

    It follows from the two ends of a chunk, so the decoder checks it without coding anything again.
    """
    doubled = (2 * empty + count) // count  # twice the mean gap, and one
    scaled = (doubled >> 1) - (doubled >> 6)  # times 0.484
    parameter = 0
    while scaled >> (parameter + 1):
        parameter += 1
    return parameter


@kernel
def choose_parameters(slots: _Slots, first: int, parameters: _Bytes) -> int:
    """Choose the parameter of every chunk, from its first and last slot alone.

    Parameters
    ----------
    slots : int64[n]
        Slots that should increase strictly; the last lies less than 2^62 beyond ``first``.
    first : int
        Smallest possible slot.
    parameters : uint8[ceil(n / 256)]
        Written.

    Returns
    -------
    int
        Bits that hold the encoding; negative if the slots do not increase.

    References
    ----------
    [Kiely2004], the choice for a geometric source of known mean m, phi being the golden ratio:
    1 + floor(log2(ln(phi - 1) / ln(m / (m + 1)))), which is nearly floor(log2(0.9624 (m + 1/2))); status: exact as a rule of this code.
    """
    total = 0
    lower = first
    for chunk in range(parameters.size):
        begin = chunk * CHUNK_SLOTS
        count = min(CHUNK_SLOTS, slots.size - begin)
        behind = slots[begin + count - 1] + 1
        empty = behind - lower - count
        if not 0 <= empty <= MOST_EMPTY - count:
            return _DISORDER
        parameter = _parameter(empty, count)
        parameters[chunk] = parameter
        total += PARAMETER_BITS + count * (parameter + 1) + (empty >> parameter)
        lower = behind
    return total


@kernel
def _put(words: _Words, position: int, value: np.uint64, count: int) -> None:
    shift = position & 63
    words[position >> 6] |= value << np.uint64(shift)
    if shift + count > 64:
        words[(position >> 6) + 1] |= value >> np.uint64(64 - shift)


@kernel
def _window(words: _Words, position: int) -> np.uint64:
    """64 bits from ``position`` on; the word behind the one they begin in is read as well."""
    shift = np.uint64(position & 63)
    low: np.uint64 = words[position >> 6] >> shift
    high: np.uint64 = (words[(position >> 6) + 1] << np.uint64(1)) << (np.uint64(63) - shift)
    return low | high


@kernel
def _joined(values: _Words, count: int, width: int) -> int:
    """Join neighbours in place until no two fit into a word any more, the lower first; return how many bits each then has.

    The value behind the last is zero, and stays so.
    """
    while 2 * width <= 64 and count > 1:
        count = (count + 1) >> 1
        for index in range(count):
            values[index] = values[2 * index] | (values[2 * index + 1] << np.uint64(width))
        values[count] = np.uint64(0)
        width *= 2
    return width


@kernel
def _put_remainders(gaps: _Slots, parameter: int, values: _Words, words: _Words, position: int) -> int:
    """Write the remainders of all ``gaps``, words full of them at a time; ``values`` is scratch for them and one more."""
    mask = (1 << parameter) - 1
    for index in range(gaps.size):
        values[index] = np.uint64(gaps[index] & mask)
    values[gaps.size] = np.uint64(0)
    width = _joined(values, gaps.size, parameter)
    end = position + gaps.size * parameter
    index = 0
    while position < end:
        written = min(width, end - position)
        _put(words, position, values[index], written)
        position += written
        index += 1
    return end


@kernel
def _put_quotients(gaps: _Slots, parameter: int, words: _Words, position: int) -> int:
    """Write the quotients of all ``gaps`` in unary."""
    at = position >> 6
    word = words[at]  # kept in a register until the next one begins
    for index in range(gaps.size):
        position += gaps[index] >> parameter
        if position >> 6 != at:
            words[at] = word
            at = position >> 6
            word = np.uint64(0)
        word |= np.uint64(1) << np.uint64(position & 63)
        position += 1
    words[at] = word
    return position


@kernel
def _fill_gaps(slots: _Slots, lower: int, gaps: _Slots) -> bool:
    """Write the gaps before all ``slots``, the first of which is ``lower`` at least; say whether they increase."""
    gaps[0] = slots[0] - lower
    before, after, rest = slots[:-1], slots[1:], gaps[1 : slots.size]
    disorder = slots[0] < lower
    for index in range(rest.size):
        rest[index] = after[index] - before[index] - 1
        disorder |= after[index] <= before[index]
    return not disorder


@kernel
def write_gaps(slots: _Slots, first: int, parameters: _Bytes, words: _Words) -> int:
    """Write the encoding.

    Parameters
    ----------
    slots : int64[n]
        As for ``choose_parameters``.
    first : int
        Smallest possible slot.
    parameters : uint8[ceil(n / 256)]
        From ``choose_parameters``.
    words : uint64[count_words(bits)]
        Zero on entry; written; as many ``bits`` as ``choose_parameters`` says.

    Returns
    -------
    int
        Length of the encoding, bits; negative if the slots do not increase strictly from ``first`` on.
    """
    position = 0
    lower = first
    all_gaps = np.empty(CHUNK_SLOTS, np.int64)
    values = np.empty(CHUNK_SLOTS + 1, np.uint64)
    for chunk in range(parameters.size):
        part = slots[chunk * CHUNK_SLOTS : (chunk + 1) * CHUNK_SLOTS]
        gaps = all_gaps[: part.size]
        if not _fill_gaps(part, lower, gaps):
            return _DISORDER
        lower = part[part.size - 1] + 1
        parameter = signed(parameters[chunk])
        _put(words, position, np.uint64(parameter), PARAMETER_BITS)
        position += PARAMETER_BITS
        if parameter:
            position = _put_remainders(gaps, parameter, values[: part.size + 1], words, position)
        position = _put_quotients(gaps, parameter, words, position)
    return position


@kernel
def _find_ones(words: _Words, position: int, count_bits: int, places: NDArray[np.uint16], wanted: int) -> int:
    """Write where the next ones lie, counted from ``position``; return where the bits behind the last begin, or what is wrong."""
    found = 0
    at = position >> 6
    word = words[at] & (~np.uint64(0) << np.uint64(position & 63))
    while True:
        list_ones(word, (at << 6) - position, places, found)
        found += signed(count_ones(word))
        if found >= wanted:
            break
        at += 1
        if at << 6 >= count_bits:
            return _TRUNCATED
        if (at << 6) - position > MOST_QUOTIENT_BITS:
            return _BAD_PARAMETER
        word = words[at]
    end = position + signed(places[wanted - 1]) + 1
    return end if end <= count_bits else _TRUNCATED


@kernel
def _read_remainders(words: _Words, position: int, parameter: int, values: _Words, spare: _Words, count: int) -> _Words:
    """Read ``count`` remainders, words full of them at a time, and part them again; return them in one of the two scratch arrays."""
    width = parameter
    while 2 * width <= 64:
        width *= 2
    pieces = (count * parameter + width - 1) // width
    mask = ~np.uint64(0) >> np.uint64(64 - width)
    for index in range(pieces):
        values[index] = _window(words, position + index * width) & mask
    while width > parameter:
        width >>= 1
        mask = (np.uint64(1) << np.uint64(width)) - np.uint64(1)
        for index in range(pieces):
            spare[2 * index] = values[index] & mask
            spare[2 * index + 1] = values[index] >> np.uint64(width)
        values, spare = spare, values
        pieces *= 2
    return values


@kernel
def read_gaps(words: _Words, count_bits: int, first: int, limit: int, slots: _Slots) -> int:
    """Read an encoding that may be anything.

    Parameters
    ----------
    words : uint64[count_words(count_bits) + 1]
        The encoding, followed by zeros to the end of the array.
    count_bits : int
        Its length, bits.
    first, limit : int
        Every slot lies in ``first`` to ``limit - 1``; less than 2^62 apart.
    slots : int64[n]
        Written: n slots.

    Returns
    -------
    int
        Bits read, or a negative number saying what is wrong.
    """
    position = 0
    lower = first
    places = np.empty(CHUNK_SLOTS + SPARE_PLACES, np.uint16)
    values, spare = np.zeros(2 * CHUNK_SLOTS, np.uint64), np.zeros(2 * CHUNK_SLOTS, np.uint64)
    for begin in range(0, slots.size, CHUNK_SLOTS):
        part = slots[begin : begin + CHUNK_SLOTS]
        count = part.size
        if position + PARAMETER_BITS > count_bits:
            return _TRUNCATED
        parameter = signed(_window(words, position) & np.uint64(63))
        remainders = position + PARAMETER_BITS
        position = remainders + count * parameter
        if position >= count_bits:
            return _TRUNCATED
        position = _find_ones(words, position, count_bits, places, count)
        if position < 0:
            return position
        room = limit - lower - count  # empty slots there can be at most
        if room < 0 or signed(places[count - 1]) - (count - 1) > room >> parameter:
            return _PAST_LIMIT
        if count > (room + count) >> parameter:  # so many slots with this parameter are further apart; no sum below overflows
            return _BAD_PARAMETER
        rest = 0
        if parameter:
            read = _read_remainders(words, remainders, parameter, values, spare, count)
            for index in range(count):
                rest += signed(read[index])
                part[index] = rest
        else:
            part[:] = 0
        empty = rest + ((signed(places[count - 1]) - (count - 1)) << parameter)
        if empty > room:
            return _PAST_LIMIT
        if _parameter(empty, count) != parameter:
            return _BAD_PARAMETER
        for index in range(count):
            part[index] += lower + index + ((signed(places[index]) - index) << parameter)
        lower += empty + count
    return position


def encode_gaps(slots: NDArray[np.int64], first: int) -> NDArray[np.uint8]:
    """Encode sorted slots.

    Parameters
    ----------
    slots : int64[n]
        Strictly increasing slots.
    first : int
        Smallest possible slot, known to the decoder.

    Returns
    -------
    uint8[m]
        The encoding; empty for no slots.

    Raises
    ------
    LocalProtocolError
        If the slots are not strictly increasing from ``first`` on, or reach 2^62 beyond it.

    References
    ----------
    [Rice1971]; status: exact.
    """
    if not slots.size:
        return np.zeros(0, np.uint8)
    if int(slots[-1]) - first >= MOST_EMPTY:
        raise LocalProtocolError(f"slots to encode must lie less than 2^{LARGEST_PARAMETER} beyond {first}, the last is {int(slots[-1])}")
    ordered = read_only(np.ascontiguousarray(slots, np.int64))
    parameters = np.empty(-(-slots.size // CHUNK_SLOTS), np.uint8)
    count_bits = choose_parameters(ordered, first, parameters)
    words = np.zeros(count_words(max(count_bits, 0)), np.uint64)
    if count_bits < 0 or (count_bits := write_gaps(ordered, first, parameters, words)) < 0:
        raise LocalProtocolError(f"slots to encode must increase strictly, none below {first}")
    return words.view(np.uint8)[: count_bytes(count_bits)].copy()


def decode_gaps(data: NDArray[np.uint8] | bytes, count: int, first: int, limit: int) -> NDArray[np.int64]:
    """Decode the slots a peer announced.

    Parameters
    ----------
    data : uint8[m] or bytes
        The encoding as received.
    count : int
        Number of slots it claims to hold.
    first, limit : int
        Every slot must lie in ``first`` to ``limit - 1``.

    Returns
    -------
    int64[count]
        Strictly increasing slots.

    Raises
    ------
    LocalProtocolError
        If ``first`` and ``limit`` lie 2^62 or more apart.
    RemoteProtocolError
        If the input is anything but the one encoding of ``count`` slots in that range.
    """
    encoded = np.frombuffer(data, np.uint8)
    if limit - first >= MOST_EMPTY:
        raise LocalProtocolError(f"slots to decode must span less than 2^{LARGEST_PARAMETER}, the range is {first} to {limit}")
    chunks = -(-count // CHUNK_SLOTS)
    if count < 0 or count > max(limit - first, 0) or count + PARAMETER_BITS * chunks > 8 * encoded.size:
        raise RemoteProtocolError(f"{encoded.size} bytes cannot announce {count} slots from {first} to {limit}")
    words = np.zeros(count_words(8 * encoded.size) + 1, np.uint64)
    words.view(np.uint8)[: encoded.size] = encoded
    slots = np.empty(count, np.int64)
    count_bits = read_gaps(words, 8 * encoded.size, first, limit, slots)
    if count_bits < 0:
        raise RemoteProtocolError(f"the announcement of {count} slots {_PROBLEMS[count_bits]}")
    if count_bytes(count_bits) != encoded.size or (count_bits & 7 and int(encoded[-1]) >> (count_bits & 7)):
        raise RemoteProtocolError(f"the announcement of {count} slots goes on after its last slot")
    return slots
