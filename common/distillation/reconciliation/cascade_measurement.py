"""Measures what Cascade leaks: ``python -m common.distillation.reconciliation.cascade_measurement``.

Both halves talk as over a channel, at every QBER and segment length of a grid, with independent errors and a search prepared for the
true QBER; what they charge, segment tags included, over the entropy of the errors that were really there is the efficiency. With
``--out`` the table that ``cascade_efficiency`` reads is written anew: some minutes of one core. A test measures some points of it again.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from argparse import ArgumentParser
from pathlib import Path

import numpy as np

from common.bits import Bits
from common.conversation.rehearsal import rehearse
from common.distillation.recipe import Recipe
from common.distillation.reconciliation.cascade import answer_parities, search_errors
from common.distillation.values import KeyBits
from common.profiles.link import load_profile
from common.security.entropy import binary_entropy

SEGMENT_BITS = (1024, 2048, 4096, 8192, 16_384, 32_768, 65_536)
"""Key bits of a segment."""

QBERS = tuple(round(0.25 * 2.0 ** (-step / 4.0), 7) for step in range(45, -1, -1))
"""From 1e-4 to 1/4, four to the octave: block sizes are powers of two, so what they cost repeats with the octave."""

MEASURED_BITS = 1 << 22
"""Bits reconciled for each point, split into batches of equal segments."""

_BATCH_BITS = 1 << 20


def measured_efficiency(qber: float, segment_bits: int, count_bits: int = MEASURED_BITS, seed: int = 1) -> float:
    """Reconcile simulated bits by both halves.

    Parameters
    ----------
    qber : float
        Independent errors with this probability, which both halves are told.
    segment_bits : int
        Key bits of a segment.
    count_bits : int
        Bits in all, rounded down to whole segments, at least one.
    seed : int
        Of the simulated channel.

    Returns
    -------
    float
        Bits charged, segment tags included, over the entropy of the errors that occurred.
    """
    recipe = dataclasses.replace(Recipe.of(load_profile("niedersachsen")), segment_bits=segment_bits)
    rng = np.random.default_rng(seed)
    charged = errors = bits = 0
    batch_bits = max(1, min(count_bits, _BATCH_BITS) // segment_bits) * segment_bits
    while bits + batch_bits <= max(count_bits, batch_bits):
        reference = rng.integers(0, 2, batch_bits, np.uint8)
        differs = (rng.random(batch_bits) < qber).astype(np.uint8)
        none = Bits.from_flags(np.zeros(batch_bits, np.uint8))
        keys = (KeyBits(Bits.from_flags(half), none) for half in (reference, reference ^ differs))
        ours, theirs = (half(recipe, qber, [key]) for half, key in zip((answer_parities, search_errors), keys, strict=True))
        (batch,), _, _ = rehearse(ours, theirs)
        charged += sum(batch.leakage.items.values())
        errors += int(np.count_nonzero(differs))
        bits += batch_bits
    return charged / (bits * binary_entropy(max(errors, 1) / bits))


def main(arguments: list[str] | None = None) -> None:
    """Print the efficiencies, or write the table.

    Parameters
    ----------
    arguments : list[str] | None
        Command line; None for the process's own.
    """
    parser = ArgumentParser(prog="python -m common.distillation.reconciliation.cascade_measurement", description=main.__doc__)
    parser.add_argument("--qber", type=float, action="append", help="share of errors (default: the table's), may be repeated")
    parser.add_argument("--bits", type=int, choices=SEGMENT_BITS, action="append", help="bits of a segment (default: all), may be repeated")
    parser.add_argument("--measured-bits", type=int, default=MEASURED_BITS, help=f"bits reconciled a point (default: {MEASURED_BITS})")
    parser.add_argument("--out", type=Path, help="write the whole table to this file, as JSON")
    options = parser.parse_args(arguments)
    qbers, lengths = (QBERS, SEGMENT_BITS) if options.out else (options.qber or QBERS, options.bits or SEGMENT_BITS)
    rows: list[list[float]] = []
    sys.stdout.write("segment " + " ".join(f"{100 * qber:7.3g}%" for qber in qbers) + "\n")
    for segment_bits in lengths:
        row = [round(measured_efficiency(qber, segment_bits, options.measured_bits), 4) for qber in qbers]
        sys.stdout.write(f"{segment_bits:7d} " + " ".join(f"{value:8.3f}" for value in row) + "\n")
        sys.stdout.flush()
        rows.append(row)
    if options.out:
        table = {"segment_bits": lengths, "qbers": qbers, "efficiency": rows}
        options.out.write_text(json.dumps(table).replace('], "', '],\n"').replace("], [", "],\n["), encoding="utf-8")


if __name__ == "__main__":
    main()
