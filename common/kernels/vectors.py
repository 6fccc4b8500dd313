"""Vectors of words in the code that intrinsics emit: where they lie in an array, and their lanes in another order.

The compiler splits a vector that is longer than the processor's registers. Callers are ``carry_less``, ``binary_field`` and
``subspace_basis``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from llvmlite import ir


class Place:
    """A vector's place in an array argument of an intrinsic; its elements need no alignment beyond their own.

    Parameters
    ----------
    context, builder, signature, arguments : Any
        What Numba hands to the code generator of an intrinsic.
    array, start : int
        Which arguments are the array and the index of the vector's first element.
    lanes : int
        Elements of the vector.
    """

    def __init__(self, context: Any, builder: Any, signature: Any, arguments: Any, array: int, start: int, lanes: int) -> None:
        element = ir.IntType(signature.args[array].dtype.bitwidth)
        data = context.make_array(signature.args[array])(context, builder, arguments[array]).data
        self._builder, self._lanes, self._align = builder, lanes, element.width // 8
        self._pointer = builder.bitcast(builder.gep(data, [arguments[start]]), ir.VectorType(element, lanes).as_pointer())

    def load(self) -> Any:
        """Emit the vector."""
        return self._builder.load(self._pointer, align=self._align)

    def store(self, vector: Any) -> None:
        """Emit the write of ``vector``."""
        self._builder.store(vector, self._pointer, align=self._align)


def shuffle(builder: Any, a: Any, b: Any, lanes: Iterable[int]) -> Any:
    """Emit the vector of chosen lanes of two others.

    Parameters
    ----------
    builder : llvmlite.ir.IRBuilder
        Where the instruction goes.
    a, b : vectors
        Of one type.
    lanes : int, iterable
        Lanes of ``a`` and, counted on behind its last, of ``b``.

    Returns
    -------
    vector
        As long as ``lanes``.
    """
    chosen = list(lanes)
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(ir.IntType(32), len(chosen)), chosen))
