"""A command stopped before and after every step of sending or receiving: the node settles what was open, and no pad is used twice.

The stop is an exception that nothing catches; from then on every step raises it, for a process that is gone does nothing more. That its
connections and files are closed is the system's doing. Real processes are killed in ``tests/faults/test_pad_kills.py``.
"""

import os
from pathlib import Path

import pytest

from common.channel.codec import Party
from common.errors import KeyAlreadyTakenError
from common.onetimepad.files import decrypt_file, encrypt_file
from common.onetimepad.store_envelope import StoreHeader, read_header
from common.service.admin_client import AdminClient
from tests.support.pads import ServedEnds

MESSAGE = b"what must arrive once or not at all"
MOST_STEPS = 100


class Stopped(BaseException):
    """The process is gone."""


class Stopper:
    """Stops before or after the n-th step, and at every step from then on."""

    def __init__(self, monkeypatch, moment):
        self.left = moment
        for owner, name in (
            (AdminClient, "send"),
            (AdminClient, "receive"),
            (os, "fsync"),
            (os, "link"),
            (os, "fchmod"),
            (Path, "replace"),
        ):
            monkeypatch.setattr(owner, name, self.watched(getattr(owner, name)))

    def pass_moment(self):
        self.left -= 1
        if self.left <= 0:
            raise Stopped

    def watched(self, function):
        def call(*arguments, **named):
            self.pass_moment()
            result = function(*arguments, **named)
            self.pass_moment()
            return result

        return call


def stopped_at_every_step(action):
    """Call ``action`` stopped at the first, second … moment until it runs through; yields how often it was stopped."""
    for moment in range(1, MOST_STEPS):
        with pytest.MonkeyPatch.context() as monkeypatch:
            try:
                action(monkeypatch, moment)
            except Stopped:
                pass
            else:
                return
        yield moment
    pytest.fail(f"not done after {MOST_STEPS} moments")


def places(path):
    with path.open("rb") as file:
        header = read_header(file.read, what=str(path))
    assert isinstance(header, StoreHeader)
    return {(piece.block, byte) for piece in header.pieces for byte in range(piece.first_byte, piece.end_byte)}


@pytest.fixture
def ends(tmp_path):
    both = ServedEnds(tmp_path, 8 * (2 * 10_000 + 32))
    yield both
    both.close()
    assert both.faults() == []


def test_a_sender_stopped_anywhere_never_uses_key_twice(ends):
    def send(monkeypatch, moment):
        (ends.folder / f"first-{moment}").write_bytes(MESSAGE)
        with ends.pad(Party.ALICE) as pad:
            Stopper(monkeypatch, moment)
            encrypt_file(pad, ends.folder / f"first-{moment}", ends.folder / f"first-{moment}.otp")

    used: set[tuple[int, int]] = set()
    stops = 0
    for moment in stopped_at_every_step(send):
        stops += 1
        first = ends.folder / f"first-{moment}.otp"
        sent = [ends.send(b"after the restart", f"second-{moment}")] + ([first] if first.exists() else [])
        for path in sent:
            assert not used & places(path)
            used |= places(path)
            assert ends.receive(path) in {MESSAGE, b"after the restart"}
    assert stops > 12


def test_a_receiver_stopped_anywhere_releases_all_or_nothing_and_never_twice(ends):
    encrypted = ends.folder

    def receive(monkeypatch, moment):
        nonlocal encrypted
        encrypted = ends.send(MESSAGE, f"m{moment}")
        with ends.pad(Party.BOB) as pad:
            Stopper(monkeypatch, moment)
            decrypt_file(pad, encrypted, ends.folder / f"plain{moment}")

    outcomes = set()
    for moment in stopped_at_every_step(receive):
        released = ends.folder / f"plain{moment}"
        assert not released.exists() or released.read_bytes() == MESSAGE
        try:
            again = ends.receive(encrypted) == MESSAGE
        except KeyAlreadyTakenError:
            again = False
        assert not (released.exists() and again)
        outcomes.add((released.exists(), again))
        assert ends.receive(ends.send(b"after the restart", f"next{moment}")) == b"after the restart"
    assert outcomes == {(False, True), (False, False), (True, False)}
