"""The client of the actuators against the emulator's board, and against servers that answer badly or not at all."""

import asyncio
import contextlib
import runpy
import socket
import threading

import pytest

from common.emulator.actuators import ActuatorBoard, link_actuators
from common.emulator.link import LinkEmulator
from common.errors import ConfigurationError, StreamError
from common.profiles.link import load_profile
from common.service.actuators import ActuatorClient, Position
from common.service.streams import StreamAddress
from tests.support.tree import ROOT
from tests.unit.service.nodes import free_port


async def answering(folder, answer, ask, answer_seconds=5.0):
    """Serve every line by a function, and ask; what the client returns."""

    serving: list[asyncio.Task[None]] = []

    async def serve(reader, writer):
        if (task := asyncio.current_task()) is not None:
            serving.append(task)
        with contextlib.suppress(OSError):
            while line := await reader.readline():
                writer.write(answer(line))
                await writer.drain()
        writer.close()

    server = await asyncio.start_unix_server(serve, folder / "a.sock")
    client = ActuatorClient(StreamAddress.parse("unix:a.sock", folder), answer_seconds)
    try:
        return await ask(client), client.counts
    finally:
        await client.close()
        server.close()
        await asyncio.gather(*serving, return_exceptions=True)


def test_the_shifter_of_an_emulated_link_is_turned_and_asked(tmp_path):
    link = LinkEmulator(load_profile("timebin-120km"), 10.0, seed=1)
    board = ActuatorBoard(link_actuators(link), lambda: 3.5)

    async def ask(client):
        return await client.set("phase", 0.25), await client.get("phase")

    (turned, asked), counts = asyncio.run(answering(tmp_path, board.answer, ask))

    assert turned == asked == Position("phase", 0.25, 3.5)
    assert link.drift.positions == {"phase": 0.25}
    assert (counts.requests, counts.refused, counts.failed) == (2, 0, 0)


def test_a_refusal_says_why_and_the_connection_stays(tmp_path):
    board = ActuatorBoard(link_actuators(LinkEmulator(load_profile("niedersachsen"), 10.0, seed=1)), lambda: 0.0)

    async def ask(client):
        with pytest.raises(ConfigurationError, match="actuator 'phase': unknown; there are eve, loss_db, plate1, plate2, plate3"):
            await client.set("phase", 0.1)
        return await client.set("plate3", 0.5)

    turned, counts = asyncio.run(answering(tmp_path, board.answer, ask))

    assert turned.position == 0.5
    assert (counts.requests, counts.refused, counts.failed) == (2, 1, 0)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"no JSON\n", "the answer is not JSON"),
        (b"[" * 3000 + b"\n", "the answer is not JSON"),
        (b'{"name": "plate2", "position": 1}\n', "does not say name = 'plate1' and a position"),
        (b'{"name": "plate1", "position": NaN}\n', "does not say name = 'plate1' and a position"),
        (b'{"name": "plate1", "position": true}\n', "does not say name = 'plate1' and a position"),
        (b'{"name": "plate1", "position": 1, "link_seconds": "now"}\n', "link_seconds of plate1 is not a number"),
        (b"x" * 5000 + b"\n", "an answer of more than 4096 bytes"),
        (b"", "no answer within 0.3 s"),
    ],
)
def test_a_bad_answer_is_named_and_the_next_request_connects_anew(tmp_path, answer, said):
    answers = iter([answer, b'{"name": "plate1", "position": 2}\n'])

    async def ask(client):
        with pytest.raises(StreamError, match=said):
            await client.set("plate1", 1.0)
        return await client.get("plate1")

    found, counts = asyncio.run(answering(tmp_path, lambda _line: next(answers), ask, answer_seconds=0.3))

    assert found == Position("plate1", 2.0, None)
    assert counts.failed == 1


def test_a_server_that_is_not_there_or_goes_is_an_error(tmp_path):
    async def nobody():
        await ActuatorClient(StreamAddress.parse("unix:none.sock", tmp_path)).get("plate1")

    with pytest.raises(StreamError, match="No such file or directory; does anybody serve them"):
        asyncio.run(nobody())

    async def ask(client):
        with pytest.raises(StreamError, match="the connection ended before an answer"):
            await client.get("plate1")

    async def closing():
        async def serve(reader, writer):
            await reader.readline()
            writer.close()
            await writer.wait_closed()

        async with await asyncio.start_unix_server(serve, tmp_path / "b.sock"):
            await ask(ActuatorClient(StreamAddress.parse("unix:b.sock", tmp_path)))

    asyncio.run(closing())


def test_a_fifo_cannot_answer(tmp_path):
    with pytest.raises(ConfigurationError, match="a FIFO cannot answer"):
        ActuatorClient(StreamAddress.parse("fifo:f", tmp_path))


def test_the_example_serves_what_the_client_asks():
    main = runpy.run_path(str(ROOT / "deploy" / "examples" / "serve_actuators.py"))["main"]
    port = free_port()
    threading.Thread(target=main, args=(port,), daemon=True).start()
    address = StreamAddress.parse(f"tcp://127.0.0.1:{port}", ROOT)

    async def ask():
        for _ in range(100):  # until it listens
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            await asyncio.sleep(0.05)
        client = ActuatorClient(address)
        with pytest.raises(ConfigurationError, match="there is plate1, plate2, plate3"):
            await client.set("plate4", 1.0)
        with pytest.raises(ConfigurationError, match="plate1: inf is not a number"):
            await client.set("plate1", float("inf"))
        turned = await client.set("plate1", 0.75)
        await client.close()
        return turned

    assert asyncio.run(ask()) == Position("plate1", 0.75, None)
