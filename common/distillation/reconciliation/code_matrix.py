"""A quasi-cyclic LDPC code as a value, checked when it is built.

The base matrix, the columns that may be punctured and the measured working points. Built from a shipped file by ``codes`` or from a
new matrix by ``code_design``; goes to ``ldpc_frames`` and the kernels.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from math import log

import numpy as np
from numpy.typing import NDArray

from common.errors import ConfigurationError
from common.kernels.ldpc_tables import COARSE, FINE

MOST_COLUMN_DEGREE = 64
"""Checks a bit may be in, so that the sum of all messages to it stays far below what stands for a known bit."""


@dataclass(frozen=True, slots=True)
class WorkingPoint:
    """What a code was measured to correct.

    Attributes
    ----------
    count_punctured, count_shortened : int
        Positions of the codeword that carry private random bits, and known zeros.
    qber : float
        QBER at which one segment in a hundred fails before any increment.
    """

    count_punctured: int
    count_shortened: int
    qber: float


@dataclass(frozen=True, slots=True, eq=False)
class Code:
    """A quasi-cyclic LDPC code with everything its decoder needs.

    Attributes
    ----------
    name : str
        ``n`` and code rate, as in ``n66560-r0500``.
    lift : int
        Bits of a base column, checks of a base row.
    shifts : int16[rows, columns]
        Circulant shifts, -1 for an empty entry: check ``i`` of a row meets bit ``(i + shift) mod lift`` of a column.
    punctured_columns : tuple[int, ...]
        Base columns that may be punctured. Each has a row in which it is the only one of them, so any set of their positions has
        linearly independent columns in the parity-check matrix.
    working_points : tuple[WorkingPoint, ...]
        Measured.
    row_starts, edge_columns, edge_shifts : int64
        The base matrix by rows, for the kernels; derived from ``shifts``.
    digest : str
        SHA-256 over ``name``, ``lift``, ``shifts`` and ``punctured_columns``, hexadecimal.
    """

    name: str
    lift: int
    shifts: NDArray[np.int16]
    punctured_columns: tuple[int, ...]
    working_points: tuple[WorkingPoint, ...]
    row_starts: NDArray[np.int64]
    edge_columns: NDArray[np.int64]
    edge_shifts: NDArray[np.int64]
    digest: str

    @classmethod
    def of(
        cls,
        name: str,
        lift: int,
        shifts: NDArray[np.int16],
        punctured_columns: tuple[int, ...],
        working_points: tuple[WorkingPoint, ...],
    ) -> Code:
        """Build a code and check it.

        Parameters
        ----------
        name : str
            Name of the code.
        lift : int
            Bits of a base column.
        shifts : int16[rows, columns]
            Circulant shifts, -1 for none.
        punctured_columns : tuple[int, ...]
            Base columns that may be punctured.
        working_points : tuple[WorkingPoint, ...]
            Measured working points, may be empty in design.

        Returns
        -------
        Code
            Read-only arrays.

        Raises
        ------
        ConfigurationError
            If a shift is out of range, a row or column is empty or too full for the decoder, a cycle of length 4 exists, or a
            punctured column has no row of its own.
        """
        shifts = np.ascontiguousarray(shifts, np.int16)
        _check_matrix(name, lift, shifts)
        _check_punctured(name, shifts, punctured_columns)
        rows, columns = np.nonzero(shifts >= 0)
        starts = np.searchsorted(rows, np.arange(shifts.shape[0] + 1)).astype(np.int64)
        described = f"{name} {lift} {shifts.shape} {list(punctured_columns)} ".encode() + shifts.astype("<i2").tobytes()
        arrays = (shifts, starts, columns.astype(np.int64), shifts[rows, columns].astype(np.int64))
        for array in arrays:
            array.setflags(write=False)
        return cls(
            name=name,
            lift=lift,
            shifts=arrays[0],
            punctured_columns=punctured_columns,
            working_points=working_points,
            row_starts=arrays[1],
            edge_columns=arrays[2],
            edge_shifts=arrays[3],
            digest=hashlib.sha256(described).hexdigest(),
        )

    @property
    def count_bits(self) -> int:
        """Codeword length n."""
        return int(self.shifts.shape[1]) * self.lift

    @property
    def count_checks(self) -> int:
        """Syndrome length m, bits."""
        return int(self.shifts.shape[0]) * self.lift

    @property
    def code_rate(self) -> float:
        """``1 - m/n``, equal to an entry of ``codes.CODE_RATES`` for a shipped code."""
        return float(round(1.0 - self.shifts.shape[0] / self.shifts.shape[1], 6))

    @property
    def most_punctured(self) -> int:
        """Positions that may be punctured."""
        return len(self.punctured_columns) * self.lift


def channel_level(qber: float, fine: bool = False) -> int:
    """Return the decoder's level for a bit that is wrong with probability ``qber``.

    Parameters
    ----------
    qber : float
        From 0 to 1/2.
    fine : bool
        Whether levels are those of the fine scale.

    Returns
    -------
    int
        ``levels_per_nat ln((1 - qber)/qber)``, rounded, between 1 and ``message_limit``.
    """
    scale = FINE if fine else COARSE
    if qber <= 0.0:
        return scale.message_limit
    return min(scale.message_limit, max(1, round(scale.levels_per_nat * log((1.0 - qber) / qber))))


def _check_matrix(name: str, lift: int, shifts: NDArray[np.int16]) -> None:
    if shifts.ndim != 2 or lift < 1 or shifts.min() < -1 or shifts.max() >= lift:
        raise ConfigurationError(f"code {name}: shifts must be a matrix of numbers from -1 to {lift - 1}; make the file again")
    present = shifts >= 0
    if not present.any(axis=0).all() or not present.any(axis=1).all():
        raise ConfigurationError(f"code {name}: a base row or column is empty; make the file again")
    if present.sum(axis=0).max() > MOST_COLUMN_DEGREE:
        raise ConfigurationError(f"code {name}: a bit in more than {MOST_COLUMN_DEGREE} checks overflows the decoder; make the file again")
    for row in range(1, shifts.shape[0]):  # a cycle of length 4: two rows whose shifts differ equally in two columns
        both = present[:row] & present[row]
        differences = np.where(both, (shifts[row].astype(np.int64) - shifts[:row]) % lift, -1)
        ordered = np.sort(differences, axis=1)
        if ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)).any():
            raise ConfigurationError(f"code {name}: base row {row} closes a cycle of length 4; make the file again")


def _check_punctured(name: str, shifts: NDArray[np.int16], punctured_columns: tuple[int, ...]) -> None:
    chosen = list(punctured_columns)
    if len(set(chosen)) != len(chosen) or any(not 0 <= column < shifts.shape[1] for column in chosen):
        raise ConfigurationError(f"code {name}: punctured columns must be different columns of the base matrix")
    present = shifts[:, chosen] >= 0
    alone = present & (present.sum(axis=1) == 1)[:, None]
    if not alone.any(axis=0).all():
        raise ConfigurationError(f"code {name}: a punctured column has no row of its own, so its bits may not be independent")
