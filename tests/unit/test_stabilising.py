"""The drift compensation beside a link: steps in, requests to the actuators out, over a real socket."""

import asyncio
import contextlib
import json

import pytest

from bob.stabilising import Stabilising
from common.cli import status
from common.distillation.steps import StepReport
from common.errors import ConfigurationError
from common.profiles.link import load_profile
from common.service.settings import StabiliserSection

PROFILE = load_profile("timebin-120km")
FRAME_SECONDS = PROFILE.security.frame_pulses / PROFILE.source.clock_hz


class Server:
    """Actuators that stand where they were put; ``seconds`` is what they answer as time, or a failure."""

    def __init__(self):
        self.asked = []
        self.seconds = 0.0
        self.refuses = False

    def answer(self, line):
        request = json.loads(line)
        self.asked.append(request)
        if self.refuses:
            return {"error": "the motor is hot"}
        answer = {"name": request["set"], "position": request["value"]}
        return answer if self.seconds is None else answer | {"link_seconds": self.seconds}


def running(folder, scenario, **section):
    """Run a scenario with a server and a drift compensation that asks it."""

    async def run():
        server = Server()
        serving: list[asyncio.Task[None]] = []

        async def serve(reader, writer):
            if (task := asyncio.current_task()) is not None:
                serving.append(task)
            with contextlib.suppress(OSError):
                while line := await reader.readline():
                    writer.write(json.dumps(server.answer(line)).encode() + b"\n")
                    await writer.drain()
            writer.close()

        listening = await asyncio.start_unix_server(serve, folder / "a.sock")
        drift = Stabilising(StabiliserSection(address="unix:a.sock", acquire_bits=100, **section), PROFILE, folder)
        await drift.start()
        try:
            await asyncio.wait_for(scenario(drift, server), 20.0)
        finally:
            await drift.stop()
            listening.close()
            await asyncio.gather(*serving, return_exceptions=True)

    asyncio.run(run())


def step(number, seconds, tested=100, errors=10, block=1, **more):
    first_slot = round(seconds * PROFILE.source.clock_hz)
    return StepReport(block, number, 1, 1000, 0, (0, 0), (0, tested), (0, errors), first_slot=first_slot, **more)


async def until(condition):
    while not condition():  # noqa: ASYNC110 - a socket's other end tells nobody
        await asyncio.sleep(0.01)


def test_a_point_is_followed_by_the_next_one_and_dated_by_its_slots(tmp_path):
    async def scenario(drift, server):
        server.seconds = 5.0
        await until(lambda: len(server.asked) == 1)
        await asyncio.sleep(0.1)
        drift.note_step(step(0, 4.5))  # began before the shifter stood
        drift.note_step(step(1, 5.0))
        await until(lambda: len(server.asked) == 2)
        drift.note_step(step(1, 5.0, compared=(0, 50)))  # told of again
        report = drift.report()

        assert [request["set"] for request in server.asked] == ["phase", "phase"]
        assert [request["value"] for request in server.asked] == pytest.approx([0.0, 1.5708], abs=1e-3)
        assert (report["counts"]["bits"], report["counts"]["unused_bits"], report["counts"]["points"]) == (100, 100, 1)
        assert report["state"] == "acquiring"
        assert report["qber"] == pytest.approx(0.1)
        assert status.drift(report) == "drift: acquiring, QBER 10.0% ± 3.1%, begin to search; phase 1.571 rad"

    running(tmp_path, scenario)


def test_a_new_run_of_the_sender_has_everything_turned_again(tmp_path):
    async def scenario(drift, server):
        server.seconds = 900.0
        await until(lambda: len(server.asked) == 1)
        await asyncio.sleep(0.1)
        drift.note_step(step(0, 1000.0))
        await until(lambda: len(server.asked) == 2)
        server.seconds = 2.0
        drift.note_step(step(0, 1.0, block=2))
        await until(lambda: len(server.asked) == 3)
        await asyncio.sleep(0.1)
        drift.note_step(step(1, 2.0, block=2))
        await until(lambda: len(server.asked) == 4)

        assert server.asked[2] == server.asked[1]
        assert drift.report()["counts"]["points"] == 2

    running(tmp_path, scenario)


def test_without_a_date_what_is_counted_for_a_while_is_left_out(tmp_path):
    async def scenario(drift, server):
        server.seconds = None
        await until(lambda: len(server.asked) == 1)
        drift.note_step(step(0, 1.0))
        assert drift.report()["counts"]["unused_bits"] == 100
        await asyncio.sleep(0.5)
        drift.note_step(step(1, 2.0))
        await until(lambda: len(server.asked) == 2)

    running(tmp_path, scenario, settle_seconds=0.2)


def test_a_refusal_is_told_and_tried_again(tmp_path, monkeypatch):
    monkeypatch.setattr("bob.stabilising.RETRY_SECONDS", 0.2)

    async def scenario(drift, server):
        server.refuses = True
        await until(lambda: drift.report()["problem"])
        assert "the motor is hot" in drift.report()["problem"]
        assert drift.report()["actuators"]["refused"] >= 1
        server.refuses = False
        await until(lambda: not drift.report()["problem"])
        await asyncio.sleep(0.1)
        drift.note_step(step(0, 1.0))
        assert drift.report()["counts"]["points"] == 1

    running(tmp_path, scenario)


def test_a_polarisation_needs_disclosed_rounds_of_z(tmp_path):
    section = StabiliserSection(address="unix:a.sock")

    with pytest.raises(ConfigurationError, match=r"set security\.test_fraction, for example to 0\.1"):
        Stabilising(section, load_profile("niedersachsen"), tmp_path)
    Stabilising(section, load_profile("niedersachsen", ["security.test_fraction=0.1"]), tmp_path)


@pytest.mark.parametrize("wrong", [{"good_qber": 0.3}, {"address": "fifo:x"}, {"track_bits": 1}, {"gain": 0.0}, {"unknown": 1}])
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        StabiliserSection(**({"address": "unix:a.sock"} | wrong))
