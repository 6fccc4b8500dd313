"""Delta coding of sorted slots close to the entropy of their gaps, for announcements.

Clicks of a link come at random, so the number of empty slots between two of them is nearly geometric, and a Rice code is nearly
optimal for it: the gap divided by ``2^k`` in unary, its remainder in k bits. Every chunk of 256 slots states its own k in six bits,
so the code follows a fading channel. Behind k come the remainders of the whole chunk, then its quotients: a quotient q is q zeros and a
one. Bits are written lowest first. Kept apart like this, remainders lie where one can compute it, and the i-th one of the quotients says
how many zeros came before it: nothing has to be read to know where the next slot begins.

One list of slots has exactly one encoding, and the decoder takes no other: it never reads beyond its input, and refuses a wrong
parameter, a slot at or past the limit, a wrong length and a set padding bit. Comes from Bob's detections, goes into
``DetectionAnnouncement`` and back.

References
----------
[Golomb1966] S. W. Golomb, run-length encodings; [Rice1971] R. F. Rice, J. R. Plaunt, adaptive variable-length
coding. For geometric gaps the code is at most 0.15 bits a slot above the entropy; status: measured in ``tests/unit/test_gaps.py``.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from common.bits import count_bytes, count_words
from common.errors import LocalProtocolError, RemoteProtocolError
from common.kernels.bit_operations import count_ones, count_trailing_zeros, signed
from common.kernels.jit import kernel, read_only

_Words: TypeAlias = NDArray[np.uint64]
_Slots: TypeAlias = NDArray[np.int64]
_Bytes: TypeAlias = NDArray[np.uint8]

CHUNK_SLOTS = 256
"""Slots that share one parameter: long enough to pay for its six bits, short enough to follow fading."""

PARAMETER_BITS = 6

LARGEST_PARAMETER = 62
"""Gaps are below 2^62."""

_TRUNCATED = -1
_BAD_PARAMETER = -2
_PAST_LIMIT = -3

_PROBLEMS = {
    _TRUNCATED: "ends before its last slot",
    _BAD_PARAMETER: "states a parameter that an encoder would not choose",
    _PAST_LIMIT: "names a slot at or past the limit",
}


@kernel
def _fill_gaps(slots: _Slots, begin: int, count: int, lower: int, gaps: _Slots) -> None:
    """Write the gaps before ``count`` slots from ``begin`` on; ``lower`` is the smallest the first of them can be."""
    gaps[0] = slots[begin] - lower
    before, after, rest = slots[begin : begin + count - 1], slots[begin + 1 : begin + count], gaps[1:count]
    for index in range(rest.size):
        rest[index] = after[index] - before[index] - 1


@kernel
def _chunk_bits(gaps: _Slots, count: int, parameter: int) -> int:
    total = PARAMETER_BITS + count * (parameter + 1)
    for index in range(count):
        total += gaps[index] >> parameter
    return total


@kernel
def choose_parameters(slots: _Slots, first: int, parameters: _Bytes) -> int:
    """Choose the parameter of every chunk and add up the length of the encoding.

    The length is convex in the parameter: from just above the logarithm of the mean gap the search walks down while it gains, and takes
    the smaller of two equals.

    Parameters
    ----------
    slots : int64[n]
        Strictly increasing slots, none below ``first``, less than 2^62 apart.
    first : int
        Smallest possible slot.
    parameters : uint8[ceil(n / 256)]
        Written.

    Returns
    -------
    int
        Length of the encoding, bits.
    """
    total = 0
    lower = first
    gaps = np.empty(CHUNK_SLOTS, np.int64)
    for chunk in range(parameters.size):
        begin = chunk * CHUNK_SLOTS
        count = min(CHUNK_SLOTS, slots.size - begin)
        _fill_gaps(slots, begin, count, lower, gaps)
        mean = (slots[begin + count - 1] - lower + 1) // count
        lower = slots[begin + count - 1] + 1
        parameter = 0
        while parameter < LARGEST_PARAMETER and mean >> parameter:
            parameter += 1
        best = _chunk_bits(gaps, count, parameter)
        while parameter > 0:
            shorter = _chunk_bits(gaps, count, parameter - 1)
            if shorter > best:
                break
            best = shorter
            parameter -= 1
        parameters[chunk] = parameter
        total += best
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
    words : uint64[count_words(length)]
        Zero on entry; written.

    Returns
    -------
    int
        Length of the encoding, bits.
    """
    position = 0
    lower = first
    gaps = np.empty(CHUNK_SLOTS, np.int64)
    for chunk in range(parameters.size):
        begin = chunk * CHUNK_SLOTS
        count = min(CHUNK_SLOTS, slots.size - begin)
        _fill_gaps(slots, begin, count, lower, gaps)
        lower = slots[begin + count - 1] + 1
        parameter = signed(parameters[chunk])
        _put(words, position, np.uint64(parameter), PARAMETER_BITS)
        position += PARAMETER_BITS
        mask = (1 << parameter) - 1
        if parameter:
            word = words[position >> 6]  # kept in a register until it is full
            for index in range(count):
                remainder = np.uint64(gaps[index] & mask)
                shift = position & 63
                word |= remainder << np.uint64(shift)
                if shift + parameter >= 64:
                    words[position >> 6] = word
                    word = (remainder >> np.uint64(1)) >> np.uint64(63 - shift)
                position += parameter
            if position & 63:
                words[position >> 6] = word
        for index in range(count):
            position += gaps[index] >> parameter
            words[position >> 6] |= np.uint64(1) << np.uint64(position & 63)
            position += 1
    return position


