"""The audit trail on a disk that is full: a line is there whole or not at all, and nobody goes on as if it were."""

import resource
from pathlib import Path

import pytest

from common.errors import ConfigurationError, KeyStoreError
from common.observability.audit import ROOM_BYTES, AuditTrail


@pytest.fixture
def trail(tmp_path):
    made = AuditTrail(tmp_path / "audit.jsonl")
    yield made
    made.close()


def test_a_line_that_does_not_fit_leaves_nothing_and_is_an_error(trail, tmp_path):
    trail.record("first", bytes=1)
    size = (tmp_path / "audit.jsonl").stat().st_size
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, before[1]))
    try:
        with pytest.raises(KeyStoreError, match=r"audit\.jsonl: .*nothing is handed out that cannot be noted"):
            trail.record("second", bytes=2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    trail.record("third", bytes=3)

    assert [entry["event"] for entry in trail.last(10)] == ["first", "third"]
    assert len((tmp_path / "audit.jsonl").read_bytes().splitlines()) == 2


def test_a_disk_that_takes_nothing_at_all_is_named():
    trail = AuditTrail(Path("/dev/full"))
    with pytest.raises(KeyStoreError, match="No space left"):
        trail.record("first")
    trail.close()


def test_a_trail_that_cannot_be_opened_is_a_bad_start(tmp_path):
    with pytest.raises(ConfigurationError, match="make the state folder writable"):
        AuditTrail(tmp_path / "missing" / "audit.jsonl")


def test_room_for_lines_to_come_is_set_aside(trail, tmp_path):
    trail.record("first")
    state = (tmp_path / "audit.jsonl").stat()

    assert state.st_size < 200
    if trail._room_through:  # not every file system can do that
        assert 512 * state.st_blocks >= ROOM_BYTES
