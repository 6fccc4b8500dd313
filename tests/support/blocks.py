"""Blocks and batches made of whole cloth, for tests of single steps."""

from __future__ import annotations

import dataclasses

import numpy as np
from hypothesis import strategies as st

from common.bits import Bits
from common.blocks import BasisCounts, BlockCounts
from common.distillation.values import ClosedBlock, KeyBits, SiftedBatch
from common.leakage import Leakage


def key_bits(count: int, seed: int = 1) -> KeyBits:
    generator = np.random.default_rng(seed)
    return KeyBits(*(Bits.from_flags(generator.integers(0, 2, count).astype(np.uint8)) for _ in range(2)))


def with_errors(key: KeyBits, positions) -> KeyBits:
    flags = key.bits.to_flags()
    flags[np.asarray(positions, np.int64)] ^= 1
    return KeyBits(Bits.from_flags(flags), key.bases)


def noisy(key: KeyBits, qber: float, seed: int = 2) -> KeyBits:
    return with_errors(key, np.flatnonzero(np.random.default_rng(seed).random(key.bits.count) < qber))


def closed_block(count: int, seed: int = 1, tested: int = 500, errors: int = 2, number: int = 1) -> ClosedBlock:
    key = key_bits(count, seed)
    counts = [BasisCounts(bits, bits, tested, errors) for bits in key.per_basis]
    table = ((tested - errors, errors, 0, 0), (0, 0, 0, 0), (0, 0, tested - errors, errors), (0, 0, 0, 0))
    return ClosedBlock(
        number=number,
        key=key,
        counts=BlockCounts(pulses=100 * count, frames=1, detections=4 * count, cross_clicks=0, z=counts[0], x=counts[1], table=table),
        corrected=(0, 0),
        count_segments=1,
        count_failed=0,
        leakage=Leakage({"syndromes": 7}),
    )


@st.composite
def blocks(draw, min_bits: int = 1, max_bits: int = 5000, number: int = 1):
    return closed_block(draw(st.integers(min_bits, max_bits)), draw(st.integers(0, 2**32)), number=number)


@st.composite
def groups(draw, most_blocks: int = 5, min_bits: int = 1, max_bits: int = 2000):
    """Blocks that are concluded together, numbered from 7 on."""
    return [draw(blocks(min_bits, max_bits, 7 + index)) for index in range(draw(st.integers(1, most_blocks)))]


def flipped(block: ClosedBlock, position: int) -> ClosedBlock:
    return dataclasses.replace(block, key=with_errors(block.key, [position]))


def sifted_batch(bits, bases) -> SiftedBatch:
    """One announcement of which everything is tested, in the bases it was prepared in."""
    empty = KeyBits.joined([])
    ours, theirs = (np.array(flags, np.uint8) for flags in (bits, bases))
    return SiftedBatch(
        1,
        len(bits),
        0,
        empty,
        Bits.from_flags(ours),
        Bits.from_flags(theirs),
        closes_block=False,
        closes_group=False,
        ends_stream=False,
        tested_settings=2 * theirs + ours,
    )
