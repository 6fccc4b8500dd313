"""What can be measured on a node from outside: the one catalogue of metrics.

Every value is read off the node's status, the dictionary that ``qkd status --json`` prints, so that both always say the same. Prometheus is
given them by ``common.dashboard``; the page of the reference, the rules and the Grafana dashboard are written from this catalogue.

References
----------
Prometheus documentation, "Metric and label naming" and "Exposition formats".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from common.errors import AbortReason

Status: TypeAlias = Mapping[str, Any]
"""What ``qkd status --json`` prints."""

Series: TypeAlias = dict[tuple[str, ...], float]
"""Values by the values of their labels."""

BYTES_OF_BIT = 0.125
"""Prometheus counts in bytes."""

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric of the catalogue.

    Attributes
    ----------
    name : str
        As Prometheus shows it, with its unit, and ``_total`` where it only grows.
    kind : str
        ``gauge``, or ``counter`` for what only grows while the node runs.
    group : str
        Heading under which people find it.
    meaning : str
        In words.
    read : callable
        Takes a status and returns the series; one that was not measured yet is missing.
    labels : tuple[str, ...]
        What tells series apart.
    """

    name: str
    kind: Literal["gauge", "counter"]
    group: str
    meaning: str
    read: Callable[[Status], Series]
    labels: tuple[str, ...] = ()


def at(status: Status, path: str) -> Any:  # noqa: ANN401 - whatever JSON holds
    """Return what lies in a ``status`` at a dotted ``path``, or None where something on the way is missing or not known yet."""
    found: Any = status
    for name in path.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def _one(path: str, factor: float = 1.0) -> Callable[[Status], Series]:
    """Read one number, or a truth as 0 or 1."""

    def read(status: Status) -> Series:
        value = at(status, path)
        return {(): factor * float(value)} if isinstance(value, (int, float)) else {}

    return read


def _each(path: str, factor: float = 1.0) -> Callable[[Status], Series]:
    """Read a number for each name in a dictionary of them."""

    def read(status: Status) -> Series:
        values = at(status, path)
        named = values.items() if isinstance(values, Mapping) else ()
        return {(str(name),): factor * float(value) for name, value in named if isinstance(value, (int, float))}

    return read


def _named(**paths: str) -> Callable[[Status], Series]:
    """Read a number for each of a few names, each at a path of its own."""

    def read(status: Status) -> Series:
        values = {name: at(status, path) for name, path in paths.items()}
        return {(name,): float(value) for name, value in values.items() if isinstance(value, (int, float))}

    return read


def _from_zero(read: Callable[[Status], Series], names: Iterable[str]) -> Callable[[Status], Series]:
    """Read 0 where a name was not counted yet: what appears only with its first event would show Prometheus no growth."""
    zeros: Series = {(name,): 0.0 for name in names}
    return lambda status: zeros | read(status)


def _build(status: Status) -> Series:
    return {(str(status["node"]), str(status["link"]), str(status["version"])): 1.0}


def _is(path: str, value: str) -> Callable[[Status], Series]:
    """Read 1 where a text is this one, else 0."""
    return lambda status: {(): float(at(status, path) == value)}


def _count(path: str) -> Callable[[Status], Series]:
    """Read how many entries a list has."""

    def read(status: Status) -> Series:
        listed = at(status, path)
        return {(): float(len(listed))} if isinstance(listed, (list, tuple)) else {}

    return read


def _readings(field: str, place: int | None = None) -> Callable[[Status], Series]:
    """Read a number of each monitor's latest reading, or a ``place`` of a list there."""

    def read(status: Status) -> Series:
        found: Series = {}
        for reading in at(status, "monitors.readings") or ():
            value = reading[field] if place is None else reading[field][place]
            if isinstance(value, (int, float)):
                found[(str(reading["name"]),)] = float(value)
        return found

    return read


def _stops_key(status: Status) -> Series:
    """Read 1 while a monitor stops the key, 0 while none does, and nothing where no status says so."""
    monitors = at(status, "monitors")
    return {} if monitors is None else {(): float(monitors["alarm"] is not None)}


LINK, KEY, PEER, STREAM, MONITORS = "Link", "Key", "Peer", "Stream and clock", "Monitors"
STORE, DELIVERY, NODE = "Key store", "Key delivery", "Node"

