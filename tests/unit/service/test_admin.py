"""The admin socket: bounded, ours alone, and key goes over it raw."""

import asyncio
import stat
import threading

import pytest

from common.errors import ConfigurationError, KeyExhaustedError, QkdError, TransportError
from common.service.admin import AdminServer, Answer
from common.service.admin_client import AdminClient


async def give(request):
    return Answer({"asked": request["count"]}, bytearray(b"k" * request["count"]))


async def short(_request):
    raise KeyExhaustedError("8 bits missing")


async def broken(_request):
    raise ZeroDivisionError


def asked(path, question):
    """Serve while ``question`` runs in a thread."""

    async def scenario():
        server = AdminServer(path, {"give": give, "short": short, "broken": broken})
        await server.start()
        try:
            return await asyncio.to_thread(question)
        finally:
            await server.stop()

    return asyncio.run(scenario())


def test_answers_and_key_come_back(tmp_path):
    def question():
        with AdminClient(tmp_path / "admin.sock") as client:
            return [client.ask_for_key("give", count=count) for count in (3, 0, 100_000)]

    assert asked(tmp_path / "admin.sock", question) == [({"asked": count}, bytearray(b"k" * count)) for count in (3, 0, 100_000)]


def test_an_error_comes_back_as_itself(tmp_path):
    def question():
        with AdminClient(tmp_path / "admin.sock") as client:
            with pytest.raises(KeyExhaustedError, match="8 bits missing"):
                client.ask("short")
            with pytest.raises(QkdError, match="mistake of ours: ZeroDivisionError"):
                client.ask("broken")
            with pytest.raises(ConfigurationError, match="known are give, short, broken"):
                client.ask("unheard of")

    asked(tmp_path / "admin.sock", question)


def test_the_socket_is_ours_alone_also_where_its_path_is_long(tmp_path):
    path = tmp_path / ("x" * 100) / "admin.sock"

    def question():
        with AdminClient(path) as client:
            client.ask("give", count=0)
        return stat.S_IMODE(path.stat().st_mode)

    assert asked(path, question) == 0o600


def test_an_endless_request_is_cut_off(tmp_path):
    def question():
        with AdminClient(tmp_path / "admin.sock") as client, pytest.raises(TransportError):
            client.ask("give", count=0, rubbish="x" * (3 << 20) + "y" * (3 << 20))

    asked(tmp_path / "admin.sock", question)


def test_without_a_daemon_the_answer_says_what_to_do(tmp_path):
    with pytest.raises(TransportError, match="start the service"):
        AdminClient(tmp_path / "admin.sock")

    assert threading.active_count() < 50
