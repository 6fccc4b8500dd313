"""What a node keeps of its monitors: the latest readings, and an alarm until a block without one."""

from dataclasses import replace

from common.distillation.reporting import block_report, failed_monitors
from common.distillation.values import BlockOutcome, MonitorReading
from common.errors import AbortReason
from common.security.certified import UNKNOWN, Estimate
from common.service.counters import LinkCounters
from tests.support.blocks import closed_block

LOW = MonitorReading("coincidence", Estimate(0.0, 0.0, 0.1), 0.4, 2.5, AbortReason.DETECTOR_BLINDING)


def outcome(reason, *readings):
    return BlockOutcome(1, 0, reason, replace(closed_block(100), readings=readings), None)


def test_an_alarm_is_that_of_the_latest_block():
    counters = LinkCounters(1e6)
    counters.add(outcome(AbortReason.DETECTOR_BLINDING, LOW))
    assert counters.report()["monitors"]["alarm"] == "detector-blinding"
    assert counters.report()["monitors"]["readings"][0]["verdict"] == "too low"

    counters.add(outcome(AbortReason.PHASE_ERROR_BOUND))
    assert counters.report()["monitors"] == {"alarm": None, "readings": []}


def test_a_report_names_the_monitor_that_stopped_the_key():
    report = block_report(outcome(AbortReason.DETECTOR_BLINDING, LOW))

    assert report["bound"] == "detector-blinding: coincidence 0 to 0.1, certified 0.4 to 2.5: too low"
    assert report["monitors"][0]["certified"] == [0.4, 2.5]
    assert failed_monitors(outcome(None)) == ""


def test_what_is_not_finite_is_null_in_a_report():
    unknown = MonitorReading("coincidence", UNKNOWN, 0.4, 2.5)

    (reading,) = block_report(outcome(None, unknown))["monitors"]

    assert (reading["value"], reading["low"], reading["high"], reading["reason"]) == (None, 0.0, None, None)
