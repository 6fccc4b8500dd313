"""Sixty-four small numbers at a time: the few vector operations that LDPC decoding is written in.

Numba turns loops into vector instructions of 256 bits at most and knows no table look-up in registers. A kernel that needs more emits
its own operations through ``@intrinsic``; with ``Lanes`` they read like the arithmetic that they are. ``Lanes`` is plain vector code,
which the compiler cuts to the processor's registers. ``Registers`` is what has to know their width: narrowing words to bytes with
saturation and looking bytes up in a table. ``REGISTER_BITS`` says which width to use here; callers keep a portable path of
ordinary loops, and tests run all that the processor has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from llvmlite import ir
from numba.core import cgutils

from common.kernels.jit import compiled_features

COUNT_LANES = 64
"""Lanes of one value: bytes that fill one of the widest registers, words that fill two."""

INT8, INT16 = ir.IntType(8), ir.IntType(16)
_BIT, _INT32 = ir.IntType(1), ir.IntType(32)
_OF_SHUFFLE = 16  # bytes within which narrow registers shuffle, and all registers pack

_PACK = {512: "avx512.packsswb.512", 256: "avx2.packsswb", 128: "sse2.packsswb.128"}
_SHUFFLE = {256: "avx2.pshuf.b", 128: "ssse3.pshuf.b.128"}


def register_bits_for(features: dict[str, bool]) -> tuple[int, ...]:
    """Return the widths of registers that can be used, widest first.

    Parameters
    ----------
    features : dict[str, bool]
        LLVM feature names of the processor.

    Returns
    -------
    tuple[int, ...]
        Of 512 (AVX-512 with byte permutations), 256 (AVX2) and 128 (SSSE3); empty where the portable path has to serve.
    """
    needed = {512: ("avx512bw", "avx512vbmi"), 256: ("avx2",), 128: ("ssse3",)}
    return tuple(bits for bits, names in needed.items() if all(features.get(name, False) for name in names))


USABLE_BITS = register_bits_for(compiled_features())
"""Widths of registers that this processor has."""

REGISTER_BITS = max(USABLE_BITS, default=0)
"""Width of register to use, 0 for none."""


def vector(element: Any, count: int = COUNT_LANES) -> Any:
    """Return the LLVM type of ``count`` lanes of ``element``."""
    return ir.VectorType(element, count)


def _numbers(values: Sequence[int], element: Any) -> Any:
    return ir.Constant(vector(element, len(values)), [ir.Constant(element, value) for value in values])


@dataclass(frozen=True, slots=True)
class Lanes:
    """A value of ``COUNT_LANES`` bytes or words while code is emitted; operators work lane by lane.

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
    def load(cls, builder: Any, pointer: Any, element: Any) -> Lanes:
        """Load lanes from anywhere in memory.

        Parameters
        ----------
        builder : llvmlite.ir.IRBuilder
            Where instructions go.
        pointer : llvmlite.ir.Value
            Address of the first element.
        element : llvmlite.ir.Type
            ``INT16`` or ``INT8``.

        Returns
        -------
        Lanes
            The value.
        """
        loaded = builder.load(builder.bitcast(pointer, vector(element).as_pointer()))
        loaded.align = 1
        return cls(builder, loaded)

    @classmethod
    def all(cls, builder: Any, number: int, element: Any) -> Lanes:
        """Return a value with one number in every lane.

        Parameters
        ----------
        builder : llvmlite.ir.IRBuilder
            Where instructions go.
        number : int
            The number.
        element : llvmlite.ir.Type
            ``INT16`` or ``INT8``.

        Returns
        -------
        Lanes
            The constant.
        """
        return cls(builder, _numbers([number] * COUNT_LANES, element))

    def store(self, pointer: Any) -> None:
        """Store the lanes at any address."""
        stored = self.builder.store(self.value, self.builder.bitcast(pointer, self.value.type.as_pointer()))
        stored.align = 1

    def as_words(self) -> Lanes:
        """Return bytes as words of the same sign."""
        return Lanes(self.builder, self.builder.sext(self.value, vector(INT16)))

    def __neg__(self) -> Lanes:
        """Negate, modulo 2^8 or 2^16."""
        return Lanes(self.builder, self.builder.neg(self.value))

    def __add__(self, other: Lanes) -> Lanes:
        """Add, modulo 2^8 or 2^16."""
        return Lanes(self.builder, self.builder.add(self.value, other.value))

    def __sub__(self, other: Lanes) -> Lanes:
        """Subtract, modulo 2^8 or 2^16."""
        return Lanes(self.builder, self.builder.sub(self.value, other.value))

    def __xor__(self, other: Lanes) -> Lanes:
        """Exclusive or of the bits."""
        return Lanes(self.builder, self.builder.xor(self.value, other.value))

    def __rshift__(self, count: int) -> Lanes:
        """Shift unsigned numbers right."""
        return Lanes(self.builder, self.builder.lshr(self.value, self._like(count)))

    def __abs__(self) -> Lanes:
        """Magnitude; the lowest number stays itself, and is the highest as an unsigned one."""
        return self._call("abs", ir.Constant(_BIT, 0))

    def at_most(self, other: Lanes) -> Lanes:
        """Smaller of the two, both taken as unsigned."""
        return self._call("umin", other.value)

    def saturated_sum(self, other: Lanes) -> Lanes:
        """Sum of unsigned numbers, at most the highest."""
        return self._call("uadd.sat", other.value)

    def is_negative(self) -> Any:
        """Return one bit a lane."""
        return self.builder.icmp_signed("<", self.value, self._like(0))

    def is_below(self, number: int) -> Any:
        """Return one bit a lane, for unsigned lanes."""
        return self.builder.icmp_unsigned("<", self.value, self._like(number))

    def has_bit(self, bit: int) -> Any:
        """Return one bit a lane: whether it has ``bit``, a power of 2."""
        return self.builder.icmp_signed("!=", self.builder.and_(self.value, self._like(bit)), self._like(0))

    def equals(self, other: Lanes) -> Any:
        """Return one bit a lane."""
        return self.builder.icmp_signed("==", self.value, other.value)

    def where(self, condition: Any, otherwise: Lanes) -> Lanes:
        """Keep the lanes whose bit is set and take the others from ``otherwise``."""
        return Lanes(self.builder, self.builder.select(condition, self.value, otherwise.value))

    def _like(self, number: int) -> Any:
        return _numbers([number] * COUNT_LANES, self.value.type.element)

    def _call(self, name: str, *others: Any) -> Lanes:
        types = [self.value.type, *(other.type for other in others)]
        full_name = f"llvm.{name}.v{COUNT_LANES}i{self.value.type.element.width}"
        function = cgutils.get_or_insert_function(self.builder.module, ir.FunctionType(self.value.type, types), full_name)
        return Lanes(self.builder, self.builder.call(function, [self.value, *others]))


