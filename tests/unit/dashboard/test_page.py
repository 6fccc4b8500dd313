"""The page is whole without a script, escapes whatever it is given, and shows what was not measured as such."""

from html.parser import HTMLParser
from typing import Any

import pytest

from common.dashboard.page import Seen, content, page, trend_values
from common.dashboard.trend import SPANS, Trend
from common.observability.alarms import ALARMS

FRESH: dict[str, Any] = {
    "node": "alice",
    "version": "0.1.0",
    "link": "short",
    "title": "A short link",
    "uptime_seconds": 3.0,
    "session": {"state": "greeting", "activity": "in session", "peer_present": False, "sessions": 1, "failures": 0, "last_failure": None},
    "refused": {"strangers": 0},
    "pace": {"round_trip_ms": None, "method": None},
    "qber": {"Z": None, "X": None},
    "rates": {"sifted_bits_per_second": None, "secret_bits_per_second": None},
    "blocks_kept": 0,
    "blocks_discarded": {},
    "secret_bits": 0,
    "stream": {"clock": None, "gate": None},
    "store": {"pools": {"alice-pad": 0}, "capacity_bits": 1 << 33, "full": False},
    "authentication_reserve": {"pairs": 1024, "target_pairs": 128, "empty": False, "low": False},
    "event_loop_lag": {"p99_9_ms": None},
    "dashboard": {"planned_qber": {}},
}
BLOCK: dict[str, Any] = {
    "number": 7,
    "secret_bits": 0,
    "reason": "phase-error-bound",
    "leakage": {"syndrome": 1200},
    "counts": {"detections": 5000, "Z": {"tested": 10, "kept": 990, "errors": 1}, "X": {"tested": 0, "kept": 0, "errors": 0}},
    "corrected": {"Z": 9, "X": 0},
    "ledger": {"single photons": 900},
    "epsilon": {"secrecy": 1e-10},
}
READING = {"name": "background", "value": 1.02, "certified": [0.5, 2.0], "verdict": "in range", "reason": None}
EVIL = "<script>alert(1)</script>"


class Tags(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.words += data


def seen(status=FRESH, blocks=(), alarms=(), trend=None):
    return Seen(status, blocks, alarms, trend or Trend(), 0.0)


def test_a_node_that_has_measured_nothing_says_so():
    read = Tags(page(seen(), "10m"))

    assert "no key: in session, greeting" in read.words
    assert "the other node is away" in read.words
    assert "QBER Z—" in read.words
    assert "none yet" in read.words
    assert ("html", {"lang": "en"}) in read.tags


def test_a_block_and_its_ledger_are_shown():
    words = Tags(content(seen(blocks=[BLOCK]), "10m")).words

    assert "1.00 %" in words
    assert "phase-error-bound" in words
    assert "syndrome1\u202f200" in words
    assert "secrecy1e-10" in words


def test_the_receiver_is_shown_where_there_is_one():
    arrivals = {"period_ps": 4000.0, "gate_ps": [(1650.0, 2000.0), (-2000.0, -1850.0)], "counts": {"H": [0, 0, 0, 9], EVIL: [1, 0, 0, 7]}}
    drift = {"state": "tracking", "decision": "turned", "qber": 0.03, "positions": {"qwp1": 0.25}, "problem": EVIL}
    text = content(seen(FRESH | {"stream": FRESH["stream"] | {"arrivals": arrivals}, "drift": drift}), "10m")
    read = Tags(text)

    assert "Receiver" not in Tags(content(seen(), "10m")).words
    assert [tag for tag, attributes in read.tags if tag == "rect" and attributes["class"] == "band"] == ["rect", "rect"]
    assert "tracking" in read.words
    assert "qwp10.250" in read.words
    assert EVIL not in text


def test_alarms_are_shown_with_what_to_do():
    words = Tags(content(seen(alarms=ALARMS[:2]), "10m")).words

    for alarm in ALARMS[:2]:
        assert alarm.name in words
        assert alarm.advice.replace("`", "") in words


@pytest.mark.parametrize(
    ("alarm", "readings", "said"),
    [
        (None, [], "Monitors—nothing read at this end"),
        (None, [READING], "Monitorsin range1 readings, 0 undecided"),
        (None, [READING | {"value": None, "verdict": "undecided"}], "Monitorsin range1 readings, 1 undecided"),
        ("detector-blinding", [READING | {"verdict": "too low"}], "MonitorsNO KEYdetector-blinding"),
    ],
)
def test_monitors_say_whether_they_stop_the_key_and_what_they_read(alarm, readings, said):
    words = Tags(content(seen(FRESH | {"monitors": {"watched": ["background_ratio"], "alarm": alarm, "readings": readings}}), "10m")).words

    assert said in words
    for reading in readings:
        assert f"background{'1.02' if reading['value'] else '—'}" in words
        assert f"0.5 to 2, {reading['verdict']}" in words


def test_a_link_that_is_not_watched_says_so():
    words = Tags(content(seen(FRESH | {"monitors": {"watched": [], "alarm": None, "readings": []}}), "10m")).words

    assert "the link's profile certifies no ranges" in words


@pytest.mark.parametrize("where", ["title", "link", "reason", "failure", "pool"])
def test_whatever_it_is_given_is_text(where):
    session = FRESH["session"] | {"last_failure": {"error": EVIL}} if where == "failure" else FRESH["session"]
    store = FRESH["store"] | ({"pools": {EVIL: 5}} if where == "pool" else {})
    status = FRESH | {"session": session, "store": store} | ({where: EVIL} if where in {"title", "link"} else {})
    text = page(seen(status, [BLOCK | {"reason": EVIL}] if where == "reason" else []), "10m")

    assert EVIL not in text
    assert EVIL in Tags(text).words


def test_nothing_comes_from_another_host_and_nothing_runs_but_the_file():
    tags = Tags(page(seen(blocks=[BLOCK], alarms=ALARMS), "1h")).tags
    addresses = [value for _, attributes in tags for name, value in attributes.items() if name in {"src", "href"}]

    assert all("//" not in address for address in addresses)
    assert [attributes for tag, attributes in tags if tag == "script"] == [{"src": "page.js", "defer": None}]
    assert not [attributes for _, attributes in tags for name in attributes if name == "style" or name.startswith("on")]


@pytest.mark.parametrize("span", SPANS)
def test_the_span_that_is_shown_is_marked(span):
    marked = [attributes["href"] for tag, attributes in Tags(page(seen(), span)).tags if tag == "a" and "aria-current" in attributes]

    assert marked == [f"?span={span}"]


def test_what_is_drawn_is_what_was_measured():
    assert trend_values(FRESH) == {"key": 0.0}
    assert trend_values(FRESH | {"qber": {"Z": 0.01, "X": None}}) == {"key": 0.0, "qber.Z": 0.01}
