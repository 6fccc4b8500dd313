"""Measurements of an LDPC code with the decoder in use: its correction table, its working points, and blind reconciliation.

``code_design`` stores the first two with each code; ``report`` shows what they come to when a batch is reconciled as the two halves
do it, increments included. Errors are independent with a fixed probability, from NumPy's generator.

References
----------
[Chen2002] what a minimum is worth; [MartinezMateo2012] blind increments. Status: planning.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from common.distillation.reconciliation.code_matrix import LEVELS_PER_NAT, Code, WorkingPoint, channel_level
from common.distillation.reconciliation.codes import LONG_BITS, Choice
from common.distillation.reconciliation.ldpc_frames import decode, encode, layout_of, reveal
from common.kernels.ldpc import MESSAGE_LIMIT
from common.security.entropy import binary_entropy

SHORTENED_SHARE = 0.25
"""Share of the codeword shortened in the measurement of the shortened working point."""

COUNT_STEPS = 32
"""Entries of the correction table, over the share of unsatisfied checks from 0 to 1/2."""

FAILURE_RATIO = 0.01
"""Segments failing at a working point."""

PLAIN_CORRECTION = ((12, 0),) * COUNT_STEPS
"""Three quarters of the minimum, the usual constant: to begin measuring with."""


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
    batch = 20
    for start in range(0, segments, batch):
        count = min(batch, segments - start)
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
        The code with its correction table.
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
    low, high = _inverse_entropy(leaked_ratio / 2.5), _inverse_entropy(leaked_ratio)  # where f would be 2.5, and 1
    while high - low > 0.005 * low:
        middle = 0.5 * (low + high)
        if fails_too_often(code, count_punctured, count_shortened, middle, segments):
            high = middle
        else:
            low = middle
    return WorkingPoint(count_punctured, count_shortened, round(low, 6))


def _inverse_entropy(bits: float) -> float:
    low, high = 0.0, 0.5
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if binary_entropy(middle) < bits else (low, middle)
    return low


def measured_correction(code: Code, qbers: tuple[float, ...], segments: int) -> tuple[tuple[int, int], ...]:
    """Measure what a minimum is worth at each stage of decoding, and fit the decoder's affine correction to it.

    A simulation that knows the errors counts how often a check's message of each magnitude has the right sign. The logarithm of
    right over wrong is the message's true log-likelihood ratio.

    Parameters
    ----------
    code : Code
        The code; its present table drives the decoder while counting.
    qbers : tuple[float, ...]
        QBERs to simulate.
    segments : int
        Segments for each.

    Returns
    -------
    tuple[tuple[int, int], ...]
        Factor and offset for each of ``COUNT_STEPS`` steps.
    """
    counts = np.zeros((COUNT_STEPS, 2, MESSAGE_LIMIT + 1))
    for qber in qbers:
        counts += _message_counts(code, qber, segments)
    pooled = counts.copy()  # a step that decoding rushes through borrows from its neighbours
    pooled[1:] += 0.1 * counts[:-1]
    pooled[:-1] += 0.1 * counts[1:]
    correction = [_fitted(right, wrong) for right, wrong in pooled]
    seen = [step for step in range(COUNT_STEPS) if pooled[step].sum() > 0.0]
    return tuple(correction[min(seen, key=lambda step, wanted=wanted: abs(step - wanted))] for wanted in range(COUNT_STEPS))  # type: ignore[misc]


def _fitted(right: NDArray[np.float64], wrong: NDArray[np.float64]) -> tuple[int, int]:
    magnitudes = np.arange(MESSAGE_LIMIT + 1)
    weight = right + wrong
    worth = np.clip(LEVELS_PER_NAT * np.log((right + 0.5) / (wrong + 0.5)), 0.0, magnitudes)
    best, best_loss = (16, 0), np.inf
    for factor in range(1, 17):
        for offset in range(MESSAGE_LIMIT // 2):
            sent = np.clip((magnitudes * factor >> 4) - offset, 0, MESSAGE_LIMIT)
            loss = float((weight * (sent - worth) ** 2).sum())
            if loss < best_loss:
                best, best_loss = (factor, offset), loss
    return best


def _message_counts(code: Code, qber: float, segments: int) -> NDArray[np.float64]:
    """Run the layered decoder in NumPy on known errors and count messages by stage, sign right or wrong, and magnitude."""
    generator = np.random.default_rng(2)
    errors = generator.random((segments, code.count_bits)) < qber
    lanes = np.arange(code.lift)
    edges = [column * code.lift + (lanes + shift) % code.lift for column, shift in zip(code.edge_columns, code.edge_shifts, strict=True)]
    rows = [np.array(edges[first:last]) for first, last in zip(code.row_starts[:-1], code.row_starts[1:], strict=True)]
    parities = [errors[:, row].sum(axis=1) & 1 for row in rows]
    posterior = np.full((segments, code.count_bits), channel_level(qber), np.int64)
    messages = [np.zeros((segments, *row.shape), np.int64) for row in rows]
    counts = np.zeros((COUNT_STEPS, 2, MESSAGE_LIMIT + 1))
    unsatisfied = float(np.mean(parities))
    for _ in range(50):
        step = min(int(unsatisfied * 2 * COUNT_STEPS), COUNT_STEPS - 1)
        factor, offset = int(code.factors[step]), int(code.offsets[step])
        total = 0.0
        for index, row in enumerate(rows):
            before = posterior[:, row]
            total += float(np.mean(((before < 0).sum(axis=1) & 1) ^ parities[index]))
            sums = before - messages[index]
            magnitudes = np.minimum(np.abs(sums), MESSAGE_LIMIT)
            two = np.partition(magnitudes, 1, axis=1)
            least = np.where(magnitudes == two[:, :1], two[:, 1:2], two[:, :1])
            negative = (((sums < 0).sum(axis=1) & 1) ^ parities[index])[:, None] ^ (sums < 0)
            is_wrong = (negative != errors[:, row]).astype(np.int64)
            cells = (is_wrong * (MESSAGE_LIMIT + 1) + least).reshape(-1)
            counts[step] += np.bincount(cells, minlength=counts[step].size).reshape(counts[step].shape)
            sent = np.clip((least * factor >> 4) - offset, 0, MESSAGE_LIMIT)
            messages[index] = np.where(negative, -sent, sent)
            posterior[:, row] = sums + messages[index]
        unsatisfied = total / len(rows)
        if unsatisfied == 0.0:
            break
    return counts


def measured(code: Code, segments: int) -> Code:
    """Measure correction table and working points of a code.

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
    code = rebuilt(code, PLAIN_CORRECTION, ())
    crowd = max(1, 2 * LONG_BITS // code.count_bits)
    for share in (0.85, 1.0):  # begin where even the plain correction decodes, then at the working point so found
        reach = working_point(code, 0, 0, segments).qber
        code = rebuilt(code, measured_correction(code, (0.85 * share * reach, 0.95 * reach, reach, 1.03 * reach), crowd), ())
    shortened = int(SHORTENED_SHARE * code.count_bits)
    settings = ((0, 0), (code.most_punctured, 0), (0, shortened))
    points = tuple(working_point(code, count_punctured, count_shortened, segments) for count_punctured, count_shortened in settings)
    return replace(code, working_points=points)


def rebuilt(code: Code, correction: tuple[tuple[int, int], ...], points: tuple[WorkingPoint, ...]) -> Code:
    """Return the code with other measurements.

    Parameters
    ----------
    code : Code
        The code.
    correction : tuple[tuple[int, int], ...]
        Correction table.
    points : tuple[WorkingPoint, ...]
        Working points.

    Returns
    -------
    Code
        Checked again.
    """
    return Code.of(code.name, code.lift, code.shifts, code.punctured_columns, correction, points)


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
    for _ in range(segments):
        theirs: NDArray[np.uint8] = generator.integers(0, 2, (1, layout.count_payload), np.uint8)
        private: NDArray[np.uint8] = generator.integers(0, 2, (1, layout.count_punctured), np.uint8)
        errors: NDArray[np.uint8] = (generator.random(theirs.shape) < qber).astype(np.uint8)
        syndromes = encode(layout, theirs, private)
        step = last = 0
        while True:
            decoded = decode(layout, theirs ^ errors, syndromes, reveal(layout, theirs, private, 0, last), qber)
            iterations += int(decoded.iterations[0])
            if decoded.succeeded[0]:
                break
            _, last = layout.increment(step, layout.increment_bits)
            step += 1
        charged += layout.leakage_bits(last)
        increments += step
        failed_first += step > 0
        wrong += int((decoded.payload != theirs).any())
    shannon_bits = segments * layout.count_payload * binary_entropy(qber)
    return Outcome(charged / shannon_bits, failed_first / segments, increments / segments, iterations / segments, wrong)
