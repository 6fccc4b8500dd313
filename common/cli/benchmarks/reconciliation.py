"""Reconciliation by both methods: as the two halves talk, the Cascade search alone, and LDPC decoding beside its peer.

Every run corrects fresh bits with fresh independent errors, so that the segments of all runs count towards the share that failed.
The bits charged are the conversation's own account: parities or syndromes, increments and segment tags.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.bits import Bits
from common.cli.benchmarks.measurement import MOST_SECONDS, REPETITIONS, Measurement, Request, fastest, installed
from common.conversation.rehearsal import rehearse
from common.distillation.recipe import Recipe
from common.distillation.reconciliation.cascade import pinned_plan
from common.distillation.reconciliation.code_matrix import Code
from common.distillation.reconciliation.code_measurement import decoded_blindly
from common.distillation.reconciliation.codes import LONGEST_BITS, choose_code
from common.distillation.reconciliation.ldpc_frames import Layout, encode, layout_of
from common.distillation.reconciliation.methods import METHODS
from common.distillation.values import KeyBits
from common.kernels.cascade_search import DEFAULT_SEGMENT_BITS, CascadeSearch, block_sizes
from common.profiles.link import load_profile
from common.security.entropy import binary_entropy

PEER_CODEWORDS = 2
"""Codewords that the peer decodes; it takes about half a second for each."""

Flags = NDArray[np.uint8]


@dataclass(slots=True)
class _Tally:
    """Sums over runs."""

    seconds: float = float("inf")
    bits: int = 0
    shannon_bits: float = 0.0
    charged_bits: int = 0
    segments: int = 0
    failed: int = 0

    @property
    def efficiency(self) -> float | None:
        """Bits charged over ``n h(e)``; None where no bit differed."""
        return self.charged_bits / self.shannon_bits if self.shannon_bits else None


def measure(request: Request) -> Iterator[Measurement]:
    """Measure reconciliation.

    Parameters
    ----------
    request : Request
        What to measure; ``block_bits`` are those reconciled together.

    Yields
    ------
    Measurement
        Methods in order, QBERs within.
    """
    for block_bits in request.lengths((1 << 22,), (1 << 17,)):
        for qber in request.qbers:
            yield _conversation(request, "cascade", qber, block_bits)
        for qber in request.qbers:
            yield _cascade_search(request, qber, block_bits)
        for qber in request.qbers:
            yield _conversation(request, "ldpc", qber, block_bits)
        for qber in request.qbers:
            yield _ldpc_decoding(request, qber, block_bits)


def _noisy(rng: np.random.Generator, count: int, qber: float) -> tuple[Flags, Flags]:
    """Draw bits, and the same bits with independent errors."""
    bits: Flags = rng.integers(0, 2, count, np.uint8)
    return bits, bits ^ (rng.random(count) < qber).astype(np.uint8)


def _key(bits: Flags) -> KeyBits:
    return KeyBits(Bits.from_flags(bits), Bits.from_flags(np.zeros(bits.size, np.uint8)))


def _runs(request: Request) -> Iterator[int]:
    """Count runs, the first of which only warms up, until there are enough or they have taken long enough."""
    begin = time.perf_counter()
    for run in range(1 + (2 if request.quick else REPETITIONS)):
        if run > 2 and time.perf_counter() - begin > MOST_SECONDS:  # a warm-up and two that count, always
            return
        yield run


def _conversation(request: Request, method: str, qber: float, block_bits: int) -> Measurement:
    recipe = dataclasses.replace(Recipe.of(load_profile("niedersachsen")), segment_bits=LONGEST_BITS)
    rng = np.random.default_rng(2)
    tally = _Tally()
    for run in _runs(request):
        reference, correcting = _noisy(rng, block_bits, qber)
        halves = METHODS[method].reference(recipe, qber, [_key(reference)]), METHODS[method].correcting(recipe, qber, [_key(correcting)])
        start = time.perf_counter()
        (batch,), _, _ = rehearse(*halves)
        tally.seconds = min(tally.seconds, time.perf_counter() - start if run else tally.seconds)
        tally.shannon_bits += block_bits * binary_entropy(float(np.mean(reference ^ correcting)))
        tally.charged_bits += sum(batch.leakage.items.values())
        tally.segments += batch.count_segments
        tally.failed += batch.count_failed
    return Measurement(
        stage="reconciliation",
        method=f"{method}, both halves",
        qber=qber,
        block_bits=block_bits,
        mbit_per_second=block_bits / tally.seconds / 1e6,
        efficiency=tally.efficiency,
        frame_error_ratio=tally.failed / tally.segments,
        count_segments=tally.segments,
        note="every message coded, authenticated and hashed as on a channel",
    )


def _cascade_search(request: Request, qber: float, block_bits: int) -> Measurement:
    plan = pinned_plan(DEFAULT_SEGMENT_BITS, DEFAULT_SEGMENT_BITS, tuple(block_sizes(qber)))
    segments = max(1, block_bits // DEFAULT_SEGMENT_BITS)
    rng = np.random.default_rng(3)
    tally = _Tally()
    for run in _runs(request):
        reference, correcting = _noisy(rng, segments * DEFAULT_SEGMENT_BITS, qber)
        packed = [np.packbits(bits, bitorder="little").view(np.uint64).reshape(segments, -1) for bits in (reference, correcting)]
        start = time.perf_counter()
        ours, theirs = (CascadeSearch(plan, words) for words in packed)
        while not ours.finished:
            differs = theirs.differences(ours.parities())
            ours.advance(differs)
            theirs.correct(theirs.advance(differs))
        corrected = theirs.segments()
        tally.seconds = min(tally.seconds, time.perf_counter() - start if run else tally.seconds)
        tally.shannon_bits += reference.size * binary_entropy(float(np.mean(reference ^ correcting)))
        tally.charged_bits += int(ours.asked.sum())
        tally.segments += segments
        tally.failed += int(np.count_nonzero((corrected != packed[0]).any(axis=1)))
    return Measurement(
        stage="reconciliation",
        method="cascade, kernels of both halves",
        qber=qber,
        block_bits=segments * DEFAULT_SEGMENT_BITS,
        mbit_per_second=segments * DEFAULT_SEGMENT_BITS / tally.seconds / 1e6,
        efficiency=tally.efficiency,
        frame_error_ratio=tally.failed / tally.segments,
        count_segments=tally.segments,
        note="no messages, no segment tags",
    )


def _ldpc_decoding(request: Request, qber: float, block_bits: int) -> Measurement:
    choice = choose_code(qber, LONGEST_BITS)
    layout = layout_of(choice.code, choice.count_payload, choice.count_punctured)
    segments = max(1, block_bits // layout.count_payload)
    rng = np.random.default_rng(4)
    theirs, ours = (bits.reshape(segments, -1) for bits in _noisy(rng, segments * layout.count_payload, qber))
    private: Flags = rng.integers(0, 2, (segments, layout.count_punctured), np.uint8)
    syndromes = encode(layout, theirs, private)
    decoded = decoded_blindly(layout, theirs, private, ours, syndromes, qber)
    right = (decoded.payload == theirs).all(axis=1)
    peer = _Peer.of(layout, qber, (theirs ^ ours)[: _peer_words(request)], private[: _peer_words(request)])
    seconds, *peer_seconds = fastest(
        request, lambda: decoded_blindly(layout, theirs, private, ours, syndromes, qber), *([peer.decode] if peer else [])
    )
    rate = theirs.size / seconds
    note = f"code {choice.code.name}, {decoded.iterations.mean():.1f} iterations; "
    note += f"{np.mean(decoded.count_steps > 0):.2f} of the segments needed increments, which are included"
    if peer:
        count = peer.errors.shape[0]
        note += f"; of the peer's {count} codewords it decoded {peer.decode()}, we {np.count_nonzero(right[:count])}"
    return Measurement(
        stage="reconciliation",
        method="ldpc, decoding alone",
        qber=qber,
        block_bits=theirs.size,
        mbit_per_second=rate / 1e6,
        efficiency=decoded.charged_bits / (theirs.size * binary_entropy(float(np.mean(theirs ^ ours)))),
        frame_error_ratio=float(np.mean(~right)),
        count_segments=segments,
        peer=peer.name if peer else None,
        ratio_to_peer=rate * peer_seconds[0] / peer.errors.size if peer else None,
        note=note,
    )


def _peer_words(request: Request) -> int:
    return 1 if request.quick else PEER_CODEWORDS


@dataclass(frozen=True, slots=True, eq=False)
class _Peer:
    """The decoder of the package ``ldpc`` on the same code and the same errors, private bits unknown and padding known as for ours."""

    name: str
    decoder: Any
    layout: Layout
    errors: Flags
    syndromes: Flags

    @classmethod
    def of(cls, layout: Layout, qber: float, errors: Flags, private: Flags) -> _Peer | None:
        """Set the peer up; None where it is not installed."""
        found = installed("ldpc")
        if found is None:
            return None
        from ldpc import BpDecoder  # type: ignore[attr-defined]

        chances = np.full(layout.code.count_bits, qber)
        chances[layout.punctured] = 0.5
        chances[layout.shortened] = 1e-12
        decoder = BpDecoder(
            _parity_checks(layout.code),
            error_channel=chances.tolist(),
            max_iter=layout.effort.iterations,
            bp_method="product_sum",
            input_vector_type="syndrome",
        )
        return cls(f"ldpc {found}, sum-product", decoder, layout, errors, encode(layout, errors, private))

    def decode(self) -> int:
        """Decode all codewords and return how many came out right."""
        found = [self.decoder.decode(syndrome)[self.layout.payload] for syndrome in self.syndromes]
        return sum(np.array_equal(word, errors) for word, errors in zip(found, self.errors, strict=True))


def _parity_checks(code: Code) -> object:
    """Write out the parity-check matrix, scipy.sparse.csr_matrix[count_checks, count_bits]."""
    from scipy.sparse import csr_matrix

    lanes = np.arange(code.lift)
    base_rows = np.repeat(np.arange(code.row_starts.size - 1), np.diff(code.row_starts))
    rows = (base_rows[:, None] * code.lift + lanes).reshape(-1)
    columns = (code.edge_columns[:, None] * code.lift + (lanes + code.edge_shifts[:, None]) % code.lift).reshape(-1)
    return csr_matrix((np.ones(rows.size, np.uint8), (rows, columns)), shape=(code.count_checks, code.count_bits))
