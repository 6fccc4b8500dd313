"""The door to applications: who dawdles, crowds or is judged by files of yesterday is hung up on, and the others are served."""

import asyncio
import contextlib
import socket
import ssl

import pytest
from aiohttp.web_protocol import RequestHandler
from cryptography.hazmat.primitives import serialization

from common.cli.certificates import Authority
from common.delivery import connection, door, http
from common.delivery.desk import Delivered
from common.delivery.door import Door, tls_context
from common.delivery.http import Api, Names
from common.delivery.identities import Identities, SaeFile
from common.delivery.rates import Rates
from common.delivery.rules import Limits
from common.errors import ConfigurationError, KeyStoreError
from tests.support.certificates import revocation_list

NAMES = "node", "one", "two", "nobody"
ONE_AND_TWO = {name: {"common_names": [name]} for name in ("one", "two")}
STATUS = b"GET /api/v1/keys/x/status HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An authority and certificates of it, for the node and for applications."""
    made, authority = tmp_path_factory.mktemp("door"), Authority("test")
    (made / "ca.crt").write_bytes(authority.certified.certificate)
    (made / "ca.key").write_bytes(authority.certified.key)
    for name in NAMES:
        issued = authority.issue(name, ("127.0.0.1",), serves=True) if name == "node" else authority.issue(name)
        (made / f"{name}.crt").write_bytes(issued.certificate)
        (made / f"{name}.key").write_bytes(issued.key)
    return made


class Counter:
    """A desk that holds so many bytes, or fails."""

    def __init__(self, answer=1000):
        self.answer = answer

    async def deliverable_bytes(self):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def left_of_quota_bytes(self, _master):
        return None

    async def order(self, _master, _slaves, number, count_bytes):
        return Delivered([(bytes(16), bytes(count_bytes))] * number)


class Running:
    """A door with an interface behind it."""

    def __init__(self, folder, desk, rates):
        self.folder, self.revoked, self.streams = folder, None, []
        identities = Identities(SaeFile.model_validate({"sae": ONE_AND_TWO}))
        limits = Limits()
        self.api = Api(desk, lambda: identities, limits, Names("here", "there"), rates, 10_000, self.provenance, {})
        self.read_again()
        self.door = Door("127.0.0.1", 0, lambda: self.context, self.api.connection)

    @staticmethod
    async def provenance(_blocks):
        raise KeyStoreError("the disk is full")

    def read_again(self):
        self.context = tls_context(self.folder / "node.crt", self.folder / "node.key", self.folder / "ca.crt", self.revoked)

    @property
    def address(self):
        return self.door._listening[0].getsockname()

    async def connected(self, name="one"):
        context = ssl.create_default_context(cafile=str(self.folder / "ca.crt"))
        context.check_hostname = False
        context.load_cert_chain(self.folder / f"{name}.crt", self.folder / f"{name}.key")
        streams = await asyncio.open_connection(*self.address, ssl=context)
        self.streams.append(streams)
        return streams


@contextlib.asynccontextmanager
async def running(folder, desk=None, rates=None):
    made = Running(folder, desk or Counter(), rates or Rates(1e6, 1e6))
    await made.door.start()
    try:
        yield made
    finally:
        for _, writer in made.streams:
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        await made.door.stop()
        await made.api.stop()


async def asked(streams, request=STATUS):
    """Status and headers of an answer; None where the connection was closed before."""
    reader, writer = streams
    try:
        writer.write(request)
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    return int(head.split()[1]), head


async def is_closed(streams):
    """Whether the other end closes soon."""
    try:
        return await asyncio.wait_for(streams[0].read(1), 5) == b""
    except ConnectionError:
        return True


async def until(holds):
    for _ in range(1000):
        if holds():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it never came to that")


def test_a_connection_ends_where_its_certificate_was_revoked_and_others_get_in_again(folder):
    async def scenario():
        async with running(folder) as made:
            before = await made.connected("one"), await made.connected("two")
            first = [(await asked(streams))[0] for streams in before]
            made.revoked = revocation_list(folder, folder / "revoked.pem", folder / "one.crt")
            made.read_again()
            made.door.renew()
            closed = [await is_closed(streams) for streams in before]
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                assert await asked(await made.connected("one")) is None
            return first, closed, (await asked(await made.connected("two")))[0]

    assert asyncio.run(scenario()) == ([200, 200], [True, True], 200)


