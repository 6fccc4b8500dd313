"""The one-time pad from Python, with key from the stores of two nodes."""

import io
import socket
import threading

import pytest

from common.api.pads import PadClient
from common.channel.codec import Party
from common.errors import AuthenticationError, ConfigurationError, KeyAlreadyTakenError, KeyExhaustedError, TransportError
from tests.support.pads import ServedEnds

BLOCK_BITS = 8 * (2 * 10_000 + 32)
"""Ten thousand bytes of pad for each direction."""


@pytest.fixture
def ends(tmp_path):
    both = ServedEnds(tmp_path, BLOCK_BITS)
    yield both
    both.close()
    assert both.faults() == []


def pads(ends):
    return [PadClient.of_socket(ends.nodes[party].socket) for party in Party]


def test_a_message_goes_there_and_an_answer_comes_back(ends):
    alice, bob = pads(ends)
    before = alice.left_bits()

    assert (alice.end, bob.end) == ("alice", "bob")
    assert bob.decrypt(alice.encrypt(b"meet me at noon")) == b"meet me at noon"
    assert alice.decrypt(bob.encrypt(bytearray(b"yes"), pad_to=64)) == b"yes"
    assert before - alice.left_bits() == 8 * (15 + 16)


def test_an_altered_message_is_refused_and_the_true_one_still_decrypts_once(ends):
    alice, bob = pads(ends)
    encrypted = alice.encrypt(b"meet me at noon")
    altered = bytearray(encrypted)
    altered[-20] ^= 1

    with pytest.raises(AuthenticationError):
        bob.decrypt(altered)
    assert bob.decrypt(encrypted) == b"meet me at noon"
    with pytest.raises(KeyAlreadyTakenError):
        bob.decrypt(encrypted)


def test_too_little_key_says_how_many_bits_and_how_long(ends):
    alice, _ = pads(ends)
    with pytest.raises(KeyExhaustedError) as short:
        alice.encrypt(bytes(10_001))

    assert (short.value.missing_bits, short.value.wait_seconds) == (8 * 17, 12.5)
    assert alice.left_bits() == 80_000


def test_a_stream_passes_a_socket_while_it_is_written(ends):
    alice, bob = pads(ends)
    here, there = socket.socketpair()
    heard: list[bytes] = []

    def listen():
        with there, there.makefile("rb") as source, bob.decrypting(source) as stream:
            heard.extend(stream)

    listening = threading.Thread(target=listen)
    listening.start()
    with here, here.makefile("wb") as sink, alice.encrypting(sink, 500) as stream:
        for number in range(20):
            stream.write(bytes([number]) * 100)
    listening.join(30)

    assert b"".join(heard) == b"".join(bytes([number]) * 100 for number in range(20))
    assert stream.count_key_bytes == 2000 + 5 * 33


def test_a_client_outlives_the_connections_and_a_restart_of_its_node(ends):
    alice, bob = pads(ends)
    first = alice.encrypt(b"first")
    ends.restart(Party.ALICE)
    ends.restart(Party.BOB)

    assert bob.decrypt(alice.encrypt(b"second")) == b"second"
    assert bob.decrypt(first) == b"first"


def test_files_and_pictures_pass_as_the_command_passes_them(ends, tmp_path):
    alice, bob = pads(ends)
    (tmp_path / "letter").write_bytes(b"letter")
    passed = alice.encrypt_file(tmp_path / "letter", tmp_path / "letter.otp")
    bob.decrypt_file(tmp_path / "letter.otp", tmp_path / "read")

    assert (passed.message_bits, passed.key_bits) == (48, 48 + 128)
    assert (tmp_path / "read").read_bytes() == b"letter"


def test_a_key_file_serves_as_a_node_does(tmp_path):
    for name in ("alice", "bob"):
        (tmp_path / f"{name}.key").touch(mode=0o600)
        (tmp_path / f"{name}.key").write_bytes(bytes(range(250)) * 40)
    alice, bob = PadClient.of_key_file(tmp_path / "alice.key"), PadClient.of_key_file(tmp_path / "bob.key", "bob")
    sink = io.BytesIO()
    with alice.encrypting(sink) as stream:
        stream.write(b"stream")
    with bob.decrypting(io.BytesIO(sink.getvalue())) as reading:
        assert reading.read() == b"stream"
    with pytest.raises(ConfigurationError, match="say alice or bob"):
        PadClient.of_key_file(tmp_path / "alice.key", "eve")


def test_no_node_is_an_error_that_says_so(tmp_path):
    with pytest.raises(TransportError, match="start the service"):
        PadClient.of_socket(tmp_path / "admin.sock")
