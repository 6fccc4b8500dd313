"""The shipped LDPC codes: reading them, and choosing one for a working QBER.

Every code is one JSON file under ``codes/``, compressed, made by ``python -m common.distillation.reconciliation.code_design`` and
described in ``docs/explanation/ldpc``. A file holds the base matrix, the columns that may be punctured and the measured
working points. Both halves name a code by its name, and ``digest`` lets them compare what they hold. Goes to ``ldpc_frames``.
"""

from __future__ import annotations

import json
import lzma
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from math import sqrt

import numpy as np

from common.distillation.reconciliation.code_matrix import Code, WorkingPoint
from common.distillation.reconciliation.effort import STANDARD, Effort
from common.errors import ConfigurationError
from common.security.entropy import binary_entropy

SUFFIX = ".json.xz"
"""Ending of a code's file name."""

CODE_RATES = (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.925, 0.95, 0.97, 0.98, 0.99, 0.576, 0.696)
"""All code rates; the syndrome rate is one minus the code rate. A code's number on the wire is the place of its rate in this list."""

SHORT_BITS = 10_240
"""Codeword length of the short codes, bits: the 10^4-bit sub-blocks of the ``hbn`` link."""

LONG_BITS = 66_560
"""Codeword length of the long codes, bits: closer to the Shannon limit, for links with many sifted bits."""

LONGEST_BITS = 256_000
"""Codeword length of the longest codes, bits: the number of errors in a segment hardly fluctuates, for blocks of a million bits."""

THOROUGH_BITS = 1_024_000
"""Codeword length of the codes for ``effort.THOROUGH``, bits: they reach within a few per cent of the Shannon limit, in more iterations."""

