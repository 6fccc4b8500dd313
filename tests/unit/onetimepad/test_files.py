"""Files and messages through the one-time pad, and what is refused on the way."""

import errno
import io
import os
import sys
from types import SimpleNamespace

import pytest

from common.channel.codec import Party
from common.errors import AuthenticationError, ConfigurationError, KeyAlreadyTakenError, LocalProtocolError
from common.onetimepad import messages
from common.onetimepad.cipher import combine, encrypt
from common.onetimepad.envelope import HEADER_BYTES, MASK_BYTES, PAD_ID_BYTES, TAG_BYTES, Contents, FileHeader
from common.onetimepad.files import PIPE, decrypt_file, encrypt_file
from common.onetimepad.pad import Pad
from tests.unit.onetimepad.ends import Ends

MESSAGE = b"the quick brown fox jumps over the lazy dog"


@pytest.fixture
def ends(tmp_path):
    return Ends.with_key(tmp_path, 20_000)


def test_both_directions_work_side_by_side(ends):
    there = ends.send(MESSAGE, "there")
    back = ends.send(b"and back", "back", Party.BOB)

    assert ends.receive(back, Party.ALICE) == b"and back"
    assert ends.receive(there) == MESSAGE


def test_messages_may_arrive_in_any_order(ends):
    sent = [ends.send(bytes([i]) * 50, f"m{i}") for i in range(4)]

    for i in (2, 0, 3, 1):
        assert ends.receive(sent[i]) == bytes([i]) * 50


def test_an_empty_message_is_a_message(ends):
    assert ends.receive(ends.send(b"")) == b""


def test_a_large_file_passes_in_chunks(ends, monkeypatch):
    monkeypatch.setattr(messages, "CHUNK_BYTES", 1000)

    message = bytes(range(256)) * 30
    assert ends.receive(ends.send(message)) == message


def test_a_replay_is_refused(ends):
    encrypted = ends.send(MESSAGE)
    ends.receive(encrypted)

    with pytest.raises(KeyAlreadyTakenError, match="decrypted before"):
        ends.receive(encrypted)


def test_a_message_that_overlaps_another_is_refused(ends, tmp_path_factory):
    ends.pad(Party.ALICE)
    rolled_back = ends.copied(tmp_path_factory.mktemp("rolled-back"))
    ends.receive(ends.send(MESSAGE))
    again = rolled_back.send(b"the same key once more, on a machine that was restored")

    with pytest.raises(KeyAlreadyTakenError, match="another message"):
        ends.receive(again)


def test_a_reflected_message_is_refused(ends):
    encrypted = ends.send(MESSAGE)

    with pytest.raises(ConfigurationError, match="encrypted at this end"):
        ends.receive(encrypted, Party.ALICE)


def test_another_key_is_named_as_the_reason(ends, tmp_path_factory):
    other = Ends.with_key(tmp_path_factory.mktemp("other"), 20_000, seed=2)

    with pytest.raises(ConfigurationError, match="another key"):
        ends.receive(other.send(MESSAGE))


def test_key_that_differs_behind_the_name_fails_the_tag(ends):
    path = ends.folder / "bob.key"
    key = bytearray(path.read_bytes())
    key[8] ^= 1
    path.write_bytes(key)

    with pytest.raises(AuthenticationError, match="tag is wrong"):
        ends.receive(ends.send(MESSAGE))


@pytest.mark.parametrize(
    "length", [0, 4, 8, HEADER_BYTES - 1, HEADER_BYTES, HEADER_BYTES + 10, HEADER_BYTES + len(MESSAGE) + TAG_BYTES - 1]
)
def test_a_message_that_was_cut_is_refused(ends, length):
    encrypted = ends.send(MESSAGE)
    whole = encrypted.read_bytes()
    encrypted.write_bytes(whole[:length])

    with pytest.raises((AuthenticationError, ConfigurationError)):
        ends.receive(encrypted)
    encrypted.write_bytes(whole)
    assert ends.receive(encrypted) == MESSAGE


def test_something_appended_is_refused(ends):
    encrypted = ends.send(MESSAGE)
    encrypted.write_bytes(encrypted.read_bytes() + b"x")

    with pytest.raises(AuthenticationError, match="as long as"):
        ends.receive(encrypted)


def test_nothing_is_released_before_the_tag_is_checked(ends):
    encrypted = ends.send(MESSAGE)
    data = bytearray(encrypted.read_bytes())
    data[-1] ^= 0x80
    encrypted.write_bytes(data)
    before = {path.name for path in ends.folder.iterdir()}

    with pytest.raises(AuthenticationError):
        decrypt_file(ends.pad(Party.BOB), encrypted, ends.folder / "plain")
    assert {path.name for path in ends.folder.iterdir()} == before | {"bob.key.ledger"}


