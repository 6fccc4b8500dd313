"""The shipped LDPC codes are sound, their files read back, damaged ones are refused, and the choice of code follows the QBER."""

import json
import lzma
import tracemalloc
from itertools import pairwise

import numpy as np
import pytest

from common.distillation.reconciliation.code_matrix import Code, channel_level
from common.distillation.reconciliation.codes import (
    CODE_RATES,
    LONG_BITS,
    LONGEST_BITS,
    SHIPPED_RATES,
    SHORT_BITS,
    THOROUGH_BITS,
    choose_code,
    codeword_lengths,
    from_bytes,
    from_json,
    load_code,
    name_of,
    to_bytes,
    to_json,
)
from common.distillation.reconciliation.edge_growth import Draws, LiftedGraph, grown_graph
from common.distillation.reconciliation.effort import FAST, STANDARD, THOROUGH
from common.distillation.reconciliation.ldpc_frames import decode, encode, layout_of, reveal
from common.errors import ConfigurationError
from common.security.entropy import binary_entropy
from tests.reference import ldpc as slow
from tests.support.ldpc import random_bits, with_errors

SHIPPED = [pytest.param(bits, rate, id=name_of(bits, rate)) for bits, rates in SHIPPED_RATES.items() for rate in rates]


@pytest.mark.parametrize(("count_bits", "rate"), SHIPPED)
def test_a_shipped_code_is_what_its_name_says(count_bits, rate):
    code = load_code(name_of(count_bits, rate))

    assert code.count_bits == count_bits
    assert code.code_rate == rate  # exactly: the index on the wire is looked up by it
    assert rate in CODE_RATES
    assert code.count_checks == round(count_bits * (1 - rate))
    assert [point.count_punctured for point in code.working_points] == [0, code.most_punctured, 0]
    assert from_bytes(to_bytes(code)).digest == code.digest
    assert not code.shifts.flags.writeable


def test_working_qbers_fall_with_the_code_rate_and_rise_with_the_length():
    short, long, longest = (
        {rate: load_code(name_of(bits, rate)).working_points[0].qber for rate in SHIPPED_RATES[bits]}
        for bits in (SHORT_BITS, LONG_BITS, LONGEST_BITS)
    )

    for qbers in (short, long, longest):
        assert list(qbers.values()) == sorted(qbers.values(), reverse=True)
    assert all(short[rate] < long[rate] < longest[rate] for rate in short)


@pytest.mark.parametrize("rate", SHIPPED_RATES[SHORT_BITS])
def test_all_positions_that_may_be_punctured_are_linearly_independent(rate):
    code = load_code(name_of(SHORT_BITS, rate))
    positions = layout_of(code, 1, code.most_punctured).punctured
    columns = []
    for position in positions.tolist():
        column, bit = divmod(position, code.lift)
        entries = code.shifts[:, column]
        columns.append(sum(1 << (row * code.lift + (bit - int(entries[row])) % code.lift) for row in np.flatnonzero(entries >= 0).tolist()))

    assert slow.rank(columns) == len(positions) > 0


def test_layouts_for_blocks_of_every_length_do_not_pile_up():
    code = load_code(name_of(LONG_BITS, 0.85))
    layout_of.cache_clear()
    tracemalloc.start()
    try:
        layouts = [layout_of(code, 40_000 + count, 0) for count in range(20)]
        together, _ = tracemalloc.get_traced_memory()
        del layouts
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert kept < 0.3 * together  # a daemon would grow block by block for as long as all are kept


@pytest.mark.parametrize("name", [name_of(SHORT_BITS, 0.5), name_of(SHORT_BITS, 0.95), name_of(LONG_BITS, 0.95)])
def test_edge_growth_from_the_shipped_degrees_gives_the_shipped_matrix(name):
    code = load_code(name)
    graph = grown_graph((code.shifts >= 0).sum(axis=0).tolist(), code.shifts.shape[0], code.lift, Draws(f"qkdlink ldpc {name}"))

    assert all(
        graph.edges[column] == {r: s for r, s in enumerate(code.shifts[:, column].tolist()) if s >= 0} for column in range(len(graph.edges))
    )
    assert graph.girth() >= 6
    assert max(graph.row_degrees) - min(graph.row_degrees) <= 3


def test_edge_growth_draws_are_the_same_everywhere():
    draws = Draws("qkdlink test")

    assert [draws.below(1000) for _ in range(6)] == [366, 578, 110, 302, 428, 664]


