"""Keys from Python: real nodes' delivery with key in their stores, and servers that answer as no node should."""

import contextlib
import json
import resource
import socket
import ssl
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from common.api import keys as keys_module
from common.api.keys import Key, KeyClient
from common.channel.codec import Party
from common.delivery.refusals import KEYS_NOT_FOUND
from common.errors import (
    AuthenticationError,
    ConfigurationError,
    KeyExhaustedError,
    KeyNotFoundError,
    PeerNotMetError,
    QkdError,
    TransportError,
)
from common.keystore.ownership import Pool
from tests.support.certificates import of_another_authority
from tests.support.deliveries import RATE, DeliveringEnds
from tests.unit.service.nodes import free_port

BLOCK_BITS = 80_000


@pytest.fixture(scope="module")
def ends(tmp_path_factory):
    both = DeliveringEnds(tmp_path_factory.mktemp("ends"), BLOCK_BITS)
    yield both
    both.stop()
    assert both.faults() == []


def test_three_calls_give_both_ends_the_same_key_and_overwrite_it(ends):
    with ends.client("alice") as alice, ends.client("bob") as bob, alice.take("sae-bob", 256) as ours:
        with bob.fetch("sae-alice", ours.key_id) as theirs:
            assert theirs.secret == ours.secret
            assert theirs.key_id == ours.key_id
            assert any(ours.secret)
        assert not any(theirs.secret)
    assert not any(ours.secret)
    assert len(ours.secret) == 32


def test_keys_in_numbers_come_back_in_the_order_asked_for(ends):
    with ends.client("bob") as bob, ends.client("alice") as alice:
        ours = bob.take_many("sae-alice", 5, 64)
        theirs = alice.fetch_many("sae-bob", [key.key_id for key in reversed(ours)])

    assert [key.secret for key in theirs] == [key.secret for key in reversed(ours)]


def test_a_repr_shows_no_key():
    key = Key(str(uuid.UUID(int=1)), bytearray(b"secret"))

    assert repr(key) == f"Key(key_id='{uuid.UUID(int=1)}', provenance=())"


def test_the_stock_counts_what_can_be_had(ends):
    with ends.client("alice") as alice:
        before = alice.stock("sae-bob")
        alice.take("sae-bob", before.key_bits)
        after = alice.stock("sae-bob")

    assert (before.key_bits, before.least_key_bits, before.most_key_bits) == (256, 8, 8192)
    assert after.count_stored == before.count_stored - 1


def test_too_little_key_says_how_many_bits_and_how_long(ends):
    with ends.client("alice") as alice, pytest.raises(KeyExhaustedError) as short:
        alice.take_many("sae-bob", 100, 8192)
    left = ends.stores[Party.ALICE].levels().pool_bits[Pool.ALICE_DELIVERY]

    assert short.value.missing_bits == 100 * 8192 - left
    assert short.value.wait_seconds == pytest.approx((100 * 8192 - left) / (RATE / 2), abs=0.1)


def test_a_key_is_fetched_once_and_only_by_whom_it_is_for(ends):
    with ends.client("alice") as alice, ends.client("bob") as bob:
        key_id = alice.take("sae-bob").key_id
        with pytest.raises(AuthenticationError, match="not authorised"):
            bob.fetch("sae-other", key_id)
        bob.fetch("sae-alice", key_id)
        with pytest.raises(KeyNotFoundError):
            bob.fetch("sae-alice", str(uuid.UUID(int=7)))
        with pytest.raises(KeyNotFoundError, match="UUID"):
            bob.fetch("sae-alice", "no number")


@pytest.mark.parametrize(
    ("ask", "error", "said"),
    [
        (lambda keys: keys.take("sae-bob", 12), ConfigurationError, "multiple of 8; size: 12"),
        (lambda keys: keys.take("nobody"), ConfigurationError, "not known at the target"),
        (lambda keys: keys.take_many("sae-bob", 0), ConfigurationError, "number shall be"),
    ],
)
def test_what_a_node_refuses_is_an_error_that_says_why(ends, ask, error, said):
    with ends.client("alice") as alice, pytest.raises(error, match=said):
        ask(alice)


def test_a_stranger_is_refused_and_told_so(ends, tmp_path):
    with ends.client("alice", as_node="bob") as unknown, pytest.raises(AuthenticationError, match="stands for no SAE"):
        unknown.take("sae-bob")
    certificate, key = of_another_authority(tmp_path, "eve")
    with ends.client("alice", certificate=certificate, key=key) as eve, pytest.raises((AuthenticationError, TransportError)):
        eve.take("sae-bob")
    with ends.client("alice", authority=certificate) as trusting, pytest.raises(AuthenticationError, match="not good for it"):
        trusting.take("sae-bob")


def test_a_connection_that_the_node_has_ended_is_opened_anew(ends):
    with ends.client("alice") as alice:
        alice.take("sae-bob")
        connections = ends.deliveries[0]._door._places
        ends.run(hang_up(connections))
        assert alice.take("sae-bob").key_id


async def hang_up(places):
    for place in tuple(places):
        place.connection.force_close()


def test_the_peer_away_is_an_error_of_its_own(tmp_path):
    both = DeliveringEnds(tmp_path, BLOCK_BITS)
    try:
        both.run(both.deliveries[1]._peer.stop())
        both._loop.call_soon_threadsafe(both.deliveries[0]._peer._close)
        with both.client("alice") as alice, pytest.raises(PeerNotMetError, match="other KME"):
            alice.take("sae-bob")
    finally:
        both.stop()


