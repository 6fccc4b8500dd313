"""What a figure shows: columns of numbers with unit and origin, and a caption; written to CSV, drawn elsewhere.

Every column has one origin, ``published``, ``ours`` or ``given`` (by the user), so that nobody takes a number of ours for a measured
one. Modules of figures make these, ``canvas`` and the drawing functions show them.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from io import StringIO
from math import isfinite
from pathlib import Path
from typing import Literal

from common.errors import ConfigurationError

Origin = Literal["published", "ours", "given"]
Cell = float | str | None

WORDS = {"published": "published", "ours": "ours (formula)", "given": "given by the user"}
"""Origins in words."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a figure's numbers.

    Attributes
    ----------
    name, unit : str
        Name in the CSV file, unit included where there is one; and the unit.
    origin : str
        ``published``, ``ours`` or ``given``.
    meaning : str
        A line for people.
    values : tuple[float | str | None, ...]
        One a row; None where there is none.
    """

    name: str
    unit: str
    origin: Origin
    meaning: str
    values: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Fact:
    """One number that belongs to a figure, such as a tolerable loss.

    Attributes
    ----------
    name, unit : str
        What it is, and its unit.
    origin : str
        As of a column.
    value : float
        The number.
    """

    name: str
    unit: str
    origin: Origin
    value: float


@dataclass(frozen=True, slots=True)
class FigureData:
    """All numbers of one figure.

    Attributes
    ----------
    name, title : str
        Of the files, and for people.
    published, ours : str
        Which numbers are the publication's, and which ours: the two sentences of the caption.
    columns : tuple[Column, ...]
        All of the same length.
    facts : tuple[Fact, ...]
        Numbers beside the columns.
    """

    name: str
    title: str
    published: str
    ours: str
    columns: tuple[Column, ...]
    facts: tuple[Fact, ...] = ()

    @property
    def caption(self) -> str:
        """What stands below the drawing, and in the metadata of its files."""
        return f"Published: {self.published} Ours: {self.ours}"

    def __getitem__(self, name: str) -> tuple[Cell, ...]:
        """Return the values of a column."""
        return next(column.values for column in self.columns if column.name == name)

    def numbers(self, name: str) -> list[float]:
        """Return the numbers of the column ``name``, NaN where there is none."""
        return [float("nan") if value is None else float(value) for value in self[name]]

    def points(self, across: str, name: str) -> tuple[list[float], list[float]]:
        """Return the rows where the column ``name`` has a number, against the column ``across``."""
        pairs = [(float(x), float(y)) for x, y in zip(self[across], self[name], strict=True) if x is not None and y is not None]
        return [x for x, _ in pairs], [y for _, y in pairs]

    def fact(self, name: str) -> float:
        """Return the value of the fact ``name``."""
        return next(fact.value for fact in self.facts if fact.name == name)

    def to_csv(self) -> str:
        """Return it as CSV: lines that begin with ``#`` say what it is, then names, then rows."""
        lines = [f"# {self.title}", f"# published: {self.published}", f"# ours: {self.ours}"]
        lines += [f"# {column.name} [{column.unit or '1'}], {WORDS[column.origin]}: {column.meaning}" for column in self.columns]
        lines += [f"# {fact.name} [{fact.unit}], {WORDS[fact.origin]}: {fact.value:.6g}" for fact in self.facts]
        written = StringIO()
        rows = csv.writer(written, lineterminator="\n")
        rows.writerow(column.name for column in self.columns)
        rows.writerows([_cell(value) for value in row] for row in zip(*(column.values for column in self.columns), strict=True))
        return "\n".join(lines) + "\n" + written.getvalue()


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a user may bring to the figures.

    Attributes
    ----------
    points : tuple[Mapping, ...]
        Rows of other experiments, for ``comparison``.
    measured : dict[str, tuple[Mapping, ...]]
        Rows of a measured source by ``power`` or ``temperature``.
    executor : Executor | None
        Where many points are computed; None for here.
    progress : callable | None
        Called with points done and points in all.
    """

    points: tuple[Mapping[str, Cell], ...] = ()
    measured: Mapping[str, tuple[Mapping[str, Cell], ...]] = field(default_factory=dict)
    executor: Executor | None = None
    progress: Callable[[int, int], None] | None = None


def read_rows(path: Path, words: Sequence[str], numbers: Sequence[str], optional: Sequence[str] = ()) -> tuple[dict[str, Cell], ...]:
    """Read a CSV file of a user.

    Parameters
    ----------
    path : Path
        With a line of names; lines that begin with ``#`` are left out.
    words, numbers, optional : sequence of str
        Columns that must be there, and columns of numbers that may; other columns are left alone.

    Returns
    -------
    tuple of dict
        One a row; None where an optional number is missing.

    Raises
    ------
    ConfigurationError
        If a column is missing or a cell is no number that is finite and 0 or more; the message names file, line and column.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as unreadable:
        raise ConfigurationError(f"{path}: cannot be read as text ({unreadable})") from None
    kept = [(number, line) for number, line in enumerate(lines, 1) if line.strip() and not line.startswith("#")]
    if not kept:
        raise ConfigurationError(f"{path}: empty; the first line names the columns {', '.join((*words, *numbers))}")
    reader = csv.DictReader([line for _, line in kept], skipinitialspace=True)
    missing = [name for name in (*words, *numbers) if name not in (reader.fieldnames or ())]
    if missing:
        raise ConfigurationError(f"{path}: no column {missing[0]}; wanted are {', '.join((*words, *numbers))}")
    rows = []
    for (number, _), row in zip(kept[1:], reader, strict=False):
        cells: dict[str, Cell] = {name: (row[name] or "").strip() for name in words}
        where = f"{path}, line {number}"
        cells |= {name: _number(row.get(name), f"{where}, {name}", may_miss=name in optional) for name in (*numbers, *optional)}
        rows.append(cells)
    if not rows:
        raise ConfigurationError(f"{path}: no rows below the names")
    return tuple(rows)


def grid(start: float, stop: float, count: int, also: Iterable[float] = ()) -> list[float]:
    """Space ``count`` values evenly from ``start`` to ``stop`` and put the ones of ``also`` in their places.

    Parameters
    ----------
    start, stop : float
        Both included.
    count : int
        At least 2.
    also : iterable of float
        Values that must be among them.

    Returns
    -------
    list[float]
        Sorted, each once.
    """
    step = (stop - start) / (count - 1)
    return sorted({round(start + step * index, 9) for index in range(count)} | set(also))


def _cell(value: Cell) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else f"{value:.8g}"


def _number(text: str | None, where: str, *, may_miss: bool) -> float | None:
    if not (text or "").strip() and may_miss:
        return None
    try:
        value = float(text or "")
    except ValueError:
        raise ConfigurationError(f"{where}: {text!r} is no number") from None
    if not isfinite(value) or value < 0.0:
        raise ConfigurationError(f"{where}: {value:g} is not finite and 0 or more")
    return value
