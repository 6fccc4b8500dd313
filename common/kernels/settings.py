"""Settings of Alice's pulses as numbers: from random words, and packed one, two, four or eight bits a slot.

The emission record keeps the setting of every slot in this form, first slot in the highest bits of its byte. Words come from the
expander, packed bytes from ``emission.h5``; settings go to sifting as uint8 indices.
"""

import numpy as np
from numpy.typing import NDArray

from common.kernels.jit import kernel

_RUN = 2048
"""Words classified together: 8 KiB."""


@kernel
def classify_words(words: NDArray[np.uint32], thresholds: NDArray[np.uint32], settings: NDArray[np.uint8]) -> None:
    """Turn random words into settings: the number of thresholds at or below the word.

    Parameters
    ----------
    words : uint32[n]
        Uniformly distributed.
    thresholds : uint32[m - 1]
        Non-decreasing: floor(2^32 (p_0 + ... + p_j)) for all of the m settings but the last.
    settings : uint8[n]
        Written, 0 to m - 1.
    """
    for first in range(0, words.size, _RUN):  # runs stay in the first cache; inside, one comparison for the whole run is a vector loop
        run, chosen = words[first : first + _RUN], settings[first : first + _RUN]
        chosen[:] = 0
        for rank in range(thresholds.size):
            threshold = thresholds[rank]
            for place in range(run.size):
                chosen[place] += np.uint8(run[place] >= threshold)


@kernel
def pack_settings(settings: NDArray[np.uint8], bits_per_setting: int, packed: NDArray[np.uint8]) -> None:
    """Pack settings, first in the highest bits, the rest of the last byte zero.

    Parameters
    ----------
    settings : uint8[n]
        Each below 2^bits_per_setting.
    bits_per_setting : int
        1, 2, 4 or 8.
    packed : uint8[ceil(n bits_per_setting / 8)]
        Written.
    """
    per_byte = 8 // bits_per_setting
    for place in range(packed.size):
        byte = np.int64(0)
        for part in range(per_byte):
            byte <<= bits_per_setting
            source = place * per_byte + part
            if source < settings.size:
                byte |= np.int64(settings[source])
        packed[place] = byte


@kernel
def unpack_settings(packed: NDArray[np.uint8], bits_per_setting: int, first: int, settings: NDArray[np.uint8]) -> None:
    """Read consecutive settings.

    Parameters
    ----------
    packed : uint8[m]
        As ``pack_settings`` writes it.
    bits_per_setting : int
        1, 2, 4 or 8.
    first : int
        Index of the first setting wanted.
    settings : uint8[n]
        Written.
    """
    per_byte = 8 // bits_per_setting
    mask = (1 << bits_per_setting) - 1
    for place in range(settings.size):
        source = first + place
        shift = 8 - bits_per_setting * (1 + source % per_byte)
        settings[place] = (np.int64(packed[source // per_byte]) >> shift) & mask


@kernel
def gather_settings(packed: NDArray[np.uint8], bits_per_setting: int, index: NDArray[np.int64], settings: NDArray[np.uint8]) -> None:
    """Read settings at scattered places.

    Parameters
    ----------
    packed : uint8[m]
        As ``pack_settings`` writes it.
    bits_per_setting : int
        1, 2, 4 or 8.
    index : int64[n]
        Places, in any order; the caller has checked that they are inside.
    settings : uint8[n]
        Written.
    """
    per_byte = 8 // bits_per_setting
    mask = (1 << bits_per_setting) - 1
    for place in range(index.size):
        source = index[place]
        shift = 8 - bits_per_setting * (1 + source % per_byte)
        settings[place] = (np.int64(packed[source // per_byte]) >> shift) & mask
