"""``qkd-fibre`` as a process: its streams, what it does when consumers come and go, its actuators, its end."""

import contextlib
import dataclasses
import json
import signal
import socket
import subprocess
import sys
import time
from typing import ClassVar

import numpy as np
import pytest

from alice.live import LiveEmissionStation
from bob.live import LiveDetectionStation
from common.distillation.synchronisation import Frames
from common.emulator.files import write_run
from common.emulator.link import LinkEmulator, emulate
from common.profiles.link import load_profile
from common.randomness import SystemRandomness
from common.service.streams import StreamAddress
from common.timetags.emission_record import EmissionRecord
from common.timetags.live import EmissionProgress, EmissionStream, StreamParser, TagBatch, TagStream
from tests.support.streams import Zeros

LINK = ("channel.loss_db=10", "security.frame_pulses=228000", "receiver.gate_ps=3000", "source.lifetime_ps=0", "receiver.dark_rate_hz=0")
SECONDS = 30.0


def profile():
    return load_profile("niedersachsen", LINK)


def as_toml(link):
    tree = dataclasses.asdict(link)
    lines = [f"{name} = {json.dumps(value)}" for name, value in tree.items() if not isinstance(value, dict)]
    for section, values in tree.items():
        if isinstance(values, dict):
            lines += [f"[{section}]", *(f"{name} = {json.dumps(value)}" for name, value in values.items() if value is not None)]
    return "\n".join(lines)


@contextlib.contextmanager
def fibre(folder, *lines, extra=()):
    """A running process; killed in the end if it has not stopped."""
    (folder / "link.toml").write_text(as_toml(profile()))
    (folder / "config.toml").write_text("\n".join(["[fibre]", "stretch_seconds = 0.1", *lines, *extra]))
    process = subprocess.Popen([sys.executable, "-m", "common.emulator", "--config", str(folder / "config.toml")], stderr=subprocess.PIPE)
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        assert b'"ready"' in line, line + process.stderr.read()
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()
        while Peer.everyone:
            Peer.everyone.pop().close()


class Peer:
    """A consumer that reads when it is told to."""

    everyone: ClassVar[list["Peer"]] = []

    def __init__(self, folder, name, kind):
        Peer.everyone.append(self)
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(SECONDS)
        self.socket.connect(str(folder / "run" / f"{name}.sock"))
        self.parser = StreamParser(kind)
        self.items = []

    def read(self, until):
        """Read until the items satisfy a condition, and return them."""
        while not until(self.items):
            data = self.socket.recv(1 << 20)
            assert data, "the process closed the stream"
            self.items += self.parser.feed(data)
        return self.items

    def close(self):
        self.socket.close()


def both(folder):
    return Peer(folder, "alice", "emission"), Peer(folder, "bob", "tags")


def asked(folder, request):
    with socket.socket(socket.AF_UNIX) as control:
        control.settimeout(SECONDS)
        control.connect(str(folder / "run" / "control.sock"))
        control.sendall(json.dumps(request).encode() + b"\n")
        return json.loads(control.makefile().readline())


def test_both_ends_get_their_stream_to_the_end(tmp_path):
    with fibre(tmp_path, "max_link_seconds = 0.5", "seed = 1") as process:
        alice, bob = both(tmp_path)
        tags = bob.read(lambda items: items and isinstance(items[-1], TagBatch) and items[-1].ended)
        emission = alice.read(lambda items: items and isinstance(items[-1], EmissionProgress) and items[-1].ended)

        opened, *progress = emission
        assert isinstance(opened, EmissionStream)
        assert isinstance(tags[0], TagStream)
        assert opened.run == tags[0].run != ""
        assert [item.emitted_through_slot for item in progress] == [*(22_800_000 * k - 1 for k in range(1, 6)), 5 * 22_800_000 - 1]
        assert not any(item.gap for item in tags[1:])
        assert [item.sequence for item in tags[1:]] == list(range(1, len(tags)))
        t_ps = np.concatenate([item.t_ps for item in tags[1:]])
        assert np.all(np.diff(t_ps) >= 0)
        assert 300_000 < t_ps.size < 500_000
        modes = [(tmp_path / "run" / f"{name}.sock").stat().st_mode & 0o777 for name in ("alice", "bob", "control")]
        assert modes == [0o600] * 3

        late = Peer(tmp_path, "bob", "tags")  # whoever comes after the end is told so
        assert [item.ended for item in late.read(lambda items: len(items) == 2)[1:]] == [True]
        process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        assert process.wait(5.0) == 0
        assert time.monotonic() - began < 5.0
    assert not (tmp_path / "run" / "alice.sock").exists()


