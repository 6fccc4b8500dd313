"""The likelihood of many frame offsets at once: settings and disclosed outcomes in, one score per candidate out.

Used by ``alice.frame_offset``; a candidate is dropped as soon as it is hopeless, so a wrong one costs some fifty detections and not all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from common.kernels.jit import kernel

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LEAD_DETECTIONS = 48
"""Detections before the first test: about as many as give a wrong candidate up at 8 % QBER."""

BLOCK_CANDIDATES = 2048
"""Candidates side by side: their sums stay in the fastest cache."""


@kernel
def score_offsets(
    settings: NDArray[np.uint8],
    row_start: NDArray[np.int64],
    outcome: NDArray[np.uint8],
    gain_bits: NDArray[np.float64],
    stride: int,
    reject_bits: float,
    scores_bits: NDArray[np.float64],
) -> None:
    """Sum the log-likelihood ratios of the detections for each candidate, stopping a candidate that falls too low.

    Candidate c supposes that detection i met the setting ``settings[row_start[i] + c stride]``. The first ``LEAD_DETECTIONS`` are summed
    for a whole block of candidates at a time, which runs through memory in order; the test begins after them.

    Parameters
    ----------
    settings : uint8[m]
        Setting indices; every index a candidate reaches lies within.
    row_start : int64[n]
        Place of each detection's setting under candidate 0.
    outcome : uint8[n]
        Disclosed outcomes, Z0=0 Z1=1 X0=2 X1=3.
    gain_bits : float64[settings, 4], bits
        log2 of P(outcome | setting) over P(outcome | a setting of another slot).
    stride : int
        Slots from one candidate to the next.
    reject_bits : float, bits
        A candidate whose sum lies below ``-reject_bits`` after the lead, or falls there later, keeps the sum it had there.
    scores_bits : float64[candidates], bits
        Output.

    References
    ----------
    Sequential probability ratio test: Wald 1945, Ann. Math. Stat. 16, 117; the right candidate is rejected with probability at most
    2^-reject_bits; status: rigorous for independent detections with the assumed QBER.
    """
    lead = min(LEAD_DETECTIONS, row_start.size)
    for block in range(0, scores_bits.size, BLOCK_CANDIDATES):
        count = min(BLOCK_CANDIDATES, scores_bits.size - block)
        sums = scores_bits[block : block + count]
        sums[:] = 0.0
        for i in range(lead):
            gain = gain_bits[:, outcome[i]].copy()
            first = row_start[i] + block * stride
            for candidate in range(count):
                sums[candidate] += gain[settings[first + candidate * stride]]
        for candidate in range(count):
            score = sums[candidate]
            shift = (block + candidate) * stride
            i = lead
            while i < row_start.size and score >= -reject_bits:
                score += gain_bits[settings[row_start[i] + shift], outcome[i]]
                i += 1
            sums[candidate] = score
