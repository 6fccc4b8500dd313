"""What a file of the project may be: not too long, finished, and free of one machine's paths and one network's registries."""

import re
from pathlib import Path

import pytest

from tests.support.tree import ROOT, assert_none, project_files, python_files

MOST_LINES = 500
TEXT_SUFFIXES = {
    "",
    ".cfg",
    ".conf",
    ".css",
    ".html",
    ".js",
    ".json",
    ".lock",
    ".md",
    ".py",
    ".service",
    ".sh",
    ".sql",
    ".toml",
    ".txt",
    ".yaml",
    ".yml",
    ".bib",
}

# Written in pieces, so that this file passes its own test.
UNFINISHED = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b|raise NotImplemented" r"Error")
MACHINE_PATH = re.compile(r"(?<![\w.$}])/(?:tm" r"p|wo" r"rk|ro" r"ot|ho" r"me|Use" r"rs)/")
REGISTRY = re.compile(r"py" r"pi\.org|python" r"hosted\.org|--(?:extra-)?inde" r"x-url|--find-li" r"nks|--trusted-h" r"ost")


TOP = {
    "alice",
    "bob",
    "common",
    "deploy",
    "docs",
    "tests",
    ".ci",
    ".dockerignore",
    ".gitignore",
    "CHANGELOG.md",
    "LICENSE",
    "Makefile",
    "README.md",
    "pyproject.toml",
}


def texts() -> list[Path]:
    return [path for path in project_files() if path.parts[0] in TOP and path.suffix in TEXT_SUFFIXES and path.name != "LICENSE"]


def test_only_the_agreed_entries_stand_at_the_top():
    assert {path.parts[0] for path in project_files()} <= TOP


def test_no_source_file_is_longer_than_a_reader_holds():
    lengths = {
        path: len((ROOT / path).read_text(encoding="utf-8").splitlines())
        for path in python_files("alice", "bob", "common", "tests", "docs")
    }

    assert_none([f"{path}: {length} lines" for path, length in lengths.items() if length > MOST_LINES])


@pytest.mark.parametrize("pattern", [UNFINISHED, MACHINE_PATH, REGISTRY], ids=["unfinished", "machine path", "registry"])
def test_every_file_is_finished_and_belongs_to_no_machine(pattern):
    found = [
        f"{path}:{number}: {line.strip()[:80]}"
        for path in texts()
        for number, line in enumerate((ROOT / path).read_text(encoding="utf-8").splitlines(), 1)
        if pattern.search(line)
    ]

    assert_none(found)


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock"])
def test_a_lock_pins_every_package_by_version_and_hash(name):
    entries = re.split(r"\n(?=\S)", (ROOT / "deploy" / name).read_text(encoding="utf-8").strip())

    assert all(re.match(r"[a-z0-9][\w.\-]*(\[[\w,\-]+\])?==\S+( ;.*)? \\\n    --hash=sha256:[0-9a-f]{64}", entry) for entry in entries)


def test_the_locks_agree():
    def pins(name):
        return set(re.findall(r"^(\S+==\S+)", (ROOT / "deploy" / name).read_text(encoding="utf-8"), flags=re.MULTILINE))

    assert pins("requirements.lock") <= pins("requirements-dev.lock")
