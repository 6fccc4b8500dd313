import json
import os
import subprocess
import sys

import pytest

from common.cli.checks import environment, machine
from common.cli.checks.finding import Verdict, guarded
from common.cli.main import run
from tests.support.tree import ROOT


def doctor(folder, *arguments, **variables):
    """Run the command in ``folder`` as an installed one would run: our packages on the path, the folder not in front of them."""
    environment_variables = os.environ | {"PYTHONPATH": str(ROOT)} | variables
    command = [sys.executable, "-P", "-m", "common.cli.main", "doctor", "--json", *arguments]
    ran = subprocess.run(command, cwd=folder, env=environment_variables, capture_output=True, text=True, timeout=60, check=False)
    return ran.returncode, {finding["check"]: finding for finding in json.loads(ran.stdout)}


def findings(check):
    return [(finding.verdict, finding.found) for finding in guarded(check)]


def test_nothing_fails_on_a_machine_that_runs_these_tests(tmp_path):
    status, found = doctor(tmp_path)

    assert status == 0
    assert {finding["verdict"] for finding in found.values()} <= {"ok", "warn"}
    assert {"python", "packages", "own packages", "working directory", "kernel cache", "link profile", "entropy", "memory"} <= set(found)


def test_a_shadowed_common_in_the_working_directory_is_reported(tmp_path):
    (tmp_path / "common").mkdir()
    (tmp_path / "common" / "__init__.py").write_text("raise SystemExit('a stranger ran')\n", encoding="utf-8")

    status, found = doctor(tmp_path)

    assert status == 2
    assert found["working directory"]["verdict"] == "fail"
    assert str(tmp_path / "common") in found["working directory"]["found"]
    assert "PYTHONSAFEPATH" in found["working directory"]["advice"]


def test_a_safe_path_takes_the_shadow_away(tmp_path):
    (tmp_path / "common").mkdir()
    (tmp_path / "common" / "__init__.py").touch()

    status, found = doctor(tmp_path, PYTHONSAFEPATH="1")

    assert status == 0
    assert found["working directory"]["verdict"] == "ok"


def test_a_cache_that_cannot_be_written_is_reported(tmp_path):
    obstacle = tmp_path / "file"
    obstacle.write_text("not a folder", encoding="utf-8")

    status, found = doctor(tmp_path, NUMBA_CACHE_DIR=str(obstacle / "cache"))

    assert status == 2
    assert found["kernel cache"]["verdict"] == "fail"
    assert "NUMBA_CACHE_DIR" in found["kernel cache"]["advice"]


def test_uncompiled_kernels_are_a_warning(tmp_path):
    status, found = doctor(tmp_path, NUMBA_DISABLE_JIT="1")

    assert status == 0
    assert found["kernel cache"]["verdict"] == "warn"


def test_another_distribution_that_ships_common_is_reported(monkeypatch):
    monkeypatch.setattr(environment, "packages_distributions", lambda: {"common": ["qkdlink", "stranger"], "alice": ["qkdlink"]})

    assert findings(environment.check_ownership) == [(Verdict.FAIL, "common is shipped by stranger too")]


def test_packages_in_different_places_are_reported(monkeypatch, tmp_path):
    monkeypatch.setattr(environment, "_folder", lambda name: tmp_path / ("here" if name == "common" else "there") / name)

    verdicts = [verdict for verdict, _ in findings(environment.check_ownership)]

    assert Verdict.FAIL in verdicts


def test_a_missing_package_and_an_old_one_are_reported(monkeypatch):
    monkeypatch.setattr(environment, "requires", lambda _name: ["click>=999", "surely-absent>=1", "extra>=1; extra == 'bench'"])

    (verdict, found), *_ = findings(environment.check_packages)

    assert verdict is Verdict.FAIL
    assert "older than 999" in found
    assert "surely-absent is missing" in found
    assert "extra is" not in found