@pytest.mark.parametrize("name", ["alice.key", "alice.key.ledger", "message"])
def test_what_is_needed_is_never_written_over(ends, name):
    (ends.folder / "message").write_bytes(MESSAGE)

    with pytest.raises(ConfigurationError, match="--out"):
        encrypt_file(ends.pad(Party.ALICE), ends.folder / "message", ends.folder / name)


def test_messages_pass_through_pipes(ends, monkeypatch):
    def piped(data):
        stdout = io.BytesIO()
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data)))
        monkeypatch.setattr(sys, "stdout", SimpleNamespace(buffer=stdout))
        return stdout

    encrypted = piped(MESSAGE)
    encrypt_file(ends.pad(Party.ALICE), PIPE, PIPE)
    decrypted = piped(encrypted.getvalue())
    decrypt_file(ends.pad(Party.BOB), PIPE, PIPE)

    assert decrypted.getvalue() == MESSAGE


def test_a_file_that_grows_while_it_is_read_is_not_sent(ends, monkeypatch):
    (ends.folder / "message").write_bytes(MESSAGE)
    true_burn = Pad.burn_to_send

    def burn_while_another_program_writes(pad, count_bytes):
        with (ends.folder / "message").open("ab") as message:
            message.write(b" and on it runs")
        return true_burn(pad, count_bytes)

    monkeypatch.setattr(Pad, "burn_to_send", burn_while_another_program_writes)
    with pytest.raises(LocalProtocolError, match="changed while"):
        encrypt_file(ends.pad(Party.ALICE), ends.folder / "message", ends.folder / "message.otp")
    monkeypatch.undo()
    assert not (ends.folder / "message.otp").exists()
    assert ends.receive(ends.send(b"next", "next")) == b"next"


def test_what_was_decrypted_is_for_its_owner_only(ends):
    encrypted = ends.send(MESSAGE)
    decrypt_file(ends.pad(Party.BOB), encrypted, ends.folder / "plain")

    assert (ends.folder / "plain").stat().st_mode & 0o077 == 0


def test_a_file_that_is_no_message_says_so(ends):
    (ends.folder / "other").write_bytes(b"%PDF-1.7 and so on, long enough to be something")

    with pytest.raises(ConfigurationError, match="not a one-time-pad file"):
        ends.receive(ends.folder / "other")


def test_who_knows_a_message_that_never_arrived_cannot_use_its_pad_for_a_tag_of_her_own(ends):
    """She knows message and ciphertext, so the pad; she names pad she knows as mask and pad of a message that she makes."""
    known = bytes(200)
    encrypted = ends.send(known)
    data = encrypted.read_bytes()
    header = FileHeader.decoded(data[:HEADER_BYTES], what="it")
    pad = combine(data[HEADER_BYTES:-TAG_BYTES], known)

    class Known:
        def __init__(self, tag_key):
            self.tag_key, self.left = tag_key, pad

        def read(self, count_bytes):
            key, self.left = self.left[:count_bytes], self.left[count_bytes:]
            return key

    for offset in (header.offset + MASK_BYTES, PAD_ID_BYTES, header.offset):
        forged = FileHeader(header.pad, header.sender, offset, Contents(11))
        for guess in (pad[:16], pad[16:32], bytes(16)):
            encrypted.write_bytes(forged.encoded() + b"".join(encrypt(Known(guess), forged, [b"attack now!"])))
            with pytest.raises(AuthenticationError):
                ends.receive(encrypted)


def test_a_ledger_of_an_earlier_version_is_refused(ends):
    ends.pad(Party.ALICE)
    path = ends.folder / "alice.key.ledger"
    path.write_text(path.read_text().replace('"version": 2', '"version": 1'))

    with pytest.raises(ConfigurationError, match="earlier version"):
        ends.pad(Party.ALICE)


def test_a_file_is_replaced_whole_and_others_may_read_what_is_encrypted(ends):
    (ends.folder / "message.otp").write_bytes(b"an older one")

    assert ends.receive(ends.send(MESSAGE)) == MESSAGE
    assert (ends.folder / "message.otp").stat().st_mode & 0o444


def test_a_disk_without_nameless_files_does_as_well(ends, monkeypatch):
    true_open = os.open

    def refusing(path, flags, *arguments, **named):
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, "not here")
        return true_open(path, flags, *arguments, **named)

    monkeypatch.setattr(os, "open", refusing)
    before = {path.name for path in ends.folder.iterdir()}

    assert ends.receive(ends.send(MESSAGE)) == MESSAGE
    assert {path.name for path in ends.folder.iterdir()} >= before
    assert not [path for path in ends.folder.iterdir() if path.name.startswith(".")]
