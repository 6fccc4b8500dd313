"""Bob's drift compensation through real processes: an interferometer that starts anywhere and wanders, with the loop and without."""

import json
import socket
import time

import pytest

from tests.integration.live.processes import LiveLink

VISIBILITY_FLOOR = 0.035
"""Error rate of X at the best phase: visibility 0.93."""

SPEED = 4.0
"""Seconds of link a second: a step of the protocol takes about a second, and so shows four seconds of drift."""


class DriftingLink(LiveLink):
    """Time bins over a short fibre: a thousand disclosed bits of X a second of ours."""

    PROFILE = "timebin-120km"
    SETTINGS = (
        "channel.loss_db=12",
        "security.block_bits=1000000",
        "security.frame_pulses=7600000",
        "channel.drift_rate=0.02",
        "channel.drift_slope=5e-4",
        'channel.drift_start="anywhere"',
    )

    def __init__(self, folder, *, is_held):
        super().__init__(folder)
        self.replace("fibre", "[fibre]\n", f"[fibre]\nseed = 4\nspeed = {SPEED}\n")  # starts 2.7 rad away
        if is_held:
            with self.config("bob").open("a") as file:
                file.write('\n[stabiliser]\naddress = "unix:../fibre/run/control.sock"\n')

    def actuator(self, request):
        with socket.socket(socket.AF_UNIX) as control:
            control.settimeout(30.0)
            control.connect(str(self.folder / "fibre" / "run" / "control.sock"))
            control.sendall(json.dumps(request).encode() + b"\n")
            return json.loads(control.makefile().readline())

    def qber_x(self, after):
        """Error rate of X in the steps behind an entry, and the last entry."""
        tested = errors = 0
        while steps := self.ask("bob", "steps", after=after)[0]["steps"]:
            after = steps[-1]["entry"]
            fresh = [step for step in steps if step["compared"] == [0, 0]]  # told of for the first time
            tested += sum(step["tested"][1] for step in fresh)
            errors += sum(step["errors"][1] for step in fresh)
        return errors / max(tested, 1), after

    def wait_for_decisions(self, count):
        self.wait_until(lambda link: link.status("bob")["drift"]["counts"]["points"] >= count, f"{count} points")


@pytest.fixture
def live(tmp_path, request):
    link = DriftingLink(tmp_path / "n", is_held=request.param)
    link.start()
    yield link
    link.close()


@pytest.mark.parametrize("live", [True], indirect=True)
def test_with_the_loop_the_errors_stay_near_their_floor(live):
    live.wait_until(lambda link: link.status("bob")["drift"]["state"] == "tracking", "acquisition")
    acquired = live.status("bob")["drift"]
    _, entry = live.qber_x(0)
    live.wait_for_decisions(acquired["counts"]["points"] + 12)
    qber, entry = live.qber_x(entry)
    drift = live.status("bob")["drift"]

    assert acquired["counts"]["points"] >= 5  # four phases, and the place they showed
    assert drift["actuators"]["refused"] == drift["actuators"]["failed"] == 0
    assert drift["problem"] == ""
    assert drift["counts"]["losses"] == 0
    assert drift["positions"]["phase"] == pytest.approx(live.actuator({"get": "phase"})["position"], abs=0.5)
    assert {entry["state"] for entry in drift["recent"]} == {"acquiring", "tracking"}
    assert qber < VISIBILITY_FLOOR + 0.03  # dither, counting, and what wandered since

    live.actuator({"set": "phase", "value": drift["positions"]["phase"] + 2.5})  # somebody's hand
    live.wait_until(lambda link: link.status("bob")["drift"]["counts"]["acquisitions"] >= 2, "reacquisition")
    assert live.status("bob")["drift"]["counts"]["losses"] == 1
    assert live.status("alice")["drift"] is None


@pytest.mark.parametrize("live", [False], indirect=True)
def test_without_the_loop_they_are_what_the_phase_makes_them(live):
    live.wait_until(lambda link: link.ask("bob", "steps", after=0)[0]["steps"], "steps")
    time.sleep(5.0)
    qber, _ = live.qber_x(0)

    assert live.status("bob")["drift"] is None
    assert qber > 0.3
