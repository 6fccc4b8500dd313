"""Small random quasi-cyclic codes and simulated segments."""

import numpy as np
from hypothesis import strategies as st

from common.distillation.reconciliation.code_matrix import Code


@st.composite
def base_matrices(draw, most_rows=5, most_columns=9, lifts=(1, 3, 8, 64)):
    """``(shifts, lift)`` with no empty row or column; short cycles are welcome here."""
    rows = draw(st.integers(2, most_rows))
    columns = draw(st.integers(2, most_columns))
    lift = draw(st.sampled_from(lifts))
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    present = generator.random((rows, columns)) < draw(st.floats(0.2, 0.8))
    present[generator.integers(0, rows, columns), np.arange(columns)] = True
    present[np.arange(rows), generator.integers(0, columns, rows)] = True
    return np.where(present, generator.integers(0, lift, (rows, columns)), -1).astype(np.int16), lift


def small_code(shifts, lift, punctured_columns=()):
    """A ``Code`` without the check for short cycles, for kernels that do not care."""
    rows, columns = np.nonzero(shifts >= 0)
    starts = np.searchsorted(rows, np.arange(shifts.shape[0] + 1)).astype(np.int64)
    edge_shifts = shifts[rows, columns].astype(np.int64)
    return Code(
        "small",
        lift,
        shifts,
        tuple(punctured_columns),
        (),
        starts,
        columns.astype(np.int64),
        edge_shifts,
        "",
    )


def random_bits(generator, *shape):
    return generator.integers(0, 2, shape).astype(np.uint8)


def with_errors(generator, bits, qber):
    return bits ^ (generator.random(bits.shape) < qber).astype(np.uint8)
