"""Privacy amplification: Toeplitz products, plain and in the form the distillation uses, beside the usual ways to compute them."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from common.bits import Bits
from common.cli.benchmarks.measurement import Measurement, Request, fastest, installed, require_equal
from common.kernels.toeplitz import modified_toeplitz_hash, toeplitz_hash

MOST_TRANSFORM_BITS = 10_000_000
"""Longest block given to the float64 transform; beyond it one run takes a quarter of a minute and gigabytes."""

MOST_PEER_BITS = 1_000_000
"""Longest block given to cryptomite, which takes Python lists; beyond it one run takes ten seconds."""

COUNT_CHECKED = 5
"""Bits of output that are checked by their definition where there is no peer."""

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
        For each block length and form of the matrix, once for each peer.

    Raises
    ------
    LocalProtocolError
        If a result is not the peer's to the last bit, or not what the definition says.
    """
    rng = np.random.default_rng(6)
    for block_bits in request.lengths((100_000, 1_000_000, 10_000_000, 100_000_000), (20_000,)):
        key: Flags = rng.integers(0, 2, block_bits, np.uint8)
        seed: Flags = rng.integers(0, 2, block_bits + block_bits // 2 - 1, np.uint8)
        yield from _measure_plain(request, key, seed)
        yield from _measure_modified(request, key, seed[: block_bits - 1])


def _measure_plain(request: Request, key: Flags, seed: Flags) -> Iterator[Measurement]:
    count_out = seed.size + 1 - key.size
    key_words, seed_words = Bits.from_flags(key).words, Bits.from_flags(seed).words

    def ours() -> NDArray[np.uint64]:
        return toeplitz_hash(key_words, key.size, seed_words, count_out)

    _check(Bits(ours(), count_out), key, seed)
    yield from _beside(request, "Toeplitz to half, one end, kernel", key.size, count_out, ours, dict(_peers(key, seed, count_out)))


def _measure_modified(request: Request, key: Flags, seed: Flags) -> Iterator[Measurement]:
    count_out = key.size // 2
    key_words, seed_words = Bits.from_flags(key).words, Bits.from_flags(seed).words
    kept, rest = key[:count_out], key[count_out:]

    def ours() -> NDArray[np.uint64]:
        return modified_toeplitz_hash(key_words, key.size, seed_words, count_out)

    _check(Bits.from_flags(Bits(ours(), count_out).to_flags() ^ kept), rest, seed)
    peers: dict[str, Callable[[], Flags]] = {}
    if key.size <= MOST_TRANSFORM_BITS:
        peers["numpy FFT, float64"] = lambda: kept ^ _by_fourier_transform(rest, seed, count_out)
    yield from _beside(request, "identity beside Toeplitz to half, one end, kernel", key.size, count_out, ours, peers)


def _check(got: Bits, key: Flags, seed: Flags) -> None:
    """Compare a few bits with their definition; row i of the matrix is the seed from bit i on, backwards."""
    flags, backwards = got.to_flags(), key[::-1]
    for i in np.linspace(0, got.count - 1, COUNT_CHECKED).astype(int).tolist():
        parity = np.bitwise_xor.reduce(backwards & seed[i : i + key.size])
        require_equal(bool(flags[i] == parity), "our Toeplitz product and its definition")


def _beside(
    request: Request,
    method: str,
    block_bits: int,
    count_out: int,
    ours: Callable[[], NDArray[np.uint64]],
    peers: dict[str, Callable[[], Flags]],
) -> Iterator[Measurement]:
    tracemalloc.start()
    result = Bits(ours(), count_out).to_flags()
    memory_mbyte = tracemalloc.get_traced_memory()[1] / 1e6
    tracemalloc.stop()
    for name, peer in peers.items():
        require_equal(np.array_equal(result, peer()), f"our Toeplitz product and that of {name}")
    seconds, *peer_seconds = fastest(request, ours, *peers.values())
    alone = Measurement(
        stage="amplification",
        method=method,
        block_bits=block_bits,
        mbit_per_second=block_bits / seconds / 1e6,
        note=f"bits of input; exact; {memory_mbyte:.3g} MB at work",
    )
    beside = (replace(alone, peer=name, ratio_to_peer=theirs / seconds) for name, theirs in zip(peers, peer_seconds, strict=True))
    yield from beside if peers else [alone]


def _peers(key: Flags, seed: Flags, count_out: int) -> Iterator[tuple[str, Callable[[], Flags]]]:
    if key.size > MOST_TRANSFORM_BITS:
        return
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
