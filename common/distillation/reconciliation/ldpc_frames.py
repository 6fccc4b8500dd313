"""What lies where in an LDPC codeword, and what each message about it costs.

A segment's key bits (its *payload*) fill a codeword together with two kinds of other bits. *Punctured* positions carry private
random bits of the reference half: they hide that many dimensions of the syndrome, so a strong code leaks less. *Shortened*
positions carry known zeros: they fill a codeword for which there are too few key bits and cost nothing. When decoding
fails, the reference half reveals more, a *blind increment* at a time: first the values of punctured positions, then of payload
positions, always spread evenly over the codeword.

All functions are pure and handle a batch of segments, the first array axis; both halves of ``reconciliation`` use them.

Leakage
-------
Let ``K`` be the payload, ``R`` the ``p`` private bits, uniform and independent of everything, and
``S = H_K K + H_R R`` the ``m`` syndrome bits. The columns ``H_R`` are linearly independent, so given ``K`` and ``S`` the bits ``R``
are determined. Hence, for whatever Eve holds (``E``), and with ``r`` revealed bits ``V``, each a function of ``K`` and ``R``,

    H_min(K | E S V) = H_min(K R | E S V) >= H_min(K R | E) - m - r = H_min(K | E) - (m - p + r),

where the inequality is the chain rule for classical messages. ``m - p + r`` is charged, revealed payload bits stay in the
key, and known zeros change nothing. The account never falls below this: private bits are drawn afresh for every segment and never
used again.

References
----------
[Renner2005] chain rule; [Elkouss2010] puncturing and shortening; [MartinezMateo2012] blind increments. Status: rigorous.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from common.distillation.reconciliation.code_matrix import Code, channel_level
from common.distillation.reconciliation.effort import STANDARD, Effort
from common.errors import LocalProtocolError
from common.kernels.lanes import REGISTER_BITS
from common.kernels.ldpc import decode_segments
from common.kernels.syndrome import add_bits_at, add_syndromes, put_bits

KNOWN_LEVEL = 16000
"""Decoder level of a bit that is known. Above what all messages to it can sum to (``FINE.message_limit`` times the largest column
degree), and with them still inside an int16."""

KEPT_LAYOUTS = 4
"""Layouts kept for whoever asks for them again. Blocks differ in length, so most want one of their own, and one of the longest codes takes
13 MiB: a daemon would grow with every block until it held as many as are kept."""

_GOLDEN = 0x9E3779B1  # 2^32 over the golden ratio, odd: multiples modulo 2^32 spread any prefix evenly [Knuth1998] section 6.4


def spread_order(count: int) -> NDArray[np.int64]:
    """Return the numbers below ``count`` in an order of which every stretch is spread evenly.

    Parameters
    ----------
    count : int
        How many.

    Returns
    -------
    int64[count]
        A permutation.
    """
    keys = (np.arange(count, dtype=np.uint64) * np.uint64(_GOLDEN)) & np.uint64(0xFFFFFFFF)
    return np.argsort(keys, kind="stable").astype(np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """Which position of the codeword holds what; equal at both halves for equal arguments of ``layout_of``.

    Attributes
    ----------
    code : Code
        The code.
    payload : int64[count_payload]
        Positions of the key bits, ascending: key bit ``k`` lies at ``payload[k]``.
    punctured : int64[count_punctured]
        Positions of the private bits, in the order in which increments reveal them.
    shortened : int64[count_shortened]
        Positions of known zeros, ascending.
    revealed : int64[count_punctured + count_payload]
        All positions that may be revealed, in order: the punctured ones, then the payload spread evenly.
    effort : Effort
        How to decode, and how much an increment reveals.
    """

    code: Code
    payload: NDArray[np.int64]
    punctured: NDArray[np.int64]
    shortened: NDArray[np.int64]
    revealed: NDArray[np.int64]
    effort: Effort

    @property
    def count_payload(self) -> int:
        """Key bits in a segment."""
        return int(self.payload.size)

    @property
    def count_punctured(self) -> int:
        """Private random bits in a segment."""
        return int(self.punctured.size)

    @property
    def count_checks(self) -> int:
        """Syndrome bits sent for a segment."""
        return self.code.count_checks

    @property
    def increment_bits(self) -> int:
        """Values that an increment should reveal: small against the leakage at any code rate, so that little is overshot."""
        return max(1, round(self.effort.increment_share * self.code.count_checks))

    def leakage_bits(self, count_revealed: int = 0) -> int:
        """Return the bits charged for one segment.

        Parameters
        ----------
        count_revealed : int
            Values revealed so far, of punctured and payload positions together.

        Returns
        -------
        int
            ``m - p + r``; see the module's text.

        Raises
        ------
        LocalProtocolError
            If there are not that many positions to reveal.
        """
        self.check_revealed(count_revealed)
        return self.code.count_checks - self.count_punctured + count_revealed

    def increment(self, step: int, count_step: int) -> tuple[int, int]:
        """Return which part of ``revealed`` the ``step``-th increment reveals.

        Parameters
        ----------
        step : int
            0 for the first increment.
        count_step : int
            Values an increment reveals, positive.

        Returns
        -------
        tuple[int, int]
            First index and the index after the last; equal when nothing is left.
        """
        return min(step * count_step, self.revealed.size), min((step + 1) * count_step, self.revealed.size)

    def check_revealed(self, count_revealed: int) -> None:
        """Refuse a number of revealed values that the layout does not hold.

        Parameters
        ----------
        count_revealed : int
            Values revealed, of punctured and payload positions together.

        Raises
        ------
        LocalProtocolError
            If there are not that many positions to reveal.
        """
        if not 0 <= count_revealed <= self.revealed.size:
            raise LocalProtocolError(f"{count_revealed} values cannot be revealed of {self.revealed.size} positions")


@lru_cache(maxsize=KEPT_LAYOUTS)
def layout_of(code: Code, count_payload: int, count_punctured: int, effort: Effort = STANDARD) -> Layout:
    """Lay out a codeword; positions that are neither payload nor punctured are shortened.

    Parameters
    ----------
    code : Code
        The code.
    count_payload : int
        Key bits in the segment, at least one.
    count_punctured : int
        Private bits, at most ``code.most_punctured``.
    effort : Effort
        How to decode, and how much an increment reveals.

    Returns
    -------
    Layout
        Read-only arrays.

    Raises
    ------
    LocalProtocolError
        If the counts do not fit the code.
    """
    if not 0 <= count_punctured <= code.most_punctured:
        raise LocalProtocolError(f"code {code.name} has {code.most_punctured} positions to puncture, asked for {count_punctured}")
    if not 1 <= count_payload <= code.count_bits - count_punctured:
        raise LocalProtocolError(f"code {code.name} has no room for {count_payload} key bits beside {count_punctured} private ones")
    columns = np.array(code.punctured_columns, np.int64)
    candidates = (columns[:, None] * code.lift + np.arange(code.lift)).reshape(-1)
    punctured = candidates[spread_order(candidates.size)][:count_punctured]
    kept = np.setdiff1d(np.arange(code.count_bits), punctured, assume_unique=True)
    filled = spread_order(kept.size)[: kept.size - count_payload]
    shortened = np.sort(kept[filled])
    payload = np.setdiff1d(kept, shortened, assume_unique=True)
    revealed = np.concatenate([punctured, payload[spread_order(payload.size)]])
    for array in (payload, punctured, shortened, revealed):
        array.setflags(write=False)
    return Layout(code, payload, punctured, shortened, revealed, effort)


def _codewords(layout: Layout, payload: NDArray[np.uint8], private: NDArray[np.uint8] | None) -> NDArray[np.uint8]:
    """Place bits into codewords uint8[segments, n]; shortened positions, and punctured ones without ``private``, are zero."""
    segments = payload.shape[0]
    if payload.shape != (segments, layout.count_payload) or payload.dtype != np.uint8:
        raise LocalProtocolError(f"payload must be uint8[segments, {layout.count_payload}], is {payload.dtype}{list(payload.shape)}")
    words = np.zeros((segments, layout.code.count_bits), np.uint8)
    put_bits(words, layout.payload, payload)
    if private is not None:
        if private.shape != (segments, layout.count_punctured) or private.dtype != np.uint8:
            raise LocalProtocolError(f"private bits must be uint8[{segments}, {layout.count_punctured}]")
        put_bits(words, layout.punctured, private)
    return words


def _add_syndromes(code: Code, words: NDArray[np.uint8], syndromes: NDArray[np.uint8]) -> None:
    rows, columns = code.shifts.shape
    lanes, checks = words.reshape(-1, columns, code.lift), syndromes.reshape(-1, rows, code.lift)
    add_syndromes(lanes, code.row_starts, code.edge_columns, code.edge_shifts, checks)


def encode(layout: Layout, payload: NDArray[np.uint8], private: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Compute the syndromes that the reference half sends.

    Parameters
    ----------
    layout : Layout
        What lies where.
    payload : uint8[segments, count_payload], values 0/1
        Key bits.
    private : uint8[segments, count_punctured], values 0/1
        Fresh random bits of the reference half, never sent except by ``reveal`` and never used again.

    Returns
    -------
    uint8[segments, count_checks], values 0/1
        Syndromes.

    Raises
    ------
    LocalProtocolError
        If an array does not fit the layout.
    """
    syndromes = np.zeros((payload.shape[0], layout.count_checks), np.uint8)
    _add_syndromes(layout.code, _codewords(layout, payload, private), syndromes)
    return syndromes


