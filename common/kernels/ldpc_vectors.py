"""One layer of LDPC decoding in vectors: what ``common.kernels.ldpc`` does by plain loops, 64 lanes in registers.

Both functions are intrinsics over ``common.kernels.lanes``; the update may be compiled only for ``USABLE_BITS``. Their arguments are
those of ``update_layer_portable`` and ``layer_agrees_portable``; called by ``common.kernels.ldpc`` alone.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from common.kernels.lanes import COUNT_LANES, INT8, INT16, Lanes, Registers, count_set, numbered_below, vector
from common.kernels.ldpc_tables import COARSE, COUNT_STEPS, FINE, LARGEST_DOUBT, Scale

_INT64 = ir.IntType(64)
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


def _emit_update(bits: int, fine: bool, context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """Emit, for each stretch of lanes: all neighbours in, two magnitudes, all neighbours out. Most is done on bytes in packed order."""
    posteriors, messages, work, syndrome, edge_columns, edge_shifts = (
        _data(context, builder, signature, arguments, index) for index in range(6)
    )
    first, last = arguments[6:]
    lift = builder.extract_value(context.make_array(_MESSAGES)(context, builder, arguments[1]).shape, 1)
    layer, registers = _Layer(builder, posteriors, edge_columns, edge_shifts, lift), Registers(builder, bits)
    count_edges = builder.sub(last, first)
    scale = FINE if fine else COARSE
    limit = Lanes.all(builder, scale.message_limit, INT8)
    doubts, least, signs = (cgutils.alloca_once(builder, vector(element)) for element in (INT16, INT8, INT8))
    count_unsatisfied = cgutils.alloca_once_value(builder, ir.Constant(_INT64, 0))
    scratch = builder.bitcast(work, INT8.as_pointer())

    def now(variable: Any) -> Lanes:
        return Lanes(builder, builder.load(variable))

    def sent(edge: Any, start: Any) -> Any:
        """Address of what the checks from ``start`` on sent last."""
        return builder.gep(messages, [builder.add(builder.mul(edge, lift), start)])

    def kept(index: Any) -> Any:
        """Address of a neighbour's incoming values, bytes in packed order."""
        return builder.gep(scratch, [builder.mul(index, _STEP)])

    with cgutils.for_range_slice(builder, ir.Constant(_INT64, 0), lift, _STEP, inc=True) as (start, _):
        Lanes.all(builder, 0, INT16).store(doubts)
        limit.store(least)
        registers.out_of_order(-Lanes.load(builder, builder.gep(syndrome, [start]), INT8)).store(signs)
        with cgutils.for_range(builder, count_edges) as loop:
            edge = builder.add(first, loop.index)
            message = Lanes.load(builder, sent(edge, start), INT8)
            value = registers.packed(Lanes.load(builder, layer.bits(edge, start), INT16) - message.as_words())
            value.store(kept(loop.index))
            magnitude = abs(value).at_most(limit)
            now(doubts).saturated_sum(_doubt_of(scale, registers, magnitude)).store(doubts)
            now(least).at_most(magnitude).store(least)
            (now(signs) ^ value).store(signs)
        weakest, sign, total = now(least), now(signs), now(doubts)
        to_others = _level_of(scale, registers, total)
        to_weakest = _level_of(scale, registers, total - _doubt_of(scale, registers, weakest))  # where fine, the compiler drops both
        with cgutils.for_range(builder, count_edges) as loop:
            edge = builder.add(first, loop.index)
            value = Lanes.load(builder, kept(loop.index), INT8)
            magnitude = abs(value).at_most(limit)
            if fine:
                magnitude = _level_of(scale, registers, total - _doubt_of(scale, registers, magnitude))
            else:
                magnitude = to_weakest.where(magnitude.equals(weakest), to_others)
            message = registers.in_order((-magnitude).where((sign ^ value).is_negative(), magnitude))
            before = Lanes.load(builder, sent(edge, start), INT8)
            change = message.as_words() - before.as_words() if fine else (message - before).as_words()  # a byte holds twice 63
            message.store(sent(edge, start))
            (Lanes.load(builder, layer.bits(edge, start), INT16) + change).store(layer.bits(edge, start))
        found = count_set(builder, sign.is_negative())
        builder.store(builder.add(builder.load(count_unsatisfied), found), count_unsatisfied)
    with cgutils.for_range(builder, count_edges) as loop:
        edge = builder.add(first, loop.index)
        front = layer.column(edge)
        behind = builder.gep(front, [lift])
        passed = builder.and_(layer.shift(edge), ir.Constant(_INT64, COUNT_LANES - 1))
        fresh = Lanes.load(builder, behind, INT16).where(numbered_below(builder, passed), Lanes.load(builder, front, INT16))
        fresh.store(front)
        fresh.store(behind)
    return builder.load(count_unsatisfied)


