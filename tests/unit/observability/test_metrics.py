"""The catalogue of metrics: names that Prometheus likes, values as the status has them, files that keep up with it."""

import json
import re
import shutil
import subprocess

import pytest
from prometheus_client.parser import text_string_to_metric_families

from common.errors import AbortReason
from common.observability.alarms import ALARMS
from common.observability.catalogue_page import grafana, page, rules
from common.observability.metrics import METRICS, exposition, measured
from tests.support.tree import ROOT

STATUS = {
    "node": "bob",
    "version": "0.1.0",
    "link": "short",
    "uptime_seconds": 12.5,
    "session": {"state": "distilling", "peer_present": True, "sessions": 3, "failures": 2},
    "refused": {"strangers": 4, "messages": 0},
    "channel": {"sent_frames": 10, "received_frames": 11, "sent_bytes": 1000, "received_bytes": 2000},
    "pace": {"round_trip_ms": 1.5},
    "qber": {"Z": 0.01, "X": None},
    "rates": {"sifted_bits_per_second": 1e6, "secret_bits_per_second": None},
    "blocks_kept": 7,
    "blocks_discarded": {"phase-error-bound": 2},
    "secret_bits": 4096,
    "stream": {"problem": "", "dropped_tags": 5, "counts": {"gaps": 1}, "clock": None},
    "monitors": {
        "watched": ["background_ratio", "coincidence_ratio"],
        "alarm": "detector-blinding",
        "readings": [
            {"name": "background", "value": 0.02, "certified": [0.5, 2.0], "verdict": "too low", "reason": "detector-blinding"},
            {"name": "coincidence", "value": None, "certified": [0.4, 2.5], "verdict": "undecided", "reason": None},
        ],
    },
    "store": {"pools": {"alice-pad": 800}, "capacity_bits": 1 << 33, "full": False, "damaged_blocks": [4, 9]},
    "event_loop_lag": {"p99_9_ms": 40.0},
    "dashboard": {"planned_qber": {"Z": 0.011}},
}


def values(status):
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(exposition(status).decode())
        for sample in family.samples
    }


def test_prometheus_reads_what_the_status_says():
    found = values(STATUS)

    assert found[("qkd_session_distilling",)] == 1.0
    assert found[("qkd_sessions_total",)] == 3.0
    assert found[("qkd_qber_ratio", ("basis", "Z"))] == 0.01
    assert found[("qkd_qber_planned_ratio", ("basis", "Z"))] == 0.011
    assert found[("qkd_refused_total", ("kind", "strangers"))] == 4.0
    assert found[("qkd_channel_round_trip_seconds",)] == pytest.approx(0.0015)
    assert found[("qkd_key_store_damaged_blocks",)] == 2.0
    assert found[("qkd_key_store_full",)] == 0.0
    assert found[("qkd_key_left_bytes", ("pool", "alice-pad"))] == 100.0
    assert found[("qkd_stream_healthy",)] == 1.0
    assert found[("qkd_monitors_watched",)] == 2.0
    assert found[("qkd_monitors_stop_key",)] == 1.0
    assert found[("qkd_monitor_ratio", ("monitor", "background"))] == 0.02
    assert found[("qkd_monitor_certified_low_ratio", ("monitor", "coincidence"))] == 0.4
    assert found[("qkd_monitor_certified_high_ratio", ("monitor", "background"))] == 2.0
    assert found[("qkd_build_info", ("link", "short"), ("node", "bob"), ("version", "0.1.0"))] == 1.0


def test_what_was_not_measured_is_missing_and_what_may_happen_is_counted_from_zero():
    found = values(STATUS)

    assert ("qkd_qber_ratio", ("basis", "X")) not in found
    assert not [
        name for name, *_ in found if name in {"qkd_secret_key_bytes_per_link_second", "qkd_clock_offset_ppm", "qkd_disk_free_bytes"}
    ]
    assert ("qkd_monitor_ratio", ("monitor", "coincidence")) not in found
    assert values(STATUS | {"monitors": {"watched": [], "alarm": None, "readings": []}})[("qkd_monitors_stop_key",)] == 0.0
    reasons = {dict(labels)["reason"]: value for (name, *labels), value in found.items() if name == "qkd_blocks_discarded_total"}
    assert reasons == {reason.label: 2.0 if reason is AbortReason.PHASE_ERROR_BOUND else 0.0 for reason in AbortReason}


def test_names_have_one_prefix_and_say_unit_and_kind():
    assert len({metric.name for metric in METRICS}) == len(METRICS)
    for metric in METRICS:
        assert re.fullmatch("qkd(_[a-z]+)+", metric.name)
        assert metric.name.endswith("_total") == (metric.kind == "counter")
        assert metric.meaning.endswith(".")


def test_every_alarm_looks_at_a_metric_of_the_catalogue():
    known = {metric.name: metric for metric in METRICS}
    assert set(measured(STATUS)) == set(known)
    for alarm in ALARMS:
        assert alarm.grows == (known[alarm.metric].kind == "counter")
        assert not alarm.only or len(known[alarm.metric].labels) == 1
        assert alarm.beside is None or known[alarm.beside].labels == known[alarm.metric].labels


@pytest.mark.parametrize(
    ("path", "write", "what"),
    [
        ("docs/reference/metrics.md", page, "page"),
        ("deploy/prometheus/rules.yaml", rules, "rules"),
        ("deploy/grafana/qkdlink.json", grafana, "grafana"),
    ],
)
def test_what_is_written_from_the_catalogue_is_fresh(path, write, what):
    written = (ROOT / path).read_text(encoding="utf-8")

    assert written == write(), f"write it anew: python -m common.observability.catalogue_page {what} > {path}"


def test_every_panel_of_the_dashboard_has_a_place_of_its_own():
    panels = json.loads(grafana())["panels"]
    taken = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]

    assert len(set(taken)) == len(taken)
    assert {panel["id"] for panel in panels} == set(range(1, len(panels) + 1))


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
@pytest.mark.parametrize(
    "arguments", [("check", "config", "prometheus.yaml"), ("check", "rules", "rules.yaml"), ("test", "rules", "rules_test.yaml")]
)
def test_prometheus_takes_the_files_and_the_rules_do_what_they_say(arguments):
    done = subprocess.run(
        ["promtool", *arguments], cwd=ROOT / "deploy" / "prometheus", capture_output=True, text=True, timeout=60, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_prometheus_finds_nothing_to_blame_in_names_and_units():
    done = subprocess.run(["promtool", "check", "metrics"], input=exposition(STATUS), capture_output=True, timeout=60, check=False)

    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
