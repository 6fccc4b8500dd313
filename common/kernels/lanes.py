"""Sixty-four 16-bit numbers at a time: the few vector operations that LDPC decoding is written in.

Numba turns loops into vector instructions of 256 bits at most and knows no table look-up in registers. A kernel that needs more emits
its own operations through ``@intrinsic``; with ``Lanes`` they read like the arithmetic that they are. All but ``Table`` is plain vector
code of the compiler and would run on any processor. ``Table`` is ``VPERMI2W``, so ``HAS_TABLES`` says whether intrinsics built on this
module can be compiled here; callers keep a portable path of ordinary loops and let tests run both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from llvmlite import ir
from numba.core import cgutils

from common.kernels.carry_less import compiled_features

COUNT_LANES = 64
"""Lanes of one value: two of the widest registers, so that one hides the latency of the other."""

HAS_TABLES = compiled_features().get("avx512bw", False)
"""Whether the processor looks words up in a table of 64 entries by one instruction."""

_BIT, _INT8, _INT16, _INT32, _FLOAT = ir.IntType(1), ir.IntType(8), ir.IntType(16), ir.IntType(32), ir.FloatType()
_REGISTER_LANES = 32


def _vector(element: Any, count: int = COUNT_LANES) -> Any:
    return ir.VectorType(element, count)


def _numbers(values: Sequence[int], element: Any) -> Any:
    return ir.Constant(_vector(element, len(values)), [ir.Constant(element, value) for value in values])


@dataclass(frozen=True, slots=True)
class Lanes:
    """A value of ``COUNT_LANES`` int16 lanes while code is emitted; operators work lane by lane.

    Attributes
    ----------
    builder : llvmlite.ir.IRBuilder
        Where instructions go.
    value : llvmlite.ir.Value
        The vector.
    """

    builder: Any
    value: Any

    @classmethod
    def load(cls, builder: Any, pointer: Any, element: Any = _INT16) -> Lanes:
        """Load lanes from anywhere in memory, extending the sign of narrower elements.

        Parameters
        ----------
        builder : llvmlite.ir.IRBuilder
            Where instructions go.
        pointer : llvmlite.ir.Value
            Address of the first element.
        element : llvmlite.ir.Type
            int16 or int8.

        Returns
        -------
        Lanes
            The value.
        """
        loaded = builder.load(builder.bitcast(pointer, _vector(element).as_pointer()))
        loaded.align = 1
        return cls(builder, loaded if element is _INT16 else builder.sext(loaded, _vector(_INT16)))

    @classmethod
    def load_bytes(cls, builder: Any, pointer: Any) -> Lanes:
        """Load int8 lanes; see ``load``."""
        return cls.load(builder, pointer, _INT8)

    def store(self, pointer: Any) -> None:
        """Store the lanes at any address."""
        stored = self.builder.store(self.value, self.builder.bitcast(pointer, self.value.type.as_pointer()))
        stored.align = 1

    def store_bytes(self, pointer: Any) -> None:
        """Store the low byte of each lane."""
        Lanes(self.builder, self.builder.trunc(self.value, _vector(_INT8))).store(pointer)

    def all(self, number: int) -> Lanes:
        """Return a value with ``number`` in every lane."""
        return Lanes(self.builder, _numbers([number] * COUNT_LANES, _INT16))

    def __add__(self, other: Lanes) -> Lanes:
        """Add, modulo 2^16."""
        return Lanes(self.builder, self.builder.add(self.value, other.value))

    def __sub__(self, other: Lanes) -> Lanes:
        """Subtract, modulo 2^16."""
        return Lanes(self.builder, self.builder.sub(self.value, other.value))

    def __xor__(self, other: Lanes) -> Lanes:
        """Exclusive or of the bits."""
        return Lanes(self.builder, self.builder.xor(self.value, other.value))

    def __abs__(self) -> Lanes:
        """Magnitude; -2^15 stays itself."""
        return self._call("abs", ir.Constant(_BIT, 0))

    def at_most(self, other: Lanes) -> Lanes:
        """Smaller of the two, both taken as unsigned."""
        return self._call("umin", other.value)

    def at_least(self, other: Lanes) -> Lanes:
        """Larger of the two, both taken as signed."""
        return self._call("smax", other.value)

    def saturated_sum(self, other: Lanes) -> Lanes:
        """Sum of unsigned numbers, at most 65535."""
        return self._call("uadd.sat", other.value)

    def is_negative(self) -> Any:
        """Return one bit a lane."""
        return self.builder.icmp_signed("<", self.value, self.all(0).value)

    def equals(self, other: Lanes) -> Any:
        """Return one bit a lane."""
        return self.builder.icmp_signed("==", self.value, other.value)

    def where(self, condition: Any, otherwise: Lanes) -> Lanes:
        """Keep the lanes whose bit is set and take the others from ``otherwise``."""
        return Lanes(self.builder, self.builder.select(condition, self.value, otherwise.value))

    def quarter_octaves(self) -> Lanes:
        """Return ``floor(4 log2(x))``, steps within an octave equal, of unsigned numbers, and 0 for 0: the top bits of a float."""
        wide = self.builder.uitofp(self.builder.zext(self.value, _vector(_INT32)), _vector(_FLOAT))
        exponent_and_two_bits = self.builder.lshr(self.builder.bitcast(wide, _vector(_INT32)), _numbers([21] * COUNT_LANES, _INT32))
        biased = Lanes(self.builder, self.builder.trunc(exponent_and_two_bits, _vector(_INT16)))
        return (biased - self.all(127 << 2)).at_least(self.all(0))

    def numbered_below(self, count: Any) -> Any:
        """Return one bit a lane, set in the first ``count`` (int64) lanes."""
        count_16 = self.builder.trunc(count, _INT16)
        first = self.builder.insert_element(self.value, count_16, ir.Constant(_INT32, 0))
        spread = self.builder.shuffle_vector(first, first, _numbers([0] * COUNT_LANES, _INT32))
        return self.builder.icmp_signed("<", _numbers(range(COUNT_LANES), _INT16), spread)

    def _call(self, name: str, *others: Any) -> Lanes:
        types = [self.value.type, *(other.type for other in others)]
        function = cgutils.get_or_insert_function(
            self.builder.module, ir.FunctionType(self.value.type, types), f"llvm.{name}.v{COUNT_LANES}i16"
        )
        return Lanes(self.builder, self.builder.call(function, [self.value, *others]))


def count_set(builder: Any, condition: Any) -> Any:
    """Emit the number of lanes whose bit is set.

    Parameters
    ----------
    builder : llvmlite.ir.IRBuilder
        Where instructions go.
    condition : llvmlite.ir.Value
        One bit a lane.

    Returns
    -------
    llvmlite.ir.Value
        int64.
    """
    return builder.ctpop(builder.bitcast(condition, ir.IntType(COUNT_LANES)))


@dataclass(frozen=True, slots=True)
class Table:
    """64 words held in two registers, looked up by lane.

    Attributes
    ----------
    builder : llvmlite.ir.IRBuilder
        Where instructions go.
    low, high : llvmlite.ir.Value
        Entries 0 to 31 and 32 to 63.
    """

    builder: Any
    low: Any
    high: Any

    @classmethod
    def of(cls, builder: Any, entries: Sequence[int]) -> Table:
        """Build a table of constants.

        Parameters
        ----------
        builder : llvmlite.ir.IRBuilder
            Where instructions go.
        entries : sequence of int
            64 words.

        Returns
        -------
        Table
            Ready to look up.
        """
        return cls(builder, _numbers(entries[:_REGISTER_LANES], _INT16), _numbers(entries[_REGISTER_LANES:], _INT16))

    def __getitem__(self, indices: Lanes) -> Lanes:
        """Look every lane up; indices are taken modulo 64."""
        register = _vector(_INT16, _REGISTER_LANES)
        function = cgutils.get_or_insert_function(
            self.builder.module, ir.FunctionType(register, [register] * 3), "llvm.x86.avx512.vpermi2var.hi.512"
        )
        found = []
        for first in (0, _REGISTER_LANES):
            chosen = _numbers(range(first, first + _REGISTER_LANES), _INT32)
            part = self.builder.shuffle_vector(indices.value, indices.value, chosen)
            found.append(self.builder.call(function, [self.low, part, self.high]))
        return Lanes(self.builder, self.builder.shuffle_vector(*found, _numbers(range(COUNT_LANES), _INT32)))
