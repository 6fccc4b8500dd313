"""What an operator is called for: the one catalogue of alarms, evaluated on the node and written out as rules for Prometheus.

An alarm looks at one metric: at its value, at its value beside another metric's, or at how much it has grown within a while. Samples come
from ``metrics``; ``AlarmBoard`` remembers what it needs of earlier ones and says what is raised and cleared.
"""

from __future__ import annotations

import operator
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from common.errors import AbortReason
from common.observability.metrics import METRICS, Series

Measured: TypeAlias = Mapping[str, Series]
"""All series of a moment, by metric."""

WINDOW_SECONDS = 600.0
"""Within what time growth counts."""

MOST_SAMPLES = 256
"""Samples of one metric that are remembered; with more of them in a window, the oldest are given up and growth is found too small."""

_LABELS = {metric.name: metric.labels for metric in METRICS}

_COMPARE: dict[str, Callable[[float, float], bool]] = {">": operator.gt, "<": operator.lt}


@dataclass(frozen=True, slots=True)
class Alarm:
    """One alarm of the catalogue.

    Attributes
    ----------
    name : str
        As Prometheus shows it.
    severity : str
        ``critical`` where no key comes or security is at stake, else ``warning``.
    metric : str
        What it looks at.
    comparison : str
        ``>`` or ``<``.
    threshold : float
        Beyond it the alarm is raised.
    meaning : str
        What has happened.
    advice : str
        What to do.
    only : tuple[str, ...]
        Values of the metric's only label that count; empty for all.
    grows : bool
        Whether it is growth within ``WINDOW_SECONDS``, all series together, that is compared.
    beside : str | None
        A metric with the same labels; ``threshold`` then counts in multiples of it.
    holds_seconds : float
        How long it has to last.
    """

    name: str
    severity: Literal["warning", "critical"]
    metric: str
    comparison: Literal["<", ">"]
    threshold: float
    meaning: str
    advice: str
    only: tuple[str, ...] = ()
    grows: bool = False
    beside: str | None = None
    holds_seconds: float = 0.0

    @property
    def expression(self) -> str:
        """The same as a query of Prometheus."""
        label = ", ".join(_LABELS[self.metric])
        chosen = f'{{{label}=~"{"|".join(self.only)}"}}' if self.only else ""
        if self.grows:
            grown = f"increase({self.metric}{chosen}[{WINDOW_SECONDS:.0f}s])"
            return f"{f'sum without ({label}) ({grown})' if label else grown} {self.comparison} {self.threshold:.12g}"
        return f"{self.metric}{chosen} {self.comparison} {self.threshold:.12g}{f' * {self.beside}' if self.beside else ''}"


