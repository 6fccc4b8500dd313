"""Two hosts with networks of their own and one link between them, which can be slow, lossy or cut while it runs.

Each host is a network namespace; the link is the program ``packet_link``. Nothing of them has a name on the machine, so hosts of several
tests do not meet, and nothing is left of them when the process that made them ends, whatever ended it.
"""

import json
import socket
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from tests.support.namespaces import Namespace, in_network_of
from tests.support.packet_link import Carried, Conditions

HOSTS = ("alice", "bob")

ADDRESSES = {"alice": "192.0.2.1", "bob": "192.0.2.2"}
"""RFC 5737: of no real network."""

DEVICE = "link"

CLEAR = Conditions()


class TwoHosts:
    """Hosts ``alice`` and ``bob``, linked by a perfect network until told otherwise; ``seed`` decides which packets are lost."""

    def __init__(self, seed: str) -> None:
        self._hosts: dict[str, Namespace] = {}
        self._program: subprocess.Popen[bytes] | None = None
        try:
            self._hosts |= {name: Namespace() for name in HOSTS}
            processes = [str(self._hosts[name].process) for name in HOSTS]
            command = [sys.executable, "-m", "tests.support.packet_link", "--seed", seed, "--device", DEVICE, *processes]
            # in a session of its own: an interrupt from the keyboard is for us to see to
            self._program = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
            assert self._answer() == b"ready\n", "the link between two hosts does not start"
            for name, other in zip(HOSTS, reversed(HOSTS), strict=True):
                configure = self._hosts[name].configure
                configure("link", "set", "dev", DEVICE, "addrgenmode", "none")  # no packets but those of the test
                configure("address", "add", ADDRESSES[name], "peer", ADDRESSES[other], "dev", DEVICE)
                configure("link", "set", "dev", DEVICE, "up")
        except BaseException:
            self.close()
            raise

    @property
    def processes(self) -> list[int]:
        """Those that make up the hosts, in order, and the link."""
        assert self._program is not None
        return [*(host.process for host in self._hosts.values()), self._program.pid]

    def network(self, host: str) -> Path:
        """The network namespace of a host, for as long as it is there."""
        return Path(f"/proc/{self._hosts[host].process}/ns/net")

    def command(self, host: str, command: list[str]) -> list[str]:
        """What runs a command at a host."""
        return self._hosts[host].command(command)

    def socket(self, host: str, kind: socket.SocketKind) -> socket.socket:
        """A fresh IPv4 socket at a host."""
        return in_network_of(self._hosts[host].process, lambda: socket.socket(socket.AF_INET, kind))

    def change(self, ways: dict[str, Conditions]) -> None:
        """Change what the way from a host to the other is like, by host."""
        self._ask({str(HOSTS.index(sender)): asdict(conditions) for sender, conditions in ways.items()})

    def clear(self) -> None:
        """Make the network perfect again."""
        self.change(dict.fromkeys(HOSTS, CLEAR))

    def carried(self) -> dict[str, Carried]:
        """What the way from each host has carried so far."""
        return dict(zip(HOSTS, (Carried(**counts) for counts in self._ask({})), strict=True))

    def _ask(self, request: dict) -> list[dict[str, int]]:
        assert self._program is not None
        assert self._program.stdin is not None
        self._program.stdin.write(json.dumps(request).encode() + b"\n")
        self._program.stdin.flush()
        answer = self._answer()
        assert answer, f"the link between two hosts has ended with status {self._program.wait()}"
        return json.loads(answer)

    def _answer(self) -> bytes:
        assert self._program is not None
        assert self._program.stdout is not None
        return self._program.stdout.readline()

    def close(self) -> None:
        if self._program is not None:
            self._program.communicate()
        for host in self._hosts.values():
            host.close()
