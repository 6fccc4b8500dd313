"""The page is shown to whom it is meant for, and whoever asks badly, slowly or too often costs the node nothing."""

import asyncio
import contextlib
import socket

import pytest

from common.dashboard import connection
from common.dashboard.web import Web
from tests.unit.dashboard.test_page import FRESH, seen
from tests.unit.service.nodes import free_port


class Shown:
    """What is shown of a node that has measured nothing."""

    async def status(self):
        return FRESH

    async def trouble(self):
        return []

    async def obstacles(self):
        return []

    async def seen(self):
        return seen()


@contextlib.asynccontextmanager
async def serving(bind="127.0.0.1", names=()):
    web = Web(bind, free_port(), Shown(), names)
    await web.start()
    try:
        yield web.port
    finally:
        await web.stop()


async def answered(port, head="GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"):
    """Everything that is answered to these lines."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head.encode())
    try:
        return (await asyncio.wait_for(reader.read(), 10)).decode()
    finally:
        writer.close()


def asked(host, bind="127.0.0.1", names=()):
    async def run():
        async with serving(bind, names) as port:
            said = "" if host is None else f"Host: {host}\r\n"
            return await answered(port, f"GET /metrics HTTP/1.{0 if host is None else 1}\r\n{said}Connection: close\r\n\r\n")

    return asyncio.run(run())


@pytest.mark.parametrize("host", ["127.0.0.1:9401", "127.0.0.1", "localhost:9401", "LOCALHOST", "[::1]:9401", "alice.localhost", None])
def test_who_asks_for_this_machine_is_answered(host):
    assert " 200 OK" in asked(host)


@pytest.mark.parametrize(
    "host", ["rebound.example:9401", "rebound.example", "127.0.0.1.example", "localhost.example", "", "[::1", "::::", "\xa0"]
)
def test_a_page_elsewhere_whose_name_was_turned_to_this_machine_reads_nothing(host):
    said = asked(host)

    assert " 421 " in said or " 400 " in said
    assert "qkd_uptime_seconds" not in said


def test_a_name_that_a_proxy_passes_on_is_answered_once_it_is_given():
    assert " 200 OK" in asked("qkd.example:443", names=("QKD.example",))
    assert " 421 " in asked("other.example:443", names=("QKD.example",))


def test_on_an_address_for_others_any_name_is_answered_unless_names_are_given():
    assert " 200 OK" in asked("alice:9401", bind="0.0.0.0")
    assert " 421 " in asked("alice:9401", bind="0.0.0.0", names=("bob",))


def test_silent_connections_make_room_for_one_that_asks(monkeypatch):
    monkeypatch.setattr(connection, "MOST_CONNECTIONS", 8)

    async def run():
        async with serving() as port:
            silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(40)]
            said = await answered(port)
            ended = [await asyncio.wait_for(reader.read(), 10) for reader, _ in silent[:32]]
            still = [reader.at_eof() for reader, _ in silent[-7:]]
            for _, writer in silent:
                writer.close()
            return said, ended, still

    said, ended, still = asyncio.run(run())
    assert " 200 OK" in said
    assert ended == [b""] * 32
    assert still == [False] * 7


@pytest.mark.parametrize(
    "begun", [b"", b"GET / HTTP/1.1\r\nHost: local", b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nx"]
)
def test_a_connection_ends_after_its_time_whatever_it_waits_for(monkeypatch, begun):
    monkeypatch.setattr(connection, "LIFE_SECONDS", 0.3)

    async def run():
        async with serving() as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(begun)
            with contextlib.suppress(ConnectionError):
                await asyncio.wait_for(reader.read(), 5)
            writer.close()

    asyncio.run(run())


def test_who_takes_no_answer_in_is_hung_up_on(monkeypatch):
    monkeypatch.setattr(connection, "LIFE_SECONDS", 0.5)
    monkeypatch.setattr(connection, "ANSWER_SECONDS", 0.2)

    async def run():
        web = Web("127.0.0.1", free_port(), Shown())
        await web.start()
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.connect(("127.0.0.1", web.port))
            deaf.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * 1000)
            await asyncio.sleep(0.3)
            before = web.count_open
            for _ in range(100):
                if not web.count_open:
                    break
                await asyncio.sleep(0.05)
            after = web.count_open
        await web.stop()
        return before, after

    assert asyncio.run(run()) == (1, 0)


def test_what_is_no_request_is_answered_with_the_same_headers():
    async def run():
        async with serving() as port:
            return await answered(port, "nonsense <script>\r\n\r\n")

    said = asyncio.run(run())
    assert " 400 " in said
    assert "Content-Security-Policy: default-src 'none'" in said
    assert "X-Content-Type-Options: nosniff" in said
    assert "<script>" not in said
