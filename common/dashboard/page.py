"""The page of a node: what it does, how well, what is wrong; whole without a script, which only has it refreshed in place.

Written from the node's report, the newest blocks and the trend; every text is escaped, nothing comes from another host.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from common.dashboard.charts import Line, chart, histogram
from common.dashboard.trend import SPANS, Trend
from common.observability.alarms import Alarm
from common.observability.metrics import Status, at
from common.security.certified import Verdict

SHOWN_BLOCKS = 12
"""Newest blocks in the table."""

NOTHING = "—"
"""What was not measured yet."""

TREND = {
    "qber.Z": "qber.Z",
    "qber.X": "qber.X",
    "sifted": "rates.sifted_bits_per_second",
    "secret": "rates.secret_bits_per_second",
    "lag": "event_loop_lag.p99_9_ms",
}
"""Numbers that are drawn, by where they stand in the report; ``key`` is what all pools hold."""


@dataclass(frozen=True, slots=True)
class Seen:
    """All that the page shows.

    Attributes
    ----------
    status : dict
        The node's report.
    blocks : sequence of dict
        The newest blocks, oldest first, as ``block_report`` describes them.
    alarms : sequence of Alarm
        Raised ones.
    trend : Trend
        Of the numbers in ``TREND``.
    now_seconds : float
        Monotonic.
    """

    status: Status
    blocks: Sequence[Mapping[str, Any]]
    alarms: Sequence[Alarm]
    trend: Trend
    now_seconds: float


def trend_values(status: Status) -> dict[str, float]:
    """Return the numbers of a report that are drawn over time; those not measured yet are missing.

    Parameters
    ----------
    status : dict
        The node's report.

    Returns
    -------
    dict[str, float]
        By the names of ``TREND``, and ``key``: bits in all pools.
    """
    values = {name: value for name, path in TREND.items() if isinstance(value := at(status, path), (int, float))}
    return values | {"key": float(sum(status["store"]["pools"].values()))}


def page(seen: Seen, span: str) -> str:
    """Return the whole page.

    Parameters
    ----------
    seen : Seen
        What is shown.
    span : str
        How far back the charts reach, one of ``SPANS``.

    Returns
    -------
    str
        HTML.
    """
    title = f"{seen.status['node'].title()} · {seen.status['title']}"
    return f"""<!doctype html>