def test_the_girth_of_a_lifted_graph_counts_edges_of_its_shortest_cycle():
    graph = LiftedGraph(2, 2, 4)
    for row, column, shift in [(0, 0, 0), (0, 1, 0), (1, 0, 0), (1, 1, 0)]:
        graph.place(row, column, shift)
    assert graph.girth() == 4

    twisted = LiftedGraph(2, 2, 4)
    for row, column, shift in [(0, 0, 0), (0, 1, 0), (1, 0, 0), (1, 1, 2)]:
        twisted.place(row, column, shift)
    assert twisted.girth() == 8  # the cycle closes after running round twice


def test_a_damaged_file_is_refused():
    text = to_json(load_code(name_of(SHORT_BITS, 0.95)))
    data = json.loads(text)

    damages: list[dict[str, object]] = [
        {"lift": 3},
        {"count_rows": 9},
        {"count_rows": 1},
        {"punctured_columns": list(range(9))},
        {"punctured_columns": [0, 0]},
        {"punctured_columns": [-1]},
        {"working_points": [[1, 2]]},
        {"columns": [[[0, "x"]]]},
        {"columns": data["columns"][:5]},
    ]
    for damage in damages:
        with pytest.raises(ConfigurationError):
            from_json(json.dumps(data | damage))
    with pytest.raises(ConfigurationError, match="not a code file"):
        from_json(text[:-40])
    for broken in (b"", to_bytes(load_code(name_of(SHORT_BITS, 0.95)))[:-40], lzma.compress(b"\xff")):
        with pytest.raises(ConfigurationError, match="not a code file"):
            from_bytes(broken)


def test_a_cycle_of_length_four_is_refused():
    with pytest.raises(ConfigurationError, match="length 4"):
        Code.of("x", 8, np.array([[1, 2], [3, 4]], np.int16), (), ())


def test_a_column_too_full_for_the_decoder_is_refused():
    shifts = np.array([[row * column % 97 for column in range(3)] for row in range(65)], np.int16)

    with pytest.raises(ConfigurationError, match="overflows"):
        Code.of("x", 97, shifts, (), ())


@pytest.mark.parametrize(
    ("segment_bits", "count_bits"), [(1024, SHORT_BITS), (65_536, LONG_BITS), (262_144, LONGEST_BITS), (1_048_576, LONGEST_BITS)]
)
def test_the_codeword_length_is_the_one_nearest_to_the_segment(segment_bits, count_bits):
    assert codeword_lengths(segment_bits)[0] == count_bits
    assert list(codeword_lengths(segment_bits)) == sorted(codeword_lengths(segment_bits), reverse=True)


def test_only_a_thorough_effort_takes_codewords_of_a_million_bits():
    assert codeword_lengths(1 << 20, FAST) == (LONGEST_BITS, LONG_BITS)
    assert codeword_lengths(1 << 20, THOROUGH) == (THOROUGH_BITS, LONGEST_BITS)
    assert codeword_lengths(60_000, THOROUGH) == (LONG_BITS, SHORT_BITS)
    assert codeword_lengths(5_000, THOROUGH) == (SHORT_BITS,)


@pytest.mark.parametrize("qber", [0.02, 0.05, 0.08])
def test_more_effort_leaks_less(qber):
    fast, standard, thorough = (choose_code(qber, effort.most_bits, effort=effort).efficiency for effort in (FAST, STANDARD, THOROUGH))

    assert fast > standard > thorough
    assert fast < 1.15
    assert thorough < 1.06


def test_a_margin_is_given_up_where_it_would_leak_more_than_the_ceiling():
    with_margin = choose_code(0.01, LONGEST_BITS, margin=FAST.margin)
    choice = choose_code(0.01, LONGEST_BITS, effort=FAST)

    assert choose_code(0.01, LONGEST_BITS).efficiency < choice.efficiency < with_margin.efficiency
    assert choose_code(0.01, SHORT_BITS, effort=FAST).efficiency == choose_code(0.01, SHORT_BITS).efficiency  # far beyond it anyway


def test_a_code_that_is_not_shipped_is_refused():
    with pytest.raises(ConfigurationError, match="n66560-r0500"):
        load_code("n66560-r0550")


@pytest.mark.parametrize(("qber", "level"), [(0.0, 63), (1e-9, 63), (0.5, 1), (0.05, 18), (0.01, 28)])
def test_the_channel_level_is_six_for_each_nat(qber, level):
    assert channel_level(qber) == level


