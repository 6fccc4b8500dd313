"""What a key file is before and after it is used."""

import json

import pytest

from common.channel.codec import Party
from common.errors import AuthenticationError, ConfigurationError, KeyAlreadyTakenError, KeyExhaustedError, KeyStoreError
from common.onetimepad.envelope import OVERHEAD_BYTES, PAD_ID_BYTES, TAG_KEY_BYTES, Contents, FileHeader
from common.onetimepad.files import encrypt_file
from common.onetimepad.pad import Pad
from tests.unit.onetimepad.ends import Ends


@pytest.fixture
def ends(tmp_path):
    return Ends.with_key(tmp_path, 1000)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_key_that_others_can_read_is_refused(ends, mode):
    (ends.folder / "alice.key").chmod(mode)

    with pytest.raises(ConfigurationError, match="chmod 600"):
        ends.pad(Party.ALICE)


def test_a_missing_key_says_where_keys_come_from(tmp_path):
    with pytest.raises(ConfigurationError, match="qkd distil"):
        Pad(tmp_path / "alice.key")


def test_an_empty_key_is_exhausted(tmp_path):
    (tmp_path / "alice.key").touch(mode=0o600)

    with pytest.raises(KeyExhaustedError, match=r"report\.json"):
        Pad(tmp_path / "alice.key")


def test_the_end_comes_from_the_name_or_has_to_be_told(ends):
    other = ends.folder / "shared.key"
    other.touch(mode=0o600)
    other.write_bytes((ends.folder / "bob.key").read_bytes())

    with pytest.raises(ConfigurationError, match="--end"):
        Pad(other)
    assert Pad(other, Party.BOB).end is Party.BOB
    assert Pad(other).end is Party.BOB


def test_a_key_never_changes_ends(ends):
    ends.send(b"hello")

    with pytest.raises(ConfigurationError, match="Alice's key"):
        Pad(ends.folder / "alice.key", Party.BOB)


def test_a_key_never_changes_its_parts(ends):
    ends.send(b"hello")

    with pytest.raises(ConfigurationError, match="first use"):
        ends.pad(Party.ALICE, alice_share=0.7)
    assert ends.pad(Party.ALICE, alice_share=0.5).name.boundary == PAD_ID_BYTES + (1000 - PAD_ID_BYTES) // 2


def test_ends_that_split_differently_find_out(ends):
    ends.pad(Party.BOB, alice_share=0.9)
    encrypted = ends.send(b"hello")

    with pytest.raises(AuthenticationError, match="altered on the way, or the two ends"):
        ends.receive(encrypted)


def test_the_ledger_of_another_key_is_refused(ends, tmp_path_factory):
    ends.send(b"hello")
    other = Ends.with_key(tmp_path_factory.mktemp("other"), 1000, seed=2)
    (other.folder / "alice.key.ledger").write_bytes((ends.folder / "alice.key.ledger").read_bytes())

    with pytest.raises(ConfigurationError, match="another key"):
        other.pad(Party.ALICE)


def test_too_little_key_names_the_bits_that_are_missing_and_spends_none(ends):
    left = ends.pad(Party.ALICE).count_left_bits()
    assert left == 8 * ((1000 - PAD_ID_BYTES) // 2 - TAG_KEY_BYTES)

    with pytest.raises(KeyExhaustedError, match="is 80 bits short"):
        ends.send(bytes(left // 8 - OVERHEAD_BYTES + 10))
    assert ends.pad(Party.ALICE).count_left_bits() == left
    assert not (ends.folder / "message.otp").exists()
    ends.send(bytes(left // 8 - OVERHEAD_BYTES))
    assert ends.pad(Party.ALICE).count_left_bits() == 0


def test_spent_key_is_erased_at_both_ends(ends):
    key = (ends.folder / "alice.key").read_bytes()
    message = b"gone with the pad"
    ends.receive(ends.send(message))
    begin = PAD_ID_BYTES + TAG_KEY_BYTES
    end = begin + OVERHEAD_BYTES + len(message)

    for name in ("alice", "bob"):
        assert (ends.folder / f"{name}.key").read_bytes() == key[:begin] + bytes(end - begin) + key[end:]


def test_a_key_whose_ledger_is_gone_is_not_used_again(ends):
    ends.send(b"hello")
    (ends.folder / "alice.key.ledger").unlink()

    with pytest.raises(KeyAlreadyTakenError, match="distil a new key"):
        ends.pad(Party.ALICE)


def test_a_ledger_restored_from_an_old_copy_is_noticed(ends):
    ends.send(b"first")
    old = (ends.folder / "alice.key.ledger").read_bytes()
    ends.send(b"second")
    (ends.folder / "alice.key.ledger").write_bytes(old)

    with pytest.raises(KeyAlreadyTakenError, match="old ledger"):
        ends.send(b"third")


@pytest.mark.parametrize("torn", [b'{"burnt": "se', b"\0\0\0\0", b'{"burnt": "sent", "offset": 8, "bytes": 40}'])
def test_a_line_that_never_became_durable_is_cut_off(ends, torn):
    ends.pad(Party.ALICE)
    ledger = ends.folder / "alice.key.ledger"
    whole = ledger.read_bytes()
    ledger.write_bytes(whole + torn)

    assert ends.receive(ends.send(b"hello")) == b"hello"
    assert ledger.read_bytes().startswith(whole + b'{"burnt": "sent", "offset": 24, "bytes": 21}\n')


@pytest.mark.parametrize("line", [b"nonsense\n", b'{"burnt": "lost", "offset": 8, "bytes": 4}\n', b'{"burnt": "sent"}\n', b"[]\n"])
def test_a_ledger_that_cannot_be_read_stops_everything(ends, line):
    ends.pad(Party.ALICE)
    with (ends.folder / "alice.key.ledger").open("ab") as ledger:
        ledger.write(line)

    with pytest.raises(KeyStoreError, match="line 2"):
        ends.send(b"hello")


def test_the_ledger_says_what_was_spent_on_what(ends):
    ends.receive(ends.send(b"hello"))

    lines = [json.loads(line) for line in (ends.folder / "bob.key.ledger").read_text(encoding="utf-8").splitlines()]
    assert lines[0]["end"] == "bob"
    assert lines[1] == {"burnt": "received", "offset": 24, "bytes": 21}
    assert (ends.folder / "bob.key.ledger").stat().st_mode & 0o077 == 0


def test_key_is_burnt_on_disk_before_it_is_read(ends, monkeypatch):
    pad = ends.pad(Party.ALICE)
    true_read = Pad.read
    seen = []

    def watched(self, offset, count_bytes):
        if offset >= PAD_ID_BYTES + TAG_KEY_BYTES:
            lines = [json.loads(line) for line in self.ledger_path.read_text(encoding="utf-8").splitlines()[1:]]
            seen.append(any(line["offset"] <= offset and offset + count_bytes <= line["offset"] + line["bytes"] for line in lines))
        return true_read(self, offset, count_bytes)

    monkeypatch.setattr(Pad, "read", watched)
    (ends.folder / "message").write_bytes(b"hello")
    encrypt_file(pad, ends.folder / "message", ends.folder / "message.otp")

    assert len(seen) > 1
    assert all(seen)


def test_a_header_is_sixty_four_bytes_and_reads_back(ends):
    pad = ends.pad(Party.ALICE)
    header = FileHeader(pad.name, Party.ALICE, 24, Contents(123))

    assert len(header.encoded()) == 64
    assert FileHeader.decoded(header.encoded(), what="it") == header
