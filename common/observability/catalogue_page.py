"""The catalogues of metrics and alarms as others read them: the page ``docs/reference/metrics``, rules for Prometheus, a Grafana dashboard.

``python -m common.observability.catalogue_page page|rules|grafana`` prints one of them. A test compares each with its file, so that none
can fall behind the code.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from common.observability.alarms import ALARMS, WINDOW_SECONDS, Alarm
from common.observability.metrics import METRICS, Metric

RATE_WINDOW = "$__rate_interval"
"""Grafana fills in what fits its step."""

PANEL_WIDTH, PANEL_HEIGHT, GRID_WIDTH = 8, 7, 24
"""In units of Grafana's grid."""

_HEAD = """# Metrics and alarms

Written by `python -m common.observability.catalogue_page page`; do not edit. A node whose configuration has the table `dashboard` serves
`/metrics`, `/healthz` and `/readyz`; [Watch a link](../howto/watch-a-link.md) shows how to use them. All values are read off what
`qkd status --json` prints. A series is missing until it has been measured.
"""

_ALARMS_HEAD = f"""## Alarms

Each node looks at its own metrics every five seconds; what is raised stands in `qkd status` and the log, and a critical alarm keeps
`/readyz` from saying ready. The same alarms as rules for Prometheus lie in `deploy/prometheus/rules.yaml`. Growth is counted within
{WINDOW_SECONDS:.0f} seconds.

| alarm | severity | raised where | what has happened | what to do |
|---|---|---|---|---|"""


def page() -> str:
    """Return the whole page, Markdown."""
    parts = [_HEAD]
    for group, metrics in _groups().items():
        rows = [f"| `{metric.name}` | {metric.kind} | {', '.join(metric.labels)} | {metric.meaning} |" for metric in metrics]
        parts.append("\n".join([f"## {group}\n", "| metric | kind | labels | meaning |", "|---|---|---|---|", *rows, ""]))
    rows = [f"| `{alarm.name}` | {alarm.severity} | {_condition(alarm)} | {alarm.meaning} | {alarm.advice} |" for alarm in ALARMS]
    return "\n".join([*parts, _ALARMS_HEAD, *rows, ""])


def rules() -> str:
    """Write the rules for Prometheus.

    Returns
    -------
    str
        YAML.
    """
    lines = ["# Written by python -m common.observability.catalogue_page rules; do not edit.", "groups:", "  - name: qkdlink", "    rules:"]
    for alarm in ALARMS:
        lines += [
            f"      - alert: {alarm.name}",
            f"        expr: {json.dumps(alarm.expression)}",
            *([f"        for: {alarm.holds_seconds:.0f}s"] if alarm.holds_seconds else []),
            "        labels:",
            f"          severity: {alarm.severity}",
            "        annotations:",
            f"          summary: {json.dumps(alarm.meaning)}",
            f"          description: {json.dumps(alarm.advice)}",
        ]
    return "\n".join(lines) + "\n"


def grafana() -> str:
    """Write a dashboard for Grafana.

    Returns
    -------
    str
        JSON.
    """
    panels: list[dict[str, Any]] = []
    top = 0
    for group, metrics in _groups().items():
        panels.append(_panel(len(panels), "row", group, (0, top, GRID_WIDTH, 1)) | {"collapsed": False, "panels": []})
        top += 1
        shown = [metric for metric in metrics if not metric.name.endswith("_info")]
        for place, metric in enumerate(shown):
            left = place * PANEL_WIDTH % GRID_WIDTH
            panels.append(_graph(len(panels), metric, (left, top, PANEL_WIDTH, PANEL_HEIGHT)))
            top += PANEL_HEIGHT if left + PANEL_WIDTH == GRID_WIDTH or place == len(shown) - 1 else 0
    source = {"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"}
    board = {
        "uid": "qkdlink",
        "title": "qkdlink",
        "schemaVersion": 39,
        "editable": True,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [source]},
        "panels": panels,
    }
    return json.dumps(board, indent=2) + "\n"


def _groups() -> dict[str, list[Metric]]:
    groups: dict[str, list[Metric]] = {}
    for metric in METRICS:
        groups.setdefault(metric.group, []).append(metric)
    return groups


def _condition(alarm: Alarm) -> str:
    lasting = f" for {alarm.holds_seconds:.0f} s" if alarm.holds_seconds else ""
    return f"`{alarm.expression}`{lasting}".replace("|", "\\|")


def _panel(number: int, kind: str, title: str, place: tuple[int, int, int, int]) -> dict[str, Any]:
    return {"id": number + 1, "type": kind, "title": title, "gridPos": dict(zip("xywh", place, strict=True))}


def _graph(number: int, metric: Metric, place: tuple[int, int, int, int]) -> dict[str, Any]:
    """Return a panel: a gauge as it stands, a counter as growth a second."""
    legend = " ".join(["{{instance}}", *(f"{{{{{label}}}}}" for label in metric.labels)])
    source = {"type": "prometheus", "uid": "${source}"}
    query = f"rate({metric.name}[{RATE_WINDOW}])" if metric.kind == "counter" else metric.name
    unit = next((unit for ending, unit in _UNITS.items() if metric.name.endswith(ending)), "short")
    return _panel(number, "timeseries", metric.name, place) | {
        "description": metric.meaning + (" Shown as growth a second." if metric.kind == "counter" else ""),
        "datasource": source,
        "targets": [{"refId": "A", "datasource": source, "expr": query, "legendFormat": legend}],
        "fieldConfig": {"defaults": {"unit": unit}, "overrides": []},
    }


_UNITS = {"_ratio": "percentunit", "_seconds": "s", "_bytes": "bytes"}
"""Grafana's names for units, by the ending of a metric."""

WRITERS = {"page": page, "rules": rules, "grafana": grafana}

if __name__ == "__main__":
    sys.stdout.write(WRITERS[sys.argv[1]]())
