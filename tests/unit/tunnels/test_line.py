"""Questions reach the peer they are for and come from the one they seem to, or not at all; whatever else is sent ends its connection."""

import asyncio
import contextlib
import socket
import ssl

import pytest

from common.cli.certificates import Authority
from common.errors import AuthenticationError, ConfigurationError, QkdError, RemoteProtocolError, TransportError
from common.tunnels.line import Credentials, Listener, Peers, ask
from common.tunnels.messages import MOST_BYTES, Check, Hold, State, Use, encoded, question, reply
from common.tunnels.settings import ApplicationSection, PeerSection
from tests.unit.service.nodes import free_port

KEY_ID = "00000000-0000-0000-0000-000000000001"
STATE = State(highest=3, used=KEY_ID, is_failing=False)


class Certified:
    """Two ends of one authority, and a stranger of it and one of another."""

    def __init__(self, folder) -> None:
        self.folder = folder
        authority, other = Authority("ours"), Authority("another")
        (folder / "ca.crt").write_bytes(authority.certified.certificate)
        self.fingerprints = {}
        for name, issuer in (("a", authority), ("b", authority), ("stranger", authority), ("foreign", other)):
            certified = issuer.issue(f"sae-{name}", serves=True)
            self.fingerprints[name] = certified.fingerprint
            (folder / f"{name}.crt").write_bytes(certified.certificate)
            (folder / f"{name}.key").write_bytes(certified.key)
            (folder / f"{name}.key").chmod(0o600)

    def credentials(self, name):
        section = ApplicationSection.model_validate(
            {"name": name, "certificate": f"{name}.crt", "key": f"{name}.key", "authority": "ca.crt", "node": "localhost:1"}
        )
        return Credentials(section, lambda path: self.folder / path)


@pytest.fixture(scope="module")
def certified(tmp_path_factory):
    return Certified(tmp_path_factory.mktemp("certificates"))


def peers(**known):
    return Peers({name: PeerSection.model_validate(entry) for name, entry in known.items()})


A = {"names": ["sae-a"]}
B = {"names": ["sae-b"]}


@contextlib.asynccontextmanager
async def listening(certified, known, answer, name="b"):
    port = free_port()
    listener = Listener(f"127.0.0.1:{port}", certified.credentials(name).of_peers, known, answer)
    await listener.start()
    try:
        yield listener, f"127.0.0.1:{port}"
    finally:
        await listener.stop()


def exchange(certified, *, listener="b", asker="a", known_to_listener=None, known_to_asker=None, seconds=5.0, answer=STATE):
    """What the asker gets, or the error, and whom the listener took it for."""
    heard = []

    async def answered(peer, asked):
        heard.append((peer, asked))
        return answer

    async def run():
        async with listening(certified, known_to_listener or peers(a=A), answered, listener) as (_, address):
            context = certified.credentials(asker).to_peer
            return await ask(Check(), "b", address, context, known_to_asker or peers(b=B), seconds)

    try:
        return asyncio.run(run()), heard
    except QkdError as refused:
        return refused, heard


async def until(holds):
    for _ in range(200):
        if holds():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it did not come about")


def test_a_question_reaches_the_peer_and_its_answer_comes_back(certified):
    assert exchange(certified) == (STATE, [("a", Check())])


def test_peers_are_known_by_fingerprints_as_well(certified):
    known = peers(a={"fingerprints": [certified.fingerprints["a"].upper()]})

    assert exchange(certified, known_to_listener=known) == (STATE, [("a", Check())])


@pytest.mark.parametrize("asker", ["stranger", "foreign", "b"])
def test_who_is_no_peer_is_not_heard(certified, asker):
    refused, heard = exchange(certified, asker=asker)

    assert isinstance(refused, (AuthenticationError, TransportError))
    assert heard == []


@pytest.mark.parametrize("listener", ["stranger", "foreign", "a"])
def test_a_peer_that_is_another_is_asked_nothing(certified, listener):
    refused, heard = exchange(certified, listener=listener)

    assert isinstance(refused, AuthenticationError)
    assert heard == []


