"""The cipher itself: exclusive or with the pad, and a Wegman-Carter tag whose key comes from the pad as well.

Every message spends ``16 + n`` bytes of key for n bytes: 16 to mask the value of a polynomial hash, n as pad. The tag covers header and
ciphertext. Nothing here opens files; chunks come in, chunks go out, and memory does not grow with the message.

The hash key is used for many messages of one direction, which the masks allow. It lies where no pad is ever taken from: whoever knows a
message and keeps it from arriving knows its pad, and must not be able to name that pad as the hash key of another.

A one-time pad by itself hides a message perfectly and protects it from change not at all: whoever flips a bit of the ciphertext flips that
bit of the message. The tag stops this with certainty up to its epsilon, whatever computers the adversary has.

References
----------
[Wegman1981] M. N. Wegman, J. L. Carter, one universal hash for many messages, a mask for each; [denBoer1993] the polynomial hash. An
altered message of n bytes, with a header of h bytes, passes with probability at most ``(ceil((n + h) / 16) + 1) 2^-128`` an attempt,
attempts adding up; status: rigorous.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

import numpy as np

from common.errors import AuthenticationError, LocalProtocolError
from common.kernels.polynomial_hash import PolynomialHash
from common.onetimepad.envelope import HEADER_BYTES, MASK_BYTES, Header

CHUNK_BYTES = 1 << 20
"""Bytes handled together."""


class KeyStream(Protocol):
    """Gives the key of one message, bit after bit."""

    @property
    def tag_key(self) -> bytes:
        """The 16 bytes that hash messages of this direction."""

    def read(self, count_bytes: int) -> bytes | bytearray:
        """Return the next ``count_bytes`` bytes; they may be wiped when more are read."""


def encrypt(key: KeyStream, header: Header, chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Encrypt a message.

    Parameters
    ----------
    key : KeyStream
        The key that the header names, which must already be burnt.
    header : Header
        What stands in front of the message.
    chunks : iterable of bytes
        The message.

    Yields
    ------
    bytes
        Ciphertext, a chunk for a chunk, and at last the 16 bytes of the tag.

    Raises
    ------
    LocalProtocolError
        If the message is not as long as the header says.
    """
    tag = _Tag(key.tag_key, bytes(key.read(MASK_BYTES)), header)
    for chunk in _combined(key, header.count_bytes, chunks):
        tag.update(chunk)
        yield chunk
    yield tag.digest()


class Decryption:
    """Decrypts one message: its tag is checked first, then it is released.

    Parameters
    ----------
    key : KeyStream
        The key that the header names; the mask is read at once, the pad only when the message is released.
    header : Header
        As it arrived.
    tag : bytes[16]
        As it arrived.
    """

    def __init__(self, key: KeyStream, header: Header, tag: bytes) -> None:
        self._key = key
        self._header = header
        self._tag = tag
        self._mask = bytes(key.read(MASK_BYTES))

    def check(self, chunks: Iterable[bytes]) -> None:
        """Check the tag over ``chunks``, the whole ciphertext, before any of it is decrypted.

        Raises
        ------
        AuthenticationError
            If anything is not as the sender wrote it.
        """
        expected = _Tag(self._key.tag_key, self._mask, self._header)
        for chunk in chunks:
            expected.update(chunk)
        self._compare(expected)

    def release(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Decrypt a message whose tag has been checked, and check that it is still the same.

        Parameters
        ----------
        chunks : iterable of bytes
            The ciphertext once more.

        Yields
        ------
        bytes
            The message. It is not to be shown to anybody before the last chunk has come.

        Raises
        ------
        AuthenticationError
            If it was altered while it was read.
        LocalProtocolError
            If the ciphertext is not as long as the header says.
        """
        expected = _Tag(self._key.tag_key, self._mask, self._header)
        yield from _combined(self._key, self._header.count_bytes, _seen(chunks, expected.update))
        self._compare(expected)

    def _compare(self, expected: _Tag) -> None:
        if not hmac.compare_digest(expected.digest(), self._tag):
            raise AuthenticationError(
                "the tag is wrong: the message was altered on the way, or encrypted with other key; nothing was decrypted"
            )


def forgery_bound(count_bytes: int, header_bytes: int = HEADER_BYTES) -> float:
    """Return the probability that an altered message passes its tag, for one attempt.

    Parameters
    ----------
    count_bytes, header_bytes : int
        Length of message and header.

    Returns
    -------
    float
        The probability.

    References
    ----------
    [Wegman1981], a polynomial hash with a fresh key and a fresh mask: ``(ceil((n + h) / 16) + 1) 2^-128``; status: rigorous.
    """
    return float(-(-(header_bytes + count_bytes) // 16) + 1) * 2.0**-128


class _Tag:
    """Polynomial hash of header and ciphertext, masked."""

    def __init__(self, tag_key: bytes, mask: bytes, header: Header) -> None:
        self._hash = PolynomialHash(tag_key)
        self._mask = mask
        self._hash.update(header.encoded())

    def update(self, chunk: bytes) -> None:
        self._hash.update(chunk)

    def digest(self) -> bytes:
        return combine(self._hash.digest(), self._mask)


def combine(data: bytes, pad: bytes | bytearray) -> bytes:
    """Return the exclusive or of ``data`` and as many bytes of ``pad``."""
    return np.bitwise_xor(np.frombuffer(data, np.uint8), np.frombuffer(pad, np.uint8)).tobytes()


def _seen(chunks: Iterable[bytes], see: Callable[[bytes], None]) -> Iterator[bytes]:
    for chunk in chunks:
        see(chunk)
        yield chunk


def _combined(key: KeyStream, left: int, chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Combine every chunk with the next stretch of pad, never more than ``left`` bytes."""
    for chunk in chunks:
        if len(chunk) > left:
            raise LocalProtocolError("the message is longer than its header says: it changed while it was read")
        left -= len(chunk)
        if chunk:
            yield combine(chunk, key.read(len(chunk)))
    if left:
        raise LocalProtocolError("the message is shorter than its header says: it changed while it was read")
