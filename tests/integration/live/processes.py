"""A whole link as real processes on loopback: provisioned, started, asked, killed, stopped."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from common.cli.provisioning import Choices, Hosts, provision
from common.errors import TransportError
from common.profiles.link import load_profile
from common.service.admin_client import AdminClient
from tests.support.runs import SHORT_NIEDERSACHSEN
from tests.unit.service.nodes import free_port

MODULES = {"fibre": "common.emulator", "bob": "bob", "alice": "alice"}
"""In the order in which they start."""

PATIENCE_SECONDS = 240.0
"""Two busy cores that compile every kernel for the first time; warm, it takes seconds."""


class LiveLink:
    """Three processes and their folder."""

    PROFILE = "niedersachsen"
    SETTINGS: tuple[str, ...] = SHORT_NIEDERSACHSEN
    """Changes to the profile, before those a test asks for."""

    def __init__(self, folder: Path, *settings: str) -> None:
        self.folder = folder
        self.delivery_ports = {"alice": free_port(), "bob": free_port()}
        self.dashboard_ports = {"alice": free_port(), "bob": free_port()}
        choices = Choices(delivery_ports=self.delivery_ports, dashboard_ports=self.dashboard_ports)
        provision(load_profile(self.PROFILE, [*self.SETTINGS, *settings]), folder, Hosts(), choices)
        self.port = free_port()
        self.replace("alice", "tcp://127.0.0.1:7701", f"tcp://127.0.0.1:{self.port}")
        self.replace("bob", "tcp://127.0.0.1:7701", f"tcp://127.0.0.1:{self.port}")
        self.environment: dict[str, str] = {}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def config(self, name: str) -> Path:
        return self.folder / name / "config.toml"

    def replace(self, name: str, old: str, new: str) -> None:
        text = self.config(name).read_text()
        assert old in text
        self.config(name).write_text(text.replace(old, new))

    def start(self, *names: str) -> None:
        for name in names or MODULES:
            with (self.folder / f"{name}.log").open("ab") as log:
                self.processes[name] = subprocess.Popen(
                    self.command(name), cwd=self.folder, env=os.environ | self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
                )

    def command(self, name: str) -> list[str]:
        """What a process is started with."""
        return [sys.executable, "-m", MODULES[name], "--config", str(self.config(name))]

    def log(self, name: str) -> str:
        path = self.folder / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def ask(self, name: str, command: str, **fields):
        with AdminClient.of(self.config(name)) as client:
            return client.ask_for_key(command, **fields)

    def take_pad(self, name: str, count_bytes: int, purpose: str = "test") -> tuple[dict, bytearray]:
        """Pad for a message from this end, and what names it."""
        with AdminClient.of(self.config(name)) as client:
            named = client.ask("pad reserve", count_bytes=count_bytes, purpose=purpose)
            return named, client.ask_for_key("pad read", handout=named["handout"], count_bytes=count_bytes)[1]

    def follow_pad(self, name: str, pieces: list, purpose: str = "test") -> tuple[dict, bytearray]:
        """Pad of a message from the peer, spent as if its tag were right."""
        with AdminClient.of(self.config(name)) as client:
            named = client.ask("pad follow", pieces=pieces, purpose=purpose)
            client.ask("pad burn", handout=named["handout"])
            return named, client.ask_for_key("pad read", handout=named["handout"], count_bytes=sum(count for _, _, count in pieces))[1]

    def status(self, name: str) -> dict:
        return self.ask(name, "status")[0]

    def wait_until(self, condition, what: str) -> None:
        """Wait for a condition on both ends' status; a node that does not answer yet is asked again."""
        until = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < until:
            try:
                if condition(self):
                    return
            except (TransportError, OSError):
                pass
            dead = {name: process.returncode for name, process in self.processes.items() if process.poll() is not None}
            assert not dead, f"{dead} while waiting for {what}\n" + "\n".join(self.log(name)[-1500:] for name in dead)
            time.sleep(0.1)
        raise AssertionError(f"no {what}\n" + "\n".join(f"{name}: {self.log(name)[-1500:]}" for name in MODULES))

    def wait_for_blocks(self, count: int) -> None:
        self.wait_until(lambda link: all(link.status(name)["blocks_kept"] >= count for name in ("alice", "bob")), f"{count} blocks")

    def wait_for_exit(self, name: str) -> int:
        return self.processes.pop(name).wait(PATIENCE_SECONDS)

    def kill(self, *names: str) -> None:
        """Kill processes at the same instant, as far as one machine can."""
        killed = [self.processes.pop(name) for name in names]
        for process in killed:
            process.kill()
        for process in killed:
            process.wait()

    def pause(self, name: str) -> None:
        self.processes[name].send_signal(signal.SIGSTOP)

    def resume(self, name: str) -> None:
        self.processes[name].send_signal(signal.SIGCONT)

    def events(self, name: str) -> list[dict]:
        """Lines of a process's log; a last one that a kill cut off counts for nothing."""
        lines = [line for line in self.log(name).splitlines() if line.startswith("{") and line.endswith("}")]
        return [json.loads(line) for line in lines]

    def stop(self, name: str) -> tuple[int, float]:
        """Exit status after SIGTERM, and how long it took, seconds."""
        process, began = self.processes.pop(name), time.monotonic()
        process.send_signal(signal.SIGTERM)
        return process.wait(30), time.monotonic() - began

    def close(self) -> None:
        for process in self.processes.values():
            process.kill()
        for process in self.processes.values():
            process.wait()


def run_once(link: LiveLink, name: str, **environment: str) -> tuple[int, str]:
    """Start a service that should refuse to; its exit status and its one line."""
    command = [sys.executable, "-m", MODULES[name], "--config", str(link.config(name))]
    done = subprocess.run(
        command, cwd=link.folder, env=os.environ | environment, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )
    said = [line for line in done.stderr.splitlines() if line.startswith(f"qkd-{name}: ")]
    assert len(said) == 1, done.stderr
    assert "Traceback" not in done.stderr
    return done.returncode, said[0]
