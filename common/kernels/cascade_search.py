"""One half of Cascade over a batch: the arrays, and the order in which the kernels of ``cascade`` and ``cascade_parities`` run.

Both halves build a ``CascadeSearch`` on the same ``CascadePlan`` and repeat the same three steps until ``finished``: the reference
half sends ``parities()``; the correcting half answers ``differences(parities)``; both call ``advance(differences)`` and the
correcting half applies what it returns. One answered bit per parity is all the correcting half ever says. Permutations and masks
are fixed beforehand and come from the pinned expander; the conversation that carries the messages is
``distillation.reconciliation``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log2
from typing import Any, Self, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from common.bits import count_words
from common.errors import LocalProtocolError
from common.kernels.bit_mixing import WORD_BITS, Mixing
from common.kernels.cascade import (
    BLOCK,
    PlanTables,
    SearchTables,
    advance_segments,
)
from common.kernels.cascade_parities import ask, flip_bits

_Words: TypeAlias = NDArray[np.uint64]
Item = TypeVar("Item", bound=np.generic)

DEFAULT_SEGMENT_BITS = 65_536
"""Bits of a segment: the longest that uint16 indices reach, and short enough for its copies to stay in the second-level cache."""

DEFAULT_COUNT_MASKS = 10
"""Random subsets asked at the end: of twenty segments one has errors left, passes all of them with probability 2^-10, and fails its tag."""

MOST_ROUNDS = 3000
"""Rounds after which segments are left as they are: one to four hundred do where the QBER is near what was expected."""

_FIRST_BLOCK_ERRORS = 0.8
"""Errors expected in a block of the first pass; near the optimum for powers of two (measured: ``docs/explanation/cascade.md``)."""

_SECOND_PASS_FACTOR = 4
_LATE_BLOCKS = 8
"""The last pass cuts a segment into so many blocks: it finds what the first two left, so few long blocks cost least (8192 bits)."""

_SMALLEST_BLOCK_BITS = 4
_SMALLEST_SEGMENT_BITS = 64


def block_sizes(working_qber: float, segment_bits: int = DEFAULT_SEGMENT_BITS) -> list[int]:
    """Choose the block size of every pass for an expected QBER.

    Parameters
    ----------
    working_qber : float
        Expected ratio of errors, from earlier disclosures, 0 to 1/2.
    segment_bits : int
        Bits of a segment, a power of two.

    Returns
    -------
    list[int]
        Increasing powers of two, bits; the last at most half a segment.

    References
    ----------
    [MartinezMateo2015] (block sizes that are powers of two, few passes); the constants are our own measurements; status: planning.
    """
    largest = segment_bits // 2
    expected = _FIRST_BLOCK_ERRORS / max(working_qber, 1 / segment_bits)
    first = min(max(2 ** round(log2(expected)), _SMALLEST_BLOCK_BITS), largest)
    sizes = [first]
    for size in (_SECOND_PASS_FACTOR * first, segment_bits // _LATE_BLOCKS):
        if sizes[-1] < size <= largest:
            sizes.append(size)
    return sizes


@dataclass(frozen=True, slots=True, eq=False)
class CascadePlan:
    """What both halves must agree on before the first message.

    Attributes
    ----------
    segment_bits : int
        Bits of a segment, filled up with zeros.
    key_bits : int
        How many of them carry key; nothing is ever asked about the rest.
    block_bits : tuple[int, ...]
        Block size of each pass, bits.
    tables : PlanTables
        Permutations, masks and numbering as the kernels take them.
    """

    segment_bits: int
    key_bits: int
    block_bits: tuple[int, ...]
    tables: PlanTables

    @classmethod
    def build(
        cls,
        segment_bits: int,
        block_bits: Sequence[int],
        permutations: Sequence[NDArray[Any] | Mixing],
        masks: _Words,
        key_bits: int | None = None,
    ) -> Self:
        """Check the choices and lay out the tables.

        Parameters
        ----------
        segment_bits : int
            A power of two from 64 to 65536.
        block_bits : sequence of int
            Block size of each pass, powers of two from 2 to ``segment_bits``.
        permutations : sequence of integer[segment_bits], or of Mixing
            One for each pass after the first: bit i of the copy is bit ``permutation[i]`` of the segment; or a mixing of the words that
            carry key, which makes copies faster.
        masks : uint64[count_masks, segment_bits / 64]
            Random subsets for the end; may be empty.
        key_bits : int | None
            Bits of a segment that carry key, where the rest is filling: it stays behind them in every pass.

        Returns
        -------
        CascadePlan
            The plan; both halves may share it.

        Raises
        ------
        LocalProtocolError
            If a size is no power of two in its range, a permutation is none, or a count does not fit.
        """
        if not _is_power_of_two(segment_bits) or not _SMALLEST_SEGMENT_BITS <= segment_bits <= DEFAULT_SEGMENT_BITS:
            raise LocalProtocolError(f"a Cascade segment has a power of two from 64 to 65536 bits, got {segment_bits}")
        if not block_bits or not all(_is_power_of_two(size) and 2 <= size <= segment_bits for size in block_bits):
            raise LocalProtocolError(f"Cascade blocks are powers of two from 2 to {segment_bits} bits, got {list(block_bits)}")
        if len(permutations) != len(block_bits) - 1:
            raise LocalProtocolError(f"{len(block_bits)} Cascade passes take {len(block_bits) - 1} permutations, got {len(permutations)}")
        if masks.ndim != 2 or masks.dtype != np.uint64 or masks.shape[1] != segment_bits // 64:
            raise LocalProtocolError(f"Cascade masks are uint64[count, {segment_bits // 64}], got {masks.dtype}{list(masks.shape)}")
        count_key = segment_bits if key_bits is None else key_bits
        if not 0 < count_key <= segment_bits:
            raise LocalProtocolError(f"a Cascade segment of {segment_bits} bits cannot carry {count_key} of key")
        mixings = [mixing for mixing in permutations if isinstance(mixing, Mixing)]
        if any(WORD_BITS * mixing.count_words != count_key for mixing in mixings) or len(mixings) not in {0, len(permutations)}:
            raise LocalProtocolError(f"mixings of Cascade take all passes but the first and {count_key} bits, whole words")
        identity = np.arange(segment_bits)
        forward = np.empty((len(block_bits), segment_bits), np.uint16)
        backward = np.empty_like(forward)
        for number, chosen in enumerate((identity, *permutations)):
            permutation = np.concatenate([chosen.table(), identity[count_key:]]) if isinstance(chosen, Mixing) else chosen
            if permutation.shape != identity.shape or not np.array_equal(np.sort(permutation), identity):
                raise LocalProtocolError(f"permutation of Cascade pass {number} does not hold every index below {segment_bits} once")
            forward[number] = np.concatenate([permutation[permutation < count_key], identity[count_key:]])
            backward[number, forward[number]] = identity
        shifts = np.array([size.bit_length() - 1 for size in block_bits], np.int64)
        counts = -(-count_key >> shifts)
        first_blocks = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
        passes = np.concatenate((np.repeat(np.arange(len(block_bits)), counts), len(block_bits) + np.arange(masks.shape[0])))
        return cls(
            segment_bits,
            count_key,
            tuple(block_bits),
            PlanTables(
                forward,
                backward,
                np.ascontiguousarray(masks),
                shifts,
                first_blocks,
                passes.astype(np.int64),
                _by_pass([mixing.orders for mixing in mixings], np.uint16),
                _by_pass([mixing.rotations for mixing in mixings], np.uint8),
            ),
        )

    @property
    def count_passes(self) -> int:
        """Number of passes, masks not counted."""
        return len(self.block_bits)

    @property
    def count_masks(self) -> int:
        """Number of masks."""
        return int(self.tables.masks.shape[0])


class CascadeSearch:
    """The state of one half.

    With an honest peer a search ends within ``log2(segment_bits)`` rounds, and in an error less, so the protocol ends. Where far more bits
    differ than was expected, or a peer lies, it ends after ``MOST_ROUNDS``.

    Parameters
    ----------
    plan : CascadePlan
        The agreed plan.
    segments : uint64[count_segments, segment_bits / 64]
        This half's packed bits, copied; the last segment padded with zeros by the caller at both ends.

    Raises
    ------
    LocalProtocolError
        If ``segments`` does not fit the plan.
    """

    def __init__(self, plan: CascadePlan, segments: _Words) -> None:
        words = plan.segment_bits // 64
        if segments.ndim != 2 or segments.shape[0] < 1 or segments.shape[1] != words or segments.dtype != np.uint64:
            raise LocalProtocolError(f"Cascade takes uint64[count >= 1, {words}] segments, got {segments.dtype}{list(segments.shape)}")
        count_segments = segments.shape[0]
        count_blocks = plan.tables.block_passes.size
        count_all = count_segments * count_blocks
        self._plan = plan
        self._copies = np.empty((count_segments, plan.count_passes, words), np.uint64)
        self._copies[:, 0] = segments
        self._tables = SearchTables(
            np.zeros(count_all, BLOCK),
            np.zeros(count_segments, np.int64),
            np.zeros(count_segments, np.int64),
            np.empty(count_blocks, np.int32),
            np.empty(count_blocks * plan.count_passes, np.int32),
        )
        self._live, self._next_live = np.empty(count_all, np.int32), np.empty(count_all, np.int32)
        self._corrections = np.empty(count_all, np.int64)
        self._answers = np.empty(count_words(count_all), np.uint64)
        self._count_live = 0
        self.count_asked = count_segments * int(plan.tables.first_blocks[1])
        """Bits of the present question, and of its answer; 0 when nothing is left to ask."""
        self.count_rounds = 0
        """Questions answered so far: round trips between the two halves."""
        self.count_corrections = 0
        """Errors found so far."""

    @property
    def finished(self) -> bool:
        """Whether nothing is left to ask."""
        return not self.count_asked

    @property
    def asked(self) -> NDArray[np.int64]:
        """Parities asked so far of each segment, int64[count_segments]: bits the reference half has sent, and as many answers."""
        return self._tables.asked.copy()

    def parities(self) -> _Words:
        """Compute this half's parities of everything asked now; the reference half sends them.

        Returns
        -------
        uint64[count_words(count_asked)]
            Packed parities, the unused rest zero; empty when finished.
        """
        parities = np.empty(count_words(self.count_asked), np.uint64)
        ask(self._copies, self._plan.tables, self._tables, self._live, self._count_live, parities)
        return parities

    def differences(self, parities: _Words) -> _Words:
        """Compare the reference half's parities with our own.

        Parameters
        ----------
        parities : uint64[count_words(count_asked)]
            Packed parities received, the unused rest zero.

        Returns
        -------
        uint64[count_words(count_asked)]
            One where the two halves differ: the answer to send.

        Raises
        ------
        LocalProtocolError
            If the number of words does not fit the question.
        """
        self._check_size(parities, "parities")
        return self.parities() ^ parities

    def advance(self, differs: _Words) -> NDArray[np.int64]:
        """Take the answer to the present question and move on to the next one; both halves call it with the same bits.

        Parameters
        ----------
        differs : uint64[count_words(count_asked)]
            Packed answers.

        Returns
        -------
        int64[count]
            Errors found, ``segment * segment_bits + position``; the correcting half hands them to ``correct`` at once.

        Raises
        ------
        LocalProtocolError
            If the search has finished or the number of words does not fit the question.
        """
        if self.finished:
            raise LocalProtocolError("Cascade search advanced after it had finished")
        self._check_size(differs, "answers")
        self.count_rounds += 1
        answers = self._answers[: differs.size]
        answers[:] = differs
        self._count_live, count_found, self.count_asked = advance_segments(
            self._plan.tables, self._tables, answers, self._live, self._count_live, self._next_live, self._corrections
        )
        self._live, self._next_live = self._next_live, self._live
        if self.count_rounds >= MOST_ROUNDS:
            self.count_asked = 0  # what is still wrong fails by its tag
        self.count_corrections += count_found
        return self._corrections[:count_found].copy()

    def correct(self, corrections: NDArray[np.int64]) -> None:
        """Flip the errors found; only the correcting half does so.

        Parameters
        ----------
        corrections : int64[count]
            What ``advance`` has just returned.
        """
        flip_bits(self._copies, self._plan.tables.inverses, self._tables.stages, corrections)

    def segments(self) -> _Words:
        """Return this half's segments as they are now: uint64[count_segments, segment_bits / 64], a copy."""
        return self._copies[:, 0].copy()

    def _check_size(self, words: _Words, what: str) -> None:
        expected = count_words(self.count_asked)
        if words.size != expected:
            raise LocalProtocolError(f"{self.count_asked} Cascade {what} take {expected} words, got {words.size}")


def _is_power_of_two(number: int) -> bool:
    return number > 0 and number & (number - 1) == 0


def _by_pass(tables: list[NDArray[Item]], kind: type[Item]) -> NDArray[Item]:
    """Join the tables of all passes, that of the first having no meaning; empty ones where there are none."""
    return np.array([np.zeros_like(tables[0]), *tables], kind) if tables else np.zeros((1, 1, 0), kind)