METRICS: tuple[Metric, ...] = (
    Metric("qkd_session_distilling", "gauge", LINK, "1 while the session distils key.", _is("session.state", "distilling")),
    Metric("qkd_sessions_total", "counter", LINK, "Sessions begun.", _one("session.sessions")),
    Metric("qkd_session_failures_total", "counter", LINK, "Sessions that failed.", _one("session.failures")),
    Metric(
        "qkd_qber_ratio",
        "gauge",
        LINK,
        "Quantum bit error rate over the latest blocks, of disclosed and reconciled bits.",
        _each("qber"),
        ("basis",),
    ),
    Metric(
        "qkd_qber_planned_ratio",
        "gauge",
        LINK,
        "The error rate that the link's profile gives by calculation.",
        _each("dashboard.planned_qber"),
        ("basis",),
    ),
    Metric("qkd_blocks_kept_total", "counter", LINK, "Blocks that gave key.", _one("blocks_kept")),
    Metric(
        "qkd_blocks_discarded_total",
        "counter",
        LINK,
        "Blocks that gave none, by reason.",
        _from_zero(_each("blocks_discarded"), [reason.label for reason in AbortReason]),
        ("reason",),
    ),
    Metric("qkd_pulses_total", "counter", LINK, "Pulses sent in the blocks that have ended.", _one("pulses")),
    Metric("qkd_detections_total", "counter", LINK, "Detections announced in them.", _one("detections")),
    Metric("qkd_link_seconds_total", "counter", LINK, "Time of sending that they took.", _one("link_seconds")),
    Metric("qkd_sifted_key_bytes_total", "counter", KEY, "Key left after sifting.", _one("sifted_bits", BYTES_OF_BIT)),
    Metric("qkd_secret_key_bytes_total", "counter", KEY, "Secret key committed at both ends.", _one("secret_bits", BYTES_OF_BIT)),
    Metric(
        "qkd_sifted_key_bytes_per_link_second",
        "gauge",
        KEY,
        "Sifted key a second of sending, over the latest blocks.",
        _one("rates.sifted_bits_per_second", BYTES_OF_BIT),
    ),
    Metric(
        "qkd_secret_key_bytes_per_link_second",
        "gauge",
        KEY,
        "Secret key a second of sending, over the latest blocks.",
        _one("rates.secret_bits_per_second", BYTES_OF_BIT),
    ),
    Metric("qkd_peer_present", "gauge", PEER, "1 while the other node gives signs of life.", _one("session.peer_present")),
    Metric(
        "qkd_refused_total",
        "counter",
        PEER,
        "What was refused on the classical channel: strangers, handshakes, greetings, messages, pad messages, transcript tags.",
        _each("refused"),
        ("kind",),
    ),
    Metric(
        "qkd_channel_frames_total",
        "counter",
        PEER,
        "Messages on the classical channel.",
        _named(sent="channel.sent_frames", received="channel.received_frames"),
        ("direction",),
    ),
    Metric(
        "qkd_channel_bytes_total",
        "counter",
        PEER,
        "Their bytes.",
        _named(sent="channel.sent_bytes", received="channel.received_bytes"),
        ("direction",),
    ),
    Metric(
        "qkd_channel_round_trip_seconds",
        "gauge",
        PEER,
        "Shortest of the latest round trips to the other node.",
        _one("pace.round_trip_ms", 1e-3),
    ),
    Metric("qkd_stream_healthy", "gauge", STREAM, "1 while the stream comes and its clock is found.", _is("stream.problem", "")),
    Metric(
        "qkd_stream_dropped_tags_total", "counter", STREAM, "Time tags lost because the node was too slow.", _one("stream.dropped_tags")
    ),
    Metric("qkd_stream_gaps_total", "counter", STREAM, "Gaps in the stream of time tags.", _one("stream.counts.gaps")),
    Metric("qkd_stream_tags_total", "counter", STREAM, "Time tags read.", _one("stream.counts.tags")),
    Metric(
        "qkd_clock_offset_ppm",
        "gauge",
        STREAM,
        "How fast Bob's clock is beside Alice's, parts in a million.",
        _one("stream.clock.offset_ppm"),
    ),
    Metric(
        "qkd_clock_residual_seconds",
        "gauge",
        STREAM,
        "What is left between tags and clock, root mean square.",
        _one("stream.clock.residual_rms_ps", 1e-12),
    ),
    Metric("qkd_clock_lock_losses_total", "counter", STREAM, "How often the clock was lost.", _one("stream.counts.lock_losses")),
    Metric("qkd_gate_width_seconds", "gauge", STREAM, "Width of the gate around each pulse.", _one("stream.gate.width_ps", 1e-12)),
    Metric("qkd_monitors_watched", "gauge", MONITORS, "Ranges that the link's profile certifies.", _count("monitors.watched")),
    Metric(
        "qkd_monitors_stop_key",
        "gauge",
        MONITORS,
        "1 while a monitor of either end is out of its certified range: the latest block was given up for it.",
        _stops_key,
    ),
    Metric(
        "qkd_monitor_ratio",
        "gauge",
        MONITORS,
        "What each monitor of this end read in the latest block, as a multiple of what the link's profile expects.",
        _readings("value"),
        ("monitor",),
    ),
    Metric(
        "qkd_monitor_certified_low_ratio", "gauge", MONITORS, "Lower end of its certified range.", _readings("certified", 0), ("monitor",)
    ),
    Metric(
        "qkd_monitor_certified_high_ratio", "gauge", MONITORS, "Upper end of its certified range.", _readings("certified", 1), ("monitor",)
    ),
    Metric("qkd_key_left_bytes", "gauge", STORE, "Secret key left, by pool.", _each("store.pools", BYTES_OF_BIT), ("pool",)),
    Metric("qkd_key_capacity_bytes", "gauge", STORE, "Key that the store takes at most.", _one("store.capacity_bits", BYTES_OF_BIT)),
    Metric("qkd_key_store_full", "gauge", STORE, "1 while the store is full and distillation waits.", _one("store.full")),
    Metric("qkd_key_store_damaged_blocks", "gauge", STORE, "Blocks that can no longer be opened.", _count("store.damaged_blocks")),
    Metric(
        "qkd_authentication_mask_pairs",
        "gauge",
        STORE,
        "Pairs of one-time masks left for the tags of blocks.",
        _one("authentication_reserve.pairs"),
    ),
    Metric("qkd_authentication_low", "gauge", STORE, "1 while they are fewer than they should be.", _one("authentication_reserve.low")),
    Metric("qkd_authentication_empty", "gauge", STORE, "1 once there is none left.", _one("authentication_reserve.empty")),
    Metric("qkd_disk_free_bytes", "gauge", STORE, "Room on the disk that holds the store.", _one("disk.free_bytes")),
    Metric(
        "qkd_delivery_answers_total",
        "counter",
        DELIVERY,
        "Answers to applications, by HTTP status.",
        _from_zero(_each("delivery.answers"), ("200", "400", "401", "503")),
        ("status",),
    ),
    Metric(
        "qkd_delivery_keys_total",
        "counter",
        DELIVERY,
        "Keys handed to applications here, fetched by applications here, held for them, and expired.",
        _named(
            ordered="delivery.keys_ordered", collected="delivery.keys_collected", held="delivery.keys_held", expired="delivery.keys_expired"
        ),
        ("kind",),
    ),
    Metric(
        "qkd_delivery_lost_orders_total",
        "counter",
        DELIVERY,
        "Orders whose keys were spent and given to nobody.",
        _one("delivery.orders_lost"),
    ),
    Metric(
        "qkd_delivery_refused_connections_total",
        "counter",
        DELIVERY,
        "Connections refused at the door.",
        _one("delivery.refused_connections"),
    ),
    Metric(
        "qkd_event_loop_lag_seconds",
        "gauge",
        NODE,
        "How late the event loop was in one case of a thousand.",
        _one("event_loop_lag.p99_9_ms", 1e-3),
    ),
    Metric("qkd_uptime_seconds", "gauge", NODE, "Time since the node began.", _one("uptime_seconds")),
    Metric("qkd_build_info", "gauge", NODE, "Always 1; says which node, link and version.", _build, ("node", "link", "version")),
)


def measured(status: Status) -> dict[str, Series]:
    """Return all series of a status, by metric.

    Parameters
    ----------
    status : dict
        Of a node.

    Returns
    -------
    dict[str, dict]
        Of every metric, also where it has no series yet.
    """
    return {metric.name: metric.read(status) for metric in METRICS}


def exposition(status: Status) -> bytes:
    """Return what Prometheus reads.

    Parameters
    ----------
    status : dict
        Of a node.

    Returns
    -------
    bytes
        Text of ``CONTENT_TYPE``.
    """
    registry = CollectorRegistry()
    registry.register(_Snapshot(status))
    return generate_latest(registry)


class _Snapshot(Collector):
    """One status, as Prometheus's library wants it."""

    def __init__(self, status: Status) -> None:
        self._status = status

    def collect(self) -> Iterable[GaugeMetricFamily | CounterMetricFamily]:
        for metric in METRICS:
            kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
            family = kind(metric.name, metric.meaning, labels=metric.labels)
            for labels, value in metric.read(self._status).items():
                family.add_metric(labels, value)
            if family.samples:
                yield family