<html lang=en>
<meta charset=utf-8>
<meta name=viewport content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<link rel=icon href=icon.svg type=image/svg+xml>
<link rel=stylesheet href=page.css>
<script src=page.js defer></script>
<body>
<main id=main data-span={span}>
{content(seen, span)}
</main>
<footer>qkdlink {escape(seen.status["version"])} · <a href=metrics>metrics</a> · <a href=healthz>health</a> ·
<a href=readyz>readiness</a></footer>
</body>
</html>
"""


def content(seen: Seen, span: str) -> str:
    """Return what changes of the page.

    Parameters
    ----------
    seen : Seen
        What is shown.
    span : str
        How far back the charts reach.

    Returns
    -------
    str
        HTML.
    """
    return "\n".join(
        [
            _head(seen),
            _alarms(seen.alarms),
            _figures(seen.status),
            _charts(seen, span),
            _receiver(seen.status),
            _blocks(seen.blocks),
            _details(seen.status),
        ]
    )


def _head(seen: Seen) -> str:
    status, session = seen.status, seen.status["session"]
    is_distilling = session["state"] == "distilling"
    state = (
        "distilling key"
        if is_distilling
        else "key store full"
        if status["store"]["full"]
        else f"no key: {session['activity']}, {session['state']}"
    )
    peer = "the other node is there" if session["peer_present"] else "the other node is away"
    said = f"<strong>{escape(state)}</strong> · {peer} · up {_lasting(status['uptime_seconds'])}"
    return (
        f"<header><p class=eyebrow>{escape(status['node'])} · {escape(status['link'])}</p><h1>{escape(status['title'])}</h1>"
        f"<p class={'good' if is_distilling else 'bad'}>{said}</p></header>"
    )


def _alarms(alarms: Sequence[Alarm]) -> str:
    listed = "".join(
        f"<li class={alarm.severity}><strong>{alarm.name}</strong> <small>{alarm.severity}</small><br>{escape(alarm.meaning)} "
        f"<span class=quiet>{escape(alarm.advice.replace('`', ''))}</span></li>"
        for alarm in alarms
    )
    return (
        f"<section aria-live=polite><h2>Alarms</h2>{f'<ul class=alarms>{listed}</ul>' if listed else '<p class=quiet>none</p>'}</section>"
    )


def _figures(status: Status) -> str:
    """Return the key figures, a name and a value each."""
    planned = at(status, "dashboard.planned_qber") or {}
    reserve = status["authentication_reserve"]
    warning = ", empty" if reserve["empty"] else ", low" if reserve["low"] else ""
    figures = [
        *((f"QBER {basis}", _percent(value), f"planned {_percent(planned.get(basis))}") for basis, value in status["qber"].items()),
        ("Secret key", _rate(at(status, "rates.secret_bits_per_second")), f"{_count(status['secret_bits'])} bits since the start"),
        ("Sifted key", _rate(at(status, "rates.sifted_bits_per_second")), "a second of sending"),
        ("Key in store", f"{_count(sum(status['store']['pools'].values()))} bits", f"of {_count(status['store']['capacity_bits'])}"),
        ("Authentication reserve", f"{reserve['pairs']} pairs{warning}", f"refilled below {reserve['target_pairs']}"),
        ("Blocks", f"{status['blocks_kept']} kept", f"{sum(status['blocks_discarded'].values())} discarded"),
        ("Monitors", *_monitored(at(status, "monitors") or {})),
        ("Round trip", _number(at(status, "pace.round_trip_ms"), "ms"), f"reconciled by {status['pace']['method'] or NOTHING}"),
    ]
    if status.get("stream", {}).get("clock"):
        clock, gate = status["stream"]["clock"], status["stream"]["gate"]
        figures += [
            (
                "Clock",
                _number(clock["offset_ppm"], "ppm"),
                f"residual {clock['residual_rms_ps']:.0f} ps, lost {clock['lock_losses']} times",
            ),
            ("Gate", f"{gate['width_ps'] / 1000:.2f} ns", f"around {gate['centre_ps'] / 1000:.2f} ns"),
        ]
    tiles = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}<small>{escape(beside)}</small></dd></div>" for name, value, beside in figures
    )
    return f"<dl class=tiles>{tiles}</dl>"


def _monitored(monitors: Status) -> tuple[str, str]:
    """Say whether devices are within their certified ranges, and what is known of it."""
    if not monitors.get("watched"):
        return "none", "the link's profile certifies no ranges"
    if monitors["alarm"] is not None:
        return "NO KEY", monitors["alarm"]
    if not (readings := monitors["readings"]):
        return NOTHING, "nothing read at this end"
    undecided = sum(reading["verdict"] == Verdict.UNDECIDED for reading in readings)
    return "in range", f"{len(readings)} readings, {undecided} undecided"


def _reading(reading: Mapping[str, Any]) -> str:
    """Write what a monitor read beside its range."""
    low, high = reading["certified"]
    return f"{_number(reading['value'], 'of')} {low:g} to {high:g}, {reading['verdict']}"


def _charts(seen: Seen, span: str) -> str:
    reach, _ = SPANS[span]

    def line(label: str, name: str) -> Line:
        return Line(label, seen.trend.line(span, name, seen.now_seconds))

    choices = "".join(f'<a href="?span={name}"{" aria-current=true" if name == span else ""}>{name}</a>' for name in SPANS)
    drawn = [
        chart("Error rate", [line("Z", "qber.Z"), line("X", "qber.X")], reach, "%", 100.0),
        chart("Key a second of sending", [line("secret", "secret"), line("sifted", "sifted")], reach, "bit/s"),
        chart("Key in store", [line("all pools", "key")], reach, "bits"),
        chart("Event loop lag, one case of a thousand", [line("lag", "lag")], reach, "ms"),
    ]
    nav = f'<nav class=spans aria-label="How far back">{choices}</nav>'
    return f"<section><h2>Over time</h2>{nav}<div class=charts>{''.join(drawn)}</div></section>"


def _receiver(status: Status) -> str:
    """Show what arrives around the gate, and what the drift compensation does; nothing at a node that has neither."""
    arrivals, drift = at(status, "stream.arrivals"), status.get("drift")
    shown = ""
    if arrivals:
        bands = [(low / 1000, high / 1000) for low, high in arrivals["gate_ps"]]
        shown += histogram(
            "Arrivals within the period, newest tags; the gate is marked", arrivals["counts"], arrivals["period_ps"] / 1000, bands, "ns"
        )
    if drift:
        said = {"state": drift["state"], "decision": drift["decision"], "error rate": _percent(drift["qber"])}
        problem = f"<p class=bad><strong>{escape(drift['problem'])}</strong></p>" if drift["problem"] else ""
        positions = {name: f"{position:.3f}" for name, position in drift["positions"].items()}
        shown += f"<div>{problem}{_table('Drift compensation', said)}{_table('Actuators, rad', positions)}</div>"
    return f"<section><h2>Receiver</h2><div class=charts>{shown}</div></section>" if shown else ""


def _blocks(blocks: Sequence[Mapping[str, Any]]) -> str:
    if not blocks:
        return "<section><h2>Blocks</h2><p class=quiet>none yet</p></section>"
    rows = "".join(_block(block) for block in reversed(blocks[-SHOWN_BLOCKS:]))
    head = "".join(f"<th scope=col{' class=number' if right else ''}>{name}</th>" for name, right in _BLOCK_COLUMNS)
    return (
        "<section><h2>Blocks</h2><div class=scroll tabindex=0 role=region aria-label=Blocks><table>"
        f"<caption>The newest blocks; counts and leakage are public.</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{rows}</tbody></table></div>{_last(blocks[-1])}</section>"
    )


_BLOCK_COLUMNS = (
    ("Block", False),
    ("Detections", True),
    ("QBER Z", True),
    ("QBER X", True),
    ("Leaked", True),
    ("Secret", True),
    ("Reason", False),
)


def _block(block: Mapping[str, Any]) -> str:
    counts, corrected = block.get("counts"), block.get("corrected", {})

    def qber(basis: str) -> str:
        if counts is None or not (bits := counts[basis]["tested"] + counts[basis]["kept"]):
            return NOTHING
        return _percent((counts[basis]["errors"] + corrected[basis]) / bits)

    cells = (
        _count(counts["detections"]) if counts else NOTHING,
        qber("Z"),
        qber("X"),
        _count(sum(block["leakage"].values())),
        _count(block["secret_bits"]),
    )
    numbers = "".join(f"<td class=number>{cell}</td>" for cell in cells)
    return f"<tr><th scope=row>{block['number']}</th>{numbers}<td>{escape(block['reason'] or '')}</td></tr>"


def _last(block: Mapping[str, Any]) -> str:
    """Say of the newest block how its key was counted, and how it can fail."""
    parts = [
        _table(name, {entry: _count(value) if abs(value) >= 1 else f"{value:.3g}" for entry, value in block[key].items()})
        for name, key in (("Ledger, bits", "ledger"), ("Leaked, bits", "leakage"), ("ε", "epsilon"))
        if block.get(key)
    ]
    return f"<h3>Block {block['number']}</h3><div class=tables>{''.join(parts)}</div>" if parts else ""


def _details(status: Status) -> str:
    parts = [
        _table("Key left, bits", {name: _count(bits) for name, bits in status["store"]["pools"].items()}),
        _table("Refused", {name.replace("_", " "): _count(count) for name, count in status["refused"].items()}),
        _table("Monitors", {reading["name"]: _reading(reading) for reading in at(status, "monitors.readings") or ()}),
        _table("Discarded", {name: _count(count) for name, count in status["blocks_discarded"].items()}),
    ]
    failure = status["session"]["last_failure"]
    said = f"<p>Last failure: {escape(failure['error'])}</p>" if failure else ""
    return f"<section><h2>Node</h2>{said}<div class=tables>{''.join(parts)}</div></section>"


def _table(name: str, entries: Mapping[str, str]) -> str:
    rows = "".join(f"<tr><th scope=row>{escape(entry)}</th><td class=number>{escape(value)}</td></tr>" for entry, value in entries.items())
    return f"<table class=narrow><caption>{escape(name)}</caption><tbody>{rows}</tbody></table>" if rows else ""


def _percent(value: float | None) -> str:
    return NOTHING if value is None else f"{100 * value:.2f} %"


def _number(value: float | None, unit: str) -> str:
    return NOTHING if value is None else f"{value:.3g} {unit}"


def _rate(value: float | None) -> str:
    return NOTHING if value is None else f"{_count(value)} bit/s"


def _count(value: float) -> str:
    """Write a count in full, with thin spaces between thousands."""
    return f"{value:,.0f}".replace(",", "\u202f")


def _lasting(seconds: float) -> str:
    minutes, hours, days = int(seconds // 60), int(seconds // 3600), int(seconds // 86_400)
    return f"{days} d {hours % 24} h" if days else f"{hours} h {minutes % 60} min" if hours else f"{minutes} min {int(seconds) % 60} s"
