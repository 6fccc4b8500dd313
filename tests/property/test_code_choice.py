"""The choice of an LDPC code for any QBER and amount of key: no other leaks less, and a codeword left half empty is not free."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.distillation.reconciliation.codes import (
    CODE_RATES,
    LONG_BITS,
    LONGEST_BITS,
    SHIPPED_RATES,
    SHORT_BITS,
    choose_code,
    codeword_lengths,
    load_code,
    name_of,
    needed_efficiency,
)
from common.distillation.reconciliation.density_evolution import inverse_entropy
from common.distillation.reconciliation.effort import EFFORTS
from common.distillation.reconciliation.ldpc_frames import decode, encode, layout_of
from common.errors import ConfigurationError
from tests.support.ldpc import random_bits, with_errors

qbers = st.floats(0.005, 0.105)
amounts = st.integers(5_000, 4_000_000)
CODES = [name_of(bits, rate) for bits, rates in SHIPPED_RATES.items() for rate in rates]
efforts = st.sampled_from(list(EFFORTS.values()))


def leaked(choice, count_key_bits):
    return -(-count_key_bits // choice.count_payload) * (choice.code.count_checks - choice.count_punctured)


@given(qbers, amounts, efforts)
def test_among_several_lengths_and_rates_none_leaks_clearly_less(qber, count_key_bits, effort):
    """Reserves differ between codes and are weighed in, hence the few per cent."""
    lengths = codeword_lengths(min(1 << 20, count_key_bits), effort)
    best = choose_code(qber, lengths, count_key_bits=count_key_bits, margin=1.0, effort=effort)
    for bits in lengths:
        alone = choose_code(qber, bits, count_key_bits=count_key_bits, margin=1.0, effort=effort)
        if alone.efficiency >= 1.04:  # below, no code of this length suffices, and increments would make up for it
            assert leaked(best, count_key_bits) <= 1.04 * leaked(alone, count_key_bits)


@given(qbers, st.integers(8, 40))
def test_many_codewords_cost_little_more_than_an_endless_supply(qber, codewords):
    lengths = codeword_lengths(LONGEST_BITS)
    endless = choose_code(qber, lengths)
    choice = choose_code(qber, lengths, count_key_bits=codewords * LONGEST_BITS - 100_000)

    assert choice.efficiency < 1.06 * endless.efficiency


@given(st.sampled_from(CODES), st.integers(0, 100), st.integers(1, 59))
def test_a_code_needs_no_less_the_more_of_it_is_left_empty(name, punctured_percent, shortened_percent):
    code = load_code(name)
    punctured = code.most_punctured * punctured_percent // 100
    empty = [code.count_bits * share // 100 for share in (shortened_percent, shortened_percent + 1)]
    little, more = (needed_efficiency(code, punctured, shortened) for shortened in empty)
    plain, _, cut = (needed_efficiency(code, point.count_punctured, point.count_shortened) for point in code.working_points)

    assert more >= little if cut >= plain else more <= little


@pytest.mark.parametrize(("bits", "rate"), [(SHORT_BITS, 0.6), (LONG_BITS, 0.7), (LONG_BITS, 0.85), (LONGEST_BITS, 0.85)])
def test_a_codeword_left_half_empty_decodes_where_it_is_said_to(bits, rate):
    """At 2 % below that QBER a failure ratio of at most 2 % shows more than 3 failures of 20 with probability 6e-4. Supposing that nothing
    more is lost beyond a quarter, 10 and more of the longer ones fail."""
    code = load_code(name_of(bits, rate))
    layout = layout_of(code, bits // 2, 0)
    qber = inverse_entropy(code.count_checks / layout.count_payload / needed_efficiency(code, 0, bits // 2))
    generator = np.random.default_rng(11)
    theirs, private = random_bits(generator, 20, layout.count_payload), random_bits(generator, 20, 0)
    ours = with_errors(generator, theirs, 0.98 * qber)

    decoded = decode(layout, ours, encode(layout, theirs, private), np.zeros((20, 0), np.uint8), qber)

    assert (~decoded.succeeded).sum() <= 3


@given(st.floats(0.5, 2.0) | st.floats(-1.0, -1e-9))
def test_no_code_is_chosen_for_a_qber_that_none_can_be(qber):
    with pytest.raises(ConfigurationError):
        choose_code(qber, (LONGEST_BITS, LONG_BITS), CODE_RATES)