@pytest.mark.parametrize("count_bits", [SHORT_BITS, LONG_BITS, LONGEST_BITS])
def test_leakage_per_key_bit_rises_with_the_qber_and_stays_near_the_entropy(count_bits):
    qbers = np.geomspace(0.004, 0.11, 40)
    choices = [choose_code(float(qber), count_bits) for qber in qbers]
    leaked = [(c.code.count_checks - c.count_punctured) / c.count_payload for c in choices]

    assert all(more > 0.985 * less for less, more in pairwise(leaked))  # codes of neighbouring rates do not meet exactly
    assert all(1.05 < choice.efficiency < 1.6 for choice in choices)
    assert all(c.efficiency == pytest.approx(l / binary_entropy(float(q))) for c, l, q in zip(choices, leaked, qbers, strict=True))


def test_a_margin_moves_the_start_and_limits_are_kept():
    lean, plain, safe = (choose_code(0.03, margin=margin) for margin in (0.95, 1.0, 1.1))
    fixed = choose_code(0.06, SHORT_BITS, (0.5,))

    assert lean.efficiency < plain.efficiency < safe.efficiency
    assert fixed.code.name == "n10240-r0500"
    assert 0 < fixed.count_punctured <= fixed.code.most_punctured
    assert choose_code(0.06, SHORT_BITS, (0.5,), most_punctured=0).count_punctured == 0


@pytest.mark.parametrize("count_key_bits", [1, 500, 20_000, 66_000, 200_000])
def test_few_key_bits_are_not_charged_for_a_whole_codeword(count_key_bits):
    choice = choose_code(0.02, count_key_bits=count_key_bits)
    segments = -(-count_key_bits // choice.count_payload)
    leaked = segments * (choice.code.count_checks - choice.count_punctured)

    assert choice.count_payload == -(-count_key_bits // segments)
    assert leaked < max(1.6 * binary_entropy(0.02) * count_key_bits, 3328)


@pytest.mark.parametrize("arguments", [{"qber": 0.5}, {"qber": -0.1}, {"qber": 0.1, "margin": 0.0}, {"qber": 0.1, "count_key_bits": 0}])
def test_a_choice_out_of_range_is_refused(arguments):
    with pytest.raises(ConfigurationError):
        choose_code(**arguments)


def test_a_choice_among_no_codes_is_refused():
    with pytest.raises(ConfigurationError, match="no code rate"):
        choose_code(0.02, code_rates=(0.99,), count_bits=SHORT_BITS)


@pytest.mark.parametrize(("rate", "index"), [(0.5, 0), (0.5, 1), (0.9, 0), (0.9, 2), (0.95, 1)])
def test_a_working_point_is_where_one_segment_in_a_hundred_fails(rate, index):
    """At 3 % below the measured QBER, 40 segments with a failure ratio of at most 2 % show more than 5 failures with probability 1.4e-4."""
    code = load_code(name_of(SHORT_BITS, rate))
    point = code.working_points[index]
    layout = layout_of(code, code.count_bits - point.count_punctured - point.count_shortened, point.count_punctured)
    generator = np.random.default_rng(7)
    theirs, private = random_bits(generator, 40, layout.count_payload), random_bits(generator, 40, layout.count_punctured)
    ours = with_errors(generator, theirs, 0.97 * point.qber)

    decoded = decode(layout, ours, encode(layout, theirs, private), np.zeros((40, 0), np.uint8), point.qber)

    assert (~decoded.succeeded).sum() <= 5
    assert np.array_equal(decoded.payload[decoded.succeeded], theirs[decoded.succeeded])


@pytest.mark.parametrize("qber", [0.01, 0.03, 0.08])
def test_blind_increments_recover_segments_that_began_too_lean(qber):
    """A fixed seed, no statistics. All six are charged for the worst here; the conversation charges each for its own."""
    choice = choose_code(qber, SHORT_BITS, margin=0.95)
    layout = layout_of(choice.code, choice.count_payload, choice.count_punctured)
    generator = np.random.default_rng(3)
    theirs, private = random_bits(generator, 6, layout.count_payload), random_bits(generator, 6, layout.count_punctured)
    ours = with_errors(generator, theirs, qber)
    syndromes = encode(layout, theirs, private)
    last, step = 0, 0
    decoded = decode(layout, ours, syndromes, np.zeros((6, 0), np.uint8), qber)
    while not decoded.succeeded.all():
        _, last = layout.increment(step, layout.increment_bits)
        step += 1
        decoded = decode(layout, ours, syndromes, reveal(layout, theirs, private, 0, last), qber)

    assert np.array_equal(decoded.payload, theirs)
    assert layout.leakage_bits(last) < 2.0 * binary_entropy(qber) * layout.count_payload
    assert step > 0
