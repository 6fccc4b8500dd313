"""What a reader of recordings is told, and what it found out: options on the way in, counts on the way out.

A recording of somebody else's is never quite clean: tags out of order, tags written twice, counters that rolled over, a last record
cut off, an hour of nothing. What can be put right is put right and counted here, so that a report can say so; what cannot is refused
by the reader. Filled by the readers of ``common.timetags.recording``; shown by the commands.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from common.errors import ConfigurationError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Piece: TypeAlias = "tuple[NDArray[np.int64], NDArray[np.uint8]]"
"""Some tags: times in picoseconds, and channels."""

GAP_PS: Final = 1_000_000_000_000
"""A second without any tag is a gap, picoseconds: no receiver is that quiet while it works."""

MOST_DENOMINATOR: Final = 1_000_000
"""Units below a microsecond are fractions of a picosecond with denominators up to this, so that products fit 63 bits; others are whole."""

UNITS_PS: Final = {"ps": 1, "ns": 1_000, "us": 1_000_000, "ms": 1_000_000_000, "s": 1_000_000_000_000}
"""Picoseconds in a unit of time, by its name."""

_UNIT = re.compile(r"\s*(\d+(?:\.\d+)?)?\s*(ps|ns|us|µs|ms|s)\s*")


@dataclass(frozen=True, slots=True)
class ReadingOptions:
    """What the caller knows about a file and the file may not say.

    Attributes
    ----------
    channels : dict[str, int] | None
        Channel number of each name, in place of what the file states.
    sync_divider : int | None
        Divider of the sync channel, likewise.
    unit_ps : Fraction | None
        Picoseconds in one unit of the file's times, where its format does not fix it.
    format_name : str | None
        Format, in place of what the file's first bytes and its ending say.
    needs_names : bool
        Whether the caller needs to know which channel is which; otherwise numbers do for names.
    """

    channels: dict[str, int] | None = None
    sync_divider: int | None = None
    unit_ps: Fraction | None = None
    format_name: str | None = None
    needs_names: bool = False


@dataclass(slots=True)
class Reading:
    """What was found while reading; complete when the last tag has been taken.

    Attributes
    ----------
    format_name : str
        The format that was read.
    count_tags : int
        Tags given out.
    count_by_channel : int64[256]
        The same by channel.
    count_reordered : int
        Tags that stood behind a later one and were put in their place.
    count_duplicates : int
        Tags left out because the same channel had one at the same picosecond.
    count_rollovers : int
        Times the tagger's counter started anew.
    count_other_records : int
        Records that are no detections: markers, fillers, missed-event marks.
    count_tail_bytes : int
        Bytes of an unfinished last record, left out.
    count_missing_records : int
        Records that the header announces and the file does not hold.
    count_gaps, longest_gap_ps : int
        Stretches of a second and more without any tag, and the longest stretch between two tags.
    first_ps, last_ps : int | None
        Times of the first and the last tag, picoseconds.
    notes : list[str]
        What else the user should know, such as a header that contradicts the data.
    """

    format_name: str
    count_tags: int = 0
    count_by_channel: NDArray[np.int64] = field(default_factory=lambda: np.zeros(256, np.int64))
    count_reordered: int = 0
    count_duplicates: int = 0
    count_rollovers: int = 0
    count_other_records: int = 0
    count_tail_bytes: int = 0
    count_missing_records: int = 0
    count_gaps: int = 0
    longest_gap_ps: int = 0
    first_ps: int | None = None
    last_ps: int | None = None
    notes: list[str] = field(default_factory=list)

    def take(self, t_ps: NDArray[np.int64], channel: NDArray[np.uint8]) -> None:
        """Count tags that are given out.

        Parameters
        ----------
        t_ps : int64[n]
            Times in order, not before those taken earlier, picoseconds.
        channel : uint8[n]
            Channel of each.
        """
        if not t_ps.size:
            return
        self.count_tags += int(t_ps.size)
        self.count_by_channel += np.bincount(channel, minlength=256)
        waits = np.diff(t_ps, prepend=t_ps[0] if self.last_ps is None else np.int64(self.last_ps))
        self.count_gaps += int(np.count_nonzero(waits >= GAP_PS))
        self.longest_gap_ps = max(self.longest_gap_ps, int(waits.max()))
        self.first_ps = int(t_ps[0]) if self.first_ps is None else self.first_ps
        self.last_ps = int(t_ps[-1])

    @property
    def seconds(self) -> float:
        """Time from the first tag to the last."""
        return 0.0 if self.first_ps is None or self.last_ps is None else (self.last_ps - self.first_ps) * 1e-12

    @property
    def channels_seen(self) -> list[int]:
        """Numbers of the channels that have tags."""
        return [int(number) for number in np.flatnonzero(self.count_by_channel)]

    def to_json(self) -> dict[str, Any]:
        """Put the counts together for a report.

        Returns
        -------
        dict
            Ready for JSON; channels by number.
        """
        return {
            "format": self.format_name,
            "tags": self.count_tags,
            "seconds": self.seconds,
            "tags_by_channel": {str(number): int(self.count_by_channel[number]) for number in self.channels_seen},
            "reordered": self.count_reordered,
            "duplicates": self.count_duplicates,
            "rollovers": self.count_rollovers,
            "other_records": self.count_other_records,
            "tail_bytes": self.count_tail_bytes,
            "missing_records": self.count_missing_records,
            "gaps": self.count_gaps,
            "longest_gap_s": self.longest_gap_ps * 1e-12,
            "notes": list(self.notes),
        }

    def sentences(self) -> list[str]:
        """Say what was put right or left out.

        Returns
        -------
        list[str]
            A line each; nothing where the recording was clean.
        """
        counted = (
            (self.count_reordered, f"{self.count_reordered} tags stood out of order and were put in their place"),
            (self.count_duplicates, f"{self.count_duplicates} tags written twice were left out"),
            (self.count_rollovers, f"the tagger's counter rolled over {self.count_rollovers} times; times go on behind it"),
            (self.count_tail_bytes, f"the last record is cut off: {self.count_tail_bytes} bytes were left out"),
            (
                self.count_missing_records,
                f"{self.count_missing_records} records that the header announces are missing: the file is cut off",
            ),
            (self.count_gaps, f"{self.count_gaps} gaps of a second or more, the longest {self.longest_gap_ps * 1e-12:.6g} s"),
        )
        return [sentence for count, sentence in counted if count] + self.notes


def parse_unit(text: str) -> Fraction:
    """Read a unit of time.

    Parameters
    ----------
    text : str
        ``ps``, ``ns``, ``us``, ``ms`` or ``s``, with a number before it if need be: ``80.955ps``.

    Returns
    -------
    Fraction
        Picoseconds.

    Raises
    ------
    ConfigurationError
        If it is no unit.
    """
    found = _UNIT.fullmatch(text)
    if not found:
        raise ConfigurationError(f"unit {text!r}: write ps, ns, us, ms or s, with a number before it where needed, for example 80.955ps")
    exact = Fraction(found[1] or 1) * UNITS_PS[found[2].replace("µ", "u")]
    unit = exact.limit_denominator(MOST_DENOMINATOR if exact < UNITS_PS["us"] else 1)
    if not 0 < unit <= UNITS_PS["s"]:
        raise ConfigurationError(f"unit {text!r}: it must be more than nothing and at most a second")
    return unit


def to_picoseconds(ticks: NDArray[np.int64], unit_ps: Fraction) -> NDArray[np.int64]:
    """Turn whole ticks into picoseconds, rounded to the nearest, without leaving whole numbers.

    Parameters
    ----------
    ticks : int64[n]
        Times in units.
    unit_ps : Fraction
        Picoseconds in a unit.

    Returns
    -------
    int64[n]
        Picoseconds.
    """
    numerator, denominator = unit_ps.as_integer_ratio()
    if denominator == 1:
        return ticks * np.int64(numerator)
    whole, rest = np.divmod(ticks, np.int64(denominator))
    return whole * np.int64(numerator) + (rest * np.int64(numerator) + denominator // 2) // denominator


def most_ticks(unit_ps: Fraction) -> int:
    """Largest tick of ``unit_ps`` whose picoseconds still fit 63 bits, with as much to spare for a difference."""
    return int((1 << 62) / unit_ps)
