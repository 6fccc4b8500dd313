"""Metrics, health and alarms of real nodes, as Prometheus and whoever restarts services see them."""

import json
import shutil
import subprocess
import urllib.error
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.live.processes import LiveLink, run_once


@pytest.fixture
def link(tmp_path):
    live = LiveLink(tmp_path / "n")
    yield live
    live.close()


def get(link, name, path, method="GET"):
    """Status, headers and body of an answer."""
    request = urllib.request.Request(f"http://127.0.0.1:{link.dashboard_ports[name]}{path}", method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, refused.headers, refused.read()


def test_a_node_shows_its_metrics_and_says_when_it_makes_no_key(link):
    link.start()
    link.wait_for_blocks(2)

    for name in ("alice", "bob"):
        link.wait_until(lambda live, name=name: shown(live, name)["qkd_blocks_kept_total"] >= 2, "blocks in the metrics")
        status, headers, text = get(link, name, "/metrics")
        found = shown(link, name)
        assert status == 200
        assert headers["Server"] == "qkdlink"
        assert headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert found["qkd_peer_present"] == found["qkd_session_distilling"] == 1.0
        assert 0.0 < found["qkd_qber_ratio"] < 0.1
        if shutil.which("promtool"):
            checked = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, timeout=60, check=False)
            assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")
        assert get(link, name, "/healthz")[::2] == (200, b'{"alive": true, "reasons": []}')
    link.wait_until(lambda live: get(live, "bob", "/readyz")[0] == 200, "readiness")

    link.kill("alice")
    link.wait_until(lambda live: "the other node gives no sign of life" in reasons(live, "bob"), "end of readiness")
    assert get(link, "bob", "/readyz")[0] == 503
    assert get(link, "bob", "/healthz")[0] == 200


def test_a_stream_that_ends_raises_an_alarm_and_one_that_comes_back_clears_it(link):
    link.start()
    link.wait_for_blocks(1)
    link.stop("fibre")
    link.wait_until(lambda live: raised(live, "bob") == ["QkdStreamLost"], "alarm")
    assert "QkdStreamLost" in get(link, "bob", "/readyz")[2].decode()

    link.start("fibre")
    link.wait_until(lambda live: raised(live, "bob") == [], "end of the alarm")
    said = [event["event"] for event in link.events("bob") if event.get("alarm") == "QkdStreamLost"]
    assert said == ["alarm raised", "alarm cleared"]


def reasons(link, name):
    return json.loads(get(link, name, "/readyz")[2])["reasons"]


def shown(link, name):
    """Values by metric; of one with labels, any of them."""
    text = get(link, name, "/metrics")[2].decode()
    return {sample.name: sample.value for family in text_string_to_metric_families(text) for sample in family.samples}


def raised(link, name):
    return [alarm["name"] for alarm in link.status(name)["dashboard"]["alarms"]]


@pytest.mark.parametrize(
    ("method", "path", "status"), [("POST", "/metrics", 405), ("POST", "/", 405), ("GET", "/page", 404), ("GET", "/../../etc/passwd", 404)]
)
def test_nothing_else_is_answered_and_nothing_can_be_changed(link, method, path, status):
    link.start("bob")
    link.wait_until(lambda live: get(live, "bob", "/healthz")[0] == 200, "node")

    found, headers, body = get(link, "bob", path, method)

    assert found == status
    assert headers["Content-Type"].startswith("application/json")
    assert list(json.loads(body)) == ["message"]


def test_a_port_in_use_is_named(link):
    link.dashboard_ports["bob"] = link.dashboard_ports["alice"]
    link.start("alice")
    link.wait_until(lambda live: get(live, "alice", "/healthz")[0] == 200, "node")
    text = link.config("bob").read_text()
    before, _, after = text.partition("[dashboard]\n")
    link.config("bob").write_text(
        f'{before}[dashboard]\nbind = "127.0.0.1:{link.dashboard_ports["alice"]}"\n\n[admin{after.partition("[admin")[2]}'
    )

    status, said = run_once(link, "bob")

    assert status == 2
    assert "dashboard.bind" in said
    assert "already in use; choose another address" in said
