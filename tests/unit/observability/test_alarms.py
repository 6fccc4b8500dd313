"""Alarms are raised by what they say, stay away while it does not last, and are cleared when it is over."""

import pytest

from common.errors import AbortReason
from common.observability.alarms import ALARMS, WINDOW_SECONDS, AlarmBoard
from common.observability.metrics import METRICS, Series

NOTHING: dict[str, Series] = {metric.name: {} for metric in METRICS}


def names(board):
    return [alarm.name for alarm in board.raised()]


def looked(board, now, **series):
    """Take in series, those without labels as plain numbers; what was raised (True) and cleared (False) by it."""
    measured = NOTHING | {name: value if isinstance(value, dict) else {(): value} for name, value in series.items()}
    return {change.alarm.name: change.is_raised for change in board.look(now, measured)}


def test_nothing_measured_raises_nothing():
    board = AlarmBoard()

    assert looked(board, 0.0) == looked(board, 1000.0) == {}


def test_a_level_has_to_last_and_starts_afresh_after_a_break():
    board = AlarmBoard()

    assert looked(board, 0.0, qkd_peer_present=0.0) == {}
    assert looked(board, 59.0, qkd_peer_present=0.0) == {}
    assert looked(board, 59.5, qkd_peer_present=1.0) == {}
    assert looked(board, 60.0, qkd_peer_present=0.0) == {}
    assert looked(board, 119.0, qkd_peer_present=0.0) == {}
    assert looked(board, 120.0, qkd_peer_present=0.0) == {"QkdPeerAbsent": True}
    assert looked(board, 500.0, qkd_peer_present=0.0) == {}
    assert names(board) == ["QkdPeerAbsent"]
    assert looked(board, 501.0, qkd_peer_present=1.0) == {"QkdPeerAbsent": False}
    assert names(board) == []


def test_growth_counts_from_the_first_look_and_is_forgotten_behind_the_window():
    board = AlarmBoard()

    assert looked(board, 0.0, qkd_clock_lock_losses_total=40.0) == {}
    assert looked(board, 5.0, qkd_clock_lock_losses_total=41.0) == {"QkdClockLost": True}
    assert looked(board, WINDOW_SECONDS, qkd_clock_lock_losses_total=41.0) == {}
    assert looked(board, WINDOW_SECONDS + 5.1, qkd_clock_lock_losses_total=41.0) == {"QkdClockLost": False}


def test_growth_adds_up_the_series_that_count():
    board = AlarmBoard()
    looked(board, 0.0, qkd_refused_total={("strangers",): 0.0, ("handshakes",): 0.0, ("messages",): 0.0})

    assert looked(board, 1.0, qkd_refused_total={("strangers",): 6.0, ("handshakes",): 4.0, ("messages",): 0.0}) == {}
    assert looked(board, 2.0, qkd_refused_total={("strangers",): 6.0, ("handshakes",): 5.0, ("messages",): 0.0}) == {"QkdStrangers": True}
    assert looked(board, 3.0, qkd_refused_total={("strangers",): 6.0, ("handshakes",): 5.0, ("messages",): 1.0}) == {"QkdForgery": True}
    assert names(board) == ["QkdForgery", "QkdStrangers"], "critical ones first"


@pytest.mark.parametrize(("qber", "raised"), [(0.014, False), (0.016, True)])
def test_an_error_rate_is_high_beside_the_one_that_was_planned(qber, raised):
    board = AlarmBoard()
    series = {"qkd_qber_ratio": {("Z",): 0.01, ("X",): qber}, "qkd_qber_planned_ratio": {("Z",): 0.01, ("X",): 0.01}}
    looked(board, 0.0, **series)

    assert looked(board, 60.0, **series) == ({"QkdErrorRateHigh": True} if raised else {})


@pytest.mark.parametrize("reason", list(AbortReason))
def test_a_block_that_a_monitor_stopped_raises_an_alarm_of_its_own(reason):
    board = AlarmBoard()
    looked(board, 0.0, qkd_blocks_discarded_total={(other.label,): 0.0 for other in AbortReason})

    raised = looked(board, 5.0, qkd_blocks_discarded_total={(other.label,): float(other is reason) for other in AbortReason})
    assert raised == {"QkdBlocksDiscarded": True} | ({"QkdMonitorOutOfRange": True} if reason.is_monitor else {})


def test_every_alarm_says_what_happened_and_what_to_do():
    assert len({alarm.name for alarm in ALARMS}) == len(ALARMS)
    for alarm in ALARMS:
        assert alarm.meaning.endswith(".")
        assert alarm.advice.endswith((".", "?"))
        assert alarm.severity in {"warning", "critical"}
