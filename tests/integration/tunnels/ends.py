"""The two ends of tunnels as processes: their files, a stand-in for ``wg``, and what it takes to ask them."""

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from common.cli.provisioning import to_toml
from common.errors import TransportError
from common.service.admin_client import AdminClient
from tests.support.key_nodes import KeyNodes

PATIENCE_SECONDS = 60.0

STAND_IN = f"""#!{sys.executable}
import json, os, sys, time
given = sys.stdin.read() if "/dev/stdin" in sys.argv else ""
with open(os.environ["WG_RECORD"], "a") as record:
    record.write(json.dumps({{"arguments": sys.argv[1:], "given": given, "at": time.time()}}) + "\\n")
if sys.argv[1] == "show" and sys.argv[3] == "latest-handshakes":
    for line in open(os.environ["WG_PEERS"]):
        print(line.strip(), int(time.time()) if os.path.exists(os.environ["WG_PEERS"] + ".alive") else 0, sep="\\t")
"""
"""Takes ``wg``'s arguments and standard input down, and knows peers; no interface is needed."""


def public_key(number: int) -> str:
    """A public key as ``wg`` writes it; no peer of these tests has the private one."""
    return base64.b64encode(bytes([number] * 32)).decode()


class End:
    """One end: ``qkd wireguard run`` or ``qkd strongswan run`` with a file of its own."""

    def __init__(self, folder: Path, link: KeyNodes, node: str, kind: str = "wireguard", sae: str | None = None) -> None:
        self.folder, self.link, self.kind = folder, link, kind
        self.name = sae or f"sae-{node}"
        folder.mkdir()
        of_its_own = (folder.parent / f"{sae}.crt", folder.parent / f"{sae}.key")
        certificate, key = link.sae(node) if sae is None else of_its_own
        self.tables: dict[str, dict] = {
            "application": {
                "name": self.name,
                "certificate": str(certificate),
                "key": str(key),
                "authority": str(link.authority),
                "node": f"localhost:{link.delivery_ports[node]}",
            },
            "agreement": {"answer_seconds": 10.0},
            "admin": {"socket": "run/status.sock"},
        }
        self.environment = dict(os.environ)
        self.running: subprocess.Popen[bytes] | None = None

    def stand_in(self, *peers: str) -> None:
        """Have the end use a stand-in for ``wg`` that knows these peers."""
        programs = self.folder / "programs"
        programs.mkdir()
        (programs / "wg").write_text(STAND_IN)
        (programs / "wg").chmod(0o700)
        (self.folder / "peers").write_text("".join(f"{peer}\n" for peer in peers))
        self.environment |= {
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "WG_RECORD": str(self.folder / "record"),
            "WG_PEERS": str(self.folder / "peers"),
        }

    def peer(self, other: str, **entries) -> None:
        self.tables[f"peer.{other}"] = {"names": [other], "check_seconds": 0.3, "renew_seconds": 2.0, "longest_seconds": 6.0} | entries

    def config(self) -> Path:
        path = self.folder / "tunnels.toml"
        path.write_text(to_toml("Tunnels of a test.", self.tables))
        return path

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "common.cli.main", self.kind, *arguments, "--config", str(self.config())]

    def start(self, *options: str) -> "End":
        with (self.folder / "log").open("ab") as log:
            self.running = subprocess.Popen(
                [*self.command("run"), *options], env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        return self

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments), env=self.environment, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
        )

    def log(self) -> str:
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def status(self) -> dict[str, dict]:
        """Tunnels by peer."""
        with AdminClient(self.folder / "run" / "status.sock") as client:
            return {tunnel["peer"]: tunnel for tunnel in client.ask("status")["tunnels"]}

    def calls(self) -> list[dict]:
        """What the stand-in was asked to set."""
        path = self.folder / "record"
        lines = path.read_text().splitlines() if path.exists() else []
        return [call for call in map(json.loads, lines) if call["arguments"][0] == "set"]

    def installed(self) -> list[str]:
        """Preshared keys that opened the tunnel, in base64, first to last."""
        return [call["given"].strip() for call in self.calls() if call["arguments"][-1] != ""]

    def stop(self) -> tuple[int, float]:
        assert self.running is not None
        began = time.monotonic()
        self.running.send_signal(signal.SIGTERM)
        status = self.running.wait(PATIENCE_SECONDS)
        self.running = None
        return status, time.monotonic() - began

    def kill(self) -> None:
        if self.running is not None:
            self.running.kill()
            self.running.wait()
            self.running = None


def wait_until(condition, what: str, *ends: End, seconds: float = PATIENCE_SECONDS) -> None:
    """Wait for something at ends that have to run meanwhile."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            if condition():
                return
        except (TransportError, OSError, KeyError, IndexError):
            pass
        for end in ends:
            assert end.running is None or end.running.poll() is None, f"{end.name} ended while waiting for {what}\n{end.log()[-3000:]}"
        time.sleep(0.1)
    raise AssertionError(f"no {what}\n" + "\n".join(f"{end.name}: {end.log()[-3000:]}" for end in ends))


def has(*tools: str) -> bool:
    return all(shutil.which(tool) for tool in tools)
