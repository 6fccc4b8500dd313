"""Measurements of LDPC codes with the decoder in use: ``python -m common.distillation.reconciliation.code_measurement``.

Working points, which ``code_design`` stores with each code, and blind reconciliation as the two halves do it, increments included.
The command measures how often segments fail at first, down to ratios that take tens of thousands of segments to see. Errors are
independent with a fixed probability, from NumPy's generator.

References
----------
[MartinezMateo2012] blind increments. Status: planning.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from dataclasses import dataclass, replace
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from common.distillation.reconciliation.code_matrix import Code, WorkingPoint
from common.distillation.reconciliation.codes import SHIPPED_RATES, SHORT_BITS, Choice, choose_code
from common.distillation.reconciliation.density_evolution import inverse_entropy
from common.distillation.reconciliation.effort import EFFORTS, STANDARD, THOROUGH, Effort
from common.distillation.reconciliation.ldpc_frames import Layout, decode, encode, layout_of, reveal
from common.security.entropy import binary_entropy

SHORTENED_SHARE = 0.25
"""Share of the codeword shortened in the measurement of the shortened working point."""

FAILURE_RATIO = 0.01
"""Segments failing at a working point."""

_BATCH = 20  # segments simulated at once


def effort_for(code: Code) -> Effort:
    """Return the effort that ``code`` is made for, and measured with."""
    return STANDARD if code.count_bits <= STANDARD.most_bits else THOROUGH


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
    layout = layout_of(code, code.count_bits - count_punctured - count_shortened, count_punctured, effort_for(code))
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
    start_efficiency : float
        The same before increments.
    count_failed : int
        Segments that needed an increment.
    frame_error_ratio : float
        Their share.
    mean_increments : float
        Increments a segment, on average.
    mean_iterations : float
        Iterations a segment, over all its attempts.
    count_wrong : int
        Segments decoded to wrong bits.
    """

    efficiency: float
    start_efficiency: float
    count_failed: int
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
    layout = layout_of(choice.code, choice.count_payload, choice.count_punctured, choice.effort)
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
    start_efficiency = layout.leakage_bits() * segments / shannon_bits
    return Outcome(
        charged / shannon_bits, start_efficiency, failed_first, failed_first / segments, increments / segments, iterations / segments, wrong
    )


DEVIATIONS_OF_95_PERCENT = 1.96
"""Standard deviations of a normal variable to either side that hold 95 % of it."""


def wilson_interval(count: int, trials: int) -> tuple[float, float]:
    """Return the interval of 95 % confidence for a probability.

    Parameters
    ----------
    count : int
        Times that it happened.
    trials : int
        Times that it could have, positive.

    Returns
    -------
    tuple[float, float]
        Lower and upper end.

    References
    ----------
    [Wilson1927] score interval; status: planning.
    """
    squared = DEVIATIONS_OF_95_PERCENT**2
    share, weight = count / trials, 1.0 + squared / trials
    middle = (share + squared / (2 * trials)) / weight
    half = sqrt(share * (1.0 - share) * squared / trials + squared * squared / (4 * trials * trials)) / weight
    return max(0.0, middle - half), min(1.0, middle + half)


def main(arguments: list[str] | None = None) -> None:
    """Print how many segments fail at first at given working points, and what blind reconciliation comes to.

    Parameters
    ----------
    arguments : list[str] | None
        Command line; None for the process's own.
    """
    parser = ArgumentParser(prog="python -m common.distillation.reconciliation.code_measurement", description=main.__doc__)
    parser.add_argument(
        "--bits", type=int, choices=sorted(SHIPPED_RATES), default=SHORT_BITS, help="codeword length (default: the shortest)"
    )
    parser.add_argument("--qber", type=float, action="append", help="share of errors (default: 0.05), may be repeated")
    parser.add_argument("--margin", type=float, action="append", help="factor on the efficiency needed (default: 1.05), may be repeated")
    parser.add_argument("--segments", type=int, default=10_000, help="segments simulated for each line (default: 10000)")
    parser.add_argument("--effort", choices=sorted(EFFORTS), default=STANDARD.name, help="of the decoder (default: standard)")
    options = parser.parse_args(arguments)
    sys.stdout.write("code            qber margin f at start segments failed  frame error ratio (95 %)     f in all iterations wrong\n")
    for qber in options.qber or [0.05]:
        for margin in options.margin or [1.05]:
            choice = choose_code(qber, options.bits, margin=margin, effort=EFFORTS[options.effort])
            outcome = reconciled_blindly(choice, qber, options.segments, seed=6)
            low, high = wilson_interval(outcome.count_failed, options.segments)
            sys.stdout.write(
                f"{choice.code.name:14s} {qber:5.2f} {margin:6.3f} {outcome.start_efficiency:10.3f} {options.segments:8d}"
                f" {outcome.count_failed:6d}  {outcome.frame_error_ratio:.1e} ({low:.1e} to {high:.1e}) {outcome.efficiency:7.3f}"
                f" {outcome.mean_iterations:10.1f} {outcome.count_wrong:5d}\n"
            )
            sys.stdout.flush()


if __name__ == "__main__":
    main()