def test_a_kernel_compiled_before_its_helper_changed_is_stale(tmp_path):
    sources, cache = tmp_path / "kernels", tmp_path / "cache"
    sources.mkdir()
    cache.mkdir()
    (sources / "jit.py").touch()
    for name in ("fresh", "stale", "changed"):
        (sources / f"{name}.py").write_text("from common.kernels.jit import kernel\n", encoding="utf-8")
        (cache / f"{name}.product-7.py311.nbi").touch()
        os.utime(sources / f"{name}.py", (100, 100))
    os.utime(sources / "jit.py", (300, 300))
    os.utime(sources / "changed.py", (250, 250))  # numba compiles it anew by itself
    for name, compiled in (("fresh", 400), ("stale", 200), ("changed", 200)):
        os.utime(cache / f"{name}.product-7.py311.nbi", (compiled, compiled))

    assert environment.stale_kernels(sources, cache) == ["stale"]


def test_a_profile_that_does_not_load_names_its_entry(tmp_path, capsys):
    wrong = tmp_path / "wrong.toml"
    wrong.write_text('name = "wrong"\n', encoding="utf-8")

    assert run(["doctor", "--link", str(wrong), "--json"]) == 2
    found = [finding for finding in json.loads(capsys.readouterr().out) if finding["check"] == "link profile"]

    assert [finding["verdict"] for finding in found] == ["fail"]
    assert "source" in found[0]["found"]


def test_lines_for_a_reader_carry_verdict_and_advice(capsys):
    assert run(["doctor"]) == 0
    shown = capsys.readouterr().out

    assert shown.startswith("ok    python: CPython")
    assert "Nothing failed" in shown


@pytest.mark.parametrize(
    ("free_kib", "verdict"), [(100_000, Verdict.FAIL), (1_000_000, Verdict.WARN), (8_000_000, Verdict.OK)], ids=["none", "little", "enough"]
)
def test_memory_is_judged_by_what_is_free(monkeypatch, free_kib, verdict):
    texts = {"/proc/meminfo": f"MemTotal: 9000000 kB\nMemAvailable: {free_kib} kB"}
    monkeypatch.setattr(machine, "_text", lambda path: texts.get(path, ""))

    assert [found for found, _ in findings(machine.check_memory)] == [verdict]


def test_a_limit_of_the_control_group_counts(monkeypatch):
    texts = {"/proc/meminfo": "MemAvailable: 8000000 kB", "/sys/fs/cgroup/memory.max": "1000000", "/sys/fs/cgroup/memory.current": "900000"}
    monkeypatch.setattr(machine, "_text", lambda path: texts.get(path, ""))

    assert [verdict for verdict, _ in findings(machine.check_memory)] == [Verdict.FAIL]


def test_swap_and_core_dumps_are_warnings(monkeypatch):
    texts = {"/proc/swaps": "Filename Type\n/dev/disk partition", "/proc/sys/kernel/core_pattern": "|/usr/bin/collector"}
    monkeypatch.setattr(machine, "_text", lambda path: texts.get(path, ""))

    assert [verdict for verdict, _ in findings(machine.check_swap)] == [Verdict.WARN]
    assert [verdict for verdict, _ in findings(machine.check_core_dumps)] == [Verdict.WARN]


def test_a_processor_without_the_instruction_is_a_warning(monkeypatch):
    monkeypatch.setattr("common.kernels.carry_less.LANES", 0)

    assert [verdict for verdict, _ in findings(machine.check_processor)] == [Verdict.OK, Verdict.WARN]


def test_recordings_are_counted_where_a_folder_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("QKD_RECORDINGS", str(tmp_path))
    assert [verdict for verdict, _ in findings(machine.check_recordings)] == [Verdict.WARN]
    (tmp_path / "emitter.ptu").touch()
    assert [verdict for verdict, _ in findings(machine.check_recordings)] == [Verdict.OK]


def test_a_check_that_breaks_is_a_failure_of_its_own():
    def check_nothing():
        raise OSError("no such device")
        yield

    (finding,) = guarded(check_nothing)

    assert finding.verdict is Verdict.FAIL
    assert "no such device" in finding.found