@kernel
def _find_ones(words: _Words, position: int, count_bits: int, places: _Slots) -> int:
    """Write where the next ones lie, counted from ``position``; return where the bits behind them begin, or ``_TRUNCATED``."""
    found = 0
    at = position >> 6
    word = words[at] & (~np.uint64(0) << np.uint64(position & 63))
    while True:
        start = (at << 6) - position
        for _ in range(min(signed(count_ones(word)), places.size - found)):
            places[found] = start + signed(count_trailing_zeros(word))
            word &= word - np.uint64(1)
            found += 1
        if found == places.size:
            break
        at += 1
        if at << 6 >= count_bits:
            return _TRUNCATED
        word = words[at]
    end = position + places[places.size - 1] + 1
    return end if end <= count_bits else _TRUNCATED


@kernel
def read_gaps(words: _Words, count_bits: int, first: int, limit: int, slots: _Slots, parameters: _Bytes) -> int:
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
    parameters : uint8[ceil(n / 256)]
        Written: the parameters read.

    Returns
    -------
    int
        Bits read, or a negative number saying what is wrong.
    """
    position = 0
    lower = first
    all_places = np.empty(CHUNK_SLOTS, np.int64)
    for chunk in range(parameters.size):
        begin = chunk * CHUNK_SLOTS
        count = min(CHUNK_SLOTS, slots.size - begin)
        if position + PARAMETER_BITS > count_bits:
            return _TRUNCATED
        parameter = signed(_window(words, position) & np.uint64(63))
        if parameter > LARGEST_PARAMETER:
            return _BAD_PARAMETER
        parameters[chunk] = parameter
        position += PARAMETER_BITS
        remainders = position
        position += count * parameter
        if position >= count_bits:
            return _TRUNCATED
        places = all_places[:count]
        position = _find_ones(words, position, count_bits, places)
        if position < 0:
            return position
        room = limit - 1 - lower  # empty slots that are left before, if no slot follows
        if room < count - 1 or places[count - 1] - (count - 1) > room >> parameter:
            return _PAST_LIMIT
        mask = (np.uint64(1) << np.uint64(parameter)) - np.uint64(1)
        rest = 0
        for index in range(count):
            rest += signed(_window(words, remainders) & mask)
            remainders += parameter
            empty = ((places[index] - index) << parameter) + rest  # empty slots in the chunk so far; both are below 2^62
            if rest > room or empty > room - index:
                return _PAST_LIMIT
            slots[begin + index] = lower + index + empty
        lower = slots[begin + count - 1] + 1
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
    if int(slots[0]) < first or bool((slots[1:] <= slots[:-1]).any()):
        raise LocalProtocolError(f"slots to encode must increase strictly, none below {first}")
    if int(slots[-1]) - first >= 1 << LARGEST_PARAMETER:
        raise LocalProtocolError(f"slots to encode must lie less than 2^{LARGEST_PARAMETER} beyond {first}, the last is {int(slots[-1])}")
    ordered = read_only(np.ascontiguousarray(slots, np.int64))
    parameters = np.empty(-(-slots.size // CHUNK_SLOTS), np.uint8)
    count_bits = choose_parameters(ordered, first, parameters)
    words = np.zeros(count_words(count_bits), np.uint64)
    write_gaps(ordered, first, parameters, words)
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
    if limit - first >= 1 << LARGEST_PARAMETER:
        raise LocalProtocolError(f"slots to decode must span less than 2^{LARGEST_PARAMETER}, the range is {first} to {limit}")
    chunks = -(-count // CHUNK_SLOTS)
    if count < 0 or count > max(limit - first, 0) or count + PARAMETER_BITS * chunks > 8 * encoded.size:
        raise RemoteProtocolError(f"{encoded.size} bytes cannot announce {count} slots from {first} to {limit}")
    words = np.zeros(count_words(8 * encoded.size) + 1, np.uint64)
    words.view(np.uint8)[: encoded.size] = encoded
    slots, parameters = np.empty(count, np.int64), np.empty(chunks, np.uint8)
    count_bits = read_gaps(words, 8 * encoded.size, first, limit, slots, parameters)
    if count_bits < 0:
        raise RemoteProtocolError(f"the announcement of {count} slots {_PROBLEMS[count_bits]}")
    if count_bytes(count_bits) != encoded.size or (count_bits & 7 and int(encoded[-1]) >> (count_bits & 7)):
        raise RemoteProtocolError(f"the announcement of {count} slots goes on after its last slot")
    chosen = np.empty_like(parameters)
    choose_parameters(read_only(slots), first, chosen)
    if not np.array_equal(chosen, parameters):
        raise RemoteProtocolError(f"the announcement of {count} slots {_PROBLEMS[_BAD_PARAMETER]}")
    return slots
