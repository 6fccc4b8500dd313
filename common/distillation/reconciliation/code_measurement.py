"""Measurements of an LDPC code with the decoder in use: its working points, and blind reconciliation.

``code_design`` stores the first with each code; ``report`` shows what they come to when a batch is reconciled as the two halves
do it, increments included. Errors are independent with a fixed probability, from NumPy's generator.

References
----------
[MartinezMateo2012] blind increments. Status: planning.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from common.distillation.reconciliation.code_matrix import Code, WorkingPoint
from common.distillation.reconciliation.codes import Choice
from common.distillation.reconciliation.density_evolution import inverse_entropy
from common.distillation.reconciliation.ldpc_frames import Layout, decode, encode, layout_of, reveal
from common.security.entropy import binary_entropy

SHORTENED_SHARE = 0.25
"""Share of the codeword shortened in the measurement of the shortened working point."""

FAILURE_RATIO = 0.01
"""Segments failing at a working point."""

_BATCH = 20  # segments simulated at once


def fails_too_often(code: Code, count_punctured: int, count_shortened: int, qber: float, segments: int) -> bool:
    """Say whether more than ``FAILURE_RATIO`` of simulated segments fail without increments.

    Parameters
    ----------
    code : Code
        The code.
    count_punctured, count_shortened : int
        Positions with private bits and with known zeros.
    qber : float
        Independent errors with this probability, which the decoder is told.
    segments : int
        Segments to try; fewer are when the answer is clear.

    Returns
    -------
    bool
        Whether too many failed or were decoded wrongly.
    """
    generator = np.random.default_rng(1)
    layout = layout_of(code, code.count_bits - count_punctured - count_shortened, count_punctured)
    failed = 0
    for start in range(0, segments, _BATCH):
        count = min(_BATCH, segments - start)
        theirs: NDArray[np.uint8] = generator.integers(0, 2, (count, layout.count_payload), np.uint8)
        private = generator.integers(0, 2, (count, layout.count_punctured), np.uint8)
        errors: NDArray[np.uint8] = (generator.random(theirs.shape) < qber).astype(np.uint8)
        decoded = decode(layout, theirs ^ errors, encode(layout, theirs, private), np.zeros((count, 0), np.uint8), qber)
        failed += int((~decoded.succeeded | (decoded.payload != theirs).any(axis=1)).sum())
        if failed > FAILURE_RATIO * segments:
            return True
    return False


def working_point(code: Code, count_punctured: int, count_shortened: int, segments: int) -> WorkingPoint:
    """Search the QBER at which ``FAILURE_RATIO`` of the segments fail.

    Parameters
    ----------
    code : Code
        The code.
    count_punctured, count_shortened : int
        Positions with private bits and with known zeros.
    segments : int
        Segments simulated at each step of the search.

    Returns
    -------
    WorkingPoint
        QBER to about one per cent of its value.
    """
    leaked_ratio = (code.count_checks - count_punctured) / (code.count_bits - count_punctured - count_shortened)
    low, high = inverse_entropy(leaked_ratio / 4.0), inverse_entropy(leaked_ratio)  # where f would be 4, and 1
    while high - low > 0.005 * low:
        middle = 0.5 * (low + high)
        if fails_too_often(code, count_punctured, count_shortened, middle, segments):
            high = middle
        else:
            low = middle
    return WorkingPoint(count_punctured, count_shortened, round(low, 6))


def measured(code: Code, segments: int) -> Code:
    """Measure the working points of a code.

    Parameters
    ----------
    code : Code
        The code; measurements it holds are replaced.
    segments : int
        Segments a step of the search for a working point.

    Returns
    -------
    Code
        The same code with new measurements.
    """
    shortened = int(SHORTENED_SHARE * code.count_bits)
    settings = ((0, 0), (code.most_punctured, 0), (0, shortened))
    points = tuple(working_point(code, count_punctured, count_shortened, segments) for count_punctured, count_shortened in settings)
    return replace(code, working_points=points)


@dataclass(frozen=True, slots=True, eq=False)
class BlindlyDecoded:
    """What it took to decode a batch with increments.

    Attributes
    ----------
    payload : uint8[segments, count_payload], values 0/1
        Corrected key bits.
    count_steps, iterations : int64[segments]
        Increments asked for, and iterations over all attempts.
    charged_bits : int
        Leakage of all segments, increments included.
    """

    payload: NDArray[np.uint8]
    count_steps: NDArray[np.int64]
    iterations: NDArray[np.int64]
    charged_bits: int


def decoded_blindly(
    layout: Layout,
    theirs: NDArray[np.uint8],
    private: NDArray[np.uint8],
    ours: NDArray[np.uint8],
    syndromes: NDArray[np.uint8],
    qber: float,
) -> BlindlyDecoded:
    """Decode a batch, with increments until each segment is decoded, as the two halves of ``ldpc`` do it.

    Parameters
    ----------
    layout : Layout
        What lies where.
    theirs, private : uint8[segments, ...], values 0/1
        The reference half's bits, for the increments.
    ours : uint8[segments, count_payload], values 0/1
        The correcting half's key bits.
    syndromes : uint8[segments, count_checks], values 0/1
        From ``encode``.
    qber : float
        What the decoder is told.

    Returns
    -------
    BlindlyDecoded
        Corrected bits and their price.
    """
    segments = len(ours)
    payload = ours.copy()
    steps, iterations = np.zeros(segments, np.int64), np.zeros(segments, np.int64)
    charged = segments * layout.leakage_bits()
    left = np.arange(segments)
    revealed = np.zeros((segments, 0), np.uint8)
    while True:
        decoded = decode(layout, ours[left], syndromes[left], revealed, qber)
        payload[left] = decoded.payload
        iterations[left] += decoded.iterations
        left, revealed = left[~decoded.succeeded], revealed[~decoded.succeeded]
        if not left.size:
            return BlindlyDecoded(payload, steps, iterations, charged)
        more = reveal(layout, theirs[left], private[left], *layout.increment(int(steps[left[0]]), layout.increment_bits))
        steps[left] += 1
        charged += more.size
        revealed = np.hstack([revealed, more])


@dataclass(frozen=True, slots=True)
class Outcome:
    """What blind reconciliation of many segments came to.

    Attributes
    ----------
    efficiency : float
        Bits charged, increments included, over ``payload h(qber)``.
    frame_error_ratio : float
        Share of segments that needed an increment.
    mean_increments : float
        Increments a segment, on average.
    mean_iterations : float
        Iterations a segment, over all its attempts.
    count_wrong : int
        Segments decoded to wrong bits.
    """

    efficiency: float
    frame_error_ratio: float
    mean_increments: float
    mean_iterations: float
    count_wrong: int


def reconciled_blindly(choice: Choice, qber: float, segments: int, seed: int) -> Outcome:
    """Reconcile simulated segments with increments until each is decoded.

    Parameters
    ----------
    choice : Choice
        Code and start.
    qber : float
        Independent errors with this probability, which the decoder is told.
    segments : int
        Segments to simulate.
    seed : int
        Of the simulated channel.

    Returns
    -------
    Outcome
        Averages over the segments.
    """
    layout = layout_of(choice.code, choice.count_payload, choice.count_punctured)
    generator = np.random.default_rng(seed)
    charged = increments = iterations = wrong = failed_first = 0
    for start in range(0, segments, _BATCH):
        count = min(_BATCH, segments - start)
        theirs: NDArray[np.uint8] = generator.integers(0, 2, (count, layout.count_payload), np.uint8)
        private: NDArray[np.uint8] = generator.integers(0, 2, (count, layout.count_punctured), np.uint8)
        errors: NDArray[np.uint8] = (generator.random(theirs.shape) < qber).astype(np.uint8)
        decoded = decoded_blindly(layout, theirs, private, theirs ^ errors, encode(layout, theirs, private), qber)
        charged += decoded.charged_bits
        increments += int(decoded.count_steps.sum())
        iterations += int(decoded.iterations.sum())
        failed_first += int(np.count_nonzero(decoded.count_steps))
        wrong += int(np.count_nonzero((decoded.payload != theirs).any(axis=1)))
    shannon_bits = segments * layout.count_payload * binary_entropy(qber)
    return Outcome(charged / shannon_bits, failed_first / segments, increments / segments, iterations / segments, wrong)