_COARSE_RATES = (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
SHIPPED_RATES = {
    SHORT_BITS: _COARSE_RATES,
    LONG_BITS: _COARSE_RATES,
    LONGEST_BITS: CODE_RATES[:12],
    THOROUGH_BITS: (0.576, 0.696, 0.85),
}
"""Code rates shipped for each codeword length."""

MOST_SHORTENED_SHARE = 0.6
"""Largest share of a codeword left empty; beyond it a code of lower rate, or increments, do better."""

RESERVE_DEVIATIONS = 1.7
"""Private bits held back for increments, as a share of the syndrome: so many relative standard deviations of the number of errors in a
segment, ``1 / sqrt(n qber)``. A revealed private bit tells the decoder a whole bit, a revealed key bit at QBER 1 % a twelfth of one, and
costs the same; so increments are cheap only while private bits last."""

MOST_RESERVE_SHARE = 0.2
"""Upper limit of that share: with very few errors a lean start fails too often."""


def to_json(code: Code) -> str:
    """Return the text of a code's file.

    Parameters
    ----------
    code : Code
        The code.

    Returns
    -------
    str
        JSON, one base column a line, ended by a newline.
    """
    columns = [
        json.dumps(
            [[int(row), int(code.shifts[row, column])] for row in np.flatnonzero(code.shifts[:, column] >= 0)], separators=(",", ":")
        )
        for column in range(code.shifts.shape[1])
    ]
    points = [[p.count_punctured, p.count_shortened, p.qber] for p in code.working_points]
    head = {
        "version": 2,
        "name": code.name,
        "lift": code.lift,
        "count_rows": code.shifts.shape[0],
        "punctured_columns": list(code.punctured_columns),
        "working_points": points,
    }
    lines = [f'"{key}": {json.dumps(value)}' for key, value in head.items()]
    return "{\n" + ",\n".join(lines) + ',\n"columns": [\n' + ",\n".join(columns) + "\n]\n}\n"


def from_json(text: str) -> Code:
    """Read and check the file of a code.

    Parameters
    ----------
    text : str
        As written by ``to_json``.

    Returns
    -------
    Code
        The code.

    Raises
    ------
    ConfigurationError
        If the text is not such a file or the code fails a check.
    """
    try:
        data = json.loads(text)
        shifts = np.full((data["count_rows"], len(data["columns"])), -1, np.int16)
        for column, entries in enumerate(data["columns"]):
            for row, shift in entries:
                shifts[row, column] = shift
        return Code.of(
            data["name"],
            data["lift"],
            shifts,
            tuple(data["punctured_columns"]),
            tuple(WorkingPoint(*point) for point in data["working_points"]),
        )
    except (ValueError, KeyError, TypeError, IndexError, OverflowError) as error:
        raise ConfigurationError(f"not a code file: {error}; make it again with the code design program") from error


def to_bytes(code: Code) -> bytes:
    """Return the file of a code: ``to_json``, compressed.

    Parameters
    ----------
    code : Code
        The code.

    Returns
    -------
    bytes
        In the xz format.
    """
    return lzma.compress(to_json(code).encode(), preset=9)


def from_bytes(data: bytes) -> Code:
    """Read and check the file of a code.

    Parameters
    ----------
    data : bytes
        As written by ``to_bytes``.

    Returns
    -------
    Code
        The code.

    Raises
    ------
    ConfigurationError
        If the data is not such a file or the code fails a check.
    """
    try:
        text = lzma.decompress(data).decode()
    except (lzma.LZMAError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"not a code file: {error}; make it again with the code design program") from error
    return from_json(text)


def name_of(count_bits: int, code_rate: float) -> str:
    """Return the name of a shipped code.

    Parameters
    ----------
    count_bits : int
        Codeword length, bits.
    code_rate : float
        One of ``CODE_RATES``.

    Returns
    -------
    str
        As in ``n66560-r0500``.
    """
    return f"n{count_bits}-r{round(code_rate * 1000):04d}"


@cache
def load_code(name: str) -> Code:
    """Load a shipped code by name; each is read and checked once a process.

    Parameters
    ----------
    name : str
        As from ``name_of``.

    Returns
    -------
    Code
        The code.

    Raises
    ------
    ConfigurationError
        If no such code is shipped or its file is damaged.
    """
    shipped = {name_of(bits, rate) for bits, rates in SHIPPED_RATES.items() for rate in rates}
    if name not in shipped:
        raise ConfigurationError(f"no code named {name!r}; shipped are {', '.join(sorted(shipped))}")
    code = from_bytes(files(__package__).joinpath("codes", f"{name}{SUFFIX}").read_bytes())
    if code.name != name:
        raise ConfigurationError(f"the file of code {name} holds {code.name}")
    return code


@dataclass(frozen=True, slots=True)
class Choice:
    """A code and how much of it is punctured and shortened at the start.

    Attributes
    ----------
    code : Code
        The code.
    count_punctured, count_shortened : int
        Positions with private random bits, and with known zeros.
    efficiency : float
        Expected ``leakage / (payload h(qber))`` before increments.
    effort : Effort
        What the choice was made for.
    """

    code: Code
    count_punctured: int
    count_shortened: int
    efficiency: float
    effort: Effort = STANDARD

    @property
    def count_payload(self) -> int:
        """Key bits in a segment."""
        return self.code.count_bits - self.count_punctured - self.count_shortened


def codeword_lengths(segment_bits: int, effort: Effort = STANDARD) -> tuple[int, ...]:
    """Return the codeword lengths to choose from: the one nearest to ``segment_bits`` that is shipped for ``effort``, and the next shorter.

    Parameters
    ----------
    segment_bits : int
        Key bits wanted in a segment.
    effort : Effort
        How much computing may be spent.

    Returns
    -------
    tuple[int, ...]
        Keys of ``SHIPPED_RATES``, the longer first. A shorter codeword wins where a few long ones would remain half empty, or where the
        longest ones have no code for the QBER.
    """
    shipped = sorted(bits for bits in SHIPPED_RATES if bits <= effort.most_bits)
    nearest = min(shipped, key=lambda count_bits: abs(count_bits - segment_bits))
    return (nearest, *(bits for bits in reversed(shipped) if bits < nearest))[:2]


@lru_cache(maxsize=64)  # blocks reconciled together ask the same
def choose_code(
    qber: float,
    count_bits: int | tuple[int, ...] = LONG_BITS,
    code_rates: tuple[float, ...] = CODE_RATES,
    margin: float | None = None,
    most_punctured: int | None = None,
    count_key_bits: int | None = None,
    effort: Effort = STANDARD,
) -> Choice:
    """Choose code, punctured and shortened positions that leak least at ``qber``.

    Each code's need, ``f`` as a function of punctured and shortened positions, is interpolated between its measured working
    points. Where a code corrects more than asked it is punctured until it no longer does, where it corrects less it is shortened
    until it does. It starts leaner than that by a reserve of private bits, which increments reveal where they are needed.

    Parameters
    ----------
    qber : float
        Working QBER, from earlier disclosures.
    count_bits : int | tuple[int, ...]
        Codeword length, a key of ``SHIPPED_RATES``, or several to choose from.
    code_rates : tuple[float, ...]
        Code rates to choose from; those that are not shipped in a length are left out.
    margin : float | None
        Factor on ``f``: below 1 starts leaner and leaves more to increments, above 1 saves round trips. None for the effort's own.
    most_punctured : int | None
        Upper limit of punctured positions; None for the code's own.
    count_key_bits : int | None
        Key bits to reconcile. They fill as few equal segments as they need, and the choice leaks least in total; it matters when
        they fill few. None for any large number.
    effort : Effort
        How much computing may be spent. Codes longer than ``effort.most_bits`` were measured with another decoder.

    Returns
    -------
    Choice
        The one with the least leakage.

    Raises
    ------
    ConfigurationError
        If ``qber`` is not from 0 to below 1/2, ``margin`` or ``count_key_bits`` is not positive, or a code is not shipped.
    """
    if margin is None:
        choice = choose_code(qber, count_bits, code_rates, effort.margin, most_punctured, count_key_bits, effort)
        if choice.efficiency <= effort.ceiling:
            return choice
        margin = max(STANDARD.margin, effort.margin * effort.ceiling / choice.efficiency)
    if not 0.0 <= qber < 0.5 or margin <= 0.0:
        raise ConfigurationError(f"working QBER {qber} must lie from 0 to below 1/2 and margin {margin} above 0")
    if count_key_bits is not None and count_key_bits < 1:
        raise ConfigurationError(f"{count_key_bits} key bits cannot be laid out; pass a positive number or None")
    entropy = max(binary_entropy(qber), 1e-6)
    candidates: list[tuple[bool, float, Choice]] = []
    lengths = count_bits if isinstance(count_bits, tuple) else (count_bits,)
    for name in (name_of(bits, rate) for bits in lengths for rate in code_rates if rate in SHIPPED_RATES[bits]):
        code = load_code(name)
        reserve_share = min(MOST_RESERVE_SHARE, RESERVE_DEVIATIONS / sqrt(code.count_bits * max(qber, 1e-6)))
        limit = code.most_punctured if most_punctured is None else min(most_punctured, code.most_punctured)
        need = _Need(code, entropy * margin, min(limit, round(reserve_share * code.count_checks)))
        punctured, shortened = need.adapted(limit)
        segments = 0.0
        if count_key_bits is not None:
            segments = -(-count_key_bits // (code.count_bits - punctured - shortened))
            payload = -(-count_key_bits // int(segments))
            punctured = need.most_punctured_beside(payload, min(limit, code.count_bits - payload))
            shortened = code.count_bits - punctured - payload
        payload = code.count_bits - punctured - shortened
        leaked_bits = code.count_checks - punctured
        expected_bits = leaked_bits + need.reserve / 6  # few segments need increments, and few of these the whole reserve
        fails = need.spare(punctured, shortened) < 0.0
        cost = segments * expected_bits if segments else expected_bits / payload
        candidates.append(
            (
                fails,
                -need.spare(punctured, shortened) if fails else cost,
                Choice(code, punctured, shortened, leaked_bits / payload / entropy, effort),
            )
        )
    if not candidates:
        shipped = "; ".join(f"codes of {bits} bits have {', '.join(map(str, SHIPPED_RATES[bits]))}" for bits in lengths)
        raise ConfigurationError(f"no code rate to choose from: {shipped}")
    return min(candidates, key=lambda candidate: candidate[:2])[2]


@dataclass(frozen=True, slots=True)
class _Need:
    """What one code needs at one QBER: with its reserve of private bits revealed, one segment in a hundred may fail."""

    code: Code
    entropy: float  # h(qber) times the caller's margin
    reserve: int

    def spare(self, punctured: int, shortened: int) -> float:
        """By how much the efficiency of a layout, its reserve revealed, exceeds the need; a revealed bit is as good as a known zero."""
        code, revealed = self.code, min(self.reserve, punctured)
        leaked_ratio = (code.count_checks - punctured + revealed) / (code.count_bits - punctured - shortened)
        return leaked_ratio / self.entropy - needed_efficiency(code, punctured - revealed, shortened + revealed)

    def adapted(self, limit: int) -> tuple[int, int]:
        """Punctured (from the reserve to ``limit``) and shortened positions that make the code just sufficient."""
        if self.spare(self.reserve, 0) >= 0.0:
            return _last_true(self.reserve, limit, lambda count: self.spare(count, 0) >= 0.0), 0
        most = int(MOST_SHORTENED_SHARE * self.code.count_bits)
        return self.reserve, min(most, 1 + _last_true(0, most, lambda count: self.spare(self.reserve, count) < 0.0))

    def most_punctured_beside(self, payload: int, limit: int) -> int:
        """Most punctured positions that ``payload`` key bits can bear, the rest of the codeword being shortened."""
        free = self.code.count_bits - payload
        return _last_true(min(self.reserve, limit), limit, lambda count: self.spare(count, free - count) >= 0.0)


def needed_efficiency(code: Code, count_punctured: int, count_shortened: int) -> float:
    """Interpolate the efficiency at which one segment in a hundred fails between the measured working points.

    Shortening costs in proportion to shortened over remaining positions, since known zeros thin the rows out unevenly. Codes of a high
    rate at first gain by it; beyond the measured point nothing more is gained.

    Parameters
    ----------
    code : Code
        The code.
    count_punctured, count_shortened : int
        Positions with private bits and with known zeros.

    Returns
    -------
    float
        ``leakage / (payload h(qber))``.

    References
    ----------
    The law was compared with measurements at half of the codeword: ``docs/explanation/ldpc``; status: planning.
    """
    plain, punctured, shortened = (_efficiency_of(code, point) for point in code.working_points)
    share_punctured = count_punctured / max(1, code.working_points[1].count_punctured)
    measured = code.working_points[2].count_shortened
    share_shortened = count_shortened / max(1, code.count_bits - count_shortened) / (max(1, measured) / (code.count_bits - measured))
    if shortened < plain:
        share_shortened = min(1.0, share_shortened)
    return plain + (punctured - plain) * share_punctured + (shortened - plain) * share_shortened


def _efficiency_of(code: Code, point: WorkingPoint) -> float:
    payload = code.count_bits - point.count_punctured - point.count_shortened
    return (code.count_checks - point.count_punctured) / payload / binary_entropy(point.qber)


def _last_true(first: int, last: int, holds: Callable[[int], bool]) -> int:
    """Largest count from ``first`` to ``last`` for which ``holds``, which changes at most once; ``first`` where it never holds."""
    low, high = first, last + 1
    while high - low > 1:
        middle = (low + high) // 2
        if holds(middle):
            low = middle
        else:
            high = middle
    return low