def test_an_answer_under_way_is_given_before_its_connection_ends(folder):
    class Slow(Counter):
        begun, go_on = asyncio.Event(), asyncio.Event()

        async def deliverable_bytes(self):
            self.begun.set()
            await self.go_on.wait()
            return 1000

    async def scenario():
        desk = Slow()
        async with running(folder, desk) as made:
            streams = await made.connected()
            answer = asyncio.create_task(asked(streams))
            await desk.begun.wait()
            made.read_again()
            made.door.renew()
            desk.go_on.set()
            return (await answer)[0], await is_closed(streams)

    assert asyncio.run(scenario()) == (200, True)


def test_nobody_who_dawdles_over_the_handshake_takes_the_place_of_an_application(folder, monkeypatch):
    monkeypatch.setattr(door, "MOST_HANDSHAKES_OF_ONE", 3)
    monkeypatch.setattr(door, "MOST_CONNECTIONS", 2)

    async def scenario():
        async with running(folder) as made, contextlib.AsyncExitStack() as ours:
            for _ in range(2):  # as many as there are places
                ours.enter_context(socket.create_connection(made.address))
            await until(lambda: made.door._shaking.total() == 2)
            served = await asked(await made.connected())
            for _ in range(3):
                ours.enter_context(socket.create_connection(made.address))
            await until(lambda: made.door.count_crowded == 2)
            return served[0], made.door._shaking.total(), made.door.count_crowded

    assert asyncio.run(scenario()) == (200, 3, 2)


def test_one_application_has_its_share_of_connections_and_leaves_the_others_theirs(folder, monkeypatch):
    monkeypatch.setattr(http, "MOST_OF_ONE", 2)

    async def scenario():
        async with running(folder) as made:
            held = [await made.connected() for _ in range(2)]
            assert [(await asked(streams))[0] for streams in held] == [200, 200]
            surplus = await is_closed(await made.connected())
            other = (await asked(await made.connected("two")))[0]
            held[0][1].close()
            await held[0][1].wait_closed()
            await until(lambda: made.api._open["one"] == 1)
            return surplus, other, (await asked(await made.connected()))[0]

    assert asyncio.run(scenario()) == (True, 200, 200)


def test_whom_a_certificate_makes_nobody_is_told_so_and_hung_up_on(folder):
    async def scenario():
        async with running(folder) as made:
            streams = await made.connected("nobody")
            return (await asked(streams))[0], await is_closed(streams)

    assert asyncio.run(scenario()) == (401, True)


def test_who_takes_in_no_answers_is_hung_up_on(folder, monkeypatch):
    async def drained(*_):
        await asyncio.Event().wait()  # what a client does that reads nothing

    monkeypatch.setattr(connection, "ANSWER_SECONDS", 0.05)
    monkeypatch.setattr(RequestHandler, "finish_response", drained)

    async def scenario():
        async with running(folder) as made:
            answer = await asked(await made.connected())
            await until(lambda: not made.door._places)
            return answer

    assert asyncio.run(scenario()) is None


def test_an_answer_that_is_one_too_many_is_a_while_in_coming(folder, monkeypatch):
    waited = []

    async def scenario():
        async with running(folder, rates=Rates(1e-6, 1.0)) as made:
            streams = await made.connected()
            first = await asked(streams)
            monkeypatch.setattr(asyncio, "sleep", noted)
            return first[0], (await asked(streams))[0]

    async def noted(seconds):
        waited.append(seconds)

    assert asyncio.run(scenario()) == (200, 503)
    assert waited == [http.PUT_OFF_SECONDS]


def test_a_store_that_fails_is_an_answer_and_no_answer_is_kept_on_the_way(folder):
    async def scenario():
        async with running(folder, Counter(KeyStoreError("the disk is full"))) as made:
            return await asked(await made.connected())

    status, head = asyncio.run(scenario())

    assert status == 503
    assert b"cache-control: no-store" in head.lower()


def test_keys_whose_provenance_cannot_be_found_are_given_without_it(folder):
    body = b'{"number": 2, "extension_optional": [{"provenance": true}]}'
    request = b"POST /api/v1/keys/x/enc_keys HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body

    async def scenario():
        async with running(folder) as made:
            return await asked(await made.connected(), request)

    assert asyncio.run(scenario())[0] == 200


def test_a_key_under_a_password_is_refused_and_nobody_is_asked_for_it(folder, tmp_path):
    key = serialization.load_pem_private_key((folder / "node.key").read_bytes(), None)
    protected = serialization.BestAvailableEncryption(b"secret")
    (tmp_path / "node.key").write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, protected))

    with pytest.raises(ConfigurationError, match=r"delivery\.key"):
        tls_context(folder / "node.crt", tmp_path / "node.key", folder / "ca.crt", None)
