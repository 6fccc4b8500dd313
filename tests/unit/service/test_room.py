"""A disk that fills up is named once, and once more when there is room again."""

import structlog

from common.service.room import DiskRoom


def test_too_little_room_is_logged_when_it_begins_and_when_it_ends(tmp_path):
    room = DiskRoom(tmp_path, least_free_bytes=0)
    with structlog.testing.capture_logs() as lines:
        assert not room.is_short()
        room._least_free_bytes = 1 << 62
        assert [room.is_short(), room.is_short()] == [True, True]
        room._least_free_bytes = 0
        assert not room.is_short()

    assert [line["event"] for line in lines] == ["disk nearly full: distillation waits", "disk has room again"]
    assert lines[0]["wanted_bytes"] == 1 << 62
    assert 0 < lines[0]["free_bytes"] < 1 << 62