def test_a_certificate_that_is_two_peers_is_nobodys(certified):
    known = peers(a=A, other={"fingerprints": [certified.fingerprints["a"]]})

    assert exchange(certified, known_to_listener=known)[1] == []
    with pytest.raises(ConfigurationError, match=r"peer.other: name sae-a is that of peer.a as well"):
        peers(a=A, other=A)


def test_a_peer_that_says_nothing_is_left(certified):
    async def run():
        async def silent(_peer, _asked):
            await asyncio.sleep(60)

        async with listening(certified, peers(a=A), silent) as (_, address):
            await ask(Check(), "b", address, certified.credentials("a").to_peer, peers(b=B), 0.5)

    with pytest.raises(TransportError, match=r"no answer for 0.5 s"):
        asyncio.run(run())


def test_a_peer_that_is_not_there_is_said(certified):
    with pytest.raises(TransportError, match="peer b at"):
        asyncio.run(ask(Check(), "b", f"127.0.0.1:{free_port()}", certified.credentials("a").to_peer, peers(b=B), 5.0))


@pytest.mark.parametrize("sent", [b"x" * (4 * MOST_BYTES), b"{}\n", b'{"kind":"check"', b"\xff\n"])
def test_what_is_no_question_ends_its_connection_and_nothing_else(certified, sent):
    async def answered(_peer, _asked):
        return STATE

    async def run():
        async with listening(certified, peers(a=A), answered) as (listener, address):
            host, _, port = address.rpartition(":")
            context = certified.credentials("a").to_peer
            reader, writer = await asyncio.open_connection(host, int(port), ssl=context)
            writer.write(sent)
            writer.write_eof() if writer.can_write_eof() else writer.transport.abort()
            with contextlib.suppress(OSError):
                assert await reader.read() == b""
            writer.transport.abort()
            for _ in range(100):
                if listener.count_refused:
                    break
                await asyncio.sleep(0.05)
            assert listener.count_refused == 1
            assert await ask(Check(), "b", address, context, peers(b=B), 5.0) == STATE

    asyncio.run(run())