@pytest.mark.parametrize(
    "address", ["localhost:8443", "http://localhost:8443", "https://localhost", "https://localhost:8443/api", "https://[", ""]
)
def test_an_address_that_is_none_is_refused(address):
    with pytest.raises(ConfigurationError, match="write https://HOST:PORT"):
        KeyClient(address, certificate="x", key="x", authority="x")


def test_files_that_cannot_be_used_are_named(ends, tmp_path):
    with pytest.raises(ConfigurationError, match=r"authority .*nothing: No such file"):
        ends.client("alice", authority=tmp_path / "nothing")
    (tmp_path / "empty").touch()
    with pytest.raises(ConfigurationError, match=r"certificate .*empty"):
        ends.client("alice", certificate=tmp_path / "empty")


def test_nobody_there_is_an_error_that_says_so(ends):
    ends.addresses["nobody"] = f"https://localhost:{free_port()}"
    with ends.client("nobody", as_node="alice") as keys, pytest.raises(TransportError, match="Connection refused"):
        keys.take("sae-bob")


# ------------------------------------------------------------------------------------------------ servers that are no nodes


@contextlib.contextmanager
def answering(folder, *answers):
    """Answer requests one after another with (status, body); None hangs up. The requests that came are collected."""
    came, left = [], list(answers)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            came.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
            answer = left.pop(0)
            if answer is None:
                self.close_connection = True
                return
            status, body = answer
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "alice.crt", folder / "alice.key")
    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"https://localhost:{server.server_port}", came
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


def client_of(ends, address):
    ends.addresses["other"] = address
    return ends.client("other", as_node="alice")


GIVEN = str(uuid.UUID(int=3))


def container(key_id=GIVEN, key="AAEC"):
    return json.dumps({"keys": [{"key_ID": key_id, "key": key}]}).encode()


def test_an_answer_that_is_lost_is_asked_for_again_where_that_is_safe(ends):
    with answering(ends.folder, None, (200, container())) as (address, came), client_of(ends, address) as keys:
        assert keys.fetch("sae-bob", GIVEN).secret == bytes((0, 1, 2))
    with (
        answering(ends.folder, None, (200, container())) as (address, asked),
        client_of(ends, address) as keys,
        pytest.raises(TransportError),
    ):
        keys.take("sae-bob", 24)

    assert came[0] == came[1]
    assert len(asked) == 1


@pytest.mark.parametrize(
    "answer",
    [
        (200, b"no JSON"),
        (200, b"[]"),
        (200, b'{"keys": [{"key_ID": "1"}]}'),
        (200, b'{"keys": 3}'),
        (200, container(key="not base64")),
        (200, container(key="\xe4AEC")),
        (200, b"[" * 100_000),
        (503, b'{"message": ' * 50_000),
        (200, b'{"keys": []}'),
        (200, container(key="AAE=")),
        (500, b'{"message": "broken"}'),
        (503, b'{"message": "later", "details": "no list"}'),
    ],
)
def test_whatever_a_server_answers_the_error_is_ours(ends, answer):
    with answering(ends.folder, answer) as (address, _), client_of(ends, address) as keys, pytest.raises(TransportError):
        keys.take("sae-bob", 24)


def test_an_answer_that_drips_is_given_up_after_the_time_for_all_of_it(ends):
    def drip(listening, context, stopping):
        with contextlib.suppress(OSError), context.wrap_socket(listening.accept()[0], server_side=True) as node:
            node.recv(1 << 16)
            node.sendall(b"HTTP/1.1 200 OK\r\nX: ")
            while not stopping.wait(0.1):
                node.sendall(b"y")

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(ends.folder / "alice.crt", ends.folder / "alice.key")
    stopping = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=drip, args=(listening, context, stopping))
        thread.start()
        ends.addresses["other"] = f"https://localhost:{listening.getsockname()[1]}"
        began = time.monotonic()
        try:
            with ends.client("other", as_node="alice", timeout_seconds=1.0) as keys, pytest.raises(TransportError, match="in time"):
                keys.take("sae-bob", 24)
            assert time.monotonic() - began < 5.0
        finally:
            stopping.set()
            thread.join()


def test_a_program_with_thousands_of_open_files_is_served(ends):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        with contextlib.ExitStack() as open_files, ends.client("alice") as alice:
            for _ in range(1100):
                open_files.enter_context(Path("/dev/null").open("rb"))
            for _ in range(2):
                alice.take("sae-bob", 64)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_another_key_than_the_one_asked_for_is_not_given(ends):
    with (
        answering(ends.folder, (200, container(str(uuid.UUID(int=4))))) as (address, _),
        client_of(ends, address) as keys,
        pytest.raises(TransportError, match="other keys than were asked for"),
    ):
        keys.fetch("sae-bob", GIVEN)


def test_an_answer_without_end_is_given_up(ends, monkeypatch):
    monkeypatch.setattr(keys_module, "MOST_ANSWER_BYTES", 100)
    with (
        answering(ends.folder, (200, b" " * 1000)) as (address, _),
        client_of(ends, address) as keys,
        pytest.raises(TransportError, match="more than 100 bytes"),
    ):
        keys.take("sae-bob")


def test_the_words_of_the_standard_are_the_same_at_both_sides():
    assert keys_module.KEYS_NOT_FOUND == KEYS_NOT_FOUND
    assert issubclass(KeyExhaustedError, QkdError)
