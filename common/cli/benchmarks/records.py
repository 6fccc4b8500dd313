"""Measurements as ``qkd bench --json`` prints them, read back: for the page on performance, and for comparing two runs.

A run may be a list of records or, where it was itself compared with another, an object that holds the list. Records of earlier versions
lack fields that came later; these read as if they were None.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, TypeAlias

from common.cli.benchmarks.measurement import Measurement
from common.errors import ConfigurationError

Record: TypeAlias = dict[str, Any]
"""The fields of a ``Measurement``, and ``machine`` and ``quick``."""

_LATER_FIELDS = {"round_trip_ms": None, "yardstick_seconds": None, "repetition": 0}
_FIELDS = {field.name for field in dataclasses.fields(Measurement)} - set(_LATER_FIELDS)
_NUMBERS = ("qber", "block_bits", "mbit_per_second", "mevents_per_second", "efficiency", "ratio_to_peer", "yardstick_seconds")


def read_records(path: Path) -> list[Record]:
    """Read the output of ``qkd bench --json``.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    list[dict]
        Records in order, at least one, each with all fields.

    Raises
    ------
    ConfigurationError
        If the file cannot be read or holds something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        found = content["measurements"] if isinstance(content, dict) else content
        records = [_LATER_FIELDS | record for record in found]
        fits = bool(records) and all(_is_record(record) for record in records)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ConfigurationError(f"{path}: not the output of qkd bench --json: {error}") from error
    if not fits:
        raise ConfigurationError(f"{path}: not the output of qkd bench --json: a measurement lacks a field, or a number is none")
    return records


def _is_record(record: Record) -> bool:
    numbers = all(record[name] is None or (isinstance(record[name], int | float) and record[name] > 0) for name in _NUMBERS)
    return set(record) >= _FIELDS and isinstance(record["quick"], bool) and bool(record["machine"]) and numbers