def reveal(layout: Layout, payload: NDArray[np.uint8], private: NDArray[np.uint8], first: int, last: int) -> NDArray[np.uint8]:
    """Read the values that an increment reveals.

    Parameters
    ----------
    layout : Layout
        What lies where.
    payload, private : uint8[segments, ...]
        The reference half's bits, as given to ``encode``; only the segments that need the increment.
    first, last : int
        Part of ``layout.revealed``, from ``Layout.increment``.

    Returns
    -------
    uint8[segments, last - first], values 0/1
        Values to send.

    Raises
    ------
    LocalProtocolError
        If an array or the part does not fit the layout.
    """
    layout.check_revealed(first)
    layout.check_revealed(last)
    return _codewords(layout, payload, private)[:, layout.revealed[first:last]]


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """What the correcting half learnt about a batch.

    Attributes
    ----------
    payload : uint8[segments, count_payload], values 0/1
        Corrected key bits; the given ones where decoding failed.
    succeeded : bool[segments]
        Whether the syndrome was reached. The bits are then equal with high probability, which verification confirms.
    iterations : int64[segments]
        Iterations run.
    """

    payload: NDArray[np.uint8]
    succeeded: NDArray[np.bool_]
    iterations: NDArray[np.int64]


def decode(
    layout: Layout,
    payload: NDArray[np.uint8],
    syndromes: NDArray[np.uint8],
    revealed: NDArray[np.uint8],
    working_qber: float,
    iterations: int | None = None,
) -> Decoded:
    """Correct a batch of segments towards the reference half's bits.

    Parameters
    ----------
    layout : Layout
        What lies where.
    payload : uint8[segments, count_payload], values 0/1
        The correcting half's key bits.
    syndromes : uint8[segments, count_checks], values 0/1
        From the reference half.
    revealed : uint8[segments, r], values 0/1
        Values of the first ``r`` positions of ``layout.revealed``; ``r`` may be 0.
    working_qber : float
        Expected share of differing bits.
    iterations : int | None
        Most iterations for a segment; None for those of the layout's effort.

    Returns
    -------
    Decoded
        Corrected bits and what it took.

    Raises
    ------
    LocalProtocolError
        If an array does not fit the layout.
    """
    segments = payload.shape[0]
    if syndromes.shape != (segments, layout.count_checks) or revealed.ndim != 2 or revealed.shape[0] != segments:
        raise LocalProtocolError(f"expected {segments} syndromes of {layout.count_checks} bits and as many rows of revealed values")
    layout.check_revealed(revealed.shape[1])
    code, effort = layout.code, layout.effort
    own = _codewords(layout, payload, None)
    differences = syndromes.copy()
    _add_syndromes(code, own, differences)
    levels = np.full(code.count_bits, channel_level(working_qber, effort.fine), np.int16)
    levels[layout.punctured] = 0
    levels[layout.shortened] = KNOWN_LEVEL
    known = layout.revealed[: revealed.shape[1]]
    known_levels = np.where(revealed ^ own[:, known], np.int16(-KNOWN_LEVEL), np.int16(KNOWN_LEVEL))
    errors = np.empty((segments, code.count_bits), np.uint8)
    used = np.zeros(segments, np.int64)
    decode_segments(
        levels.reshape(code.shifts.shape[1], code.lift),
        known,
        known_levels,
        code.row_starts,
        code.edge_columns,
        code.edge_shifts,
        differences.reshape(segments, code.shifts.shape[0], code.lift),
        effort.iterations if iterations is None else iterations,
        effort.patience,
        effort.fine,
        REGISTER_BITS > 0,
        errors.reshape(segments, code.shifts.shape[1], code.lift),
        used,
    )
    succeeded = used > 0
    corrected = payload.copy()
    add_bits_at(corrected, errors, layout.payload, succeeded)
    return Decoded(corrected, succeeded, np.abs(used))