def test_a_stranger_who_shakes_no_hands_is_hung_up_on(certified, monkeypatch):
    monkeypatch.setattr("common.tunnels.line.HANDSHAKE_SECONDS", 0.3)

    async def unasked(_peer, _asked):
        raise AssertionError("nothing was asked")

    async def run():
        async with listening(certified, peers(a=A), unasked) as (listener, address):
            host, _, port = address.rpartition(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            with contextlib.suppress(OSError):
                assert await asyncio.wait_for(reader.read(), 10) == b""
            writer.transport.abort()
            assert listener.count_refused == 1

    asyncio.run(run())


def test_a_peer_that_asks_much_at_a_time_takes_no_place_of_another(certified, monkeypatch):
    monkeypatch.setattr("common.tunnels.line.MOST_CONNECTIONS", 8)
    ready = asyncio.Event()

    async def answered(peer, _asked):
        if peer == "a":
            await ready.wait()
        return STATE

    async def run():
        known = peers(a=A, other={"names": ["sae-stranger"]})
        async with listening(certified, known, answered) as (listener, address):
            context = certified.credentials("a").to_peer
            asking = [asyncio.create_task(ask(Check(), "b", address, context, peers(b=B), 10.0)) for _ in range(8)]
            await until(lambda: listener.count_refused == 4)
            assert await ask(Check(), "b", address, certified.credentials("stranger").to_peer, peers(b=B), 10.0) == STATE
            ready.set()
            ended = await asyncio.gather(*asking, return_exceptions=True)
            return ended.count(STATE), [type(end) for end in ended if end != STATE]

    assert asyncio.run(run()) == (4, [TransportError] * 4)


def test_one_address_does_not_take_all_places_with_handshakes(certified, monkeypatch):
    monkeypatch.setattr("common.tunnels.line.MOST_CONNECTIONS", 8)
    monkeypatch.setattr("common.tunnels.line.MOST_HANDSHAKES_OF_ONE", 4)

    async def answered(_peer, _asked):
        return STATE

    async def run():
        async with listening(certified, peers(a=A), answered) as (listener, address):
            host, _, port = address.rpartition(":")
            silent = [await asyncio.open_connection(host, int(port)) for _ in range(8)]
            await until(lambda: listener.count_refused == 4)
            elsewhere = socket.socket()
            elsewhere.bind(("127.0.0.2", 0))
            elsewhere.connect((host, int(port)))
            reader, writer = await asyncio.open_connection(sock=elsewhere, ssl=certified.credentials("a").to_peer, server_hostname="b")
            writer.write(encoded(Check()))
            said = reply(await reader.readuntil())
            for _, open_one in (*silent, (reader, writer)):
                open_one.transport.abort()
            return said

    assert asyncio.run(run()) == STATE


def test_an_address_that_is_taken_is_refused_by_name(certified):
    async def unasked(_peer, _asked):
        raise AssertionError("nothing was asked")

    async def run():
        with socket.create_server(("127.0.0.1", 0)) as taken:
            await Listener(f"127.0.0.1:{taken.getsockname()[1]}", certified.credentials("b").of_peers, peers(a=A), unasked).start()

    with pytest.raises(ConfigurationError, match=r"agreement.bind 127.0.0.1:\d+: Address already in use"):
        asyncio.run(run())


def test_a_key_that_others_may_read_is_refused(certified, tmp_path):
    for name in ("a.crt", "a.key", "ca.crt"):
        (tmp_path / name).write_bytes((certified.folder / name).read_bytes())
    (tmp_path / "a.key").chmod(0o644)
    section = ApplicationSection.model_validate(
        {"name": "a", "certificate": "a.crt", "key": "a.key", "authority": "ca.crt", "node": "localhost:1"}
    )
    with pytest.raises(ConfigurationError, match="others may read it"):
        Credentials(section, lambda path: tmp_path / path)


def test_only_tls_1_3_is_spoken(certified):
    credentials = certified.credentials("b")

    assert credentials.of_peers.minimum_version == credentials.to_peer.minimum_version == ssl.TLSVersion.TLSv1_3
    assert credentials.of_peers.verify_mode == credentials.to_peer.verify_mode == credentials.to_node.verify_mode == ssl.CERT_REQUIRED
    assert credentials.to_node.check_hostname


@pytest.mark.parametrize("message", [Check(), Hold(round=1, key_id=KEY_ID), Use(round=1, key_id=KEY_ID)])
def test_a_question_reads_back(message):
    assert question(encoded(message)) == message


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{}\n",
        b'{"kind":"hold","round":1}\n',
        b'{"kind":"hold","round":"1","key_id":"%s"}\n' % KEY_ID.encode(),
        b'{"kind":"hold","round":-1,"key_id":"%s"}\n' % KEY_ID.encode(),
        b'{"kind":"hold","round":9007199254740992,"key_id":"%s"}\n' % KEY_ID.encode(),
        b'{"kind":"hold","round":1,"key_id":"../secret"}\n',
        b'{"kind":"check","more":1}\n',
        b'{"kind":"held","key_id":"%s"}\n' % KEY_ID.encode(),
        b'{"kind":"check"}',
        b'{"kind":"check"}' + b" " * MOST_BYTES + b"\n",
    ],
)
def test_what_is_no_question_is_refused(line):
    with pytest.raises(RemoteProtocolError):
        question(line)


@pytest.mark.parametrize("line", [b"", b"[]\n", b'{"kind":"check"}\n', b'{"kind":"held","key_id":7}\n', b'{"kind":"used"}\n'])
def test_what_is_no_answer_is_refused(line):
    with pytest.raises(RemoteProtocolError):
        reply(line)