def test_two_runs_of_one_seed_send_the_same_clicks_rates_and_never_the_same_settings(tmp_path):
    keys = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        with fibre(tmp_path / name, "max_link_seconds = 0.1", "seed = 7"):
            (opened,) = Peer(tmp_path / name, "alice", "emission").read(lambda items: len(items) == 1)
            keys.append(opened.expander_key)

    assert keys[0] != keys[1]


def test_a_consumer_that_dies_misses_something_and_is_told_so(tmp_path):
    with fibre(tmp_path):
        alice, bob = both(tmp_path)
        first = bob.read(lambda items: len(items) > 2)[-1]
        bob.close()
        again = Peer(tmp_path, "bob", "tags")
        opened, batch = again.read(lambda items: len(items) > 1)[:2]

        assert opened == bob.items[0]
        assert batch.gap
        assert batch.sequence > first.sequence
        assert batch.t_ps[0] >= first.t_ps[-1]

        alice.close()
        known = alice.items
        back = Peer(tmp_path, "alice", "emission")
        opened, progress = back.read(lambda items: len(items) > 1)[:2]
        assert isinstance(progress, EmissionProgress)
        assert not known or opened == known[0]


def test_the_link_waits_for_a_slow_consumer(tmp_path):
    with fibre(tmp_path):
        alice, bob = both(tmp_path)
        bob.read(lambda items: len(items) > 1)
        time.sleep(0.5)
        before = asked(tmp_path, {"get": "eve"})["link_seconds"]
        time.sleep(0.5)
        stopped = asked(tmp_path, {"get": "eve"})["link_seconds"]
        bob.read(lambda items: len(items) > 40)

        assert before == stopped < 60.0
        assert asked(tmp_path, {"get": "eve"})["link_seconds"] > stopped
        alice.close()


def test_a_link_held_to_real_time_takes_its_time(tmp_path):
    with fibre(tmp_path, "speed = 1.0"):
        _, bob = both(tmp_path)
        began = time.monotonic()
        batches = bob.read(lambda items: len(items) > 60)[1:]
        elapsed_seconds = time.monotonic() - began

        link_seconds = (batches[-1].t_ps[-1] - batches[0].t_ps[0]) * 1e-12
        assert link_seconds > 0.5
        assert link_seconds < elapsed_seconds + 0.3


def test_actuators_answer_with_position_and_link_time_and_refuse_nonsense(tmp_path):
    with fibre(tmp_path):
        assert asked(tmp_path, {"get": "eve"}) == {"name": "eve", "position": None, "link_seconds": 0.0}
        assert asked(tmp_path, {"set": "eve", "value": "intercept-resend=0.1"})["position"] == "intercept-resend=0.1"
        assert asked(tmp_path, {"set": "eve", "value": None})["position"] is None
        assert asked(tmp_path, {"set": "loss_db", "value": 12})["position"] == 12.0
        assert asked(tmp_path, {"set": "speed", "value": 2.5})["position"] == 2.5
        assert asked(tmp_path, {"set": "plate1", "value": 0.31}) == {"name": "plate1", "position": 0.31, "link_seconds": 0.0}
        for nonsense in ({"set": "eve", "value": "x"}, {"set": "loss_db", "value": "much"}, {"get": "phase"}, {"get": 3}, ["set"], {}):
            assert "error" in asked(tmp_path, nonsense)


def stations(folder, link):
    alice = LiveEmissionStation.connect(StreamAddress.parse("unix:run/alice.sock", folder), link)
    bob = LiveDetectionStation.connect(StreamAddress.parse("unix:run/bob.sock", folder), link, Zeros())
    return alice, bob


def session_qber(alice, bob, link, count_frames):
    """QBER in matching bases over the frames of one session."""
    for attempt in range(4):
        given = bob.sacrifice(attempt)
        offset = alice.find_offset(given.slots, given.outcomes, given.stride)
        if offset is not None:
            break
    assert offset is not None
    bob.matched(Frames(offset, int(given.slots[-1]) + offset + 1, 1 << 40), link.security.frame_pulses)
    wrong = same = frame = 0
    while frame < count_frames:
        found = bob.take(frame, count_frames - frame, 1 << 18)
        frame += found.count_per_frame.size
        settings = alice.look_up(found.slots)
        basis = settings >> 1 == found.outcomes >> 1
        same += int(np.count_nonzero(basis))
        wrong += int(np.count_nonzero(settings[basis] != found.outcomes[basis]))
    return wrong / same


