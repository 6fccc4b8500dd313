"""Signs to systemd, logs without key, the audit trail, and checks before anything starts."""

import asyncio
import io
import json
import socket
import types

import numpy as np
import pytest

from common.errors import ConfigurationError
from common.observability.audit import AuditTrail
from common.observability.logs import configure_logs, logger
from common.service.notify import notify, tell_of_life, watchdog_seconds
from common.service.startup import check_folder, check_packages


def test_systemd_hears_us_where_it_listens(tmp_path, monkeypatch):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))

        assert notify("READY=1")
        assert manager.recv(100) == b"READY=1"


def test_nothing_happens_where_nobody_listens(monkeypatch, tmp_path):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not notify("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    assert not notify("READY=1")


def test_a_sign_of_life_is_due_at_half_the_time_systemd_waits(monkeypatch):
    monkeypatch.setenv("WATCHDOG_USEC", "3000000")
    assert watchdog_seconds() == 1.5
    monkeypatch.setenv("WATCHDOG_PID", "1")
    assert watchdog_seconds() is None


def test_a_sign_of_life_is_given_again_and_again_where_one_is_due(tmp_path, monkeypatch):
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    monkeypatch.setenv("WATCHDOG_USEC", "20000")
    monkeypatch.delenv("WATCHDOG_PID", raising=False)

    async def heard() -> list[bytes]:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(str(tmp_path / "notify"))
            manager.setblocking(False)
            living = asyncio.create_task(tell_of_life())
            signs = [await asyncio.get_running_loop().sock_recv(manager, 100) for _ in range(3)]
            living.cancel()
            return signs

    assert asyncio.run(heard()) == [b"WATCHDOG=1"] * 3


def test_no_sign_of_life_is_given_where_none_is_due(monkeypatch):
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    asyncio.run(asyncio.wait_for(tell_of_life(), 60))


def test_what_could_be_key_never_reaches_the_log():
    out = io.StringIO()
    configure_logs("info", "json", out)

    logger("test").info("event", key=b"secret", bits=np.zeros(3), nested={"list": [bytearray(b"more")]}, error=ValueError("said"))

    line = json.loads(out.getvalue())
    assert (line["key"], line["bits"], line["nested"]) == ("<bytes of 6>", "<ndarray of 3>", {"list": ["<bytearray of 4>"]})
    assert (line["error"], line["error_class"]) == ("said", "ValueError")


def test_the_audit_trail_outlives_a_line_that_was_cut_short(tmp_path):
    path = tmp_path / "audit.jsonl"
    trail = AuditTrail(path, now=lambda: 5.0)
    trail.record("first", bits=8, key=b"secret")
    trail.close()
    with path.open("ab") as file:
        file.write(b'{"time": 6, "ev')
    again = AuditTrail(path, now=lambda: 7.0)
    again.record("second")

    assert again.last(10) == [{"time": 5.0, "event": "first", "bits": 8, "key": "<bytes of 6>"}, {"time": 7.0, "event": "second"}]
    assert path.stat().st_mode & 0o777 == 0o600
    again.close()


def test_packages_of_others_are_refused(tmp_path):
    check_packages()
    foreign = types.ModuleType("alice")
    foreign.__file__ = str(tmp_path / "alice" / "__init__.py")

    with pytest.raises(ConfigurationError, match="another project hides it"):
        check_packages(foreign)


def test_a_folder_that_is_a_file_is_named(tmp_path):
    (tmp_path / "state").write_text("")

    with pytest.raises(ConfigurationError, match=r"node\.state = .*state"):
        check_folder(tmp_path / "state", "node.state")
