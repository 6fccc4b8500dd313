"""Field types of messages: each carries its own limits, so that decoding bounds everything before anything is used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

MAXIMUM_FIELD_BYTES = 1 << 20
"""Longest byte string in one message; longer values travel as numbered chunks."""

MAXIMUM_ITEMS = 1 << 16
"""Longest list of integers in one message."""


@dataclass(frozen=True, slots=True)
class IntegerRange:
    """An integer between ``low`` and ``high``, both included; never a boolean."""

    low: int
    high: int

    def violation(self, value: object) -> str | None:
        """Say what is wrong with ``value``, or None."""
        if type(value) is not int:
            return f"{type(value).__name__} in place of an integer"
        return None if self.low <= value <= self.high else f"outside {self.low} to {self.high}"

    def __str__(self) -> str:
        return f"integer, {self.low} to {self.high}"


@dataclass(frozen=True, slots=True)
class ByteLength:
    """A byte string of ``low`` to ``high`` bytes."""

    low: int
    high: int

    def violation(self, value: object) -> str | None:
        """Say what is wrong with ``value``, or None."""
        if type(value) is not bytes:
            return f"{type(value).__name__} in place of bytes"
        return None if self.low <= len(value) <= self.high else f"{len(value)} bytes, allowed {self.low} to {self.high}"

    def __str__(self) -> str:
        return f"{self.low} bytes" if self.low == self.high else f"{self.low} to {self.high} bytes"


@dataclass(frozen=True, slots=True)
class IntegerList:
    """At most ``most`` integers, each within ``item``."""

    most: int
    item: IntegerRange

    def violation(self, value: object) -> str | None:
        """Say what is wrong with ``value``, or None."""
        if type(value) is not tuple:
            return f"{type(value).__name__} in place of a list"
        if len(value) > self.most:
            return f"{len(value)} items, allowed {self.most}"
        return next((fault for fault in map(self.item.violation, value) if fault), None)

    def __str__(self) -> str:
        return f"list of at most {self.most} of: {self.item}"


@dataclass(frozen=True, slots=True)
class Flag:
    """A boolean."""

    def violation(self, value: object) -> str | None:
        """Say what is wrong with ``value``, or None."""
        return None if type(value) is bool else f"{type(value).__name__} in place of a boolean"

    def __str__(self) -> str:
        return "boolean"


FieldType = IntegerRange | ByteLength | IntegerList | Flag

_UINT8 = IntegerRange(0, 2**8 - 1)
_UINT16 = IntegerRange(0, 2**16 - 1)
_UINT32 = IntegerRange(0, 2**32 - 1)
_COUNT = IntegerRange(0, 2**62)
_SLOT = IntegerRange(-(2**62), 2**62)

UInt8 = Annotated[int, _UINT8]
UInt16 = Annotated[int, _UINT16]
UInt32 = Annotated[int, _UINT32]
Count = Annotated[int, _COUNT]
Slot = Annotated[int, _SLOT]
Boolean = Annotated[bool, Flag()]
Bytes16 = Annotated[bytes, ByteLength(16, 16)]
Bytes32 = Annotated[bytes, ByteLength(32, 32)]
Blob = Annotated[bytes, ByteLength(0, MAXIMUM_FIELD_BYTES)]
CountList = Annotated[tuple[int, ...], IntegerList(MAXIMUM_ITEMS, _COUNT)]
