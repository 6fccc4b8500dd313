"""Stopped before, within and after everything that touches the disk: key may be lost, it is never used twice.

The stop is an exception that nothing catches, raised at each call in turn of every function that changes or reads a file; what a write
left behind by then is half of it. Files are always closed, as the system does for a process that is gone.
"""

import os
from pathlib import Path
from typing import Any

import pytest

from common.channel.codec import Party
from common.errors import KeyAlreadyTakenError
from common.onetimepad.envelope import HEADER_BYTES, FileHeader
from common.onetimepad.files import decrypt_file, encrypt_file
from tests.unit.onetimepad.ends import Ends

MESSAGE = b"what must arrive once or not at all"
MOST_STEPS = 200


class Stopped(BaseException):
    """The power is gone."""


class Stopper:
    """Stops at the n-th moment; every call has one before and one after, and a write one within."""

    def __init__(self, monkeypatch, moment):
        self.left = moment
        for owner, name in (
            (os, "fsync"),
            (os, "pread"),
            (os, "ftruncate"),
            (os, "fchmod"),
            (os, "open"),
            (Path, "replace"),
        ):
            monkeypatch.setattr(owner, name, self.watched(getattr(owner, name)))
        monkeypatch.setattr(os, "pwrite", self.watched_write(os.pwrite))

    def pass_moment(self):
        self.left -= 1
        if self.left == 0:
            raise Stopped

    def watched(self, function):
        def call(*arguments):
            self.pass_moment()
            result = function(*arguments)
            self.pass_moment()
            return result

        return call

    def watched_write(self, function):
        def call(descriptor, data, offset):
            self.pass_moment()
            function(descriptor, data[: len(data) // 2], offset)
            self.pass_moment()
            written = function(descriptor, data, offset)
            self.pass_moment()
            return written

        return call


def stopped_at_every_moment(action):
    """Call ``action(stopper_factory)`` stopped at the first, second … moment until it runs through; yields how often it was stopped."""
    for moment in range(1, MOST_STEPS):
        with pytest.MonkeyPatch.context() as monkeypatch:
            try:
                action(monkeypatch, moment)
            except Stopped:
                yield moment
                continue
        return
    pytest.fail(f"not done after {MOST_STEPS} moments")


def header_of(path):
    return FileHeader.decoded(path.read_bytes()[:HEADER_BYTES], what=str(path))


def test_a_sender_stopped_anywhere_never_uses_key_twice(tmp_path):
    ends: Any = None

    def send(monkeypatch, moment):
        nonlocal ends
        folder = tmp_path / str(moment)
        folder.mkdir()
        ends = Ends.with_key(folder, 1000)
        (folder / "first").write_bytes(MESSAGE)
        pad = ends.pad(Party.ALICE)
        Stopper(monkeypatch, moment)
        encrypt_file(pad, folder / "first", folder / "first.otp")

    stops = 0
    for _ in stopped_at_every_moment(send):
        stops += 1
        second = ends.send(b"after the restart", "second")
        first = ends.folder / "first.otp"
        if first.exists():
            assert not header_of(first).stretch.overlaps(header_of(second).stretch)
            assert ends.receive(first) == MESSAGE
        assert ends.receive(second) == b"after the restart"
    assert stops > 20


def test_a_receiver_stopped_anywhere_releases_all_or_nothing_and_never_twice(tmp_path):
    ends: Any = None

    def receive(monkeypatch, moment):
        nonlocal ends
        folder = tmp_path / str(moment)
        folder.mkdir()
        ends = Ends.with_key(folder, 1000)
        encrypted = ends.send(MESSAGE)
        pad = ends.pad(Party.BOB)
        Stopper(monkeypatch, moment)
        decrypt_file(pad, encrypted, folder / "plain")

    outcomes = set()
    for _ in stopped_at_every_moment(receive):
        is_released = (ends.folder / "plain").exists()
        assert not is_released or (ends.folder / "plain").read_bytes() == MESSAGE
        try:
            again = ends.receive(ends.folder / "message.otp") == MESSAGE
        except KeyAlreadyTakenError:
            again = False
        assert not (is_released and again)
        outcomes.add((is_released, again))
        assert ends.receive(ends.send(b"after the restart", "second")) == b"after the restart"
    assert outcomes == {(False, True), (False, False), (True, False)}


def test_a_key_stopped_at_its_first_use_can_be_used(tmp_path):
    ends: Any = None

    def open_first(monkeypatch, moment):
        nonlocal ends
        folder = tmp_path / str(moment)
        folder.mkdir()
        ends = Ends.with_key(folder, 1000)
        Stopper(monkeypatch, moment)
        ends.pad(Party.ALICE)

    for _ in stopped_at_every_moment(open_first):
        assert ends.receive(ends.send(MESSAGE)) == MESSAGE