def numbered_below(builder: Any, count: Any) -> Any:
    """Return one bit a lane, set in the first ``count`` (int64) lanes, emitted by ``builder``."""
    first = builder.insert_element(ir.Constant(vector(INT16), ir.Undefined), builder.trunc(count, INT16), ir.Constant(_INT32, 0))
    spread = builder.shuffle_vector(first, first, _numbers([0] * COUNT_LANES, _INT32))
    return builder.icmp_signed("<", _numbers(range(COUNT_LANES), INT16), spread)


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
class Registers:
    """What depends on the width of registers.

    The instruction that narrows two registers of words to one of bytes leaves them in an order of its own, the *packed* order. What
    widens bytes again undoes it, and everything between works lane by lane, so the order hardly ever has to be mended.

    Attributes
    ----------
    builder : llvmlite.ir.IRBuilder
        Where instructions go.
    bits : int
        One of ``USABLE_BITS``.
    """

    builder: Any
    bits: int

    def packed(self, words: Lanes) -> Lanes:
        """Narrow signed words to bytes with saturation; the result is in packed order."""
        from_words, to_bytes = vector(INT16, self.bits // 16), vector(INT8, self.bits // 8)
        function = self._function(_PACK[self.bits], to_bytes, from_words, from_words)
        parts = self._parts(words)
        return self._joined([self.builder.call(function, [low, high]) for low, high in zip(parts[::2], parts[1::2], strict=True)])

    def widened(self, low: Lanes, high: Lanes) -> Lanes:
        """Join bytes to words.

        Parameters
        ----------
        low, high : Lanes
            Less and more significant bytes, in packed order.

        Returns
        -------
        Lanes
            Words in order.
        """
        words = []
        for pair in zip(self._parts(low), self._parts(high), strict=True):
            for half in (0, _OF_SHUFFLE // 2):
                lanes = [
                    start + half + index + which * (self.bits // 8)
                    for start in range(0, self.bits // 8, _OF_SHUFFLE)
                    for index in range(_OF_SHUFFLE // 2)
                    for which in (0, 1)
                ]
                joined = self.builder.shuffle_vector(*pair, _numbers(lanes, _INT32))
                words.append(self.builder.bitcast(joined, vector(INT16, self.bits // 16)))
        return self._joined(words)

    def in_order(self, packed: Lanes) -> Lanes:
        """Put bytes in packed order into order."""
        places = {lane: place for place, lane in enumerate(self._packed_order())}
        return self._shuffled(packed, [places[lane] for lane in range(COUNT_LANES)])

    def out_of_order(self, ordered: Lanes) -> Lanes:
        """Put bytes that are in order into packed order."""
        return self._shuffled(ordered, self._packed_order())

    def look_up(self, entries: Sequence[int], indices: Lanes) -> Lanes:
        """Look every lane up in a table of 64 or 128 bytes.

        Parameters
        ----------
        entries : sequence of int
            64 or 128 bytes, constants.
        indices : Lanes
            Bytes below the number of entries; what a larger index finds is undefined.

        Returns
        -------
        Lanes
            The entries found.
        """
        if self.bits < 512:
            return self._searched(entries, indices)
        register, parts = vector(INT8), [_numbers(entries[first : first + 64], INT8) for first in range(0, len(entries), 64)]
        if len(parts) == 1:
            function = self._function("avx512.permvar.qi.512", register, register, register)
            return Lanes(self.builder, self.builder.call(function, [*parts, indices.value]))
        function = self._function("avx512.vpermi2var.qi.512", register, register, register, register)
        return Lanes(self.builder, self.builder.call(function, [parts[0], indices.value, parts[1]]))

    def _searched(self, entries: Sequence[int], indices: Lanes) -> Lanes:
        """Look up in a power of two of bytes, by halves down to what one shuffle holds."""
        half = len(entries) // 2
        if half < _OF_SHUFFLE:
            return self._shuffled_by(entries, indices)
        low, high = (self._searched(part, indices) for part in (entries[:half], entries[half:]))
        return high.where(indices.has_bit(half), low)

    def _shuffled_by(self, entries: Sequence[int], indices: Lanes) -> Lanes:
        """Look up in 16 bytes by the lowest four bits."""
        register = vector(INT8, self.bits // 8)
        table = _numbers(list(entries) * (self.bits // 8 // _OF_SHUFFLE), INT8)
        function = self._function(_SHUFFLE[self.bits], register, register, register)
        return self._joined([self.builder.call(function, [table, part]) for part in self._parts(indices)])

    def _packed_order(self) -> list[int]:
        """For every place in packed order, the lane that it holds."""
        words = self.bits // 16
        return [
            pair + register * words + start + index
            for pair in range(0, COUNT_LANES, 2 * words)
            for start in range(0, words, _OF_SHUFFLE // 2)
            for register in (0, 1)
            for index in range(_OF_SHUFFLE // 2)
        ]

    def _shuffled(self, lanes: Lanes, order: list[int]) -> Lanes:
        return Lanes(self.builder, self.builder.shuffle_vector(lanes.value, lanes.value, _numbers(order, _INT32)))

    def _parts(self, lanes: Lanes) -> list[Any]:
        """Cut a value into registers."""
        count = self.bits // lanes.value.type.element.width
        return [
            self.builder.shuffle_vector(lanes.value, lanes.value, _numbers(range(first, first + count), _INT32))
            for first in range(0, COUNT_LANES, count)
        ]

    def _joined(self, parts: list[Any]) -> Lanes:
        """Join registers, a power of two of them, to a value."""
        while len(parts) > 1:
            everything = _numbers(range(2 * parts[0].type.count), _INT32)
            parts = [self.builder.shuffle_vector(low, high, everything) for low, high in zip(parts[::2], parts[1::2], strict=True)]
        return Lanes(self.builder, parts[0])

    def _function(self, name: str, result: Any, *arguments: Any) -> Any:
        return cgutils.get_or_insert_function(self.builder.module, ir.FunctionType(result, arguments), f"llvm.x86.{name}")
