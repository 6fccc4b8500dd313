"""Reports of how a block comes along."""

import numpy as np

from common.bits import Bits
from common.distillation.reporting import block_report, step_report
from common.distillation.steps import BlockSteps
from common.distillation.values import BlockOutcome, KeyBits, ReconciledBatch, SiftedBatch
from common.errors import AbortReason
from common.leakage import Leakage
from common.protocols.protocol import find_protocol

TABLE = ((0, 0, 0, 0), (0, 0, 0, 0), (0, 0, 90, 10), (0, 0, 5, 95))


def bits(*flags):
    return Bits.from_flags(np.array(flags, np.uint8))


def key(bases):
    return KeyBits(bits(*[0] * len(bases)), bits(*bases))


def sifted(bases):
    return SiftedBatch(2, 400, 1, key(bases), bits(), bits(), closes_block=False, closes_group=False, ends_stream=False, table=TABLE)


def reconciled(right, differed):
    known = (None, None) if right is None else (bits(*right), bits(*differed))
    return ReconciledBatch(key(()), (0, 0), (0, 0), 1, 0, Leakage(), *known)


def test_a_step_is_told_of_before_its_errors_are_known_and_again_afterwards():
    steps = BlockSteps(7, find_protocol("bb84"))
    first, second = steps.sifted(sifted((0, 0, 0))), steps.sifted(sifted((0, 1)))

    assert (first.block, first.step, second.step) == (7, 0, 1)
    assert (first.key, first.tested, first.errors, first.compared) == ((3, 0), (0, 200), (0, 15), (0, 0))
    assert (first.frames, first.detections, first.cross_clicks) == (2, 400, 1)

    told = steps.reconciled(key((0, 0, 0, 0, 1)), reconciled((1, 1, 0, 1, 1), (0, 1, 0, 0, 1)))

    assert [(report.step, report.compared, report.corrected) for report in told] == [(0, (2, 0), (1, 0)), (1, (1, 1), (0, 1))]


def test_a_step_that_two_batches_share_adds_up():
    steps = BlockSteps(1, find_protocol("bb84"))
    steps.sifted(sifted((0, 0, 0, 0)))

    (early,) = steps.reconciled(key((0, 0, 0)), reconciled((1, 1, 1), (1, 0, 0)))
    (late,) = steps.reconciled(key((0,)), reconciled((1,), (1,)))

    assert (early.compared, early.corrected) == ((3, 0), (1, 0))
    assert (late.compared, late.corrected) == ((4, 0), (2, 0))


def test_the_reference_half_does_not_learn_where_errors_were():
    steps = BlockSteps(1, find_protocol("bb84"))
    steps.sifted(sifted((0, 0)))
    steps.sifted(sifted(()))

    assert steps.reconciled(key((0, 0)), reconciled(None, None)) == []


def test_a_step_is_described_by_its_fields():
    report = step_report(BlockSteps(1, find_protocol("bb84")).sifted(sifted((0, 1))))

    assert report["key"] == (1, 1)
    assert report["corrected"] == (0, 0)


def test_a_block_that_never_closed_has_a_reason_and_no_counts():
    report = block_report(BlockOutcome(3, 0, AbortReason.NO_CLICKS, None, None))

    assert (report["number"], report["reason"]) == (3, AbortReason.NO_CLICKS.label)
    assert "counts" not in report
    assert "ledger" not in report
