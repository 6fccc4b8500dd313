"""How much computing LDPC reconciliation may spend to leak less: one choice, from which everything else follows.

Both halves must make the same choice, since code, layout and increments depend on it. Read by ``codes``, which chooses the code, and by
``ldpc_frames``, which decodes.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf


@dataclass(frozen=True, slots=True)
class Effort:
    """One way to trade time for leakage.

    Attributes
    ----------
    name : str
        For reports.
    margin : float
        Factor on the efficiency that a code needs. Near its threshold a decoder takes ever more iterations: at QBER 5 %, 1.015 in place
        of 1 saves a quarter of the time, and 1.03 a fifth more.
    ceiling : float
        Efficiency beyond which the margin is given up again, down to that of ``STANDARD``: high code rates have none to spare.
    fine : bool
        Whether the decoder counts on the fine scale and tells every neighbour exactly what the others say.
    iterations : int
        Iterations after which a segment counts as failed; most end long before, decoded or without progress.
    patience : int
        Iterations without progress after which an increment is asked for: decoding on would cost more time than it saves in leakage.
    increment_share : float
        Values revealed in one increment, as a share of the syndrome: it overshoots by half of that.
    most_bits : int
        Longest codewords used, bits.
    """

    name: str
    margin: float
    ceiling: float
    fine: bool
    iterations: int
    patience: int
    increment_share: float
    most_bits: int


FAST = Effort("fast", margin=1.05, ceiling=1.143, fine=False, iterations=60, patience=5, increment_share=0.02, most_bits=256_000)
"""As ``STANDARD`` from a safer start: half the iterations for 3 % more leakage."""

STANDARD = Effort("standard", margin=1.015, ceiling=inf, fine=False, iterations=60, patience=5, increment_share=0.02, most_bits=256_000)
"""The default."""

THOROUGH = Effort("thorough", margin=1.008, ceiling=inf, fine=True, iterations=150, patience=12, increment_share=0.005, most_bits=1_024_000)
"""Long codes near the Shannon limit, for batches of a million bits and links where key is dearer than time."""

EFFORTS = {effort.name: effort for effort in (FAST, STANDARD, THOROUGH)}
"""All of them by name."""
