"""ChaCha20 at scattered places: one 32-bit word of the stream for each slot that was detected.

An emission record of 1e10 slots is never expanded whole; a detection needs the setting of its slot only. Sixteen blocks are
computed side by side, one a vector lane, because neighbouring detections lie in different blocks. The subkey comes from
``common.expander.derive_key``, the words go to ``settings.classify_words``.

References
----------
[Bernstein2008] section 3; block counter in words 12 and 13, nonce zero; the slow reference is the library's ChaCha20.
"""

import numpy as np
from numpy.typing import NDArray

from common.kernels.jit import kernel

LANES = 16
"""Blocks computed side by side: one 512-bit vector of 32-bit words."""

WORDS_PER_BLOCK = 16
"""32-bit words in a ChaCha20 block."""


@kernel
def _quarter_round(state: NDArray[np.uint32], a: int, b: int, c: int, d: int) -> None:
    """Mix rows a, b, c and d of uint32[16, LANES] in every lane."""
    for lane in range(LANES):
        xa, xb, xc, xd = state[a, lane], state[b, lane], state[c, lane], state[d, lane]
        xa = np.uint32(xa + xb)
        xd = np.uint32(xd ^ xa)
        xd = np.uint32((xd << np.uint32(16)) | (xd >> np.uint32(16)))
        xc = np.uint32(xc + xd)
        xb = np.uint32(xb ^ xc)
        xb = np.uint32((xb << np.uint32(12)) | (xb >> np.uint32(20)))
        xa = np.uint32(xa + xb)
        xd = np.uint32(xd ^ xa)
        xd = np.uint32((xd << np.uint32(8)) | (xd >> np.uint32(24)))
        xc = np.uint32(xc + xd)
        xb = np.uint32(xb ^ xc)
        xb = np.uint32((xb << np.uint32(7)) | (xb >> np.uint32(25)))
        state[a, lane], state[b, lane], state[c, lane], state[d, lane] = xa, xb, xc, xd


@kernel
def chacha20_words(subkey: NDArray[np.uint32], index: NDArray[np.int64], words: NDArray[np.uint32]) -> None:
    """Write the stream's 32-bit words at scattered places.

    Parameters
    ----------
    subkey : uint32[8]
        The key as little-endian words.
    index : int64[n]
        Places, 0 or more, in any order: word i is bytes 4 i to 4 i + 3 of the stream.
    words : uint32[n]
        Written.
    """
    start = np.empty((WORDS_PER_BLOCK, LANES), np.uint32)
    state = np.empty((WORDS_PER_BLOCK, LANES), np.uint32)
    for lane in range(LANES):
        start[0, lane], start[1, lane], start[2, lane], start[3, lane] = (
            0x61707865,
            0x3320646E,
            0x79622D32,
            0x6B206574,
        )  # "expand 32-byte k"
        start[14, lane], start[15, lane] = 0, 0
        for row in range(8):
            start[4 + row, lane] = subkey[row]
    for first in range(0, index.size, LANES):
        used = min(LANES, index.size - first)
        for lane in range(LANES):
            block = np.uint64(index[first + min(lane, used - 1)]) >> np.uint64(4)
            start[12, lane] = np.uint32(block & np.uint64(0xFFFFFFFF))
            start[13, lane] = np.uint32(block >> np.uint64(32))
        state[:, :] = start
        for _ in range(10):
            _quarter_round(state, 0, 4, 8, 12)
            _quarter_round(state, 1, 5, 9, 13)
            _quarter_round(state, 2, 6, 10, 14)
            _quarter_round(state, 3, 7, 11, 15)
            _quarter_round(state, 0, 5, 10, 15)
            _quarter_round(state, 1, 6, 11, 12)
            _quarter_round(state, 2, 7, 8, 13)
            _quarter_round(state, 3, 4, 9, 14)
        for lane in range(used):
            place = np.int64(index[first + lane]) & np.int64(15)
            words[first + lane] = np.uint32(state[place, lane] + start[place, lane])
