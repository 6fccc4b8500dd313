"""The cipher itself: exclusive or with the pad, and a Wegman-Carter tag whose key comes from the pad as well.

Every message spends ``32 + n`` bytes of key for n bytes: 16 as the key of a polynomial hash, 16 to mask its value, n as pad. The tag covers
header and ciphertext. Nothing here opens files; chunks come in, chunks go out, and memory does not grow with the message.

A one-time pad by itself hides a message perfectly and protects it from change not at all: whoever flips a bit of the ciphertext flips that
bit of the message. The tag stops this with certainty up to its epsilon, whatever computers the adversary has.

References
----------
[Wegman1981] M. N. Wegman, J. L. Carter, a universal hash and a mask used once; [denBoer1993] the polynomial hash. An altered message of n
bytes passes with probability at most ``(ceil((n + 64) / 16) + 1) 2^-128`` an attempt, attempts adding up; status: rigorous.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Iterator
from typing import Protocol

import numpy as np

from common.errors import AuthenticationError, LocalProtocolError
from common.kernels.polynomial_hash import PolynomialHash
from common.onetimepad.envelope import HASH_KEY_BYTES, HEADER_BYTES, OVERHEAD_BYTES, Header

CHUNK_BYTES = 1 << 20
"""Bytes handled together."""


class KeyReader(Protocol):
    """Gives bytes of the key."""

    def read(self, offset: int, count_bytes: int) -> bytes:
        """Return ``count_bytes`` bytes from ``offset`` on."""


def encrypt(key: KeyReader, header: Header, chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Encrypt a message.

    Parameters
    ----------
    key : KeyReader
        The pad.
    header : Header
        Says which stretch is used, which must already be burnt.
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
    tag = _Tag(key, header)
    for chunk in _combined(key, header, chunks):
        tag.update(chunk)
        yield chunk
    yield tag.digest()


def check(key: KeyReader, header: Header, chunks: Iterable[bytes], tag: bytes) -> None:
    """Check the tag of a message before any of it is decrypted.

    Parameters
    ----------
    key : KeyReader
        The pad.
    header : Header
        As it arrived.
    chunks : iterable of bytes
        The whole ciphertext.
    tag : bytes[16]
        As it arrived.

    Raises
    ------
    AuthenticationError
        If anything is not as the sender wrote it.
    """
    expected = _Tag(key, header)
    for chunk in chunks:
        expected.update(chunk)
    if not hmac.compare_digest(expected.digest(), tag):
        raise AuthenticationError(
            "the tag is wrong: the message was altered on the way, or encrypted with other key; nothing was decrypted"
        )


def decrypt(key: KeyReader, header: Header, chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Decrypt a message whose tag has been checked.

    Parameters
    ----------
    key : KeyReader
        The pad.
    header : Header
        As it was checked.
    chunks : iterable of bytes
        The ciphertext.

    Yields
    ------
    bytes
        The message.

    Raises
    ------
    LocalProtocolError
        If the ciphertext is not as long as the header says.
    """
    yield from _combined(key, header, chunks)


def forgery_bound(count_bytes: int) -> float:
    """Return the probability that an altered message of ``count_bytes`` bytes passes its tag, for one attempt.

    References
    ----------
    [Wegman1981], a polynomial hash with a fresh key and a fresh mask: ``(ceil((n + 64) / 16) + 1) 2^-128``; status: rigorous.
    """
    return float(-(-(HEADER_BYTES + count_bytes) // 16) + 1) * 2.0**-128


class _Tag:
    """Polynomial hash of header and ciphertext, masked."""

    def __init__(self, key: KeyReader, header: Header) -> None:
        secret = key.read(header.offset, OVERHEAD_BYTES)
        self._hash = PolynomialHash(secret[:HASH_KEY_BYTES])
        self._mask = secret[HASH_KEY_BYTES:]
        self._hash.update(header.encoded())

    def update(self, chunk: bytes) -> None:
        self._hash.update(chunk)

    def digest(self) -> bytes:
        return combine(self._hash.digest(), self._mask)


def combine(data: bytes, pad: bytes) -> bytes:
    """Return the exclusive or of ``data`` and as many bytes of ``pad``."""
    return np.bitwise_xor(np.frombuffer(data, np.uint8), np.frombuffer(pad, np.uint8)).tobytes()


def _combined(key: KeyReader, header: Header, chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Combine every chunk with the next stretch of pad, never beyond the stretch of the header."""
    position, end = header.offset + OVERHEAD_BYTES, header.stretch.end
    for chunk in chunks:
        if position + len(chunk) > end:
            raise LocalProtocolError("the message is longer than its header says: it changed while it was read")
        yield combine(chunk, key.read(position, len(chunk)))
        position += len(chunk)
    if position != end:
        raise LocalProtocolError("the message is shorter than its header says: it changed while it was read")
