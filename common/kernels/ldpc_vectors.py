"""One layer of LDPC decoding in vectors: what ``common.kernels.ldpc`` does by plain loops, 64 lanes in registers.

Both functions are intrinsics over ``common.kernels.lanes`` and may be compiled only where ``HAS_TABLES``. Their arguments are those of
``update_layer_portable`` and ``layer_agrees_portable``; called by ``common.kernels.ldpc`` alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from common.kernels.lanes import COUNT_LANES, Lanes, Table, count_set
from common.kernels.ldpc_tables import DOUBT_OF_LEVEL, LEVEL_OF_STEP, MESSAGE_LIMIT

_INT16, _INT64 = ir.IntType(16), ir.IntType(64)
_VECTOR = ir.VectorType(_INT16, COUNT_LANES)
_STEP = ir.Constant(_INT64, COUNT_LANES)
_POSTERIORS = types.Array(types.int16, 2, "C")
_MESSAGES = types.Array(types.int8, 2, "C")
_WORK = types.Array(types.int32, 2, "C")
_SYNDROME = types.Array(types.uint8, 1, "C")
_EDGES = types.Array(types.int64, 1, "C")


class _Layer:
    """Where the edges of one base row find their bits, while code is emitted."""

    def __init__(self, builder: Any, posteriors: Any, edge_columns: Any, edge_shifts: Any, lift: Any) -> None:
        self._builder = builder
        self._posteriors = posteriors
        self._edge_columns = edge_columns
        self._edge_shifts = edge_shifts
        self._lift = lift

    def column(self, edge: Any) -> Any:
        """Address of the base column of an edge."""
        column = self._builder.load(self._builder.gep(self._edge_columns, [edge]))
        return self._builder.gep(self._posteriors, [self._builder.mul(column, self._builder.add(self._lift, _STEP))])

    def shift(self, edge: Any) -> Any:
        """Shift of an edge."""
        return self._builder.load(self._builder.gep(self._edge_shifts, [edge]))

    def bits(self, edge: Any, start: Any) -> Any:
        """Address of the bits that the checks from ``start`` on meet."""
        at = self._builder.add(self.shift(edge), start)
        wraps = self._builder.icmp_signed(">=", at, self._lift)
        return self._builder.gep(self.column(edge), [self._builder.select(wraps, self._builder.sub(at, self._lift), at)])


def _data(context: Any, builder: Any, signature: Any, arguments: Any, index: int) -> Any:
    """Address of the first element of an array argument."""
    return context.make_array(signature.args[index])(context, builder, arguments[index]).data


def _emit_update(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """Emit, for each stretch of lanes: all neighbours in, two magnitudes, all neighbours out."""
    posteriors, messages, work, syndrome, edge_columns, edge_shifts = (
        _data(context, builder, signature, arguments, index) for index in range(6)
    )
    first, last = arguments[6:]
    lift = builder.extract_value(context.make_array(_MESSAGES)(context, builder, arguments[1]).shape, 1)
    layer = _Layer(builder, posteriors, edge_columns, edge_shifts, lift)
    count_edges = builder.sub(last, first)
    doubt_of, level_of = Table.of(builder, DOUBT_OF_LEVEL.tolist()), Table.of(builder, LEVEL_OF_STEP.tolist())
    zero = Lanes(builder, ir.Constant(_VECTOR, None))
    limit = zero.all(MESSAGE_LIMIT)
    doubts, least, signs, parities = (cgutils.alloca_once(builder, _VECTOR) for _ in range(4))
    count_unsatisfied = cgutils.alloca_once_value(builder, ir.Constant(_INT64, 0))
    scratch = builder.bitcast(work, _INT16.as_pointer())

    def now(variable: Any) -> Lanes:
        return Lanes(builder, builder.load(variable))

    with cgutils.for_range_slice(builder, ir.Constant(_INT64, 0), lift, _STEP, inc=True) as (start, _):
        wanted = zero - Lanes.load_bytes(builder, builder.gep(syndrome, [start]))
        for variable, value in ((doubts, zero), (least, limit), (signs, wanted), (parities, wanted)):
            value.store(variable)
        with cgutils.for_range(builder, count_edges) as loop:
            edge = builder.add(first, loop.index)
            posterior = Lanes.load(builder, layer.bits(edge, start))
            sent = builder.gep(messages, [builder.add(builder.mul(edge, lift), start)])
            value = posterior - Lanes.load_bytes(builder, sent)
            value.store(builder.gep(scratch, [builder.mul(loop.index, _STEP)]))
            magnitude = abs(value).at_most(limit)
            now(doubts).saturated_sum(doubt_of[magnitude]).store(doubts)
            now(least).at_most(magnitude).store(least)
            (now(signs) ^ value).store(signs)
            (now(parities) ^ posterior).store(parities)
        weakest, sign = now(least), now(signs)
        to_others = level_of[now(doubts).quarter_octaves()]
        to_weakest = level_of[(now(doubts) - doubt_of[weakest]).quarter_octaves()]
        with cgutils.for_range(builder, count_edges) as loop:
            edge = builder.add(first, loop.index)
            value = Lanes.load(builder, builder.gep(scratch, [builder.mul(loop.index, _STEP)]))
            magnitude = to_weakest.where(abs(value).at_most(limit).equals(weakest), to_others)
            message = (zero - magnitude).where((sign ^ value).is_negative(), magnitude)
            message.store_bytes(builder.gep(messages, [builder.add(builder.mul(edge, lift), start)]))
            (value + message).store(layer.bits(edge, start))
        found = count_set(builder, now(parities).is_negative())
        builder.store(builder.add(builder.load(count_unsatisfied), found), count_unsatisfied)
    with cgutils.for_range(builder, count_edges) as loop:
        edge = builder.add(first, loop.index)
        front = layer.column(edge)
        behind = builder.gep(front, [lift])
        passed = builder.and_(layer.shift(edge), ir.Constant(_INT64, COUNT_LANES - 1))
        fresh = Lanes.load(builder, behind).where(zero.numbered_below(passed), Lanes.load(builder, front))
        fresh.store(front)
        fresh.store(behind)
    return builder.load(count_unsatisfied)


def _emit_agreement(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """Emit the exclusive or of all hard decisions of each check and of its syndrome, in the sign bit."""
    posteriors, syndrome, edge_columns, edge_shifts = (_data(context, builder, signature, arguments, index) for index in range(4))
    first, last = arguments[4:]
    lift = builder.extract_value(context.make_array(_SYNDROME)(context, builder, arguments[1]).shape, 0)
    layer = _Layer(builder, posteriors, edge_columns, edge_shifts, lift)
    zero = Lanes(builder, ir.Constant(_VECTOR, None))
    parities = cgutils.alloca_once(builder, _VECTOR)
    count_unsatisfied = cgutils.alloca_once_value(builder, ir.Constant(_INT64, 0))
    with cgutils.for_range_slice(builder, ir.Constant(_INT64, 0), lift, _STEP, inc=True) as (start, _):
        (zero - Lanes.load_bytes(builder, builder.gep(syndrome, [start]))).store(parities)
        with cgutils.for_range(builder, builder.sub(last, first)) as loop:
            bits = Lanes.load(builder, layer.bits(builder.add(first, loop.index), start))
            (Lanes(builder, builder.load(parities)) ^ bits).store(parities)
        found = count_set(builder, Lanes(builder, builder.load(parities)).is_negative())
        builder.store(builder.add(builder.load(count_unsatisfied), found), count_unsatisfied)
    return builder.icmp_signed("==", builder.load(count_unsatisfied), ir.Constant(_INT64, 0))


def _update_layer(  # Numba types the call by this parameter list
    _typing_context: Any,
    _posteriors: Any,
    _messages: Any,
    _work: Any,
    _syndrome: Any,
    _edge_columns: Any,
    _edge_shifts: Any,
    _first: Any,
    _last: Any,
) -> tuple[Any, Any]:
    signature = types.int64(_POSTERIORS, _MESSAGES, _WORK, _SYNDROME, _EDGES, _EDGES, types.int64, types.int64)
    return signature, _emit_update


def _layer_agrees(
    _typing_context: Any, _posteriors: Any, _syndrome: Any, _edge_columns: Any, _edge_shifts: Any, _first: Any, _last: Any
) -> tuple[Any, Any]:
    return types.boolean(_POSTERIORS, _SYNDROME, _EDGES, _EDGES, types.int64, types.int64), _emit_agreement


update_layer_vectors: Callable[..., int] = intrinsic(_update_layer)
"""As ``update_layer_portable`` with ``COUNT_LANES`` lanes; callable inside kernels only."""

layer_agrees_vectors: Callable[..., bool] = intrinsic(_layer_agrees)
"""As ``layer_agrees_portable`` with ``COUNT_LANES`` lanes; callable inside kernels only."""
