"""The pinned expander: 32 bytes of key become an endless stream of random bytes, readable at any offset.

Shuffles both ends must draw alike, and settings that are looked up by slot, come from here; a generator whose stream may change
with a library's next version would break recorded links. The stream is ChaCha20 under a subkey for each purpose, so that two
uses of one key never read the same bytes. Keys come from ``common.randomness`` or from a key file; the bytes go to the
shuffles of the distillation and to the emission record.

References
----------
[Bernstein2008] ChaCha, with the 64-bit block counter of the original and a nonce of zero; status: computational (a stream that
is indistinguishable from random, not random).
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from numpy.typing import NDArray

from common.errors import ConfigurationError

EXPANDER_NAME: Final = "chacha20-v1"
"""What files call this expander; a change of key derivation, counter or byte order takes a new name."""

KEY_BYTES: Final = 32
"""Bytes of a key and of a subkey."""

BLOCK_BYTES: Final = 64
"""Bytes of one ChaCha20 block."""

_BLOCKS_PER_CIPHER: Final = 1 << 32
"""Blocks until the low word of the counter wraps; the library refuses to go on, so the high word is set by hand."""

_PERMUTATION_LIMIT: Final = 1 << 32
"""Longest permutation: its entries are uint32."""


def derive_key(key: bytes, label: str) -> bytes:
    """Return the subkey that ``key`` has for one purpose.

    Parameters
    ----------
    key : bytes
        32 bytes.
    label : str
        Names the purpose; different labels give independent subkeys.

    Returns
    -------
    bytes
        32 bytes, HMAC-SHA256 of ``"qkdlink chacha20-v1 " + label`` under ``key``.

    Raises
    ------
    ConfigurationError
        If the key is not 32 bytes long or the label is empty.
    """
    if len(key) != KEY_BYTES:
        raise ConfigurationError(f"expander key: {len(key)} bytes given, {KEY_BYTES} needed")
    if not label:
        raise ConfigurationError("expander label: empty; name the purpose so that no two uses share a stream")
    return hmac.new(key, f"qkdlink {EXPANDER_NAME} {label}".encode(), hashlib.sha256).digest()


class Expander:
    """Random access to the stream of one key for one purpose.

    Parameters
    ----------
    key : bytes
        32 bytes; kept only as the subkey of ``label``.
    label : str
        Names the purpose.

    Raises
    ------
    ConfigurationError
        If the key is not 32 bytes long or the label is empty.
    """

    __slots__ = ("_subkey",)

    def __init__(self, key: bytes, label: str) -> None:
        self._subkey = derive_key(key, label)

    def bytes_at(self, offset: int, count: int) -> bytes:
        """Return part of the stream.

        Parameters
        ----------
        offset : int
            First byte, 0 <= offset; the stream has 2^70 bytes.
        count : int
            Bytes wanted, 0 or more.

        Returns
        -------
        bytes
            ``count`` bytes.

        Raises
        ------
        ConfigurationError
            If the range is negative or leaves the stream.
        """
        if offset < 0 or count < 0 or offset + count > BLOCK_BYTES << 64:
            raise ConfigurationError(f"expander: bytes {offset} to {offset + count} are not in the stream of 2^70 bytes")
        first_block, skipped = divmod(offset, BLOCK_BYTES)
        end_block = -(-(offset + count) // BLOCK_BYTES)
        parts = []
        block = first_block
        while block < end_block:
            until = min(end_block, (block // _BLOCKS_PER_CIPHER + 1) * _BLOCKS_PER_CIPHER)
            cipher = Cipher(algorithms.ChaCha20(self._subkey, block.to_bytes(8, "little") + bytes(8)), mode=None)
            parts.append(cipher.encryptor().update(bytes((until - block) * BLOCK_BYTES)))
            block = until
        stream = parts[0] if len(parts) == 1 else b"".join(parts)
        return stream if skipped == 0 and len(stream) == count else stream[skipped : skipped + count]

    def words_at(self, first_word: int, count: int) -> NDArray[np.uint64]:
        """Return uniformly distributed 64-bit words.

        Parameters
        ----------
        first_word : int
            Index of the first word; word i is bytes 8 i to 8 i + 7, little-endian.
        count : int
            Words wanted.

        Returns
        -------
        uint64[count]
            The words, read-only.

        Raises
        ------
        ConfigurationError
            If the range is negative or leaves the stream.
        """
        return np.frombuffer(self.bytes_at(8 * first_word, 8 * count), np.uint64)


def permutation(key: bytes, label: str, count: int) -> NDArray[np.uint32]:
    """Return a uniformly distributed permutation that every holder of the key draws alike.

    Entry i is the index of the i-th smallest of the stream's first ``count`` 64-bit words. Equal words would favour some orders, so a
    draw that holds two equal words is thrown away and the next ``count`` words are taken.

    Parameters
    ----------
    key : bytes
        32 bytes.
    label : str
        Names the shuffle; a new label is a new permutation.
    count : int
        Elements, 0 to 2^32.

    Returns
    -------
    uint32[count]
        Each of 0 to count - 1 once.

    Raises
    ------
    ConfigurationError
        If the key, the label or the count is out of range.
    """
    if not 0 <= count <= _PERMUTATION_LIMIT:
        raise ConfigurationError(f"permutation of {count} elements: choose 0 to 2^32")
    expander = Expander(key, label)
    draw = 0
    while True:
        words = expander.words_at(draw * count, count)
        order = np.argsort(words)
        ordered = words[order]
        if not np.any(ordered[1:] == ordered[:-1]):
            return order.astype(np.uint32)
        draw += 1
