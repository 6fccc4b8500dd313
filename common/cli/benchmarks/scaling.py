"""How cost and efficiency go with the size of a block: stages that work on a block as a whole, over three orders of magnitude.

Amplification is measured over as many by its own stage. The page on performance draws these beside n log n.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from common.bits import Bits
from common.cli.benchmarks import hashing, reconciliation, sifting
from common.cli.benchmarks.measurement import Measurement, Request

QBER = 0.02
"""Share of differing bits, unless one is asked for."""

RECONCILED_BITS = (16_384, 65_536, 262_144, 1_048_576, 4_194_304, 16_777_216)
HASHED_BITS = (100_000, 1_000_000, 10_000_000, 100_000_000)
SIFTED_DETECTIONS = (4_096, 16_384, 65_536, 262_144)
"""Sizes of blocks; of detections as many as one announcement may hold."""


def measure(request: Request) -> Iterator[Measurement]:
    """Measure block after block.

    Parameters
    ----------
    request : Request
        What to measure; of several QBERs the first.

    Yields
    ------
    Measurement
        Both methods of reconciliation with their messages, the hash, announcement and reply.
    """
    qber = QBER if QBER in request.qbers else request.qbers[0]
    for method in ("cascade", "ldpc"):
        for block_bits in request.lengths(RECONCILED_BITS, (16_384, 65_536)):
            yield _scaling(reconciliation.conversation(request, method, qber, block_bits))
    for block_bits in request.lengths(HASHED_BITS, (20_000, 100_000)):
        key = Bits.from_flags(np.random.default_rng(5).integers(0, 2, block_bits, np.uint8))
        yield _scaling(replace(hashing.hash_alone(request, key), peer=None, ratio_to_peer=None))
    rng = np.random.default_rng(1)
    for count in SIFTED_DETECTIONS[: 2 if request.quick else None]:
        found = sifting.conversation(request, sifting.drawn_slots(rng, count, sifting.GAP_SLOTS), rng)
        yield _scaling(replace(found, block_bits=count))


def _scaling(found: Measurement) -> Measurement:
    return replace(found, stage="scaling")