def _doubt_of(scale: Scale, registers: Registers, magnitude: Lanes) -> Lanes:
    """Emit the doubts about magnitudes, words, by a table of low bytes and one of high bytes."""
    low, high = ([int(doubt) >> shift & 255 for doubt in scale.doubt_of_level] for shift in (0, 8))
    return registers.widened(registers.look_up(low, magnitude), registers.look_up(high, magnitude))


def _level_of(scale: Scale, registers: Registers, doubt: Lanes) -> Lanes:
    """Emit the magnitudes that sums of doubts leave, bytes in packed order: from the finest table that goes so far."""
    within = doubt.at_most(Lanes.all(doubt.builder, LARGEST_DOUBT, INT16))
    found: Lanes | None = None
    for shift, levels in zip(reversed(scale.step_shifts), reversed(scale.level_of_step.tolist()), strict=True):
        index = registers.packed(within >> shift)  # saturates, and so stays beyond the table where the sum is
        level = registers.look_up(levels, index)
        found = level if found is None else level.where(index.is_below(COUNT_STEPS), found)
    assert found is not None
    return found


def _emit_agreement(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """Emit the exclusive or of all hard decisions of each check and of its syndrome, in the sign bit."""
    posteriors, syndrome, edge_columns, edge_shifts = (_data(context, builder, signature, arguments, index) for index in range(4))
    first, last = arguments[4:]
    lift = builder.extract_value(context.make_array(_SYNDROME)(context, builder, arguments[1]).shape, 0)
    layer = _Layer(builder, posteriors, edge_columns, edge_shifts, lift)
    parities = cgutils.alloca_once(builder, vector(INT16))
    count_unsatisfied = cgutils.alloca_once_value(builder, ir.Constant(_INT64, 0))
    with cgutils.for_range_slice(builder, ir.Constant(_INT64, 0), lift, _STEP, inc=True) as (start, _):
        (-Lanes.load(builder, builder.gep(syndrome, [start]), INT8)).as_words().store(parities)
        with cgutils.for_range(builder, builder.sub(last, first)) as loop:
            bits = Lanes.load(builder, layer.bits(builder.add(first, loop.index), start), INT16)
            (Lanes(builder, builder.load(parities)) ^ bits).store(parities)
        found = count_set(builder, Lanes(builder, builder.load(parities)).is_negative())
        builder.store(builder.add(builder.load(count_unsatisfied), found), count_unsatisfied)
    return builder.icmp_signed("==", builder.load(count_unsatisfied), ir.Constant(_INT64, 0))


def update_layer_in(bits: int, fine: bool) -> Callable[..., int]:
    """Make the update of a layer for one width of registers.

    Parameters
    ----------
    bits : int
        One of ``USABLE_BITS``.
    fine : bool
        Which rule, as for ``update_layer_portable``.

    Returns
    -------
    callable
        As ``update_layer_portable`` with ``COUNT_LANES`` lanes; callable inside kernels only.
    """

    def update_layer(  # Numba types the call by this parameter list
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
        return signature, partial(_emit_update, bits, fine)

    made: Callable[..., int] = intrinsic(update_layer)
    return made


def _layer_agrees(
    _typing_context: Any, _posteriors: Any, _syndrome: Any, _edge_columns: Any, _edge_shifts: Any, _first: Any, _last: Any
) -> tuple[Any, Any]:
    return types.boolean(_POSTERIORS, _SYNDROME, _EDGES, _EDGES, types.int64, types.int64), _emit_agreement


layer_agrees_vectors: Callable[..., bool] = intrinsic(_layer_agrees)
"""As ``layer_agrees_portable`` with ``COUNT_LANES`` lanes, on any processor; callable inside kernels only."""