def test_live_stations_of_both_ends_agree_over_sessions_and_see_an_eavesdropper_come_and_go(tmp_path):
    link = profile()
    with fibre(tmp_path):
        alice, bob = stations(tmp_path, link)
        try:
            assert session_qber(alice, bob, link, 100) < 0.002
            asked(tmp_path, {"set": "eve", "value": "intercept-resend=1"})
            qber = 0.0
            for _ in range(40):  # what was on its way was sent before
                qber = session_qber(alice, bob, link, 500)
                if qber > 0.2:
                    break
            assert qber > 0.2
            asked(tmp_path, {"set": "eve", "value": None})
            for _ in range(40):
                qber = session_qber(alice, bob, link, 500)
                if qber < 0.002:
                    break
            assert qber < 0.002
            assert bob.counts.lock_losses == 0
        finally:
            alice.close()
            bob.close()


def test_either_end_may_start_again_and_finds_the_other(tmp_path):
    link = profile()
    with fibre(tmp_path):
        alice, bob = stations(tmp_path, link)
        try:
            for _ in range(2):
                assert session_qber(alice, bob, link, 50) < 0.002
                bob.close()
                bob = LiveDetectionStation.connect(StreamAddress.parse("unix:run/bob.sock", tmp_path), link, SystemRandomness())
                assert session_qber(alice, bob, link, 50) < 0.002
                alice.close()
                alice = LiveEmissionStation.connect(StreamAddress.parse("unix:run/alice.sock", tmp_path), link)
                assert session_qber(alice, bob, link, 50) < 0.002
        finally:
            alice.close()
            bob.close()


def test_a_recorded_run_is_played(tmp_path):
    link = profile()
    emulation = emulate(link, 0.6, 4)
    written = write_run(tmp_path / "run-files", [emulation])
    arrivals = ["[arrivals]", f'emission = "{written.emission_path}"', f'tags = "{written.tags_path}"']
    with fibre(tmp_path, extra=arrivals):
        alice, bob = stations(tmp_path, link)
        try:
            assert session_qber(alice, bob, link, 300) < 0.002
            assert alice.settings_randomness == "recorded"
        finally:
            alice.close()
            bob.close()


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("seeed = 1", "fibre.seeed"),
        ('eve = "mallory"', "fibre.eve"),
        ("speed = -1", "fibre.speed"),
        ('link = "nowhere.toml"', "nowhere.toml"),
    ],
)
def test_a_wrong_setting_is_named_and_nothing_starts(tmp_path, line, named):
    (tmp_path / "link.toml").write_text(as_toml(profile()))
    (tmp_path / "config.toml").write_text(f"[fibre]\n{line}\n")

    ran = subprocess.run(
        [sys.executable, "-m", "common.emulator", "--config", str(tmp_path / "config.toml")], capture_output=True, text=True, check=False
    )

    assert ran.returncode == 2
    assert named in ran.stderr
    assert len(ran.stderr.splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_a_second_process_on_one_socket_is_refused_and_a_dead_one_is_replaced(tmp_path):
    with fibre(tmp_path) as process:
        second = subprocess.run(
            [sys.executable, "-m", "common.emulator", "--config", str(tmp_path / "config.toml")],
            capture_output=True,
            text=True,
            check=False,
        )
        assert second.returncode == 2
        assert "in use" in second.stderr
        process.kill()
        process.wait()
    with fibre(tmp_path):
        pass


def test_an_emulated_link_may_change_between_stretches_and_keeps_its_record():
    link = LinkEmulator(profile(), 0.3, 3, stretch_seconds=0.1, emission_key=bytes(32))
    counts = []
    for loss_db in (10.0, 20.0, 10.0):
        link.loss_db = loss_db
        stretch = link.next_stretch()
        assert stretch is not None
        counts.append(len(stretch.tags))

    assert link.next_stretch() is None
    assert isinstance(link.record, EmissionRecord)
    assert link.record.expander_key == bytes(32)
    assert counts[1] < 0.2 * counts[0]
    assert link.emitted_through_slot == link.record.header.end_slot - 1
