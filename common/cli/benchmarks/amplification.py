"""Privacy amplification: the Toeplitz product beside the two usual ways to compute it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from common.bits import Bits
from common.cli.benchmarks.measurement import Measurement, Request, fastest, installed, require_equal
from common.kernels.toeplitz import toeplitz_hash

MOST_PEER_BITS = 1_000_000
"""Longest block given to cryptomite, which takes Python lists; beyond it one run takes ten seconds."""

Flags = NDArray[np.uint8]


def measure(request: Request) -> Iterator[Measurement]:
    """Measure amplification of n bits to n/2.

    Parameters
    ----------
    request : Request
        What to measure.

    Yields
    ------
    Measurement
        For each block length, once for each peer.

    Raises
    ------
    LocalProtocolError
        If a peer's result is not ours to the last bit.
    """
    rng = np.random.default_rng(6)
    for block_bits in request.lengths((100_000, 1_000_000, 10_000_000), (20_000,)):
        key: Flags = rng.integers(0, 2, block_bits, np.uint8)
        seed: Flags = rng.integers(0, 2, block_bits + block_bits // 2 - 1, np.uint8)
        yield from _beside_peers(request, key, seed)


def _beside_peers(request: Request, key: Flags, seed: Flags) -> Iterator[Measurement]:
    count_out = seed.size + 1 - key.size
    key_words, seed_words = Bits.from_flags(key).words, Bits.from_flags(seed).words

    def ours() -> NDArray[np.uint64]:
        return toeplitz_hash(key_words, key.size, seed_words, count_out)

    peers = dict(_peers(key, seed, count_out))
    for name, peer in peers.items():
        same = np.array_equal(Bits(ours(), count_out).to_flags(), peer())
        require_equal(same, f"our Toeplitz product and that of {name}")
    seconds, *peer_seconds = fastest(request, ours, *peers.values())
    for name, theirs in zip(peers, peer_seconds, strict=True):
        yield Measurement(
            stage="amplification",
            method="Toeplitz to half, one end, kernel",
            block_bits=key.size,
            mbit_per_second=key.size / seconds / 1e6,
            peer=name,
            ratio_to_peer=theirs / seconds,
            note="bits of input; exact",
        )


def _peers(key: Flags, seed: Flags, count_out: int) -> Iterator[tuple[str, Callable[[], Flags]]]:
    yield "numpy FFT, float64", lambda: _by_fourier_transform(key, seed, count_out)
    found = installed("cryptomite")
    if found is None or key.size > MOST_PEER_BITS:
        return
    from cryptomite import Toeplitz

    extractor = Toeplitz(key.size, count_out)
    # Its seed is the first column, then the rest of the first row from its end: the same matrix.
    bits, column_first = key.tolist(), np.concatenate([seed[key.size - 1 :], seed[: key.size - 1]]).tolist()
    yield f"cryptomite {found}", lambda: np.array(extractor.extract(bits, column_first), np.uint8)


def _by_fourier_transform(key: Flags, seed: Flags, count_out: int) -> Flags:
    """Compute the product as a cyclic convolution in floating point; what wraps around falls outside of the output."""
    length = _good_length(seed.size)
    spectrum = np.fft.rfft(seed, length)
    spectrum *= np.fft.rfft(key, length)
    window = np.fft.irfft(spectrum, length)[key.size - 1 : key.size - 1 + count_out]
    return np.rint(window).astype(np.int64).astype(np.uint8) & np.uint8(1)


def _good_length(least: int) -> int:
    """Return the smallest length of at least ``least`` that is a power of two, or 3 or 5 times one: transforms of these are fast."""
    return min(factor << max(0, (-(-least // factor) - 1).bit_length()) for factor in (1, 3, 5))