ALARMS: tuple[Alarm, ...] = (
    Alarm(
        "QkdPeerAbsent",
        "critical",
        "qkd_peer_present",
        "<",
        1,
        "The other node gives no sign of life.",
        "Is its service running, and can it be reached? No key is made or handed out meanwhile.",
        holds_seconds=60,
    ),
    Alarm(
        "QkdSessionsFail",
        "warning",
        "qkd_session_failures_total",
        ">",
        3,
        "Sessions fail again and again.",
        "`qkd status` shows the last reason.",
        grows=True,
    ),
    Alarm(
        "QkdErrorRateHigh",
        "warning",
        "qkd_qber_ratio",
        ">",
        1.5,
        "The error rate is half as high again as the link's profile says, or more.",
        "Polarisation or phase has drifted, the clock is off, or somebody listens: look at drift, gate and clock.",
        beside="qkd_qber_planned_ratio",
        holds_seconds=60,
    ),
    Alarm(
        "QkdBlocksDiscarded",
        "critical",
        "qkd_blocks_discarded_total",
        ">",
        0,
        "A block gave no key.",
        "Its reason stands in the label, in `qkd status` and in the log; an error rate that high may be an eavesdropper.",
        grows=True,
    ),
    Alarm(
        "QkdMonitorOutOfRange",
        "critical",
        "qkd_blocks_discarded_total",
        ">",
        0,
        "A device is out of its certified range, so that its blocks give no key.",
        "`qkd status` at Bob shows the readings: stray light, a detector that ages or is blinded, another loss than the profile's?",
        only=tuple(reason.label for reason in AbortReason if reason.is_monitor),
        grows=True,
    ),
    Alarm(
        "QkdStreamLost",
        "critical",
        "qkd_stream_healthy",
        "<",
        1,
        "No stream comes from the quantum channel, or its clock is not found.",
        "`qkd status` and the log say why: does anybody serve it, is there light?",
        holds_seconds=30,
    ),
    Alarm(
        "QkdClockLost",
        "warning",
        "qkd_clock_lock_losses_total",
        ">",
        0,
        "The receiver has lost Alice's clock.",
        "Are tags coming, and is the link dark? The clock is searched again by itself.",
        grows=True,
    ),
    Alarm(
        "QkdTagsDropped",
        "warning",
        "qkd_stream_dropped_tags_total",
        ">",
        0,
        "Time tags were lost because the node is too slow.",
        "Give it more processor, or lower the rate.",
        grows=True,
    ),
    Alarm(
        "QkdForgery",
        "critical",
        "qkd_refused_total",
        ">",
        0,
        "Messages with a wrong code came from who has the channel's keys.",
        "Somebody holds keys of the channel, or the two nodes' secrets differ: look at the log, provision anew.",
        only=("greetings", "messages", "pad_messages", "transcript_tags"),
        grows=True,
    ),
    Alarm(
        "QkdStrangers",
        "warning",
        "qkd_refused_total",
        ">",
        10,
        "Others try to connect in the peer's place.",
        "The log has their addresses; close the port to everybody but the other node.",
        only=("strangers", "handshakes"),
        grows=True,
    ),
    Alarm(
        "QkdReserveLow",
        "warning",
        "qkd_authentication_low",
        ">",
        0,
        "One-time masks for the tags of blocks run short.",
        "New key refills them; if none comes, prepare `qkd provision --renew`.",
        holds_seconds=300,
    ),
    Alarm(
        "QkdReserveEmpty",
        "critical",
        "qkd_authentication_empty",
        ">",
        0,
        "No one-time mask is left: no more key can be made.",
        "Run `qkd provision --renew` and bring the file to both nodes.",
    ),
    Alarm(
        "QkdStoreDamaged",
        "critical",
        "qkd_key_store_damaged_blocks",
        ">",
        0,
        "Blocks of the key store can no longer be opened.",
        "Their numbers stand in `qkd keys status`; look at the disk. All other blocks are served.",
    ),
    Alarm(
        "QkdDiskLow",
        "warning",
        "qkd_disk_free_bytes",
        "<",
        256 << 20,
        "The disk that holds the key store is nearly full.",
        "Make room; below 32 MiB distillation waits.",
    ),
    Alarm(
        "QkdNodeSluggish",
        "warning",
        "qkd_event_loop_lag_seconds",
        ">",
        0.5,
        "The node answers late.",
        "Is the machine overloaded, or its disk slow?",
        holds_seconds=300,
    ),
    Alarm(
        "QkdDeliveryLost",
        "warning",
        "qkd_delivery_lost_orders_total",
        ">",
        0,
        "Keys for applications were spent and given to nobody.",
        "The other node fell silent in between: is the channel steady?",
        grows=True,
    ),
)


@dataclass(frozen=True, slots=True)
class Change:
    """An alarm that was raised, or cleared again."""

    alarm: Alarm
    is_raised: bool


class AlarmBoard:
    """Which alarms are raised on this node."""

    def __init__(self) -> None:
        self._since: dict[str, float] = {}
        self._raised: dict[str, float] = {}
        self._samples: dict[str, deque[tuple[float, float]]] = {alarm.name: deque(maxlen=MOST_SAMPLES) for alarm in ALARMS if alarm.grows}

    def look(self, now_seconds: float, measured: Measured) -> list[Change]:
        """Take in the series of a moment.

        Parameters
        ----------
        now_seconds : float
            Monotonic.
        measured : dict
            All series, by metric.

        Returns
        -------
        list[Change]
            What was raised or cleared by it.
        """
        changes = []
        for alarm in ALARMS:
            since = self._since.setdefault(alarm.name, now_seconds) if self._holds(alarm, now_seconds, measured) else None
            if since is None:
                self._since.pop(alarm.name, None)
            is_raised = since is not None and now_seconds - since >= alarm.holds_seconds
            if is_raised != (alarm.name in self._raised):
                changes.append(Change(alarm, is_raised))
                if is_raised:
                    self._raised[alarm.name] = now_seconds
                else:
                    del self._raised[alarm.name]
        return changes

    def raised(self) -> list[Alarm]:
        """Return all alarms that are raised, critical ones first."""
        return sorted((alarm for alarm in ALARMS if alarm.name in self._raised), key=lambda alarm: alarm.severity)

    def _holds(self, alarm: Alarm, now_seconds: float, measured: Measured) -> bool:
        series = {labels: value for labels, value in measured[alarm.metric].items() if not alarm.only or labels[0] in alarm.only}
        compare = _COMPARE[alarm.comparison]
        if alarm.grows:
            return compare(self._growth(alarm, now_seconds, sum(series.values())), alarm.threshold)
        if alarm.beside is not None:
            others = measured[alarm.beside]
            return any(compare(value, alarm.threshold * others[labels]) for labels, value in series.items() if labels in others)
        return any(compare(value, alarm.threshold) for value in series.values())

    def _growth(self, alarm: Alarm, now_seconds: float, total: float) -> float:
        """Return by how much a total has grown within the window; what was counted before we first looked is no growth."""
        samples = self._samples[alarm.name]
        samples.append((now_seconds, total))
        while samples[0][0] < now_seconds - WINDOW_SECONDS:
            samples.popleft()
        return total - samples[0][1]
